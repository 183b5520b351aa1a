// A conversation survives a reload of its tab: the id of the server's session is in the tab's own storage, for as long as the
// server lets a client go on with it, and what was said comes from the server.

import { get } from "./server.js";

const KEY = "whisperfusion-session"; // of this tab, gone when it closes

/** @typedef {import("./whisperfusion.js").Conversation} Conversation */

/** @param {string} id "" = none */
export function keep(id) {
  try {
    if (id) sessionStorage.setItem(KEY, JSON.stringify({ id, at: Date.now() }));
    else sessionStorage.removeItem(KEY);
  } catch (error) {
    console.warn("the conversation will not survive a reload:", error); // storage is off
  }
}

/** @param {number} seconds for which the server lets a client come back */
function kept(seconds) {
  try {
    const { id, at } = JSON.parse(sessionStorage.getItem(KEY) ?? "{}");
    return typeof id === "string" && Date.now() - at <= seconds * 1000 ? id : "";
  } catch {
    return "";
  }
}

/**
 * Gives the conversation the session of this tab, keeps the one that it has from now on, and shows what was said before.
 * @param {Conversation} conversation @param {{ token: string, config: any }} server
 */
export async function goOn(conversation, { token, config }) {
  const id = conversation.session || kept(config.resume_s);
  conversation.on("session", keep);
  conversation.on("state", () => conversation.session && keep(conversation.session)); // it is alive
  addEventListener("pagehide", () => conversation.state !== "idle" && conversation.session && keep(conversation.session));
  if (!id || conversation.state !== "idle") return;
  conversation.update({ session: id });
  const answer = await get(`${config.api_prefix.slice(1)}/sessions/${encodeURIComponent(id)}`, token).catch(() => null);
  if (conversation.session !== id) return; // begun anew meanwhile
  if (answer?.ok) conversation.recall((await answer.json()).history);
  else if (answer?.status === 404 && conversation.state === "idle") conversation.forget();
}
