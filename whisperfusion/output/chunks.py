"""Audio on its way out: what can be cut into chunks, one chunk, and the count of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from whisperfusion.messages import Ticket


class Audio(Protocol):
    """Anything with a length in samples that can be cut: a numpy array, a list, an array of
    16-bit values.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Any: ...


A = TypeVar("A", bound=Audio)


@dataclass(frozen=True)
class Chunk(Generic[A]):
    """Audio of sentence `index` that may leave now and is played at `at` seconds; `first` is the
    place of its first sample in the whole reply.
    """

    ticket: Ticket
    index: int
    audio: A
    at: float
    first: int


@dataclass
class Tally:
    """What has become of the audio, in samples, since the stream was opened."""

    made: int = 0
    dropped: int = 0  # of it, without ever having left
    underruns: int = 0  # times that playback ran dry because the rest was late
    underrun: int = 0  # samples of silence that were played there

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.made + other.made,
            self.dropped + other.dropped,
            self.underruns + other.underruns,
            self.underrun + other.underrun,
        )
