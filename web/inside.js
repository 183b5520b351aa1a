// What happened in each turn, drawn: from the end of the person's words to the first sound of the answer. While a turn runs its
// bar grows by this page's clock; the server's own measurement takes its place at the end.

import { $, element, findAll } from "./elements.js";
import { toJSON, toSRT, toText, toWAV } from "./export.js";
import { t } from "./texts.js";

const STEPS = ["stopped", "words", "decided", "first_token", "first_clause", "first_sound"];
const SCALE_MS = [1000, 1500, 2000, 3000, 5000, 10_000, 30_000];
const ROWS = 100;
const FILES = {
  text: { type: "text/plain", suffix: "txt", make: (entries) => toText(entries, { user: t("who.user"), assistant: t("who.assistant") }) },
  json: { type: "application/json", suffix: "json", make: toJSON },
  srt: { type: "application/x-subrip", suffix: "srt", make: toSRT },
  wav: { type: "audio/wav", suffix: "wav", make: toWAV },
};

/**
 * @typedef {object} Row
 * @property {HTMLElement} node
 * @property {number} at this page's clock at the end of speech
 * @property {{ [step: string]: number }} marks ms
 * @property {boolean} reused
 * @property {boolean} done
 * @property {boolean} [measured] by the server
 * @property {boolean} [shown] its measured times are on the page
 * @property {number} [turn]
 */

export class Inside {
  /** @param {import("./whisperfusion.d.ts").Conversation} conversation @param {(text: string) => void} notice */
  constructor(conversation, notice) {
    this.conversation = conversation;
    this.notice = notice;
    /** @type {Row[]} */
    this.rows = [];
    /** @type {number | null} */
    this.growing = null;
    conversation.on("event", (event) => this.take(event));
    conversation.on("played", (report) => this.sound(report));
    conversation.on("state", (state) => {
      if (["idle", "connecting", "reconnecting"].includes(state)) this.endAll();
    });
    $("inside-toggle").addEventListener("click", () => this.open($("inside").hidden));
    $("inside-close").addEventListener("click", () => {
      this.open(false);
      $("inside-toggle").focus();
    });
    for (const button of findAll("[data-save]")) button.addEventListener("click", () => this.save(button.dataset.save));
  }

  open(on) {
    $("inside").hidden = !on;
    $("inside-toggle").setAttribute("aria-expanded", String(on));
    document.body.toggleAttribute("data-inside", on);
    if (on) this.draw();
  }

  // --- turns --------------------------------------------------------------------------------------------

  /** @param {{ type: string, [field: string]: any }} event */
  take(event) {
    const now = performance.now();
    const open = this.rows.findLast(({ done }) => !done);
    /** @type {{ [type: string]: () => unknown }} */
    const readers = {
      speech_stopped: () => this.begin(now),
      heard_you: () => open && this.mark(open, "decided", now, event.turn),
      turn: () => this.mark(open ?? this.begin(now), "decided", now, event.turn),
      reply: () => open && open.turn === event.turn && event.index === 0 && this.mark(open, "first_clause", now),
      latency: () => this.measured(event),
      interrupted: () => this.end(event.turn),
      error: () => this.end(event.turn),
    };
    readers[event.type]?.();
    if (event.type !== "caption" || !event.final || !open) return;
    if (event.text === "") this.drop(open);
    else this.mark(open, "words", now);
  }

  /** The user fell silent: perhaps the turn is over. */
  begin(now) {
    const open = this.rows.findLast(({ done }) => !done);
    if (open && open.turn === undefined) {
      open.at = now; // went on, and stopped again
      open.marks = {};
      return open;
    }
    if (open) this.end(open.turn);
    /** @type {Row} */
    const row = { node: element("li", "turn"), at: now, marks: {}, reused: false, done: false };
    row.node.append(element("span", "track"), element("span", "note"));
    this.rows.push(row);
    $("waterfall").append(row.node);
    if (this.rows.length > ROWS) this.rows.shift()?.node.remove();
    this.grow();
    return row;
  }

  /** @param {Row} row @param {string} step @param {number} now */
  mark(row, step, now, turn = row.turn) {
    row.turn = turn;
    row.marks[step] ??= now - row.at;
  }

  measured(event) {
    const row = this.rows.findLast(({ turn }) => turn === event.turn);
    if (!row) return;
    row.marks = Object.fromEntries(STEPS.filter((step) => Number.isFinite(event[step])).map((step) => [step, event[step]]));
    Object.assign(row, { reused: Boolean(event.reused), done: true, measured: true });
    this.draw();
  }

