// Joins the parts: what the person does and what the server says become calls of each other.

import { Call } from "./call.js";
import { Conversation } from "./conversation.js";
import { watchServer } from "./server.js";
import { Microphone, Player, SoundError, openSound } from "./sound.js";
import { View } from "./view.js";

const TAIL_MS = 150; // the last syllable is still on its way through the microphone when the button is released

const view = new View();
const conversation = new Conversation(view);
// The facts that the page's state is made of. `line` is "closed" or what the call last told.
const now = { line: "closed", hearing: false, thinking: false, speaking: false, holding: false, pressed: false, sound: true };
const server = await watchServer(view, () => now.line === "ready");
let call = null;
let sound = null; // promise of the AudioContext
let player = null;
let microphone = null;
let tail = null;

function show(facts = {}) {
  Object.assign(now, facts);
  view.state(stateName(), { holding: now.holding, pressed: now.pressed });
}

function stateName() {
  if (now.line !== "ready") return now.line === "closed" ? "idle" : now.line;
  const waiting = now.pressed ? "listening" : "ready";
  return ["hearing", "speaking", "thinking"].find((name) => now[name]) ?? waiting;
}

// --- the call -----------------------------------------------------------------------------------------

function connect() {
  call ??= new Call(server.token, handshake, { state: lineChanged, event: heardEvent, sound: heardSound, over: callOver });
}

const handshake = () => ({ history: conversation.history(), turn_detection: now.holding ? "manual" : "auto" });

function lineChanged(line) {
  if (line !== "ready") {
    player?.clear();
    conversation.detach();
  } else {
    for (const entry of conversation.pending()) call.send({ type: "say", text: entry.text });
  }
  if (line === "waiting") view.notice("The connection was lost. Trying again; the conversation goes on where it was.");
  else if (line === "ready") view.notice("");
  show({ line, hearing: false, thinking: line === "ready" && conversation.pending().length > 0, speaking: false });
}

function callOver(reason) {
  hangUp();
  view.notice(reason);
}

function hangUp() {
  call?.close();
  call = null;
  closeMicrophone();
  player?.clear();
  conversation.detach();
  show({ line: "closed", hearing: false, thinking: false, speaking: false, pressed: false });
}

function heardEvent(event) {
  conversation.receive(event);
  const readers = {
    stages: () => Object.entries(event.stages).forEach(([name, stage]) => view.stage(name, stage)),
    stage: () => view.stage(event.name, event),
    notice: () => conversation.note(event.text),
    speech_started: () => show({ hearing: true, thinking: false }),
    speech_stopped: () => show({ hearing: false }),
    heard_you: () => show({ hearing: false, thinking: true }),
    turn: () => show({ hearing: false, thinking: true }),
    reply: () => event.last && !player && show({ thinking: false }),
    interrupted: () => show({ speaking: false, thinking: false }),
    error: () => show({ thinking: false }),
  };
  readers[event.type]?.();
}

function heardSound(message) {
  if (message.type === "resume") conversation.dropOpen(); // a cough or an "mm-hmm", no turn
  player?.take(message);
}

function played({ turn, seconds, playing, finished }) {
  call?.send({ type: "heard", turn, seconds: Math.round(seconds * 1000) / 1000 });
  show({ speaking: !finished && (playing || now.speaking), thinking: now.thinking && !playing });
}

// --- sound --------------------------------------------------------------------------------------------

/** The loudspeaker, made at the first gesture. Without it the page is silent but works. */
async function openPlayer() {
  sound ??= openSound();
  try {
    const context = await sound;
    context.resume(); // a phone may have paused it
    if (!player) {
      player = new Player(context, server.config.sample_rate, played);
      player.muted = !now.sound;
    }
    return context;
  } catch (error) {
    sound = null;
    if (!(error instanceof SoundError)) throw error;
    view.notice(error.message);
    return null;
  }
}

async function openMicrophone() {
  const context = await openPlayer();
  if (!context || microphone) return Boolean(microphone);
  try {
    microphone = await Microphone.open(context, heardFrame, () => (hangUp(), view.notice("The microphone was disconnected.")));
  } catch (error) {
    if (!(error instanceof SoundError)) throw error;
    view.notice(error.message);
    return false;
  }
  if (!now.pressed && !now.holding) closeMicrophone(); // stopped while the browser was asking
  return true;
}

function closeMicrophone() {
  microphone?.close();
  microphone = null;
  view.level(0);
}

function heardFrame({ pcm, level }) {
  if (!now.pressed && !tail) return view.level(0);
  view.level(level);
  call?.hearMicrophone(pcm);
}

// --- what the person does -------------------------------------------------------------------------------

async function start() {
  view.notice("");
  show({ pressed: true });
  if (!(await openMicrophone())) return show({ pressed: false });
  if (now.pressed) connect();
}

function interrupt() {
  player?.clear();
  call?.send({ type: "interrupt" });
}

function press() {
  if (now.pressed) return;
  clearTimeout(tail);
  tail = null;
  if (now.speaking) interrupt();
  start();
}

function release() {
  if (!now.pressed) return;
  show({ pressed: false });
  tail = setTimeout(() => {
    tail = null;
    call?.send({ type: "commit" });
  }, TAIL_MS);
}

function say(text) {
  view.notice("");
  openPlayer();
  conversation.say(text);
  if (call?.ready) call.send({ type: "say", text });
  else connect();
  show({ thinking: true });
}

function setHolding(holding) {
  clearTimeout(tail);
  tail = null;
  closeMicrophone();
  call?.send({ type: "update", turn_detection: holding ? "manual" : "auto" });
  show({ holding, pressed: false, hearing: false });
}

const $ = (id) => document.getElementById(id);
const talk = $("talk");

talk.addEventListener("click", () => {
  if (now.holding) return;
  if (now.pressed) hangUp();
  else start();
});
talk.addEventListener("pointerdown", (event) => {
  if (!now.holding) return;
  talk.setPointerCapture(event.pointerId);
  press();
});
for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) talk.addEventListener(name, () => now.holding && release());
talk.addEventListener("contextmenu", (event) => now.holding && event.preventDefault()); // a long touch is no menu here

const takesSpace = (target) => target !== talk && target.closest("input, button, dialog");

addEventListener("keydown", (event) => {
  if (event.key === "Escape" && now.speaking) interrupt();
  if (event.code !== "Space" || !now.holding || takesSpace(event.target)) return;
  event.preventDefault();
  if (!event.repeat) press();
});
addEventListener("keyup", (event) => {
  if (event.code !== "Space" || !now.holding || takesSpace(event.target)) return;
  event.preventDefault();
  release();
});
addEventListener("blur", () => now.holding && release()); // the key may come up in another window

$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("line").value.trim();
  $("line").value = "";
  if (text) say(text);
});
$("quiet").addEventListener("click", interrupt);
$("hold-to-talk").addEventListener("change", (event) => setHolding(event.target.checked));
$("sound").addEventListener("click", () => {
  show({ sound: !now.sound });
  view.sound(now.sound);
  if (player) player.muted = !now.sound;
});

show({ holding: $("hold-to-talk").checked });
document.body.dataset.loaded = "true";
