// A spoken conversation with a WhisperFusion server, for any page. No dependencies, no build step.
//
//   import { Conversation } from "https://HOST/static/whisperfusion.js";
//   const talk = new Conversation();                 // or new Conversation("https://HOST", { voice: "…" })
//   talk.on("entry", ({ role, text }) => …);
//   button.onclick = () => talk.start();             // from a click: browsers start sound only then
//
// whisperfusion.d.ts has every option, event and method. From a page of another origin the server's CORS_ORIGINS must name it.

import { AudioIO } from "./audio-io.js";
import { Call } from "./call.js";
import { BargeIn } from "./barge-in.js";
import { Keeper } from "./keeper.js";
import { SoundError, devices } from "./sound.js";
import { Transcript } from "./transcript.js";

export { SoundError, devices };

const HOME = new URL("..", import.meta.url);
const TAIL_MS = 150; // the last syllable is still on its way through the microphone when the button is released
const INTERRUPTED_MS = 1500; // for which that is shown
const SLEPT_MS = 90_000; // without a tick of a clock that ticks every second, or once a minute in a hidden tab
const LOG_LINES = 2000;
const CHARACTERS_PER_S = 15; // of speech, until the pace of the voice is known
/** @type {("instructions" | "voice" | "speed" | "language" | "eagerness")[]} */
const MANNER = ["instructions", "voice", "speed", "language", "eagerness"]; // sent to the server, in the handshake and in an update
/** @type {{ [option: string]: string }} */
const OWN = { instructions: "", voice: "" }; // in an update: back to the server's own. The others stay for this call

/** @typedef {import("./whisperfusion.d.ts").Options} Options */
/** @typedef {import("./whisperfusion.d.ts").State} State */
/** @typedef {import("./whisperfusion.d.ts").Events} Events */
/** @typedef {import("./transcript.js").Entry} Entry */
/** @typedef {import("./call.js").Message} Message */

/** @typedef {import("./whisperfusion.d.ts").Conversation} Published */

/** @implements {Published} */
export class Conversation {
  /** @param {string | URL} url @param {Options} options */
  constructor(url = HOME, options = {}) {
    this.url = new URL(url, HOME);
    /** @type {Options & Required<Pick<Options, "token" | "mode" | "muted" | "input" | "output" | "denoise" | "hushing" | "keepSound">>} */
    this.options = { token: "", mode: "auto", muted: false, input: "", output: "", denoise: false, hushing: true, keepSound: false, ...options };
    /** @type {Map<string, Set<(...values: any[]) => void>>} */
    this.listeners = new Map();
    /** @type {{ at: number, what: string, [fact: string]: unknown }[]} */
    this.log = []; // [{ at: ms since the page began, what, … }]
    /** @type {{ line: "closed" | "connecting" | "ready" | "reconnecting", hearing: boolean, thinking: boolean, speaking: boolean, pressed: boolean, interrupted: boolean }} */
    this.now = { line: "closed", hearing: false, thinking: false, speaking: false, pressed: false, interrupted: false };
    this.keeper = new Keeper(() => this.options.keepSound);
    this.transcript = new Transcript({
      show: (entry, next) => this.emit("entry", entry, next),
      remove: (entry) => this.emit("remove", entry),
    });
    this.bargeIn = new BargeIn((on) => this.pauseLocally(on), (over) => {
      if (this.microphone) this.microphone.alarm = over;
    });
    this.audio = new AudioIO(() => ({ ...this.options, listening: this.now.pressed, holding: this.options.mode === "hold" }), {
      frame: (frame) => this.receiveFrame(frame),
      voice: (speaking) => this.voiceDetected(speaking),
      level: (level) => this.emit("level", level),
      played: (report) => this.played(report),
      trouble: (code, text) => this.emit("notice", code, text),
      over: () => this.stop(),
    });
    /** @type {Call | null} */
    this.call = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.tail = undefined; // after a press
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.recovering = undefined; // from an interruption
    this.lost = false; // the connection, and is being made again
    this.session = this.options.session ?? ""; // the server's name for this conversation
    /** @type {State | undefined} */
    this.shownState = undefined;
    this.pace = CHARACTERS_PER_S;
    this.unwatch = this.watch();
  }

  // --- for the page -------------------------------------------------------------------------------------

  /**
   * Calls `listener` for each event of that name; returns a function that ends this.
   * @template {keyof Events} Name
   * @param {Name} name @param {Events[Name]} listener
   */
  on(name, listener) {
    const group = this.listeners.get(name) ?? new Set();
    this.listeners.set(name, group);
    group.add(listener);
    return () => group.delete(listener);
  }

