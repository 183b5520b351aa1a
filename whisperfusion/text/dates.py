"""Dates, years and times of day in words. Where the order of a date is ambiguous, the month comes
first.
"""

from __future__ import annotations

import re
from re import Match

from whisperfusion.text.numbers import cardinal, digits, ordinal, plural, year

MONTHS = (
    "January February March April May June July August September October November December".split()
)
_SHORT = {month[:3]: month for month in MONTHS} | {"Sept": "September"}
_MONTH = "|".join((*MONTHS, *(f"{short}\\.?" for short in ("Sept", *_SHORT) if short != "May")))
_DAY = r"(3[01]|[12][0-9]|0?[1-9])"
_YEAR = r"([12][0-9]{3})"
_SHORT_DAYS = {
    "Mon": "Monday",
    "Tue": "Tuesday",
    "Tues": "Tuesday",
    "Wed": "Wednesday",
    "Thu": "Thursday",
    "Thur": "Thursday",
    "Thurs": "Thursday",
    "Fri": "Friday",
    "Sat": "Saturday",
    "Sun": "Sunday",
}

ISO = re.compile(
    rf"(?<![\w.-]){_YEAR}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])(?:T(?=[0-9]{{2}}:[0-9]{{2}})|"
    rf"(?![\w-]))"
)
SLASHED = re.compile(rf"(?<![\w./-])([0-9]{{1,2}})([/.])([0-9]{{1,2}})\2{_YEAR}(?![\w/-]|\.[0-9])")
WEEKDAY = re.compile(
    rf"\b({'|'.join(_SHORT_DAYS)})\.?(?=,? (?:{_MONTH})\b|,? [0-9]{{1,2}}(?:st|nd|rd|th)? "
    rf"(?:{_MONTH})\b)"
)
MONTH_DAY = re.compile(
    rf"\b({_MONTH}) {_DAY}(?:st|nd|rd|th)?(?![\w:%]|[.,/][0-9])(?:(,?) {_YEAR}(?![\w:]|[.,-]"
    rf"?[0-9]))?"
)
DAY_RANGE = re.compile(rf"\b({_MONTH}) {_DAY}\s?[-–]\s?{_DAY}(?![\w:%]|[.,/-][0-9])")
DAY_MONTH = re.compile(
    rf"\b([Tt]he )?(?<![\w.,:-]){_DAY}(?:st|nd|rd|th)? (?:of )?({_MONTH})(?!\w)(?:(,?)"
    rf" {_YEAR}(?![\w:]|[.,-]?[0-9]))?"
)
MONTH_YEAR = re.compile(rf"\b({_MONTH}),? {_YEAR}(?![\w:]|[.,-]?[0-9])")
DAYS = re.compile(rf"\b({'|'.join(_SHORT_DAYS)})\.?\s?[-–]\s?({'|'.join(_SHORT_DAYS)})\b")
SPAN = re.compile(rf"\b({_MONTH})\s?[-–]\s?({_MONTH})(?!\w)")
DUE = re.compile(
    r"\b(on|by|since|until|before|after|due|dated) (1[0-2]|0?[1-9])/(3[01]|[12][0-9]|0?[1-9])"
    r"(?![\w/]|[.,-][0-9])"
)
DECADE = re.compile(r"(?<![\w.,$€£'’])['’]?([12][0-9]{2}0|[2-9]0)['’]?s\b")
SHORT_YEAR = re.compile(r"(?<![\w.])['’]([0-9]{2})(?![\w'’])")
YEARS = re.compile(rf"(?<![\w.,-]){_YEAR}\s?[-–/]\s?(?:{_YEAR}|([0-9]{{2}}))(?![\w-]|[.,][0-9])")
_BEFORE_YEAR = (
    "in|since|by|until|till|year|years|of|before|after|during|circa|from|to|through|between|and|"
    "early|mid|late|spring|summer|autumn|fall|"
    "winter|copyright|©|class|around|model"
)
IN_YEAR = re.compile(rf"\b(?i:({_BEFORE_YEAR}))([ -]){_YEAR}(?![\w:%]|[.,-]?[0-9]|\s?[a-z°$€£])")
IN_YEAR_WORDS = re.compile(
    rf"\b(?i:(in|since|year|circa|until|before|after|during))( ){_YEAR}(?= (?:and|or|the|a|we|"
    rf"he|she|they|it|i|was|is|to|there|when|by|at|with|as|that|for)\b)"
)
QUARTER = re.compile(rf"\b(Q[1-4]|H[12]|FY) {_YEAR}(?![\w:%]|[.,-]?[0-9])")
LONE_YEAR = re.compile(
    r"(?<![\w.,$€£#-])(1[89][0-9]{2}|20[0-9]{2})(?=[.,;:!?)\]]?(?:\s*$|[)\]]|[.!?;,] ))"
)
ERA = re.compile(r"(?<![\w.,])([12]?[0-9]{3}) (AD|BC|BCE|CE)\b")

