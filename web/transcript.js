// The transcript of both sides, made from the events of port 6006, without pages or sockets: it reports changed entries to a
// view, and gives a new connection the chat history.
//
// whisperfusion.d.ts defines an entry.

const LONGEST_HISTORY = 60; // messages of the chat history for a new connection

/** @typedef {import("./whisperfusion.d.ts").Entry & { pieces?: string[] }} Entry `pieces`: of an answer, as they came */
/** @typedef {import("./whisperfusion.d.ts").ToolUse} ToolUse */
/** @typedef {import("./call.js").Message} Message */

/**
 * Pieces of a reply come without the space between them; Chinese and Japanese want none.
 * @param {string} left @param {string} right
 */
function join(left, right) {
  const dense = /[\u3000-\u9fff\uff00-\uffef]$/;
  return left === "" || /\s$/.test(left) || /^\s/.test(right) || dense.test(left) ? left + right : `${left} ${right}`;
}

/**
 * Splits a reply after its played text, and after the space behind it.
 * @param {string} text @param {string} heard
 */
export function splitHeard(text, heard) {
  const count = heard.split(/\s+/).filter(Boolean).length;
  const words = new RegExp(`^\\s*(\\S+\\s*){0,${count}}`).exec(text)?.[0] ?? "";
  const behind = text.slice(heard.length);
  const length = text.startsWith(heard) ? text.length - behind.trimStart().length : words.length;
  return [text.slice(0, length), text.slice(length)];
}

export class Transcript {
  /** @param {{ show(entry: Entry, next?: Entry): void, remove(entry: Entry): void }} view */
  constructor(view) {
    this.view = view;
    /** @type {Entry[]} */
    this.entries = [];
    /** @type {Map<number, ToolUse[]>} */
    this.tools = new Map(); // of answers, which may have no words yet
  }

  /**
   * Events whose type has no method here are not about words.
   * @param {Message} event
   */
  receive(event) {
    /** @type {{ [type: string]: () => void }} */
    const readers = {
      caption: () => this.caption(event),
      turn: () => this.settle(event),
      reply: () => this.answer(event),
      interrupted: () => this.cut(event),
      tool: () => this.use(event),
      latency: () => this.measure(event),
      error: () => this.note(event.message, "error"),
    };
    readers[event.type]?.();
  }

  /**
   * What was said before this page was loaded, in front of the rest.
   * @param {{ role: string, text: string }[]} messages
   */
  recall(messages) {
    const said = messages.filter(({ role, text }) => text && (role === "user" || role === "assistant"));
    said.forEach(({ role, text }, place) => this.put({ role: /** @type {"user"} */ (role), state: "final", text }, place));
  }

  clear() {
    for (const entry of [...this.entries]) this.drop(entry);
  }

  /**
   * `ignored`: of another voice than those that the call listens to, and so not a turn.
   * @param {Message} caption
   */
  caption({ text, stable = 0, speaker, ignored = false }) {
    const open = this.open();
    /** @type {Partial<Entry>} */
    const found = { text, stable, state: ignored ? "final" : "partial", ...(speaker && { speaker }), ...(ignored && { ignored }) };
    if (text === "") this.dropOpen();
    else if (open) this.change(open, found);
    else this.add({ role: "user", state: "partial", text, ...found });
  }

  /**
   * A typed line stands in the log at once and is final when the server took it.
   * @param {string} text
   */
  say(text) {
    return this.add({ role: "user", state: "pending", text });
  }

  pending() {
    return this.entries.filter((entry) => entry.state === "pending");
  }

  /** @param {Message} event */
  settle({ turn, text, language }) {
    const entry = this.pending().find((candidate) => candidate.text === text.trim()) ?? this.open();
    const told = language ? { language } : {};
    if (entry) this.change(entry, { state: "final", turn, text, ...told });
    else this.add({ role: "user", state: "final", turn, text, ...told });
  }

  /**
   * `afresh`: what came before was a thought of the model, and is void.
   * @param {Message} event
   */
  answer({ turn, index, text, last, afresh = false }) {
    let entry = this.reply(turn);
    if (!entry && text === "") return;
    const tools = this.tools.get(turn);
    entry ??= this.add({ role: "assistant", state: "partial", turn, text: "", pieces: [], ...(tools ? { tools } : {}) }, this.question(turn));
    const pieces = (entry.pieces = afresh ? [] : (entry.pieces ?? []));
    pieces[index] = text;
    this.change(entry, { text: pieces.filter(Boolean).reduce(join, ""), state: last ? "final" : entry.state });
  }