  end(turn) {
    const row = this.rows.findLast((one) => one.turn === turn && !one.done);
    if (row) row.done = true;
    this.draw();
  }

  /** No more events of these turns will come. */
  endAll() {
    const open = this.rows.filter(({ done }) => !done);
    for (const row of open) row.done = true;
    if (open.length > 0) this.draw();
  }

  /** @param {Row} row */
  drop(row) {
    row.node.remove();
    this.rows.splice(this.rows.indexOf(row), 1);
  }

  // --- the drawing --------------------------------------------------------------------------------------

  /** While a turn is open its bar follows the clock. */
  grow() {
    this.growing ??= requestAnimationFrame(() => {
      this.growing = null;
      this.draw();
      if (this.rows.some(({ done }) => !done)) this.grow();
    });
  }

  draw() {
    if ($("inside").hidden) return;
    const now = performance.now();
    const lengths = this.rows.map((row) => (row.done ? Math.max(0, ...Object.values(row.marks)) : now - row.at));
    const scale = SCALE_MS.find((ms) => Math.max(0, ...lengths) <= ms) ?? SCALE_MS[SCALE_MS.length - 1];
    this.rows.forEach((row, i) => this.drawRow(row, Math.min(lengths[i], scale), scale));
    const measured = this.rows.filter((row) => row.measured);
    const sounds = measured.map(({ marks }) => marks.first_sound).filter(Number.isFinite).sort((a, b) => a - b);
    const values = { turns: measured.length, median: seconds(sounds[sounds.length >> 1]), reused: measured.filter(({ reused }) => reused).length };
    const summary = measured.length > 0 ? t("inside.turns", values) : t("inside.empty");
    if ($("inside-summary").textContent !== summary) $("inside-summary").textContent = summary;
    $("inside-legend").hidden = this.rows.length === 0;
    const named = STEPS.map((step) => t(`inside.${step}`)).join();
    if ($("inside-legend").dataset.named === named) return;
    $("inside-legend").dataset.named = named;
    $("inside-legend").replaceChildren(...STEPS.map((step) => element("li", step, t(`inside.${step}`))));
  }

  /**
   * Each step's bar begins where the one before it ended; a preemptive reply that was a hit may end before it.
   * @param {Row} row @param {number} length @param {number} scale
   */
  drawRow(row, length, scale) {
    const known = STEPS.filter((step) => step in row.marks);
    let before = 0;
    const bars = known.map((step) => {
      const bar = element("i", step);
      const end = Math.max(before, Math.min(scale, row.marks[step]));
      bar.style.left = `${(before / scale) * 100}%`;
      bar.style.width = `${((end - before) / scale) * 100}%`;
      before = end;
      return bar;
    });
    if (!row.done) {
      const bar = element("i", "open");
      bar.style.left = `${(before / scale) * 100}%`;
      bar.style.width = `${(Math.max(0, length - before) / scale) * 100}%`;
      bars.push(bar);
    }
    const [track, note] = row.node.children;
    track.replaceChildren(...bars);
    if (!row.done || row.shown) return;
    row.shown = row.measured;
    const values = Object.fromEntries(STEPS.map((step) => [step, seconds(row.marks[step])]));
    track.setAttribute("role", "img");
    track.setAttribute("aria-label", t("inside.row", values));
    note.replaceChildren(element("b", "", row.measured ? `${values.first_sound} s` : "–"), row.reused ? ` ${t("reused")}` : "");
  }

  sound({ gaps, ahead }) {
    $("inside-sound").textContent = t("inside.sound", { ahead: Math.round(ahead * 1000), gaps });
  }

  // --- files --------------------------------------------------------------------------------------------

  save(kind) {
    const { type, suffix, make } = FILES[kind];
    const { entries } = this.conversation;
    if (!entries.some(({ role, state }) => role !== "note" && state === "final")) return this.notice(t("save.nothing"));
    const content = make(entries);
    if (content === null) return this.notice(t("save.no_sound"));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type }));
    link.download = `conversation-${new Date().toISOString().slice(0, 16).replace(/[T:]/g, "-")}.${suffix}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }
}

const seconds = (ms) => (Number.isFinite(ms) ? (ms / 1000).toFixed(2) : "–");
