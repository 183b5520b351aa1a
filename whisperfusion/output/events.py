"""What a `ReplyPlayer` takes and gives, beside the messages that cross processes.

Events it takes: `Sentence`, `Commit`, `Pause`, `Resume`, `Cancel`, `CallEnded`, `SpeechOmitted` of
`messages`, and those here. Actions it gives: `PlaybackProgress`, `SpeechOmitted`, `Failed` of
`messages` for the recognizing process, and those here. `index` is that of a sentence in its reply.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Generic

from whisperfusion.messages import (
    CallEnded,
    Cancel,
    Commit,
    Failed,
    Pause,
    PlaybackProgress,
    Resume,
    Sentence,
    SpeechOmitted,
    Ticket,
)
from whisperfusion.output.chunks import A, Chunk

# --- events -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ListenerChanged:
    """A client of port 8888 listens to the call from now on, or (not `present`) none does."""

    present: bool


@dataclass(frozen=True)
class AudioMade(Generic[A]):
    """Audio of a sentence, behind what was made of it before."""

    ticket: Ticket
    index: int
    audio: A


@dataclass(frozen=True)
class SentenceMade:
    """All audio of a sentence was made, which may be none. `last`: that of the reply, too."""

    ticket: Ticket
    index: int
    last: bool


@dataclass(frozen=True)
class SentenceRestarted:
    """A sentence is made again from its beginning, by another voice."""

    ticket: Ticket
    index: int


@dataclass(frozen=True)
class SynthesisFailed:
    """A sentence cannot be made into audio, and so the reply cannot go on."""

    ticket: Ticket
    reason: str


@dataclass(frozen=True)
class FillerMade(Generic[A]):
    """All audio of the filler `text`; empty: there is none, for it failed."""

    text: str
    audio: A


@dataclass(frozen=True)
class Wake:
    """The time `wake_at` has come."""


Event = (
    Sentence
    | Commit
    | Pause
    | Resume
    | Cancel
    | CallEnded
    | ListenerChanged
    | AudioMade[A]
    | SentenceMade
    | SentenceRestarted
    | SynthesisFailed
    | SpeechOmitted
    | FillerMade[A]
    | Wake
)

# --- actions ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Synthesize:
    """Make `text` into audio, behind all sentences of the call that were asked for before.

    `text` "": there is nothing to be made, and `SentenceMade` follows in its turn. `urgent`: before
    all jobs that are not. `language`: ISO code; "" = not known.
    """

    ticket: Ticket
    index: int
    text: str
    last: bool
    urgent: bool
    language: str = ""


@dataclass(frozen=True)
class Prioritize:
    """If this sentence still waits to be synthesized, it is urgent now."""

    ticket: Ticket
    index: int


@dataclass(frozen=True)
class SynthesizeFiller:
    """Have `FillerMade` ready soon: the reply may be late."""

    text: str
    language: str = ""


@dataclass(frozen=True)
class SendAudio(Generic[A]):
    """One frame for the client: these chunks, in order."""

    chunks: tuple[Chunk[A], ...]


class Playback(Enum):
    """What a client is notified of, about the audio of a reply."""

    STARTED = "started"  # its first audio follows
    PAUSED = "paused"  # stop at once, keep the rest
    RESUMED = "resumed"  # go on with the rest
    FLUSHED = "flushed"  # throw the rest away
    SENT = "sent"  # all audio has left; it may still be playing
    ENDED = "ended"  # all was played


@dataclass(frozen=True)
class NotifyClient:
    """`turn`: of the reply."""

    playback: Playback
    turn: int


Action = (
    Synthesize
    | Prioritize
    | SynthesizeFiller
    | SendAudio[A]
    | NotifyClient
    | PlaybackProgress
    | SpeechOmitted
    | Failed
)