  /** @returns {State} */
  get state() {
    const { line, pressed } = this.now;
    if (line !== "ready") return line === "closed" ? "idle" : line;
    /** @type {("interrupted" | "hearing" | "speaking" | "thinking")[]} */
    const order = ["interrupted", "hearing", "speaking", "thinking"];
    return order.find((name) => this.now[name]) ?? (pressed ? "listening" : "ready");
  }

  get entries() {
    return this.transcript.entries;
  }

  /** Opens the microphone and the connection. Resolves with whether the microphone is used now. */
  async start() {
    this.keeper.stop();
    this.show({ pressed: true });
    if (!(await this.audio.openMicrophone())) {
      this.show({ pressed: false });
      return false;
    }
    if (this.now.pressed) this.connect();
    return this.now.pressed;
  }

  /** Ends the call. The transcript stays, and the next `start` goes on with it. */
  stop() {
    if (this.now.speaking || this.now.thinking) this.call?.send({ type: "interrupt" }); // else it would be taken up later
    this.call?.close();
    this.call = null;
    this.audio.closeMicrophone();
    this.player?.clear();
    this.bargeIn.release();
    this.keeper.stop();
    this.keeper.forget();
    this.transcript.detach(true);
    this.show({ line: "closed", hearing: false, thinking: false, speaking: false, pressed: false });
  }

  /**
   * A typed line. Needs no microphone; may be the first thing of a call.
   * @param {string} line
   */
  say(line) {
    const text = line.trim();
    if (text === "") return;
    this.audio.openPlayer();
    this.transcript.say(text);
    if (this.call?.ready) this.call.send({ type: "say", text });
    else this.connect();
    this.show({ thinking: true });
  }

  /** Stops the answer. */
  interrupt() {
    this.player?.clear();
    this.call?.send({ type: "interrupt" });
  }

  /** Push to talk: from `press` to `release` is one turn. */
  press() {
    if (this.now.pressed) return;
    clearTimeout(this.tail);
    this.tail = undefined;
    if (this.now.speaking) this.interrupt();
    this.start();
  }

  release() {
    if (!this.now.pressed) return;
    this.context?.resume(); // the first touch of a page does not permit sound, its end does
    this.show({ pressed: false });
    this.tail = setTimeout(() => {
      this.tail = undefined;
      this.call?.send({ type: "commit" });
    }, TAIL_MS);
  }

  /**
   * Changes options while it runs.
   * @param {Options} changes
   */
  update(changes) {
    const before = this.options;
    this.options = { ...before, ...changes };
    /** @param {keyof Options} name */
    const changed = (name) => name in changes && changes[name] !== before[name];
    this.audio.update(changed);
    if (changed("mode")) this.changeMode();
    if (changed("agent") && this.call) this.reconnect();
    if (changed("session") && !this.call) this.session = this.options.session ?? "";
    const sent = MANNER.filter(changed);
    if (sent.length > 0) this.call?.send({ type: "update", ...Object.fromEntries(sent.map((name) => [name, this.options[name] ?? OWN[name]])) });
  }

  /**
   * Plays what is kept of an entry's sound (`keepSound`), and stops it when it is asked for again. The microphone is not used meanwhile; an
   * answer that is being played is stopped, and one that begins ends it. Resolves at its end.
   * @param {Entry} entry
   */
  async play(entry) {
    const context = await this.audio.openPlayer();
    if (!context || !entry.clip) return;
    if (this.now.speaking) this.interrupt();
    await this.keeper.play(context, entry.clip, context.destination);
  }

  /**
   * Shows what was said before, in front of the rest: of a `session` that goes on.
   * @param {{ role: string, text: string }[]} messages
   */
  recall(messages) {
    this.transcript.recall(messages);
  }

  /** Forgets the conversation. A call that goes on begins another one. */
  forget() {
    const talking = this.call !== null;
    this.hangUp();
    this.keeper.stop();
    this.transcript.clear();
    if (talking) this.connect();
  }

  /** Ends everything, for a page that goes on without it. */
  async close() {
    this.stop();
    this.unwatch();
    this.listeners.clear();
    await this.audio.close();
  }

  // --- the call -----------------------------------------------------------------------------------------

  connect() {
    this.call ??= new Call(this.url, () => this.options.token, () => this.handshake(), {
      state: (line) => this.lineChanged(line),
      event: (event) => this.receiveEvent(event),
      sound: (message) => this.receiveSound(message),
      frame: (pcm) => this.keeper.record(pcm),
      session: (id) => this.keepSession(id),
      over: (code, reason) => this.ended(code, reason),
    }, this.session);
  }

