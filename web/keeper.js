// Keeps how each turn sounded, so that it can be played again and saved.

const HEARD_RATE = 16000; // samples per second of the microphone's frames
const SPOKEN_RATE = 24000; // of port 8888
const BEFORE_S = 0.3; // the first sound begins before it was noticed
const AFTER_S = 0.2;
const WAITING_S = 60; // of microphone: the longest turn that is kept whole
const MOST_SAMPLES = 32 * 2 ** 20; // of all clips, 64 MB, about half an hour; the oldest go first

/** @typedef {import("./whisperfusion.d.ts").Clip} Clip */

export class Keeper {
  /**
   * `wanted()`: is sound to be kept?
   * @param {() => boolean} wanted
   */
  constructor(wanted) {
    this.wanted = wanted;
    /** @type {Clip[]} */
    this.clips = [];
    /** @type {{ source: AudioBufferSourceNode, clip: Clip } | null} */
    this.playing = null;
    this.startedAt = 0; // ms since the epoch: of the answer
    this.forget();
  }

  /** A new connection counts its samples from the start. */
  forget() {
    /** @type {Int16Array<ArrayBuffer>[]} */
    this.frames = [];
    /** @type {number} */
    this.position = 0; // samples that the connection was sent
    this.drop();
    /** @type {number | null} */
    this.turn = null;
    /** @type {Int16Array<ArrayBuffer>[]} */
    this.chunks = [];
  }

  // --- the person ---------------------------------------------------------------------------------------

  /** @param {ArrayBuffer} pcm */
  record(pcm) {
    this.position += pcm.byteLength / 2;
    if (!this.wanted()) return;
    this.frames.push(new Int16Array(pcm.slice(0)));
    const waiting = this.began === null ? BEFORE_S * 4 : WAITING_S;
    while (this.frames.length * this.frames[0].length > waiting * HEARD_RATE) this.frames.shift();
  }

  /**
   * `at`: seconds from the start of the connection's sound.
   * @param {number} at
   */
  begins(at) {
    this.began ??= at;
    this.stopped = null;
  }

  /** It was nothing. */
  drop() {
    /** @type {number | null} */
    this.began = null;
    /** @type {number | null} */
    this.stopped = null;
  }

  /** @param {number} at */
  stops(at) {
    this.stopped = at;
  }

  /** What was being said is a turn: its clip, if there is one. */
  settle() {
    const { began, stopped } = this;
    this.drop();
    if (began === null || this.frames.length === 0) return null;
    const all = joined(this.frames);
    const first = this.position - all.length;
    const from = Math.max(0, Math.round((began - BEFORE_S) * HEARD_RATE) - first);
    const to = stopped === null ? all.length : Math.round((stopped + AFTER_S) * HEARD_RATE) - first;
    return this.keep({ pcm: all.slice(from, to), rate: HEARD_RATE, at: Date.now() - (all.length - from) / (HEARD_RATE / 1000) });
  }

  // --- the answer ---------------------------------------------------------------------------------------

  /** @param {number | null} turn */
  answers(turn) {
    if (turn !== null) this.stop();
    this.turn = turn;
    this.chunks = [];
    this.startedAt = Date.now();
  }

  /** @param {ArrayBuffer} buffer */
  answer(buffer) {
    if (this.wanted()) this.chunks.push(new Int16Array(buffer.slice(0)));
  }

  /**
   * So much of the answer was played.
   * @param {number} turn @param {number} seconds
   */
  played(turn, seconds) {
    if (turn !== this.turn || this.chunks.length === 0) return null;
    const pcm = joined(this.chunks).slice(0, Math.round(seconds * SPOKEN_RATE));
    const { startedAt } = this;
    this.answers(null);
    return pcm.length > 0 ? this.keep({ pcm, rate: SPOKEN_RATE, at: startedAt }) : null;
  }

  // --- clips --------------------------------------------------------------------------------------------

  /** @param {Clip} clip */
  keep(clip) {
    this.clips.push(clip);
    let samples = this.clips.reduce((sum, { pcm }) => sum + pcm.length, 0);
    for (const oldest of [...this.clips]) {
      if (samples <= MOST_SAMPLES) break;
      this.clips.shift();
      samples -= oldest.pcm.length;
      oldest.pcm = new Int16Array(0);
    }
    return clip;
  }

  stop() {
    this.playing?.source.stop();
    this.playing = null;
  }

  /**
   * Resolves at its end, or when it is stopped: by another clip, by an answer, or by a second call for the same clip.
   * @param {AudioContext} context @param {Clip} clip @param {AudioNode} target
   */
  async play(context, clip, target) {
    const again = this.playing?.clip === clip;
    this.stop();
    if (again || clip.pcm.length === 0) return;
    const buffer = context.createBuffer(1, clip.pcm.length, clip.rate);
    buffer.copyToChannel(Float32Array.from(clip.pcm, (sample) => sample / 32768), 0);
    const source = new AudioBufferSourceNode(context, { buffer });
    source.connect(target);
    const playing = (this.playing = { source, clip });
    await new Promise((resolve) => {
      source.onended = resolve;
      source.start();
    });
    if (this.playing === playing) this.playing = null;
  }
}

/** @param {Int16Array[]} arrays */
function joined(arrays) {
  const all = new Int16Array(arrays.reduce((sum, { length }) => sum + length, 0));
  arrays.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  return all;
}
