// /events, server-sent events, read with fetch: unlike EventSource it can send the secret in a header instead of the address.

import { get } from "./server.js";

const RETRY_MS = 3000;

/** Each event of a stream as { name, data }. */
async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop() ?? "";
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s, 2)));
      if (fields.data) yield { name: fields.event, data: JSON.parse(fields.data) };
    }
  }
}

/**
 * Passes every event to `receive(name, data)` and the state of the stream to `state(name)`: "live", "lost" (it is asked for again) or
 * "alone" (this server has none). `token()` is the secret of the moment.
 */
export async function follow(token, receive, state) {
  for (;;) {
    try {
      const answer = await get("events", token());
      if (answer.status === 204) return state("alone");
      if (answer.ok) {
        state("live");
        for await (const { name, data } of eventsOf(answer.body)) receive(name, data);
      }
    } catch (error) {
      console.warn("no /events:", error);
    }
    state("lost");
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}
