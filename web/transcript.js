// What was said by whom, made from the events of port 6006. Knows nothing of pages or sockets: it tells a
// view which entries changed, and a new connection how the conversation went so far.
//
// An entry: { role: "user" | "assistant" | "note", state: "pending" | "partial" | "final" | "notice" | "error", text, turn,
//   at (ms since the epoch), stable (characters that will hardly change), spoken (characters of an answer that is being heard), heard (of an interrupted answer), latency, clip }.

const LONGEST_HISTORY = 60; // lines that a new connection is told

/** Pieces of a reply come without the space between them; Chinese and Japanese want none. */
function join(left, right) {
  const dense = /[\u3000-\u9fff\uff00-\uffef]$/;
  return left === "" || /\s$/.test(left) || /^\s/.test(right) || dense.test(left) ? left + right : `${left} ${right}`;
}

/** Split a reply after the words that were heard, and after the space behind them. */
export function splitHeard(text, heard) {
  const count = heard.split(/\s+/).filter(Boolean).length;
  const words = new RegExp(`^\\s*(\\S+\\s*){0,${count}}`).exec(text)[0];
  const length = text.startsWith(heard) ? heard.length + /^\s*/.exec(text.slice(heard.length))[0].length : words.length;
  return [text.slice(0, length), text.slice(length)];
}

export class Transcript {
  /** `view` has show(entry, next) and remove(entry). */
  constructor(view) {
    this.view = view;
    this.entries = [];
  }

  /** Events whose type has no method here are not about words. */
  receive(event) {
    const readers = {
      caption: () => this.hear(event),
      turn: () => this.settle(event),
      reply: () => this.answer(event),
      interrupted: () => this.cut(event),
      latency: () => this.measure(event),
      error: () => this.note(event.message, "error"),
    };
    readers[event.type]?.();
  }

  hear({ text, stable = 0 }) {
    const open = this.open();
    if (text === "") this.dropOpen();
    else if (open) this.change(open, { text, stable });
    else this.add({ role: "user", state: "partial", text, stable });
  }

  /** A typed line stands in the log at once and is final when the server took it. */
  say(text) {
    return this.add({ role: "user", state: "pending", text });
  }

  pending() {
    return this.entries.filter((entry) => entry.state === "pending");
  }

  settle({ turn, text }) {
    const entry = this.pending().find((candidate) => candidate.text === text.trim()) ?? this.open();
    if (entry) this.change(entry, { state: "final", turn, text });
    else this.add({ role: "user", state: "final", turn, text });
  }

  answer({ turn, index, text, last }) {
    let entry = this.reply(turn);
    if (!entry && text === "") return;
    entry ??= this.add({ role: "assistant", state: "partial", turn, text: "", pieces: [] }, this.question(turn));
    entry.pieces[index] = text;
    this.change(entry, { text: entry.pieces.filter(Boolean).reduce(join, ""), state: last ? "final" : entry.state });
  }

  cut({ turn, heard }) {
    const entry = this.reply(turn);
    if (entry) this.change(entry, { heard: heard.trim(), state: "final" });
  }

  /** At the last word that was spoken, as far as this side knows. */
  cutAt(entry) {
    if (entry.heard === undefined) this.change(entry, { heard: entry.text.slice(0, entry.spoken).replace(/\S*$/, "").trim(), state: "final" });
  }

  measure(event) {
    const entry = this.reply(event.turn) ?? this.question(event.turn);
    if (entry) this.change(entry, { latency: event });
  }

  /** What an entry has besides: how long it took, how it sounded. */
  attach(entry, values) {
    if (this.entries.includes(entry)) this.change(entry, values);
  }

  /** Something worth knowing that nobody said. */
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

  drop(entry) {
    this.entries.splice(this.entries.indexOf(entry), 1);
    this.view.remove(entry);
  }

  /** Is the last thing that was said a question without an answer? */
  get waits() {
    const last = this.entries.findLast(({ role }) => role !== "note");
    return last?.role === "user" && last.state === "final";
  }

  /**
   * A new connection counts its turns from the start: what is here belongs to no turn any more. An answer of which not all
   * words came is thrown away: its question still `waits` for one. `over`: the person hung up, so nobody asks
   * again, and of an answer that was being heard only so much counts as was heard.
   */
  detach(over = false) {
    this.dropOpen();
    for (const entry of this.entries.filter(({ role, spoken }) => over && role === "assistant" && spoken !== undefined)) this.cutAt(entry);
    for (const entry of this.entries.filter(({ role, state }) => role === "assistant" && state === "partial")) this.drop(entry);
    for (const entry of this.entries.filter(({ turn }) => turn !== undefined)) this.change(entry, { state: "final", turn: undefined, spoken: undefined });
  }

  history() {
    const said = this.entries.filter((entry) => entry.role !== "note" && entry.state !== "pending");
    const lines = said.map((entry) => ({ role: entry.role, text: entry.heard ?? entry.text }));
    return lines.filter((line) => line.text !== "").slice(-LONGEST_HISTORY);
  }

  open() {
    return this.entries.find((entry) => entry.role === "user" && entry.state === "partial");
  }

  question(turn) {
    return this.entries.find((entry) => entry.role === "user" && entry.turn === turn);
  }

  reply(turn) {
    return this.entries.find((entry) => entry.role === "assistant" && entry.turn === turn);
  }

  add(entry, after) {
    entry.at = Date.now();
    const place = after ? this.entries.indexOf(after) + 1 : this.entries.length;
    this.entries.splice(place, 0, entry);
    this.view.show(entry, this.entries[place + 1]);
    return entry;
  }

  change(entry, values) {
    Object.assign(entry, values);
    this.view.show(entry);
  }
}
