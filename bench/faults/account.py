"""What callers got, and whose it was.

Every caller has a code of five digits, which its questions carry and their answers repeat: the
scripted engines say back what they are asked, and a real model is instructed to begin with it. Any
text, and any sound of the scripted voice, that holds the code of another caller is a foreign
answer.
"""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from dataclasses import dataclass, field

CODE = re.compile(r"(?<!\d)\d{5}(?!\d)")


class Codes:
    """The codes that were given to callers."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._given: set[str] = set()

    def new(self) -> str:
        while (code := str(self._chance.randrange(10_000, 100_000))) in self._given:
            pass
        self._given.add(code)
        return code

    def foreign(self, own: str, text: str) -> list[str]:
        """Codes of other callers in `text`; digits that are no caller's code are a model's own."""
        return [one for one in CODE.findall(text) if one != own and one in self._given]


@dataclass(frozen=True)
class Noticed:
    """A caller was interrupted or refused, `at` seconds on `time.monotonic`."""

    at: float
    interface: str
    uid: str
    what: str


@dataclass
class Account:
    """Of all callers together. `count` is by interface and outcome:

    `answered`: the whole answer came. `told`: an error, a failed turn or a closed connection came
    in its place. `resumed`: the connection was lost, and the call goes on with its history.
    `forgotten`: it was opened again, without its history, which the caller is told. `unheard`: what
    was said was lost with a process, and is said again. `refused`: no server at the moment.
    `busy`: no place, which is a matter of the machine. Beside them lists of what must not be:
    `foreign` answers, `lost` turns, `stuck` waits, `wrong` answers.
    """

    codes: Codes
    count: Counter[tuple[str, str]] = field(default_factory=Counter)
    foreign: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    noticed: list[Noticed] = field(default_factory=list)
    repeated: int = 0  # answers in which the caller's own code was found: the check has teeth

    def add(
        self, interface: str, outcome: str, uid: str = "", what: str = "", at: float | None = None
    ) -> None:
        """`at`: when it was noticed, now if it is not said."""
        self.count[interface, outcome] += 1
        if outcome != "answered":
            when = time.monotonic() if at is None else at
            self.noticed.append(Noticed(when, interface, uid, f"{outcome}: {what}"))

    def read(self, interface: str, own: str, text: str) -> None:
        """Looks for the codes of others in what a caller got."""
        for code in self.codes.foreign(own, text):
            self.foreign.append(f"{interface}: caller {own} got {code}: {text[:200]!r}")
        self.repeated += own in text

    def total(self, outcome: str) -> int:
        return sum(number for (_, what), number in self.count.items() if what == outcome)

    @property
    def turns(self) -> int:
        return sum(self.count.values())

    @property
    def broken(self) -> list[str]:
        """What must not be, in words."""
        kinds = (
            ("foreign", self.foreign),
            ("lost", self.lost),
            ("stuck", self.stuck),
            ("wrong", self.wrong),
        )
        return [f"{name}: {one}" for name, found in kinds for one in found]
