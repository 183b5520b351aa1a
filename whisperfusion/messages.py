"""Everything that travels between processes.

Facts are in the past tense (`PlaybackProgress`, `Failed`), requests in the imperative (`Generate`,
`Commit`). Whatever belongs to one caller carries a `Ticket`, so nothing can reach another caller
and old work is recognised by comparing tickets. Only text and tickets travel; audio never does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from whisperfusion.tools import NO_TOOLS, Tools
from whisperfusion.tools.client_servers import ClientServer, ListedTool


@dataclass(frozen=True, order=True)
class Ticket:
    """The identity of one piece of work. Within a call, order is age.

    `turn` rises when a turn ends or is interrupted; `revision` rises when the guess of the user's
    words changes. Comparing tickets of different calls means nothing.
    """

    call: str
    turn: int
    revision: int = 0


class ChatMessage(NamedTuple):
    """One line of dialogue.

    `role` is "system", "user" or "assistant"; of a function that the model used, "call" and
    "result".

    `text` is the message, or JSON: {"id", "name", "arguments" (JSON as text)} of a call, {"id",
    "output"} of a result.
    """

    role: str
    text: str


class Trace(NamedTuple):
    """How the client of a call names its request, for logs and traces of several systems.

    `id` is the correlation id. `parent` is a traceparent (W3C Trace Context): the span that the
    call belongs to, or the call's own span once it is traced. Both are valid or empty.
    """

    id: str = ""
    parent: str = ""


NO_TRACE = Trace()


def call_of(message: object) -> str:
    """The call that a message is about; "" when it is about none."""
    ticket = getattr(message, "ticket", None)
    return ticket.call if isinstance(ticket, Ticket) else str(getattr(message, "call", ""))


# --- asr -> llm ---------------------------------------------------------------------------------


class Timer(NamedTuple):
    """A timer of a call. `due_at` is Unix time, since timers outlive processes. `told`: how often
    it began to be said, and was cut off by the death of a process.
    """

    id: str
    text: str
    due_at: float
    told: int = 0


@dataclass(frozen=True)
class Generate:
    """Write a reply to `history`, oldest first.

    `brief`: the machine is overloaded, so one sentence shall do.

    `tools`: what the model may use that the client runs. `max_tokens`: the longest reply, within
    the server's own limit; None = that limit. `chain`: the language models to ask, as LLM_CHAIN;
    "" = the server's. `server_tools`: names of the server's own tools that the model may use.
    `timers`: those of the call that are still running. `language`: the user's; "" = not known;
    `switched`: the call has been in another one before.
    `approved`: the id of a call in `history` that the client approved: it runs, and comes first.
    """

    ticket: Ticket
    history: tuple[ChatMessage, ...]
    brief: bool = False
    tools: Tools = NO_TOOLS
    max_tokens: int | None = None
    chain: str = ""
    server_tools: tuple[str, ...] = ()
    timers: tuple[Timer, ...] = ()
    trace: Trace = NO_TRACE
    language: str = ""
    switched: bool = False
    approved: str = ""


@dataclass(frozen=True)
class Prefill:
    """The lines that the next `Generate` of this call will start with: read them into the cache
    now.
    """

    ticket: Ticket
    history: tuple[ChatMessage, ...]
    tools: Tools = NO_TOOLS
    chain: str = ""
    server_tools: tuple[str, ...] = ()


@dataclass(frozen=True)
class UseServers:
    """The MCP servers that the client of a call has named: all of them, in place of those before.

    Its `Generate` names their tools by `ClientServer.name`.
    """

    call: str
    servers: tuple[ClientServer, ...]


@dataclass(frozen=True)
class Summarize:
    """Sum up `history` when nothing else is to be done: the instructions and the first `count`
    messages of a call.
    """

    ticket: Ticket
    history: tuple[ChatMessage, ...]
    count: int
    chain: str = ""  # as of `Generate`


@dataclass(frozen=True)
class ExtractFacts:
    """When nothing else is to be done: which facts about the user are worth keeping, after a call
    with this `history`? `facts` are known from before.

    The ticket is not that of the call, which is over.
    """

    ticket: Ticket
    history: tuple[ChatMessage, ...]
    facts: tuple[str, ...] = ()
    chain: str = ""  # as of `Generate`


# --- llm -> tts and asr -------------------------------------------------------------------------


@dataclass(frozen=True)
class Sentence:
    """A piece of the reply, in order from index 0.

    `last` ends the reply (text may be empty), `cut`: because of its length.

    `text` is shown and remembered, `spoken` is what a voice reads of it (None: all); both empty
    without `last`: the model thinks. `afresh`: all pieces before this one were a thought, and are
    void. `model`: which model of the chain wrote it, where there is more than one. `language`: ISO
    code of the voice that it is for; "" = not known.
    """

    ticket: Ticket
    index: int
    text: str
    last: bool = False
    first_token_s: float = 0.0  # seconds from Generate's arrival to the engine's first token
    cut: bool = False
    spoken: str | None = None
    afresh: bool = False
    model: str = ""
    language: str = ""


@dataclass(frozen=True)
class ToolCalled:
    """The reply of `ticket` uses a function; `arguments` is JSON as text.

    Comes before its last `Sentence`.
    """

    ticket: Ticket
    id: str
    name: str
    arguments: str


# --- llm -> asr ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class ToolStarted:
    """The reply of `ticket` uses a tool of the server; `arguments` is JSON as text.

    `approval`: it would, and the client has to approve that first. `hands_back`: the reply ends
    with its result, and the client asks for the next one.
    """

    ticket: Ticket
    id: str
    name: str
    arguments: str
    approval: bool = False
    hands_back: bool = False


@dataclass(frozen=True)
class ToolsListed:
    """The tools of an MCP server that the client of `call` has named, or why there are none."""

    call: str
    label: str
    tools: tuple[ListedTool, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class ToolFinished:
    """Its result, or with `failed` the reason why there is none; the reply goes on."""

    ticket: Ticket
    id: str
    output: str
    failed: bool = False


@dataclass(frozen=True)
class SetTimer:
    """A tool: say `text` in `after_s` seconds, whatever the call does then."""

    ticket: Ticket
    id: str
    text: str
    after_s: float


@dataclass(frozen=True)
class CancelTimer:
    """A tool: forget the timer `id`."""

    ticket: Ticket
    id: str


@dataclass(frozen=True)
class EndCall:
    """A tool: hang up when the reply of `ticket` was played."""

    ticket: Ticket


@dataclass(frozen=True)
class Summarized:
    """`text` stands for the first `count` messages of the call's history."""

    ticket: Ticket
    count: int
    text: str