  /** With another agent, which is chosen in the handshake. */
  reconnect() {
    this.hangUp();
    this.connect();
  }

  /** The next connection goes on with no session, but with the transcript. */
  hangUp() {
    this.call?.close();
    this.call = null;
    this.lost = false;
    this.player?.clear();
    this.bargeIn.release();
    this.keeper.forget();
    this.transcript.detach();
    this.keepSession("");
  }

  /** @param {string} id */
  keepSession(id) {
    this.session = id;
    this.emit("session", id);
  }

  handshake() {
    const given = MANNER.filter((name) => (this.options[name] ?? "") !== "");
    return {
      ...(this.options.agent && { agent: this.options.agent }),
      ...(this.options.speakers && { enable_diarization: true }),
      history: this.transcript.history(),
      turn_detection: this.options.mode === "hold" ? "manual" : "auto",
      ...Object.fromEntries(given.map((name) => [name, this.options[name]])),
    };
  }

  /** @param {"connecting" | "ready" | "reconnecting"} line */
  lineChanged(line) {
    const reconnected = line === "ready" && this.lost;
    if (line !== "ready") {
      this.player?.clear();
      this.transcript.detach();
      this.keeper.forget();
      this.lost = this.lost || line === "reconnecting";
    } else {
      this.lost = false;
      for (const entry of this.transcript.pending()) this.call?.send({ type: "say", text: entry.text });
      if (reconnected && this.transcript.pending().length === 0 && this.transcript.waits && !this.call?.answers) this.call?.send({ type: "respond" });
    }
    this.note(line);
    const answered = reconnected || this.call?.answers;
    const waits = line === "ready" && (this.transcript.pending().length > 0 || (Boolean(answered) && this.transcript.waits));
    this.show({ line, hearing: false, thinking: waits, speaking: false });
    if (line === "reconnecting") this.emit("notice", "lost", "The connection was lost. Trying again; the conversation goes on where it was.");
    else if (reconnected) this.emit("notice", "", "");
  }

  /** @param {"busy" | "refused" | "time_limit" | "ended"} code @param {string | number} reason */
  ended(code, reason) {
    this.stop();
    const words = {
      busy: `All lines are busy. Try again in about ${reason} ${reason === 1 ? "minute" : "minutes"}.`,
      refused: String(reason) || "The server refused the connection.",
      time_limit: "The call reached its time limit. Start again to go on with the same conversation.",
      ended: `The call was ended: ${reason}.`,
    };
    this.emit("notice", code, words[code], reason);
  }

  /** @param {Message} event */
  receiveEvent(event) {
    this.note(event.type, event);
    this.transcript.receive(event);
    this.readers[event.type]?.(event);
    this.emit("event", event);
  }

  /** @type {{ [type: string]: (event: Message) => void }} */
  readers = {
    notice: ({ text }) => this.transcript.note(text),
    waiting: ({ reason }) => this.transcript.note(reason),
    speech_started: ({ at }) => {
      this.keeper.begins(at);
      this.show({ hearing: true, thinking: false });
    },
    speech_stopped: ({ at }) => {
      this.keeper.stops(at);
      this.show({ hearing: false });
    },
    caption: ({ final, text, ignored }) => {
      if (final && (text === "" || ignored)) this.keeper.drop();
      if (ignored) this.show({ hearing: false, thinking: false });
    },
    heard_you: () => this.show({ hearing: false, thinking: true }),
    turn: ({ turn }) => {
      const [clip, question] = [this.keeper.settle(), this.transcript.question(turn)];
      if (clip && question) this.transcript.attach(question, { clip });
      this.show({ hearing: false, thinking: true });
    },
    reply: ({ turn, last }) => {
      const answer = this.transcript.reply(turn);
      if (answer && answer.spoken === undefined && this.player && !this.options.muted) this.transcript.attach(answer, { spoken: 0 });
      if (last && !this.player) this.show({ thinking: false });
    },
    interrupted: () => {
      this.show({ speaking: false, thinking: false, interrupted: true });
      clearTimeout(this.recovering);
      this.recovering = setTimeout(() => this.show({ interrupted: false }), INTERRUPTED_MS);
    },
    error: ({ turn }) => {
      const answer = turn !== undefined && this.transcript.reply(turn);
      if (answer) this.transcript.attach(answer, { spoken: undefined }); // it will not be spoken
      this.show({ thinking: false });
    },
  };

  /** @param {Message | ArrayBuffer} message */
  receiveSound(message) {
    if (message instanceof ArrayBuffer) {
      this.keeper.answer(message);
    } else {
      this.note(`sound ${message.type}`, message);
      if (message.type === "start") this.keeper.answers(message.turn);
      if (message.type === "resume") this.wasNothing();
    }
    this.player?.take(message);
    if (!(message instanceof ArrayBuffer)) this.bargeIn.receive(message.type);
  }

