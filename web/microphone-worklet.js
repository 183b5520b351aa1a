// Runs on the audio thread: the microphone at the hardware's rate in, 16 kHz int16 frames of 50 ms out.
//
// Posts { pcm, level } for each frame and { voice } when a voice begins or ends. Orders: denoise (on), alarm (over: dB above the noise).

import { HighPass, NoiseFloor, Suppressor } from "./denoise.js";
import { Resampler } from "./resample.js";
import { Spectrum } from "./spectrum.js";
import { VoiceDetector } from "./voice.js";

const RATE = 16000; // samples per second that the server expects
const FRAME = 800; // samples per message, 50 ms

/** @typedef {{ order: "denoise", on: boolean } | { order: "alarm", over: number }} Order */

class MicrophoneProcessor extends AudioWorkletProcessor {
  /** @param {AudioWorkletNodeOptions} options */
  constructor({ processorOptions }) {
    super();
    this.resampler = new Resampler(sampleRate, RATE);
    this.denoising = Boolean(processorOptions?.denoise);
    this.highPass = new HighPass();
    this.floor = new NoiseFloor();
    this.suppressor = new Suppressor();
    this.detector = new VoiceDetector();
    this.spectrum = new Spectrum((power, gains) => this.look(power, gains));
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
    this.energy = 0;
    this.port.onmessage = ({ data }) => this.obey(data);
  }

  /** @param {Order} order */
  obey(order) {
    if (order.order === "denoise") this.denoising = order.on;
    else this.detector.over = order.over;
  }

  /** @param {Float32Array<ArrayBuffer>[][]} inputs */
  process([input]) {
    if (input.length === 0) return true;
    const samples = this.resampler.push(input[0]);
    // The detector listens in any case; without suppression the samples themselves are sent, and none is delayed.
    const clean = this.denoising ? samples.map((sample) => this.highPass.next(sample)) : samples;
    this.spectrum.push(clean, (block) => {
      if (this.denoising) this.add(block);
    });
    if (!this.denoising) this.add(samples);
    return true;
  }

  /** @param {Float32Array} power @param {Float32Array} gains */
  look(power, gains) {
    const floor = this.floor.update(power);
    const voice = this.detector.window(power, floor);
    if (voice !== undefined) this.port.postMessage({ voice });
    if (this.denoising) this.suppressor.gains(power, floor, gains);
  }

  /** @param {Float32Array} samples */
  add(samples) {
    for (const sample of samples) {
      const clipped = Math.max(-1, Math.min(1, sample));
      this.frame[this.filled] = Math.round(clipped * 32767);
      this.energy += clipped * clipped;
      this.filled += 1;
      if (this.filled === FRAME) this.ship();
    }
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
