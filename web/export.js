// A conversation as a file: text, JSON, subtitles, or sound with the person on the left and the answers on the right.

import { Resampler } from "./resample.js";

const RATE = 24000; // samples per second of the WAV
const SHORTEST_MS = 1000; // for which a subtitle stands
const MS_PER_CHARACTER = 65; // of a line that has no sound: about 15 characters a second are read

const said = (entry) => entry.heard ?? entry.text;
const spoken = (entries) => entries.filter(({ role, state }) => role !== "note" && state === "final");

export function toText(entries, names) {
  return spoken(entries).map((entry) => `${names[entry.role]}: ${said(entry)}\n`).join("");
}

export function toJSON(entries) {
  const lines = spoken(entries).map(({ role, text, heard, at, latency }) => ({
    role, text, ...(heard === undefined ? {} : { heard }), at: new Date(at).toISOString(), ...(latency ? { latency: times(latency) } : {}),
  }));
  return `${JSON.stringify({ lines }, null, 2)}\n`;
}

const times = ({ type, uid, turn, ...ms }) => ms;

export function toSRT(entries) {
  const lines = spoken(entries).filter((entry) => said(entry) !== "");
  const start = Math.min(...lines.map(beginning));
  return lines.map((entry, i) => {
    const from = beginning(entry) - start;
    const length = entry.clip?.pcm.length ? (entry.clip.pcm.length * 1000) / entry.clip.rate : said(entry).length * MS_PER_CHARACTER;
    const next = lines[i + 1] ? beginning(lines[i + 1]) - start : Infinity;
    const until = Math.max(from + Math.min(SHORTEST_MS, length), Math.min(from + Math.max(SHORTEST_MS, length), next));
    return `${i + 1}\n${stamp(from)} --> ${stamp(until)}\n${entry.role === "user" ? "- " : ""}${said(entry)}\n`;
  }).join("\n");
}

const beginning = (entry) => entry.clip?.at ?? entry.at;

function stamp(ms) {
  const whole = Math.max(0, Math.round(ms));
  const part = (size, modulo, digits) => String(Math.floor(whole / size) % modulo).padStart(digits, "0");
  return `${part(3_600_000, 100, 2)}:${part(60_000, 60, 2)}:${part(1000, 60, 2)},${part(1, 1000, 3)}`;
}

/** 16-bit stereo; null when no sound was kept. Pauses of more than `longest` seconds are shortened to that. */
export function toWAV(entries, longest = 2) {
  const clips = spoken(entries).filter(({ clip }) => clip?.pcm.length > 0).map(({ role, clip }) => ({ role, at: clip.at, pcm: resampled(clip) }));
  if (clips.length === 0) return null;
  clips.sort((a, b) => a.at - b.at);
  let [cut, end] = [clips[0].at, 0]; // ms of the clock that are left out; samples that are filled
  for (const clip of clips) {
    const wanted = Math.round(((clip.at - cut) * RATE) / 1000);
    clip.from = Math.min(wanted, end + longest * RATE);
    cut += ((wanted - clip.from) * 1000) / RATE;
    end = Math.max(end, clip.from + clip.pcm.length);
  }
  const view = new DataView(new ArrayBuffer(44 + end * 4));
  header(view, end);
  for (const { role, from, pcm } of clips) {
    const side = role === "user" ? 0 : 2;
    pcm.forEach((sample, i) => view.setInt16(44 + (from + i) * 4 + side, Math.max(-32768, Math.min(32767, Math.round(sample * 32768))), true));
  }
  return view.buffer;
}

function resampled({ pcm, rate }) {
  const resampler = new Resampler(rate, RATE);
  const first = resampler.push(Float32Array.from(pcm, (sample) => sample / 32768));
  const rest = resampler.flush();
  const all = new Float32Array(first.length + rest.length);
  all.set(first);
  all.set(rest, first.length);
  return all;
}

/** RIFF, PCM, two channels of 16 bits. */
function header(view, frames) {
  const text = (at, letters) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + frames * 4, true);
  text(8, "WAVEfmt ");
  [[16, 16, 32], [20, 1, 16], [22, 2, 16], [24, RATE, 32], [28, RATE * 4, 32], [32, 4, 16], [34, 16, 16]].forEach(([at, value, bits]) =>
    bits === 32 ? view.setUint32(at, value, true) : view.setUint16(at, value, true),
  );
  text(36, "data");
  view.setUint32(40, frames * 4, true);
}
