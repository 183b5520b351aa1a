// Server status for the operator: /metrics every two seconds as charts, /events as they come. Text only ever enters as text.

import { Chart } from "./chart.js";
import { $, element, find } from "./elements.js";
import { follow } from "./events.js";
import { History, named } from "./history.js";
import { parse, quantile } from "./prometheus.js";
import { admitted, get } from "./server.js";

const PERIOD_MS = 2000;
const SPAN_MS = 600_000; // what is kept and drawn
const MINUTE_MS = 60_000;
const MOST_HAPPENINGS = 200; // as many as the server keeps
const PARTS = { asr: "ASR", llm: "LLM", tts: "TTS", gateway: "Gateway" };
const QUANTILES = [["p50", 0.5], ["p95", 0.95], ["p99", 0.99]];
const WORKERS = ["asr", "llm", "tts"];
const MISSING = {
  lost: "The events of the server cannot be read. Trying again…",
  alone: "This gateway runs alone: the other processes do not report to it, and it counts only its own requests. The /dashboard of the main server shows everything.",
};

// --- numbers for people ---------------------------------------------------------------------------------

const seconds = (value) => `${value.toFixed(value < 10 ? 2 : 0)} s`;
const milliseconds = (value) => `${Math.round(1000 * value)} ms`;
const wholeSeconds = (value) => `${count(value)} s`;
const count = (value) => value.toLocaleString("en", { maximumFractionDigits: 1 });
const bytes = (value) => (value < 1e9 ? `${Math.round(value / 1e6)} MB` : `${(value / 1e9).toFixed(value < 1e10 ? 2 : 0)} GB`);
const wholeBytes = (value) => (value < 1e9 ? bytes(value) : `${count(value / 1e9)} GB`);

function age(value) {
  if (value < 60) return `${Math.floor(value)} s`;
  const [minutes, hours, days] = [60, 3600, 86_400].map((unit) => Math.floor(value / unit));
  if (!hours) return `${minutes} min`;
  return days ? `${days} d ${hours % 24} h` : `${hours} h ${minutes % 60} min`;
}

// --- charts ---------------------------------------------------------------------------------------------

const history = new History(SPAN_MS);
const parts = (names) => names.map((name) => [name, PARTS[name]]);
const chart = (id, options) => new Chart($(id), { spanMs: SPAN_MS, ...options });
const LATENCIES = { first_sound: "time_to_first_audio_seconds", words: "transcription_delay_seconds" };
const latencies = Object.fromEntries(Object.keys(LATENCIES).map((id) => (
  [id, chart(id, { lines: QUANTILES.map(([name]) => [name, name]), format: seconds, tick: wholeSeconds, least: 1 })]
)));
const charts = {
  callers: chart("callers", { lines: [["callers", "Callers"], ["load", "Degradation level"]], format: count, least: 4, steps: true }),
  queues: chart("queues", { lines: parts(WORKERS), format: seconds, tick: wholeSeconds, least: 1 }),
  turns: chart("turns", { lines: [["turns", "Turns"], ["lost", "Failed"]], format: count, least: 4 }),
  preemptive: chart("preemptive", { lines: [["used", "Hits"], ["wasted", "Wasted"]], format: count, least: 4 }),
  loops: chart("loops", { lines: parts([...WORKERS, "gateway"]), format: milliseconds, least: 0.1 }),
  memory: chart("memory", { lines: parts([...WORKERS, "gateway"]), format: bytes, tick: wholeBytes, least: 1e8 }),
};

const windowMs = () => Number(find("[name=window]:checked", HTMLInputElement).value);
const all = (read) => history.samples.map((_, index) => read(index));
const gauge = (name, stage) => all((index) => history.value(name, stage, history.samples[index]));
const perMinute = (name, stage) => all((index) => history.increase(named(name, stage), index, MINUTE_MS));
const sum = (numbers) => {
  const known = numbers.filter((number) => number !== null);
  return known.length ? known.reduce((one, other) => one + other) : null;
};

function draw() {
  const { at: now } = history.latest;
  const times = history.samples.map(({ at }) => at);
  const show = (which, values, texts) => which.draw(now, times, new Map(Object.entries(values)), texts);
  const median = drawLatencies(show);
  show(charts.callers, { callers: gauge("active_calls", "asr"), load: gauge("degradation_level", "asr") });
  show(charts.queues, byStage(WORKERS, "queue_oldest_job_seconds"), Object.fromEntries(WORKERS.map((name) => [name, queue(name)])));
  show(charts.turns, { turns: perMinute("user_turns_total", "asr"), lost: all((index) => lostTurns(index, MINUTE_MS)) });
  const preemptive = { used: "preemptive_generations_used_total", wasted: "preemptive_generations_wasted_total" };
  show(charts.preemptive, mapped(preemptive, (name) => perMinute(name, "asr")), mapped(preemptive, (name) => ofAll(name)));
  show(charts.loops, byStage([...WORKERS, "gateway"], "event_loop_lag_seconds"));
  show(charts.memory, byStage([...WORKERS, "gateway"], "process_resident_memory_bytes"));
  glance(median);
}

