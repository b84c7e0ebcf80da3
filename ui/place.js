// Gives the focus back. While a page is drawn anew, Streamlit switches off the tabs that are not drawn yet, and the
// browser takes the focus from what is switched off: whoever works by keyboard then begins at the top of the page.
{
  // Who presses or scrolls meanwhile is somewhere else by then.
  let moves = 0;
  for (const kind of ["pointerdown", "wheel", "touchmove"])
    document.addEventListener(kind, () => (moves += 1), { capture: true, passive: true });
  document.addEventListener("focusout", ({ target, relatedTarget }) => {
    const then = moves;
    const off = () => target.matches("[aria-disabled=true], :disabled");
    const lost = () => document.activeElement === document.body && target.isConnected && moves === then;
    const wait = (left) => {
      if (!lost() || !left) return;
      if (off()) setTimeout(wait, 50, left - 1);
      else target.focus({ preventScroll: true });
    };
    // What is switched off is marked so in the same step; a click beside everything leaves it on, and is left alone.
    if (!relatedTarget) setTimeout(() => off() && wait(600));
  });
}
