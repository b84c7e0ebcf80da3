// Draws what ui/strip.py sends. Data goes through textContent only, so nothing in it can become markup.
export default function ({ data: [data], parentElement, setStateValue }) {
  const root = parentElement.querySelector(".strip");
  const had = [...root.querySelectorAll("button")].indexOf(parentElement.activeElement);
  const make = (tag, name, text) => {
    const node = document.createElement(tag);
    node.className = name;
    node.textContent = text;
    return node;
  };
  const labels = make("div", "labels", "");
  data.labels.forEach((label, i) => labels.append(make("span", i ? "value" : "token", label)));
  const cells = data.tokens.map((token, i) => {
    const cell = make("button", "cell", "");
    cell.type = "button";
    cell.title = token.title;
    cell.setAttribute("aria-pressed", String(i === data.chosen));
    const share = Math.min(1, Math.abs(token.tint));
    const color = token.tint < 0 ? data.less : data.more;
    cell.style.setProperty("--tint", `color-mix(in srgb, ${color} ${Math.round(75 * share)}%, transparent)`);
    cell.append(make("span", "token", token.text));
    token.values.forEach((value) => cell.append(make("span", "value", value)));
    cell.onclick = () => {
      cells.forEach((other) => other.setAttribute("aria-pressed", String(other === cell)));
      setStateValue("chosen", i);
    };
    cell.onkeydown = (event) => {
      const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (move) cells[i + move]?.focus();
    };
    return cell;
  });
  root.replaceChildren(labels, ...cells);
  if (had >= 0) cells[had]?.focus();
  const scale = parentElement.querySelector(".scale");
  scale.style.setProperty("--less", data.less);
  scale.style.setProperty("--more", data.more);
  scale.replaceChildren(make("span", "", data.low), make("i", "", ""), make("span", "", data.high));
}
