"""A language model on an Ollama server, by its own chat protocol (newline-delimited JSON)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from fusion.engines import EngineError, ToolCall
from fusion.engines.chat import Calls, Lines, messages
from fusion.engines.http_stream import HttpStreams, message_in

DEFAULT_URL = "http://localhost:11434"
LOAD_S = 300.0  # a large model from a slow disk


class Ollama:
    """`url` of the server, with or without "http://"; `model` as `ollama list` shows it, "" = the server's newest.

    The model is loaded when this is built, and kept for `keep_alive` after each use.
    """

    tools = True

    def __init__(self, *, model: str = "", url: str = "", key: str = "", parallel: int = 4, keep_alive: str = "30m") -> None:
        url = (url or DEFAULT_URL).removesuffix("/v1").removesuffix("/api")
        url = url if "://" in url else f"http://{url}"
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = HttpStreams(url, headers, "Ollama", "Start it with `ollama serve`, and check LLM_URL and LLM_MODEL.")
        self._keep_alive, self.parallel, self.device = keep_alive, parallel, url
        self.model = self._chosen(model)
        status, body = self._http.post("/api/chat", {"model": self.model, "messages": [], "keep_alive": keep_alive}, LOAD_S)
        if status >= 400:
            raise self._http.refused(status, body)

    def reply(self, lines: Lines, *, max_tokens: int, temperature: float, tools: str = "") -> Iterator[str | ToolCall]:
        body = self._body(lines, max_tokens, temperature)
        if tools:  # it knows no tool_choice: the model decides
            body["tools"] = json.loads(tools)["tools"]
        yield from self._http.pieces(lambda: self._read(body))

    def prepare(self, lines: Lines, tools: str = "") -> None:
        given = {"tools": json.loads(tools)["tools"]} if tools else {}
        status, body = self._http.post("/api/chat", self._body(lines, 1, 0.0) | {"stream": False} | given)
        if status >= 400:
            raise self._http.refused(status, body)

    async def _read(self, body: dict[str, Any]) -> AsyncIterator[str | ToolCall]:
        calls, count = Calls(), 0
        async for chunk in self._http.lines("/api/chat", body):
            if "error" in chunk:
                raise EngineError(f"Ollama broke off: {message_in(chunk)}")
            message = chunk.get("message") or {}
            if message.get("content"):
                yield message["content"]
            for call in message.get("tool_calls") or []:  # each comes whole; their own indices begin anew in each chunk
                calls.feed([{**call, "index": count}])
                count += 1
            if chunk.get("done"):
                for whole in calls.whole():
                    yield whole
                return
        raise EngineError("Ollama broke off in the middle of its answer; its own log tells why")

    def _body(self, lines: Lines, max_tokens: int, temperature: float) -> dict[str, Any]:
        return {
            "model": self.model, "messages": [adapted(message) for message in messages(lines)], "stream": True,
            "options": {"num_predict": max_tokens, "temperature": temperature}, "keep_alive": self._keep_alive,
            "think": False,  # a voice cannot wait for thoughts
        }

    def _chosen(self, model: str) -> str:
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
        raise EngineError(f"Ollama has no model {model!r}; it has {', '.join(there)}. `ollama pull {model}` fetches it")


def adapted(message: dict[str, Any]) -> dict[str, Any]:
    """Ollama wants the arguments of a call as an object, and knows no type of one."""
    calls = message.get("tool_calls")
    if not calls:
        return message
    functions = [{"name": call["function"]["name"], "arguments": json.loads(call["function"]["arguments"])} for call in calls]
    return {**message, "tool_calls": [{"function": function} for function in functions]}
