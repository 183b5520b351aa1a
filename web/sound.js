// The microphone and the loudspeaker. Both live in one AudioContext at the hardware's own rate, which every
// browser grants; the worklets change rates themselves.

/** Sound that cannot be had; `code` is one of the keys below, the message says in words what to do. */
export class SoundError extends Error {
  constructor(code, detail = "") {
    super(TROUBLE[code] + detail);
    this.code = code;
  }
}

const TROUBLE = {
  insecure: "Browsers give sound and microphone only to pages opened over https or from localhost. Ask whoever runs this server for its https address. You can still type and read.",
  blocked: "The microphone is blocked. Allow it beside the address bar, then start again. You can still type.",
  missing: "No microphone was found. Connect one, then start again. You can still type.",
  in_use: "Another program is using the microphone. Close it, then start again. You can still type.",
  unusable: "The microphone cannot be used. You can still type. ",
};
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

/** What sound can go in and out by: { inputs, outputs }, lists of { id, name }. Names are told once the microphone was allowed. */
export async function devices() {
  const all = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  const of = (kind) => all.filter((one) => one.kind === kind && one.deviceId).map(({ deviceId, label }) => ({ id: deviceId, name: label }));
  return { inputs: of("audioinput"), outputs: "setSinkId" in (globalThis.AudioContext?.prototype ?? {}) ? of("audiooutput") : [] };
}

/** The loudspeaker with that id, or the system's own: one that was unplugged is no reason for silence. */
export async function sendTo(context, id) {
  if (!context.setSinkId || (context.sinkId ?? "") === id) return;
  await context.setSinkId(id).catch(() => context.setSinkId(""));
}

/** The person's voice: handlers.frame({ pcm, level }) with 50 ms of int16 at 16 kHz and its loudness from 0 to 1, handlers.voice(speaking), handlers.ended(). */
export class Microphone {
  /** `device`: an id, "" = the system's own. `denoise`: our own suppression in place of the browser's. Raises SoundError. */
  static async open(context, { device = "", denoise = false }, handlers) {
    const wanted = { echoCancellation: true, noiseSuppression: !denoise, autoGainControl: true, channelCount: 1 };
    const ask = (choice) => navigator.mediaDevices.getUserMedia({ audio: { ...wanted, ...choice } });
    try {
      const chosen = device ? { deviceId: { exact: device } } : {};
      const stream = await ask(chosen).catch((error) => {
        if (device && error.name === "OverconstrainedError") return ask({}); // it was unplugged
        throw error;
      });
      return new Microphone(context, stream, denoise, handlers);
    } catch (error) {
      const code = BY_NAME[error.name] ?? "unusable";
      throw new SoundError(code, code === "unusable" ? `(${error.message})` : "");
    }
  }

  constructor(context, stream, denoise, { frame, voice, ended }) {
    this.stream = stream;
    this.source = context.createMediaStreamSource(stream);
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

  /** How many dB over the noise make a voice, for the detector. */
  set alarm(over) {
    this.node.port.postMessage({ order: "alarm", over });
  }

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

/** Plays what port 8888 sends and obeys its orders at once. */
export class Player {
  /** `rate` of the server's sound; `report({ turn, seconds, playing, finished, gaps, ahead })` tells what was really played. */
  constructor(context, rate, report) {
    this.context = context;
    this.volume = context.createGain();
    this.node = new AudioWorkletNode(context, "player", { numberOfInputs: 0, outputChannelCount: [1], processorOptions: { rate } });
    this.node.connect(this.volume).connect(context.destination);
    this.node.port.onmessage = ({ data }) => report(data);
  }

  /** A message of port 8888. */
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

  /** Silence that this side decided on, until it is taken back. */
  set hushed(on) {
    this.node.port.postMessage({ order: "hush", on });
  }

  set muted(muted) {
    this.volume.gain.setTargetAtTime(muted ? 0 : 1, this.context.currentTime, 0.01);
  }
}