const mapped = (object, change) => Object.fromEntries(Object.entries(object).map(([name, value]) => [name, change(value)]));
const byStage = (names, metric) => Object.fromEntries(names.map((name) => [name, gauge(metric, name)]));

/** Draws both; gives the median of the first sound in words. */
function drawLatencies(show) {
  const ms = windowMs();
  let measured = 0;
  for (const [id, drawing] of Object.entries(latencies)) {
    const buckets = all((index) => history.buckets(LATENCIES[id], "asr", index, ms));
    const of = (share) => buckets.map((one) => quantile(share, one)).map((value) => (Number.isNaN(value) ? null : value));
    show(drawing, Object.fromEntries(QUANTILES.map(([name, share]) => [name, of(share)])));
    measured = buckets.at(-1)?.at(-1)?.[1] ?? null;
  }
  const last = history.samples.length - 1;
  const known = ms === Infinity ? "" : ` in the last ${age((history.latest.at - history.samples[history.start(last, ms)].at) / 1000)}`;
  $("measured").textContent = measured === null ? "no answers measured" : `${count(measured)} ${measured === 1 ? "answer" : "answers"}${known}`;
  return latencies.first_sound.number("p50").textContent;
}

function queue(name) {
  const [waiting, oldest] = ["queue_jobs", "queue_oldest_job_seconds"].map((metric) => history.value(metric, name));
  if (oldest === null) return "–";
  return waiting ? `${seconds(oldest)} (${count(waiting)})` : "none";
}

const lostTurns = (index, ms) => sum(WORKERS.map((stage) => history.increase(named("failed_turns_total", stage), index, ms)));

/** All failed turns since the start, and whose fault they were. */
function lostText() {
  const lost = WORKERS.map((stage) => [stage, history.value("failed_turns_total", stage)]);
  const total = sum(lost.map(([, turns]) => turns));
  const culprits = lost.filter(([, turns]) => turns).map(([stage, turns]) => `${stage} ${count(turns)}`);
  return [total === null ? "–" : count(total), culprits.join(", ")];
}

function ofAll(name) {
  const [one, total] = [name, "preemptive_generations_total"].map((metric) => history.value(metric, "asr"));
  if (one === null) return "–";
  return total ? `${count(one)} (${Math.round((100 * one) / total)} %)` : count(one);
}

function glance(median) {
  const callers = history.value("active_calls", "asr");
  $("callers-now").textContent = callers === null ? "–" : count(callers);
  const [load, draining] = ["load", "draining"].map((name) => history.value(name, "asr"));
  $("load-now").replaceChildren(load === null ? "–" : `${Math.round(100 * load)} %`, element("small", "", draining ? "draining" : ""));
  $("load-now").dataset.bad = String(load === 1); // the next caller is asked to wait
  $("first-sound-now").textContent = median;
  const [lost, culprits] = lostText();
  $("failed-now").replaceChildren(lost, element("small", "", culprits));
  $("failed-now").dataset.bad = String(lostTurns(history.samples.length - 1, SPAN_MS) > 0); // what is long past does not raise an alarm
}

// --- the parts ------------------------------------------------------------------------------------------

const stages = new Map();
const rows = new Map();

function cell(tag, role, label = "") {
  const node = element(tag);
  node.setAttribute("role", role);
  if (label) node.dataset.label = label;
  return node;
}

function row(name) {
  if (!rows.has(name)) {
    const head = cell("th", "rowheader");
    head.scope = "row";
    head.textContent = PARTS[name] ?? name;
    const cells = { state: cell("td", "cell"), engine: cell("td", "cell"), model: cell("td", "cell"), restarts: cell("td", "cell", "Restarts"), up: cell("td", "cell", "Up") };
    const line = element("tr", "", head, ...Object.values(cells));
    line.setAttribute("role", "row");
    line.dataset.stage = name;
    rows.set(name, cells);
    $("stages", HTMLTableElement).tBodies[0].append(line);
  }
  return rows.get(name);
}

