"""Which of the server's slots reads which dialogue.

A slot remembers the tokens of the dialogue that it read last, so a dialogue that comes back must get its own
slot: then only its new line is read. The server's own choice (the most similar prompt) gives every caller the
same slot, because all their prompts start with the same instructions. Here a dialogue belongs to a slot if it
repeats at least half of what the slot was asked beyond the instructions (the reply may have been cut short, or
a guess); else it gets the slot unused for longest.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

from fusion.engines.chat import Lines

FEW = 24  # characters, about six tokens: as many as the template puts after a line
READING_S = 0.0005  # to read a character again: 2 ms a token on 2 cores
PATIENCE_S = 0.3  # at most, for the own slot, when the answer to an earlier guess of the same words still runs there


@dataclass
class Slot:
    id: int
    text: str = ""  # what it was asked last
    answer: str = ""  # what it said to that: it holds this as well
    used: int = 0  # rises with each use
    busy: bool = False
    preparing: bool = False
    left: bool = False  # nobody listens to it any more: it is free after the token at hand
    need: int = 0  # tokens of the work at hand


class Slots:
    """`take` and `release` may be called by any thread; `changed` is notified when a slot becomes free."""

    def __init__(self, count: int, tokens: int) -> None:
        self._slots = [Slot(id) for id in range(count)]
        self._tokens, self._uses = tokens, 0
        self.changed = threading.Condition()

    def take(self, lines: Lines, need: int, waited_s: float, preparing: bool = False) -> Slot | None:
        """A slot for `lines`, or None: wait for `changed`. `need` tokens at most will be used; all share one memory."""
        head, text = len(plain(lines[:1])), plain(lines)
        with self.changed:
            busy = [s for s in self._slots if s.busy]
            if busy and sum(s.need for s in busy) + need > self._tokens:
                return None
            own = max((s for s in self._slots if belongs(text, s.text, head)), key=lambda s: common(text, s.text), default=None)
            if own is not None and own.busy:
                worth_s = min(PATIENCE_S, (common(text, own.text) - head) * READING_S)  # other callers may begin with the same words
                if waited_s < (PATIENCE_S if own.preparing or own.left else worth_s):
                    return None
            if own is None or own.busy:
                free = [s for s in self._slots if not s.busy]
                if not free:
                    return None
                own = min(free, key=lambda s: s.used)
            self._uses += 1
            own.busy, own.preparing, own.left, own.need, own.used = True, preparing, False, need, self._uses
            own.text, own.answer = text, ""
            return own

    def known(self, lines: Lines) -> bool:
        """Does a slot hold `lines` already, but for a few words? Reading those alone costs as much as reading them with more."""
        text = plain(lines)
        with self.changed:
            return any(len(text) - common(text, slot.text + slot.answer) <= FEW for slot in self._slots)

    def answered(self, slot: Slot, text: str) -> None:
        """`slot` holds its answer as well."""
        with self.changed:
            slot.answer = plain((("assistant", text),)) if text else ""

    def take_cold(self, lines: Lines) -> Slot | bool | None:
        """A slot of which nothing was ever asked, to be warmed with `lines`; False: not now; None: all are warm."""
        with self.changed:
            cold = next((slot for slot in self._slots if not slot.text), None)
            if cold is None or any(slot.busy for slot in self._slots):
                return None if cold is None else False
            cold.busy, cold.preparing, cold.need, cold.text = True, True, 0, plain(lines)
            return cold

    def leave(self, slot: Slot) -> None:
        """Nobody listens to `slot` any more."""
        with self.changed:
            slot.left = True

    def release(self, slot: Slot) -> None:
        with self.changed:
            slot.busy = False
            self.changed.notify_all()


def plain(lines: Lines) -> str:
    return "".join(f"{role}\n{text}\n" for role, text in lines)


def common(a: str, b: str) -> int:
    return len(os.path.commonprefix((a, b)))


def belongs(text: str, held: str, head: int) -> bool:
    """Whether `text` goes on with `held`; the first `head` characters (the instructions) say nothing."""
    shared = common(text, held)
    return bool(held) and shared >= head and (shared - head) * 2 >= len(held) - head
