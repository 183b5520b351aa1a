// The settings of the user: kept in the browser, shown in the dialog, reported when they change.

import { $, find } from "./elements.js";
import { devices } from "./whisperfusion.js";
import { NAMES, t } from "./texts.js";

const KEY = "whisperfusion-settings"; // in the browser's storage for this server
const SERVER = ""; // the choice that leaves it to the server
/** @type {{ [name: string]: any }} */
export const DEFAULTS = {
  agent: SERVER, language: SERVER, voice: SERVER, personality: SERVER, instructions: "", eagerness: null, speed: null, // null: as the server has it
  input: "", output: "", denoise: false, hushing: true, cues: true, keepSound: true, interface: "auto", theme: "auto", holding: false, muted: false,
};

/** @type {{ [name: string]: string }} */
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
    /** @type {{ agents: { name: string, title: string }[], languages: string[], voices: string[], custom: { id: string, name: string }[], inputs: { id: string, name: string }[], outputs: { id: string, name: string }[] }} */
    this.lists = { agents: [], languages: [], voices: [], custom: [], inputs: [], outputs: [] };
    /** @type {{ [name: string]: number }} */
    this.server = { eagerness: 0.5, speed: 1 }; // until the server has sent its own
    this.dialog = $("settings", HTMLDialogElement);
    this.form = find("form", HTMLFormElement, this.dialog);
    this.form.addEventListener("change", ({ target }) => this.take(/** @type {HTMLInputElement} */ (target)));
    this.form.addEventListener("input", ({ target }) => {
      if (target instanceof HTMLInputElement && target.type === "range") this.shown(target);
    });
    this.dialog.addEventListener("click", ({ target }) => target === this.dialog && this.dialog.close()); // beside it
    $("settings-open").addEventListener("click", () => this.open());
    $("settings-reset").addEventListener("click", () => this.set({ ...DEFAULTS }));
    navigator.mediaDevices?.addEventListener?.("devicechange", () => this.dialog.open && this.lookForDevices());
  }

  /**
   * As options of a Conversation. What is left to the server is null.
   * @returns {import("./whisperfusion.d.ts").Options}
   */
  options() {
    const { agent, language, voice, personality, instructions, eagerness, speed, input, output, denoise, hushing, keepSound, holding, muted } = this.values;
    const server = agent ? { eagerness: null, speed: null } : this.server; // an agent has its own
    return {
      agent: agent || null,
      language: language || null,
      voice: voice || null,
      instructions: (personality === "own" ? instructions : PERSONALITIES[personality]) || null,
      eagerness: eagerness ?? server.eagerness,
      speed: speed ?? server.speed,
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

  /** The agents, the languages of the recognizer, the voices, those of people, and the devices. */
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

  /** @param {HTMLInputElement} control */
  take(control) {
    const { name, type, value, checked } = control;
    if (name in this.values) this.set({ [name]: type === "checkbox" ? checked : type === "range" ? Number(value) : value });
  }

  /** @param {HTMLInputElement} range */
  shown(range) {
    if (range.name === "speed") find("[name=speed-shown]", HTMLOutputElement, this.form).value = `${Number(range.value).toFixed(2)} ×`;
    else range.setAttribute("aria-valuetext", `${Math.round(Number(range.value) * 100)} %`);
  }

  fill() {
    const names = new Intl.DisplayNames([document.documentElement.lang], { type: "language" });
    const { agents, languages, voices, custom, inputs, outputs } = this.lists;
    const byName = languages.map((code) => [code, names.of(code) ?? code]).sort(([, a], [, b]) => a.localeCompare(b));
    /** @type {{ [name: string]: string[][] }} */
    const choices = {
      agent: [[SERVER, t("agent.server")], ...agents.map(({ name, title }) => [name, title])],
      language: [[SERVER, t("language.server")], ["auto", t("language.detect")], ...byName],
      voice: [[SERVER, t("voice.server")], ...voices.map((voice) => [voice, voice]), ...custom.map(({ id, name }) => [id, name])],
      personality: [SERVER, "brief", "teacher", "story", "own"].map((one) => [one, t(`personality.${one || "server"}`)]),
      input: [["", t("device.system")], ...inputs.map(({ id, name }, i) => [id, name || `${t("input")} ${i + 1}`])],
      output: [["", t("device.system")], ...outputs.map(({ id, name }, i) => [id, name || `${t("output")} ${i + 1}`])],
      interface: [["auto", t("auto")], ...Object.entries(NAMES)],
      theme: ["auto", "light", "dark"].map((one) => [one, t(one)]),
    };
    for (const one of this.form.elements) {
      const control = /** @type {any} */ (one); // each kind has what is asked of it
      const value = this.values[control.name] ?? this.server[control.name];
      if (control.name in choices) this.choose(control, choices[control.name], value);
      else if (control.type === "checkbox") control.checked = value;
      else if (value !== undefined) control.value = value;
      if (control.type === "range") this.shown(control);
    }
    const output = find("[name=output]", HTMLElement, this.form).closest("label");
    if (output) output.hidden = outputs.length === 0;
    const agent = find("[name=agent]", HTMLElement, this.form).closest("label");
    if (agent) agent.hidden = agents.length === 0;
    $("own").hidden = this.values.personality !== "own";
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
    console.warn("no settings could be read:", error); // storage is off, or its content is not valid
    return {};
  }
}

function write(values) {
  try {
    localStorage.setItem(KEY, JSON.stringify(values));
  } catch (error) {
    console.warn("settings are not kept:", error);
  }
}
