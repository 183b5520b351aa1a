"""A language model made of several: the first link that can answers, the next one stands in.

Of a turn, a link is skipped that fails, or has no first token within its time while another could
answer; its circuit breaker then keeps later turns from it (`breaker`). A link that was skipped is
tried again in a thread, so that no turn pays for that, and answers the next turn. An answer that
dies in its middle is gone on with by the next link, whose prompt ends with what was said
(`Interrupted`); calls that were given are the answer, and are not asked for again.

The last link that is left has no time limit, and is asked even if its breaker is open.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from whisperfusion import errors
from whisperfusion.engines.chain.failures import Empty, Slow, Stalled
from whisperfusion.engines.chain.llm_link import Link, starts_an_answer
from whisperfusion.engines.protocols import (
    LLM,
    Answering,
    Calling,
    ChatHistory,
    Interrupted,
    ToolCall,
    ToolLLM,
)
from whisperfusion.engines.pump import PULSE_S, pieces
from whisperfusion.engines.remote.chat import without_tools
from whisperfusion.errors import EngineError, failed_on_input, lost_for_good
from whisperfusion.tools import NO_TOOLS, Tools

STALLED_S = 10.0  # of silence in the middle of an answer; servers that live send something
LEAST_TOKENS = 32  # for the rest of an answer
PREFILL_PULSE_S = 0.02  # the question waits for it to stop
Pieces = Generator[str | ToolCall, None, None]


@dataclass
class _Turn:
    history: ChatHistory
    max_tokens: int
    temperature: float
    tools: Tools
    tried: list[Link] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)  # name, reason
    errors: list[tuple[str, EngineError]] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    said: str = ""
    called: bool = False

    def note(self, piece: str | ToolCall) -> None:
        if isinstance(piece, ToolCall):
            self.called = True
        elif piece:
            self.given.append(piece)

    def error(self) -> EngineError:
        """Why no link answered."""
        if not self.errors:
            return EngineError("no link of the chain can be asked")
        last = self.errors[-1][1]
        if len(self.errors) == 1 or isinstance(last, errors.Refused):
            return last
        told = "; ".join(f"{name}: {error}" for name, error in self.errors)
        return EngineError(f"none of the language models answered: {told}")


class ChainLLM:
    """`links` in the order of preference. `clock` in seconds."""

    accepts_tools = True

    def __init__(self, links: Sequence[Link], clock: Callable[[], float] = time.monotonic) -> None:
        self.links, self._clock = tuple(links), clock

    @property
    def current(self) -> Link:
        """The link that would answer now."""
        usable = (link for link in self.links if link.usable)
        loaded = (link for link in self.links if link.engine is not None)
        return next(usable, next(loaded, self.links[0]))

    def stand_in(self, link: Link) -> Link | None:
        """The link that answers while `link` is left alone."""
        return next((one for one in self.links if one is not link and one.breaker.closed), None)

    @property
    def model(self) -> str:
        return self._engine.model

    @property
    def device(self) -> str:
        return self._engine.device

    @property
    def parallel(self) -> int:
        return max(link.engine.parallel for link in self.links if link.engine is not None)

    def stream_chat(
        self,
        history: ChatHistory,
        *,
        max_tokens: int,
        temperature: float,
        tools: Tools = NO_TOOLS,
    ) -> Pieces:
        turn = _Turn(history, max_tokens, temperature, tools)
        while (link := self._next(turn)) is not None:
            turn.tried.append(link)
            begun = len(turn.given)
            try:
                yield from self._ask(link, turn)
                return
            except Exception as error:
                if lost_for_good(error):
                    raise
                self._skip(link, turn, error, begun=len(turn.given) > begun)
            if turn.called:  # the answer goes on when their results are there
                return
            if len(turn.given) > begun and self._left(turn):
                interrupted = Interrupted()
                yield interrupted
                said = interrupted.said
                turn.said = "".join(turn.given) if said is None else said
        raise turn.error()

    def prefill(self, history: ChatHistory, tools: Tools = NO_TOOLS) -> Iterator[str]:
        """By the link that would answer. A server that fails at it is not asked in the turn."""
        link = self.current
        engine = link.engine
        for better in self.links[: self.links.index(link)]:
            better.try_soon()
            better.load_soon()
        if engine is None or not link.usable:
            self._prepare()
            return
        if len(self.links) == 1:
            yield from _prefill(engine, history, tools)
            return

        def read(give: Callable[[str], bool]) -> None:
            _hand_over(_prefill(engine, history, tools), give)

        try:
            yield from pieces(read, "", wait_s=lambda: PREFILL_PULSE_S)
        except EngineError as error:
            if link.remote:  # an engine here may just have no time for it
                link.failed(error)
                self._prepare()
            raise

    # --- one link ---------------------------------------------------------------------------------

    def _ask(self, link: Link, turn: _Turn) -> Pieces:
        yield from self._loaded(link, turn)
        started = False
        try:
            with closing(self._pieces(link, turn)) as stream:
                for piece in stream:
                    if not started and starts_an_answer(piece):
                        started = True
                        link.answered()
                        yield _answering(link, turn)
                    turn.note(piece)
                    yield piece
        except GeneratorExit:  # the reader has enough
            if started:
                link.succeeded()
            raise
        if not started:
            raise Empty("the model gave an empty answer")
        link.succeeded()

    def _loaded(self, link: Link, turn: _Turn) -> Pieces:
        """Empty pieces until the link has its engine. Where another link is left, that may take as
        long as a first token, and goes on in its thread.
        """
        if link.engine is not None:
            return
        began, limit_s = self._clock(), link.first_token_s
        for piece in pieces(lambda give: _load(link), ""):
            late = limit_s is not None and self._clock() - began >= limit_s
            if late and any(one.breaker.closed for one in self._left(turn)):
                raise Slow(f"not ready within {limit_s:g} s")
            yield piece

    def _pieces(self, link: Link, turn: _Turn) -> Pieces:
        stream = _stream(link, turn)
        if not self._left(turn):
            yield from stream
            return
        began = last = self._clock()
        limit_s = link.first_token_s
        started = False

        def wait_s() -> float:
            left_s = PULSE_S if started or limit_s is None else began + limit_s - self._clock()
            return min(PULSE_S, left_s) if left_s > 0 else PULSE_S

        with closing(pieces(lambda give: _hand_over(stream, give), "", wait_s=wait_s)) as found:
            for piece in found:
                now = self._clock()
                if piece or type(piece) is not str:
                    last = now
                started = started or starts_an_answer(piece) or isinstance(piece, Calling)
                yield piece
                if started:
                    if now - last > STALLED_S and self._ready(turn):
                        raise Stalled("it stopped in the middle of its answer")
                elif limit_s is not None and now - began >= limit_s / 2:
                    self._prepare(turn)
                    if now - began >= limit_s and self._ready(turn):
                        raise Slow(f"no first token within {limit_s:g} s")

    def _skip(self, link: Link, turn: _Turn, error: Exception, begun: bool) -> None:
        reported = error if isinstance(error, EngineError) else failed_on_input(error, link.name)
        # a link that cannot be loaded has counted it
        counted = link.engine is not None or isinstance(error, Slow)
        reason = link.failed(reported, begun) if counted else link.reason
        turn.skipped.append((link.name, reason))
        turn.errors.append((link.name, reported))
        self._prepare(turn)

    # --- which link -------------------------------------------------------------------------------

    def _next(self, turn: _Turn) -> Link | None:
        """The best link that was not tried in this turn: one that is sound (a server that was not
        needed before counts), or that can be loaded, or any.
        """
        left = self._left(turn)
        sound = [link for link in left if link.usable or link.loads_at_once]
        unloaded = [link for link in left if link.engine is None and link.breaker.closed]
        chosen = next(iter((*sound, *unloaded, *left)), None)
        if chosen is not None:
            for link in left[: left.index(chosen)]:
                turn.skipped.append((link.name, link.reason or "loading"))
                link.try_soon()
                link.load_soon()
        return chosen

    def _left(self, turn: _Turn) -> list[Link]:
        return [link for link in self.links if link not in turn.tried]

    def _ready(self, turn: _Turn) -> bool:
        """Whether another link could answer at once."""
        return any(link.usable for link in self._left(turn))

    def _prepare(self, turn: _Turn | None = None) -> None:
        """Load the link that will probably be needed next, where none that is loaded can answer."""
        left = self._left(turn) if turn is not None else list(self.links)
        for link in left:
            if link.usable:
                return
            if link.engine is None and link.breaker.closed:
                link.load_soon()
                return

    @property
    def _engine(self) -> LLM:
        engine = self.current.engine
        if engine is None:
            raise EngineError("no link of the chain is loaded")
        return engine


def _answering(link: Link, turn: _Turn) -> Answering:
    piece = Answering()
    piece.link, piece.skipped = link, tuple(turn.skipped)
    return piece


def _load(link: Link) -> None:
    link.load()


def _stream(link: Link, turn: _Turn) -> Iterator[str | ToolCall]:
    engine = link.load()
    history = [*turn.history, *([("assistant", turn.said)] if turn.said else [])]
    left = max(turn.max_tokens - len(turn.given), min(LEAST_TOKENS, turn.max_tokens))
    limits: dict[str, Any] = {"max_tokens": left, "temperature": turn.temperature}
    if isinstance(engine, ToolLLM):
        yield from engine.stream_chat(history, tools=turn.tools, **limits)
    else:
        yield from engine.stream_chat(without_tools(history), **limits)


def _prefill(engine: LLM, history: ChatHistory, tools: Tools) -> Iterator[str]:
    if isinstance(engine, ToolLLM):
        return engine.prefill(history, tools)
    return engine.prefill(without_tools(history))


def _hand_over(stream: Iterator[Any], give: Callable[[Any], bool]) -> None:
    """All of `stream`, until nobody wants more."""
    for piece in stream:
        if give(piece):
            break
    close = getattr(stream, "close", None)
    if close is not None:
        close()
