"""A call with a clock: `main.py talk`, the bench and tests speak recordings and measure replies.

`TimedCall` keeps a log of all events with the time of their arrival. A recording is sent as a
microphone would send it: a frame leaves when its last sample has been spoken, and silence follows
until the reply is over. So the moment at which any sample was spoken is known exactly, and delays
are measured against that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar, cast

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, SPEECH_RATE, Samples
from whisperfusion.client.connection import connect
from whisperfusion.client.errors import CallError
from whisperfusion.client.events import (
    Closed,
    Event,
    Failed,
    Flushed,
    Latency,
    Paused,
    ReplyAudio,
    ReplyDone,
    ReplyText,
    Resumed,
    SpeechStarted,
    Transcript,
    UserTurn,
)
from whisperfusion.client.microphone import Microphone, speech_span
from whisperfusion.wire.pcm import decode

AUDIBLE = 0.01  # of full scale: below it a loudspeaker is silent to the ear
SETTLED_S = 0.5  # silence after a recording, before the server can have decoded all of it

NO_AUDIO: Samples = np.zeros(0, np.float32)

E_co = TypeVar("E_co", covariant=True)


@dataclass(frozen=True, eq=False)
class Observed(Generic[E_co]):
    """An event and when it arrived, in seconds on `time.monotonic`.

    With `ReplyAudio`, `pcm` is float32 [samples] at 24 kHz, and `plays_at` is when a loudspeaker
    reaches it that plays audio as it comes.
    """

    at: float
    event: E_co
    pcm: Samples = field(default_factory=lambda: NO_AUDIO)
    plays_at: float = 0.0


Log: TypeAlias = "list[Observed[Event]]"


@dataclass(frozen=True)
class Result:
    """One recording and its reply.

    Times are seconds on `time.monotonic`; None = never came, or nothing was spoken.
    """

    transcript: str
    reply: str
    audio: Samples  # float32 [samples] at 24 kHz
    began: float  # the first sample was spoken
    end_of_speech: float  # the last sound of the recording was spoken
    first_transcript: float | None
    first_reply: float | None
    # the first audible sample leaves a loudspeaker that plays frames as they come
    first_audio: float | None
    # each transcript's arrival after the last sample that it covers
    transcript_lags: tuple[float, ...]
    latency: Latency | None  # the server's own account of the last turn
    log: tuple[Observed[Event], ...]


class TimedCall:
    """One call, an asynchronous context manager.

    `options` go into the handshake (docs/wire.md); `watch` is called with everything observed.
    """

    def __init__(
        self,
        asr_url: str,
        tts_url: str,
        *,
        key: str = "",
        options: Mapping[str, Any] | None = None,
        watch: Callable[[Observed[Event]], None] | None = None,
        resume_s: float = 0.0,
    ) -> None:
        self.call = connect(
            asr_url, tts_url, key=key, options=options, audio_format="float32", resume_s=resume_s
        )
        self.log: Log = []
        self.closed = ""  # why the server closed
        self._watch = watch
        self._changed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._microphone = Microphone(self.call.send_audio)
        self._playing_until = 0.0

    async def __aenter__(self) -> TimedCall:
        await self.call.open()
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._microphone.stop()
        await self.call.close()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    # --- speaking --------------------------------------------------------------------------------

    def speak(self, pcm: Samples) -> float:
        """Start to say `pcm` (float32 [samples] at 16 kHz) and go on with silence; returns when
        its first sample is spoken.
        """
        return self._microphone.speak(pcm)

    async def turn(self, pcm: Samples, *, fast: bool = False, timeout_s: float = 60.0) -> Result:
        """Say `pcm` and wait until the reply is over.

        `fast` sends it at once and hangs up: the last turn of a call. Raises CallError.
        """
        first = len(self.log)
        if fast:
            began = time.monotonic()
            await self.call.send_audio(pcm.astype("<f4").tobytes())
            await self.call.end_audio()
            await self._answered(first, began, timeout_s, fast=True)
            return result_of(self.log[first:], began, time.monotonic(), None)
        began = self.speak(pcm)
        await self._answered(
            first, began + len(pcm) / MICROPHONE_RATE + SETTLED_S, timeout_s, fast=False
        )
        ended = began + speech_span(pcm)[1] / MICROPHONE_RATE
        return result_of(self.log[first:], began, ended, self._microphone.began)

    async def typed(self, text: str, *, timeout_s: float = 60.0) -> Result:
        """Type a line and wait until the reply is over. Raises CallError."""
        first, began = len(self.log), time.monotonic()
        await self.call.say(text)
        await self._answered(first, began, timeout_s, fast=False)
        return result_of(self.log[first:], began, began, None)

    # --- observing -------------------------------------------------------------------------------

    def seen(self, *kinds: type[E_co], since: int = 0) -> list[Observed[E_co]]:
        """What was observed of these kinds of events, from number `since` of the log on."""
        return only(self.log[since:], *kinds)

    async def until(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Wait for `condition`, which is asked again whenever something arrives.

        Raises `CallError` naming `what`.
        """

        async def come() -> None:
            while not condition():
                if self.closed:
                    raise CallError(f"{self.closed} before {what} came")
                self._changed.clear()
                await self._changed.wait()

        try:
            await asyncio.wait_for(come(), timeout_s)
        except asyncio.TimeoutError:
            raise CallError(f"{what} did not come within {timeout_s:.0f} s") from None

    async def _answered(self, first: int, spoken: float, timeout_s: float, *, fast: bool) -> None:
        """Until the reply to the last turn is over and the user is silent."""

        def over() -> bool:
            log = self.log[first:]
            turns = [one.event.turn for one in log if isinstance(one.event, UserTurn)]
            done = [one.event.turn for one in log if isinstance(one.event, ReplyDone)]
            for one in log:
                if isinstance(one.event, Failed) and one.event.turn in turns[-1:]:
                    raise CallError(f"the server could not answer: {one.event.message}")
            if fast and self.closed and not turns:
                raise CallError(self.closed)
            settled = bool(self.closed) if fast else time.monotonic() >= spoken and not _open(log)
            return bool(turns) and turns[-1] in done and settled

        deadline = asyncio.get_running_loop().call_later(
            max(0.0, spoken - time.monotonic()), self._changed.set
        )
        try:
            await self.until(over, max(0.0, spoken - time.monotonic()) + timeout_s, "the reply")
        except CallError as error:
            raise CallError(f"{error}; {_missing(self.log[first:])}") from None
        finally:
            deadline.cancel()

    async def _read(self) -> None:
        async for event in self.call:
            now = time.monotonic()
            if isinstance(event, Closed):
                why = f"the server sent {event.reason!r} and" if event.reason else "the server"
                self.closed = f"{why} closed the connection"
            else:
                self._observe(self._timed(event, now))
            self._changed.set()

    def _timed(self, event: Event, now: float) -> Observed[Event]:
        if isinstance(event, (Paused, Flushed)):
            self._playing_until = 0.0  # a player stops here
        if not isinstance(event, ReplyAudio):
            return Observed(now, event)
        pcm, plays_at = decode(event.pcm, "float32"), max(now, self._playing_until)
        self._playing_until = plays_at + len(pcm) / SPEECH_RATE
        return Observed(now, event, pcm, plays_at)

    def _observe(self, observed: Observed[Event]) -> None:
        self.log.append(observed)
        if self._watch:
            self._watch(observed)


