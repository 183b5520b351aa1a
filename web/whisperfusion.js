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
import { Hush } from "./hush.js";
import { Keeper } from "./keeper.js";
import { SoundError, devices } from "./sound.js";
import { Transcript } from "./transcript.js";

export { SoundError, devices };

const HOME = new URL("..", import.meta.url);
const TAIL_MS = 150; // the last syllable is still on its way through the microphone when the button is released
const INTERRUPTED_MS = 1500; // for which that is shown
const SLEPT_MS = 90_000; // without a tick of a clock that ticks every second, or once a minute in a tab that nobody sees
const LOG_LINES = 2000;
const CHARACTERS_PER_S = 15; // of speech, until the voice has told its own pace
const MANNER = ["instructions", "voice", "speed", "language", "eagerness"]; // what the server is told, at first and in an update
const OWN = { instructions: "", voice: "" }; // in an update: back to the server's own. The others stay for this call

export class Conversation {
  constructor(url = HOME, options = {}) {
    this.url = new URL(url, HOME);
    this.options = { token: "", mode: "auto", muted: false, input: "", output: "", denoise: false, hushing: true, keepSound: false, ...options };
    this.listeners = new Map();
    this.log = []; // [{ at: ms since the page began, what, … }]
    this.now = { line: "closed", hearing: false, thinking: false, speaking: false, pressed: false, interrupted: false };
    this.keeper = new Keeper(() => this.options.keepSound);
    this.transcript = new Transcript({
      show: (entry, next) => this.tell("entry", entry, next),
      remove: (entry) => this.tell("remove", entry),
    });
    this.hush = new Hush((on) => this.hushed(on), (over) => this.microphone && (this.microphone.alarm = over));
    this.audio = new AudioIO(() => ({ ...this.options, listening: this.now.pressed, holding: this.options.mode === "hold" }), {
      frame: (frame) => this.heardFrame(frame),
      voice: (speaking) => this.heardVoice(speaking),
      level: (level) => this.tell("level", level),
      played: (report) => this.played(report),
      trouble: (code, text) => this.tell("notice", code, text),
      over: () => this.stop(),
    });
    this.call = this.tail = null;
    this.pace = CHARACTERS_PER_S;
    this.watch();
  }

  // --- for the page -------------------------------------------------------------------------------------

  /** Calls `listener` for each event of that name; returns a function that ends this. */
  on(name, listener) {
    const group = this.listeners.get(name) ?? this.listeners.set(name, new Set()).get(name);
    group.add(listener);
    return () => group.delete(listener);
  }

  get state() {
    const { line, pressed } = this.now;
    if (line !== "ready") return line === "closed" ? "idle" : line;
    return ["interrupted", "hearing", "speaking", "thinking"].find((name) => this.now[name]) ?? (pressed ? "listening" : "ready");
  }

  get entries() {
    return this.transcript.entries;
  }

