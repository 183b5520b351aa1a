// Everything that touches the document: bubbles, the state of the page, stages, notices.

import { splitHeard } from "./conversation.js";

const STATES = {
  idle: "Start talking",
  connecting: "Connecting…",
  waiting: "Connection lost. Trying again…",
  ready: "Ready when you are",
  listening: "Listening…",
  hearing: "I hear you",
  thinking: "Thinking…",
  speaking: "Answering. Speak to interrupt.",
};
const HOLD_STATES = { idle: "Hold to talk", ready: "Hold to talk", listening: "Go on, I listen", speaking: "Answering. Hold to interrupt." };
const WHO = { user: "You: ", assistant: "Answer: ", note: "Notice: " };
const STAGE_STATES = { ready: "ready", starting: "starting", down: "down" };
const STEPS = [["words", "words"], ["first_token", "first token"], ["first_sound", "first sound"]];
const NEAR_END_PX = 80; // somebody who scrolled up further than this is reading

const $ = (id) => document.getElementById(id);

function element(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`;

export class View {
  constructor() {
    this.nodes = new Map(); // entry of the conversation -> its list item
    this.notes = new Map(); // stage -> what is worth knowing about it
    this.scroller = $("scroller");
  }

  // --- the conversation -----------------------------------------------------------------------------

  show(entry, next) {
    const following = this.following();
    let node = this.nodes.get(entry);
    if (!node) {
      node = element("li", "bubble", element("span", "visually-hidden", WHO[entry.role]), element("p", "text"));
      node.dataset.role = entry.role;
      this.nodes.set(entry, node);
      $("log").insertBefore(node, this.nodes.get(next) ?? null);
      $("welcome").hidden = true;
    }
    this.fill(node, entry);
    if (following) this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  fill(node, entry) {
    const wasFinal = node.dataset.state === "final";
    node.dataset.state = entry.state;
    if (entry.turn === undefined) delete node.dataset.turn;
    else node.dataset.turn = entry.turn;
    node.querySelector(".text").replaceChildren(...this.words(entry));
    if (entry.latency && !node.querySelector(".latency")) node.append(this.latency(entry.latency));
    if (entry.state === "final" && !wasFinal) this.announce(WHO[entry.role] + (entry.heard ?? entry.text));
  }

  words(entry) {
    if (entry.role === "user" && entry.state === "partial" && entry.stable > 0) {
      return [element("span", "stable", entry.text.slice(0, entry.stable)), entry.text.slice(entry.stable)];
    }
    if (entry.heard === undefined) return [entry.text];
    const [heard, unheard] = splitHeard(entry.text, entry.heard);
    if (unheard.trim() === "") return [heard];
    const struck = element("s", "unheard", unheard);
    struck.title = "You interrupted before this was said";
    return [heard, element("span", "visually-hidden", " (interrupted, not said:) "), struck];
  }

  /** How long each step took after the end of speech; the bar shows where the time went. */
  latency(event) {
    const bar = element("span", "bar");
    bar.setAttribute("aria-hidden", "true");
    const line = element("p", "latency", bar, element("span", "after", "after you stopped:"), " ");
    let before = 0;
    for (const [name, label] of STEPS) {
      const value = Number(event[name]);
      if (!Number.isFinite(value)) continue;
      const part = element("i", name);
      part.style.flexGrow = Math.max(0, value - before);
      before = Math.max(before, value);
      bar.append(part);
      const step = element("span", `step ${name}`, `${label} `, element("b", "", seconds(value)));
      step.dataset.ms = value;
      line.append(step, " ");
    }
    if (event.reused) line.append(element("span", "step reused", "guessed ahead"));
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
    $("state-text").textContent = (holding && HOLD_STATES[name]) || STATES[name];
    $("talk-label").textContent = holding ? "Hold to talk" : pressed ? "Stop talking" : "Start talking";
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

  stage(name, { state, engine, model, note }) {
    const item = document.querySelector(`#stages [data-stage="${CSS.escape(name)}"]`);
    if (!item) return;
    item.dataset.stageState = state;
    item.querySelector(".state").textContent = STAGE_STATES[state] ?? state;
    if (engine) item.querySelector(".engine").textContent = engine;
    item.title = [engine, model].filter(Boolean).join(" · ");
    this.notes.set(name, note ?? "");
    const notes = [...this.notes.values()].filter(Boolean).join(" · ");
    if ($("stage-notes").textContent !== notes) $("stage-notes").textContent = notes;
  }

  sound(on) {
    $("sound").setAttribute("aria-pressed", String(on));
  }

  /** Ask for the server's secret; resolves with what was typed. */
  askSecret() {
    const dialog = $("secret");
    dialog.showModal();
    return new Promise((resolve) => {
      dialog.addEventListener("close", () => resolve($("secret-value").value.trim()), { once: true });
    });
  }
}
