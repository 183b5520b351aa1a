"""A language model on an Ollama server, by its own chat protocol (newline-delimited JSON)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from whisperfusion.engines.protocols import ChatHistory, Thought, ToolCall, Truncated
from whisperfusion.engines.remote.chat import Calls, messages
from whisperfusion.engines.remote.http_stream import HttpStreams, message_in
from whisperfusion.errors import EngineError
from whisperfusion.tools import NO_TOOLS, Tools

DEFAULT_URL = "http://localhost:11434"
LOAD_S = 300.0  # a large model from a slow disk


class Ollama:
    """`url` of the server, with or without "http://"; `model` as `ollama list` shows it, None =
    the server's newest.

    The model is loaded when this is built, and kept for `keep_alive` after each use.
    """

    accepts_tools = True

    def __init__(
        self,
        *,
        model: str | None = None,
        url: str | None = None,
        key: str | None = None,
        parallel: int = 4,
        keep_alive: str = "30m",
    ) -> None:
        url = (url or DEFAULT_URL).removesuffix("/v1").removesuffix("/api")
        url = url if "://" in url else f"http://{url}"
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = HttpStreams(
            url, headers, "Ollama", "Start it with `ollama serve`, and check LLM_URL and LLM_MODEL."
        )
        self._keep_alive, self.parallel, self.device = keep_alive, parallel, url
        self.model = self._chosen(model)
        status, body = self._http.post(
            "/api/chat", {"model": self.model, "messages": [], "keep_alive": keep_alive}, LOAD_S
        )
        if status >= 400:
            raise self._http.refused(status, body)

    def stream_chat(
        self,
        history: ChatHistory,
        *,
        max_tokens: int,
        temperature: float,
        tools: Tools = NO_TOOLS,
    ) -> Iterator[str | ToolCall]:
        body = self._body(history, tools, max_tokens, temperature)
        yield from self._http.pieces(lambda: self._read(body))

    def prefill(self, history: ChatHistory, tools: Tools = NO_TOOLS) -> Iterator[str]:
        body = self._body(history, tools, 1, 0.0) | {"stream": False}
        status, answer = self._http.post("/api/chat", body)
        if status >= 400:
            raise self._http.refused(status, answer)
        yield from ()

    async def _read(self, body: dict[str, Any]) -> AsyncIterator[str | ToolCall]:
        calls, count = Calls(), 0
        async for chunk in self._http.lines("/api/chat", body):
            if "error" in chunk:
                raise EngineError(f"Ollama broke off: {message_in(chunk)}")
            message = chunk.get("message") or {}
            if message.get("content"):
                yield message["content"]
            elif message.get("thinking"):
                yield Thought()
            # each comes whole; their own indices begin anew in each chunk
            for call in message.get("tool_calls") or []:
                calls.feed([{**call, "index": count}])
                count += 1
            if chunk.get("done"):
                for whole in calls.whole():
                    yield whole
                if chunk.get("done_reason") == "length":
                    yield Truncated()
                return
        raise EngineError("Ollama broke off in the middle of its answer; its own log tells why")

    def _body(
        self, history: ChatHistory, tools: Tools, max_tokens: int, temperature: float
    ) -> dict[str, Any]:
        # it has no tool_choice: the model decides
        offered = {"tools": tools.for_chat_completions()["tools"]} if tools else {}
        return {
            "model": self.model,
            "messages": [adapted(message) for message in messages(history)],
            "stream": True,
            "options": {"num_predict": max_tokens, "temperature": temperature},
            "keep_alive": self._keep_alive,
            "think": False,  # a voice cannot wait for thoughts
            **offered,
        }

    def _chosen(self, model: str | None) -> str:
        status, body = self._http.get("/api/tags")
        if status >= 400 or not isinstance(body, dict):
            raise self._http.refused(status, body)
        there = [str(entry.get("name")) for entry in body.get("models") or []]
        if not there:
            raise EngineError("Ollama has no models yet; fetch one with `ollama pull qwen2.5:3b`")
        if not model:
            return there[0]
        for name in (model, f"{model}:latest"):
            if name in there:
                return name
        raise EngineError(
            f"Ollama has no model {model!r}; it has {', '.join(there)}. `ollama pull {model}` "
            "fetches it"
        )


def adapted(message: dict[str, Any]) -> dict[str, Any]:
    """Ollama wants the arguments of a call as an object, and knows no type of one."""
    calls = message.get("tool_calls")
    if not calls:
        return message
    functions = [
        {"name": call["function"]["name"], "arguments": json.loads(call["function"]["arguments"])}
        for call in calls
    ]
    return {**message, "tool_calls": [{"function": function} for function in functions]}
