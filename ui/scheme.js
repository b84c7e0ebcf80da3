// Draws the charts anew when the screen turns light or dark: the server chose their colours, and learns of the change
// by the next run of the page alone. The key is Streamlit's own for one.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
  // Streamlit puts on its new colours first, and tells of those.
  setTimeout(() => document.dispatchEvent(new KeyboardEvent("keydown", { key: "r", code: "KeyR", keyCode: 82 })), 500)
);
