// What /metrics said in the last minutes, and how much was counted between two moments.

import { key } from "./prometheus.js";

const PREFIX = "whisperfusion_";
const COUNTER = /_(total|bucket|count|sum)(,|$)/;

export const named = (name, stage) => key(PREFIX + name, { stage });

export class History {
  /** Samples older than `keepMs` are forgotten. */
  constructor(keepMs) {
    this.keepMs = keepMs;
    this.samples = []; // { at, values, lost }, oldest first
    this.seen = new Map(); // counter -> its last value
    this.lost = new Map(); // counter -> what it had counted before its process started again
  }

  /** `values` as `parse` gives them; `at` in ms. */
  add(at, values) {
    for (const [name, value] of values) {
      if (!COUNTER.test(name)) continue;
      const before = this.seen.get(name);
      // A new Map, since samples keep theirs: a process starts again too seldom for the copies to matter.
      if (value < before) this.lost = new Map(this.lost).set(name, (this.lost.get(name) ?? 0) + before);
      this.seen.set(name, value);
    }
    this.samples.push({ at, values, lost: this.lost });
    while (this.samples[0].at < at - this.keepMs) this.samples.shift();
  }

  get latest() {
    return this.samples.at(-1);
  }

  value(name, stage, sample = this.latest) {
    return sample?.values.get(named(name, stage)) ?? null;
  }

  /** The first sample of the `ms` before sample `index`; one before them would count what came earlier, while the page was hidden. */
  start(index, ms) {
    const from = this.samples[index].at - ms;
    let first = index;
    while (first > 0 && this.samples[first - 1].at >= from) first -= 1;
    return first;
  }

  /** How much a counter rose within the `ms` before sample `index`, or as much of them as is known; null: it is not known. */
  increase(name, index, ms) {
    if (!this.samples[index].values.has(name)) return null;
    let from = this.start(index, ms);
    while (!this.samples[from].values.has(name)) from += 1; // its process was down
    return this.counted(name, index) - this.counted(name, from);
  }

  counted(name, index) {
    const { values, lost } = this.samples[index];
    return values.get(name) + (lost.get(name) ?? 0);
  }

  /** The histogram of the `ms` before sample `index` as [bound, count at most that]; Infinity: since its process started. */
  buckets(name, stage, index, ms) {
    const { values } = this.samples[index];
    const found = [];
    for (const bound of this.bounds(name, stage)) {
      const one = key(`${PREFIX}${name}_bucket`, { stage, le: bound });
      const count = ms === Infinity ? values.get(one) : this.increase(one, index, ms);
      if (count !== undefined && count !== null) found.push([bound === "+Inf" ? Infinity : Number(bound), count]);
    }
    return found;
  }

  bounds(name, stage) {
    const [start, end] = [`${PREFIX}${name}_bucket,le=`, `,stage=${stage}`];
    const texts = [...this.seen.keys()].filter((one) => one.startsWith(start) && one.endsWith(end)).map((one) => one.slice(start.length, -end.length));
    return texts.sort((one, other) => Number(one.replace("+Inf", "Infinity")) - Number(other.replace("+Inf", "Infinity")));
  }
}
