// The MCP servers of this server: which there are, whether they are reached, and how the operator adds, switches and deletes them.
// Text only ever enters as text.

import { $, element } from "./elements.js";
import { get, remembered } from "./server.js";

const PERIOD_MS = 3000;
const form = $("add", HTMLFormElement);
const list = $("servers");
const token = remembered();
let drawn = "";

/** @param {string} text @param {boolean} failed */
function tell(text, failed = false) {
  $("notice").textContent = text;
  if (failed) $("notice").dataset.failed = "";
  else delete $("notice").dataset.failed;
}

/** @param {string} method @param {string} label @param {object} [body] */
async function change(method, label, body) {
  const headers = { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) };
  const url = new URL(`mcp-servers/${encodeURIComponent(label)}`, document.baseURI);
  const answer = await fetch(url, { method, headers, body: body && JSON.stringify(body) }).catch(() => null);
  const problem = answer?.ok ? "" : ((await answer?.json().catch(() => null))?.error?.message ?? "The server does not answer.");
  tell(problem || "Saved.", problem !== "");
  await look();
  return problem === "";
}

/** @param {any} server */
function state(server) {
  if (!server.on) return "off";
  return server.up ? `connected, ${server.found} ${server.found === 1 ? "tool" : "tools"}` : "not connected; the server's log has the reason";
}

/** @param {string} text @param {string} label @param {() => void} act */
function button(text, label, act) {
  const node = element("button", "", text);
  node.type = "button";
  node.setAttribute("aria-label", `${text} ${label}`);
  node.addEventListener("click", act);
  return node;
}

/** @param {any} server */
function row(server) {
  const { label, on } = server;
  const node = element("li", "", element("b", "", label));
  node.dataset.on = String(on);
  node.append(button(on ? "Switch off" : "Switch on", label, () => change("PATCH", label, { on: !on })));
  if (server.from === "page") node.append(button("Delete", label, () => change("DELETE", label)));
  const place = server.url || server.command.join(" ");
  node.append(element("p", "state", state(server)), element("p", "", `${place}${server.from === "file" ? " (in tools.toml)" : ""}`));
  return node;
}

async function look() {
  const answer = await get("mcp-servers", token).catch(() => null);
  const found = await answer?.json().catch(() => null);
  if (!answer?.ok || !found) return tell(found?.error?.message ?? "The server does not answer.", true);
  form.hidden = false;
  $("program").hidden = !found.programs;
  if (found.problem) tell(found.problem, true);
  const text = JSON.stringify(found.servers);
  if (text === drawn) return;
  drawn = text;
  const held = document.activeElement?.getAttribute("aria-label"); // the focus stays where it was
  list.replaceChildren(...found.servers.map(row), ...(found.servers.length ? [] : [element("li", "", "None yet.")]));
  if (held) /** @type {HTMLElement | null} */ (list.querySelector(`[aria-label="${CSS.escape(held)}"]`))?.focus();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  /** @param {string} name */
  const text = (name) => String(new FormData(form).get(name) ?? "").trim();
  const body = {
    ...(text("url") && { url: text("url") }),
    ...(text("command") && { command: text("command").split(/\s+/) }),
    ...(text("authorization") && { headers: { Authorization: text("authorization") } }),
    ...(text("permission") && { permission: text("permission") }),
    tools: text("tools").split(",").map((name) => name.trim()).filter(Boolean),
  };
  if (await change("PUT", text("label"), body)) form.reset();
});

async function watch() {
  if (!document.hidden) await look();
  setTimeout(watch, PERIOD_MS);
}
await look();
document.body.dataset.loaded = "true";
setTimeout(watch, PERIOD_MS);
