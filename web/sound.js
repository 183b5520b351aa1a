// The microphone and the loudspeaker. Both live in one AudioContext at the hardware's own rate, which every
// browser grants; the worklets change rates themselves.

/** Sound that cannot be had; `code` is one of the keys below, the message says in words what to do. */
export class SoundError extends Error {
  /** @param {keyof typeof TROUBLE} code */
  constructor(code, detail = "") {
    super(TROUBLE[code] + detail);
    this.code = code;
  }
}

const TROUBLE = {
  insecure: "Browsers allow sound and the microphone only on pages opened over https or from localhost. Ask the operator of this server for its https address. You can still type and read.",
  blocked: "The microphone is blocked. Allow it beside the address bar, then start again. You can still type.",
  missing: "No microphone was found. Connect one, then start again. You can still type.",
  in_use: "Another program is using the microphone. Close it, then start again. You can still type.",
  unusable: "The microphone cannot be used. You can still type. ",
};
/** @type {{ [name: string]: keyof typeof TROUBLE }} */
const BY_NAME = { NotAllowedError: "blocked", NotFoundError: "missing", NotReadableError: "in_use" };

const NAMED = ["microphone-worklet.js", "player-worklet.js"];

/** The one AudioContext, with both worklets loaded. Call it from a click or a key: browsers start sound only then. */
export async function openSound() {
  if (!isSecureContext || !globalThis.AudioWorkletNode) throw new SoundError("insecure");
  const context = new AudioContext({ latencyHint: "interactive" });
  context.resume(); // not awaited: without an output device some browsers never answer
  await Promise.all(NAMED.map((name) => context.audioWorklet.addModule(new URL(name, import.meta.url))));
  return context;
}

/** Audio devices: { inputs, outputs }, lists of { id, name }. Names are known once the microphone was allowed. */
export async function devices() {
  const all = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  /** @param {MediaDeviceKind} kind */
  const of = (kind) => all.filter((one) => one.kind === kind && one.deviceId).map(({ deviceId, label }) => ({ id: deviceId, name: label }));
  return { inputs: of("audioinput"), outputs: "setSinkId" in (globalThis.AudioContext?.prototype ?? {}) ? of("audiooutput") : [] };
}

/**
 * The loudspeaker with that id, or the system's own: one that was unplugged must not silence the call.
 * @param {AudioContext & { setSinkId?(id: string): Promise<void>, sinkId?: unknown }} context not every browser can choose
 * @param {string} id
 */
export async function sendTo(context, id) {
  if (!context.setSinkId || (context.sinkId ?? "") === id) return;
  await context.setSinkId(id).catch(() => context.setSinkId?.(""));
}

/**
 * @typedef {object} Hearers
 * @property {(frame: { pcm: ArrayBuffer, level: number }) => void} frame 50 ms of int16 at 16 kHz, and its loudness from 0 to 1
 * @property {(speaking: boolean) => void} voice
 * @property {() => void} ended
 */

/** The person's voice. */
export class Microphone {
  /**
   * `device`: an id, "" = the system's own. `denoise`: our own suppression in place of the browser's. Raises SoundError.
   * @param {AudioContext} context @param {{ device?: string, denoise?: boolean }} wanted @param {Hearers} handlers
   */
  static async open(context, { device = "", denoise = false }, handlers) {
    const wanted = { echoCancellation: true, noiseSuppression: !denoise, autoGainControl: true, channelCount: 1 };
    /** @param {MediaTrackConstraints} choice */
    const ask = (choice) => navigator.mediaDevices.getUserMedia({ audio: { ...wanted, ...choice } });
    try {
      const chosen = device ? { deviceId: { exact: device } } : {};
      const stream = await ask(chosen).catch((error) => {
        if (device && error.name === "OverconstrainedError") return ask({}); // it was unplugged
        throw error;
      });
      return new Microphone(context, stream, denoise, handlers);
    } catch (error) {
      const { name, message } = /** @type {Error} */ (error);
      const code = BY_NAME[name] ?? "unusable";
      throw new SoundError(code, code === "unusable" ? `(${message})` : "");
    }
  }

  /** @param {AudioContext} context @param {MediaStream} stream @param {boolean} denoise @param {Hearers} handlers */
  constructor(context, stream, denoise, { frame, voice, ended }) {
    this.stream = stream;
    this.source = context.createMediaStreamSource(stream);
    /** @type {AudioWorkletNodeOptions} */
    const options = { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit", processorOptions: { denoise } };
    this.node = new AudioWorkletNode(context, "microphone", options);
    this.node.port.onmessage = ({ data }) => ("voice" in data ? voice(data.voice) : frame(data));
    this.source.connect(this.node);
    stream.getAudioTracks()[0].onended = ended;
  }

  /** The id of the device that it is. */
  get device() {
    return this.stream.getAudioTracks()[0].getSettings().deviceId;
  }

  /**
   * How many dB over the noise make a voice, for the detector.
   * @param {number} over
   */
  set alarm(over) {
    this.node.port.postMessage({ order: "alarm", over });
  }

  /** @param {boolean} on */
  set denoise(on) {
    this.node.port.postMessage({ order: "denoise", on });
    for (const track of this.stream.getAudioTracks()) track.applyConstraints({ echoCancellation: true, noiseSuppression: !on }).catch(() => {});
  }

  close() {
    this.node.port.onmessage = null;
    this.source.disconnect();
    for (const track of this.stream.getTracks()) track.stop();
  }
}

/**
 * What was really played of an answer.
 * @typedef {Parameters<import("./whisperfusion.d.ts").Events["played"]>[0]} Report
 */
/** @typedef {{ type: string, turn?: number }} Order of port 8888 */

/** Plays what port 8888 sends and obeys its orders at once. */
export class Player {
  /**
   * `rate` of the server's sound; `report` gets what was really played.
   * @param {AudioContext} context @param {number} rate @param {(report: Report) => void} report
   */
  constructor(context, rate, report) {
    this.context = context;
    this.volume = context.createGain();
    this.node = new AudioWorkletNode(context, "player", { numberOfInputs: 0, outputChannelCount: [1], processorOptions: { rate } });
    this.node.connect(this.volume).connect(context.destination);
    this.node.port.onmessage = ({ data }) => report(data);
  }

  /**
   * A message of port 8888.
   * @param {Order | ArrayBuffer} message
   */
  take(message) {
    if (message instanceof ArrayBuffer) {
      this.node.port.postMessage({ order: "audio", pcm: new Int16Array(message) }, [message]);
    } else if (["start", "end", "hold", "resume", "clear"].includes(message.type)) {
      this.node.port.postMessage({ order: message.type, turn: message.turn });
    }
  }

  clear() {
    this.take({ type: "clear" });
  }

  /**
   * Silence that this side decided on, until it is taken back.
   * @param {boolean} on
   */
  set pausedLocally(on) {
    this.node.port.postMessage({ order: "pause", on });
  }

  /** @param {boolean} muted */
  set muted(muted) {
    this.volume.gain.setTargetAtTime(muted ? 0 : 1, this.context.currentTime, 0.01);
  }
}
