// A chart of the last minutes: lines over time as SVG, with a list of what they are now beside them.

import { drawn, element, find } from "./elements.js";

const HEIGHT = 128; // px, as in dashboard.css
const [ABOVE, BELOW] = [16, 20]; // px: room for the labels
const GAP_MS = 10_000; // a longer gap between samples: the line is interrupted

/**
 * The least number of the form 1, 2, 4 or 10 × 10^n that is not below `most`: its half is as round.
 * @param {number} most
 */
const round = (most) => {
  const power = 10 ** Math.floor(Math.log10(most));
  return power * ([1, 2, 4].find((step) => step * power >= most * 0.999) ?? 10);
};

/** @typedef {(number | null)[]} Values as many as there are times; null where nothing is known */

export class Chart {
  /**
   * @param {HTMLElement} figure
   * @param {object} options
   * @param {[string, string][]} options.lines name and label; the name is also the `data-line` that dashboard.css gives a colour and a pattern
   * @param {(value: number) => string} options.format writes a number for people
   * @param {(value: number) => string} [options.tick] writes the round ones of the scale
   * @param {number} options.least the smallest top of the scale
   * @param {number} options.spanMs
   * @param {boolean} [options.steps] draws what changes in jumps
   */
  constructor(figure, { lines, format, tick = format, least, spanMs, steps = false }) {
    this.figure = figure;
    this.lines = lines;
    this.format = format;
    this.tick = tick;
    this.least = least;
    this.spanMs = spanMs;
    this.steps = steps;
    this.title = find("h2", HTMLElement, figure).textContent;
    this.grid = [0, 0.5, 1].map((share) => ({ share, line: drawn("line", { class: "grid" }), text: drawn("text", { class: "tick" }) }));
    this.times = [0, 0.5, 1].map((share) => ({ share, text: drawn("text", { class: "tick" }) }));
    this.paths = new Map(lines.map(([name]) => [name, drawn("path", { class: "line", "data-line": name })]));
    this.dots = new Map(lines.map(([name]) => [name, drawn("circle", { class: "dot", "data-line": name, r: 3 })]));
    this.numbers = new Map(lines.map(([name]) => [name, element("dd", "", "–")]));
    this.svg = drawn("svg", { class: "plot", role: "img", height: HEIGHT }, ...this.grid.map(({ line }) => line), ...this.paths.values(),
      ...this.dots.values(), ...[...this.grid, ...this.times].map(({ text }) => text));
    figure.append(this.svg, element("dl", "legend", ...lines.map(([name, label]) => this.entry(name, label))));
    /** @type {{ now: number, times: number[], values: Map<string, Values> }} */
    this.last = { now: 0, times: [], values: new Map() };
    new ResizeObserver(() => this.last.times.length > 0 && this.paint()).observe(figure);
  }

  entry(name, label) {
    const sign = drawn("svg", { class: "sign", "aria-hidden": "true" }, drawn("line", { class: "line", "data-line": name, x1: 1, x2: 19, y1: 5, y2: 5 }));
    const entry = element("div", "", element("dt", "", sign, label), this.number(name));
    entry.dataset.line = name;
    return entry;
  }

  /** @param {string} name */
  number(name) {
    const node = this.numbers.get(name);
    if (!node) throw new Error(`${this.title} has no line ${name}`);
    return node;
  }

  /**
   * `texts` replaces what is said of a name.
   * @param {number} now @param {number[]} times in ms @param {Map<string, Values>} values of each name @param {{ [name: string]: string }} texts
   */
  draw(now, times, values, texts = {}) {
    this.last = { now, times, values };
    for (const [name] of this.lines) {
      const latest = values.get(name)?.at(-1) ?? null;
      const text = texts[name] ?? (latest === null ? "–" : this.format(latest));
      if (this.number(name).textContent !== text) this.number(name).textContent = text;
    }
    this.svg.setAttribute("aria-label", this.described());
    this.paint();
  }

  described() {
    const parts = this.lines.map(([name, label]) => {
      const known = (this.last.values.get(name) ?? []).filter((value) => value !== null);
      if (!known.length) return `${label}: nothing known`;
      return `${label}: now ${this.number(name).textContent}, between ${this.format(Math.min(...known))} and ${this.format(Math.max(...known))}`;
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
      for (const [name, value] of Object.entries({ x1: 0, x2: width, y1: at, y2: at })) line.setAttribute(name, String(value));
      text.setAttribute("y", String(at - 4));
      text.textContent = share ? this.tick(share * top) : "";
    }
    for (const { share, text } of this.times) {
      text.setAttribute("x", String(share * width));
      text.setAttribute("y", String(HEIGHT - 5));
      text.setAttribute("text-anchor", ["start", "middle", "end"][share * 2]);
      text.textContent = share === 1 ? "now" : `${((1 - share) * this.spanMs) / 60_000} min ago`;
    }
    for (const [name, path] of this.paths) this.line(path, this.dots.get(name), times, values.get(name) ?? [], x, y);
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
      dot.setAttribute("cx", String(x(times.at(-1)) - 4)); // all of it is to be seen
      dot.setAttribute("cy", String(y(last)));
    }
  }
}
