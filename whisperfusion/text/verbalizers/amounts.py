"""Amounts of money, measures and percentages in words."""

from __future__ import annotations

import re
from re import Match

from whisperfusion.text.measures import TIMES
from whisperfusion.text.verbalizers.language import (
    ALONE,
    DASH,
    LETTER,
    NUM,
    SIGN,
    Language,
    noun,
    number,
    value,
)

_SIGN = r"(?:US|R|A|C|MX|NT|HK)?\$|[€£¥₹₩₽₺₿¢]|(?-i:[A-Z]{3}|Rs\.?|Fr\.|रु\.?)"
_MANY = rf"(?:\s?(?![A-Z]{{1,2}}\$)({LETTER}{{2,12}}\.?))?(?:\s(?:de|di|d')\s?)?"
MONEY_BEFORE = re.compile(
    rf"(-\s?)?(?<![\w$€£])({_SIGN})\s?(-?)({NUM})(?:\s({LETTER}{{2,12}}\.?))?(?![0-9])"
)
# "/kg" and "/Monat" behind a price
PER_AFTER = re.compile(rf"(?<=[0-9])(\s?(?:{_SIGN}))\s?/\s?({LETTER}{{1,12}}[²³]?)(?!\w)")
PER_BEFORE = re.compile(rf"((?:{_SIGN})\s?(?:{NUM}))\s?/\s?({LETTER}{{1,12}}[²³]?)(?!\w)")
PRICE = re.compile(rf"{ALONE}([0-9_]{{1,12}})[.,]([0-9]{{2}}) ({LETTER}{{3,12}})(?!\w)")
MONEY_RANGE = re.compile(rf"{ALONE}({NUM})\s?(?:{_SIGN})?{DASH}({NUM})(?=\s?(?:{_SIGN})(?!\w))")
MONEY_BEFORE_RANGE = re.compile(
    rf"(?<![\w$€£])({_SIGN})\s?({NUM}){DASH}(?:{_SIGN})?\s?({NUM})(?![0-9]|[.,][0-9])"
)
MONEY_AFTER = re.compile(rf"(-)?{ALONE}({NUM}){_MANY}\s?({_SIGN})(?!\w)")
_TOKEN = rf"{LETTER}{{1,6}}[²³]?(?:/(?:100 ?km|{LETTER}{{1,5}}[²³]?))?|°[CF]?|[Ωµμ][^\W\d_]?"
MEASURE = re.compile(
    rf"{ALONE}({NUM})(?:({DASH})({NUM}))?(?:\s|-)?({_TOKEN})(?![\w²³°/])(?:\.(?= [a-zäöüàéè]))?"
)
PERCENT = re.compile(rf"{ALONE}({NUM})(?:{DASH}({NUM}))?\s?([%‰])")
BARE = re.compile(
    r"(?<![\w/°])(km/h|km²|m²|kWh|GHz|MHz|GB|MB|TB|km|kg|cm|mm)(?![\w²³/])(?=( [0-9])?)"
)
HEIGHT = re.compile(r"([0-9]{1,2}),([0-9]{2})")
NEGATIVE = re.compile(rf"{SIGN}(?={NUM})")


def money(text: str, language: Language) -> str:
    if not any(c.isdigit() for c in text):
        return text
    for pattern in (PER_AFTER, PER_BEFORE):
        text = pattern.sub(lambda m: _per(m, language), text)
    text = MONEY_BEFORE_RANGE.sub(
        lambda m: (
            f"{number(m[2], language)} {language.words['to']} {m[1]}{m[3]}"
            if m[1].rstrip(".") in language.currencies
            else m[0]
        ),
        text,
    )
    text = MONEY_BEFORE.sub(lambda m: _before(m, language), text)
    text = MONEY_RANGE.sub(
        lambda m: f"{number(m[1], language)} {language.words['to']} {m[2]}", text
    )
    text = PRICE.sub(lambda m: _price(m, language), text)
    return MONEY_AFTER.sub(
        lambda m: (
            (f"{language.words['minus']} " if m[1] else "")
            + amount(m[2], m[4], m[3] or "", m[0][bool(m[1]) :], language)
        ),
        text,
    )


