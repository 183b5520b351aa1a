"""A language model on any server with OpenAI's chat completions: vLLM, llama-server,
trtllm-serve, LM Studio, a cloud.

Models that think are asked not to, in the words of each server (`request_options`); thoughts that
come anyway, in a field of their own, only show that the model is alive.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

from whisperfusion.engines.protocols import Calling, ChatHistory, Thought, ToolCall, Truncated
from whisperfusion.engines.remote.chat import Calls, messages
from whisperfusion.engines.remote.dialects import adapted, status_in
from whisperfusion.engines.remote.http_stream import BrokeOff, Refused, message_in, openai_server
from whisperfusion.engines.remote.request_options import first_options, is_nearby
from whisperfusion.errors import EngineError
from whisperfusion.tools import NO_TOOLS, Tools

log = logging.getLogger(__name__)


class OpenAI:
    """`url` as clients call it (ending in /v1, which is added to a bare host); `model` None =
    the only one that is there.

    `thinking`: the model is asked to think before it answers, and its thoughts are not said;
    `reasoning_effort` is sent as it is. `dialect` is the host whose ways the server has, None =
    that of `url`. Not `listed`: the server is not asked which models it has.
    """

    accepts_tools = True

    def __init__(
        self,
        *,
        model: str | None = None,
        url: str | None = None,
        key: str | None = None,
        parallel: int = 8,
        thinking: bool = False,
        reasoning_effort: str | None = None,
        dialect: str | None = None,
        listed: bool = True,
    ) -> None:
        self._http = openai_server(url, key, "language model", "LLM")
        self.parallel, self.device = parallel, self._http.url
        self.model = self._chosen(model) if listed or not model else model
        self._dialect = f"//{dialect}" if dialect else self.device
        self._options = first_options(self._dialect, thinking, reasoning_effort)
        self._nearby = is_nearby(self.device)

    def stream_chat(
        self,
        history: ChatHistory,
        *,
        max_tokens: int,
        temperature: float,
        tools: Tools = NO_TOOLS,
    ) -> Iterator[str | ToolCall]:
        sent = self._options
        options = sent.fields(max_tokens, temperature)
        try:
            yield from self._http.pieces(lambda: self._read(history, options, tools))
        except Refused as refusal:
            if self._options is sent:  # no other reply has learned it meanwhile
                left = sent.without(refusal.status, named_in(refusal.body))
                if left is None:
                    raise
                log.info("asking again without what the server refuses: %s", refusal)
                self._options = left
            yield from self.stream_chat(
                history, max_tokens=max_tokens, temperature=temperature, tools=tools
            )

    def prefill(self, history: ChatHistory, tools: Tools = NO_TOOLS) -> Iterator[str]:
        """One token is asked for, so that the server has the prompt in its cache; nothing where
        such a request may cost money.
        """
        if not self._nearby:
            return
        options = {**self._options.fields(1, 0.0), self._options.limit: 1}
        for _ in self._http.pieces(lambda: self._read(history, options, tools)):
            yield ""

    async def _read(
        self, history: ChatHistory, options: dict[str, Any], tools: Tools
    ) -> AsyncIterator[str | ToolCall]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": adapted(messages(history), self._dialect, self.model),
            "stream": True,
            **(tools.for_chat_completions() if tools else {}),
            **options,
        }
        calls, ended = Calls(), ""
        async for chunk in self._http.events("/chat/completions", body):
            if chunk.get("error"):
                raise BrokeOff(
                    f"the language model server broke off: {message_in(chunk)}", status_in(chunk)
                )
            for choice in chunk.get("choices") or []:
                delta = choice.get("delta") or {}
                for piece in pieces_in(delta):
                    yield piece
                if delta.get("tool_calls"):
                    calls.feed(delta["tool_calls"])
                    yield Calling()
                ended = choice.get("finish_reason") or ended
        if not ended:
            raise BrokeOff(
                "the language model server broke off in the middle of its answer; its own log "
                "tells why"
            )
        for call in calls.whole():
            yield call
        if ended == "length":
            yield Truncated()

    def _chosen(self, model: str | None) -> str:
        status, body = self._http.get("/models")
        there = (
            [str(entry.get("id")) for entry in body.get("data") or []]
            if isinstance(body, dict) and status < 400
            else []
        )
        if status >= 400 and status != 404:
            raise self._http.refused(status, body)
        if not model and len(there) == 1:
            return there[0]
        shown = (
            f"it has {', '.join(there[:20])}{' and more' * (len(there) > 20)}"
            if there
            else "it does not tell which it has"
        )
        if not model:
            raise EngineError(
                f"LLM_MODEL names no model of the language model server; {shown}. Set it to one of "
                "its names"
            )
        if there and model not in there:  # many accept more than they list
            log.warning(
                "the language model server does not list %s and is asked for it; %s", model, shown
            )
        return model


def named_in(refused: Any) -> str:
    """The reason of a refusal, and the field that it is about where the server says so apart."""
    error = refused.get("error") if isinstance(refused, dict) else None
    return f"{message_in(refused)} {error.get('param', '') if isinstance(error, dict) else ''}"


def pieces_in(delta: dict[str, Any]) -> Iterator[str]:
    """The text of a delta; an empty `Thought` where it has only thoughts.

    `content` is text, or a list of parts with a type (Mistral), of which only "text" is the answer.
    """
    content = delta.get("content") or delta.get("refusal")
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict)]
        content = "".join(part.get("text") or "" for part in parts if part.get("type") == "text")
        thinks = bool(parts)
    else:
        thinks = any(delta.get(name) for name in ("reasoning_content", "reasoning"))
    if content:
        yield content
    elif thinks:
        yield Thought()
