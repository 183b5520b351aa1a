"""The conversation of a Realtime session as its client sees it: items in order, within limits in
bytes.

A session keeps its newest items, as many as fit into `SESSION_BYTES`; all sessions together keep
what a `Budget` allows, and beyond it a client's new items are refused. Responses are cut here to
what the user heard of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from whisperfusion.gateway.realtime.response import Response
from whisperfusion.wire.realtime import RealtimeError
from whisperfusion.wire.realtime_history import words_of
from whisperfusion.wire.realtime_items import answer_item, item_of

MOST_ITEMS, SESSION_BYTES = 1000, 2 * 2**20  # of one session
# of an answer, played at most, after which it is no dialogue: the user had not finished
BROKEN_OFF_MS = 1250
ALL_BYTES = 128 * 2**20  # of the items, and of the sound in items, of all sessions


class Budget:
    """Bytes that all sessions may hold together."""

    def __init__(self, most: int) -> None:
        self._most, self.held = most, 0

    def check(self, size: int) -> None:
        """Raises RealtimeError when `size` more bytes are too many."""
        if self.held + size > self._most:
            how = "delete items, end a session, or try again later"
            raise RealtimeError(
                "rate_limit_exceeded", f"the sessions of this server hold too much; {how}", "item"
            )


class Items:
    """Use `close` at the end. `sent`: the call knows the conversation as it is."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._items: dict[str, dict[str, Any]] = {}
        self._sizes: dict[str, int] = {}
        self._answers: dict[str, Response] = {}  # those that were spoken
        self._soft: set[str] = set()  # those that began although the user had not finished
        self.size = 0  # bytes
        self.sent = True

    def close(self) -> None:
        self._budget.held -= self.size
        self.size = 0

    def all(self) -> Sequence[dict[str, Any]]:
        return list(self._items.values())

    def dialogue(self) -> Sequence[dict[str, Any]]:
        """What the model is told of it: without answers that began too early, as in a call."""
        return [item for id, item in self._items.items() if id not in self._soft]

    @property
    def last(self) -> str | None:
        return next(reversed(self._items), None)

    @property
    def spoke(self) -> bool:
        """Did the user hear a response?"""
        return bool(self._answers)

    def keep(self, item: dict[str, Any]) -> dict[str, Any]:
        self._put(item)
        self._make_room()
        return item

    def _make_room(self) -> None:
        while len(self._items) > 1 and (len(self._items) > MOST_ITEMS or self.size > SESSION_BYTES):
            self.forget(next(iter(self._items)))

    def _put(self, item: dict[str, Any]) -> None:
        self._count(item["id"], len(json.dumps(item)))
        self._items[item["id"]] = item

    def _count(self, id: str, size: int) -> None:
        more = size - self._sizes.pop(id, 0)
        self.size += more
        self._budget.held += more
        if size:
            self._sizes[id] = size

    def forget(self, id: str) -> None:
        self._count(id, 0)
        self._items.pop(id, None)
        self._answers.pop(id, None)
        self._soft.discard(id)

    def replace(self, item: dict[str, Any]) -> None:
        if item["id"] in self._items:
            self._put(item)

    def insert(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
        """What conversation.item.create asks for, and the item before it. Raises RealtimeError."""
        item, after = item_of(given.get("item")), given.get("previous_item_id")
        if item["id"] in self._items:
            raise RealtimeError(
                "item_create_invalid_item_id", f"there is an item {item['id']!r} already", "item.id"
            )
        if after is not None and after != "root" and after not in self._items:
            raise RealtimeError(
                "item_create_invalid_previous_item_id",
                f"there is no item {str(after)[:60]!r}",
                "previous_item_id",
            )
        self._budget.check(len(json.dumps(item)))
        previous = self.last if after is None else str(after)
        if after == "root":
            previous = None
        self._put(item)
        if after is not None:
            order = [id for id in self._items if id != item["id"]]
            order.insert(0 if previous is None else order.index(previous) + 1, item["id"])
            self._items = {id: self._items[id] for id in order}
        self.keep(item)  # the oldest make room
        self.sent = False
        return item, previous

    def remembered(self, items: Iterable[dict[str, Any]]) -> None:
        """What was said before this session, in front of what the client has put in already."""
        own, self._items = self._items, {}
        for item in items:
            self._put(item)
        self._items |= own
        self._make_room()
        self.sent = not own

    def get(self, given: Mapping[str, Any], code: str) -> dict[str, Any]:
        item = self._items.get(str(given.get("item_id")))
        if item is None:
            raise RealtimeError(
                code, f"there is no item {str(given.get('item_id'))[:60]!r}", "item_id"
            )
        return item

    # --- responses that were cut -----------------------------------------------------------------

    def answered(self, response: Response) -> None:
        if response.item is not None:
            self._answers[response.item["id"]] = response

    def broke_off(self, response: Response) -> None:
        """The user went on under it. One that calls a tool is needed before the tool's output."""
        played_ms = response.audio_ms if response.played_ms is None else response.played_ms
        short = response.modality == "audio" and played_ms < BROKEN_OFF_MS
        if short and response.item is not None and not response.calls_tool:
            self._soft.add(response.item["id"])

    def call_ended(self) -> None:
        """Turns are numbered anew in the next call."""
        for response in self._answers.values():
            response.turn = None

    def of_turn(self, turn: int) -> Response | None:
        return next((one for one in reversed(self._answers.values()) if one.turn == turn), None)

    def played(self, turn: int, text: str) -> None:
        """The user heard `text` of the reply of `turn`."""
        response = self.of_turn(turn)
        if response is not None and response.item is not None:
            self.replace(answer_item(response.item["id"], response.modality, text, "incomplete"))

    def truncate(self, item: Mapping[str, Any], end_ms: float) -> Response | None:
        """The user heard `item` up to `end_ms`: the response, if the call can still tell
        which words that was.

        Of another one the words are counted out.
        """
        if item["type"] != "message" or item["role"] != "assistant":
            raise RealtimeError("invalid_value", "only an answer can be truncated", "item_id")
        response = self._answers.get(item["id"])
        if response is None:
            return None
        if response.turn is not None and next(reversed(self._answers)) == item["id"]:
            return response
        words = words_of(item).split()
        share = min(1.0, end_ms / response.audio_ms) if response.audio_ms else 1.0
        self.replace(
            answer_item(
                item["id"],
                response.modality,
                " ".join(words[: int(len(words) * share)]),
                "incomplete",
            )
        )
        self.sent = False
        return None
