// The microphone and the loudspeaker of one conversation: opened when they are needed, changed when others are chosen,
// replaced when one is pulled out and used again when it comes back.

import { Microphone, Player, SoundError, devices, openSound, sendTo } from "./sound.js";

const RATE = 24000; // samples per second of port 8888

/**
 * @typedef {object} Wishes
 * @property {string} input
 * @property {string} output
 * @property {boolean} denoise
 * @property {boolean} muted
 * @property {boolean} listening whether the microphone is used now
 * @property {boolean} holding push to talk
 */

/**
 * @typedef {object} Handlers
 * @property {import("./sound.js").Hearers["frame"]} frame
 * @property {import("./sound.js").Hearers["voice"]} voice
 * @property {(level: number) => void} level
 * @property {(report: import("./sound.js").Report) => void} played
 * @property {(code: NoticeCode, text: string) => void} trouble
 * @property {() => void} over no microphone is left
 */

/** @typedef {import("./whisperfusion.d.ts").NoticeCode} NoticeCode */

export class AudioIO {
  /** @param {() => Wishes} wishes @param {Handlers} handlers */
  constructor(wishes, handlers) {
    this.wishes = wishes;
    this.handlers = handlers;
    /** @type {AudioContext | null} */
    this.context = null;
    /** @type {Player | null} */
    this.player = null;
    /** @type {Microphone | null} */
    this.microphone = null;
    /** @type {Promise<AudioContext> | null} */
    this.opening = null;
    /** @type {Promise<boolean> | null} */
    this.asking = null;
    this.chosen = "";
    this.changed = () => this.devicesChanged();
    navigator.mediaDevices?.addEventListener?.("devicechange", this.changed);
  }

  /** The loudspeaker, made at the first gesture. Resolves with the AudioContext; null: without sound the page works as well. */
  async openPlayer() {
    this.opening ??= openSound();
    try {
      const context = await this.opening;
      context.resume(); // a phone may have paused it
      if (!this.player) {
        const { muted, output } = this.wishes();
        this.player = new Player(context, RATE, (report) => this.handlers.played(report));
        this.player.muted = muted;
        this.context = context;
        await sendTo(context, output);
      }
      return context;
    } catch (error) {
      this.opening = null;
      return this.failed(error);
    }
  }

  /** Resolves with whether there is one. Calls during the question of the browser wait for the same answer. */
  openMicrophone() {
    this.asking ??= this.ask().finally(() => {
      this.asking = null;
      if (this.microphone && this.chosen !== this.wishes().input) this.reopenMicrophone(); // another was chosen meanwhile
    });
    return this.asking;
  }

  async ask() {
    const context = await this.openPlayer();
    if (!context || this.microphone) return Boolean(this.microphone);
    const { input, denoise } = this.wishes();
    this.chosen = input;
    try {
      const { frame, voice } = this.handlers;
      this.microphone = await Microphone.open(context, { device: input, denoise }, { frame, voice, ended: () => this.unplugged() });
    } catch (error) {
      return Boolean(this.failed(error));
    }
    context.resume(); // where a touch alone does not start sound, the microphone does
    const { listening, holding } = this.wishes();
    if (!listening && !holding) this.closeMicrophone(); // stopped meanwhile
    return true;
  }

  closeMicrophone() {
    this.microphone?.close();
    this.microphone = null;
    this.handlers.level(0);
  }

  async reopenMicrophone() {
    this.closeMicrophone();
    if (this.wishes().listening && !(await this.openMicrophone())) this.handlers.over();
  }

  /** The device went. The system's own takes its place, if there is one. */
  async unplugged() {
    const { listening, holding } = this.wishes();
    this.closeMicrophone();
    if (!listening && holding) return; // the next press opens another
    if (listening && (await this.openMicrophone())) {
      this.handlers.trouble("other_microphone", "That microphone was disconnected. Another one is used now.");
    } else {
      this.handlers.over();
      this.handlers.trouble("unplugged", "The microphone was disconnected.");
    }
  }

  /** What was chosen and comes back is used again; a loudspeaker that went leaves the sound to the system's own. */
  async devicesChanged() {
    const { inputs, outputs } = await devices();
    /** @param {{ id: string }[]} list @param {string} wanted */
    const there = (list, wanted) => wanted !== "" && list.some(({ id }) => id === wanted);
    const { input, output } = this.wishes();
    if (this.context) await sendTo(this.context, there(outputs, output) ? output : "");
    if (this.microphone && there(inputs, input) && this.microphone.device !== input) await this.reopenMicrophone();
  }

  /**
   * Some of the wishes are others now.
   * @param {(name: "denoise" | "output" | "input") => boolean} changed
   */
  update(changed) {
    const { input, output, denoise, muted } = this.wishes();
    if (this.player) this.player.muted = muted;
    if (this.microphone && changed("denoise")) this.microphone.denoise = denoise;
    if (changed("output") && this.context) sendTo(this.context, output);
    if (changed("input") && this.microphone && this.chosen !== input) this.reopenMicrophone();
  }

  async close() {
    navigator.mediaDevices?.removeEventListener?.("devicechange", this.changed);
    await this.context?.close();
  }

  /** @param {unknown} error */
  failed(error) {
    if (!(error instanceof SoundError)) throw error;
    this.handlers.trouble(error.code, error.message);
    return null;
  }
}
