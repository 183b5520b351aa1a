// The routes of /openapi.json as a page. Text only ever enters as text.

import { $ } from "./elements.js";
import { get, remembered } from "./server.js";

const part = (name, text, ...children) => {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
};

const kind = (schema) => {
  if (!schema) return "";
  const type = schema.enum ? schema.enum.join(", ") : [schema.type, schema.format].flat().filter(Boolean).join(" ");
  const limits = ["minimum", "maximum", "maxLength"].filter((name) => name in schema).map((name) => `${name} ${schema[name]}`);
  return [type, ...limits, "default" in schema ? `default ${schema.default}` : ""].filter(Boolean).join("; ");
};

const table = (rows) => {
  const body = rows.map(([name, what, text]) => part("tr", "", part("td", "", part("code", name)), part("td", what), part("td", text)));
  return rows.length ? part("table", "", ...body) : "";
};

const route = (path, method, described) => {
  const rows = (described.parameters || []).map((one) => [`?${one.name}`, kind(one.schema), one.description || ""]);
  for (const [type, content] of Object.entries(described.requestBody?.content || {})) {
    const needed = new Set(content.schema?.required || []);
    rows.push([type, "body", ""]);
    for (const [name, schema] of Object.entries(content.schema?.properties || {})) {
      rows.push([name, kind(schema), [needed.has(name) ? "required" : "", schema.description || ""].filter(Boolean).join("; ")]);
    }
  }
  const answers = Object.entries(described.responses || {}).map(([status, one]) => [status, Object.keys(one.content || {}).join(", "), one.description]);
  const title = part("summary", "", part("strong", method.toUpperCase()), ` ${path} `, part("span", described.description || ""));
  return part("details", "", title, table(rows), table(answers));
};

const show = (schema) => {
  const groups = new Map();
  for (const [path, methods] of Object.entries(schema.paths)) {
    for (const [method, described] of Object.entries(methods)) {
      const tag = described.tags?.[0] || "Others";
      groups.set(tag, [...(groups.get(tag) || []), route(path, method, described)]);
    }
  }
  const routes = $("routes");
  for (const [tag, all] of groups) routes.append(part("h2", tag), ...all);
};

const answer = await get("openapi.json", new URLSearchParams(location.search).get("token") ?? remembered());
if (answer.ok) {
  show(await answer.json());
} else {
  const problem = $("problem");
  problem.hidden = false;
  problem.textContent = answer.status === 401 ? "This server requires an access key: open this page with ?token=KEY, or pair this device." : `The list of routes could not be read (status ${answer.status}).`;
}
