// The spectrum of a stream in overlapping windows, and the stream made of such spectra again. For use inside a worklet.
//
// Windows of 512 samples, one every 256, with the square root of a Hann window before and after: what is not
// changed in between comes out as it went in, 256 samples later.

export const WINDOW = 512;
export const HOP = WINDOW / 2;
export const BINS = WINDOW / 2 + 1;

const SHAPE = Float32Array.from({ length: WINDOW }, (_, i) => Math.sin((Math.PI * (i + 0.5)) / WINDOW));

// Twiddle factors and the order of the first pass, for the radix-2 transform of Cooley and Tukey (1965).
const COS = Float32Array.from({ length: WINDOW / 2 }, (_, i) => Math.cos((2 * Math.PI * i) / WINDOW));
const SIN = Float32Array.from({ length: WINDOW / 2 }, (_, i) => Math.sin((2 * Math.PI * i) / WINDOW));
const BITS = Math.log2(WINDOW);
const REVERSED = Uint16Array.from({ length: WINDOW }, (_, i) => parseInt(i.toString(2).padStart(BITS, "0").split("").reverse().join(""), 2));

/**
 * In place, forward; both arrays have WINDOW entries.
 * @param {Float32Array} real @param {Float32Array} imaginary
 */
function transform(real, imaginary) {
  for (let i = 0; i < WINDOW; i += 1) {
    const j = REVERSED[i];
    if (j <= i) continue;
    [real[i], real[j]] = [real[j], real[i]];
    [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
  }
  for (let size = 2; size <= WINDOW; size *= 2) {
    const half = size / 2;
    const step = WINDOW / size;
    for (let start = 0; start < WINDOW; start += size) {
      for (let k = 0; k < half; k += 1) {
        const [cos, sin] = [COS[k * step], -SIN[k * step]];
        const [i, j] = [start + k, start + k + half];
        const re = real[j] * cos - imaginary[j] * sin;
        const im = real[j] * sin + imaginary[j] * cos;
        real[j] = real[i] - re;
        imaginary[j] = imaginary[i] - im;
        real[i] += re;
        imaginary[i] += im;
      }
    }
  }
}

export class Spectrum {
  /**
   * `change` is called for each window: the power of BINS frequencies, and a gain for each (1 at first) to be set.
   * @param {(power: Float32Array, gains: Float32Array) => void} change
   */
  constructor(change) {
    this.change = change;
    this.past = new Float32Array(WINDOW); // the window's samples
    this.tail = new Float32Array(HOP); // the second half of what came out of the window before
    this.filled = 0;
    this.real = new Float32Array(WINDOW);
    this.imaginary = new Float32Array(WINDOW);
    this.power = new Float32Array(BINS);
    this.gains = new Float32Array(BINS);
  }

  /**
   * Any number of samples in; as many come out, in blocks of HOP.
   * @param {Float32Array} input @param {(block: Float32Array) => void} output
   */
  push(input, output) {
    for (const sample of input) {
      this.past[HOP + this.filled] = sample;
      this.filled += 1;
      if (this.filled === HOP) output(this.window());
    }
  }

  window() {
    const { past, real, imaginary, power, gains } = this;
    for (let i = 0; i < WINDOW; i += 1) real[i] = past[i] * SHAPE[i];
    imaginary.fill(0);
    transform(real, imaginary);
    for (let i = 0; i < BINS; i += 1) power[i] = real[i] * real[i] + imaginary[i] * imaginary[i];
    gains.fill(1);
    this.change(power, gains);
    for (let i = 0; i < BINS; i += 1) {
      const mirror = (WINDOW - i) % WINDOW;
      real[i] *= gains[i];
      imaginary[i] *= -gains[i]; // conjugated, so that the forward transform goes back
      real[mirror] = real[i];
      imaginary[mirror] = -imaginary[i];
    }
    transform(real, imaginary);
    const block = new Float32Array(HOP);
    for (let i = 0; i < HOP; i += 1) {
      block[i] = this.tail[i] + (real[i] / WINDOW) * SHAPE[i];
      this.tail[i] = (real[HOP + i] / WINDOW) * SHAPE[HOP + i];
    }
    past.copyWithin(0, HOP);
    this.filled = 0;
    return block;
  }
}
