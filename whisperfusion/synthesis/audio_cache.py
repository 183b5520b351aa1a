"""Audio of sentences that are said often, such as greetings and answers of ANSWER_CACHE.

A sentence is kept when it is said for the second time, so one that comes once costs its text only.
Whole sentences of the voice that was asked for are kept, `MOST_BYTES` of them at most; what was
used longest ago leaves.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator

from whisperfusion.audio import Samples
from whisperfusion.synthesis.voice import Voice

MOST_BYTES = 64_000_000  # five minutes at 24 kHz, float32
LONGEST_TEXT = 400  # characters
Key = tuple[int, str, str, float]  # the voice, its name, the text, the speed


class AudioCache:
    """Thread-safe. `most` texts are remembered; 0 = nothing is."""

    def __init__(self, most: int, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._kept: OrderedDict[Key, tuple[Samples, ...]] = OrderedDict()
        self._said: OrderedDict[Key, None] = OrderedDict()  # once so far
        self._bytes = 0
        self._lock = threading.Lock()
        self._hits = self._misses = 0

    def synthesize(
        self, voice: Voice, text: str, name: str | None, speed: float
    ) -> Iterator[Samples]:
        """As `Voice.synthesize`."""
        if not self._most or len(text) > LONGEST_TEXT:
            yield from voice.synthesize(text, name, speed)
            return
        key = (id(voice), voice.named(name), text, speed)
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            self._hits += found is not None
            self._misses += found is None
            again = key in self._said
        if found is not None:
            yield from found
            return
        pieces: list[Samples] = []
        for pcm in voice.synthesize(text, name, speed):
            if again and len(pcm):
                pieces.append(pcm)
            yield pcm
        self._made(key, tuple(pieces))

    def _made(self, key: Key, pieces: tuple[Samples, ...]) -> None:
        """All of it; empty pieces: for the first time."""
        size = sum(pcm.nbytes for pcm in pieces)
        with self._lock:
            self._said.pop(key, None)
            if not pieces:
                self._said[key] = None
                while len(self._said) > self._most:
                    self._said.popitem(last=False)
            elif size <= self._most_bytes and key not in self._kept:
                self._kept[key] = pieces
                self._bytes += size
                while self._bytes > self._most_bytes or len(self._kept) > self._most:
                    _, old = self._kept.popitem(last=False)
                    self._bytes -= sum(pcm.nbytes for pcm in old)

    def metrics(self) -> tuple[tuple[str, float], ...]:
        if not self._most:
            return ()
        with self._lock:
            return (
                ("audio_cache_hits_total", float(self._hits)),
                ("audio_cache_misses_total", float(self._misses)),
            )
