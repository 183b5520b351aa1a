// What somebody prefers: kept in the browser, shown in the dialog, told to whoever listens.

import { devices } from "./whisperfusion.js";
import { NAMES, t } from "./texts.js";

const KEY = "whisperfusion-settings"; // in the browser's storage for this server
const SERVER = ""; // the choice that leaves it to the server
export const DEFAULTS = {
  language: SERVER, voice: SERVER, personality: SERVER, instructions: "", eagerness: null, speed: null, // null: as the server has it
  input: "", output: "", denoise: false, hushing: true, cues: true, keepSound: true, interface: "auto", theme: "auto", holding: false, muted: false,
};

const PERSONALITIES = {
  brief: "You are a helpful voice assistant. Answer in one short sentence.",
  teacher: "You are a patient teacher who speaks. Explain one thing at a time in simple words and short sentences, and end with a short question that checks whether it was understood.",
  story: "You are a storyteller who speaks. Answer vividly, in flowing sentences of simple words, as if by a fireside. No lists.",
};

export class Settings {
  /** `changed(values, names)` is called with all values and the names of those that changed. */
  constructor(changed) {
    this.changed = changed;
    this.values = { ...DEFAULTS, ...read() };
    this.lists = { languages: [], voices: [], inputs: [], outputs: [] };
    this.server = { eagerness: 0.5, speed: 1 }; // until it has told
    this.dialog = document.getElementById("settings");
    this.form = this.dialog.querySelector("form");
    this.form.addEventListener("change", ({ target }) => this.take(target));
    this.form.addEventListener("input", ({ target }) => target.type === "range" && this.shown(target));
    this.dialog.addEventListener("click", ({ target }) => target === this.dialog && this.dialog.close()); // beside it
    document.getElementById("settings-open").addEventListener("click", () => this.open());
    document.getElementById("settings-reset").addEventListener("click", () => this.set({ ...DEFAULTS }));
    navigator.mediaDevices?.addEventListener?.("devicechange", () => this.dialog.open && this.lookForDevices());
  }

  /** As options of a Conversation. What is left to the server is null. */
  options() {
    const { language, voice, personality, instructions, eagerness, speed, input, output, denoise, hushing, keepSound, holding, muted } = this.values;
    return {
      language: language || null,
      voice: voice || null,
      instructions: (personality === "own" ? instructions : PERSONALITIES[personality]) || null,
      eagerness: eagerness ?? this.server.eagerness,
      speed: speed ?? this.server.speed,
      mode: holding ? "hold" : "auto",
      input, output, denoise, hushing, keepSound, muted,
    };
  }

  set(values) {
    const names = Object.keys(values).filter((name) => values[name] !== this.values[name]);
    Object.assign(this.values, values);
    write(this.values);
    this.changed(this.values, names);
    this.fill();
  }

  /** The languages that the recognizer may be told, the voices and the devices that there are. */
  offer(lists, server = {}) {
    Object.assign(this.lists, lists);
    Object.assign(this.server, server);
    this.fill();
  }

  async lookForDevices() {
    this.offer(await devices());
  }

  open() {
    this.fill();
    this.dialog.showModal();
    this.lookForDevices();
  }

  // --- the dialog ---------------------------------------------------------------------------------------

  take(control) {
    const { name, type, value, checked } = control;
    if (name in this.values) this.set({ [name]: type === "checkbox" ? checked : type === "range" ? Number(value) : value });
  }

  shown(range) {
    if (range.name === "speed") this.form.elements["speed-shown"].value = `${Number(range.value).toFixed(2)} ×`;
    else range.setAttribute("aria-valuetext", `${Math.round(range.value * 100)} %`);
  }

  fill() {
    const names = new Intl.DisplayNames([document.documentElement.lang], { type: "language" });
    const { languages, voices, inputs, outputs } = this.lists;
    const byName = languages.map((code) => [code, names.of(code)]).sort(([, a], [, b]) => a.localeCompare(b));
    const choices = {
      language: [[SERVER, t("language.server")], ["auto", t("language.detect")], ...byName],
      voice: [[SERVER, t("voice.server")], ...voices.map((voice) => [voice, voice])],
      personality: [SERVER, "brief", "teacher", "story", "own"].map((one) => [one, t(`personality.${one || "server"}`)]),
      input: [["", t("device.system")], ...inputs.map(({ id, name }, i) => [id, name || `${t("input")} ${i + 1}`])],
      output: [["", t("device.system")], ...outputs.map(({ id, name }, i) => [id, name || `${t("output")} ${i + 1}`])],
      interface: [["auto", t("auto")], ...Object.entries(NAMES)],
      theme: ["auto", "light", "dark"].map((one) => [one, t(one)]),
    };
    for (const control of this.form.elements) {
      const value = this.values[control.name] ?? this.server[control.name];
      if (control.name in choices) this.choose(control, choices[control.name], value);
      else if (control.type === "checkbox") control.checked = value;
      else if (value !== undefined) control.value = value;
      if (control.type === "range") this.shown(control);
    }
    this.form.elements.output.closest("label").hidden = outputs.length === 0;
    document.getElementById("own").hidden = this.values.personality !== "own";
  }

  /** A choice that is gone (a device, a voice) stays chosen and is shown by its value: it may come back. */
  choose(select, choices, value) {
    const all = choices.some(([one]) => one === value) ? choices : [...choices, [value, value]];
    const same = select.options.length === all.length && all.every(([one, text], i) => select.options[i].value === one && select.options[i].text === text);
    if (!same) select.replaceChildren(...all.map(([one, text]) => new Option(text, one)));
    select.value = value;
  }
}

function read() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return Object.fromEntries(Object.entries(kept).filter(([name, value]) => name in DEFAULTS && typeof value === typeof (DEFAULTS[name] ?? 0)));
  } catch (error) {
    console.warn("no settings could be read:", error.message); // storage is off, or somebody wrote nonsense into it
    return {};
  }
}

function write(values) {
  try {
    localStorage.setItem(KEY, JSON.stringify(values));
  } catch (error) {
    console.warn("settings are not kept:", error.message);
  }
}
