// Joins the parts: what the person does goes to the conversation, what happens there goes to the view.

import { cue } from "./cues.js";
import { Inside } from "./inside.js";
import { watchServer } from "./server.js";
import { Settings } from "./settings.js";
import { speak, t } from "./texts.js";
import { View } from "./view.js";
import { Conversation } from "./whisperfusion.js";

const $ = (id) => document.getElementById(id);
const talk = $("talk");

const settings = new Settings((values, names) => settingsChanged(values, names));
dress(settings.values);
const conversation = new Conversation(document.baseURI, settings.options());
const view = new View((entry) => conversation.play(entry));
const inside = new Inside(conversation, (text) => view.notice(text));
globalThis.whisperfusion = conversation; // for whoever opens the console: .log has what happened, and when

// --- what happens ---------------------------------------------------------------------------------------

let awake = null; // a lock that keeps a phone's screen on
let before = "idle";

conversation.on("entry", (entry, next) => view.show(entry, next));
conversation.on("remove", (entry) => view.remove(entry));
conversation.on("level", (level) => view.level(level));
conversation.on("notice", (code, text, n) => view.notice((code && t(`notice.${code}`, { n })) || text));
conversation.on("state", (state, { pressed, mode }) => {
  view.state(state, { holding: mode === "hold", pressed });
  keepAwake(state !== "idle");
  if (state !== before && settings.values.cues && conversation.context && !conversation.options.muted) cueOf(state);
  before = state;
});
conversation.on("event", (event) => {
  if (event.type === "stages") Object.entries(event.stages).forEach(([name, stage]) => told(name, stage));
  else if (event.type === "stage") told(event.name, event);
  else if (event.type === "thinking" && settings.values.cues && conversation.context && !conversation.options.muted) cue(conversation.context, "thinking");
});

/** "Thinking" has a tone only if it takes long, which the server tells; "listening" only at the beginning of a call. */
function cueOf(state) {
  const begins = state === "listening" && ["idle", "connecting", "reconnecting"].includes(before);
  if (begins || state === "interrupted" || state === "reconnecting" || state === "idle") cue(conversation.context, state);
}

function told(name, stage) {
  view.stage(name, stage);
  if (stage.voices?.length) settings.offer({ voices: stage.voices });
}

/** Browsers take the lock back whenever the page is not seen. */
async function keepAwake(on) {
  if (on === Boolean(awake) || !navigator.wakeLock || document.hidden) return;
  const lock = awake;
  awake = on ? navigator.wakeLock.request("screen").catch(() => (awake = null)) : null;
  if (!on) (await lock)?.release();
}
document.addEventListener("visibilitychange", () => {
  if (document.hidden) awake = null;
  else keepAwake(conversation.state !== "idle");
});

function settingsChanged(values, names) {
  dress(values);
  view.state(conversation.state, { holding: values.holding, pressed: conversation.now.pressed });
  view.sound(!values.muted);
  conversation.update(settings.options());
  $("hold-to-talk").checked = values.holding;
  if (names.includes("interface")) view.stages();
  inside.draw();
}

function dress({ theme, interface: language }) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  speak(language);
}

// --- what the person does -------------------------------------------------------------------------------

talk.addEventListener("click", () => {
  if (settings.values.holding) return;
  view.notice("");
  if (conversation.now.pressed) conversation.stop();
  else conversation.start();
});
talk.addEventListener("pointerdown", (event) => {
  if (!settings.values.holding) return;
  talk.setPointerCapture(event.pointerId);
  press();
});
for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) talk.addEventListener(name, release);
talk.addEventListener("contextmenu", (event) => settings.values.holding && event.preventDefault()); // a long touch is no menu here

function press() {
  view.notice("");
  conversation.press();
}

function release() {
  if (settings.values.holding) conversation.release();
}

const takesSpace = (target) => target !== talk && target.closest("input, button, dialog, select, textarea, a, summary");

addEventListener("keydown", (event) => {
  if (event.key === "Escape" && conversation.now.speaking) conversation.interrupt();
  if (event.code !== "Space" || !settings.values.holding || takesSpace(event.target)) return;
  event.preventDefault();
  if (!event.repeat) press();
});
addEventListener("keyup", (event) => {
  if (event.code !== "Space" || !settings.values.holding || takesSpace(event.target)) return;
  event.preventDefault();
  release();
});
addEventListener("blur", release); // the key may come up in another window

$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("line").value.trim();
  $("line").value = "";
  view.notice("");
  if (text) conversation.say(text);
});
$("quiet").addEventListener("click", () => conversation.interrupt());
$("hold-to-talk").addEventListener("change", ({ target }) => settings.set({ holding: target.checked }));
$("sound").addEventListener("click", () => settings.set({ muted: !settings.values.muted }));

// --- the beginning --------------------------------------------------------------------------------------

$("hold-to-talk").checked = settings.values.holding;
view.sound(!settings.values.muted);
conversation.show();
const server = await watchServer({ ...bound(view), stage: told }, () => conversation.now.line === "ready");
conversation.options.token = server.token;
settings.offer({ languages: server.config.languages }, { eagerness: server.config.eagerness, speed: server.config.speed });
conversation.update(settings.options());
inside.draw();
document.body.dataset.loaded = "true";
performance.mark("interactive");

function bound(view) {
  return { notice: (text) => view.notice(text), askSecret: (again) => view.askSecret(again) };
}
