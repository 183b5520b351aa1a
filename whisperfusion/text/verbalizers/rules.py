"""The rules of text normalization for languages that put spaces between words.

They run from the longest and surest match to what is left, like those of English, and are patterns
with bounded repeats, so time is linear in the text. What they know of a language is in its
`Language`.
"""

from __future__ import annotations

import re
import unicodedata
from re import Match

from whisperfusion.text.addresses import HYPHENED
from whisperfusion.text.normalization import (
    ALIKE,
    EMOJI,
    EMOTICON,
    EMPTY_PAIR,
    LONGEST_RUN,
    RUN,
    SPACE_BEFORE,
    SPACES,
    UNSEEN,
)
from whisperfusion.text.numbers import roman
from whisperfusion.text.verbalizers.amounts import measures, money
from whisperfusion.text.verbalizers.calendar import clocks, dates
from whisperfusion.text.verbalizers.language import LETTER, NUM, Language, number, spaced_digits
from whisperfusion.text.verbalizers.links import links, machines, names
from whisperfusion.text.verbalizers.operators import fractions, operators

THIN = re.compile("(?<=[0-9])[\u00a0\u202f\u2009\u2007'’](?=[0-9]{3}(?![0-9]))")
_START, _END = r"(?<![a-zA-Z0-9.,_])", r"(?![a-zA-Z0-9]|[.,][0-9])"
POINTS = re.compile(rf"{_START}[0-9]{{1,3}}(?:\.[0-9]{{3}}){{1,9}}{_END}")
POINTS_COMMA = re.compile(
    rf"{_START}([0-9]{{1,3}}(?:\.[0-9]{{3}}){{1,9}}),([0-9]{{1,20}})(?![a-zA-Z0-9])"
)
COMMAS = re.compile(rf"{_START}[0-9]{{1,3}}(?:,[0-9]{{3}}){{2,9}}{_END}")
COMMAS_POINT = re.compile(
    rf"{_START}([0-9]{{1,3}}(?:,[0-9]{{3}}){{1,9}})\.([0-9]{{1,20}})(?![a-zA-Z0-9])"
)
INDIAN = re.compile(
    rf"{_START}[0-9]{{1,3}}(?:(?:,[0-9]{{2}}){{0,9}},[0-9]{{3}}|(?:,[0-9]{{3}}){{1,9}})"
    rf"(?:\.[0-9]{{1,20}})?{_END}"
)
BLANKS = re.compile(rf"{_START}[0-9]{{1,3}}(?: [0-9]{{3}}){{1,9}}(?! [0-9]){_END}")
BLANKS_COMMA = re.compile(
    rf"{_START}([0-9]{{1,3}}(?: [0-9]{{3}}){{1,9}}),([0-9]{{1,20}})(?![a-zA-Z0-9])"
)
# units written to the number: "5km"; letters and digits of a name: "F16", "web2"
CODE = re.compile(
    rf"\b({LETTER}{{2,14}})((?: {LETTER}{{1,6}}){{0,2}}:? )([0-9]{{3,12}})"
    r"(?![\w]|[.,:/-][0-9]|\s?[%€$])"
)
SHORT_YEAR = re.compile(r"(?<!\w)'(?=[0-9]{2}(?![0-9]))")
ROAD = re.compile(r"(?:^|[^\w])[A-Z]{1,4} $")  # A 8: no number of things
STICK = re.compile(r"(?<=[^\W\d_])-?(?=[0-9])|(?<=[0-9])(?:-(?=[^\W\d_])|(?=[^\W\d_]))")
NUMBER = re.compile(rf"({NUM})(?=(?:[ -]({LETTER}{{1,40}}))?)")
NUMERAL = re.compile(
    r"\b(?:([^\W\d_]{1,24})( ))?([IVXLC]{1,8})(\.?)(?!['’.]?\w)(?:(?= ([^\W\d_]{1,24})))?"
)
BETWEEN_LETTERS = re.compile(r"(?<=[^\W\d_])\s?/\s?(?=[^\W\d_])")
LEFT_OVER = re.compile(r"[_\\^~|#@<>{}\[\]*`/+]+")
KEPT = "ªº"  # letters to Unicode, but they make an ordinal


def verbalized(text: str, language: Language) -> str:
    """`text` in words, by one pass of the rules."""
    text = cleaned(text)
    text = links(text, language)
    if any(c.isdigit() for c in text):
        text = machines(text, language)
        text = clocks(dates(text, language), language)
        text = CODE.sub(lambda m: _code(m, language), text)
        text = HYPHENED.sub(lambda m: _rows(m, language), language.telephones(text))
        text = grouped(text, language.comma)
    text = measures(language.ordinals(money(text, language)), language)
    text = abbreviations(text, language)
    text = NUMERAL.sub(lambda m: _numeral(m, language), names(text, language))
    text = operators(fractions(text, language), language)
    return tidy(numbers(text, language))


