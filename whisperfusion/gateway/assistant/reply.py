"""The spoken reply to one turn, on one call, which may be opened again in the middle of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress

from whisperfusion.client import (
    Call,
    Closed,
    Event,
    Failed,
    PlayedText,
    Reconnected,
    ReplyAudio,
    ReplyDone,
    ReplyText,
    ToolUsed,
    Transcript,
    UserTurn,
)
from whisperfusion.gateway.upstream import DOWN, server_down
from whisperfusion.wire import asr_events
from whisperfusion.wire.openai_rest import ApiError

# the client says when a turn is over, and plays at its own pace
TURN = {"turn_detection": "manual", "paced": False, "send_history": True}
NO_SPEECH = "no words were heard; speak up, or check the format of the sound"
# a position behind the end of any reply. The exact one would be too short: the server does not know
# yet how long the sentences are that it has not played, and takes them for as long as they would be
# at a normal pace of speech, so of a faster voice the last words would be missing in the history
ALL_S = 86_400.0
KEPT_S = 2.0  # for the server to say that it has taken a reply as played


class TurnLost(ApiError):
    """The turn was lost before anything of its reply came: it may be sent again."""

    def __init__(self) -> None:
        lost = server_down(DOWN)
        super().__init__(
            lost.status, lost.message, code=lost.code, retry_after_s=lost.retry_after_s
        )


class SpokenReply:
    """One reply while it arrives: its audio, its text, and the transcript that it answers.

    `after`: the last turn that had a reply; events of older turns belong to one that was
    interrupted. A reply that is cut off with its connection goes on with the server's apology and
    the reply that it gives again.
    """

    def __init__(self, after: int = 0, transcript: str = "", comes_again: bool = False) -> None:
        """`comes_again`: it was cut off in an earlier call, in which `transcript` was said."""
        self.transcript, self.text, self.turn = transcript, "", after
        self.comes_again = comes_again  # as a turn of its own, after the apology
        self.given_again = self.sets_timer = self.is_announcement = False
        self._started = self._apology = False

    @classmethod
    def announced(cls, event: ReplyText) -> SpokenReply:
        """One that the server gives without a turn, such as a timer; `event` is its first text. One
        that is cut off is said again as another.
        """
        reply = cls(event.turn)
        reply.text, reply._started, reply.is_announcement = event.text, True, True
        return reply

    async def audio(self, call: Call) -> AsyncIterator[bytes]:
        """s16 at 24 kHz. Raises TurnLost and ApiError."""
        while True:
            event = await call.receive()
            match event:
                case ReplyAudio(turn, pcm) if self._is_mine(turn):
                    yield pcm
                case ReplyDone(turn) if self._is_mine(turn):
                    if not self._apology:
                        return
                    self._started = False
                case Reconnected(resumed):
                    self._cut_off(call.ready if resumed and call.ready.pending else None)
            self.receive(event)

    def _cut_off(self, pending: asr_events.Ready | None) -> None:
        """The call is open again, with turns that are counted anew."""
        answered, self.turn = self._started or self.comes_again, 0
        if self.is_announcement:
            raise TurnLost
        if pending is not None:
            self.comes_again, self._started = True, False
            self.transcript = self.transcript or asked_last(pending)
        elif answered:
            raise server_down(DOWN)
        else:
            raise TurnLost

    def receive(self, event: Event) -> None:
        """Raises ApiError when no reply comes."""
        match event:
            case UserTurn(turn, text) if turn > self.turn and not self.comes_again:
                self.transcript, self.turn, self._started = text, turn, True
            case ReplyText(turn) if self.comes_again and not self._started and turn > self.turn:
                self.turn, self._started, self._apology = turn, True, event.announced
                self.given_again = not event.announced
                self.text = "" if event.announced else event.text
            case ReplyText(turn, _, text) if self._is_mine(turn) and not self._apology:
                before = "" if event.afresh else self.text
                self.text = f"{before} {text}".strip()
            case ToolUsed(_, _, "set_timer"):
                self.sets_timer = True
            case Transcript("", final=True) | Failed("nothing_said"):
                raise ApiError(400, NO_SPEECH, code="no_speech")
            case Failed(code, message) if self._concerns(event.turn):
                raise ApiError(500, message, code=code)
            case Closed(reason):
                raise server_down(reason)

    def _is_mine(self, turn: int) -> bool:
        return self._started and turn == self.turn

    def _concerns(self, turn: int | None) -> bool:
        """Whether a failure is of the call, of this turn, or of the next before its transcript."""
        if turn is None:
            return True
        return turn == self.turn if self._started else turn > self.turn


def asked_last(ready: asr_events.Ready) -> str:
    """What the user said last in an earlier call."""
    said = [line.text for line in ready.history or () if line.role == "user"]
    return said[-1] if said else ""


async def send_turn(call: Call, pieces: AsyncGenerator[bytes, None]) -> None:
    """A whole turn: its audio, and that it is over. Ends early where the call is lost: one that is
    opened again meanwhile would take the rest for a turn of its own.
    """
    uid = call.uid
    async with aclosing(pieces):
        async for piece in pieces:
            if not call.is_open or call.uid != uid:
                return
            await call.send_audio(piece)
    if call.is_open and call.uid == uid:
        await call.send("commit")


async def counts_as_played(call: Call, turn: int) -> None:
    """The client has all of the reply, however long it lasts: the next turn does not overlap it."""
    await call.send("heard", turn=turn, seconds=ALL_S)
    await call.send("interrupt")


async def reply_to(
    call: Call, reply: SpokenReply, pieces: Callable[[], AsyncGenerator[bytes, None]]
) -> bytes:
    """The audio of the reply to a recording. `pieces`: its audio, which is sent once again if it
    is lost with a process: what kills one must not do so for ever. Raises ApiError.
    """
    await send_turn(call, pieces())
    try:
        pcm = await _whole(call, reply)
    except TurnLost:
        await send_turn(call, pieces())
        pcm = await _whole(call, reply)
    await counts_as_played(call, reply.turn)
    with suppress(TimeoutError, asyncio.TimeoutError):
        await asyncio.wait_for(_until_kept(call, reply.turn), KEPT_S)
    return pcm


async def _whole(call: Call, reply: SpokenReply) -> bytes:
    """Without what was cut off, and the apology for that."""
    parts: list[bytes] = []
    given_again = False
    async for part in reply.audio(call):
        if reply.given_again and not given_again:
            given_again = True
            parts.clear()
        parts.append(part)
    return b"".join(parts)


async def _until_kept(call: Call, turn: int) -> None:
    while True:
        match await call.receive():
            case PlayedText(number) if number == turn:
                return
            case Closed():
                return
