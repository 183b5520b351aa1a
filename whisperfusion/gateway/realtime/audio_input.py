"""The input audio buffer of a Realtime session, and the items that it becomes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from whisperfusion.client import Transcript
from whisperfusion.gateway.realtime.items import Items
from whisperfusion.gateway.realtime.response import Send
from whisperfusion.gateway.sound import InputConverter, milliseconds
from whisperfusion.wire.realtime import PCM, RATES, RealtimeError, Session
from whisperfusion.wire.realtime_history import transcription_usage
from whisperfusion.wire.realtime_items import decoded, event, new_id, spoken_item

LEAST_MS = 100.0  # of sound, to be committed
LONGEST_MS = 600_000.0  # of sound, while the client decides when a turn is over
PIECE_S = 10  # of sound that are converted at once: others get the processor in between


def piece_bytes(kind: str) -> int:
    return PIECE_S * RATES[kind] * (2 if kind == PCM else 1)


async def in_turns(pieces: Iterator[bytes]) -> bytes:
    """All pieces; between two of them others get the processor."""
    parts: list[bytes] = []
    for piece in pieces:
        if parts:
            await asyncio.sleep(0)
        parts.append(piece)
    return b"".join(parts)


class Input:
    """Audio on its way to the call, and the events about it."""

    def __init__(self, send: Send, items: Items, session: Session) -> None:
        self._send, self._items = send, items
        self.session = session
        self._decoder = InputConverter(session.input_format)
        self.total_ms = self._buffered_ms = 0.0
        self._speech: dict[str, str] | None = None  # announced: {"item_id"}
        # items whose transcripts are on their way, and their lengths in ms
        self._committed: list[tuple[str, float]] = []

    def configure(self, session: Session) -> None:
        if session.input_format != self.session.input_format:
            self._decoder = InputConverter(session.input_format)
        self.session = session

    @property
    def speaking(self) -> bool:
        return self._speech is not None

    @property
    def awaits_transcript(self) -> bool:
        return bool(self._committed)

    @property
    def at_rest(self) -> bool:
        """Nothing would be lost without the call."""
        return (
            not self._committed
            and self._speech is None
            and (self.session.turns is not None or not self._buffered_ms)
        )

    async def append(self, given: dict[str, Any]) -> bytes:
        """The audio of input_audio_buffer.append (removed from it), in the session's format.

        Raises RealtimeError.
        """
        data = await in_turns(decoded(given.pop("audio", None)))
        length = milliseconds(self.session.input_format, len(data))
        if self.session.turns is None and self._buffered_ms + length > LONGEST_MS:
            problem = (
                f"the buffer holds at most {LONGEST_MS / 60_000:.0f} minutes; commit or "
                "clear it first"
            )
            raise RealtimeError("input_audio_buffer_full", problem, "audio")
        self.total_ms += length
        self._buffered_ms += length
        return data

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """`data` as s16 at 16 kHz, in pieces of a few seconds."""
        size = piece_bytes(self.session.input_format)
        for start in range(0, len(data), size):
            yield self._decoder.feed(data[start : start + size])

    def check_commit(self) -> None:
        if self._buffered_ms < LEAST_MS:
            held = (
                f"the buffer holds {self._buffered_ms:.0f} ms; at least {LEAST_MS:.0f} are needed"
            )
            raise RealtimeError("input_audio_buffer_commit_empty", held)

    async def clear(self) -> None:
        self._buffered_ms, self._speech = 0.0, None
        await self._send(event("input_audio_buffer.cleared"))

    async def speech_started(self, at_ms: float) -> None:
        """The user speaks, from `at_ms` of the session's audio on."""
        self._speech = {"item_id": new_id("item")}
        await self._send(
            event("input_audio_buffer.speech_started", audio_start_ms=round(at_ms), **self._speech)
        )

    async def was_nothing(self) -> None:
        """The speech had no words."""
        if self._committed:
            await self.transcribed("")
        elif self._speech is not None:
            speech, self._speech = self._speech, None
            await self._send(
                event(
                    "input_audio_buffer.speech_stopped", audio_end_ms=round(self.total_ms), **speech
                )
            )

    async def commit(self, text: str | None, said: Transcript | None = None) -> None:
        """The buffer becomes an item; its transcript is `text`, or on its way (None)."""
        id, length = (self._speech or {}).get("item_id") or new_id("item"), self._buffered_ms
        if self._speech is not None:
            await self._send(
                event(
                    "input_audio_buffer.speech_stopped",
                    item_id=id,
                    audio_end_ms=round(self.total_ms),
                )
            )
        previous = self._items.last
        self._speech, self._buffered_ms = None, 0.0
        await self._send(
            event("input_audio_buffer.committed", item_id=id, previous_item_id=previous)
        )
        item = self._items.keep(spoken_item(id, None))
        await self._send(event("conversation.item.added", previous_item_id=previous, item=item))
        await self._send(event("conversation.item.done", previous_item_id=previous, item=item))
        self._committed.append((id, length))
        if text is not None:
            await self.transcribed(text, said)

    async def ignored(self, said: Transcript) -> None:
        """Of a voice that the call does not listen to: shown, and not an item with words."""
        speech = (self._speech or {}).get("item_id")
        id = self._committed[0][0] if self._committed else speech or new_id("item")
        await self._segment(id, said, ignored=True)
        await self.was_nothing()

    async def _segment(self, id: str, said: Transcript, **more: bool) -> None:
        """OpenAI's event for whose words they are; seconds of the audio of the call."""
        if not self.session.shows_speakers:
            return
        kind = "conversation.item.input_audio_transcription.segment"
        found = {"text": said.text, "speaker": said.speaker, "start": said.start, "end": said.end}
        place = {"item_id": id, "content_index": 0, "id": new_id("seg")}
        await self._send(event(kind, **place, **found, **more))

    async def transcribed(self, text: str, said: Transcript | None = None) -> None:
        """The transcript of the item that was committed first; `said` has its speaker."""
        id, length = self._committed.pop(0)
        self._items.replace(spoken_item(id, text))
        if self.session.transcription is None:
            return
        if said is not None and text:
            await self._segment(id, said)
        place = {"item_id": id, "content_index": 0}
        if text:
            await self._send(
                event("conversation.item.input_audio_transcription.delta", **place, delta=text)
            )
        kind = "conversation.item.input_audio_transcription.completed"
        await self._send(
            event(kind, **place, transcript=text, usage=transcription_usage(text, length))
        )

    async def failed(self, code: str, message: str) -> None:
        """The transcript of the item that was committed first will not come."""
        id, _ = self._committed.pop(0)
        problem = {"type": "server_error", "code": code, "message": message, "param": None}
        await self._send(
            event(
                "conversation.item.input_audio_transcription.failed",
                item_id=id,
                content_index=0,
                error=problem,
            )
        )

    async def call_ended(self, message: str) -> None:
        """Transcripts that were on their way will not come."""
        self._buffered_ms = 0.0
        if self._speech is not None:
            await self.was_nothing()
        while self._committed:
            await self.failed("server_down", message)
