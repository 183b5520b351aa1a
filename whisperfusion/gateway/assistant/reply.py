"""The spoken reply to one turn, on one call."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from whisperfusion.client import (
    Call,
    Closed,
    Event,
    Failed,
    ReplyAudio,
    ReplyDone,
    ReplyText,
    Transcript,
    UserTurn,
)
from whisperfusion.gateway.upstream import server_down
from whisperfusion.wire.openai_rest import ApiError

# the client says when a turn is over, and plays at its own pace
TURN = {"turn_detection": "manual", "paced": False}
NO_SPEECH = "no words were heard; speak up, or check the format of the sound"


class SpokenReply:
    """One reply while it arrives: its audio, its text, and the transcript that it answers.

    `after`: the last turn that had a reply; events of older turns belong to one that was
    interrupted.
    """

    def __init__(self, after: int = 0) -> None:
        self.transcript = self.text = ""
        self.turn = after
        self._started = False

    async def audio(self, call: Call) -> AsyncIterator[bytes]:
        """s16 at 24 kHz. Raises ApiError."""
        while True:
            event = await call.receive()
            match event:
                case ReplyAudio(turn, pcm) if self._is_mine(turn):
                    yield pcm
                case ReplyDone(turn) if self._is_mine(turn):
                    return
            self.receive(event)

    def receive(self, event: Event) -> None:
        """Raises ApiError when there is no reply."""
        match event:
            case UserTurn(turn, text) if turn > self.turn:
                self.transcript, self.turn, self._started = text, turn, True
            case ReplyText(turn, _, text) if self._is_mine(turn):
                before = "" if event.afresh else self.text
                self.text = f"{before} {text}".strip()
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


async def send_turn(call: Call, pieces: AsyncGenerator[bytes, None]) -> None:
    """A whole turn: its audio, and that it is over."""
    async with aclosing(pieces):
        async for piece in pieces:
            await call.send_audio(piece)
    await call.send("commit")


async def reply_to(
    call: Call, reply: SpokenReply, pieces: AsyncGenerator[bytes, None]
) -> list[bytes]:
    """The audio of the reply to a recording, in pieces."""
    await send_turn(call, pieces)
    return [part async for part in reply.audio(call)]
