// The page's words in each language that it speaks, and how they get into the document.
//
// To add a language: a file of texts/ with the same keys (a test compares them), which is loaded when it is asked for, and its
// own name here. In the document data-t names the key of an element's text, data-t-label, data-t-title and data-t-placeholder those of its attributes.

import { findAll } from "./elements.js";

const en = {
  "lead": "Say something.",
  "welcome": "Press the button and speak. You can interrupt the answer at any time, or type below.",
  "skip": "Skip to the text field",
  "stages": "Parts of the server", "asr": "Hears (ASR)", "llm": "Thinks (LLM)", "tts": "Speaks (TTS)",
  "ready": "ready", "starting": "starting", "down": "down",
  "anew": "New conversation", "conversation": "Conversation", "level": "Microphone level",
  "talk.start": "Start talking", "talk.stop": "Stop talking", "talk.hold": "Hold to talk",
  "hold": "Hold to talk", "sound": "Sound", "sound.title": "Sound of the answers",
  "quiet": "Stop answer", "type": "Type instead of speaking", "type.here": "Or type and press Enter", "send": "Send",
  "state.idle": "Start talking", "state.connecting": "Connecting…", "state.reconnecting": "Connection lost. Trying again…",
  "state.ready": "Ready when you are", "state.listening": "Listening…", "state.hearing": "I hear you", "state.thinking": "Thinking…",
  "state.speaking": "Answering. Speak to interrupt.", "state.interrupted": "Interrupted. Go on, I am listening.",
  "held.idle": "Hold to talk", "held.ready": "Hold to talk", "held.listening": "Go on, I am listening", "held.speaking": "Answering. Hold to interrupt.",
  "who.user": "You", "who.assistant": "Answer", "who.note": "Notice",
  "unheard": "You interrupted before this was said", "unheard.said": " (interrupted, not said:) ",
  "after": "after you stopped:", "words": "transcript", "first_token": "first token", "first_sound": "first sound", "reused": "generated ahead",
  "play.user": "Play what you said", "play.assistant": "Play the answer",
  "secret": "This server requires an access key", "secret.how": "The operator of this server has it. It is kept until you close this tab.",
  "secret.pair": "This device is not paired yet",
  "secret.pair.how": "Scan the code that the server prints in its terminal, or type its pairing key: the last part of the address below the code.",
  "phone": "Use on your phone", "phone.once": "Once: trust this server.", "phone.speak": "Then: open it and speak.", "phone.again": "Make a new code",
  "phone.valid": "Valid for {minutes} minutes and {devices} devices.", "phone.print": "Certificate (SHA-256): {print}",
  "phone.code": "QR code of the address", "phone.problem": "The server does not make codes for this device.",
  "secret.wrong": "That key is not correct.", "secret.name": "Access key", "continue": "Continue", "close": "Close",
  "settings": "Settings", "settings.talk": "Conversation", "settings.sound": "Sound", "settings.page": "Page", "reset": "Reset all settings",
  "agent": "Agent", "agent.server": "The server's default",
  "language": "You speak", "language.server": "The server's default", "language.detect": "Detect the language",
  "voice": "Voice", "voice.server": "The server's default", "voices": "Voices of people…",
  "personality": "Personality", "personality.server": "The server's default", "personality.brief": "Brief: one sentence",
  "personality.teacher": "A patient teacher", "personality.story": "A storyteller", "personality.own": "My own instructions…",
  "instructions": "Instructions for the assistant",
  "eagerness": "When you pause", "eagerness.patient": "waits", "eagerness.eager": "answers soon",
  "eagerness.cost": "Waiting costs about 0.6 seconds; answering soon cuts off about 3 turns in 10 instead of 1 where people hesitate.",
  "speed": "Speaking speed", "input": "Microphone", "output": "Loudspeaker", "device.system": "System default",
  "denoise": "Noise suppression of this page instead of the browser's", "hushing": "Pause the answer as soon as I speak", "cues": "Soft tones for listening and thinking",
  "keep": "Keep the audio of this session for playback", "interface": "Language of this page", "theme": "Colours",
  "auto": "System default", "light": "Light", "dark": "Dark",
  "inside": "Turn timings", "inside.empty": "Each turn will be drawn here: from the end of your words to the first sound of the answer.",
  "inside.turns": "{turns} turns · first sound after {median} s (median) · {reused} generated ahead",
  "inside.row": "transcript after {words} s, end of turn after {decided} s, first token after {first_token} s, first sound after {first_sound} s",
  "inside.stopped": "silence detected", "inside.words": "final transcript", "inside.decided": "end of turn", "inside.first_token": "first token",
  "inside.first_clause": "first clause", "inside.first_sound": "first sound", "inside.sound": "Playback buffer: {ahead} ms · gaps: {gaps}",
  "save": "Save this conversation", "save.text": "Text", "save.json": "JSON", "save.srt": "Subtitles", "save.wav": "Sound",
  "save.nothing": "Nothing was said yet.", "save.no_sound": "No sound was kept. A setting changes this.", "dashboard": "Server status",
  "notice.lost": "The connection was lost. Trying again; the conversation goes on where it was.",
  "notice.busy": "All lines are busy. Try again in about {n} min.",
  "notice.time_limit": "The call reached its time limit. Start again to go on with the same conversation.",
  "notice.ended": "The call was ended: {n}.", "ignored": "another voice, not answered", "tool.failed": "failed", "tool.works": "at work",
  "notice.insecure": "Browsers allow sound and the microphone only on pages opened over https or from localhost. Ask the operator of this server for its https address. You can still type and read.",
  "notice.blocked": "The microphone is blocked. Allow it beside the address bar, then start again. You can still type.",
  "notice.missing": "No microphone was found. Connect one, then start again. You can still type.",
  "notice.in_use": "Another program is using the microphone. Close it, then start again. You can still type.",
  "notice.unplugged": "The microphone was disconnected.", "notice.other_microphone": "That microphone was disconnected. Another one is used now.",
  "notice.refused": "The server refused the connection. {n}", "notice.unusable": "The microphone cannot be used. You can still type.",
  "notice.pairing_refused": "That pairing code is used up or older than ten minutes. Ask the server for a new one.",
  "notice.no_server": "The server does not answer. Trying again…",
};

