// Everything that touches the document: bubbles, the state of the page, stages, notices.

import { $, drawn, element, find } from "./elements.js";
import { t } from "./texts.js";
import { splitHeard } from "./transcript.js";

const STEPS = ["words", "first_token", "first_sound"];
const NEAR_END_PX = 80; // a user who scrolled up further than this is reading

/** @typedef {import("./whisperfusion.d.ts").Entry} Entry */
/** @typedef {{ state: string, engine?: string, model?: string, note?: string }} Stage */

/** @param {string} path */
const icon = (path) => drawn("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, drawn("path", { d: path }));

const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`;

export class View {
  /** `play(entry)` is asked for by the button of a line whose sound was kept. */
  constructor(play) {
    this.play = play;
    /** @type {Map<Entry | undefined, HTMLElement>} */
    this.nodes = new Map(); // entry of the conversation -> its list item
    /** @type {Map<string, Stage>} */
    this.known = new Map(); // stage -> its last state
    /** @type {Map<string, string>} */
    this.notes = new Map(); // stage -> what is worth knowing about it
    this.scroller = $("scroller");
  }

  // --- the conversation -----------------------------------------------------------------------------

  /** @param {Entry} entry @param {Entry} [next] */
  show(entry, next) {
    const following = this.following();
    let node = this.nodes.get(entry);
    if (!node) {
      node = element("li", "bubble", element("span", "visually-hidden", `${t(`who.${entry.role}`)}: `), element("p", "text"));
      node.dataset.role = entry.role;
      this.nodes.set(entry, node);
      $("log").insertBefore(node, this.nodes.get(next) ?? null);
      $("welcome").hidden = true;
      $("anew").hidden = false;
    }
    this.fill(node, entry);
    if (following) this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  /** @param {HTMLElement} node @param {Entry} entry */
  fill(node, entry) {
    const announced = ["final", "notice", "error"].includes(node.dataset.state ?? "");
    node.dataset.state = entry.state;
    if (entry.turn === undefined) delete node.dataset.turn;
    else node.dataset.turn = String(entry.turn);
    this.fillText(find(".text", HTMLElement, node), entry);
    if (entry.language && !node.querySelector(".spoken-language")) node.append(this.language(node, entry.language));
    if (entry.speaker || entry.ignored) this.fillSpeaker(node, entry);
    if (entry.clip && !node.querySelector(".play")) node.append(this.playButton(entry));
    if (entry.tools) this.fillTools(node, entry.tools);
    if (entry.latency && !node.querySelector(".latency")) node.append(this.latency(entry.latency));
    if (!announced && ["final", "notice", "error"].includes(entry.state)) this.announce(`${t(`who.${entry.role}`)}: ${entry.heard ?? entry.text}`);
  }

  /**
   * In which language the turn was, where a call may have several.
   * @param {HTMLElement} node @param {string} code
   */
  language(node, code) {
    find(".text", HTMLElement, node).lang = code; // for screen readers
    const names = new Intl.DisplayNames([document.documentElement.lang], { type: "language" });
    return element("p", "spoken-language", names.of(code) ?? code);
  }

  /**
   * Whose words they are, and that they do not count where the call listens to others.
   * @param {HTMLElement} node @param {Entry} entry
   */
  fillSpeaker(node, { speaker, ignored }) {
    const label = node.querySelector(".speaker") ?? node.appendChild(element("p", "speaker"));
    label.textContent = [speaker, ignored && t("ignored")].filter(Boolean).join(" \u00b7 ");
  }

  /** @param {HTMLElement} text @param {Entry} entry */
  fillText(text, entry) {
    const { spoken } = entry;
    if (entry.role === "user" && entry.state === "partial") this.settle(text, entry.text, entry.stable ?? 0);
    else if (spoken !== undefined && spoken < entry.text.length && entry.heard === undefined) this.settle(text, entry.text, spoken);
    else text.replaceChildren(...this.said(entry));
  }

  /**
   * Each word is an element that stays, so that it can be seen to settle: words that will not change, words that were spoken.
   * @param {HTMLElement} text @param {string} said @param {number} stable
   */
  settle(text, said, stable) {
    const words = said.match(/\S+\s*/g) ?? [];
    if (text.querySelector(":scope > :not(.word)") || text.childNodes.length > text.children.length) text.replaceChildren();
    while (text.children.length > words.length) text.lastChild?.remove();
    let end = 0;
    words.forEach((word, i) => {
      const node = text.children[i] ?? text.appendChild(element("span", "word"));
      if (node.textContent !== word) node.textContent = word;
      end += word.length;
      node.classList.toggle("stable", said.slice(0, end).trimEnd().length <= stable);
    });
  }

  /** @param {Entry} entry */
  said(entry) {
    if (entry.heard === undefined) return [entry.text];
    const [heard, unheard] = splitHeard(entry.text, entry.heard);
    if (unheard.trim() === "") return [heard];
    const struck = element("s", "unheard", unheard);
    struck.title = t("unheard");
    return [heard, element("span", "visually-hidden", t("unheard.said")), struck];
  }

  /**
   * Which tools of the server the answer used.
   * @param {HTMLElement} node @param {import("./whisperfusion.d.ts").ToolUse[]} tools
   */
  fillTools(node, tools) {
    const line = node.querySelector(".tools") ?? node.insertBefore(element("p", "tools"), find(".text", HTMLElement, node));
    const shown = tools.map(({ name, arguments: given, output, error }) => {
      const one = element("span", "tool", name);
      if (error !== undefined || output === undefined) one.append(" ", element("i", "", t(error === undefined ? "tool.works" : "tool.failed")));
      one.title = `${given}\n${error ?? output ?? ""}`.trim();
      return one;
    });
    line.replaceChildren(...shown);
  }

  /** @param {Entry} entry */
  playButton(entry) {
    const button = element("button", "play");
    button.type = "button";
    button.append(icon("M8 5.5v13l10.5-6.5Z"), element("span", "visually-hidden", t(`play.${entry.role}`)));
    button.addEventListener("click", async () => {
      button.dataset.playing = "true";
      await this.play(entry);
      delete button.dataset.playing;
    });
    return button;
  }

  /**
   * How long each step took after the end of speech; the bar shows where the time went.
   * @param {{ [step: string]: any }} event
   */
  latency(event) {
    const bar = element("span", "bar");
    bar.setAttribute("aria-hidden", "true");
    const line = element("p", "latency", bar, element("span", "after", t("after")), " ");
    let before = 0;
    for (const name of STEPS) {
      const value = Number(event[name]);
      if (!Number.isFinite(value)) continue;
      const part = element("i", name);
      part.style.flexGrow = String(Math.max(0, value - before));
      before = Math.max(before, value);
      bar.append(part);
      const step = element("span", `step ${name}`, `${t(name)} `, element("b", "", seconds(value)));
      step.dataset.ms = String(value);
      line.append(step, " ");
    }
    if (event.model) line.append(element("span", "step model", event.model), " ");
    if (event.reused) line.append(element("span", "step reused", t("reused")));
    return line;
  }

  /** @param {Entry} entry */
  remove(entry) {
    this.nodes.get(entry)?.remove();
    this.nodes.delete(entry);
    $("anew").hidden = this.nodes.size === 0;
    $("welcome").hidden = this.nodes.size > 0;
  }

  following() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
  }

  /** For screen readers: finished lines only, a changing caption would be read again and again. */
  announce(text) {
    $("announce").textContent = text;
  }

  // --- the state of things --------------------------------------------------------------------------

  state(name, { holding, pressed }) {
    document.body.dataset.state = name;
    document.body.dataset.mode = holding ? "hold" : "free";
    $("state-text").textContent = (holding && t(`held.${name}`)) || t(`state.${name}`);
    $("talk-label").textContent = t(holding ? "talk.hold" : pressed ? "talk.stop" : "talk.start");
    $("talk").setAttribute("aria-pressed", String(pressed));
    $("quiet").hidden = name !== "speaking";
  }

  level(value) {
    // Speech spans about 50 dB; a linear bar would hardly move.
    const shown = Math.max(0, Math.min(1, 1 + Math.log10(Math.max(value, 1e-6)) / 2.5));
    document.body.style.setProperty("--level", shown.toFixed(3));
    $("meter").setAttribute("aria-valuenow", String(Math.round(shown * 20) * 5));
  }

  notice(text) {
    if ($("notice").textContent !== text) $("notice").textContent = text;
  }

  /** @param {string} name @param {Stage} stage */
  stage(name, stage) {
    const known = { ...this.known.get(name), ...stage };
    this.known.set(name, known);
    this.drawStage(name, known);
  }

  /** In another language. */
  stages() {
    for (const [name, stage] of this.known) this.drawStage(name, stage);
  }

  /** @param {string} name @param {Stage} stage */
  drawStage(name, { state, engine, model, note }) {
    const selector = `#stages [data-stage="${CSS.escape(name)}"]`;
    if (!document.querySelector(selector)) return;
    const item = find(selector);
    item.dataset.stageState = state;
    find(".state", HTMLElement, item).textContent = t(state) || state;
    if (engine) find(".engine", HTMLElement, item).textContent = engine;
    item.title = [engine, model].filter(Boolean).join(" · ");
    this.notes.set(name, note ?? "");
    const notes = [...this.notes.values()].filter(Boolean).join(" · ");
    if ($("stage-notes").textContent !== notes) $("stage-notes").textContent = notes;
  }

  sound(on) {
    $("sound").setAttribute("aria-pressed", String(on));
  }

  /**
   * Ask for the server's secret, perhaps once more; resolves with what was typed. `pairs`: what is asked for may be a pairing key.
   * @param {boolean} again @param {boolean} pairs
   */
  askSecret(again, pairs) {
    const dialog = $("secret", HTMLDialogElement);
    $("secret-title").textContent = t(pairs ? "secret.pair" : "secret");
    $("secret-how").textContent = t(pairs ? "secret.pair.how" : "secret.how");
    $("secret-wrong").textContent = again ? t("secret.wrong") : "";
    dialog.showModal();
    return new Promise((resolve) => {
      dialog.addEventListener("close", () => resolve($("secret-value", HTMLInputElement).value.trim()), { once: true });
    });
  }
}
