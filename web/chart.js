// A chart of the last minutes: lines over time as SVG, with a list of what they are now beside them.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 128; // px, as in dashboard.css
const [ABOVE, BELOW] = [16, 20]; // px: room for the labels
const GAP_MS = 10_000; // nobody looked for longer: no line across that

export function element(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

function drawn(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** The least number of the form 1, 2, 4 or 10 × 10^n that is no less than `most`: its half is as round. */
const round = (most) => {
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 4, 10].find((step) => step * power >= most * 0.999) * power;
};

export class Chart {
  /**
   * `lines` is a list of [name, label]; the name is also the `data-line` that dashboard.css gives a colour and a pattern.
   * `format` writes a number for people, `tick` the round ones of the scale, `least` is the smallest top of that, `steps` draws
   * what changes in jumps.
   */
  constructor(figure, { lines, format, tick = format, least, spanMs, steps = false }) {
    Object.assign(this, { figure, lines, format, tick, least, spanMs, steps });
    this.title = figure.querySelector("h2").textContent;
    this.grid = [0, 0.5, 1].map((share) => ({ share, line: drawn("line", { class: "grid" }), text: drawn("text", { class: "tick" }) }));
    this.times = [0, 0.5, 1].map((share) => ({ share, text: drawn("text", { class: "tick" }) }));
    this.paths = new Map(lines.map(([name]) => [name, drawn("path", { class: "line", "data-line": name })]));
    this.dots = new Map(lines.map(([name]) => [name, drawn("circle", { class: "dot", "data-line": name, r: 3 })]));
    this.numbers = new Map(lines.map(([name]) => [name, element("dd", "", "–")]));
    this.svg = drawn("svg", { class: "plot", role: "img", height: HEIGHT }, ...this.grid.map(({ line }) => line), ...this.paths.values(),
      ...this.dots.values(), ...[...this.grid, ...this.times].map(({ text }) => text));
    figure.append(this.svg, element("dl", "legend", ...lines.map(([name, label]) => this.entry(name, label))));
    this.last = null;
    new ResizeObserver(() => this.last && this.paint()).observe(figure);
  }

  entry(name, label) {
    const sign = drawn("svg", { class: "sign", "aria-hidden": "true" }, drawn("line", { class: "line", "data-line": name, x1: 1, x2: 19, y1: 5, y2: 5 }));
    const entry = element("div", "", element("dt", "", sign, label), this.numbers.get(name));
    entry.dataset.line = name;
    return entry;
  }

  /** `times` in ms, `values` a Map of name to as many numbers, null where there is none; `texts` replaces what is said of a name. */
  draw(now, times, values, texts = {}) {
    this.last = { now, times, values };
    for (const [name] of this.lines) {
      const latest = values.get(name).at(-1) ?? null;
      const text = texts[name] ?? (latest === null ? "–" : this.format(latest));
      if (this.numbers.get(name).textContent !== text) this.numbers.get(name).textContent = text;
    }
    this.svg.setAttribute("aria-label", this.described());
    this.paint();
  }

  described() {
    const parts = this.lines.map(([name, label]) => {
      const known = this.last.values.get(name).filter((value) => value !== null);
      if (!known.length) return `${label}: nothing known`;
      return `${label}: now ${this.numbers.get(name).textContent}, between ${this.format(Math.min(...known))} and ${this.format(Math.max(...known))}`;
    });
    return `${this.title}, the last ${this.spanMs / 60_000} minutes. ${parts.join(". ")}.`;
  }

  paint() {
    const { now, times, values } = this.last;
    const width = this.svg.clientWidth || this.figure.clientWidth;
    const most = Math.max(...[...values.values()].flat().filter((value) => value !== null), 0);
    const top = round(Math.max(most, this.least));
    const x = (at) => width * (1 - (now - at) / this.spanMs);
    const y = (value) => HEIGHT - BELOW - (value / top) * (HEIGHT - BELOW - ABOVE);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    for (const { share, line, text } of this.grid) {
      const at = y(share * top);
      for (const [name, value] of Object.entries({ x1: 0, x2: width, y1: at, y2: at })) line.setAttribute(name, value);
      text.setAttribute("y", at - 4);
      text.textContent = share ? this.tick(share * top) : "";
    }
    for (const { share, text } of this.times) {
      text.setAttribute("x", share * width);
      text.setAttribute("y", HEIGHT - 5);
      text.setAttribute("text-anchor", ["start", "middle", "end"][share * 2]);
      text.textContent = share === 1 ? "now" : `${((1 - share) * this.spanMs) / 60_000} min ago`;
    }
    for (const [name, path] of this.paths) this.line(path, this.dots.get(name), times, values.get(name), x, y);
  }

  line(path, dot, times, values, x, y) {
    const steps = [];
    let before = null;
    values.forEach((value, i) => {
      if (value === null) before = null;
      if (value === null || x(times[i]) < 0) return;
      const [to, at] = [x(times[i]).toFixed(1), y(value).toFixed(1)];
      if (before === null || times[i] - before > GAP_MS) steps.push(`M${to} ${at}`);
      else steps.push(this.steps ? `H${to}V${at}` : `L${to} ${at}`);
      before = times[i];
    });
    path.setAttribute("d", steps.join(""));
    const last = values.at(-1) ?? null;
    dot.setAttribute("visibility", last === null ? "hidden" : "visible");
    if (last !== null) {
      dot.setAttribute("cx", x(times.at(-1)) - 4); // all of it is to be seen
      dot.setAttribute("cy", y(last));
    }
  }
}
