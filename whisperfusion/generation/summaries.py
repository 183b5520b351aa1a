"""Summaries of long calls, and facts from calls that are over: work that is done when nothing else
is, and gives way to all else.

A summary begins when no prompt has come for a while, ends at the next piece when one comes, and is
begun again later. Only the newest of a call is wanted. Its prompt starts with the lines that the
call's own prompts start with, so an engine with a cache of prompts has read most of it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing

from whisperfusion.generation import facts
from whisperfusion.generation.answer import Answer, ThoughtHabit
from whisperfusion.generation.language_model import LanguageModel
from whisperfusion.messages import (
    ChatMessage,
    ExtractFacts,
    FactsExtracted,
    Generate,
    Sentence,
    Summarize,
    Summarized,
    Ticket,
    ToolCalled,
)

# from the last prompt on: who speaks is prefilled for with each interim transcript
QUIET_S = 1.5
MOST_TOKENS = 200
ASK = (
    "Sum up our conversation so far, for yourself, in at most 120 words: who I am, names, numbers "
    "and facts, what I like, what was decided or promised, what is still open. Write only the "
    "summary, in the language that we speak, and do not address me."
)

Job = Summarize | ExtractFacts
log = logging.getLogger("llm")


class Summaries:
    """Thread-safe. `put(ticket, job)` queues a job for the engine; `post` gets each summary."""

    def __init__(
        self,
        model: LanguageModel,
        put: Callable[[Ticket, Job], object],
        post: Callable[[Summarized | FactsExtracted], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model, self._put, self._post, self._clock = model, put, post, clock
        self._lock = threading.Lock()
        self._wanted: dict[str, Job] = {}  # by call
        # calls whose job is queued or runs -> how many prompts had come when it was queued
        self._queued: dict[str, int] = {}
        self._prompts, self._prompt_at = 0, float("-inf")

    def prompt_came(self) -> None:
        """There is something else to do."""
        with self._lock:
            self._prompts, self._prompt_at = self._prompts + 1, self._clock()

    def want(self, job: Job) -> None:
        with self._lock:
            self._wanted[job.ticket.call] = job

    def forget(self, call: str | None = None) -> None:
        """The call is over; None: all are."""
        with self._lock:
            for name in [call] if call is not None else list(self._wanted):
                self._wanted.pop(name, None)
                self._queued.pop(name, None)  # the queue drops it as well

    def start(self, busy: bool) -> None:
        """To be called about once a second: queue one, if nothing else is to be done."""
        with self._lock:
            quiet = self._clock() - self._prompt_at >= QUIET_S
            free = [job for call, job in self._wanted.items() if call not in self._queued]
            if busy or not quiet or self._queued or not free:
                return
            job = free[0]
            self._queued[job.ticket.call] = self._prompts
        self._put(beside(job.ticket), job)

    def work(self, job: Job, habit: ThoughtHabit, stale: Callable[[], bool]) -> None:
        """In an engine thread. Raises what the engine raises."""
        call = job.ticket.call
        before = self._queued.get(call)
        try:
            text = self._text(job, habit, lambda: stale() or self._prompts != before)
        except Exception:
            self._over(job)  # it is asked for again after the next turn
            raise
        finally:
            with self._lock:
                self._queued.pop(call, None)
        if text is not None and self._over(job):
            if isinstance(job, Summarize):
                self._post(Summarized(job.ticket, job.count, text))
            else:
                self._post(FactsExtracted(job.ticket, facts.facts_in(text)))

    def _over(self, job: Job) -> bool:
        """It is not wanted any more; False: that was so before."""
        with self._lock:
            wanted = self._wanted.get(job.ticket.call) is job
            if wanted:
                del self._wanted[job.ticket.call]
            return wanted

    def _text(self, job: Job, habit: ThoughtHabit, give_way: Callable[[], bool]) -> str | None:
        """None: something else came."""
        pieces: list[str] = []
        if isinstance(job, Summarize):
            history, joint = (*job.history, ChatMessage("user", ASK)), " "
        else:
            history, joint = facts.prompt_for(job), "\n"

        def note(message: Sentence | ToolCalled) -> None:
            if isinstance(message, Sentence):
                pieces[:] = [*([] if message.afresh else pieces), message.text]

        answer = Answer(job.ticket, False, habit, note)
        asked = Generate(job.ticket, history, max_tokens=MOST_TOKENS, chain=job.chain)
        with closing(self._model.stream_chat(asked)) as stream:
            for piece in stream:
                if give_way():
                    return None
                answer.feed(piece)
        answer.end()
        return joint.join(filter(None, pieces))


def beside(ticket: Ticket) -> Ticket:
    """For the queue of jobs, where those of one call wait for each other and the newest makes the
    others stale: a summary does neither.
    """
    return Ticket(f"summary of {ticket.call}", ticket.turn, ticket.revision)
