"""Everything that travels between processes.

Facts are in the past tense (`Spoken`, `Failed`), requests in the imperative (`Generate`, `Commit`).
Whatever belongs to one caller carries a `Ticket`, so nothing can reach another caller and old work
is recognised by comparing tickets. Only text and tickets travel; audio never does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, order=True)
class Ticket:
    """The identity of one piece of work. Within a call, order is age.

    `turn` rises when a turn ends or is interrupted; `revision` rises when the guess of the user's
    words changes. Comparing tickets of different calls means nothing.
    """

    call: str
    turn: int
    revision: int = 0


class Line(NamedTuple):
    """One line of dialogue. `role` is "system", "user" or "assistant"; of a function that the model used, "call" and "result".

    `text` is what was said, or JSON: {"id", "name", "arguments" (JSON as text)} of a call, {"id", "output"} of a result.
    """

    role: str
    text: str


# --- asr -> llm -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Generate:
    """Write a reply to `lines`, oldest first. `brief`: the machine is overloaded, so one sentence shall do.

    `tools`: what the model may use, {"tools": […], "tool_choice": …} as JSON in the form of chat completions; "" = nothing.
    `max_tokens`: the longest reply; 0 = as the server has it, which no call can exceed.
    """

    ticket: Ticket
    lines: tuple[Line, ...]
    brief: bool = False
    tools: str = ""
    max_tokens: int = 0


@dataclass(frozen=True)
class Prepare:
    """The lines that the next `Generate` of this call will start with: read them into the cache now."""

    ticket: Ticket
    lines: tuple[Line, ...]
    tools: str = ""


# --- llm -> tts and asr ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Sentence:
    """A speakable piece of the reply, in order from index 0. `last` ends the reply (text may be empty), `cut`: because of its length."""

    ticket: Ticket
    index: int
    text: str
    last: bool = False
    first_token_s: float = 0.0  # seconds from Generate's arrival to the engine's first token
    cut: bool = False


@dataclass(frozen=True)
class Called:
    """The reply of `ticket` uses a function; `arguments` is JSON as text. Comes before its last `Sentence`."""

    ticket: Ticket
    id: str
    name: str
    arguments: str


# --- asr -> tts -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Joined:
    """A caller was accepted on 6006; its replies go to the listener that fits (see tts_service)."""

    call: str
    uid: str
    address: str
    whole_replies: bool  # the WhisperFusion page: one message per reply, never paced
    voice: str
    speed: float
    paced: bool = True  # False: sound leaves as soon as it is made


@dataclass(frozen=True)
class Commit:
    """The guess was right: let the audio of this ticket out.

    `filler` is said if none of the reply could be heard `filler_in_s` seconds after this arrived; "" = nothing is.
    """

    ticket: Ticket
    filler: str = ""
    filler_in_s: float = 0.0


@dataclass(frozen=True)
class Hold:
    """Stop the sound at once, keep the rest: somebody may be interrupting."""

    ticket: Ticket


@dataclass(frozen=True)
class Resume:
    """It was no interruption: go on where the sound stopped."""

    ticket: Ticket


# --- asr -> llm and tts ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Cancel:
    """A newer ticket without work: everything older of this call is stale."""

    ticket: Ticket


@dataclass(frozen=True)
class Hangup:
    """The caller is gone: forget everything about the call."""

    call: str


# --- llm and tts -> asr ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Spoken:
    """`heard_s` of the `total_s` seconds of sentence `index` have been played.

    Sent when a sentence starts (`heard_s` 0), when it ends, and when the reply is held or cut. `last`
    tells that the whole reply has been played.
    """

    ticket: Ticket
    index: int
    heard_s: float
    total_s: float
    last: bool = False


@dataclass(frozen=True)
class Failed:
    """A turn cannot be finished. `stage` is "asr", "llm" or "tts"; `reason` is for a person."""

    ticket: Ticket
    stage: str
    reason: str


@dataclass(frozen=True)
class Notice:
    """Something every caller should know, such as a fall-back engine at work."""

    stage: str
    text: str


# --- worker -> main -> whoever asks -----------------------------------------------------------------


@dataclass(frozen=True)
class Ready:
    """The process has loaded its engine and takes work. The fields feed the start-up log and /health."""

    name: str
    engine: str
    model: str
    device: str
    load_s: float
    voices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Beat:
    """Sent by the loop that does the work. `busy_since` is the monotonic start of the oldest unfinished job."""

    name: str
    busy_since: float | None


@dataclass(frozen=True)
class TurnLost:
    """A turn ended without its answer, and its caller was told. `stage` is the one that failed it, `reason` is for a person."""

    ticket: Ticket
    stage: str
    reason: str


class Histogram(NamedTuple):
    """How often something took how long. `counts[i]`: more than `bounds_s[i - 1]`, at most `bounds_s[i]`; the last: more than all."""

    name: str
    bounds_s: tuple[float, ...]
    counts: tuple[int, ...]
    sum_s: float


@dataclass(frozen=True)
class Metrics:
    """What the process `name` has counted since it started, and what it last measured: (metric, value) pairs for /metrics.

    `lost`: turns that failed, by the stage that failed them, which need not be the one that counts.
    """

    name: str
    values: tuple[tuple[str, float], ...]
    histograms: tuple[Histogram, ...] = ()
    lost: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Stage:
    """The state of one process, told to everyone by main: "starting", "ready" or "down"."""

    name: str
    state: str
    engine: str = ""
    model: str = ""
    device: str = ""
    load_s: float = 0.0
    restarts: int = 0
    note: str = ""
    voices: tuple[str, ...] = ()
