// What the page knows of the server before and beside a call: its secret, its facts, the health of its parts.

import { t } from "./texts.js";

const STARTING_PERIOD_MS = 2000; // between two looks while something is not ready
const CALM_PERIOD_MS = 15_000;
const KEY = "whisperfusion-secret"; // in the tab's own storage, gone when it closes
const DEVICE_KEY = "whisperfusion-device"; // of a paired device, in the browser's storage for this server

/** Move ?token= out of the address, where it would be seen and shared, into the tab's memory. */
function tokenFromAddress() {
  const url = new URL(location.href);
  const token = url.searchParams.get("token");
  if (token) {
    remember(token);
    url.searchParams.delete("token");
    history.replaceState(null, "", url);
  }
  return token ?? remembered();
}

/** Take #pair=… out of the address: a pairing key is good for a few minutes, and for nothing once it was used. */
function pairingKeyFromAddress() {
  const [, key = ""] = /^#pair=([\w-]+)$/.exec(location.hash) ?? [];
  if (key) history.replaceState(null, "", location.pathname + location.search);
  return key;
}

/** Exchange a pairing key for a key of this device's own; "" if the server refuses. */
async function pair(key) {
  const answer = await post("pair", "", { key }).catch(() => null);
  if (!answer?.ok) return "";
  const device = (await answer.json()).key;
  remember("");
  remember(device, "localStorage", DEVICE_KEY);
  return device;
}

function remember(token, storage = "sessionStorage", name = KEY) {
  try {
    globalThis[storage].setItem(name, token);
  } catch (error) {
    console.warn("the secret is not kept:", error); // storage is off
  }
}

export function remembered() {
  try {
    return sessionStorage.getItem(KEY) || localStorage.getItem(DEVICE_KEY) || "";
  } catch {
    return "";
  }
}

/** A header has room for ASCII only; a secret that was typed with a curly quote has to be refused by the server, not by `fetch`. */
export function get(path, token) {
  /** @type {{ Authorization?: string }} */
  const headers = /^[\x21-\x7e]+$/.test(token) ? { Authorization: `Bearer ${token}` } : {};
  const url = new URL(path, document.baseURI);
  if (token && !headers.Authorization) url.searchParams.set("token", token);
  return fetch(url, { cache: "no-store", headers });
}

/** POST, with the secret if there is one, and a body if there is one. */
export function post(path, token, body) {
  const headers = { ...(token && { Authorization: `Bearer ${token}` }), ...(body && { "Content-Type": "application/json" }) };
  return fetch(new URL(path, document.baseURI), { method: "POST", headers, body: body && JSON.stringify(body) });
}

/** Where the voices are that clients made of recordings. @param {{ api_prefix?: string } | null} config */
export function voicesPath(config) {
  return `${config?.api_prefix ?? "v1"}/audio/voices`.replace(/^\/+/, "");
}

/** The voices of people that this page may have texts said with, where the engine that speaks now clones voices. */
export async function customVoices(token, config) {
  const answer = await get(voicesPath(config), token).catch(() => null);
  const found = answer?.ok ? await answer.json() : { voices: [] };
  return found.voices.filter(({ object, usable }) => object === "audio.voice" && usable);
}

/** Load `path` as soon as the server answers, asking for the secret as often as it does. Resolves with { token, answer }. */
export async function admitted(view, path) {
  let token = tokenFromAddress();
  const scanned = pairingKeyFromAddress();
  let answer = await reached(view, path, token);
  if (answer.status === 401 && scanned) {
    token = await pair(scanned);
    answer = await reached(view, path, token);
    if (!token) view.notice(t("notice.pairing_refused"));
  }
  while (answer.status === 401) {
    const pairs = (await answer.json().catch(() => ({}))).error?.code === "not_paired";
    token = await view.askSecret(token !== "", pairs);
    const device = pairs ? await pair(token) : "";
    token = device || token;
    answer = await reached(view, path, token);
    if (answer.ok && !device) remember(token);
  }
  return { token, answer };
}

/**
 * Load /config.json, asking for the secret if need be, then keep the stages on the page
 * true. While `busy()` the call itself brings that news. Resolves with { token, config }.
 */
export async function watchServer(view, busy) {
  const { token, answer } = await admitted(view, "config.json");
  const facts = await answer.json();
  const show = (stages) => Object.entries(stages).forEach(([name, stage]) => view.stage(name, stage));
  show(facts.stages);
  const look = async (status) => {
    let latest = status;
    if (!busy() && !document.hidden) latest = await checked(token, view, show);
    setTimeout(look, latest === "ok" ? CALM_PERIOD_MS : STARTING_PERIOD_MS, latest);
  };
  setTimeout(look, facts.status === "ok" ? CALM_PERIOD_MS : STARTING_PERIOD_MS, facts.status);
  return { token, config: facts };
}

async function reached(view, path, token) {
  for (;;) {
    try {
      const answer = await get(path, token);
      if (answer.ok || answer.status === 401) {
        view.notice("");
        return answer;
      }
    } catch (error) {
      console.warn("no answer yet:", error);
    }
    view.notice(t("notice.no_server"));
    await new Promise((resolve) => setTimeout(resolve, STARTING_PERIOD_MS));
  }
}

async function checked(token, view, show) {
  try {
    const { status, stages } = await (await get("health", token)).json();
    show(stages);
    return status;
  } catch (error) {
    console.warn("no /health:", error);
    for (const name of ["asr", "llm", "tts"]) view.stage(name, { state: "down", note: t("notice.no_server") });
    return "unreachable";
  }
}
