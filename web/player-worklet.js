// Runs on the audio thread: plays replies as they arrive and knows to the sample what has been played.
//
// Orders: start (a reply begins), audio (int16 at the server's rate), end, hold, resume, clear, and pause (on): silence that
// this side decided on. Reports: { turn, seconds, playing, finished, cut, gaps, ahead } while sound is coming out, and whenever it
// starts or stops. Stopping and starting slide over 5 ms; a hard edge would be a click.
//
// The network brings sound unevenly, so a little of it is kept ahead: 40 ms at first, more after each gap that a bit
// more would have bridged, less again after replies without one.

import { Resampler } from "./resample.js";

const REPORTS_PER_SECOND = 4;
const RAMP_S = 0.005;
const [LEAST_AHEAD_S, MOST_AHEAD_S] = [0.04, 0.3];
const GROWTH = 1.6;
const SHRINKAGE = 0.85;
const BRIDGEABLE_S = 0.3; // a longer gap is the server's own: the next sentence was not there yet
const PATIENCE = 2; // times what is kept ahead; then what is there is played, for no more may come

/**
 * @typedef {{ order: "start", turn: number } | { order: "audio", pcm: Int16Array } | { order: "pause", on: boolean }
 *   | { order: "end" | "hold" | "resume" | "clear" }} Order
 */

class PlayerProcessor extends AudioWorkletProcessor {
  /** @param {AudioWorkletNodeOptions} options */
  constructor({ processorOptions }) {
    super();
    this.resampler = new Resampler(processorOptions.rate, sampleRate);
    this.ramp = 1 / Math.round(RAMP_S * sampleRate);
    this.aheadS = LEAST_AHEAD_S;
    this.held = this.pausedLocally = false;
    /** @type {number[]} */
    this.rest = []; // of a reply that was cut: its last 5 ms, sliding to silence
    this.begin(null);
    this.port.onmessage = ({ data }) => this.obey(data);
  }

  /** @param {number | null} turn */
  begin(turn) {
    this.turn = turn;
    /** @type {Float32Array[]} */
    this.queue = []; // blocks at the context's rate
    /** @type {number} */
    this.offset = 0; // samples of the first block that have been played
    /** @type {number} */
    this.queued = 0; // samples that have not
    /** @type {number} */
    this.played = 0;
    /** @type {number} */
    this.reported = 0;
    /** @type {number} */
    this.gain = 0;
    this.ended = false;
    this.filling = true; // until enough is ahead
    /** @type {number} */
    this.silent = 0; // samples since the sound ran out, or since the first of them came
    /** @type {number} */
    this.gaps = 0;
    /** @type {boolean} */
    this.sounding = false;
  }

  // --- orders -----------------------------------------------------------------------------------------

  /** @param {Order} order */
  obey(order) {
    if (order.order === "start") this.start(order.turn);
    else if (order.order === "audio") this.audio(order.pcm);
    else if (order.order === "pause") this.pausedLocally = order.on;
    else if (order.order === "end") this.end();
    else if (order.order === "clear") this.clear();
    else this.held = order.order === "hold";
  }

  /** @param {number} turn */
  start(turn) {
    this.cut();
    this.resampler.reset();
    this.held = false;
    this.begin(turn);
  }

  /** @param {Int16Array} pcm */
  audio(pcm) {
    if (this.turn !== null) this.add(this.resampler.push(Float32Array.from(pcm, (sample) => sample / 32768)));
  }

  end() {
    if (this.turn === null) return;
    this.add(this.resampler.flush());
    this.ended = true;
    if (this.queued === 0) this.stop(); // nothing is left to play
  }

  clear() {
    this.cut();
    this.stop(true);
  }

  // --- sound ------------------------------------------------------------------------------------------

  /** @param {Float32Array} block */
  add(block) {
    if (block.length === 0) return;
    this.queue.push(block);
    this.queued += block.length;
  }

  /** What is being played fades out under what comes next. */
  cut() {
    while (this.gain > 0 && this.queued > 0) {
      this.gain = Math.max(0, this.gain - this.ramp);
      this.rest.push(this.next() * this.gain);
      this.played += 1;
    }
  }

  /** @param {Float32Array[][]} _ @param {Float32Array[][]} outputs */
  process(_, [[output]]) {
    const quiet = this.held || this.pausedLocally;
    let written = 0;
    if (this.filled()) {
      while (written < output.length && this.queued > 0 && (!quiet || this.gain > 0)) {
        const fades = quiet || (!this.ended && this.queued <= this.gain / this.ramp); // nothing follows: slide out with what is left
        this.gain = fades ? Math.max(0, this.gain - this.ramp) : Math.min(1, this.gain + this.ramp);
        output[written] = this.next() * this.gain;
        written += 1;
      }
      this.played += written;
      if (this.queued === 0 && !this.ended && this.turn !== null && !quiet) this.ranOut();
    }
    this.rest.splice(0, output.length).forEach((sample, i) => (output[i] += sample));
    this.watch(written > 0);
    return true;
  }

  next() {
    if (this.offset >= this.queue[0].length) {
      this.queue.shift();
      this.offset = 0;
    }
    this.offset += 1;
    this.queued -= 1;
    return this.queue[0][this.offset - 1];
  }

  /** Is enough ahead to play? */
  filled() {
    if (!this.filling) return true;
    if (this.queued > 0 || this.played > 0) this.silent += 128;
    const ahead = this.aheadS * sampleRate;
    if (this.queued === 0 || !(this.ended || this.queued >= ahead || this.silent >= PATIENCE * ahead)) return false;
    if (this.played > 0 && !this.ended && this.silent < BRIDGEABLE_S * sampleRate) {
      this.gaps += 1;
      this.aheadS = Math.min(MOST_AHEAD_S, this.aheadS * GROWTH);
    }
    this.filling = false;
    return true;
  }

  ranOut() {
    this.filling = true;
    this.silent = 0;
    this.gain = 0; // after a gap the sound slides in again
  }

  /**
   * Tell about beginnings, progress and silences.
   * @param {boolean} sounds
   */
  watch(sounds) {
    if (this.ended && this.queued === 0) {
      if (this.gaps === 0) this.aheadS = Math.max(LEAST_AHEAD_S, this.aheadS * SHRINKAGE);
      this.stop();
    } else if (sounds !== this.sounding || this.played - this.reported > sampleRate / REPORTS_PER_SECOND) {
      this.sounding = sounds;
      this.report(false);
    }
  }

  /** The reply is over, played to its end or cut. */
  stop(cut = false) {
    if (this.turn === null) return;
    this.sounding = false;
    this.report(true, cut);
    this.begin(null);
  }

  /** @param {boolean} finished */
  report(finished, cut = false) {
    this.reported = this.played;
    const { turn, sounding: playing, gaps, aheadS: ahead } = this;
    this.port.postMessage({ turn, seconds: this.played / sampleRate, playing, finished, cut, gaps, ahead });
  }
}

registerProcessor("player", PlayerProcessor);