/** @type {{ [code: string]: Table }} */
export const TABLES = { en };
export const NAMES = { en: "English", de: "Deutsch", es: "Español", fr: "Français", it: "Italiano", pt: "Português", ja: "日本語", zh: "中文" };

/** @typedef {{ [key: string]: string }} Table */

/** @type {Table} */
let table = en;

/** The text of a key, with {names} filled in; "" for an unknown key. */
export function t(key, values = {}) {
  return (table[key] ?? en[key] ?? "").replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

/** The language that was asked for last. */
let asked = "";

/**
 * Puts the whole document into a language: a code, or "auto" for the browser's own. `tables`, `folder`: of a page with words of its own.
 * At once where the words are here; resolves with whether they had to be loaded first, and what is drawn has to be drawn again.
 */
export async function speak(language, tables = TABLES, folder = "./texts") {
  const wanted = language === "auto" ? navigator.languages.map((code) => code.slice(0, 2)) : [language];
  const code = wanted.find((one) => one in NAMES) ?? "en";
  asked = code;
  const loads = !(code in tables);
  if (loads) tables[code] = await import(`${folder}/${code}.js`).then((words) => words.default, () => tables.en); // without them, in English
  if (asked !== code) return false;
  table = tables[code];
  document.documentElement.lang = code;
  const set = { t: (node, text) => (node.textContent = text), tLabel: (node, text) => node.setAttribute("aria-label", text),
    tTitle: (node, text) => (node.title = text), tPlaceholder: (node, text) => (node.placeholder = text) };
  for (const [name, put] of Object.entries(set)) {
    const attribute = `data-${name.replace(/[A-Z]/, (letter) => `-${letter.toLowerCase()}`)}`;
    for (const node of findAll(`[${attribute}]`)) put(node, t(node.dataset[name]));
  }
  return loads;
}
