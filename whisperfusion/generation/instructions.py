"""What every prompt knows besides its instructions: the date, and the time if it is asked for.

The date stands at the end of the instructions, where it changes once a day: so the instructions,
and the dialogue behind them, stay in the prompt cache. The time of day would have to be read again
each minute, with all that follows; it stands beside the user's newest message instead, and only
where that asks for it. A question for another day finds the days around today named, because small
models cannot count days; more text would cost the next turn its slot (engines/llama/slots.py).

An assistant without tools can do nothing in the world. Instructions that say so do not keep a model
of 0.5 billion parameters from saying "The lamp is turned on", or make it refuse to tell a joke; a
word beside such a request does, and costs the others nothing. Of 20 requests, 40 plain questions
and the tokens of the instructions:

| | says that it cannot | plain questions right | tokens |
| --- | --- | --- | --- |
| neither date nor limits | 9 | 33 | 37 |
| "you can only talk: when asked for anything else, say so" in the instructions | 20 | few | 69 |
| "If the user wants something done, say that you can't do that" there | 15 | 30 | 65 |
| `LIMIT` beside the request | 18 | 32 | 50 |

The other two of the last row dictate an e-mail and ask what to put on the list. Of 20 questions for
the date or the time the same model answers 15 right, without all this 1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from whisperfusion.messages import ChatMessage
from whisperfusion.text.clock_questions import asks_for_clock
from whisperfusion.text.deed_requests import asks_for_deed
from whisperfusion.text.languages import NOTES, words_of
from whisperfusion.wire.languages import name_of

History = tuple[ChatMessage, ...]

WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = (
    "January February March April May June July August September October November December"
).split()  # strftime would write them in the language of the machine


ANSWER_IN = "Answer in "
CLOCK = " (It is "  # begins the time beside a user's words
LIMIT = "(You cannot do this, you can only talk. Say so.)"
# instructions of games and stories, in which a door can be opened
PLAYS = re.compile(
    r"\b(?:games?|stor(?:y|ies)|role|adventures?|pretend|simulat\w+|imaginary)\b", re.IGNORECASE
)


NEAR = re.compile(
    r"tomorrow|yesterday|\b(?:after|before|next|last|until|till|week|weekend|many|morgen|gestern"
    r"|demain|hier|mañana|ayer|domani|ieri|amanhã|ontem)\b|明天|昨天|明日|昨日",
    re.IGNORECASE,
)
# what the server's own groups of tools can do
_TIMERS = re.compile(r"\b(?:timers?|alarms?|remind\w*|wake)\b", re.IGNORECASE)
_SEARCH = re.compile(r"\b(?:search|google|look|browse|web|internet|online)\b", re.IGNORECASE)
ABLE: dict[str, re.Pattern[str] | None] = {
    "auto": _TIMERS,
    "time": None,
    "calculator": None,
    "end_call": None,
    "timers": _TIMERS,
    "search": _SEARCH,
}


def with_limits(history: History, tools: Sequence[str] = ()) -> History:
    """`history` of an assistant whose `tools` are groups of the server's own: a request for a deed
    that is none of theirs is told that it cannot be done. Other tools may do anything.
    """
    if any(name not in ABLE for name in tools):
        return history
    able = [pattern for pattern in (ABLE[name] for name in tools) if pattern is not None]
    if history and any(pattern.search(history[-1].text) for pattern in able):
        return history
    plays = history and history[0].role == "system" and PLAYS.search(history[0].text)
    if not history or plays or history[-1].role != "user" or not asks_for_deed(history[-1].text):
        return history
    return (*history[:-1], ChatMessage("user", f"{history[-1].text} {LIMIT}"))


def with_clock(history: History, now: datetime) -> History:
    """`history`, whose instructions know the date; instructions that are empty stay so.

    A question for the date or the time finds both beside it. `now` is aware of its zone.
    """
    lines = list(history)
    if lines and lines[0].role == "system" and lines[0].text.strip():
        lines[0] = ChatMessage("system", f"{lines[0].text.rstrip()} {date_line(now)}")
    if lines and lines[-1].role == "user" and asks_for_clock(lines[-1].text):
        asked = lines[-1].text
        lines[-1] = ChatMessage("user", f"{asked} {clock_line(now, bool(NEAR.search(asked)))}")
    return tuple(lines)


def with_language(history: History, language: str, switched: bool) -> History:
    """`history`, whose newest words are told the language to answer in, beside the words and not
    among the instructions, so that these stay in the prompt cache when the language changes.

    The instructions are English, and so are the replies to English words: these are told only in a
    call that was in another language before (`switched`).
    """
    if not language or (language == "en" and not switched):
        return history
    if not history or history[-1].role != "user":
        return history
    return (*history[:-1], ChatMessage("user", f"{history[-1].text} {language_note(language)}"))


def language_note(language: str) -> str:
    """In the language itself where it is known, which small models follow better."""
    return words_of(language).note or f"({ANSWER_IN}{name_of(language).title()}.)"


def without_notes(text: str) -> str:
    """A user's message as it was said, without what stands beside it for the model."""
    text = _without_language(text)
    text = text.removesuffix(f" {LIMIT}")
    said, opening, note = text.rpartition(CLOCK)
    text = said if opening and note.endswith(".)") else text
    return text.removesuffix(f" {LIMIT}")


def _without_language(text: str) -> str:
    said, opening, note = text.rpartition(" (")
    note = f"({note}"
    known = note in NOTES or (note.startswith(f"({ANSWER_IN}") and note.endswith(".)"))
    return said if opening and known else text


def date_line(now: datetime) -> str:
    return f"Today is {_day(now)} {now.year}."


def clock_line(now: datetime, near: bool = False) -> str:
    """`near`: with the days around today."""
    today = f"{time_of(now)}, {_day(now)} {now.year}, {zone_of(now)}"
    if not near:
        return f"{CLOCK.lstrip()}{today}.)"
    others = ", ".join(
        f"{name} {_day(now + timedelta(days=days))}"
        for name, days in (("yesterday", -1), ("tomorrow", 1), ("the day after tomorrow", 2))
    )
    return f"{CLOCK.lstrip()}{today}; {others}.)"


def time_of(now: datetime) -> str:
    """As it is said: "5:07 in the morning"."""
    parts = ((5, "at night"), (12, "in the morning"), (18, "in the afternoon"))
    part = next((name for until, name in parts if now.hour < until), "in the evening")
    return f"{now.hour % 12 or 12}:{now.minute:02} {part}"


def zone_of(now: datetime) -> str:
    """Its name, and the offset from UTC where the name does not say it."""
    offset = now.utcoffset() or timedelta()
    hours, minutes = divmod(abs(int(offset.total_seconds())) // 60, 60)
    sign = "-" if offset < timedelta() else "+"
    name = now.tzname() or "UTC"
    if name == "UTC" or name[0] in "+-":
        name = "UTC"
        return name if not offset else f"UTC{sign}{hours}{f':{minutes:02}' * bool(minutes)}"
    return f"time zone {name}"


def _day(day: datetime) -> str:
    return f"{WEEKDAYS[day.weekday()]} {day.day} {MONTHS[day.month - 1]}"
