// A turn as a waterfall: the spans of OTLP JSON, from a file or from this server's TRACE_DIR. Text only ever enters as text.

import { $ } from "./elements.js";
import { get, remembered } from "./server.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 1000; // of the drawing, in its own units
const MOST = 100; // turns in the menu, the newest

const value = (one) => {
  const [kind, found] = Object.entries(one ?? {})[0] ?? ["", ""];
  return kind === "arrayValue" ? (found.values ?? []).map(value).join(", ") : String(found);
};
const turnMenu = $("turns", HTMLSelectElement);
const fileInput = $("file", HTMLInputElement);
const pairs = (attributes) => new Map((attributes ?? []).map((one) => [one.key, value(one.value)]));
const ms = (nanoseconds) => Number(nanoseconds) / 1e6;
const duration = (length) => (length < 10_000 ? `${Math.round(length)} ms` : `${(length / 1000).toFixed(1)} s`);

/** All spans of a text: one object of OTLP JSON, or one on each line. */
export const read = (text) => {
  let requests;
  try {
    requests = [JSON.parse(text)];
  } catch {
    requests = text.split("\n").filter((line) => line.trim()).map((line) => JSON.parse(line));
  }
  const found = new Map();
  for (const request of requests) {
    for (const one of request.resourceSpans ?? []) {
      const process = (pairs(one.resource?.attributes).get("service.name") ?? "").replace("whisperfusion-", "");
      for (const span of (one.scopeSpans ?? []).flatMap((scope) => scope.spans ?? [])) {
        found.set(span.spanId, {
          id: span.spanId, parent: span.parentSpanId ?? "", name: span.name, process,
          began: ms(span.startTimeUnixNano), ended: ms(span.endTimeUnixNano), failed: span.status?.code === 2,
          attributes: pairs(span.attributes), events: (span.events ?? []).map((event) => ({ name: event.name, at: ms(event.timeUnixNano) })),
        });
      }
    }
  }
  return [...found.values()];
};

/** The turns among spans, or where there are none the roots, newest first. */
export const turnsOf = (spans) => {
  const ids = new Set(spans.map((span) => span.id));
  const turns = spans.filter((span) => span.name === "turn");
  const shown = turns.length ? turns : spans.filter((span) => !ids.has(span.parent));
  return shown.sort((a, b) => b.began - a.began).slice(0, MOST);
};

/** A span and all inside it, in the order of their beginnings, each with its depth. */
export const treeOf = (spans, root, depth = 0) => {
  const inner = spans.filter((span) => span.parent === root.id).sort((a, b) => a.began - b.began);
  return [{ ...root, depth }, ...inner.flatMap((span) => treeOf(spans, span, depth + 1))];
};

const part = (name, text, ...children) => {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
};

const drawn = (name, attributes) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, one] of Object.entries(attributes)) made.setAttribute(key, one);
  return made;
};

const picture = (span, began, length) => {
  const at = (time) => ((time - began) / length) * WIDTH;
  const all = drawn("svg", { viewBox: `0 0 ${WIDTH} 20`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const colour = span.failed ? "failed" : ["asr", "llm", "tts"].includes(span.process) ? span.process : "other";
  all.append(drawn("rect", { class: `bar ${colour}`, x: at(span.began), y: 3, height: 14, width: Math.max(2, at(span.ended) - at(span.began)) }));
  for (const event of span.events) all.append(drawn("rect", { class: "event", x: at(event.at) - 1, y: 0, width: 2, height: 20 }));
  return all;
};

const details = (span, began) => {
  $("details").hidden = false;
  $("details-title").textContent = span.name;
  const rows = [["begins after", duration(span.began - began)], ["takes", duration(span.ended - span.began)], ...span.events.map((event) => [event.name, `after ${duration(event.at - span.began)}`]), ...span.attributes];
  $("attributes").replaceChildren(...rows.flatMap(([name, text]) => [part("dt", name), part("dd", text)]));
};

const show = (spans, root) => {
  const tree = treeOf(spans, root);
  const began = Math.min(...tree.map((span) => span.began));
  const length = Math.max(1, Math.max(...tree.map((span) => span.ended)) - began);
  $("axis").textContent = `0 to ${duration(length)}`;
  $("spans").replaceChildren(...tree.map((span) => {
    const name = part("button", span.name);
    name.type = "button";
    name.style.marginLeft = `${span.depth}rem`;
    name.addEventListener("click", () => details(span, began));
    return part("tr", "", part("td", "", name), part("td", span.process), part("td", duration(span.ended - span.began)), part("td", "", picture(span, began, length)));
  }));
  $("picture").hidden = false;
  details(tree[0], began);
};

/** @type {{ spans: any[], turns: any[] }} */
let shown = { spans: [], turns: [] };

const open = (text, from) => {
  try {
    const spans = read(text);
    shown = { spans, turns: turnsOf(spans) };
  } catch {
    shown = { spans: [], turns: [] };
  }
  const { spans, turns } = shown;
  turnMenu.replaceChildren(...turns.map((turn, at) => {
    const made = part("option", `${new Date(turn.began).toLocaleTimeString()}, turn ${turn.attributes.get("whisperfusion.turn") ?? "–"}, ${duration(turn.ended - turn.began)}`);
    made.value = String(at);
    return made;
  }));
  turnMenu.disabled = turns.length === 0;
  $("notice").textContent = turns.length ? `${spans.length} spans of ${from}.` : `There are no spans in ${from}.`;
  $("picture").hidden = $("details").hidden = turns.length === 0;
  if (turns.length) show(spans, turns[0]);
};

turnMenu.addEventListener("change", () => show(shown.spans, shown.turns[Number(turnMenu.value)]));
fileInput.addEventListener("change", async () => {
  const file = fileInput.files?.[0];
  if (file) open(await file.text(), file.name);
});
$("load").addEventListener("click", async () => {
  const answer = await get("traces.jsonl", new URLSearchParams(location.search).get("token") ?? remembered());
  if (answer.status === 204) $("notice").textContent = "This server keeps no traces. Start it with TRACE_DIR=FOLDER.";
  else if (answer.ok) open(await answer.text(), "this server");
  else if (answer.status === 401) $("notice").textContent = "This server requires an access key: open this page with ?token=KEY, or pair this device.";
  else $("notice").textContent = `The traces could not be read (status ${answer.status}).`;
});

document.body.dataset.loaded = "true";
