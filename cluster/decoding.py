"""Utterances of several cells, decoded together.

While an engine decodes, more utterances arrive; those that wait are its next batch, which takes
less time than one after the other. Final transcripts have a thread of their own, so that none waits
for an interim one, as in the process that listens (`whisper_server.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from whisperfusion.engines import Hypothesis, Utterance, batching
from whisperfusion.errors import GaveWay

TOGETHER = 8  # utterances in a batch


@dataclass(frozen=True)
class Decoding:
    """`accept_audio(pcm, final)` of an `utterance` of `engine`. Not decoded where it is `obsolete`
    by then: a final transcript of the same audio was asked for.
    """

    engine: Any
    utterance: Utterance
    pcm: Any  # float32 [samples]
    final: bool
    obsolete: Callable[[], bool] = lambda: False


class Skipped(GaveWay):
    """It was obsolete: the engine has not been given its audio."""


Result = Hypothesis | Exception
# What makes one result of one decoding, mostly together with others
Decode = Callable[[Decoding], Awaitable[Result]]


def decode_together(decodings: Sequence[Decoding]) -> list[Result]:
    """Blocks; one batch for each engine among them. What `accept_audio` of each returns or raises.

    This is what a batching decorator, such as Ray Serve's `@serve.batch`, calls in a thread.
    """
    found: list[Result | None] = [
        Skipped("a final transcript goes first") if one.obsolete() else None for one in decodings
    ]
    engines: dict[int, list[int]] = {}
    for at, one in enumerate(decodings):
        if found[at] is None:
            engines.setdefault(id(one.engine), []).append(at)
    for members in engines.values():
        jobs = [(one.utterance, one.pcm, one.final) for one in (decodings[at] for at in members)]
        try:
            results: Sequence[Result] = batching.decode_batch(decodings[members[0]].engine, jobs)
        except Exception as error:  # of all of them
            results = [error] * len(jobs)
        for at, result in zip(members, results, strict=True):
            found[at] = result
    return [one for one in found if one is not None]


class Batches:
    """The `Decode` of a server without Ray."""

    def __init__(self) -> None:
        self._lanes = {final: _Lane() for final in (True, False)}

    @property
    def waiting(self) -> int:
        return sum(len(lane.waiting) for lane in self._lanes.values())

    async def decode(self, decoding: Decoding) -> Result:
        return await self._lanes[decoding.final].decode(decoding)


class _Lane:
    def __init__(self) -> None:
        self.waiting: list[tuple[Decoding, asyncio.Future[Result]]] = []
        self._thread = ThreadPoolExecutor(1, "decode")
        self._work: asyncio.Task[None] | None = None

    async def decode(self, decoding: Decoding) -> Result:
        loop = asyncio.get_running_loop()
        promised: asyncio.Future[Result] = loop.create_future()
        self.waiting.append((decoding, promised))
        if self._work is None or self._work.done():
            self._work = loop.create_task(self._decode_all())
        return await promised

    async def _decode_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self.waiting:
            batch, self.waiting = self.waiting[:TOGETHER], self.waiting[TOGETHER:]
            batch = [one for one in batch if not one[1].done()]  # their listeners went
            decodings = [decoding for decoding, _ in batch]
            results = await loop.run_in_executor(self._thread, decode_together, decodings)
            for (_, promised), result in zip(batch, results, strict=True):
                if not promised.done():
                    promised.set_result(result)
