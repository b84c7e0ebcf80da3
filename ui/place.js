// Gives the focus back. While a page is drawn anew, Streamlit switches off the tabs that are not drawn yet, and the
// browser takes the focus from what is switched off: whoever works by keyboard then begins at the top of the page.
document.addEventListener("focusout", ({ target, relatedTarget }) => {
  const off = () => target.matches("[aria-disabled=true], :disabled");
  const lost = () => document.activeElement === document.body && target.isConnected;
  const wait = (left) => {
    if (!lost() || !left) return;
    if (off()) setTimeout(wait, 50, left - 1);
    else target.focus();
  };
  // What is switched off is marked so in the same step; a click beside everything leaves it on, and is left alone.
  if (!relatedTarget) setTimeout(() => off() && wait(600));
});