def cleaned(text: str) -> str:
    """`text` without what cannot be said, decorative letters and digits of other scripts as plain
    ones; white space as single spaces.
    """
    text = unicodedata.normalize("NFC", text)
    if not text.isascii():
        text = THIN.sub("_", "".join(map(_plain, text)))
    text = UNSEEN.sub("", EMOTICON.sub(" ", text))
    text = EMOJI.sub(" ", RUN.sub(lambda m: m[1] * LONGEST_RUN, text.translate(ALIKE)))
    return SPACES.sub(" ", text).strip()


def _plain(c: str) -> str:
    if c.isascii() or c in KEPT:
        return c
    if c.isdecimal():
        return str(unicodedata.decimal(c))
    alike = unicodedata.normalize("NFKC", c) if c.isalpha() else c
    return alike if alike.isascii() else c


def grouped(text: str, comma: bool) -> str:
    """Thousands divided by "_", whatever the text has: points, commas or spaces. `comma`: stands
    before decimals where only one of both is written.
    """
    text = POINTS_COMMA.sub(lambda m: f"{m[1].replace('.', '_')},{m[2]}", text)
    text = COMMAS_POINT.sub(lambda m: f"{m[1].replace(',', '_')}.{m[2]}", text)
    if not comma:
        return INDIAN.sub(_regrouped, text)
    text = BLANKS_COMMA.sub(lambda m: f"{m[1].replace(' ', '_')},{m[2]}", text)
    text = BLANKS.sub(lambda m: m[0].replace(" ", "_"), text)
    text = COMMAS.sub(lambda m: m[0].replace(",", "_"), text)
    return POINTS.sub(lambda m: m[0].replace(".", "_"), text)


def _regrouped(m: Match[str]) -> str:
    """Lakhs and crores, divided by twos, as thousands."""
    whole, point, rest = m[0].replace(",", "").partition(".")
    first = len(whole) % 3 or 3
    return "_".join(
        [whole[:first], *(whole[at : at + 3] for at in range(first, len(whole), 3))]
    ) + (point + rest)


def abbreviations(text: str, language: Language) -> str:
    for pattern, table in language.abbreviations:
        text = pattern.sub(lambda m, table=table: _long(m, table), text)  # type: ignore[misc]
    return text


def _long(m: Match[str], table: dict[str, str]) -> str:
    """What an abbreviation stands for. A full stop that also ends the text is kept."""
    short = m[0].replace(" ", "")
    said = table.get(short)
    if said is None:
        said = table.get(short.lower(), "")
        said = said[:1].upper() + said[1:] if short[0].isupper() else said
    ends = short.endswith(".") and not m.string[m.end() :].strip(" \"')”’»")
    return (said or m[0]) + "." * (ends and bool(said))


def _numeral(m: Match[str], language: Language) -> str:
    n = roman(m[3])
    said = language.numeral(m[1] or "", n, m[5] or "") if n else ""
    if not said or (m[4] and language.code != "de"):
        return f"{m[1] or ''}{m[2] or ''}{said}{m[4]}" if said else m[0]
    return f"{m[1] or ''}{m[2] or ''}{said}" + (m[4] if m.end() == len(m.string) else "")


def _code(m: Match[str], language: Language) -> str:
    """Digits behind "PIN" and the like, one by one."""
    before = f"{m[1]}{m[2]}".lower().replace(":", "").split()
    if not set(before) & set(language.words["codes"].split()):
        return m[0]
    return f"{m[1]}{m[2]}{spaced_digits(m[3], language)}"


def _rows(m: Match[str], language: Language) -> str:
    """Groups of digits between hyphens, digit by digit."""
    return ", ".join(spaced_digits(row, language) for row in m[0].split("-"))


def numbers(text: str, language: Language) -> str:
    """All remaining digits."""
    if not any(c.isdigit() for c in text):
        return text
    text = STICK.sub(" ", SHORT_YEAR.sub("", text))
    text = NUMBER.sub(lambda m: _number(m, language), text)
    return text.replace("un' ", "un'") if language.code == "it" else text  # un'ora


def _number(m: Match[str], language: Language) -> str:
    before, after = m.string[max(0, m.start() - 6) : m.start()], m.string[m.end(1) :][:1]
    following = "" if ROAD.search(before) else m[2] or ""
    if len(m[1]) == 4 and m[1].isdigit() and m[1][0] in "12":
        said = language.year(int(m[1]), following)
    else:
        said = number(m[1], language, language.gender_of(following) if following else "")
    return f"{' ' if before[-1:].isalnum() else ''}{said}{' ' if after.isalnum() else ''}"


def tidy(text: str) -> str:
    text = BETWEEN_LETTERS.sub(" ", text)
    text = EMPTY_PAIR.sub(" ", LEFT_OVER.sub(" ", text))
    return SPACE_BEFORE.sub(r"\1", SPACES.sub(" ", text)).strip()
