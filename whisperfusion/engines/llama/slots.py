"""Which of the server's slots reads which dialogue.

A slot keeps the tokens of the dialogue that it read last, so a dialogue that comes back must get
its own slot: then only its new message is read. The server's own choice (the most similar prompt)
gives every caller the same slot, because all their prompts start with the same instructions. Here a
dialogue belongs to a slot if it repeats at least half of the slot's last prompt beyond the
instructions (the reply may have been cut short, or preemptive); else it gets the slot that has been
unused for longest.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field

from whisperfusion.engines.protocols import ChatHistory

FEW = 24  # characters, about six tokens: as many as the template puts after a line
READING_S = 0.0005  # to read a character again: 2 ms a token on 2 cores
# at most, for the own slot, while a preemptive reply to an earlier transcript still runs there
PATIENCE_S = 0.3
# at most, once that reply was cancelled: it ends with the step at hand, and its tokens stay
LEFT_S = 3.0


@dataclass
class Slot:
    id: int
    text: str = ""  # what it was asked last
    fresh: float = 1.0  # share of that which it did not hold before
    read: bool = False  # all of it
    answer: str = ""  # its answer to that, which it holds as well
    used: int = 0  # rises with each use
    busy: bool = False
    prefill: bool = False
    left: bool = False  # its work was cancelled: it is free after the token at hand
    need: int = 0  # tokens of the work at hand, or that it holds, at most
    # idle ones, whose memory the work at hand needs: to be cleared before
    evicted: list[Slot] = field(default_factory=list)


class Slots:
    """`take` and `release` may be called by any thread; `changed` is notified when a slot
    becomes free.
    """

    def __init__(self, count: int, tokens: int) -> None:
        self._slots = [Slot(id) for id in range(count)]
        self._tokens, self._uses = tokens, 0
        self.changed = threading.Condition()

    def acquire(
        self, lines: ChatHistory, need: int, waited_s: float, prefill: bool = False
    ) -> Slot | None:
        """A slot for `lines`, or None: wait for `changed`.

        `need` tokens at most will be used; all share one memory.
        """
        head, text = len(plain(lines[:1])), plain(lines)
        with self.changed:
            busy = [s for s in self._slots if s.busy]
            # long prompts leave a quarter to short ones
            room = self._tokens * 3 // 4 if self.much(need) else self._tokens
            if busy and sum(s.need for s in busy) + need > room:
                return None
            own = max(
                (s for s in self._slots if belongs(text, s.text, head)),
                key=lambda s: common(text, s.text),
                default=None,
            )
            if own is not None and own.busy:
                shared = common(text, own.text)
                # other callers may begin with the same words, so it is worth no more than what
                # would have to be read again elsewhere
                patience_s = min(PATIENCE_S, (shared - self._held_elsewhere(text)) * READING_S)
                if own.left:
                    patience_s = min(LEFT_S, max(PATIENCE_S, shared * READING_S))
                elif own.prefill:
                    patience_s = PATIENCE_S
                if waited_s < patience_s:
                    return None
            if own is None or own.busy:
                own = self._unused_for_longest()
                if own is None:
                    return None
            self._evict(own, need)
            self._uses += 1
            own.busy, own.prefill, own.left, own.need, own.used = (
                True,
                prefill,
                False,
                need,
                self._uses,
            )
            own.fresh = (
                1.0 - common(text, own.text + own.answer) / max(1, len(text)) if own.read else 1.0
            )
            own.text, own.answer, own.read = text, "", False
            return own

    def _unused_for_longest(self) -> Slot | None:
        free = [slot for slot in self._slots if not slot.busy]
        return min(free, key=lambda slot: slot.used, default=None)

    def _held_elsewhere(self, text: str) -> int:
        """Characters of `text` that the slot has read which would be taken instead."""
        other = self._unused_for_longest()
        return common(text, other.text + other.answer) if other is not None and other.read else 0

    def _evict(self, own: Slot, need: int) -> None:
        """What was used longest ago makes room.

        Left to itself, the server takes the first idle slot, and that may be one whose reply waits
        for its turn: then all of its prompt is read again, each time.
        """
        held = sum(slot.need for slot in self._slots if slot is not own) + need
        for slot in sorted(
            (s for s in self._slots if s.need and not s.busy and s is not own), key=lambda s: s.used
        ):
            if held <= self._tokens:
                return
            held -= slot.need
            slot.busy, slot.text, slot.answer, slot.read = True, "", "", False
            own.evicted.append(slot)

    def cleared(self, slot: Slot) -> None:
        """`slot` holds nothing any more."""
        with self.changed:
            slot.need = 0
            self.release(slot)

    def much(self, need: int) -> bool:
        """Are so many tokens a large part of the memory?"""
        return need > self._tokens // 8

    def known(self, lines: ChatHistory) -> bool:
        """Does a slot hold `lines` already, but for a few words?

        Reading those alone costs as much as reading them with more.
        """
        text = plain(lines)
        with self.changed:
            return any(
                slot.read and len(text) - common(text, slot.text + slot.answer) <= FEW
                for slot in self._slots
            )

    def answered(self, slot: Slot, text: str, read: bool = True) -> None:
        """`slot` holds its answer as well; not `read`: not even all that it was asked."""
        with self.changed:
            slot.answer, slot.read = plain((("assistant", text),)) if text else "", read

    def acquire_cold(self, lines: ChatHistory, need: int = 0) -> Slot | bool | None:
        """A slot of which nothing was ever asked, to be warmed with `lines`; False: not now;
        None: all are warm.
        """
        with self.changed:
            cold = next((slot for slot in self._slots if not slot.text), None)
            if cold is None or any(slot.busy for slot in self._slots):
                return None if cold is None else False
            cold.busy, cold.prefill, cold.need, cold.text = True, True, need, plain(lines)
            return cold

    def leave(self, slot: Slot) -> None:
        """The work in `slot` was cancelled."""
        with self.changed:
            slot.left = True

    def release(self, slot: Slot) -> None:
        with self.changed:
            for one in (slot, *slot.evicted):
                one.busy = False
            slot.evicted = []
            self.changed.notify_all()


def plain(lines: ChatHistory) -> str:
    return "".join(f"{role}\n{text}\n" for role, text in lines)


def common(a: str, b: str) -> int:
    return len(os.path.commonprefix((a, b)))  # noqa: RUF071


def belongs(text: str, held: str, head: int) -> bool:
    """Whether `text` goes on with `held`; the first `head` characters (the instructions) say
    nothing.
    """
    shared = common(text, held)
    return bool(held) and shared >= head and (shared - head) * 2 >= len(held) - head