  /** It was a cough or an "mm-hmm", no turn. */
  wasNothing() {
    this.transcript.dropOpen();
    this.keeper.drop();
    this.call?.settle();
  }

  /** @param {import("./sound.js").Report} report */
  played({ turn, seconds, playing, finished, cut, gaps, ahead }) {
    if (this.now.speaking && !playing) this.note("silence", { turn, seconds });
    this.call?.send({ type: "heard", turn, seconds: Math.round(seconds * 1000) / 1000 });
    this.show({ speaking: !finished && (playing || this.now.speaking), thinking: this.now.thinking && !playing });
    this.emit("played", { turn, seconds, playing, finished, cut, gaps, ahead });
    const clip = finished && this.keeper.played(turn, seconds);
    const answer = this.transcript.reply(turn);
    if (!answer) return;
    if (!this.options.muted) this.follow(answer, seconds, finished, cut);
    if (clip) this.transcript.attach(answer, { clip });
  }

  /**
   * Which of the answer's words were spoken: estimated by the pace of the voice, because the start of each word is not known.
   * @param {Entry} answer @param {number} seconds @param {boolean} finished @param {boolean} cut
   */
  follow(answer, seconds, finished, cut) {
    const whole = finished && !cut && answer.state === "final";
    if (whole && seconds > 1) this.pace += (answer.text.length / seconds - this.pace) / 4;
    this.transcript.attach(answer, { spoken: finished && !cut ? undefined : Math.round(seconds * this.pace) });
  }

  /** @param {boolean} on */
  pauseLocally(on) {
    if (this.player) this.player.pausedLocally = on;
    this.note(on ? "paused locally" : "resumed locally");
  }

  // --- sound --------------------------------------------------------------------------------------------

  get context() {
    return this.audio.context;
  }

  get player() {
    return this.audio.player;
  }

  get microphone() {
    return this.audio.microphone;
  }

  /** @param {{ pcm: ArrayBuffer, level: number }} frame */
  receiveFrame({ pcm, level }) {
    if ((!this.now.pressed && !this.tail) || this.keeper.playing) return this.emit("level", 0);
    this.emit("level", level);
    this.call?.sendAudio(pcm);
  }

  /** @param {boolean} speaking */
  voiceDetected(speaking) {
    this.note("voice", { speaking });
    if (speaking && this.now.speaking && this.options.hushing && this.options.mode !== "hold") this.bargeIn.voice();
  }

  changeMode() {
    clearTimeout(this.tail);
    this.tail = undefined;
    this.audio.closeMicrophone();
    this.call?.send({ type: "update", turn_detection: this.options.mode === "hold" ? "manual" : "auto" });
    this.show({ pressed: false, hearing: false });
  }

  // --- itself -------------------------------------------------------------------------------------------

  /** @param {Partial<Conversation["now"]>} facts */
  show(facts) {
    Object.assign(this.now, facts);
    const { state } = this;
    if (state !== this.shownState) this.note("state", { state });
    this.shownState = state;
    this.emit("state", state, { pressed: this.now.pressed, mode: this.options.mode });
  }

  /**
   * @template {keyof Events} Name
   * @param {Name} name @param {Parameters<Events[Name]>} values
   */
  emit(name, ...values) {
    for (const listener of this.listeners.get(name) ?? []) listener(...values);
  }

  /** @param {string} what @param {{ type?: string, uid?: unknown, at?: number, [fact: string]: unknown }} facts */
  note(what, facts = {}) {
    const { type, uid, at, ...rest } = facts;
    const where = at === undefined ? {} : { seconds: at }; // in the call's own sound
    this.log.push({ ...rest, ...where, what, at: Math.round(performance.now() * 10) / 10 });
    if (this.log.length > LOG_LINES) this.log.splice(0, LOG_LINES / 10);
  }

  /** Sockets do not notice that a machine slept, for minutes; a clock that stood still does. Phones also stop the sound of a page that is not seen. */
  watch() {
    const seen = () => {
      if (!document.hidden) this.context?.resume();
    };
    document.addEventListener("visibilitychange", seen);
    let ticked = Date.now();
    const clock = setInterval(() => {
      const now = Date.now();
      if (now - ticked > SLEPT_MS && !document.hidden) {
        this.note("woke", { after: now - ticked });
        this.call?.renew();
        this.context?.resume();
      }
      ticked = now;
    }, 1000);
    return () => {
      clearInterval(clock);
      document.removeEventListener("visibilitychange", seen);
    };
  }
}