async def converse(
    pcm: Samples,
    asr_url: str,
    tts_url: str,
    *,
    fast: bool = False,
    timeout_s: float = 60.0,
    **call: Any,
) -> Result:
    """A whole call of one recording (float32 [samples] at 16 kHz); `call` are the keywords of
    `TimedCall`. Raises `CallError`.
    """
    async with TimedCall(asr_url, tts_url, **call) as open_call:
        return await open_call.turn(pcm, fast=fast, timeout_s=timeout_s)


def only(log: Iterable[Observed[Any]], *kinds: type[E_co]) -> list[Observed[E_co]]:
    """What was observed of these kinds of events."""
    return [cast("Observed[E_co]", one) for one in log if isinstance(one.event, kinds)]


def _open(log: Log) -> bool:
    """Whether the user is still speaking, or was and it is not yet known what that was."""
    speaking = False
    for one in log:
        match one.event:
            case SpeechStarted():
                speaking = True
            case Resumed() | Transcript(final=True):
                speaking = False
    return speaking


def _missing(log: Log) -> str:
    steps: dict[type, str] = {
        SpeechStarted: "no speech was detected",
        Transcript: "no transcript came",
        UserTurn: "the turn did not end",
        ReplyText: "no reply text came",
        ReplyAudio: "no audio came",
        ReplyDone: "the audio did not end",
    }
    return next(
        (what for kind, what in steps.items() if not only(log, kind)),
        "all parts came, but not of the last turn",
    )


def reply_text(pieces: Iterable[ReplyText]) -> str:
    """The pieces of a reply, without those that a later one made void."""
    texts: list[str] = []
    for piece in pieces:
        texts = [*([] if piece.afresh else texts), piece.text]
    return " ".join(filter(None, texts))


def result_of(
    log: Log, began: float = 0.0, end_of_speech: float = 0.0, origin: float | None = None
) -> Result:
    """`origin`: when the first sample of the call was spoken; None = not in real time, so no
    transcript has a lag.
    """
    events = [one.event for one in log]
    transcripts = [(one.at, one.event) for one in log if isinstance(one.event, Transcript)]
    latencies = [event for event in events if isinstance(event, Latency)]
    return Result(
        transcript=" ".join(event.text for event in events if isinstance(event, UserTurn)),
        reply=reply_text(event for event in events if isinstance(event, ReplyText)),
        audio=np.concatenate([NO_AUDIO, *(one.pcm for one in log)]),
        began=began,
        end_of_speech=end_of_speech,
        first_transcript=_first(log, Transcript),
        first_reply=_first(log, ReplyText),
        first_audio=first_audible(log),
        transcript_lags=tuple(
            at - origin - event.end
            for at, event in transcripts
            if event.text and origin is not None
        ),
        latency=latencies[-1] if latencies else None,
        log=tuple(log),
    )


def _first(log: Log, kind: type[Any]) -> float | None:
    return next((one.at for one in only(log, kind)), None)


def first_audible(log: Iterable[Observed[Any]]) -> float | None:
    """When the first audible sample of a log is played."""
    for one in log:
        loud = np.flatnonzero(np.abs(one.pcm) > AUDIBLE)
        if loud.size:
            return float(one.plays_at + loud[0] / SPEECH_RATE)
    return None
