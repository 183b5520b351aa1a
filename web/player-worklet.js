// Runs on the audio thread: plays replies as they arrive and knows to the sample what has been played.
//
// Orders: start (a reply begins), audio (int16 at the server's rate), end, hold, resume, clear.
// Reports: { turn, seconds, playing, finished } while sound is coming out, and whenever it stops.
// Stopping and starting slide over 5 ms; a hard edge would be a click.

import { Resampler } from "./resample.js";

const REPORTS_PER_SECOND = 4;
const RAMP_S = 0.005;

class PlayerProcessor extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.resampler = new Resampler(processorOptions.rate, sampleRate);
    this.ramp = 1 / Math.round(RAMP_S * sampleRate);
    this.gain = 0;
    this.held = false;
    this.begin(null);
    this.port.onmessage = ({ data }) => this[data.order](data);
  }

  begin(turn) {
    this.turn = turn;
    this.queue = []; // Float32Array blocks at the context's rate
    this.offset = 0; // samples of the first block that have been played
    this.played = 0;
    this.reported = 0;
    this.ended = false;
    this.dropping = false; // sliding to silence before what is left is thrown away
    this.sounding = false;
  }

  start({ turn }) {
    this.resampler.reset();
    this.held = false;
    this.begin(turn);
  }

  audio({ pcm }) {
    if (this.turn === null || this.dropping) return; // sound of a reply that was thrown away
    this.queue.push(this.resampler.push(Float32Array.from(pcm, (sample) => sample / 32768)));
  }

  end() {
    if (this.turn === null || this.dropping) return;
    this.queue.push(this.resampler.flush());
    this.ended = true;
    if (this.queue.every((block) => block.length === 0)) this.stop(); // nothing left that could tell of the end
  }

  hold() {
    this.held = true;
  }

  resume() {
    this.held = false;
  }

  clear() {
    this.dropping = true;
    if (this.gain === 0) this.stop();
  }

  process(_, [[output]]) {
    const wanted = this.held || this.dropping ? 0 : 1;
    let written = 0;
    while (written < output.length && (wanted === 1 || this.gain > 0)) {
      const sample = this.next();
      if (sample === undefined) break;
      this.gain = wanted === 1 ? Math.min(1, this.gain + this.ramp) : Math.max(0, this.gain - this.ramp);
      output[written] = sample * this.gain;
      written += 1;
    }
    this.played += written;
    if (this.dropping && this.gain === 0) this.stop();
    else this.watch(written > 0);
    return true;
  }

  next() {
    while (this.queue.length > 0 && this.offset >= this.queue[0].length) {
      this.queue.shift();
      this.offset = 0;
    }
    if (this.queue.length === 0) return undefined;
    this.offset += 1;
    return this.queue[0][this.offset - 1];
  }

  /** Tell about beginnings, progress and silences. */
  watch(sounds) {
    if (!sounds) this.gain = 0; // after a gap the sound slides in again
    const finished = this.ended && this.queue.length === 0;
    if (finished) this.stop();
    else if (sounds !== this.sounding || this.played - this.reported > sampleRate / REPORTS_PER_SECOND) {
      this.sounding = sounds;
      this.report(false);
    }
  }

  /** The reply is over, heard to its end or cut. */
  stop() {
    if (this.turn === null) return;
    this.sounding = false;
    this.gain = 0;
    this.report(true);
    this.begin(null);
  }

  report(finished) {
    this.reported = this.played;
    this.port.postMessage({ turn: this.turn, seconds: this.played / sampleRate, playing: this.sounding, finished });
  }
}

registerProcessor("player", PlayerProcessor);
