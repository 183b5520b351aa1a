/** Types of whisperfusion.js: a spoken conversation with a WhisperFusion server. */

export interface Options {
  /** The server's secret, where it has one. */
  token?: string;
  /** "auto": the server finds the end of a turn. "hold": a turn is what is said between `press` and `release`. */
  mode?: "auto" | "hold";
  /** The name of one of the server's agents. Another one takes a new connection. null = none. */
  agent?: string | null;
  /** Who answers, in words. null = the server's own, here and below. */
  instructions?: string | null;
  voice?: string | null;
  /** 0.5 to 2. */
  speed?: number | null;
  /** What the person speaks: an ISO 639-1 code, or "auto" to find out. */
  language?: string | null;
  /** Turns have their speaker, on a server with SPEAKER_ENGINE: `Entry.speaker`. Default false. */
  speakers?: boolean;
  /** 0 = patient to 1 = eager: how soon a pause ends a turn. */
  eagerness?: number | null;
  /** Answers are not played. */
  muted?: boolean;
  /** Ids of `devices()`; "" = the system's own. */
  input?: string;
  output?: string;
  /** Our own noise suppression in place of the browser's. */
  denoise?: boolean;
  /** Local barge-in: pause an answer as soon as speech is detected here, before the server does. Default true. */
  hushing?: boolean;
  /** Goes on with this session of the server: the value of an earlier "session" event. Its history is the server's; `recall` shows it. */
  session?: string;
  /** Keep the sound of turns as `Entry.clip`, about half an hour of it. Default false. */
  keepSound?: boolean;
}

export type State =
  | "idle" | "connecting" | "reconnecting" | "ready" | "listening" | "hearing" | "thinking" | "speaking" | "interrupted";

export interface Clip {
  pcm: Int16Array;
  /** Samples per second. */
  rate: number;
  /** When it began, ms since the epoch. */
  at: number;
}

export interface Latency {
  /** ms from the end of the person's words. */
  stopped: number; words: number; decided: number; first_token: number; first_clause: number; first_sound: number;
  /** The answer had been begun before the turn was over. */
  reused: boolean;
  /** Which language model of a chain wrote the answer. */
  model?: string;
}

/** A tool of the server that an answer used; `arguments` is JSON. */
export interface ToolUse {
  id: string; name: string; arguments: string;
  /** What it gave, or why it gave nothing; neither: it is at work. */
  output?: string; error?: string;
}

/** A line of the transcript; the same object for as long as it changes. */
export interface Entry {
  role: "user" | "assistant" | "note";
  state: "pending" | "partial" | "final" | "notice" | "error";
  text: string;
  /** ms since the epoch. */
  at: number;
  turn?: number;
  /** Of a turn of the user, where the server speaks several languages: its ISO code. */
  language?: string;
  /** Of a turn of the user, where speakers are told apart: A, B and so on, or the name of a known one. */
  speaker?: string;
  /** Of another voice than those that the call listens to: not a turn, and not in the history. */
  ignored?: boolean;
  /** Of what is being said: how many characters will hardly change. */
  stable?: number;
  /** Of an answer that is being played: how many characters were spoken, about. */
  spoken?: number;
  /** Of an answer that was interrupted: the played text. */
  heard?: string;
  latency?: Latency;
  tools?: ToolUse[];
  clip?: Clip;
}

export type NoticeCode =
  | "" | "lost" | "busy" | "refused" | "time_limit" | "ended" | "insecure" | "blocked" | "missing" | "in_use" | "unusable" | "unplugged" | "other_microphone";

export interface Events {
  state: (state: State, how: { pressed: boolean; mode: "auto" | "hold" }) => void;
  /** A line is new (it stands before `next`, or at the end) or has changed. */
  entry: (entry: Entry, next?: Entry) => void;
  /** A line was none after all. */
  remove: (entry: Entry) => void;
  /** The conversation has this name at the server, by which it goes on in a new page for RESUME_S seconds; "" = in none. */
  session: (id: string) => void;
  /** Loudness of the microphone, 0 to 1, twenty times a second. */
  level: (level: number) => void;
  /** Something the person should know; an empty code takes the last one back. `n`: of "busy" the minutes to wait, of "refused" and "ended" the server's reason. */
  notice: (code: NoticeCode, text: string, n?: number | string) => void;
  /** Every event of port 6006, as docs/wire.md has it. */
  event: (event: { type: string; [field: string]: any }) => void;
  /** What was really played of an answer: seconds, whether it was cut, gaps that the network made, and seconds that are kept ahead. */
  played: (report: { turn: number; seconds: number; playing: boolean; finished: boolean; cut: boolean; gaps: number; ahead: number }) => void;
}

export class Conversation {
  /** `url`: where the server's page is; by default where this module came from. */
  constructor(url?: string | URL, options?: Options);
  readonly state: State;
  readonly entries: readonly Entry[];
  readonly session: string;
  /** The facts behind `state`. `line`: of the connection. */
  readonly now: Readonly<{
    line: "closed" | "connecting" | "reconnecting" | "ready"; hearing: boolean; thinking: boolean; speaking: boolean; pressed: boolean; interrupted: boolean;
  }>;
  /** What it plays by, once it was started from a click, for sounds of the page's own. */
  readonly context: AudioContext | null;
  /** What happened and when, the newest last: ms since the page began. */
  readonly log: readonly { at: number; what: string; [fact: string]: unknown }[];
  /** Returns a function that ends this. */
  on<Name extends keyof Events>(name: Name, listener: Events[Name]): () => void;
  /** Opens the microphone and the connection; call it from a click or a key. Resolves with whether the microphone is used. */
  start(): Promise<boolean>;
  /** Ends the call; the transcript stays, and the next `start` goes on with it. */
  stop(): void;
  /** A typed line. */
  say(text: string): void;
  /** Stops the answer. */
  interrupt(): void;
  press(): void;
  release(): void;
  /** Holds from the next turn. null leaves `language`, `speed` and `eagerness` as they are until the next call. */
  update(changes: Options): void;
  /** Plays what was kept of a line's sound, or stops it if it is being played. Resolves at its end. */
  play(entry: Entry): Promise<void>;
  /** Shows what was said before, in front of the rest: of a `session` that goes on. */
  recall(messages: { role: string; text: string }[]): void;
  /** Forgets the conversation, here and for the next connection. A call that goes on begins another one. */
  forget(): void;
  /** Ends everything: call, microphone, sound, listeners. */
  close(): Promise<void>;
}

/** Sound that cannot be had; the message says what to do. */
export class SoundError extends Error {
  readonly code: NoticeCode;
}

/** What sound can go in and out by. Names are there once the microphone was allowed. */
export function devices(): Promise<{ inputs: { id: string; name: string }[]; outputs: { id: string; name: string }[] }>;
