// Everything that touches the document: bubbles, the state of the page, stages, notices.

import { t } from "./texts.js";
import { splitHeard } from "./transcript.js";

const STEPS = ["words", "first_token", "first_sound"];
const NEAR_END_PX = 80; // somebody who scrolled up further than this is reading

const $ = (id) => document.getElementById(id);

function element(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

function icon(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS("http://www.w3.org/2000/svg", "path"));
  svg.firstChild.setAttribute("d", path);
  return svg;
}

const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`;

export class View {
  /** `play(entry)` is asked for by the button of a line whose sound was kept. */
  constructor(play) {
    this.play = play;
    this.nodes = new Map(); // entry of the conversation -> its list item
    this.known = new Map(); // stage -> what was last told of it
    this.notes = new Map(); // stage -> what is worth knowing about it
    this.scroller = $("scroller");
  }

  // --- the conversation -----------------------------------------------------------------------------

  show(entry, next) {
    const following = this.following();
    let node = this.nodes.get(entry);
    if (!node) {
      node = element("li", "bubble", element("span", "visually-hidden", `${t(`who.${entry.role}`)}: `), element("p", "text"));
      node.dataset.role = entry.role;
      this.nodes.set(entry, node);
      $("log").insertBefore(node, this.nodes.get(next) ?? null);
      $("welcome").hidden = true;
    }
    this.fill(node, entry);
    if (following) this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  fill(node, entry) {
    const told = ["final", "notice", "error"].includes(node.dataset.state);
    node.dataset.state = entry.state;
    if (entry.turn === undefined) delete node.dataset.turn;
    else node.dataset.turn = entry.turn;
    this.fillText(node.querySelector(".text"), entry);
    if (entry.clip && !node.querySelector(".play")) node.append(this.playButton(entry));
    if (entry.latency && !node.querySelector(".latency")) node.append(this.latency(entry.latency));
    if (!told && ["final", "notice", "error"].includes(entry.state)) this.announce(`${t(`who.${entry.role}`)}: ${entry.heard ?? entry.text}`);
  }

  fillText(text, entry) {
    if (entry.role === "user" && entry.state === "partial") this.settle(text, entry.text, entry.stable);
    else if (entry.spoken < entry.text.length && entry.heard === undefined) this.settle(text, entry.text, entry.spoken);
    else text.replaceChildren(...this.said(entry));
  }

  /** Each word is an element that stays, so that it can be seen to settle: words that will not change, words that were spoken. */
  settle(text, said, stable) {
    const words = said.match(/\S+\s*/g) ?? [];
    if (text.querySelector(":scope > :not(.word)") || text.childNodes.length > text.children.length) text.replaceChildren();
    while (text.children.length > words.length) text.lastChild.remove();
    let end = 0;
    words.forEach((word, i) => {
      const node = text.children[i] ?? text.appendChild(element("span", "word"));
      if (node.textContent !== word) node.textContent = word;
      end += word.length;
      node.classList.toggle("stable", said.slice(0, end).trimEnd().length <= stable);
    });
  }

  said(entry) {
    if (entry.heard === undefined) return [entry.text];
    const [heard, unheard] = splitHeard(entry.text, entry.heard);
    if (unheard.trim() === "") return [heard];
    const struck = element("s", "unheard", unheard);
    struck.title = t("unheard");
    return [heard, element("span", "visually-hidden", t("unheard.said")), struck];
  }

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

  /** How long each step took after the end of speech; the bar shows where the time went. */
  latency(event) {
    const bar = element("span", "bar");
    bar.setAttribute("aria-hidden", "true");
    const line = element("p", "latency", bar, element("span", "after", t("after")), " ");
    let before = 0;
    for (const name of STEPS) {
      const value = Number(event[name]);
      if (!Number.isFinite(value)) continue;
      const part = element("i", name);
      part.style.flexGrow = Math.max(0, value - before);
      before = Math.max(before, value);
      bar.append(part);
      const step = element("span", `step ${name}`, `${t(name)} `, element("b", "", seconds(value)));
      step.dataset.ms = value;
      line.append(step, " ");
    }
    if (event.reused) line.append(element("span", "step reused", t("reused")));
    return line;
  }

  remove(entry) {
    this.nodes.get(entry)?.remove();
    this.nodes.delete(entry);
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

  stage(name, stage) {
    this.known.set(name, { ...this.known.get(name), ...stage });
    this.drawStage(name, this.known.get(name));
  }

  /** In another language. */
  stages() {
    for (const [name, stage] of this.known) this.drawStage(name, stage);
  }

  drawStage(name, { state, engine, model, note }) {
    const item = document.querySelector(`#stages [data-stage="${CSS.escape(name)}"]`);
    if (!item) return;
    item.dataset.stageState = state;
    item.querySelector(".state").textContent = t(state) || state;
    if (engine) item.querySelector(".engine").textContent = engine;
    item.title = [engine, model].filter(Boolean).join(" · ");
    this.notes.set(name, note ?? "");
    const notes = [...this.notes.values()].filter(Boolean).join(" · ");
    if ($("stage-notes").textContent !== notes) $("stage-notes").textContent = notes;
  }

  sound(on) {
    $("sound").setAttribute("aria-pressed", String(on));
  }

  /** Ask for the server's secret, perhaps once more; resolves with what was typed. */
  askSecret(again) {
    const dialog = $("secret");
    $("secret-wrong").textContent = again ? t("secret.wrong") : "";
    dialog.showModal();
    return new Promise((resolve) => {
      dialog.addEventListener("close", () => resolve($("secret-value").value.trim()), { once: true });
    });
  }
}
