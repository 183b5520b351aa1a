"""A Realtime session's ear: the input audio buffer, what becomes of it, and the items that everybody has said."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from fusion.gateway.realtime_response import Response, Send
from fusion.gateway.sound import ToHeard, milliseconds
from fusion.wire.realtime import RealtimeError, Session
from fusion.wire.realtime_items import answer_item, event, item_of, new_id, spoken_item, transcription_usage, words_of

LARGEST_APPEND = 15 * 2**20  # bytes of base64 in one event
LEAST_MS = 100.0  # of sound, to be committed
MOST_ITEMS = 1000


class Items:
    """The conversation as the client sees it, in order. `told`: does the call know it as it is?"""

    def __init__(self) -> None:
        self._items: dict[str, dict[str, Any]] = {}
        self._answers: dict[str, Response] = {}  # those that were spoken
        self.told = True

    def all(self) -> Sequence[dict[str, Any]]:
        return list(self._items.values())

    @property
    def last(self) -> str | None:
        return next(reversed(self._items), None)

    @property
    def spoke(self) -> bool:
        """Was an answer heard?"""
        return bool(self._answers)

    def keep(self, item: dict[str, Any]) -> dict[str, Any]:
        self._items[item["id"]] = item
        while len(self._items) > MOST_ITEMS:
            self.forget(next(iter(self._items)))
        return item

    def forget(self, id: str) -> None:
        self._items.pop(id, None)
        self._answers.pop(id, None)

    def replace(self, item: dict[str, Any]) -> None:
        if item["id"] in self._items:
            self._items[item["id"]] = item

    def insert(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
        """What conversation.item.create asks for, and the item before it. Raises RealtimeError."""
        item, after = item_of(given.get("item")), given.get("previous_item_id")
        if item["id"] in self._items:
            raise RealtimeError("item_create_invalid_item_id", f"there is an item {item['id']!r} already", "item.id")
        if after is not None and after != "root" and after not in self._items:
            raise RealtimeError("item_create_invalid_previous_item_id", f"there is no item {str(after)[:60]!r}", "previous_item_id")
        previous = self.last if after is None else None if after == "root" else str(after)
        self.keep(item)
        if after is not None:
            order = [id for id in self._items if id != item["id"]]
            order.insert(0 if previous is None else order.index(previous) + 1, item["id"])
            self._items = {id: self._items[id] for id in order}
        self.told = False
        return item, previous

    def find(self, given: Mapping[str, Any], code: str) -> dict[str, Any]:
        item = self._items.get(str(given.get("item_id")))
        if item is None:
            raise RealtimeError(code, f"there is no item {str(given.get('item_id'))[:60]!r}", "item_id")
        return item

    # --- answers that were cut ----------------------------------------------------------------------------

    def answered(self, response: Response) -> None:
        if response.item is not None and response.turn is not None:
            self._answers[response.item["id"]] = response

    def heard(self, turn: int, text: str) -> None:
        """The call has cut its answer to what the client says was heard."""
        for id, response in self._answers.items():
            if response.turn == turn:
                self.replace(answer_item(id, response.modality, text, "incomplete"))

    def truncate(self, item: Mapping[str, Any], end_ms: float) -> Response | None:
        """The answer of `item` was heard up to `end_ms`: the response, if the call can still tell which words that was.

        Of an older one the words are counted out.
        """
        if item["type"] != "message" or item["role"] != "assistant":
            raise RealtimeError("invalid_value", "only an answer can be truncated", "item_id")
        response = self._answers.get(item["id"])
        if response is None or next(reversed(self._answers)) == item["id"]:
            return response
        said = words_of(item).split()
        share = min(1.0, end_ms / response.sound_ms) if response.sound_ms else 1.0
        self.replace(answer_item(item["id"], response.modality, " ".join(said[: int(len(said) * share)]), "incomplete"))
        self.told = False
        return None


class Input:
    """Sound on its way to the call, and the events about it."""

    def __init__(self, send: Send, items: Items, session: Session) -> None:
        self._send, self._items = send, items
        self.session = session
        self._decoder = ToHeard(session.heard)
        self.total_ms = self._buffered_ms = 0.0
        self._speech: dict[str, str] | None = None  # announced: {"item_id"}
        self._committed: list[tuple[str, float]] = []  # items whose words are on their way, and how long they are

    def configure(self, session: Session) -> None:
        if session.heard != self.session.heard:
            self._decoder = ToHeard(session.heard)
        self.session = session

    @property
    def speaking(self) -> bool:
        return self._speech is not None

    @property
    def awaits_words(self) -> bool:
        return bool(self._committed)

    def append(self, given: Mapping[str, Any]) -> bytes:
        """What input_audio_buffer.append brings, as s16 at 16 kHz. Raises RealtimeError."""
        audio = given.get("audio")
        if not isinstance(audio, str) or len(audio) > LARGEST_APPEND:
            raise RealtimeError("invalid_value", f"audio must be base64 text of at most {LARGEST_APPEND // 2**20} MiB", "audio")
        try:
            data = base64.b64decode(audio, validate=True)
        except (binascii.Error, ValueError):
            raise RealtimeError("invalid_value", "audio is no base64", "audio") from None
        length = milliseconds(self.session.heard, len(data))
        self.total_ms += length
        self._buffered_ms += length
        return self._decoder.feed(data)

    def check_commit(self) -> None:
        if self._buffered_ms < LEAST_MS:
            held = f"the buffer holds {self._buffered_ms:.0f} ms; at least {LEAST_MS:.0f} are needed"
            raise RealtimeError("input_audio_buffer_commit_empty", held)

    async def clear(self) -> None:
        self._buffered_ms, self._speech = 0.0, None
        await self._send(event("input_audio_buffer.cleared"))

    async def began(self, at_ms: float) -> None:
        """Somebody speaks."""
        self._speech = {"item_id": new_id("item")}
        await self._send(event("input_audio_buffer.speech_started", audio_start_ms=round(at_ms), **self._speech))

    async def was_nothing(self) -> None:
        """There were no words."""
        if self._committed:
            await self.words("")
        elif self._speech is not None:
            await self._send(event("input_audio_buffer.speech_stopped", audio_end_ms=round(self.total_ms), **self._speech))
            self._speech = None

    async def commit(self, text: str | None) -> None:
        """The buffer becomes an item; its words are `text`, or on their way."""
        id, length = (self._speech or {}).get("item_id") or new_id("item"), self._buffered_ms
        if self._speech is not None:
            await self._send(event("input_audio_buffer.speech_stopped", item_id=id, audio_end_ms=round(self.total_ms)))
        previous = self._items.last
        self._speech, self._buffered_ms = None, 0.0
        await self._send(event("input_audio_buffer.committed", item_id=id, previous_item_id=previous))
        item = self._items.keep(spoken_item(id, None))
        await self._send(event("conversation.item.added", previous_item_id=previous, item=item))
        await self._send(event("conversation.item.done", previous_item_id=previous, item=item))
        self._committed.append((id, length))
        if text is not None:
            await self.words(text)

    async def words(self, text: str) -> None:
        """The words of the item that was committed first."""
        id, length = self._committed.pop(0)
        self._items.replace(spoken_item(id, text))
        if self.session.transcription is None:
            return
        place = {"item_id": id, "content_index": 0}
        if text:
            await self._send(event("conversation.item.input_audio_transcription.delta", **place, delta=text))
        kind = "conversation.item.input_audio_transcription.completed"
        await self._send(event(kind, **place, transcript=text, usage=transcription_usage(text, length)))

    async def failed(self, code: str, message: str) -> None:
        """The words of the item that was committed first will not come."""
        id, _ = self._committed.pop(0)
        problem = {"type": "server_error", "code": code, "message": message, "param": None}
        await self._send(event("conversation.item.input_audio_transcription.failed", item_id=id, content_index=0, error=problem))
