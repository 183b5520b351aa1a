// The microphone and the loudspeaker. Both live in one AudioContext at the hardware's own rate, which every
// browser grants; the worklets change rates themselves.

export class SoundError extends Error {}

const CONSTRAINTS = { audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 } };

const MICROPHONE_TROUBLE = {
  NotAllowedError: "The microphone is blocked. Allow it beside the address bar, then start again. You can still type.",
  NotFoundError: "No microphone was found. Connect one, then start again. You can still type.",
  NotReadableError: "Another program is using the microphone. Close it, then start again. You can still type.",
};

export const INSECURE =
  "Browsers give sound and microphone only to pages opened over https or from localhost. Ask whoever runs this server for its https address. You can still type and read.";

/** The one AudioContext, with both worklets loaded. Call it from a click or a key: browsers start sound only then. */
export async function openSound() {
  if (!isSecureContext || !globalThis.AudioWorkletNode) throw new SoundError(INSECURE);
  const context = new AudioContext({ latencyHint: "interactive" });
  context.resume(); // not awaited: without an output device some browsers never answer
  const modules = ["microphone-worklet.js", "player-worklet.js"].map((name) => context.audioWorklet.addModule(new URL(name, import.meta.url)));
  await Promise.all(modules);
  return context;
}

/** The person's voice as `frame({ pcm, level })`: 50 ms of int16 at 16 kHz, and its loudness from 0 to 1. */
export class Microphone {
  static async open(context, frame, ended) {
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia(CONSTRAINTS);
    } catch (error) {
      throw new SoundError(MICROPHONE_TROUBLE[error.name] ?? `The microphone cannot be used (${error.message}). You can still type.`);
    }
    return new Microphone(context, stream, frame, ended);
  }

  constructor(context, stream, frame, ended) {
    this.stream = stream;
    this.source = context.createMediaStreamSource(stream);
    this.node = new AudioWorkletNode(context, "microphone", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    this.node.port.onmessage = ({ data }) => frame(data);
    this.source.connect(this.node);
    stream.getAudioTracks()[0].onended = ended;
  }

  close() {
    this.node.port.onmessage = null;
    this.source.disconnect();
    for (const track of this.stream.getTracks()) track.stop();
  }
}

/** Plays what port 8888 sends and obeys its orders at once. */
export class Player {
  /** `rate` of the server's sound; `report({ turn, seconds, playing, finished })` tells what was really played. */
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

  set muted(muted) {
    this.volume.gain.setTargetAtTime(muted ? 0 : 1, this.context.currentTime, 0.01);
  }
}
