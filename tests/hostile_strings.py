"""Strings that make a regular expression backtrack, derived from its own parse tree, and a program
that tries them.

    python tests/hostile_strings.py             # all patterns of the package
    python tests/hostile_strings.py PATTERN     # that one

Prints a line for each pattern that is not linear, and the number of patterns at the end.
"""

from __future__ import annotations

import importlib
import re
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Python 3.11 has it under another name
    import sre_constants as constants
    import sre_parse as parser

ROOT = Path(__file__).resolve().parent.parent
# characters; then a linear pattern takes less than a millisecond, an exponential one for ever
LENGTH = 3_000
LONGER = 30_000  # a quadratic one takes more than a second, a linear one some 5 ms
MOST_S = 0.5  # of processor time for one use of a pattern
SUSPECT_S = 0.01  # at `LENGTH`; a quadratic pattern takes more, and is tried on the longer strings
CLASSES = {
    constants.CATEGORY_DIGIT: "7",
    constants.CATEGORY_NOT_DIGIT: "x",
    constants.CATEGORY_SPACE: " ",
    constants.CATEGORY_NOT_SPACE: "x",
    constants.CATEGORY_WORD: "x",
    constants.CATEGORY_NOT_WORD: "!",
}
REPEATS = [
    getattr(constants, name)
    for name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
    if hasattr(constants, name)
]


class TooSlow(Exception):
    pass


# --- from a pattern to strings ------------------------------------------------------------------


def sample(items: Any, kind: int = 0) -> str:
    """A text that `items`, a part of a parse tree, match; `kind` picks other members of classes
    and other branches.
    """
    return "".join(_one(op, argument, kind) for op, argument in items)


def _one(op: Any, argument: Any, kind: int) -> str:
    if op is constants.LITERAL:
        return chr(argument)
    if op is constants.NOT_LITERAL:
        return "!" if chr(argument) != "!" else "?"
    if op is constants.ANY:
        return "x"
    if op is constants.IN:
        found = members(argument)
        return found[kind % len(found)] if found else "x"
    if op in REPEATS:
        low, _, inner = argument
        return sample(inner, kind) * max(low, 1 if kind % 2 else low)
    if op is constants.BRANCH:
        branches = argument[1]
        return sample(branches[kind % len(branches)], kind)
    if op is constants.SUBPATTERN:
        return sample(argument[-1], kind)
    if str(op) == "ATOMIC_GROUP":
        return sample(argument, kind)
    return ""


def members(parts: Any) -> list[str]:
    if parts and parts[0][0] is constants.NEGATE:
        shut = members(parts[1:])
        return [c for c in "x 7!.-a\t" if c not in shut] or ["\u00e9"]
    found: list[str] = []
    for op, argument in parts:
        if op is constants.LITERAL:
            found.append(chr(argument))
        elif op is constants.RANGE:
            found += [chr(argument[0]), chr(argument[1])]
        elif op is constants.CATEGORY:
            found.append(CLASSES.get(argument, "x"))
    return found


def repeats(items: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """(what leads there, body) of each part that may be repeated."""
    for op, argument in items:
        if op in REPEATS:
            yield before, argument[2]
            yield from repeats(argument[2], before)
        elif op is constants.BRANCH:
            for branch in argument[1]:
                yield from repeats(branch, before)
        elif op is constants.SUBPATTERN:
            yield from repeats(argument[-1], before)
        before += _one(op, argument, 1)


def strings(pattern: re.Pattern[str], length: int) -> set[str]:
    """Each repeated part again and again, behind what leads there and before what may not
    follow; and pairs of parts.
    """
    tree = parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE)
    units = {sample(tree, kind) for kind in range(3)} | {sample(tree, 1)[:-1]}
    leads = {""}
    for before, body in repeats(tree):
        leads.add(before)
        units |= {sample(body, kind) for kind in range(3)} | {before + sample(body)}
    units = {unit for unit in units if unit}
    fronts = [
        lead + unit * (length // len(unit))
        for unit in sorted(units)[:24]
        for lead in sorted(leads, key=len)[:4]
    ]
    made = {front + end for front in fronts for end in ("\x00", "  ")}
    few = sorted(units, key=len)[:4]
    made |= {(a + b) * (length // (len(a) + len(b))) for a in few for b in few if a != b}
    made |= {
        a * (length // 2 // len(a)) + b * (length // 2 // len(b)) + "!" for a in few for b in few
    }
    return made


# --- trying them --------------------------------------------------------------------------------


def slow(pattern: re.Pattern[str], length: int) -> str:
    """The string that took too long; "" = none did.

    `split` and `finditer` go where `sub` goes, and `match` where `search` begins.
    """
    uses: tuple[Any, ...] = (pattern.search, pattern.fullmatch, lambda text: pattern.sub("", text))
    suspect = False
    for text in strings(pattern, length):
        for use in uses:
            began = time.process_time()
            signal.setitimer(signal.ITIMER_VIRTUAL, MOST_S)
            try:
                use(text)
            except TooSlow:
                return f"{text[:60]!r} … {text[-10:]!r}, {len(text)} characters"
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            suspect = suspect or time.process_time() - began > SUSPECT_S
    return slow(pattern, LONGER) if suspect and length < LONGER else ""


def patterns() -> dict[str, re.Pattern[str]]:
    """Of modules and of their classes and tables, by name."""
    files = sorted((ROOT / "whisperfusion").rglob("*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    names = [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]
    found: dict[str, re.Pattern[str]] = {}
    for name in (*names, *(file.stem for file in sorted(ROOT.glob("*.py")))):
        for key, value in vars(importlib.import_module(name)).items():
            _collect(f"{name}.{key}", value, name, found)
    return found


def _collect(name: str, value: Any, module: str, found: dict[str, re.Pattern[str]]) -> None:
    if isinstance(value, re.Pattern):
        found[name] = value
    elif isinstance(value, dict):
        for key, one in value.items():
            _collect(f"{name}[{key!r}]", one, module, found)
    elif isinstance(value, (tuple, list, set, frozenset)):
        for at, one in enumerate(value):
            _collect(f"{name}[{at}]", one, module, found)
    elif isinstance(value, type) and value.__module__ == module:
        for key, one in vars(value).items():
            if key.startswith("__"):  # a schema of pydantic contains its own class
                continue
            _collect(f"{name}.{key}", one, module, found)


def main() -> None:
    def stop(number: int, frame: Any) -> None:
        raise TooSlow

    signal.signal(signal.SIGVTALRM, stop)
    given = {f"given {text}": re.compile(text) for text in sys.argv[1:]}
    sys.path.insert(0, str(ROOT))
    distinct = {
        (pattern.pattern, pattern.flags): (name, pattern)
        for name, pattern in (given or patterns()).items()
    }
    for name, pattern in distinct.values():
        if isinstance(pattern.pattern, str):
            found = slow(pattern, LENGTH)
            if found:
                print(f"{name} is not linear: {found}", flush=True)
    print(len(distinct))


if __name__ == "__main__":
    main()
