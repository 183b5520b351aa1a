// Runs on the audio thread: plays replies as they arrive and knows to the sample what has been played.
//
// Orders: start (a reply begins), audio (int16 at the server's rate), end, hold, resume, clear, and hush (on): silence that
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

class PlayerProcessor extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.resampler = new Resampler(processorOptions.rate, sampleRate);
    this.ramp = 1 / Math.round(RAMP_S * sampleRate);
    this.aheadS = LEAST_AHEAD_S;
    this.held = this.hushed = false;
    this.rest = []; // of a reply that was cut: its last 5 ms, sliding to silence
    this.begin(null);
    this.port.onmessage = ({ data }) => this[data.order](data);
  }

  begin(turn) {
    this.turn = turn;
    this.queue = []; // Float32Array blocks at the context's rate
    this.offset = 0; // samples of the first block that have been played
    this.queued = 0; // samples that have not
    this.played = 0;
    this.reported = 0;
    this.gain = 0;
    this.ended = false;
    this.filling = true; // until enough is ahead
    this.silent = 0; // samples since the sound ran out, or since the first of them came
    this.gaps = 0;
    this.sounding = false;
  }

  // --- orders -----------------------------------------------------------------------------------------

  start({ turn }) {
    this.cut();
    this.resampler.reset();
    this.held = false;
    this.begin(turn);
  }

  audio({ pcm }) {
    if (this.turn !== null) this.add(this.resampler.push(Float32Array.from(pcm, (sample) => sample / 32768)));
  }

  end() {
    if (this.turn === null) return;
    this.add(this.resampler.flush());
    this.ended = true;
    if (this.queued === 0) this.stop(); // nothing left that could tell of the end
  }

  hold() {
    this.held = true;
  }

  resume() {
    this.held = false;
  }

  hush({ on }) {
    this.hushed = on;
  }

  clear() {
    this.cut();
    this.stop(true);
  }

  // --- sound ------------------------------------------------------------------------------------------

  add(block) {
    if (block.length === 0) return;
    this.queue.push(block);
    this.queued += block.length;
  }

  /** What is being heard slides away under whatever comes next. */
  cut() {
    while (this.gain > 0 && this.queued > 0) {
      this.gain = Math.max(0, this.gain - this.ramp);
      this.rest.push(this.next() * this.gain);
      this.played += 1;
    }
  }

  process(_, [[output]]) {
    const quiet = this.held || this.hushed;
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

  /** Tell about beginnings, progress and silences. */
  watch(sounds) {
    if (this.ended && this.queued === 0) {
      if (this.gaps === 0) this.aheadS = Math.max(LEAST_AHEAD_S, this.aheadS * SHRINKAGE);
      this.stop();
    } else if (sounds !== this.sounding || this.played - this.reported > sampleRate / REPORTS_PER_SECOND) {
      this.sounding = sounds;
      this.report(false);
    }
  }

  /** The reply is over, heard to its end or cut. */
  stop(cut = false) {
    if (this.turn === null) return;
    this.sounding = false;
    this.report(true, cut);
    this.begin(null);
  }

  report(finished, cut = false) {
    this.reported = this.played;
    const { turn, sounding: playing, gaps, aheadS: ahead } = this;
    this.port.postMessage({ turn, seconds: this.played / sampleRate, playing, finished, cut, gaps, ahead });
  }
}

registerProcessor("player", PlayerProcessor);
