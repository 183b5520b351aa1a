"""Dates and times of day in words. Written in digits alone, the day comes first."""

from __future__ import annotations

import re
from re import Match

from whisperfusion.text.verbalizers.language import LETTER, Language

_DAY, _MONTH = r"(3[01]|[12][0-9]|0?[1-9])", r"(1[0-2]|0?[1-9])"
_YEAR = r"([12][0-9]{3})"
_BEFORE = rf"(?:\b({LETTER}{{1,12}})( ))?"
_END = r"(?![\w:/-]|[.,][0-9])"
ISO = re.compile(
    rf"{_BEFORE}(?<![\w.-]){_YEAR}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    rf"(?:T(?=[0-9]{{2}}:)|(?![\w-]))"
)
NUMERIC = re.compile(
    rf"{_BEFORE}(?<![\w./-]){_DAY}(?:([/-])|\. ?){_MONTH}(?:\4|(?<=[0-9])\. ?){_YEAR}{_END}"
)
SHORT_NUMERIC = re.compile(
    rf"\b({LETTER}{{1,12}})( )(3[01]|[12][0-9]|0?[1-9])/(1[0-2]|0?[1-9])(?:/([0-9]{{2}}))?"
    r"(?![\w/%]|[.,-][0-9])"
)
DAY_MONTH = re.compile(
    rf"{_BEFORE}(?<![\w.,:-]){_DAY}(\.|er\b|º|°)?(?:(\s?[-–]\s?|(?: [^\W\d_]{{1,3}} )){_DAY}\.?)?"
    rf"(\s(?:[^\W\d_]{{2}}\s)?)({LETTER}{{3,12}})(\.?)(?:((?:\s[^\W\d_]{{2,3}})?,?\s){_YEAR}{_END})?"
)
CLOCK_RANGE = re.compile(r"(:[0-5][0-9])\s?[-–—]\s?(?=[0-9]{1,2}:[0-5][0-9])")
CLOCK = re.compile(
    r"(?<![\w.:,])([01]?[0-9]|2[0-4]):([0-5][0-9])(?::([0-5][0-9])(?:\.[0-9]{1,6})?)?(?:Z\b)?(?![\w:])"
)


def dates(text: str, language: Language) -> str:
    text = ISO.sub(
        lambda m: _date(m, int(m[5]), int(m[4]), int(m[3]), language) + " " * (m[0][-1] == "T"),
        text,
    )
    text = NUMERIC.sub(lambda m: _date(m, int(m[3]), int(m[5]), int(m[6]), language), text)
    text = SHORT_NUMERIC.sub(lambda m: _short(m, language), text)
    return DAY_MONTH.sub(lambda m: _day_month(m, language), text)


def _date(m: Match[str], day: int, month: int, year: int, language: Language) -> str:
    return f"{m[1] or ''}{m[2] or ''}{language.date(day, month, year, (m[1] or '').lower())}"


def _short(m: Match[str], language: Language) -> str:
    """3/10 behind a word that announces a date, and 3/10/26."""
    if not m[5] and m[1].lower() not in language.words["dated"].split():
        return m[0]
    return _date(m, int(m[3]), int(m[4]), 2000 + int(m[5]) if m[5] else 0, language)


def _day_month(m: Match[str], language: Language) -> str:
    before, space, day, _mark, between, last, joint, name, stop, year_joint, year = m.groups()
    month = language.months.get(name.lower())
    if month is None:
        return m[0]
    full = name if name.lower() == language.month_names[month - 1].lower() else ""
    said = f"{before or ''}{space or ''}{language.day(int(day), (before or '').lower())}"
    if last:
        spaced = between if between.strip().isalpha() else f" {language.words['to']} "
        said += f"{spaced}{language.day(int(last), (before or '').lower())}"
    said += joint + (full or language.month_names[month - 1])
    if year:
        return f"{said}{year_joint}{language.year(int(year), '')}"
    return said + ("" if stop and not full and m.string[m.end() :].strip() else stop)


def clocks(text: str, language: Language) -> str:
    """Hours and minutes: what the language has of its own, then those with a colon."""
    text = CLOCK_RANGE.sub(rf"\1 {language.words['to']} ", text)
    text = language.clocks(text)
    return CLOCK.sub(lambda m: language.clock(int(m[1]), int(m[2]), int(m[3] or 0)), text)
