"""Who spoke the turn that has just ended, for one call.

Listened to with each final transcript, in a thread of its own, and nearly always known before the
words are. Only the client's final transcript waits for it, at most `LATE_S`. A turn waits where the
call listens to known speakers only (whisperfusion/turns/known_voices.py), and no longer than that
says.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from whisperfusion.audio import Samples
from whisperfusion.call.speakers import Job, SpeakerService
from whisperfusion.messages import Ticket
from whisperfusion.speakers import letters
from whisperfusion.speakers.call_speakers import CallSpeakers, embed_turn
from whisperfusion.wire import asr_socket as wire

LATE_S = 3.0  # after which a transcript is sent without its speaker


@dataclass(eq=False)
class _Turn:
    """`requested`, `answered`: numbers of its newest request, and of its newest answer."""

    number: int
    requested: int = 0
    answered: int = 0
    heard: tuple[Samples, float] | None = None
    deliver: Callable[[str], None] | None = None  # what waits for its speaker
    timer: asyncio.TimerHandle | None = None


class TurnSpeakers:
    """On the event loop, but for the embedding. `guarded` calls a function whose failure is the
    call's; `known` are embeddings by name.
    """

    def __init__(
        self,
        call: str,
        service: SpeakerService,
        handshake: wire.Handshake,
        known: Mapping[str, Samples],
        guarded: Callable[..., None],
    ) -> None:
        self._call, self._service, self._guarded = call, service, guarded
        self._loop = asyncio.get_running_loop()
        live = handshake.dialect is wire.Dialect.WHISPER_LIVE
        self._speakers = CallSpeakers(
            service.encoder.same_speaker,
            known,
            handshake.max_speakers,
            whisper_live_name if live else letters,
        )
        self._turn = _Turn(0)
        self._only = bool(handshake.known_speakers_only)
        self._over: list[_Turn] = []  # turns whose speakers are waited for, in order
        self._settled = asyncio.Event()
        self._settled.set()

    def listen(
        self, pcm: Samples, told: Callable[[bool | None], object] = lambda known: None
    ) -> None:
        """`pcm`: the turn so far. A newer request of a turn replaces one that waits. `told` gets
        whether it is the voice of a known speaker; None = that cannot be told.
        """
        turn, encoder = self._turn, self._service.encoder
        turn.requested += 1
        number, detector = turn.requested, self._service.create_detector

        def done(found: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop may have ended
                self._loop.call_soon_threadsafe(
                    self._guarded, self._found, turn, number, found, told
                )

        job = Job(lambda: embed_turn(pcm, encoder, detector()), done)
        key = ("speaker", turn.number)
        self._service.calls.put(Ticket(self._call, 0), job, replace=key, urgent=True)

    def end_turn(self, deliver: Callable[[str], None]) -> None:
        """The turn is over: `deliver` gets its speaker, "" = not known; now, or as soon as it is
        known.
        """
        turn = self._turn
        self.drop()
        turn.deliver = deliver
        self._over.append(turn)
        self._settled.clear()
        if turn.answered == turn.requested:
            self._deliver(turn)
        else:
            turn.timer = self._loop.call_later(LATE_S, self._guarded, self._deliver, turn)

    def drop(self) -> None:
        """The next turn begins."""
        self._turn = _Turn(self._turn.number + 1)

    async def settled(self) -> None:
        """Until no transcript waits for its speaker."""
        await self._settled.wait()

    def hang_up(self) -> None:
        self._service.calls.forget(self._call)
        for turn in self._over:
            if turn.timer is not None:
                turn.timer.cancel()
        self._over.clear()

    def _found(
        self, turn: _Turn, number: int, found: Any, told: Callable[[bool | None], object]
    ) -> None:
        """`found` None: no speech; an error is in the log."""
        turn.answered = max(turn.answered, number)
        if isinstance(found, tuple):
            turn.heard = found
        known = self._speakers.known_speaker(*found) if isinstance(found, tuple) else None
        told(None if known is None else bool(known))
        if number == turn.requested:
            self._deliver(turn)

    def _deliver(self, turn: _Turn) -> None:
        """To the transcript that waits, if one does."""
        if turn not in self._over or turn.deliver is None:
            return
        if turn.timer is not None:
            turn.timer.cancel()
        self._over.remove(turn)
        if not self._over:
            self._settled.set()
        turn.deliver(self._name(turn))

    def _name(self, turn: _Turn) -> str:
        """Its speaker, "" = not known. Where turns count by their voices, names are no guesses."""
        if turn.heard is None:
            return ""
        known = self._speakers.known_speaker(*turn.heard) if self._only else ""
        return "" if known is None else known or self._speakers.speaker_of(*turn.heard)


def whisper_live_name(number: int) -> str:
    return f"SPEAKER_{number:02}"