function showStages() {
  for (const [name, stage] of stages) {
    const cells = row(name);
    const up = history.latest ? history.value("process_uptime_seconds", name) : null;
    const state = element("span", "", stage.state);
    state.dataset.state = stage.state;
    cells.state.replaceChildren(state, ...(stage.note ? [element("small", "", stage.note)] : []));
    cells.engine.textContent = stage.engine || "–";
    cells.model.textContent = stage.model || "–";
    cells.restarts.textContent = stage.restarts;
    cells.up.textContent = up === null || stage.state === "down" ? "–" : age(up);
  }
  const down = [...stages.values()].filter(({ state }) => state === "down").length;
  const ready = [...stages.values()].every(({ state }) => state === "ready");
  $("overall").textContent = down ? `${down} down` : ready ? "all ready" : "starting";
  $("overall").dataset.bad = String(down > 0);
}

function takeStages(received) {
  for (const [name, stage] of Object.entries(received)) stages.set(name, stage);
  showStages();
}

// --- what happened --------------------------------------------------------------------------------------

const states = new Map(); // of each part, as far as the list has come: a note that changes is not an event

function happened(one) {
  const [text, bad] = said(one);
  if (!text) return;
  const at = new Date(one.at * 1000);
  const time = element("time", "", at.toLocaleTimeString("en-GB"));
  time.dateTime = at.toISOString();
  const what = element("span", "", text);
  what.dataset.kind = bad ? "bad" : "good";
  $("happenings").prepend(element("li", "", time, what));
  while ($("happenings").children.length > MOST_HAPPENINGS) $("happenings").lastChild?.remove();
}

/** @returns {[string, boolean]} the line, and whether it is bad news */
function said(one) {
  if (one.kind === "notice") return [`${PARTS[one.stage] ?? one.stage}: ${one.text}`, false];
  if (one.kind === "lost") return [`Turn ${one.turn} of call ${one.call} failed, ${one.stage}: ${one.reason}`, true];
  const changed = states.get(one.name) !== one.state;
  states.set(one.name, one.state);
  if (one.kind !== "stage" || !changed) return ["", false];
  const why = one.state === "down" && one.note ? `: it ${one.note}` : "";
  const again = one.state === "ready" && one.restarts ? ` again, restart ${one.restarts}` : "";
  return [`${PARTS[one.name] ?? one.name} is ${one.state}${again}${why}`, one.state === "down"];
}

const readers = {
  snapshot: (data) => {
    states.clear();
    $("happenings").replaceChildren();
    data.happened.forEach(happened);
    takeStages(data.stages);
  },
  stage: (data) => {
    happened(data);
    takeStages({ [data.name]: data });
  },
  lost: happened,
  notice: happened,
};

function receive(name, data) {
  $("log").setAttribute("aria-live", name === "snapshot" ? "off" : "polite"); // what is past is there to be read, not read out
  readers[name]?.(data);
  showMissing();
}

/** Why the list is empty, or may lack something. */
function showMissing() {
  const text = MISSING[live] ?? ($("happenings").children.length ? "" : "No events yet.");
  if ($("no-events").textContent !== text) $("no-events").textContent = text;
  $("no-events").hidden = !text;
}

// --- the server -----------------------------------------------------------------------------------------

const view = {
  notice: (text) => {
    if ($("notice").textContent !== text) $("notice").textContent = text;
  },
  askSecret: () => new Promise((resolve) => {
    $("secret", HTMLDialogElement).showModal();
    $("secret").addEventListener("close", () => resolve($("secret-value", HTMLInputElement).value.trim()), { once: true });
  }),
};
let token = "";
let live = "lost";
/** @type {number | undefined} */
let timer;
let looking = false;

function take(text) {
  history.add(Date.now(), parse(text));
  draw();
  showStages();
}

/** Once at a time; asked for again after a while, or when the page can be seen again. */
async function look() {
  if (looking || document.hidden) return;
  looking = true;
  clearTimeout(timer);
  try {
    let answer = await get("metrics", token);
    if (answer.status === 401) ({ token, answer } = await admitted(view, "metrics"));
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    take(await answer.text());
    if (live !== "live") takeStages((await (await get("health", token)).json()).stages);
    view.notice(live === "alone" ? MISSING.alone : "");
  } catch (error) {
    console.warn("no /metrics:", error);
    view.notice(`The server cannot be read (${/** @type {Error} */ (error).message}). Trying again…`);
  }
  looking = false;
  timer = setTimeout(look, PERIOD_MS);
}

const first = await admitted(view, "metrics");
token = first.token;
take(await first.answer.text());
const connectionChanged = (state) => {
  live = state;
  showMissing();
  if (state !== "live") look();
};
follow(() => token, receive, connectionChanged);
document.addEventListener("visibilitychange", look);
find(".window").addEventListener("change", draw);
timer = setTimeout(look, PERIOD_MS);
document.body.dataset.loaded = "true";
