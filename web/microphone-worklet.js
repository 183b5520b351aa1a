// Runs on the audio thread: the microphone at the hardware's rate in, 16 kHz int16 frames of 50 ms out.

import { Resampler } from "./resample.js";

const RATE = 16000; // samples per second that the server hears
const FRAME = 800; // samples per message, 50 ms

class MicrophoneProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, RATE);
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
    this.energy = 0;
  }

  process([input]) {
    if (input.length > 0) for (const sample of this.resampler.push(input[0])) this.add(sample);
    return true;
  }

  add(sample) {
    const clipped = Math.max(-1, Math.min(1, sample));
    this.frame[this.filled] = Math.round(clipped * 32767);
    this.energy += clipped * clipped;
    this.filled += 1;
    if (this.filled === FRAME) this.ship();
  }

  ship() {
    const level = Math.sqrt(this.energy / FRAME);
    this.port.postMessage({ pcm: this.frame.buffer, level }, [this.frame.buffer]);
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
    this.energy = 0;
  }
}

registerProcessor("microphone", MicrophoneProcessor);
