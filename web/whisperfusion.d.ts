/** Types of whisperfusion.js: a spoken conversation with a WhisperFusion server. */

export interface Options {
  /** The server's secret, where it has one. */
  token?: string;
  /** "auto": the server finds the end of a turn. "hold": a turn is what is said between `press` and `release`. */
  mode?: "auto" | "hold";
  /** Who answers, in words. null = the server's own, here and below. */
  instructions?: string | null;
  voice?: string | null;
  /** 0.5 to 2. */
  speed?: number | null;
  /** What the person speaks: an ISO 639-1 code, or "auto" to find out. */
  language?: string | null;
  /** 0 = patient to 1 = eager: how soon a pause ends a turn. */
  eagerness?: number | null;
  /** Answers are not heard. */
  muted?: boolean;
  /** Ids of `devices()`; "" = the system's own. */
  input?: string;
  output?: string;
  /** Our own noise suppression in place of the browser's. */
  denoise?: boolean;
  /** Silence an answer as soon as a voice is heard here, before the server says so. Default true. */
  hushing?: boolean;
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
}

/** A line of the transcript; the same object for as long as it changes. */
export interface Entry {
  role: "user" | "assistant" | "note";
  state: "pending" | "partial" | "final" | "notice" | "error";
  text: string;
  /** ms since the epoch. */
  at: number;
  turn?: number;
  /** Of what is being said: how many characters will hardly change. */
  stable?: number;
  /** Of an answer that is being heard: how many characters were spoken, about. */
  spoken?: number;
  /** Of an answer that was interrupted: the words that were heard. */
  heard?: string;
  latency?: Latency;
  clip?: Clip;
}

export type NoticeCode =
  | "" | "lost" | "busy" | "refused" | "time_limit" | "insecure" | "blocked" | "missing" | "in_use" | "unusable" | "unplugged" | "other_microphone";

export interface Events {
  state: (state: State, how: { pressed: boolean; mode: "auto" | "hold" }) => void;
  /** A line is new (it stands before `next`, or at the end) or has changed. */
  entry: (entry: Entry, next?: Entry) => void;
  /** A line was none after all. */
  remove: (entry: Entry) => void;
  /** Loudness of the microphone, 0 to 1, twenty times a second. */
  level: (level: number) => void;
  /** Something the person should know; an empty code takes the last one back. `n`: minutes to wait, of "busy". */
  notice: (code: NoticeCode, text: string, n?: number) => void;
  /** Every event of port 6006, as docs/wire.md has it. */
  event: (event: { type: string; [field: string]: unknown }) => void;
  /** What was really played of an answer: seconds, whether it was cut, gaps that the network made, and seconds that are kept ahead. */
  played: (report: { turn: number; seconds: number; playing: boolean; finished: boolean; cut: boolean; gaps: number; ahead: number }) => void;
}

export class Conversation {
  /** `url`: where the server's page is; by default where this module came from. */
  constructor(url?: string | URL, options?: Options);
  readonly state: State;
  readonly entries: readonly Entry[];
  /** What happened and when, the newest last: ms since the page began. */
  readonly log: readonly { at: number; what: string; [fact: string]: unknown }[];
  /** Returns a function that ends this. */
  on<Name extends keyof Events>(name: Name, listener: Events[Name]): () => void;
  /** Opens the microphone and the connection; call it from a click or a key. Resolves with whether somebody is listened to. */
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
  /** Ends everything: call, microphone, sound, listeners. */
  close(): Promise<void>;
}

/** Sound that cannot be had; the message says what to do. */
export class SoundError extends Error {
  readonly code: NoticeCode;
}

/** What sound can go in and out by. Names are there once the microphone was allowed. */
export function devices(): Promise<{ inputs: { id: string; name: string }[]; outputs: { id: string; name: string }[] }>;
