// Watch it forget: one slider moves answers, tokens and curves together, in the browser, without the server.
// Data (see ui/replay.py) goes through textContent only.
const positions = new WeakMap();
const SVG = "http://www.w3.org/2000/svg";

function make(tag, name, text = "") {
  const node = document.createElement(tag);
  node.className = name;
  node.textContent = text;
  return node;
}

function shape(tag, attributes, text = "") {
  const node = document.createElementNS(SVG, tag);
  Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
  node.textContent = text;
  return node;
}

function percent(number) {
  if (!Number.isFinite(number)) return "not a number";
  return number > 0 && number < 1 ? "under 1 %" : `${number.toFixed(0)} %`;
}

function nice(span) {
  const rough = span / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((m) => m * power).find((tick) => tick >= rough);
}

function curve(data, box) {
  const width = Math.max(260, box.clientWidth);
  const height = 190;
  const pad = { left: 44, right: 14, top: 26, bottom: 34 };
  const last = data.steps[data.steps.length - 1] || 1;
  const x = (step) => pad.left + (step / last) * (width - pad.left - pad.right);
  const y = (value) => pad.top + (1 - value / 100) * (height - pad.top - pad.bottom);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": data.alt });
  for (let value = 0; value <= 100; value += 25) {
    svg.append(shape("line", { x1: pad.left, x2: width - pad.right, y1: y(value), y2: y(value), class: "grid" }));
    svg.append(shape("text", { x: pad.left - 6, y: y(value) + 4, "text-anchor": "end" }, `${value} %`));
  }
  const jump = Math.max(1, nice((last * 3) / Math.max(2, Math.floor(width / 90))));
  for (let step = 0; step <= last; step += jump) {
    svg.append(shape("text", { x: x(step), y: height - 18, "text-anchor": "middle" }, String(step)));
  }
  svg.append(shape("text", { x: pad.left, y: 12 }, "How likely the right answers are"));
  svg.append(shape("text", { x: width - pad.right, y: height - 4, "text-anchor": "end" }, "training step"));
  const path = (values) =>
    values.map((v, i) => (Number.isFinite(v) ? `${i && Number.isFinite(values[i - 1]) ? "L" : "M"}${x(data.steps[i])},${y(v)}` : "")).join("");
  data.items.forEach((item) => {
    svg.append(shape("path", { d: path(item.means), stroke: data.colors[item.role], class: "faint" }));
  });
  data.references.forEach((reference) => {
    const at = y(reference.value);
    svg.append(shape("line", { x1: pad.left, x2: width - pad.right, y1: at, y2: at, stroke: reference.color, class: "dashed" }));
    svg.append(shape("text", { x: pad.left + 4, y: at - 4, style: `fill:${reference.color}` }, reference.name));
  });
  data.roles.forEach((role) => svg.append(shape("path", { d: path(role.mean), stroke: role.color, class: "bold" })));
  const cursor = shape("line", { y1: pad.top, y2: height - pad.bottom, class: "cursor" });
  svg.append(cursor);
  const dots = data.roles.map((role) => svg.appendChild(shape("circle", { r: 4.5, fill: role.color })));
  box.replaceChildren(svg);
  return (at) => {
    cursor.setAttribute("x1", x(data.steps[at]));
    cursor.setAttribute("x2", x(data.steps[at]));
    data.roles.forEach((role, i) => {
      dots[i].setAttribute("cx", x(data.steps[at]));
      dots[i].setAttribute("cy", Number.isFinite(role.mean[at]) ? y(role.mean[at]) : -99);
    });
  };
}

function card(item, data) {
  const box = make("div", "item");
  const said = make("div", "said");
  const tokens = make("div", "tokens");
  const cells = item.tokens.map((token) => tokens.appendChild(make("span", "token", token)));
  box.append(make("div", "question", item.question), said, tokens);
  return {
    box,
    show(at) {
      const right = item.right[at];
      said.textContent = item.texts[at].trim() || "(nothing)";
      said.className = right ? "said right" : "said wrong";
      said.title = right ? "The right answer" : "Right answer: " + item.answer.trim();
      cells.forEach((cell, i) => {
        const shift = (item.lps[at][i] ?? NaN) - (item.lps[0][i] ?? NaN);
        const share = Number.isFinite(shift) ? Math.min(1, Math.abs(shift) / data.scale) : 1;
        const color = shift > 0 ? data.more : data.less;
        cell.style.background = `color-mix(in srgb, ${color} ${Math.round(75 * share)}%, transparent)`;
        cell.title = `${percent(100 * Math.exp(item.lps[at][i] ?? NaN))} likely, ${percent(100 * Math.exp(item.lps[0][i] ?? NaN))} at the start`;
      });
    },
  };
}

export default function ({ data: [data], parentElement }) {
  const root = parentElement.querySelector(".replay");
  const last = data.steps.length - 1;
  const play = make("button", "play", "▶\uFE0E");
  const slider = make("input", "slider");
  const where = make("output", "where");
  const bar = make("div", "bar");
  const chart = make("div", "chart");
  const columns = make("div", "columns");
  Object.assign(slider, { type: "range", min: 0, max: last, step: 1 });
  slider.setAttribute("aria-label", "Training step");
  play.type = "button";
  bar.append(play, slider, where);
  const cards = [];
  const means = data.roles.map((role) => {
    const column = make("div", "column");
    const head = make("div", "head");
    const value = make("span", "mean");
    head.style.setProperty("--tone", role.color);
    head.append(make("b", "", role.title), value);
    column.append(head);
    data.items.filter((item) => item.role === role.name).forEach((item) => {
      cards.push(card(item, data));
      column.append(cards[cards.length - 1].box);
    });
    columns.append(column);
    return value;
  });
  root.replaceChildren(bar, chart, columns);
  const first = !positions.has(parentElement);
  let at = Math.min(positions.get(parentElement) ?? last, last);
  let timer = null;
  let move = curve(data, chart);
  const show = () => {
    positions.set(parentElement, at);
    slider.value = at;
    slider.setAttribute("aria-valuetext", `step ${data.steps[at]}`);
    where.textContent = `step ${data.steps[at]} of ${data.steps[last]}`;
    cards.forEach((one) => one.show(at));
    data.roles.forEach((role, i) => {
      const items = data.items.filter((item) => item.role === role.name);
      const right = items.filter((item) => item.right[at]).length;
      means[i].textContent = `${right} of ${items.length} right · ${percent(role.mean[at])} likely`;
    });
    move(at);
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "▶\uFE0E";
    play.setAttribute("aria-label", "Play the training from the start");
  };
  play.onclick = () => {
    if (timer) return stop();
    if (at >= last) at = 0;
    show();
    play.textContent = "❚❚";
    play.setAttribute("aria-label", "Pause");
    timer = setInterval(() => {
      at += 1;
      show();
      if (at >= last) stop();
    }, Math.min(600, Math.max(90, 6000 / Math.max(last, 1))));
  };
  slider.oninput = () => {
    stop();
    at = Number(slider.value);
    show();
  };
  stop();
  show();
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (data.autoplay && first && !calm) play.onclick();
  const watcher = new ResizeObserver(() => {
    move = curve(data, chart);
    move(at);
  });
  watcher.observe(root);
  return () => {
    clearInterval(timer);
    watcher.disconnect();
  };
}