  /** @param {Message} event */
  cut({ turn, heard }) {
    const entry = this.reply(turn);
    if (entry) this.change(entry, { heard: heard.trim(), state: "final" });
  }

  /**
   * At the last word that was spoken, as far as this side knows.
   * @param {Entry} entry
   */
  cutAt(entry) {
    if (entry.heard === undefined) this.change(entry, { heard: entry.text.slice(0, entry.spoken).replace(/\S*$/, "").trim(), state: "final" });
  }

  /**
   * A tool of the server is at work, or has given its result.
   * @param {Message} event
   */
  use({ turn, id, name, arguments: given, output, error }) {
    const others = (this.tools.get(turn) ?? []).filter((one) => one.id !== id);
    const tools = [...others, { id, name, arguments: given, output, error }];
    this.tools.set(turn, tools);
    const entry = this.reply(turn);
    if (entry) this.change(entry, { tools });
  }

  /** @param {Message} event */
  measure(event) {
    const entry = this.reply(event.turn) ?? this.question(event.turn);
    if (entry) this.change(entry, { latency: /** @type {any} */ (event) });
  }

  /**
   * What an entry has besides: how long it took, how it sounded.
   * @param {Entry} entry @param {Partial<Entry>} values
   */
  attach(entry, values) {
    if (this.entries.includes(entry)) this.change(entry, values);
  }

  /**
   * A notice in the transcript.
   * @param {string} text @param {"notice" | "error"} state
   */
  note(text, state = "notice") {
    const latest = this.entries.at(-1);
    if (latest?.role === "note" && latest.text === text) return;
    this.add({ role: "note", state, text });
  }

  /** The user's words that were no turn after all, or can be none because the line is dead. */
  dropOpen() {
    const open = this.open();
    if (open) this.drop(open);
  }

  /** @param {Entry} entry */
  drop(entry) {
    this.entries.splice(this.entries.indexOf(entry), 1);
    this.view.remove(entry);
  }

  /** Is the last thing that was said a question without an answer? */
  get waits() {
    const last = this.entries.findLast(({ role, ignored }) => role !== "note" && !ignored);
    return last?.role === "user" && last.state === "final";
  }

  /**
   * A new connection counts its turns from the start: what is here belongs to no turn any more. An answer of which not all
   * words came is thrown away: its question still `waits` for one. `over`: the user ended the call, so the question
   * is not asked again, and of an answer that was being played only the played part counts.
   */
  detach(over = false) {
    this.tools.clear();
    this.dropOpen();
    for (const entry of this.entries.filter(({ role, spoken }) => over && role === "assistant" && spoken !== undefined)) this.cutAt(entry);
    for (const entry of this.entries.filter(({ role, state }) => role === "assistant" && state === "partial")) this.drop(entry);
    for (const entry of this.entries.filter(({ turn }) => turn !== undefined)) this.change(entry, { state: "final", turn: undefined, spoken: undefined });
  }

  history() {
    const said = this.entries.filter((entry) => entry.role !== "note" && entry.state !== "pending" && !entry.ignored);
    const lines = said.map((entry) => ({ role: entry.role, text: entry.heard ?? entry.text }));
    return lines.filter((line) => line.text !== "").slice(-LONGEST_HISTORY);
  }

  open() {
    return this.entries.find((entry) => entry.role === "user" && entry.state === "partial");
  }

  /** @param {number} turn */
  question(turn) {
    return this.entries.find((entry) => entry.role === "user" && entry.turn === turn);
  }

  /** @param {number} turn */
  reply(turn) {
    return this.entries.find((entry) => entry.role === "assistant" && entry.turn === turn);
  }

  /** @param {Omit<Entry, "at">} values @param {Entry} [after] */
  add(values, after) {
    return this.put(values, after ? this.entries.indexOf(after) + 1 : this.entries.length);
  }

  /** @param {Omit<Entry, "at">} values @param {number} place */
  put(values, place) {
    const entry = { ...values, at: Date.now() };
    this.entries.splice(place, 0, entry);
    this.view.show(entry, this.entries[place + 1]);
    return entry;
  }

  /** @param {Entry} entry @param {Partial<Entry>} values */
  change(entry, values) {
    Object.assign(entry, values);
    this.view.show(entry);
  }
}
