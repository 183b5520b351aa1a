// One call: the sockets /transcription and /audio under one name, and a new pair when either dies.
//
// A dead pair is never revived. Each attempt gets a name of its own, because the server refuses a name that
// it still believes to be connected, and news of an older attempt are ignored.

const FIRST_DELAY_MS = 500; // before the second attempt; doubles up to the longest
const LONGEST_DELAY_MS = 15_000;
const READY_TIMEOUT_MS = 10_000;
const STALLED_BYTES = 320_000; // ten seconds of microphone that the network does not take
const FRAME_S = 0.05; // of microphone
const FRAME_BYTES = 1600;
const KEPT_S = 30; // of speech, for a connection that is not there yet, or will take the place of this one
const BEFORE_S = 1; // of audio that is kept outside of speech, and before its detected start
const SOUND = { events: true, format: "int16" }; // of 8888
const TAIL_MS = 600; // after a polite end: the last sound of it is still to be heard
const REFUSED = 1008; // close code: trying again would not help

function freshName() {
  // crypto.randomUUID is missing on pages without https; this is not.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string | URL} base @param {string} path @param {{ [name: string]: string }} parameters */
function address(base, path, parameters) {
  const url = new URL(path, base);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = String(new URLSearchParams(parameters));
  return url;
}

/** @typedef {{ type: string, [field: string]: any }} Message of the server, as docs/wire.md has it */

/**
 * @typedef {object} Handlers
 * @property {(name: "connecting" | "ready" | "reconnecting", seconds?: number) => void} state `seconds`: until the next attempt
 * @property {(message: Message) => void} event of 6006
 * @property {(message: Message | ArrayBuffer) => void} sound of 8888
 * @property {(pcm: ArrayBuffer) => void} frame of microphone that this connection is sent
 * @property {(id: string) => void} session of the server, by which a later connection goes on; "" = it keeps none
 * @property {(code: "busy" | "refused" | "time_limit" | "ended", reason: string | number) => void} over the server ended the call for good;
 *   `reason` of "busy": minutes
 */

/**
 * One attempt: the microphone's socket and the speech's.
 * @typedef {{ uid: string, tts: WebSocket, asr: WebSocket, greeted: boolean, burst: number, timeout: number, listenSecret?: string }} Line
 */

export class Call {
  /**
   * `base`: where the server's page is. `token()` gives the secret, "" = none. `handshake()` gives the fields beside uid and format.
   * `session`: of the server, to go on with; "" = none.
   * @param {string | URL} base @param {() => string} token @param {() => object} handshake @param {Handlers} handlers @param {string} session
   */
  constructor(base, token, handshake, handlers, session = "") {
    this.base = base;
    this.token = token;
    this.handshake = handshake;
    this.handlers = handlers;
    /** @type {Line | null} */
    this.line = null;
    /** @type {number | undefined} */
    this.timer = undefined;
    this.ready = false;
    this.waiting = false; // for the next attempt
    this.delay = FIRST_DELAY_MS;
    /** @type {(string | ArrayBuffer)[]} */
    this.early = []; // frames and controls for the next connection
    /** @type {ArrayBuffer[]} */
    this.recent = []; // frames that this one was sent and may die with: of what is being said, or of the last second
    this.speaking = false;
    this.session = session; // the server's name for this conversation, by which the next connection goes on with it
    this.answers = false; // the server answers again by itself what the lost connection left open
    this.retryNow = () => {
      if (this.waiting) this.attempt();
    };
    addEventListener("online", this.retryNow);
    this.attempt();
  }

  attempt() {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.waiting = false;
    const uid = freshName();
    const token = this.token();
    /** @type {{ token?: string }} */
    const secret = token ? { token } : {};
    const asr = new WebSocket(address(this.base, "transcription", { uid, ...secret }));
    const tts = new WebSocket(address(this.base, "audio", { uid, events: "1", format: SOUND.format, ...secret }));
    /** @type {Line} */
    const line = { uid, asr, tts, greeted: false, burst: 0, timeout: setTimeout(() => this.lost(line), READY_TIMEOUT_MS) };
    this.line = line;
    this.handlers.state("connecting");
    tts.binaryType = "arraybuffer";
    asr.onopen = () => asr.send(JSON.stringify({ uid, events: true, audio_format: "int16", ...(this.session && { session: this.session }), ...this.handshake() }));
    asr.onmessage = ({ data }) => line === this.line && this.receive(line, JSON.parse(data));
    tts.onopen = () => this.greet(line);
    tts.onmessage = ({ data }) => line === this.line && this.handlers.sound(typeof data === "string" ? JSON.parse(data) : data);
    asr.onclose = tts.onclose = (close) => this.lost(line, close);
  }

  /** @param {Line} line @param {any} message */
  receive(line, message) {
    if (message.message === "SERVER_READY") {
      line.greeted = true;
      line.listenSecret = message.listen_secret;
      this.session = message.session ?? "";
      this.handlers.session(this.session);
      this.answers = Boolean(message.resumed && message.pending);
      this.handlers.event({ type: "stages", stages: message.stages ?? {} });
      this.greet(line);
    } else if (message.status === "WAIT") {
      this.end("busy", Math.max(1, Math.ceil(Number(message.message) || 1)));
    } else if (message.status === "ERROR") {
      this.end("refused", String(message.message));
    } else if (message.message === "DISCONNECT") {
      this.end("time_limit", "");
    } else if (message.type === "ended") {
      clearTimeout(line.timeout);
      this.line = null; // its close is on purpose
      this.ready = false;
      this.timer = setTimeout(() => this.end("ended", String(message.reason)), TAIL_MS);
    } else {
      this.remember(message);
      this.handlers.event(message);
    }
  }

  /**
   * What is being said has to be said again if the connection dies before its words are settled.
   * @param {Message} message
   */
  remember({ type, final, text, ignored }) {
    if (type === "speech_started") this.speaking = true;
    if (type === "turn" || (type === "caption" && final && (text === "" || ignored))) this.settle();
  }

  forget() {
    this.recent.splice(0, this.recent.length - (this.speaking ? KEPT_S : BEFORE_S) / FRAME_S);
  }

  /**
   * Both sockets are up and the server is ready.
   * @param {Line} line
   */
  greet(line) {
    if (line !== this.line || this.ready || !line.greeted || line.tts.readyState !== WebSocket.OPEN) return;
    clearTimeout(line.timeout);
    // From now on no other connection gets the audio of this call.
    if (line.listenSecret) line.tts.send(JSON.stringify({ uid: line.uid, listen_secret: line.listenSecret, ...SOUND }));
    this.ready = true;
    this.delay = FIRST_DELAY_MS;
    line.burst = this.early.length * FRAME_BYTES; // said again at once; the network may take a while
    this.handlers.state("ready");
    for (const frame of this.early.splice(0)) {
      if (typeof frame !== "string") this.keep(frame);
      this.pass(frame);
    }
  }

  /** @param {Message} message */
  send(message) {
    if (this.ready) this.pass(JSON.stringify(message));
    else if (["commit", "update"].includes(message.type)) this.early.push(JSON.stringify(message)); // belongs behind what was said
  }

  /** @param {string | ArrayBuffer} frame */
  pass(frame) {
    // The state of a socket changes a moment before its close event; what is sent in between is lost.
    if (this.line?.asr.readyState === WebSocket.OPEN) this.line.asr.send(frame);
  }

  /**
   * A frame of microphone.
   * @param {ArrayBuffer} frame
   */
  sendAudio(frame) {
    const { line } = this;
    if (this.ready && line && line.asr.bufferedAmount > STALLED_BYTES + line.burst) this.lost(line);
    if (!this.ready) {
      this.early = [...this.early.slice(1 - KEPT_S / FRAME_S), frame];
      return;
    }
    this.keep(frame);
    this.pass(frame);
  }

  /**
   * It is sent, and may have to be sent again.
   * @param {ArrayBuffer} frame
   */
  keep(frame) {
    this.recent.push(frame);
    this.forget();
    this.handlers.frame(frame);
  }

  /** The open utterance is settled: nothing of it has to be sent again. */
  settle() {
    this.speaking = false;
    this.recent = [];
  }

  /** The machine slept, or the network changed: without this, the dead sockets would be noticed late. */
  renew() {
    if (this.line) this.lost(this.line);
    this.retryNow();
  }

  /** @param {Line} line @param {CloseEvent} [close] */
  lost(line, close) {
    if (line !== this.line) return;
    if (close?.code === REFUSED) {
      this.end("refused", close.reason);
      return;
    }
    this.drop();
    this.early = [...this.recent.splice(0), ...this.early.filter((one) => typeof one !== "string" || one.includes("commit"))].slice(-KEPT_S / FRAME_S);
    this.speaking = false;
    const wait = this.delay * (0.75 + Math.random() / 2); // spread, so that a restarted server is not met by all at once
    this.delay = Math.min(this.delay * 2, LONGEST_DELAY_MS);
    this.timer = setTimeout(() => this.attempt(), wait);
    this.waiting = true;
    this.handlers.state("reconnecting", wait / 1000);
  }

  /** @param {"busy" | "refused" | "time_limit" | "ended"} code @param {string | number} reason */
  end(code, reason) {
    this.close();
    this.handlers.over(code, reason);
  }

  close() {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.waiting = false;
    removeEventListener("online", this.retryNow);
    this.drop();
  }

  drop() {
    const line = this.line;
    this.line = null;
    this.ready = false;
    if (!line) return;
    clearTimeout(line.timeout);
    for (const socket of [line.asr, line.tts]) socket.close(1000);
  }
}
