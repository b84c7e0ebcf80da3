// Draws what ui/sheet.py sends: a table of texts with word differences. Data goes through textContent only.
export default function ({ data: [data], parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".sheet");
  const make = (tag, name, text = "") => {
    const node = document.createElement(tag);
    node.className = name;
    node.textContent = text;
    return node;
  };
  root.style.setProperty("--columns", data.columns.length);
  const head = make("tr", "");
  data.columns.forEach((column) => {
    const cell = make("th", "", column.title);
    cell.scope = "col";
    if (column.width) cell.style.width = column.width;
    if (column.tone === "none") cell.className = "plain";
    cell.style.setProperty("--tone", column.tone);
    head.append(cell);
  });
  const body = make("tbody", "");
  data.rows.forEach((row) => {
    const line = make("tr", "");
    row.cells.forEach((cell, i) => {
      const box = make(i ? "td" : "th", "");
      box.dataset.label = data.columns[i].title;
      // A number or a word of a table without answers stands beside its label on a phone.
      const length = cell.parts.reduce((sum, [words]) => sum + words.length, 0);
      if (i && data.columns[i].tone === "none" && length < 25 && !cell.note) box.className = "short";
      box.style.setProperty("--tone", data.columns[i].tone);
      const text = make("div", "text");
      cell.parts.forEach(([words, kind]) => {
        text.append(make({ gone: "del", new: "ins" }[kind] ?? "span", kind, words));
      });
      box.append(text);
      if (cell.note) box.append(make("div", "note", cell.note));
      if (!i && row.open) {
        const open = make("button", "open", "tokens");
        open.type = "button";
        open.title = "Look at this answer token by token";
        open.onclick = () => setTriggerValue("open", row.open);
        box.append(open);
      }
      line.append(box);
    });
    body.append(line);
  });
  const top = make("thead", "");
  top.append(head);
  root.replaceChildren(top, body);
}
