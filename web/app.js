// Joins the parts: what the person does goes to the conversation, what happens there goes to the view.

import { earcon } from "./earcons.js";
import { $ } from "./elements.js";
import { Inside } from "./inside.js";
import { goOn } from "./kept.js";
import { customVoices, watchServer } from "./server.js";
import { Settings } from "./settings.js";
import { speak, t } from "./texts.js";
import { View } from "./view.js";
import { Conversation } from "./whisperfusion.js";

const talk = $("talk");
const holdToTalk = $("hold-to-talk", HTMLInputElement);

const settings = new Settings((values, names) => settingsChanged(values, names));
dress(settings.values);
const conversation = new Conversation(document.baseURI, settings.options());
const view = new View((entry) => conversation.play(entry));
const inside = new Inside(conversation, (text) => view.notice(text));
Object.assign(globalThis, { whisperfusion: conversation }); // for the console: .log has what happened, and when

// --- what happens ---------------------------------------------------------------------------------------

/** @type {Promise<WakeLockSentinel | null> | null} */
let awake = null; // a lock that keeps a phone's screen on
let before = "idle";

conversation.on("entry", (entry, next) => view.show(entry, next));
conversation.on("remove", (entry) => view.remove(entry));
conversation.on("level", (level) => view.level(level));
conversation.on("notice", (code, text, n) => view.notice((code && t(`notice.${code}`, { n })) || text));
conversation.on("state", (state, { pressed, mode }) => {
  view.state(state, { holding: mode === "hold", pressed });
  keepAwake(state !== "idle");
  if (state !== before && settings.values.cues && !settings.values.muted) earconOf(state);
  before = state;
});
conversation.on("event", (event) => {
  if (event.type === "stages") for (const [name, stage] of Object.entries(event.stages)) showStage(name, stage);
  else if (event.type === "stage") showStage(event.name, /** @type {any} */ (event));
  else if (event.type === "thinking" && settings.values.cues && !settings.values.muted) sounded("thinking");
});

/** "Thinking" has a tone only if it takes long, which the server reports; "listening" only at the beginning of a call. */
function earconOf(state) {
  const begins = state === "listening" && ["idle", "connecting", "reconnecting"].includes(before);
  if (begins || state === "interrupted" || state === "reconnecting" || state === "idle") sounded(state);
}

function sounded(name) {
  if (conversation.context) earcon(conversation.context, name);
}

/** @param {string} name @param {import("./view.js").Stage & { voices?: string[] }} stage */
function showStage(name, stage) {
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
  holdToTalk.checked = values.holding;
  if (names.includes("interface")) view.stages();
  inside.draw();
}

/** @param {{ [name: string]: any }} values */
function dress({ theme, interface: language }) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  speak(language).then((loaded) => loaded && redraw());
}

/** In another language. */
function redraw() {
  view.state(conversation.state, { holding: settings.values.holding, pressed: conversation.now.pressed });
  view.stages();
  settings.fill();
  inside.draw();
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
talk.addEventListener("contextmenu", (event) => settings.values.holding && event.preventDefault()); // a long touch does not open a menu here

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
  const line = $("line", HTMLInputElement);
  const text = line.value.trim();
  line.value = "";
  view.notice("");
  if (text) conversation.say(text);
});
$("quiet").addEventListener("click", () => conversation.interrupt());
holdToTalk.addEventListener("change", () => settings.set({ holding: holdToTalk.checked }));
$("anew").addEventListener("click", () => {
  conversation.forget();
  $("talk").focus(); // the button goes away
});
$("sound").addEventListener("click", () => settings.set({ muted: !settings.values.muted }));

// --- the beginning --------------------------------------------------------------------------------------

holdToTalk.checked = settings.values.holding;
view.sound(!settings.values.muted);
view.state(conversation.state, { holding: settings.values.holding, pressed: false });
const server = await watchServer({ ...bound(view), stage: showStage }, () => conversation.now.line === "ready");
settings.offer({ agents: server.config.agents, languages: server.config.languages }, { eagerness: server.config.eagerness, speed: server.config.speed });
conversation.update({ ...settings.options(), token: server.token });
goOn(conversation, server);
inside.draw();
$("settings-open").addEventListener("click", async () => settings.offer({ custom: await customVoices(server.token, server.config) }));
$("phone-show").hidden = !server.config.pairing;
$("phone-show").addEventListener("click", async () => (await import("./phone.js")).showPhone(server.token));
document.body.dataset.loaded = "true";
performance.mark("interactive");

function bound(view) {
  return { notice: (text) => view.notice(text), askSecret: (...asked) => view.askSecret(...asked) };
}
