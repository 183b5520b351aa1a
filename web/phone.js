// "Use on your phone": a new pairing key of the server, as QR codes for another device to scan.

import { $, drawn, find, findAll } from "./elements.js";
import { post } from "./server.js";
import { t } from "./texts.js";


/** Open the dialog with a fresh key. Closing it keeps the key valid: a phone may still be on its way. */
export async function showPhone(token) {
  $("phone-again").onclick = () => draw(token);
  await draw(token);
  $("phone", HTMLDialogElement).showModal();
}

async function draw(token) {
  const answer = await post("pairing", token).catch(() => null);
  $("phone-problem").textContent = answer?.ok ? "" : t("phone.problem");
  for (const node of findAll("#phone ol, #phone-valid, #phone-print")) node.hidden = !answer?.ok;
  if (!answer?.ok) return;
  const made = await answer.json();
  $("phone-install").hidden = $("phone-print").hidden = !made.install;
  step($("phone-install"), made.install, made.install_qr);
  step($("phone-open"), made.url, made.qr);
  $("phone-valid").textContent = t("phone.valid", { minutes: Math.round(made.seconds / 60), devices: made.devices });
  $("phone-print").textContent = t("phone.print", { print: made.fingerprint });
}

function step(item, url, rows) {
  const link = find("a", HTMLAnchorElement, item);
  link.href = url;
  link.textContent = url.replace(/#.*/, "");
  item.querySelector("svg")?.remove();
  if (rows.length) item.append(picture(rows));
}

/** Dark modules on white, in any theme: that is what cameras look for. */
function picture(rows) {
  const d = rows.flatMap((row, y) => [...row].map((one, x) => (one === "1" ? `M${x} ${y}h1v1h-1z` : ""))).join("");
  return drawn("svg", { viewBox: `0 0 ${rows.length} ${rows.length}`, role: "img", "aria-label": t("phone.code") }, drawn("path", { d }));
}
