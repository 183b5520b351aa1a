"""A language model on any server with OpenAI's chat completions: vLLM, llama-server, trtllm-serve, LM Studio, a cloud."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

from fusion.engines import EngineError, ToolCall
from fusion.engines.chat import Calls, Lines, messages
from fusion.engines.http_stream import HttpStreams, Refused, message_in

DEFAULT_URL = "https://api.openai.com/v1"


class OpenAI:
    """`url` as clients call it (ending in /v1, which is added to a bare host); `model` "" = the only one that is there."""

    tools = True

    def __init__(self, *, model: str = "", url: str = "", key: str = "", parallel: int = 8) -> None:
        url = (url or DEFAULT_URL).rstrip("/")
        url = url if "://" in url else f"http://{url}"
        url = url if urlsplit(url).path else f"{url}/v1"
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = HttpStreams(url, headers, "the language model server", "Check LLM_URL, LLM_KEY and LLM_MODEL.")
        self.parallel, self.device = parallel, url
        self.model = self._chosen(model)
        self._limit = "max_tokens"  # newer models of OpenAI only know the other name
        self._temperature = True  # and some have a fixed one

    def reply(self, lines: Lines, *, max_tokens: int, temperature: float, tools: str = "") -> Iterator[str | ToolCall]:
        try:
            yield from self._http.pieces(lambda: self._read(lines, max_tokens, temperature, tools))
        except Refused as refusal:
            if not self._adapted(refusal):
                raise
            yield from self.reply(lines, max_tokens=max_tokens, temperature=temperature, tools=tools)

    def prepare(self, lines: Lines, tools: str = "") -> None:
        """Nothing: a server of others is paid by the token, and caches prompts by itself if it does."""

    async def _read(self, lines: Lines, max_tokens: int, temperature: float, tools: str) -> AsyncIterator[str | ToolCall]:
        body: dict[str, Any] = {"model": self.model, "messages": messages(lines), "stream": True, **(json.loads(tools) if tools else {})}
        calls = Calls()
        body[self._limit] = max_tokens
        if self._temperature:
            body["temperature"] = temperature
        finished = False
        async for chunk in self._http.events("/chat/completions", body):
            if chunk.get("error"):
                raise EngineError(f"the language model server broke off: {message_in(chunk)}")
            for choice in chunk.get("choices") or []:
                delta = choice.get("delta") or {}
                text = delta.get("content") or delta.get("refusal")
                if text:
                    yield text
                calls.feed(delta.get("tool_calls"))
                finished = finished or bool(choice.get("finish_reason"))
        if not finished:
            raise EngineError("the language model server broke off in the middle of its answer; its own log tells why")
        for call in calls.whole():
            yield call

    def _adapted(self, refusal: Refused) -> bool:
        """Whether the refusal was about an option that can be named otherwise or left out; then it is, from now on."""
        reason = message_in(refusal.body)
        if refusal.status != 400:
            return False
        if self._limit == "max_tokens" and "max_completion_tokens" in reason:
            self._limit = "max_completion_tokens"
        elif self._temperature and "temperature" in reason:
            self._temperature = False
        else:
            return False
        return True

    def _chosen(self, model: str) -> str:
        status, body = self._http.get("/models")
        there = [str(entry.get("id")) for entry in body.get("data") or []] if isinstance(body, dict) and status < 400 else []
        if status >= 400 and status != 404:
            raise self._http.refused(status, body)
        if not model and len(there) == 1:
            return there[0]
        if not model or (there and model not in there):
            shown = f"it has {', '.join(there[:20])}{' and more' * (len(there) > 20)}" if there else "it does not tell which it has"
            raise EngineError(f"the language model server has no model {model!r}; {shown}. Set LLM_MODEL to one of its names")
        return model