def _per(m: Match[str], language: Language) -> str:
    unit = language.units.get(m[2])
    return f"{m[1]} {language.words['per']} {unit[1] if unit else m[2]}"


def _price(m: Match[str], language: Language) -> str:
    """19,99 Euro"""
    for unit, small in language.currencies.values():
        if m[3] in unit[1:]:
            return language.money(int(m[1].replace("_", "")), int(m[2]), unit, small)
    return m[0]


def _before(m: Match[str], language: Language) -> str:
    minus = f"{language.words['minus']} " if m[1] or m[3] else ""
    many, joint = m[5] or "", language.many.get((m[5] or "").rstrip("."))
    if many and joint is None:
        rest = m.string[m.start(5) - 1 : m.end()]
        if many.rstrip(".") in language.words.get("coins", "").split():  # $500 pesos
            return minus + number(m[4].removesuffix(".00").removesuffix(",00"), language) + rest
        return minus + amount(m[4], m[2], "", m[0].removesuffix(rest), language) + rest
    stop = "." * (many.endswith(".") and "|" not in (joint or ""))
    return minus + amount(m[4], m[2], many.removesuffix(stop), m[0], language) + stop


def amount(digits: str, sign: str, many: str, written: str, language: Language) -> str:
    """`written` as it was, where the sign is none of a currency."""
    found = language.currencies.get(sign.rstrip("."))
    if found is None or (many and many.rstrip(".") not in language.many):
        return written
    unit, small = found
    if many:
        joint = language.many[many.rstrip(".")]
        named, _, joint = joint.rpartition("|")
        one, _, several = named.partition("/")
        single = value(digits) == 1
        gender = "f" if language.code == "de" else "m"
        counted = f"{number(digits, language, gender)} {(one if single else several) or many}"
        if language.code == "fr" and unit[2][0] in "aeiou":
            joint = joint.replace(" de ", " d'")
        return f"{counted}{joint}{unit[2]}"
    mark = next((c for c in digits if c in ".,"), "")
    whole, _, cents = digits.replace("_", "").partition(mark) if mark else (digits, "", "")
    if len(cents) == 2 and len(whole) <= 9:
        return language.money(int(whole), int(cents), unit, small)
    return f"{number(digits, language, unit[0])} {noun(digits, unit, language)}"


def measures(text: str, language: Language) -> str:
    text = NEGATIVE.sub(f"{language.words['minus']} ", text)
    text = PERCENT.sub(lambda m: _percent(m, language), text)
    text = MEASURE.sub(lambda m: _measure(m, language), text)
    text = TIMES.sub(lambda m: _times(m, language), text)
    return BARE.sub(lambda m: _bare(m, language), text)


def _percent(m: Match[str], language: Language) -> str:
    first = f"{number(m[1], language)} {language.words['to']} " if m[2] else ""
    word = language.words["percent" if m[3] == "%" else "permille"]
    return f"{first}{number(m[2] or m[1], language)} {word}"


def _times(m: Match[str], language: Language) -> str:
    """3x"""
    if language.code == "de":  # dreimal
        return f"{number(m[1], language, 'm')}{language.words['fold']}"
    return f"{number(m[1], language, 'f')} {language.words['fold']}"


def _bare(m: Match[str], language: Language) -> str:
    """A unit without a number before it: "km 25"."""
    unit = language.units.get(m[1])
    return unit[1 if m[2] else 2] if unit else m[0]


def _measure(m: Match[str], language: Language) -> str:
    unit = language.units.get(m[4].replace(" ", "").replace("μ", "µ"))
    if unit is None:
        return m[0]
    last = m[3] or m[1]
    height = HEIGHT.fullmatch(last) if m[4] == "m" and not m[3] else None
    if height and "height" in language.words:  # un mètre quatre-vingt-cinq
        joint = language.words["height"].strip("_")
        whole = f"{number(height[1], language, unit[0])} {noun(height[1], unit, language)}"
        return " ".join(filter(None, (whole, joint, language.cardinal(int(height[2]), ""))))
    first = f"{number(m[1], language)} {language.words['to']} " if m[3] else ""
    said = f"{first}{number(last, language, unit[0])} {noun(last, unit, language)}"
    return said.replace("' ", "'")  # un'ora
