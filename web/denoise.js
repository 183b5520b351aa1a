// Takes steady noise out of a voice at 16 kHz: rumble below speech by a high-pass, the rest in the spectrum.
//
// The noise of each frequency is the least power that was seen there lately (Martin, "Noise power spectral density
// estimation based on optimal smoothing and minimum statistics", 2001), speech is weighed against it by the
// decision-directed rule (Ephraim and Malah, 1984), and the gain is Wiener's.

import { BINS, HOP } from "./spectrum.js";

const RATE = 16000;
const RUMBLE_HZ = 90; // the lowest voices begin here
const SMOOTHING = 0.8; // of the power, before its minimum is looked for
const MEMORY = Math.round((1.5 * RATE) / HOP / 4); // windows in each of the four parts of the stretch that is searched, 1.5 s
const BIAS = 2.0; // the minimum of a noise's smoothed power lies below its mean
const CARRY = 0.97; // of the window before, in what is believed of this one: less makes noise sing
const LEAST_GAIN = 0.16; // -16 dB: what is left of the noise hides what the rule gets wrong

/** A Butterworth high-pass of the second order (Audio EQ Cookbook, Bristow-Johnson), sample by sample. */
export class HighPass {
  constructor(hertz = RUMBLE_HZ, rate = RATE) {
    const angle = (2 * Math.PI * hertz) / rate;
    const alpha = Math.sin(angle) / Math.SQRT2;
    const scale = 1 / (1 + alpha);
    this.b = ((1 + Math.cos(angle)) / 2) * scale;
    this.a1 = -2 * Math.cos(angle) * scale;
    this.a2 = (1 - alpha) * scale;
    this.x1 = this.x2 = this.y1 = this.y2 = 0;
  }

  /** @param {number} x */
  next(x) {
    const y = this.b * (x - 2 * this.x1 + this.x2) - this.a1 * this.y1 - this.a2 * this.y2;
    [this.x2, this.x1, this.y2, this.y1] = [this.x1, x, this.y1, y];
    return y;
  }
}

/** The least of each frequency's power over the last 1.5 s, times what makes a mean of it. */
export class NoiseFloor {
  constructor() {
    /** @type {Float32Array | null} */
    this.smooth = null;
    this.parts = Array.from({ length: 4 }, () => new Float32Array(BINS).fill(Infinity));
    this.age = 0;
    this.floor = new Float32Array(BINS);
  }

  /** @param {Float32Array} power */
  update(power) {
    const smooth = (this.smooth ??= Float32Array.from(power));
    if (this.age === MEMORY) {
      this.age = 0;
      const [oldest, ...younger] = this.parts;
      this.parts = [...younger, oldest.fill(Infinity)];
    }
    this.age += 1;
    const [a, b, c, latest] = this.parts;
    for (let i = 0; i < BINS; i += 1) {
      smooth[i] = SMOOTHING * smooth[i] + (1 - SMOOTHING) * power[i];
      latest[i] = Math.min(latest[i], smooth[i]);
      this.floor[i] = BIAS * Math.min(a[i], b[i], c[i], latest[i]) + 1e-10;
    }
    return this.floor;
  }
}

/** Sets gains from the power of each window and the noise in it. */
export class Suppressor {
  constructor() {
    this.before = new Float32Array(BINS); // the speech that was believed, over the noise
  }

  /** @param {Float32Array} power @param {Float32Array} floor @param {Float32Array} gains set here */
  gains(power, floor, gains) {
    for (let i = 0; i < BINS; i += 1) {
      const over = Math.min(1000, power[i] / floor[i]);
      const speech = CARRY * this.before[i] + (1 - CARRY) * Math.max(0, over - 1);
      const gain = Math.max(LEAST_GAIN, speech / (1 + speech));
      this.before[i] = gain * gain * over;
      gains[i] = gain;
    }
  }
}
