// What the page knows of the server before and beside a call: its secret, its facts, the health of its parts.

import { t } from "./texts.js";

const STARTING_PERIOD_MS = 2000; // between two looks while something is not ready
const CALM_PERIOD_MS = 15_000;
const KEY = "whisperfusion-secret"; // in the tab's own storage, gone when it closes

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

function remember(token) {
  try {
    sessionStorage.setItem(KEY, token);
  } catch (error) {
    console.warn("the secret is not kept:", error.message); // storage is off
  }
}

function remembered() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

/** A header has room for ASCII only; a secret that was typed with a curly quote has to be refused by the server, not by `fetch`. */
export function get(path, token) {
  const headers = /^[\x21-\x7e]+$/.test(token) ? { Authorization: `Bearer ${token}` } : {};
  const url = new URL(path, document.baseURI);
  if (token && !headers.Authorization) url.searchParams.set("token", token);
  return fetch(url, { cache: "no-store", headers });
}

/** Load `path` as soon as the server answers, asking for the secret as often as it does. Resolves with { token, answer }. */
export async function admitted(view, path) {
  let token = tokenFromAddress();
  let answer = await reached(view, path, token);
  while (answer.status === 401) {
    token = await view.askSecret(token !== "");
    remember(token);
    answer = await reached(view, path, token);
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
  const tell = (stages) => Object.entries(stages).forEach(([name, stage]) => view.stage(name, stage));
  tell(facts.stages);
  const look = async (status) => {
    let latest = status;
    if (!busy() && !document.hidden) latest = await checked(token, view, tell);
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
      console.warn("no answer yet:", error.message);
    }
    view.notice(t("notice.no_server"));
    await new Promise((resolve) => setTimeout(resolve, STARTING_PERIOD_MS));
  }
}

async function checked(token, view, tell) {
  try {
    const { status, stages } = await (await get("health", token)).json();
    tell(stages);
    return status;
  } catch (error) {
    console.warn("no /health:", error.message);
    for (const name of ["asr", "llm", "tts"]) view.stage(name, { state: "down", note: t("notice.no_server") });
    return "unreachable";
  }
}
