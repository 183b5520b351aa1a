// The text format of Prometheus, and percentiles from its histograms.

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?\s+(\S+)/;
const LABEL = /([a-zA-Z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"/g;
const ESCAPED = { "\\\\": "\\", '\\"': '"', "\\n": "\n" };
const SPECIAL = { "+Inf": Infinity, Inf: Infinity, "-Inf": -Infinity };

/** The name that a sample has in what `parse` gives: its labels in the order of the alphabet. */
export const key = (name, labels = {}) => [name, ...Object.keys(labels).sort().map((label) => `${label}=${labels[label]}`)].join(",");

/** Map of key to value; comments and unknown lines are skipped. */
export function parse(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const [, name, inside = "", number] = SAMPLE.exec(line) ?? [];
    if (!name) continue;
    const labels = {};
    for (const [, label, value] of inside.matchAll(LABEL)) labels[label] = value.replace(/\\[\\"n]/g, (one) => ESCAPED[one]);
    found.set(key(name, labels), SPECIAL[number] ?? Number(number));
  }
  return found;
}

/**
 * What a share `q` (0 to 1) of all measurements does not exceed; NaN where there are none.
 *
 * `buckets` are [upper bound, how many were at most that much], ascending, the last bound Infinity. As histogram_quantile
 * does, it takes the measurements of a bucket to be spread evenly, and says the last finite bound where they were above it.
 */
export function quantile(q, buckets) {
  const total = buckets.at(-1)?.[1] ?? 0;
  if (!(total > 0) || buckets.length < 2) return NaN;
  const rank = q * total;
  const at = buckets.findIndex(([, count]) => count >= rank);
  if (at === buckets.length - 1) return buckets[at - 1][0];
  const [bound, count] = buckets[at];
  const [lower, before] = at ? buckets[at - 1] : [0, 0];
  return count > before ? lower + ((bound - lower) * (rank - before)) / (count - before) : bound;
}
