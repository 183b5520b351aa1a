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
const BEFORE_S = 1; // of sound that is kept while nobody speaks, and before speech was noticed
const REFUSED = 1008; // close code: trying again would not help

function freshName() {
  // crypto.randomUUID is missing on pages without https; this is not.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function address(base, path, parameters) {
  const url = new URL(path, base);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = new URLSearchParams(parameters);
  return url;
}

export class Call {
  /**
   * `base`: where the server's page is. `token()` gives the secret, "" = none. `handshake()` gives the fields beside uid and format. `handlers`:
   *   state(name, seconds)  "connecting", "ready", "reconnecting" (seconds until the next attempt)
   *   event(message)        JSON of 6006        sound(message)  JSON or ArrayBuffer of 8888
   *   frame(pcm)            a frame of microphone that this connection is sent
   *   over(code, reason)    the server ended the call for good: "busy" (reason: minutes), "refused", "time_limit"
   */
  constructor(base, token, handshake, handlers) {
    Object.assign(this, { base, token, handshake, handlers });
    this.line = null;
    this.ready = false;
    this.delay = FIRST_DELAY_MS;
    this.early = []; // frames and controls for the next connection
    this.recent = []; // frames that this one was sent and may die with: of what is being said, or of the last second
    this.speaking = false;
    this.retryNow = () => this.timer && this.attempt();
    addEventListener("online", this.retryNow);
    this.attempt();
  }

  attempt() {
    clearTimeout(this.timer);
    this.timer = null;
    const uid = freshName();
    const token = this.token();
    const secret = token ? { token } : {};
    const ears = new WebSocket(address(this.base, "transcription", secret));
    const mouth = new WebSocket(address(this.base, "audio", { uid, events: 1, format: "int16", ...secret }));
    const line = { ears, mouth, greeted: false, burst: 0, timeout: setTimeout(() => this.lost(line), READY_TIMEOUT_MS) };
    this.line = line;
    this.handlers.state("connecting");
    mouth.binaryType = "arraybuffer";
    ears.onopen = () => ears.send(JSON.stringify({ uid, events: true, audio_format: "int16", ...this.handshake() }));
    ears.onmessage = ({ data }) => line === this.line && this.hear(line, JSON.parse(data));
    mouth.onopen = () => this.greet(line);
    mouth.onmessage = ({ data }) => line === this.line && this.handlers.sound(typeof data === "string" ? JSON.parse(data) : data);
    ears.onclose = mouth.onclose = (close) => this.lost(line, close);
  }

  hear(line, message) {
    if (message.message === "SERVER_READY") {
      line.greeted = true;
      this.handlers.event({ type: "stages", stages: message.stages ?? {} });
      this.greet(line);
    } else if (message.status === "WAIT") {
      this.end("busy", Math.max(1, Math.ceil(Number(message.message) || 1)));
    } else if (message.status === "ERROR") {
      this.end("refused", String(message.message));
    } else if (message.message === "DISCONNECT") {
      this.end("time_limit", "");
    } else {
      this.remember(message);
      this.handlers.event(message);
    }
  }

  /** What is being said has to be said again if the connection dies before its words are settled. */
  remember({ type, final, text }) {
    if (type === "speech_started") this.speaking = true;
    if (type === "turn" || (type === "caption" && final && text === "")) this.settle();
  }

  forget() {
    this.recent.splice(0, this.recent.length - (this.speaking ? KEPT_S : BEFORE_S) / FRAME_S);
  }

  /** Both sockets are up and the server is ready. */
  greet(line) {
    if (line !== this.line || this.ready || !line.greeted || line.mouth.readyState !== WebSocket.OPEN) return;
    clearTimeout(line.timeout);
    this.ready = true;
    this.delay = FIRST_DELAY_MS;
    this.line.burst = this.early.length * FRAME_BYTES; // said again at once; the network may take a while
    this.handlers.state("ready");
    for (const frame of this.early.splice(0)) {
      if (typeof frame !== "string") this.keep(frame);
      this.pass(frame);
    }
  }

  send(message) {
    if (this.ready) this.pass(JSON.stringify(message));
    else if (["commit", "update"].includes(message.type)) this.early.push(JSON.stringify(message)); // belongs behind what was said
  }

  pass(frame) {
    // A socket that is closing tells so a moment before its close event; what is sent in between is lost.
    if (this.line?.ears.readyState === WebSocket.OPEN) this.line.ears.send(frame);
  }

  /** A frame of microphone. */
  hearMicrophone(frame) {
    if (this.ready && this.line.ears.bufferedAmount > STALLED_BYTES + this.line.burst) this.lost(this.line);
    if (!this.ready) {
      this.early = [...this.early.slice(1 - KEPT_S / FRAME_S), frame];
      return;
    }
    this.keep(frame);
    this.pass(frame);
  }

  /** It is sent, and may have to be sent again. */
  keep(frame) {
    this.recent.push(frame);
    this.forget();
    this.handlers.frame(frame);
  }

  /** What was heard was nothing to keep. */
  settle() {
    this.speaking = false;
    this.recent = [];
  }

  /** The machine slept, or the network is another one: nobody would tell us soon that the old sockets are dead. */
  renew() {
    if (this.line) this.lost(this.line);
    this.retryNow();
  }

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
    this.handlers.state("reconnecting", wait / 1000);
  }

  end(code, reason) {
    this.close();
    this.handlers.over(code, reason);
  }

  close() {
    clearTimeout(this.timer);
    this.timer = null;
    removeEventListener("online", this.retryNow);
    this.drop();
  }

  drop() {
    const line = this.line;
    this.line = null;
    this.ready = false;
    if (!line) return;
    clearTimeout(line.timeout);
    for (const socket of [line.ears, line.mouth]) socket.close(1000);
  }
}
