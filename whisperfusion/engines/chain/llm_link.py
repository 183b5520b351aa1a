"""One language model of a chain: its engine, loaded when it is needed, its breaker and its counts.

A link is shared by all chains that name it. Loading and trials run in threads of their own, so that
no turn waits for a link that another can stand in for.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

from whisperfusion.engines.chain.breaker import Breaker
from whisperfusion.engines.chain.failures import Slow, failure_of
from whisperfusion.engines.protocols import LLM, ChatHistory, Thought, ToolCall
from whisperfusion.errors import EngineError, failed_on_input, lost_for_good

TRIAL: ChatHistory = (("user", "Hello"),)
TRIAL_TOKENS = 16

log = logging.getLogger("llm")
Changed = Callable[["Link", EngineError | None], object]


class Link:
    """`name` as the operator wrote it; `load` builds the engine and may take seconds. `remote`: on
    a server, which a new process here does not mend. `changed` hears of the failure that opens
    the circuit, and with None of the answer that closes it. Thread-safe.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], LLM],
        *,
        remote: bool = False,
        first_token_s: float | None = None,
        changed: Changed = lambda link, error: None,
    ) -> None:
        self.name, self._load, self.remote = name, load, remote
        self.first_token_s = first_token_s
        self._changed = changed
        self.on_load: Callable[[Link], object] = lambda link: None
        self.breaker = Breaker()
        self.engine: LLM | None = None
        self.reason = ""  # of the last failure
        self.answers = 0
        self.failures: Counter[str] = Counter()
        self._lock, self._busy = threading.Lock(), threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def title(self) -> str:
        """The name, with the model where it does not say it."""
        if "/" in self.name or self.engine is None:
            return self.name
        return f"{self.name}/{self.engine.model}"

    @property
    def usable(self) -> bool:
        return self.engine is not None and self.breaker.closed

    @property
    def loads_at_once(self) -> bool:
        """A server: there is not much to load, unless that takes long already."""
        return self.remote and self.engine is None and self.breaker.closed and not self._is_busy()

    def load(self) -> LLM:
        """The engine, built once; blocks. Raises EngineError."""
        with self._busy:
            if self.engine is not None:
                return self.engine
            try:
                engine = self._load()
            except EngineError as error:
                self.failed(error)
                raise
            self.engine = engine
        self.succeeded()
        self.on_load(self)
        return engine

    def load_soon(self) -> None:
        """Build the engine in a thread, unless that is under way or has failed."""
        if self.engine is None and self.breaker.closed:
            self._soon(self.load)

    def try_soon(self) -> None:
        """When its rest is over: ask a little in a thread, so that no turn waits for a link that
        may still be down.
        """
        if not self.breaker.closed and not self._is_busy() and self.breaker.admits():
            self._soon(self._try)

    def succeeded(self) -> None:
        if self.breaker.succeeded():
            log.info("%s answers again", self.name)
            self._changed(self, None)

    def failed(self, error: EngineError, begun: bool = False) -> str:
        """The reason in a word. `begun`: a part of an answer had come."""
        failure = failure_of(error, begun)
        with self._lock:
            self.failures[failure.reason] += 1
        if failure.of_the_link:
            opened, self.reason = self.breaker.closed, failure.reason
            rest_s = self.breaker.failed(error)
            log.info("%s is left alone for %.0f s: %s", self.name, rest_s, failure.reason)
            if opened:
                self._changed(self, error)
        return failure.reason

    def answered(self) -> None:
        with self._lock:
            self.answers += 1

    def _is_busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _soon(self, work: Callable[[], object]) -> None:
        def run() -> None:
            try:
                work()
            except EngineError as error:
                log.info("%s: %s", self.name, error)
            except Exception as error:  # a library's: the link stays as it is
                log.exception("%s: %s", self.name, failed_on_input(error))

        with self._lock:
            if self._is_busy():
                return
            self._thread = threading.Thread(target=run, name=f"link-{self.name}", daemon=True)
            self._thread.start()

    def _try(self) -> None:
        if self.engine is None:
            self.load()
            return
        began, limit = time.monotonic(), self.first_token_s
        try:
            stream = self.engine.stream_chat(TRIAL, max_tokens=TRIAL_TOKENS, temperature=0.0)
            for piece in stream:
                if limit is not None and time.monotonic() - began > limit:
                    raise Slow(f"no first token within {limit:g} s")
                if starts_an_answer(piece):
                    break
        except Exception as error:
            if lost_for_good(error):
                raise
            self.failed(error if isinstance(error, EngineError) else failed_on_input(error))
        else:
            self.succeeded()


def starts_an_answer(piece: str | ToolCall) -> bool:
    """Whether the model has begun to write; an empty piece mostly says "nothing yet"."""
    return bool(piece) or isinstance(piece, Thought)
