"""What is said of a built-in tool's result, in English, without a model: small models get numbers
wrong that stand right before them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from whisperfusion.tools.router.spoken import in_digits

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
TIME = re.compile(
    r"It is \w+, (?P<day>\d{1,2}) (?P<month>\w+) (?P<year>\d{4}), (?P<time>\d\d:\d\d)"
    r"(?: in (?P<place>.{1,100}))?\.$"
)
DATE_ASKED = re.compile(
    r"\b(?:day|date|month|year|week|today|tomorrow|yesterday|\w{3,6}day)\b", re.IGNORECASE
)
DAYS_LATER = re.compile(r"\bin (\d{1,4}) days\b|\b(\d{1,4}) days from (?:now|today)\b")
TIMER = re.compile(r"timer_\w{1,12}: (?P<text>.{0,300}?) In (?P<left>\d[\w ]{1,60})\.")
CANCELLED = re.compile(r"(\d{1,3}) timers? cancelled")
NOTHING_RUNS = "no timer is running"
UNKNOWN_PLACE = re.compile(r"the time zone of '(.{1,60})' is not known")
UNITS = ("hours", "minutes", "seconds")
PURPOSE = "It is time to "
SIGNS = {" * ": " times ", " / ": " divided by ", " - ": " minus ", " + ": " plus "}
SIGNS[" ^ "] = " to the power of "
SIMPLE_SUM = re.compile(r"[\d.]{1,20}%?(?: of [\d.]{1,20}|(?: [-+*/^] [\d.]{1,20}%?){1,4})")
ROOT = re.compile(r"sqrt\(([\d.]{1,20})\)")
PLACES = 4  # behind the point of a number that is said


def spoken_result(
    name: str, arguments: Mapping[str, Any], output: str, question: str
) -> str | None:
    """A sentence, or None where the model has to find one. `question` is what the user said."""
    match name:
        case "get_time":
            return _time(output, question)
        case "calculate":
            return _sum(str(arguments.get("expression", "")), output)
        case "set_timer":
            return _set(arguments)
        case "list_timers":
            return _timers(output)
        case "cancel_timer":
            found = CANCELLED.match(output)
            if found is None:
                return None
            count = int(found[1])
            return "The timer is cancelled." if count == 1 else f"{count} timers are cancelled."
        case "end_call":
            return "Goodbye."
    return None


def spoken_failure(name: str, arguments: Mapping[str, Any], output: str) -> str | None:
    """The same for a tool that failed."""
    if name == "set_timer" and not set(UNITS) & set(arguments):
        return "When shall I remind you?" if arguments.get("say") else "For how long?"
    if name == "cancel_timer" and NOTHING_RUNS in output:
        return "No timer is running."
    unknown = UNKNOWN_PLACE.search(output) if name == "get_time" else None
    return f"I do not know the time zone of {unknown[1]}." if unknown else None


def _time(output: str, question: str) -> str | None:
    found = TIME.match(output)
    if found is None:
        return None
    hour, minute = map(int, found["time"].split(":"))
    now = datetime(
        int(found["year"]), MONTHS.index(found["month"]) + 1, int(found["day"]), hour, minute
    )
    if not DATE_ASKED.search(question):
        place = f" in {found['place']}" if found["place"] else ""
        half = "AM" if hour < 12 else "PM"
        return f"It is {hour % 12 or 12}:{minute:02} {half}{place}."
    lowered = question.lower()
    later = DAYS_LATER.search(in_digits(lowered))
    if later:
        days = int(later[1] or later[2])
        return f"In {days} days it is {_date(now + timedelta(days=days))}."
    if "tomorrow" in lowered:
        return f"Tomorrow is {_date(now + timedelta(days=1))}."
    if "yesterday" in lowered:
        return f"Yesterday was {_date(now - timedelta(days=1))}."
    return f"Today is {_date(now)}."


def _date(day: datetime) -> str:
    return f"{DAYS[day.weekday()]}, {day.day} {MONTHS[day.month - 1]} {day.year}"


def _sum(expression: str, output: str) -> str | None:
    try:
        value = float(output)
    except ValueError:
        return None
    rounded = f"{value:.{PLACES}f}".rstrip("0").rstrip(".")
    exact = "." not in output or len(output.partition(".")[2]) <= PLACES
    is_value = f"is {output}" if exact else f"is about {rounded}"
    asked = ROOT.sub(r"the square root of \1", expression)
    if SIMPLE_SUM.fullmatch(expression):
        for sign, words in SIGNS.items():
            asked = asked.replace(sign, words)
    elif not ROOT.fullmatch(expression):
        asked = "that"
    return f"{asked[:1].upper()}{asked[1:]} {is_value}."


def _set(arguments: Mapping[str, Any]) -> str | None:
    parts = [
        f"{count:g} {unit if count != 1 else unit[:-1]}"
        for unit in UNITS
        if (count := float(arguments.get(unit) or 0))
    ]
    if not parts:
        return None
    length = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
    say = str(arguments.get("say") or "")
    if say.startswith(PURPOSE):
        return f"I will remind you in {length} to {say.removeprefix(PURPOSE)}"
    return f"The timer is set for {length}."


def _timers(output: str) -> str | None:
    if output.startswith("No timer"):
        return "No timer is running."
    lines = output.splitlines()
    found = [one for line in lines if (one := TIMER.match(line))]
    if not found or len(found) != len(lines):
        return None
    told = [f"{one['left']} left{_purpose(one['text'])}" for one in found]
    if len(told) == 1:
        return f"One timer is running, with {told[0]}."
    return f"{len(told)} timers are running: {'; '.join(told)}."


def _purpose(text: str) -> str:
    """ " to call your mother", of a reminder."""
    return f" to {text.removeprefix(PURPOSE).rstrip('.')}" if text.startswith(PURPOSE) else ""
