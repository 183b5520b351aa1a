// /voices: the voices that were made of recordings of people; one can be recorded, with consent, and deleted.
// Text only ever enters as text.

import { $, element, find } from "./elements.js";
import { get, remembered, voicesPath } from "./server.js";
import { speak, t } from "./texts.js";

const LONGEST_MS = 60_000;
const token = remembered();
const config = await get("config.json", token).then((answer) => answer.json()).catch(() => null);
const place = voicesPath(config);
const form = $("add", HTMLFormElement);
const button = $("record", HTMLButtonElement);

const en = {
  "title": "Voices of people", "talk": "Talk",
  "why": "A recording of 10 to 30 seconds of one person becomes a voice that can be chosen, where the server's engine clones voices. Record only people who agree.",
  "none": "None yet.", "delete": "Delete", "unusable": "The engine that speaks now cannot clone voices.",
  "said": "{by} consented on {date}.", "new": "A new voice", "name": "Name of the voice", "by": "Who speaks in the recording",
  "consent": "Their consent, in their words", "words": "I agree that this server makes a voice of my recording and speaks with it.",
  "record": "Record", "stop": "Stop ({seconds} s)", "recorded": "Record again ({seconds} s are recorded)",
  "file": "Or a file", "save": "Store this voice", "saving": "The recording is being checked…", "saved": "Stored.", "deleted": "Deleted.",
  "missing": "Record something first, or choose a file.", "microphone": "The microphone cannot be used. Choose a file instead.",
  "no_server": "The server does not answer.",
};

/** @type {Blob | null} */
let recording = null;
/** @type {MediaRecorder | null} */
let recorder = null;

/** @param {string} text @param {boolean} failed */
function tell(text, failed = false) {
  $("notice").textContent = text;
  if (failed) $("notice").dataset.failed = "";
  else delete $("notice").dataset.failed;
}

/** What the server says that is wrong, "" for nothing. @param {string} path @param {RequestInit} request */
async function asked(path, request) {
  /** @type {Record<string, string>} */
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(new URL(path, document.baseURI), { ...request, headers }).catch(() => null);
  return answer?.ok ? "" : ((await answer?.json().catch(() => null))?.error?.message ?? t("no_server"));
}

/** @param {any} voice */
function row(voice) {
  const node = element("li", "", element("b", "", voice.name));
  const gone = element("button", "", t("delete"));
  gone.type = "button";
  gone.setAttribute("aria-label", `${t("delete")} ${voice.name}`);
  gone.addEventListener("click", async () => {
    const problem = await asked(`${place}/${voice.id}`, { method: "DELETE" });
    tell(problem || t("deleted"), problem !== "");
    await look();
  });
  const date = new Date(voice.consent.at * 1000).toLocaleDateString(document.documentElement.lang);
  node.append(gone, element("p", "", voice.id), element("p", "", t("said", { by: voice.consent.by, date })));
  if (!voice.usable) node.append(element("p", "", t("unusable")));
  return node;
}

async function look() {
  const answer = await get(place, token).catch(() => null);
  const found = await answer?.json().catch(() => null);
  if (!answer?.ok || !found) return tell(found?.error?.message ?? t("no_server"), true);
  const own = found.voices.filter(({ object }) => object === "audio.voice");
  $("servers").replaceChildren(...own.map(row), ...(own.length ? [] : [element("li", "", t("none"))]));
}

async function record() {
  // as the person sounds: what removes noise changes a voice
  const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await navigator.mediaDevices?.getUserMedia({ audio }).catch(() => null);
  if (!stream) return tell(t("microphone"), true);
  /** @type {Blob[]} */
  const parts = [];
  const began = Date.now();
  const seconds = () => Math.round((Date.now() - began) / 1000);
  const now = new MediaRecorder(stream);
  recorder = now;
  const ticks = setInterval(() => {
    button.textContent = t("stop", { seconds: seconds() });
    if (Date.now() - began > LONGEST_MS - 1000) now.stop();
  }, 250);
  now.addEventListener("dataavailable", ({ data }) => parts.push(data));
  now.addEventListener("stop", () => {
    clearInterval(ticks);
    for (const track of stream.getTracks()) track.stop();
    recorder = null;
    recording = new Blob(parts, { type: now.mimeType });
    button.setAttribute("aria-pressed", "false");
    button.textContent = t("recorded", { seconds: seconds() });
  });
  button.setAttribute("aria-pressed", "true");
  button.textContent = t("stop", { seconds: 0 });
  now.start();
}

button.addEventListener("click", () => (recorder ? recorder.stop() : record()));

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const given = new FormData(form);
  const file = given.get("file");
  const sample = file instanceof File && file.size > 0 ? file : recording;
  if (!sample) return tell(t("missing"), true);
  given.delete("file");
  given.set("audio_sample", sample, "sample");
  tell(t("saving"));
  const problem = await asked(place, { method: "POST", body: given });
  tell(problem || t("saved"), problem !== "");
  if (problem) return;
  form.reset();
  begin();
  await look();
});

function begin() {
  recording = null;
  button.textContent = t("record");
  find("[name=consent]", HTMLTextAreaElement, form).value = t("words");
}

await speak("auto", { en }, "./texts/voices");
begin();
await look();
document.body.dataset.loaded = "true";
