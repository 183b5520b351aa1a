"""Answers to questions that were asked before, word for word: the smart cache of ANSWER_CACHE.

Only a first question is answered from it, to the server's own instructions or an agent's, and only
with an answer for which no tool was used: then it depends on nothing else. A question for the time
never is. The prompt's instructions carry the date, so an answer is good for a day at most. What a
person asked and heard stays in memory, for others who ask the same, until `most` newer ones
displaced it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from whisperfusion.messages import Generate, Sentence, Ticket, ToolCalled
from whisperfusion.settings import Settings
from whisperfusion.settings.tools import AUTO, BUILTIN
from whisperfusion.text.clock_questions import asks_for_clock
from whisperfusion.text.segmentation import words

# its words, the instructions, the model or chain, the longest answer
Key = tuple[tuple[str, ...], str, str, int | None]
Metrics = tuple[tuple[str, float], ...]


def known_instructions(settings: Settings) -> Callable[[], Iterable[str]]:
    """Those of the server and of its agents, read anew where a file has changed."""
    from whisperfusion.agents import Agents

    if not settings.answer_cache:
        return tuple
    agents = Agents(settings.agents)

    def known() -> Iterable[str]:
        return (settings.instructions, *(one.instructions for one in agents.all().values()))

    return known


class AnswerCache:
    """Thread-safe. `most` answers are kept; 0 = none. `known` are the instructions that are no
    call's own.
    """

    def __init__(self, most: int, known: Callable[[], Iterable[str]]) -> None:
        self._most, self._known = most, known
        self._kept: OrderedDict[Key, tuple[Sentence, ...]] = OrderedDict()
        self._lock = threading.Lock()
        self._hits = self._misses = 0

    def key(self, job: Generate, model: str) -> Key | None:
        """None: this answer is not kept."""
        others = set(job.server_tools) - {AUTO, *BUILTIN}  # they may know more every time
        own_ways = job.brief or job.tools or others or job.timers
        if not self._most or own_ways or [line.role for line in job.history] != ["system", "user"]:
            return None
        instructions, question = (line.text for line in job.history)
        if asks_for_clock(question) or not any(
            instructions.startswith(one.rstrip()) for one in self._known() if one.strip()
        ):
            return None
        said = words(question)
        return (said, instructions, job.chain or model, job.max_tokens) if said else None

    def get(self, key: Key, ticket: Ticket) -> tuple[Sentence, ...]:
        """The sentences of the answer, for `ticket`; empty where it is not here."""
        with self._lock:
            found = self._kept.get(key, ())
            if found:
                self._kept.move_to_end(key)
            self._hits += bool(found)
            self._misses += not found
        return tuple(replace(one, ticket=ticket, first_token_s=0.0) for one in found)

    def put(self, key: Key, told: Sequence[Sentence | ToolCalled]) -> None:
        """What was told of an answer, if it is whole and nothing but text."""
        sentences = tuple(one for one in told if isinstance(one, Sentence))
        whole = bool(sentences) and sentences[-1].last and not sentences[-1].cut
        if not whole or any(one.afresh for one in sentences) or len(sentences) != len(told):
            return
        with self._lock:
            self._kept[key] = sentences
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def metrics(self) -> Metrics:
        if not self._most:
            return ()
        with self._lock:
            return (
                ("answer_cache_hits_total", float(self._hits)),
                ("answer_cache_misses_total", float(self._misses)),
            )
