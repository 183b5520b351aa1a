// Changes the sample rate of a stream. Used inside both audio worklets, so it holds no state but its own.
//
// Rates are reduced to a fraction up/down. Each output sample falls between two input samples at one of
// `up` phases, and for each phase there is one low-pass filter: a sinc under a Kaiser window, cut off below
// half of the lower rate, so nothing above it folds back as a false tone.

const HALF_WIDTH = 24; // zero crossings on each side, counted at the lower rate
const KAISER_BETA = 8; // about 80 dB of attenuation
const CUTOFF = 0.92; // of half the lower rate; the rest is the slope of the filter

/** @type {(a: number, b: number) => number} */
const divisor = (a, b) => (b === 0 ? a : divisor(b, a % b));

/** @param {number} x */
function bessel(x) {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > sum * 1e-10; k += 1) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

/** @param {number} x */
const kaiser = (x) => (Math.abs(x) >= 1 ? 0 : bessel(KAISER_BETA * Math.sqrt(1 - x * x)) / bessel(KAISER_BETA));

/** @param {number} x */
const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

/**
 * One filter per phase; `reach` input samples on each side. Every filter adds up to 1, so loudness stays.
 * @param {number} up @param {number} down @param {number} reach
 */
function filters(up, down, reach) {
  const scale = Math.min(1, up / down) * CUTOFF;
  return Array.from({ length: up }, (_, phase) => {
    const taps = Float32Array.from({ length: 2 * reach }, (_, i) => {
      const distance = i - (reach - 1) - phase / up; // in input samples, from the point that is wanted
      return sinc(distance * scale) * kaiser(distance / reach);
    });
    const sum = taps.reduce((a, b) => a + b, 0);
    return taps.map((tap) => tap / sum);
  });
}

export class Resampler {
  /**
   * Rates in samples per second, whole numbers.
   * @param {number} from @param {number} to
   */
  constructor(from, to) {
    const common = divisor(from, to);
    this.up = to / common;
    this.down = from / common;
    this.reach = Math.ceil(HALF_WIDTH * Math.max(1, this.down / this.up));
    this.filters = this.up === this.down ? null : filters(this.up, this.down, this.reach);
    this.waiting = new Float32Array(0);
    this.phase = 0;
    this.reset();
  }

  /** Forget the past: the next samples start a new stream. */
  reset() {
    this.waiting = new Float32Array(this.reach - 1); // silence before the first sample
    this.phase = 0;
  }

  /**
   * What is known of the new rate after `input`; some samples follow with the next call.
   * @param {Float32Array<ArrayBuffer>} input
   */
  push(input) {
    if (!this.filters) return input;
    const samples = new Float32Array(this.waiting.length + input.length);
    samples.set(this.waiting);
    samples.set(input, this.waiting.length);
    const width = 2 * this.reach;
    const output = [];
    let start = 0;
    while (start + width <= samples.length) {
      const taps = this.filters[this.phase];
      let sum = 0;
      for (let i = 0; i < width; i += 1) sum += samples[start + i] * taps[i];
      output.push(sum);
      this.phase += this.down;
      start += Math.floor(this.phase / this.up);
      this.phase %= this.up;
    }
    this.waiting = samples.slice(start);
    return Float32Array.from(output);
  }

  /** The last samples, as if silence followed. */
  flush() {
    return this.filters ? this.push(new Float32Array(this.reach)) : new Float32Array(0);
  }
}
