"""What a language is to the rules of text normalization: words, and few functions of grammar; and
how the numbers of a text are read in it.

A number reaches these functions with "_" between its thousands, whatever the text had there
(`rules.grouped`), and with the point or comma that was written before its decimals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

NUM = r"[0-9]{1,3}(?:_[0-9]{3}){1,9}(?:[.,][0-9]{1,20})?|[0-9]{1,40}(?:[.,][0-9]{1,20})?"
ALONE = r"(?<![\w.,])"  # not the continuation of a number
SIGN = r"(?:(?<=[\s(\[=,:])|^)-"  # a minus, not the hyphen of a word or a range
DASH = r"\s?[-–—]\s?"

# signs of Devanagari, which are letters to a reader and none to \w
MARKS = "\u0900-\u0903\u093a-\u093c\u093e-\u094f\u0951-\u0957\u0962\u0963"
LETTER = rf"(?:[^\W\d_]|[{MARKS}])"

NAMED = 15  # digits: longer numbers are read digit by digit
GROUP = 3  # digits in one breath

Noun = tuple[str, str, str]  # gender ("m", "f", "n"), one, several


class Numerate(Protocol):
    """Numbers and words, which `links` needs of every language."""

    @property
    def words(self) -> Mapping[str, str]: ...

    @property
    def cardinal(self) -> Callable[[int, str], str]: ...


@dataclass(frozen=True)
class Language:
    """A function's `gender` is that of the noun behind a number, "" where the number stands alone.

    `gender_of`: of a word behind a number, "" if it is no noun. `day`: (day, word before) -> the
    day as it stands before the name of a month. `date`: (day, month 1 to 12, year or 0, word
    before). `clock`: (hour, minute, second or 0). `money`: (units, hundredths, noun of each).
    `numeral`: (word before, value of Roman numerals, word behind) -> words, "" where it is none.
    `many`: "million" and the like -> what joins it to a currency. `parts`: denominator -> one,
    several. `decimals`: whether digits behind the comma are read as one
    number."""

    code: str
    comma: bool  # before decimals, with points between thousands; else the other way round
    decimals: bool
    cardinal: Callable[[int, str], str]
    year: Callable[[int, str], str]
    gender_of: Callable[[str], str]
    ordinals: Callable[[str], str]
    numeral: Callable[[str, int, str], str]
    day: Callable[[int, str], str]
    date: Callable[[int, int, int, str], str]
    clock: Callable[[int, int, int], str]
    clocks: Callable[[str], str]
    money: Callable[[int, int, Noun, Noun], str]
    words: Mapping[str, str]
    months: Mapping[str, int]
    month_names: tuple[str, ...]
    units: Mapping[str, Noun]
    currencies: Mapping[str, tuple[Noun, Noun]]
    many: Mapping[str, str]
    parts: Mapping[int, tuple[str, str]]
    abbreviations: tuple[tuple[re.Pattern[str], Mapping[str, str]], ...]
    telephones: Callable[[str], str]
    singular_below_two: bool = False  # 0.5 and 1.5 too (French)


def nouns(text: str) -> dict[str, Noun]:
    """An entry, a line or what stands between bars, is sign, gender, one and several (where it is
    another word); "_" is a space.
    """
    table = {}
    for entry in text.strip().replace("\n", "|").split("|"):
        sign, gender, one, *several = entry.split()
        forms = [form.replace("_", " ") for form in (one, *several)]
        table[sign] = (gender, forms[0], forms[-1])
    return table


def currencies(text: str) -> dict[str, tuple[Noun, Noun]]:
    """An entry is signs with "/" between them, and two nouns as in `nouns`: whole and hundredth."""
    table: dict[str, tuple[Noun, Noun]] = {}
    for entry in text.strip().replace("\n", "|").split("|"):
        signs, *parts = entry.split()
        whole, one, several, hundredth, small, smalls = (part.replace("_", " ") for part in parts)
        both = ((whole, one, several), (hundredth, small, smalls))
        table |= dict.fromkeys(signs.split("/"), both)
    return table


def pairs(text: str) -> dict[str, str]:
    """A line, or what stands between bars, is a key and its words."""
    entries = text.strip().replace("\n", "|").split("|")
    return {key: said for key, _, said in (entry.strip().partition(" ") for entry in entries)}


def any_case(text: str) -> dict[str, str]:
    """`pairs`, to be found in lower case too."""
    table = pairs(text)
    return {key.lower(): said for key, said in table.items()} | table


def months(names: tuple[str, ...], short: str) -> dict[str, int]:
    """Every written form, in lower case, of the names and of `short`, in the same order."""
    table = {name.lower(): at for at, name in enumerate(names, 1)}
    for at, forms in enumerate(short.split(), 1):
        table |= dict.fromkeys(forms.split("/"), at)
    return table


def alternatives(table: Mapping[str, str]) -> str:
    """A pattern of the keys, longest first; inner full stops may have a space behind them."""
    keys = sorted(table, key=len, reverse=True)
    return "|".join(
        re.escape(key[:-1]).replace(r"\.", r"\. ?") + re.escape(key[-1]) for key in keys
    )


def spaced_digits(text: str, language: Numerate) -> str:
    """The digits of `text` one by one; other characters are skipped."""
    return " ".join(language.cardinal(int(c), "") for c in text if c in "0123456789")


def integer(text: str, language: Numerate, gender: str = "") -> str:
    """A row of digits, digit by digit where people would not read it as one number."""
    whole = text.replace("_", "")
    long = len(whole) >= 7 and not whole.endswith("000") and "_" not in text
    if len(whole) > NAMED or long or (len(whole) > 1 and whole[0] == "0"):
        return ", ".join(
            spaced_digits(whole[at : at + GROUP], language) for at in range(0, len(whole), GROUP)
        )
    return language.cardinal(int(whole), gender)


def number(text: str, language: Language, gender: str = "") -> str:
    """A number as `NUM` has it, with a minus or without, in words."""
    minus = f"{language.words['minus']} " if text[:1] == "-" else ""
    text = text.lstrip("-")
    mark = next((c for c in text if c in ".,"), "")
    if not mark:
        return minus + integer(text, language, gender)
    whole, _, rest = text.partition(mark)
    if mark == "," and not language.comma:  # a list
        return f"{minus}{integer(whole, language)}, {integer(rest, language, gender)}"
    together = language.decimals and mark == "," and len(rest) <= 3 and rest[0] != "0"
    after = language.cardinal(int(rest), "") if together else spaced_digits(rest, language)
    point = language.words["comma" if mark == "," and language.comma else "point"]
    return f"{minus}{integer(whole, language)} {point} {after}"


def value(text: str) -> float:
    return float(text.replace("_", "").replace(",", "."))


def noun(count: str, forms: Noun, language: Language) -> str:
    """The form of a noun behind a number as `NUM` has it."""
    single = value(count) < 2 if language.singular_below_two else value(count) == 1
    return forms[1] if single else forms[2]
