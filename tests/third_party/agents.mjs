// OpenAI's Agents SDK against a running server: node agents.mjs URL question.pcm [interruption.pcm]
// (s16 mono at 24 kHz). Says on standard output, one JSON object a line, what the SDK made of the session.

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession, tool } from "@openai/agents-realtime";

const [url, question, interruption] = process.argv.slice(2);
const say = (kind, fields = {}) => console.log(JSON.stringify({ kind, ...fields }));

const lookUp = tool({
  name: "look_up",
  description: "Looks something up.",
  parameters: { type: "object", properties: { text: { type: "string" } }, required: ["text"], additionalProperties: false },
  strict: false,
  execute: async (given) => {
    say("tool", { given });
    return "forty two";
  },
});

const agent = new RealtimeAgent({ name: "tester", instructions: "Answer in one sentence.", tools: process.env.TOOLS ? [lookUp] : [] });
const transport = new OpenAIRealtimeWebSocket({ url });
const session = new RealtimeSession(agent, { transport, model: "gpt-realtime" });

let bytes = 0;
session.on("audio", (event) => { bytes += event.data.byteLength; });
session.on("audio_interrupted", () => say("interrupted"));
session.on("error", (problem) => say("error", { problem: String(problem?.error?.message || problem?.error || problem) }));
const done = [];
transport.on("*", (event) => {
  if (event.type === "response.done") {
    done.push(event.response.status);
    say("response", { status: event.response.status });
  }
  if (event.type === "conversation.item.truncated") say("truncated", { ms: event.audio_end_ms });
});

const speak = async (path) => {
  const sound = readFileSync(path);
  for (let start = 0; start < sound.length; start += 4800) {
    const part = sound.subarray(start, start + 4800);
    session.sendAudio(part.buffer.slice(part.byteOffset, part.byteOffset + part.byteLength));
    await sleep(100);
  }
};

const until = async (condition) => {
  const deadline = Date.now() + 60_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error("nothing came for 60 s");
    await sleep(20);
  }
};

await session.connect({ apiKey: "any", url });
await speak(question);
if (interruption) {
  await until(() => bytes > 24_000);
  await speak(interruption);
  await until(() => done.includes("cancelled"));
}
await until(() => done.filter((status) => status === "completed").length >= (process.env.TOOLS ? 2 : 1));
await sleep(200);
say("history", { items: session.history.map((item) => ({ type: item.type, role: item.role, status: item.status, content: item.content, output: item.output })) });
say("audio", { bytes });
session.close();
process.exit(0);
