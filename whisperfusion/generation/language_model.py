"""The chains of language models that answer: the server's own, and those that agents choose.

Links are shared: two chains that name the same model use one engine, one breaker, one count. What
callers hear of is the server's own chain: a link that fails is a notice once, and so is its return.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

from whisperfusion.engines import (
    LLM,
    Answering,
    ChatHistory,
    Interrupted,
    ToolCall,
    Truncated,
    WarmLLM,
)
from whisperfusion.engines.chain.links import EMBEDDED as EMBEDDED_LINK
from whisperfusion.engines.chain.links import named
from whisperfusion.engines.chain.llm import ChainLLM
from whisperfusion.engines.chain.llm_link import Link
from whisperfusion.errors import EngineError
from whisperfusion.generation import llm_links
from whisperfusion.generation.answer import Writer
from whisperfusion.generation.chat_spans import watched
from whisperfusion.generation.habits import Habits
from whisperfusion.generation.limits import BRIEF_PIECES
from whisperfusion.messages import Generate, Labelled, Notice
from whisperfusion.settings import Settings
from whisperfusion.tools import Tools

MOST_CHAINS = 64  # that agents name

log = logging.getLogger("llm")


class LanguageModel:
    """Thread-safe. `notify` gets a `Notice` when another link answers, and when that is over.

    Raises EngineError where no link of the server's chain can be loaded.
    """

    def __init__(self, settings: Settings, notify: Callable[[Notice], object]) -> None:
        self._settings, self._notify = settings, notify
        self.habits = Habits()
        self._links: dict[object, Link] = {}
        self._chains: dict[str, ChainLLM] = {}
        self._making = threading.Lock()
        self._asks = False  # links are asked a first question
        self.chain = self._of_settings()
        self._load_first()

    @property
    def active(self) -> LLM:
        """The engine that would answer now."""
        engine = self.chain.current.engine
        if engine is None:
            raise EngineError("no language model is loaded")
        return engine

    def current(self, chain: str) -> LLM | None:
        """The engine of `chain` that would answer now; None: it is still to be loaded."""
        return self.chain_of(chain).current.engine

    @property
    def engine_name(self) -> str:
        """Of the engine that would answer now, as LLM_ENGINE has it."""
        provider = self.chain.current.name.partition("/")[0]
        return llm_links.EMBEDDED if provider == EMBEDDED_LINK else provider

    def chain_of(self, text: str) -> ChainLLM:
        """The chain that LLM_CHAIN would make of `text`; the server's own for "", and for one that
        cannot be used.
        """
        if not text:
            return self.chain
        with self._making:
            if text not in self._chains:
                if len(self._chains) >= MOST_CHAINS:
                    self._chains.pop(next(iter(self._chains)))
                try:
                    self._chains[text] = ChainLLM(self._shared(text))
                except EngineError as error:
                    log.warning(
                        "the chain %r of an agent cannot be used, and the server's own answers "
                        "for it: %s",
                        text,
                        error,
                    )
                    self._chains[text] = self.chain
            return self._chains[text]

    def warm_up(self, history: ChatHistory) -> None:
        """Make ready what the first caller would have to wait for, in threads: the prompt cache of
        an engine here, which reads `history`, and of servers how they answer.
        """
        self._asks = True
        current = self.chain.current
        engine = current.engine
        if current.remote:
            self._soon(functools.partial(self._ask_first, current))
        elif isinstance(engine, WarmLLM):
            self._soon(functools.partial(engine.warm_up, history))
        for link in self.chain.links:
            if link.remote and link is not current:
                link.load_soon()

    def longest(self, job: Generate) -> int:
        """Tokens that the answer may have."""
        most = min(self._settings.llm_max_tokens, job.max_tokens or self._settings.llm_max_tokens)
        return min(most, 2 * BRIEF_PIECES) if job.brief and not job.tools else most

    def stream_chat(self, job: Generate) -> Generator[str | ToolCall, None, None]:
        """Pieces of the answer; a `Writer` before them tells whose they are."""
        chain, longest, began = self.chain_of(job.chain), self.longest(job), time.monotonic()
        limits: dict[str, Any] = {
            "max_tokens": longest,
            "temperature": self._settings.llm_temperature,
        }
        count, remote, interrupted = 0, True, False
        answers = chain.stream_chat(job.history, tools=job.tools, **limits)
        with closing(watched(job, longest, chain.current, answers)) as pieces:
            for piece in pieces:
                count += bool(piece)
                if isinstance(piece, Answering):
                    remote, several = piece.link.remote, len(chain.links) > 1
                    if several:
                        _log(job, piece, time.monotonic() - began, interrupted)
                    piece = self._writer(piece.link, several)
                interrupted = interrupted or isinstance(piece, Interrupted)
                yield piece
        # an engine of ours gives a token or a little more at a time
        if not remote and count >= longest:
            yield Truncated()

    def prefill(
        self, history: ChatHistory, tools: Tools, chain: str = ""
    ) -> Generator[str, None, None]:
        """Empty pieces while the engine reads; without any where it cannot be stopped."""
        yield from self.chain_of(chain).prefill(history, tools)

    def probe(self) -> None:
        """A job that a sound engine does.

        A server elsewhere is not mended by a new process here.
        """
        engines = [link.engine for link in self.chain.links if not link.remote]
        for engine in engines:
            if engine is not None:
                for _ in engine.stream_chat((("user", "Hello"),), max_tokens=1, temperature=0.0):
                    pass
                return

    def metrics(self) -> tuple[Labelled, ...]:
        """Counts of all links, where a chain has more than one."""
        with self._making:
            links = tuple(dict.fromkeys((*self.chain.links, *self._links.values())))
        if len(links) < 2:
            return ()
        values: list[Labelled] = []
        for link in links:
            own = (("link", link.name),)
            values.append(Labelled("llm_link_answers_total", own, link.answers))
            values.append(Labelled("llm_link_open", own, float(not link.breaker.closed)))
            values += [
                Labelled("llm_link_failures_total", (*own, ("reason", reason)), count)
                for reason, count in link.failures.copy().items()
            ]
        return tuple(values)

    def _writer(self, link: Link, several: bool) -> Writer:
        writer = Writer()
        writer.habit, writer.model = self.habits.of(link), link.title if several else ""
        return writer

    # --- links ------------------------------------------------------------------------------------

    def _of_settings(self) -> ChainLLM:
        settings = self._settings
        if not settings.llm_chain:
            own = llm_links.of_settings(settings, self._note, self._changed)
            for link in own:
                link.on_load = self._on_load
            return ChainLLM(own)
        for name in ("llm_engine", "llm_url"):
            if getattr(settings, name) != getattr(Settings, name):
                log.warning("LLM_CHAIN is set, so %s is not used", name.upper())
        return ChainLLM(self._shared(settings.llm_chain))

    def _shared(self, text: str) -> tuple[Link, ...]:
        parsed = llm_links.parse(text)
        for link in parsed:
            llm_links.key_of(link, self._settings)  # raises for a name that is not known
        for link, name in zip(parsed, named(parsed), strict=True):
            if link not in self._links:
                made = llm_links.made(link, name, self._settings, self._note, self._changed)
                made.on_load = self._on_load
                self._links[link] = made
        return tuple(self._links[link] for link in parsed)

    def _load_first(self) -> None:
        """The first link that can be loaded; the others follow when they are needed."""
        errors = []
        for link in self.chain.links:
            try:
                link.load()
                return
            except EngineError as error:
                errors.append(error)
                log.warning("%s is not usable (%s)", link.name, error)
        raise (
            errors[0]
            if len(errors) == 1
            else EngineError(f"no model of LLM_CHAIN is usable: {'; '.join(map(str, errors))}")
        )

    def _on_load(self, link: Link) -> None:
        if self._asks and link.remote:  # in a thread: a turn may wait for the link
            self._soon(functools.partial(self._ask_first, link))

    def _ask_first(self, link: Link) -> None:
        error = self.habits.get_to_know(link)
        if error is not None and self._stands_in(link) is not None:
            link.failed(error)

    def _stands_in(self, link: Link) -> Link | None:
        return self.chain.stand_in(link) if link in self.chain.links else None

    def _changed(self, link: Link, error: EngineError | None) -> None:
        """The circuit of `link` was opened by `error`, or is closed again."""
        if link not in self.chain.links or len(self.chain.links) < 2:
            return
        if error is None:
            self._note(f"{link.name} answers again")
            return
        other = self._stands_in(link)
        if other is None:
            log.warning("%s failed (%s), and no other model is left", link.name, error)
            return
        name = "the embedded model" if other.name == EMBEDDED_LINK else other.name
        self._note(f"{link.name} failed ({error}); {name} answers instead")

    def _note(self, text: str) -> None:
        log.warning(text)
        self._notify(Notice("llm", text))

    def _soon(self, work: Callable[[], object]) -> None:
        threading.Thread(target=work, name="warm-up", daemon=True).start()


def _log(job: Generate, piece: Answering, after_s: float, goes_on: bool) -> None:
    skipped = ", ".join(f"{name} ({reason})" for name, reason in piece.skipped)
    log.info(
        "%s: turn %d %s by %s after %.2f s%s",
        job.ticket.call,
        job.ticket.turn,
        "is gone on with" if goes_on else "is answered",
        piece.link.title,
        after_s,
        f"; skipped: {skipped}" if skipped else "",
    )