@dataclass(frozen=True)
class FactsExtracted:
    """All that is known of the user now, in place of the facts that were known."""

    ticket: Ticket
    facts: tuple[str, ...]


# --- asr -> tts ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class CallStarted:
    """A caller was accepted on 6006; its replies go to the listener that fits (see tts_service)."""

    call: str
    uid: str
    address: str
    whole_replies: bool  # the WhisperFusion page: one message per reply, never paced
    voice: str | None  # None = the engine's default
    speed: float
    paced: bool = True  # False: sound leaves as soon as it is made
    key: int | None = None  # position in SHARED_SECRET of the key that the caller came with
    listen_secret: str = ""  # told to the caller alone: a listener that has it is the caller's
    trace: Trace = NO_TRACE
    voices: str = ""  # the list of its agent, one for each language; "" = TTS_VOICE


@dataclass(frozen=True)
class Commit:
    """The guess was right: let the audio of this ticket out.

    `filler` is spoken if nothing of the reply was played `filler_in_s` seconds after this arrived;
    None = nothing is. `language` is that of the filler, "" = the default voice's.
    """

    ticket: Ticket
    filler: str | None = None
    filler_in_s: float = 0.0
    language: str = ""


@dataclass(frozen=True)
class Pause:
    """Stop playback at once, keep the rest: the user may be interrupting."""

    ticket: Ticket


@dataclass(frozen=True)
class Resume:
    """It was no interruption: go on where the sound stopped."""

    ticket: Ticket


# --- asr -> llm and tts -------------------------------------------------------------------------


@dataclass(frozen=True)
class Cancel:
    """A newer ticket without work: everything older of this call is stale."""

    ticket: Ticket


@dataclass(frozen=True)
class CallEnded:
    """The caller is gone: forget everything about the call."""

    call: str


# --- llm and tts -> asr -------------------------------------------------------------------------


@dataclass(frozen=True)
class PlaybackProgress:
    """`played_s` of the `total_s` seconds of sentence `index` have been played.

    Sent when a sentence starts (`played_s` 0), when it ends, and when the reply is held or cut.
    `last` tells that the whole reply has been played.
    """

    ticket: Ticket
    index: int
    played_s: float
    total_s: float
    last: bool = False


@dataclass(frozen=True)
class SpeechOmitted:
    """The voice cannot say some of this reply; the text is there. `reason` is for a person."""

    ticket: Ticket
    reason: str


@dataclass(frozen=True)
class CallNotice:
    """Something that one caller should know; `text` is for a person."""

    call: str
    text: str


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


# --- main -> the processes that admit work, and back ----------------------------------------------


@dataclass(frozen=True)
class Drain:
    """Admit nothing more, and finish what was admitted.

    What is left after `within_s` seconds is closed between turns, so that its client goes on at
    another server.
    """

    within_s: float


@dataclass(frozen=True)
class Drained:
    """Nothing is left of what the process `name` had admitted."""

    name: str


# --- worker -> main -> processes that ask ---------------------------------------------------------


@dataclass(frozen=True)
class Ready:
    """The process has loaded its engine and takes work.

    The fields feed the start-up log and /health.
    """

    name: str
    engine: str
    model: str
    device: str
    load_s: float
    voices: tuple[str, ...] = ()
    clones: bool = False  # a voice may be a recording of a person


@dataclass(frozen=True)
class Heartbeat:
    """Sent by the loop that does the work.

    `busy_since` is the monotonic start of the oldest unfinished job.

    `served`: how many jobs the process has done.
    """

    name: str
    busy_since: float | None
    served: int = 0


@dataclass(frozen=True)
class TurnLost:
    """A turn ended without its answer, and its caller was told.

    `stage` is the one that failed it, `reason` is for a person.
    """

    ticket: Ticket
    stage: str
    reason: str


class Histogram(NamedTuple):
    """How often something took how long.

    `counts[i]`: more than `bounds_s[i - 1]`, at most `bounds_s[i]`; the last: more than all.
    """

    name: str
    bounds_s: tuple[float, ...]
    counts: tuple[int, ...]
    sum_s: float


class Labelled(NamedTuple):
    """A value of /metrics with labels of its own, as (label, value) pairs."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


@dataclass(frozen=True)
class Metrics:
    """What the process `name` has counted since it started, and what it last measured: (metric,
    value) pairs for /metrics.

    `lost`: turns that failed, by the stage that failed them, which need not be the one that counts.
    """

    name: str
    values: tuple[tuple[str, float], ...]
    histograms: tuple[Histogram, ...] = ()
    lost: tuple[tuple[str, int], ...] = ()
    labelled: tuple[Labelled, ...] = ()


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
    clones: bool = False
