"""Telephone numbers, row by row, and in most languages digit by digit."""

from __future__ import annotations

import re
from collections.abc import Callable

INTERNATIONAL = re.compile(
    r"(?<![\w+])\+([0-9]{1,3}(?:(?:[ /.-]\(?|\()[0-9]{1,9}\)?){1,7}|[0-9]{8,15})(?![\w]|[.-][0-9])"
)
ROWS = re.compile("[0-9]+")


def rows(text: str, said: Callable[[str], str]) -> str:
    """The rows of digits of a telephone number, each followed by a pause."""
    return ", ".join(said(row) for row in ROWS.findall(text))


def one_by_one(row: str, cardinal: Callable[[int], str]) -> str:
    return " ".join(cardinal(int(c)) for c in row)


def telephones(
    plus: str, local: re.Pattern[str], cardinal: Callable[[int], str]
) -> Callable[[str], str]:
    """`Language.telephones`: with `plus` before a country's number, and what `local` finds."""

    def said(row: str) -> str:
        return one_by_one(row, cardinal)

    def replaced(text: str) -> str:
        text = INTERNATIONAL.sub(lambda m: f"{plus} {rows(m[1], said)}", text)
        return local.sub(lambda m: rows(m[0], said), text)

    return replaced
