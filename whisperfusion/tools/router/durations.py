"""How long, and until when, in the words of a transcript."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import NamedTuple

SECONDS = {"second": 1, "sec": 1, "minute": 60, "min": 60, "hour": 3600, "hr": 3600, "day": 86400}
UNIT = r"(second|sec|minute|min|hour|hr|day)s?\b"
NUMBER = r"(\d{1,6}(?:\.\d{1,3})?)"
HALVES = {"half": 0.5, "quarter": 0.25, "third": 1 / 3, "three quarters": 0.75}
PART = rf"(?:(?:a |an )?(half|quarter|third|3 quarters)(?: of)?(?: a| an)? {UNIT})"
COUNT = (
    rf"(?:{NUMBER}(?: and (?:a |1 )?(half|quarter))?[ -]{UNIT}(?: and (?:a |1 )?(half|quarter)\b)?)"
)
SINGLE = rf"(?:(?:a|an|another|1) {UNIT}(?: and (?:a |1 )?(half|quarter)\b)?)"
PIECE = re.compile(rf"{PART}|{COUNT}|{SINGLE}")
JOINT = re.compile(r"(?:,? and|,)? ?")
CLOCK = re.compile(
    r"\b(?:(half past|(?:a )?quarter past|(?:a )?quarter to|"
    r"(?:\d{1,2})(?: minutes?)? (?:past|to)) (\d{1,2})|"
    r"(?:at|by|until|for) (\d{1,2})(?:[:.](\d{2})| (\d{2}))?(?! ?%)|"
    r"(\d{1,2})(?:[:.](\d{2}))(?= ?o'clock| ?[ap]\.?m|\b)|(\d{1,2})(?= ?o'clock| ?[ap]\.?m\b))"
    r"(?: ?(o'clock))?(?: ?([ap])\.?m\b\.?)?"
    r"(?: in the (morning|afternoon|evening)| (?:at night|tonight))?"
)
NAMED = re.compile(r"\b(?:at|by|until|for) (noon|midday|midnight)\b")


class Span(NamedTuple):
    """`start` and `end` are the characters of the text that say it."""

    seconds: float
    start: int
    end: int


def duration(text: str) -> Span | None:
    """The first duration in a text with digits: "1 hour and 15 minutes", "half an hour"."""
    first = PIECE.search(text)
    if first is None:
        return None
    total, end = _seconds(first), first.end()
    while True:
        joint = JOINT.match(text, end)
        following = PIECE.match(text, joint.end() if joint else end)
        if following is None or joint is None or joint.end() == end:
            return Span(total, first.start(), end)
        total, end = total + _seconds(following), following.end()


def _seconds(piece: re.Match[str]) -> float:
    part, unit, count, more, unit_2, later, unit_3, later_3 = piece.groups()
    if part:
        return HALVES[part.replace("3", "three")] * SECONDS[unit]
    number = float(count) if count else 1.0
    extra = HALVES.get(more or later or later_3 or "", 0.0)
    return (number + extra) * SECONDS[unit_2 or unit_3]


def clock_time(text: str, now: datetime) -> Span | None:
    """The first time of day in a text with digits, as seconds from `now` to its next occurrence.

    Without "am", "pm" or the like, "5 o'clock" is the next one of the two in a day.
    """
    tomorrow = "tomorrow" in text
    named = NAMED.search(text)
    if named:
        hour = 0 if named[1] == "midnight" else 12
        return Span(_until(now, (hour, 0, 24), tomorrow), named.start(), named.end())
    for found in CLOCK.finditer(text):
        read = _clock(found)
        if read is None:
            continue
        return Span(_until(now, read, tomorrow), found.start(), found.end())
    return None


def _clock(found: re.Match[str]) -> tuple[int, int, int] | None:
    """Hour, minute, and after how many hours the same words are right again."""
    words, base, bare, minute_a, minute_b, full, full_minute, alone, _, half, of_day = (
        found.groups()
    )
    hour = int(base or bare or full or alone)
    minute = int(minute_a or minute_b or full_minute or 0)
    if words:
        named = next((n for word, n in (("half", 30), ("quarter", 15)) if word in words), None)
        count = int(words.split()[0]) if named is None else named
        hour, minute = (hour, count) if "past" in words else (hour - 1, 60 - count)
    if not (0 <= hour <= 24 and 0 <= minute < 60):
        return None
    tail = found[0]
    if half == "a" or of_day == "morning":
        return hour % 12, minute, 24
    if half == "p" or of_day or tail.endswith(("tonight", "night")):
        return hour % 12 + 12 if hour < 13 else hour % 24, minute, 24
    return (hour % 24, minute, 24) if hour > 12 else (hour % 12, minute, 12)


def _until(now: datetime, clock: tuple[int, int, int], tomorrow: bool) -> float:
    hour, minute, period = clock
    then = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if tomorrow:
        return (then + timedelta(days=1) - now).total_seconds()
    while then <= now:
        then += timedelta(hours=period)
    while then - timedelta(hours=period) > now:
        then -= timedelta(hours=period)
    return (then - now).total_seconds()
