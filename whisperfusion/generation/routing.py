"""Asks a small language model which tool to use, where rules cannot tell (tools/router/)."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Generator, Sequence
from contextlib import closing
from datetime import datetime

from whisperfusion.engines import LLM, ConstrainedLLM, Progress, ToolCall
from whisperfusion.engines.remote.chat import given_in
from whisperfusion.errors import EngineError
from whisperfusion.messages import ChatMessage
from whisperfusion.tools import ServerTool
from whisperfusion.tools.router import Candidates, Chosen, decide, fitting_choice, several
from whisperfusion.tools.router.selection import grammar, question

RESULT = "[{}: {}]"  # of a tool, by name
MOST_TOKENS = 160  # of an answer: a name and its arguments

log = logging.getLogger("tools")


def is_routed(engine: LLM | None) -> bool:
    """Whether tools are chosen for this engine's model, and its prompt has none."""
    return isinstance(engine, ConstrainedLLM) and engine.small


def route(
    history: Sequence[ChatMessage],
    tools: Sequence[ServerTool],
    engine: LLM | None,
    now: datetime,
    language: str = "",
) -> Generator[str, None, list[tuple[str, ToolCall]]]:
    """The calls that the newest words of the user ask for, in `language`, each with the words that
    do. Empty pieces while a model is asked.
    """
    if not history or history[-1].role != "user":
        return []
    text = history[-1].text
    if each := several(text, tools, now, language):
        return [(words, _call(one)) for words, one in each]
    found = decide(text, tools, now, _used_before(history), language)
    if isinstance(found, Candidates):
        found = yield from _asked(text, found, engine, now)
    return [] if found is None else [(text, _call(found))]


def _call(found: Chosen) -> ToolCall:
    return ToolCall("routed", found.name, json.dumps(found.arguments, ensure_ascii=False))


def _used_before(history: Sequence[ChatMessage]) -> Chosen | None:
    """The last tool of the reply before the newest words."""
    for role, written in reversed(history[:-1]):
        if role == "user":
            break
        if role == "call":
            given = given_in(written)
            return Chosen(given["name"], json.loads(given["arguments"]))
    return None


def in_words(history: Sequence[ChatMessage], kept: Collection[str]) -> tuple[ChatMessage, ...]:
    """`history` for a model whose prompt has no tools: results stand beside the user's words.

    As calls, small models take them for an example, and answer with another one. Those of the
    functions `kept`, which are the client's, stay.
    """
    made: list[ChatMessage] = []
    names: dict[str, str] = {}
    for message in history:
        given = given_in(message.text) if message.role in ("call", "result") else {}
        if message.role == "call" and given["name"] not in kept:
            names[given["id"]] = given["name"]
        elif message.role == "result" and given["id"] in names:
            result = RESULT.format(names[given["id"]], given["output"])
            asked = f"{made.pop().text}\n" if made and made[-1].role == "user" else ""
            made.append(ChatMessage("user", asked + result))
        else:
            made.append(message)
    return tuple(made)


def _asked(
    text: str, among: Candidates, engine: LLM | None, now: datetime
) -> Generator[str, None, Chosen | None]:
    if not isinstance(engine, ConstrainedLLM):
        return None
    answer = ""
    try:
        asked = engine.stream_json(
            question(text, among.tools), grammar(among.tools), max_tokens=MOST_TOKENS
        )
        with closing(asked) as pieces:
            for piece in pieces:
                answer += piece
                yield Progress()
    except EngineError as error:  # the reply itself will tell, if it fails as well
        log.info("no tool could be chosen: %s", error)
        return None
    return fitting_choice(answer, text, among, now)