_HALF = r"([AaPp])\.?\s?([Mm])(?:\.|\b)(?![\w])"
CLOCK = re.compile(
    rf"(?<![\w.:])([01]?[0-9]|2[0-4]):([0-5][0-9])(?::([0-5][0-9])(?:\.[0-9]{{1,6}})?)"
    rf"?(?:\s?{_HALF}|Z\b)?(?![\w:])"
)
HOUR = re.compile(rf"(?<![\w.:,])(1[0-2]|0?[1-9])\s?{_HALF}")
TO = re.compile(
    r"([AaPp]\.?\s?[Mm]\.?|:[0-5][0-9])\s?[-–]\s?(?=[0-9]{1,2}(?::[0-5][0-9]|\s?[AaPp]\.?\s?[Mm]"
    r"\b))"
)
HOURS = re.compile(
    r"(?<![\w.:,])(1[0-2]|0?[1-9])(?::([0-5][0-9]))?\s?[-–]\s?(?=(?:1[0-2]|0?[1-9])(?::[0-5]"
    r"[0-9])?\s?[AaPp]\.?\s?[Mm]\b)"
)


def _month(text: str) -> str:
    return text if text in MONTHS else _SHORT[text.rstrip(".")[:3]]


def _date(month: str, day: str, in_year: str | None) -> str:
    return f"{month} {ordinal(int(day))}" + (f", {year(int(in_year))}" if in_year else "")


def stamps(text: str) -> str:
    """ISO dates, before a time of day that may follow them."""
    return ISO.sub(
        lambda m: _date(MONTHS[int(m[2]) - 1], m[3], m[1]) + (" at " if m[0].endswith("T") else ""),
        text,
    )


def dates(text: str) -> str:
    text = SLASHED.sub(_slashed, text)
    text = DAYS.sub(lambda m: f"{_SHORT_DAYS[m[1]]} to {_SHORT_DAYS[m[2]]}", text)
    text = SPAN.sub(lambda m: f"{_month(m[1])} to {_month(m[2])}", text)
    text = DUE.sub(lambda m: f"{m[1]} {_date(MONTHS[int(m[2]) - 1], m[3], None)}", text)
    text = WEEKDAY.sub(lambda m: _SHORT_DAYS[m[1]], text)
    text = DAY_RANGE.sub(
        lambda m: f"{_month(m[1])} {ordinal(int(m[2]))} to {ordinal(int(m[3]))}", text
    )
    text = MONTH_DAY.sub(lambda m: _date(_month(m[1]), m[2], m[4]), text)
    text = DAY_MONTH.sub(_day_month, text)
    text = MONTH_YEAR.sub(lambda m: f"{_month(m[1])} {year(int(m[2]))}", text)
    return _years(text)


def _slashed(m: Match[str]) -> str:
    first, second = int(m[1]), int(m[3])
    day, month = (first, second) if first > 12 or m[2] == "." else (second, first)
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return m[0]
    return _date(MONTHS[month - 1], str(day), m[4])


def _day_month(m: Match[str]) -> str:
    return f"{m[1] or 'the '}{ordinal(int(m[2]))} of {_month(m[3])}" + (
        f", {year(int(m[5]))}" if m[5] else ""
    )


def _years(text: str) -> str:
    text = DECADE.sub(
        lambda m: plural(year(int(m[1])) if len(m[1]) == 4 else cardinal(int(m[1]))), text
    )
    text = YEARS.sub(_year_range, text)
    text = ERA.sub(lambda m: f"{year(int(m[1]))} {m[2]}", text)
    for pattern in (IN_YEAR, IN_YEAR_WORDS):
        text = pattern.sub(lambda m: f"{m[1]}{m[2]}{year(int(m[3]))}", text)
    text = QUARTER.sub(lambda m: f"{m[1]} {year(int(m[2]))}", text)
    text = LONE_YEAR.sub(lambda m: year(int(m[1])), text)
    return SHORT_YEAR.sub(lambda m: year(1900 + int(m[1])).partition(" ")[2] or m[0], text)


def _year_range(m: Match[str]) -> str:
    if m[3] and not int(m[3]) > int(m[1][2:]):
        return m[0]
    return (
        f"{year(int(m[1]))} to {year(int(m[2]))}"
        if m[2]
        else f"{year(int(m[1]))} to {cardinal(int(m[3]))}"
    )


def times(text: str) -> str:
    text = TO.sub(lambda m: f"{m[1]} to ", text)
    text = HOURS.sub(lambda m: f"{_clock(int(m[1]), m[2] or '00', half=True)} to ", text)
    text = CLOCK.sub(_time, text)
    return HOUR.sub(lambda m: f"{cardinal(int(m[1]))} {m[2].upper()}M" + _stop(m), text)


def _stop(m: Match[str]) -> str:
    """The full stop of "p.m." may also end the sentence."""
    after = m.string[m.end() :]
    ends = m[0].endswith(".") and (
        not after.strip() or (after[:1].isspace() and after.lstrip()[:1].isupper())
    )
    return "." if ends else ""


def _time(m: Match[str]) -> str:
    hour, half = int(m[1]), bool(m[4])
    spelled = _clock(hour, m[2], half)
    if m[3] and m[3] != "00":
        spelled += f" and {cardinal(int(m[3]))} second{'' if m[3] == '01' else 's'}"
    return f"{spelled} {m[4].upper()}M{_stop(m)}" if half else spelled


def _clock(hour: int, minutes: str, half: bool) -> str:
    if minutes == "00":
        if half:
            return cardinal(hour)
        if hour in (0, 24):
            return "midnight"
        return f"{cardinal(hour)} o'clock" if hour <= 12 else f"{cardinal(hour)} hundred"
    name = "zero" if hour == 0 else cardinal(hour)
    return f"{name} {'oh ' + digits(minutes[1]) if minutes[0] == '0' else cardinal(int(minutes))}"
