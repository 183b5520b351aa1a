// Detects speech in the microphone within 0.1 s, to pause playback before the server can. A false alarm costs a pause of half
// a second; after three in a row it is ignored.

import { BINS, HOP, WINDOW } from "./spectrum.js";

const RATE = 16000;
const [LOW, HIGH] = [250, 3800].map((hertz) => Math.round((hertz * WINDOW) / RATE)); // bins that speech fills
const OVER_DB = 9; // above the noise
const LEAST_DB = -58; // of full scale: what is softer is not a voice near a microphone
const WITHIN = 6; // windows of 16 ms, of which
const LOUD = 5; // must be loud
const QUIET_S = 0.3; // and it is over

export class VoiceDetector {
  constructor() {
    this.over = OVER_DB; // raised after false alarms
    /** @type {boolean[]} */
    this.recent = [];
    this.quiet = 0;
    this.speaking = false;
  }

  /**
   * One window; returns true when a voice begins, false when it has ended, undefined when nothing changed.
   * @param {Float32Array} power @param {Float32Array} floor
   */
  window(power, floor) {
    let [sound, noise] = [1e-12, 1e-12];
    for (let i = LOW; i < Math.min(HIGH, BINS); i += 1) {
      sound += power[i];
      noise += floor[i];
    }
    // A sine of full scale has the power (WINDOW / 4)² · 2 in its bins under this window.
    const level = 10 * Math.log10(sound / (WINDOW * WINDOW * 0.125));
    const loud = level > LEAST_DB && 10 * Math.log10(sound / noise) > this.over;
    this.recent = [...this.recent.slice(1 - WITHIN), loud];
    this.quiet = loud ? 0 : this.quiet + HOP / RATE;
    const speaking = this.speaking ? this.quiet < QUIET_S : this.recent.filter(Boolean).length >= LOUD;
    if (speaking === this.speaking) return undefined;
    this.speaking = speaking;
    return speaking;
  }
}