  /** Opens the microphone and the connection. Resolves with whether somebody is listened to now. */
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
    this.call?.close();
    this.call = null;
    this.audio.closeMicrophone();
    this.player?.clear();
    this.hush.release();
    this.keeper.stop();
    this.keeper.forget();
    this.transcript.detach(true);
    this.show({ line: "closed", hearing: false, thinking: false, speaking: false, pressed: false });
  }

  /** A typed line. Needs no microphone; may be the first thing of a call. */
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
    this.tail = null;
    if (this.now.speaking) this.interrupt();
    this.start();
  }

  release() {
    if (!this.now.pressed) return;
    this.context?.resume(); // the first touch of a page is no permission for sound, its end is
    this.show({ pressed: false });
    this.tail = setTimeout(() => {
      this.tail = null;
      this.call?.send({ type: "commit" });
    }, TAIL_MS);
  }

  /** Changes options while it runs. */
  update(changes) {
    const before = this.options;
    this.options = { ...before, ...changes };
    const changed = (name) => name in changes && changes[name] !== before[name];
    this.audio.update(changed);
    if (changed("mode")) this.changeMode();
    const told = MANNER.filter(changed);
    if (told.length > 0) this.call?.send({ type: "update", ...Object.fromEntries(told.map((name) => [name, this.options[name] ?? OWN[name]])) });
  }

  /**
   * Plays what is kept of an entry's sound (`keepSound`), and stops it when it is asked for again. Nobody is listened to meanwhile; an
   * answer that is being heard is stopped, and one that begins ends it. Resolves at its end.
   */
  async play(entry) {
    const context = await this.audio.openPlayer();
    if (!context || !entry.clip) return;
    if (this.now.speaking) this.interrupt();
    await this.keeper.play(context, entry.clip, context.destination);
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
      event: (event) => this.heardEvent(event),
      sound: (message) => this.heardSound(message),
      frame: (pcm) => this.keeper.hear(pcm),
      over: (code, reason) => this.ended(code, reason),
    });
  }

  handshake() {
    const given = MANNER.filter((name) => (this.options[name] ?? "") !== "");
    return {
      history: this.transcript.history(),
      turn_detection: this.options.mode === "hold" ? "manual" : "auto",
      ...Object.fromEntries(given.map((name) => [name, this.options[name]])),
    };
  }

  lineChanged(line) {
    const reconnected = line === "ready" && this.lost;
    if (line !== "ready") {
      this.player?.clear();
      this.transcript.detach();
      this.keeper.forget();
      this.lost = this.lost || line === "reconnecting";
    } else {
      this.lost = false;
      for (const entry of this.transcript.pending()) this.call.send({ type: "say", text: entry.text });
      if (reconnected && this.transcript.pending().length === 0 && this.transcript.waits) this.call.send({ type: "respond" });
    }
    this.note(line);
    const waits = line === "ready" && (this.transcript.pending().length > 0 || (Boolean(reconnected) && this.transcript.waits));
    this.show({ line, hearing: false, thinking: waits, speaking: false });
    if (line === "reconnecting") this.tell("notice", "lost", "The connection was lost. Trying again; the conversation goes on where it was.");
    else if (reconnected) this.tell("notice", "", "");
  }

  ended(code, reason) {
    this.stop();
    const words = {
      busy: `All lines are busy. Try again in about ${reason} ${reason === 1 ? "minute" : "minutes"}.`,
      refused: reason || "The server refused the connection.",
      time_limit: "The call reached its time limit. Start again to go on with the same conversation.",
    };
    this.tell("notice", code, words[code], reason);
  }

  heardEvent(event) {
    this.note(event.type, event);
    this.transcript.receive(event);
    this.readers[event.type]?.(event);
    this.tell("event", event);
  }

  readers = {
    notice: ({ text }) => this.transcript.note(text),
    speech_started: ({ at }) => {
      this.keeper.begins(at);
      this.show({ hearing: true, thinking: false });
    },
    speech_stopped: ({ at }) => {
      this.keeper.stops(at);
      this.show({ hearing: false });
    },
    caption: ({ final, text }) => final && text === "" && this.keeper.drop(),
    heard_you: () => this.show({ hearing: false, thinking: true }),
    turn: ({ turn }) => {
      const clip = this.keeper.settle();
      if (clip) this.transcript.attach(this.transcript.question(turn), { clip });
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
      if (answer) this.transcript.attach(answer, { spoken: undefined }); // nobody will say it
      this.show({ thinking: false });
    },
  };

  heardSound(message) {
    if (message instanceof ArrayBuffer) {
      this.keeper.answer(message);
    } else {
      this.note(`sound ${message.type}`, message);
      if (message.type === "start") this.keeper.answers(message.turn);
      if (message.type === "resume") this.wasNothing();
    }
    this.player?.take(message);
    this.hush.told(message.type);
  }

  /** It was a cough or an "mm-hmm", no turn. */
  wasNothing() {
    this.transcript.dropOpen();
    this.keeper.drop();
    this.call.settle();
  }

  played({ turn, seconds, playing, finished, cut, gaps, ahead }) {
    if (this.now.speaking && !playing) this.note("silence", { turn, seconds });
    this.call?.send({ type: "heard", turn, seconds: Math.round(seconds * 1000) / 1000 });
    this.show({ speaking: !finished && (playing || this.now.speaking), thinking: this.now.thinking && !playing });
    this.tell("played", { turn, seconds, playing, finished, gaps, ahead });
    const clip = finished && this.keeper.played(turn, seconds);
    const answer = this.transcript.reply(turn);
    if (!answer) return;
    if (!this.options.muted) this.follow(answer, seconds, finished, cut);
    if (clip) this.transcript.attach(answer, { clip });
  }

  /** Which of the answer's words were spoken: counted by the voice's pace, for nobody tells when each of them begins. */
  follow(answer, seconds, finished, cut) {
    const whole = finished && !cut && answer.state === "final";
    if (whole && seconds > 1) this.pace += (answer.text.length / seconds - this.pace) / 4;
    this.transcript.attach(answer, { spoken: finished && !cut ? undefined : Math.round(seconds * this.pace) });
  }

  hushed(on) {
    if (this.player) this.player.hushed = on;
    this.note(on ? "hushed" : "unhushed");
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

  heardFrame({ pcm, level }) {
    if ((!this.now.pressed && !this.tail) || this.keeper.playing) return this.tell("level", 0);
    this.tell("level", level);
    this.call?.hearMicrophone(pcm);
  }

  heardVoice(speaking) {
    this.note("voice", { speaking });
    if (speaking && this.now.speaking && this.options.hushing && this.options.mode !== "hold") this.hush.voice();
  }

  changeMode() {
    clearTimeout(this.tail);
    this.tail = null;
    this.audio.closeMicrophone();
    this.call?.send({ type: "update", turn_detection: this.options.mode === "hold" ? "manual" : "auto" });
    this.show({ pressed: false, hearing: false });
  }

  // --- itself -------------------------------------------------------------------------------------------

  show(facts) {
    Object.assign(this.now, facts);
    const { state } = this;
    if (state !== this.shownState) this.note("state", { state });
    this.shownState = state;
    this.tell("state", state, { pressed: this.now.pressed, mode: this.options.mode });
  }

  tell(name, ...values) {
    for (const listener of this.listeners.get(name) ?? []) listener(...values);
  }

  note(what, facts = {}) {
    const { type, uid, at, ...rest } = facts;
    const where = at === undefined ? {} : { seconds: at }; // in the call's own sound
    this.log.push({ ...rest, ...where, what, at: Math.round(performance.now() * 10) / 10 });
    if (this.log.length > LOG_LINES) this.log.splice(0, LOG_LINES / 10);
  }

  /** Sockets do not notice that a machine slept, for minutes; a clock that stood still does. Phones also stop the sound of a page that is not seen. */
  watch() {
    const seen = () => document.hidden || this.context?.resume();
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
    this.unwatch = () => {
      clearInterval(clock);
      document.removeEventListener("visibilitychange", seen);
    };
  }
}
