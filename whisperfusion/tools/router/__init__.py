"""Chooses a tool for a model that is too small to do it by itself.

Small models call tools at the wrong time, forget to, or make up arguments, and a prompt that
describes tools costs them time in every turn. So their prompt has none. Instead a transcript goes
through rules for the built-in tools (`rules`), which need no model; then through a gate of words
for all others (`gate`), and only what passes is put to the model, as a form to fill in
(`selection`). A turn that needs no tool costs a fraction of a millisecond.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from whisperfusion.tools import ServerTool
from whisperfusion.tools.router.gate import candidates
from whisperfusion.tools.router.heard import Arguments, Heard
from whisperfusion.tools.router.rules import FRESH_SEARCH, RULES, SUM
from whisperfusion.tools.router.selection import chosen
from whisperfusion.tools.router.sums import story, told
from whisperfusion.tools.router.time_of_day import time_elsewhere
from whisperfusion.tools.router.timers import timer_length

__all__ = ["Candidates", "Chosen", "decide", "fitting_choice", "several"]


LONGEST = 400  # characters: a story is not a request
APART = re.compile(r"[.?!;,]? and (?:then |also )?|[.?!;] ", re.IGNORECASE)
MOST = 3  # requests of one turn
# a search may be for what stands behind "and", and who is not done does not hang up
ALONE = frozenset({FRESH_SEARCH, "end_call"})


@dataclass(frozen=True)
class Chosen:
    name: str
    arguments: Arguments


@dataclass(frozen=True)
class Candidates:
    """Tools that a model has to choose among, or none of them."""

    tools: tuple[ServerTool, ...]


def _following(heard: Heard, before: Chosen) -> Chosen | None:
    match before.name:
        case "get_time":
            arguments = time_elsewhere(heard)
        case "set_timer":
            arguments = timer_length(heard, before.arguments)
        case _:
            return None
    return Chosen(before.name, arguments) if arguments else None


def fitting_choice(answer: str, text: str, among: Candidates, now: datetime) -> Chosen | None:
    """What a model chose in `answer`, JSON of `selection.grammar`; None also for a sum of other
    numbers than the user's.
    """
    found = chosen(answer, among.tools)
    if found is None:
        return None
    name, arguments = found
    if name == SUM and not told(str(arguments.get("expression")), _heard(text, now)):
        return None
    return Chosen(name, arguments)


def _heard(text: str, now: datetime) -> Heard:
    return Heard(" ".join(text.split()), now)


def several(
    text: str, tools: Sequence[ServerTool], now: datetime, language: str = ""
) -> tuple[tuple[str, Chosen], ...]:
    """The requests for built-in tools that the user's words are made of, each with its own words;
    () unless there are two or three, apart by "and" or the end of a sentence, and nothing else.
    """
    parts = [part for one in APART.split(" ".join(text.split())) if (part := one.strip())]
    if len(text) > LONGEST or not 2 <= len(parts) <= MOST:
        return ()
    found: list[tuple[str, Chosen]] = []
    for part in parts:
        one = decide(part, [tool for tool in tools if tool.name in RULES], now, language=language)
        if not isinstance(one, Chosen) or one.name in ALONE or one in (past for _, past in found):
            return ()
        if one.name == "set_timer" and not {"hours", "minutes", "seconds"} & set(one.arguments):
            return ()  # the answer to it asks how long
        found.append((part, one))
    return tuple(found)


def decide(
    text: str,
    tools: Sequence[ServerTool],
    now: datetime,
    before: Chosen | None = None,
    language: str = "",
) -> Chosen | Candidates | None:
    """The tool that the user's words ask for. `now` is the user's time of day, `before` the tool
    that the reply before used, since an answer to it may follow. `language` of the words: "" = not
    known, which is taken for English. The rules, and what is said of a result, are English, so
    words in another language find other tools only.
    """
    if len(text) > LONGEST:
        return None
    if language not in ("", "en"):
        passed = candidates(text, [tool for tool in tools if tool.name not in RULES])
        return Candidates(passed) if passed else None
    heard = _heard(text, now)
    offered = {tool.name: tool for tool in tools}
    others = [tool for tool in tools if tool.name not in RULES]
    found = next(
        (
            Chosen(name, arguments)
            for name, rule in RULES.items()
            if name in offered and (arguments := rule(heard)) is not None
        ),
        None,
    )
    if found is None and before is not None and before.name in offered:
        found = _following(heard, before)
    if found is not None and not (found.name == FRESH_SEARCH and others):
        return found
    passed = candidates(text, others)
    if not passed and found is None and SUM in offered and story(heard):
        passed = (offered[SUM],)
    return Candidates(passed) if passed else found
