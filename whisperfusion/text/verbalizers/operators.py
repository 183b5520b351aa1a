"""Fractions, ranges, powers and operators in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from re import Match

from whisperfusion.text.arithmetic import (
    ABOUT,
    GREEK,
    GREEK_LETTER,
    LOWERED,
    MINUS,
    MULTIPLIED,
    OVER,
    PLUS,
    RAISED,
    SUPERSCRIPTS,
    VULGAR,
)
from whisperfusion.text.verbalizers.language import ALONE, NUM, Language, integer, number, value

MIXED = re.compile(rf"(?:{ALONE}([0-9]{{1,6}})\s?)?([{''.join(VULGAR)}])")
FRACTION = re.compile(r"(?<![\w./,])([0-9]{1,4})[/⁄]([0-9]{1,4})(?![\w/]|[.,][0-9])")
RANGE = re.compile(rf"{ALONE}({NUM})\s?[-–—]\s?({NUM})(?![\w%]|[-–.,]?[0-9]|-|\s?=)")
SPACED = re.compile(rf"{ALONE}({NUM}) [-–] ({NUM})(?![\w%]|[.,]?[0-9])")
RATIO = re.compile(r"(?<![\w.:,])([0-9]{1,4}):([0-9]{1,4})(?![\w:]|[.,][0-9])")
DIVIDED = re.compile(r"(?<=[0-9]) : (?=[0-9])")
BY = re.compile(r"(?<=[0-9])(?<!\b0)\s?[x×]\s?(?=[0-9])")
LESS = re.compile(r"(?<=[\w)])\s?([<>]=?)\s?(?=[\w(-])|(?<![\w<>])([<>]=?)\s?(?=-?[0-9])")
COMPARED = {"<": "less", ">": "greater", "<=": "at_most", ">=": "at_least"}
SIGNS = {
    "≤": "at_most",
    "≥": "at_least",
    "≠": "unequal",
    "≈": "about",
    "=": "equals",
    "±": "plusminus",
    "∞": "infinity",
    "√": "root",
    "→": "arrow",
    "⇒": "arrow",
    "×": "times",
    "÷": "over",
    "&": "and",
    "%": "percent",
    "‰": "permille",
    "§": "section",
    "©": "copyright",
    "№": "number",
    "°": "degrees",
}
POWER = {"2": "squared", "3": "cubed"}


def fractions(text: str, language: Language) -> str:
    text = FRACTION.sub(lambda m: fraction(int(m[1]), int(m[2]), language), text)
    return MIXED.sub(lambda m: _mixed(m, language), text)


def fraction(above: int, below: int, language: Language) -> str:
    part = language.parts.get(below)
    if part is None:
        said = language.cardinal(below, "") if below else language.words["zero"]
        return f"{language.cardinal(above, '')} {language.words['out_of']} {said}"
    if not above:
        return f"{language.cardinal(0, '')} {part[1]}"
    one, several = part
    if above == 1:
        return one
    return f"{language.cardinal(above, 'm')} {several}"


def _mixed(m: Match[str], language: Language) -> str:
    part = fraction(*VULGAR[m[2]], language)
    if not m[1]:
        return part
    whole = integer(m[1], language, "m")
    if m[2] == "½":
        return f"{whole}{' ' * (language.code != 'de')}{language.words['half']}"
    return f"{whole} {language.words['and']} {part}"


def operators(text: str, language: Language) -> str:
    """Powers, operators and comparisons; remaining numbers are left."""
    words = language.words
    text = RAISED.sub(lambda m: _raised(m, language), text.translate(LOWERED))
    text = SPACED.sub(lambda m: _spaced(m, words), MINUS.sub(f" {words['minus']} ", text))
    text = RANGE.sub(lambda m: f"{m[1]} {words['to']} {m[2]}", text)
    text = RATIO.sub(lambda m: f"{m[1]} {words['ratio']} {m[2]}", text)
    text = MULTIPLIED.sub(f" {words['times']} ", text)
    text = DIVIDED.sub(f" {words['over']} ", OVER.sub(f" {words['over']} ", text))
    text = LESS.sub(lambda m: f" {words[COMPARED[m[1] or m[2]]]} ", text)
    text = ABOUT.sub(f"{words['about']} ", text)
    text = PLUS.sub(f" {words['plus']} ", BY.sub(f" {words['by']} ", text))
    text = GREEK_LETTER.sub(lambda m: f" {words.get(m[0], GREEK[m[0]])} ", text)
    for sign, word in SIGNS.items():
        if sign in text:
            text = text.replace(sign, f" {words[word]} ")
    return text


def _spaced(m: Match[str], words: Mapping[str, str]) -> str:
    """A subtraction if the larger number is first, else a range."""
    return f"{m[1]} {words['minus' if value(m[1]) > value(m[2]) else 'to']} {m[2]}"


def _raised(m: Match[str], language: Language) -> str:
    power = (m[1] or "").translate(SUPERSCRIPTS) or m[2] or m[3] or m[4]
    if power in POWER:
        return f" {language.words[POWER[power]]}"
    minus, rest = (f"{language.words['minus']} ", power[1:]) if power[:1] in "-+" else ("", power)
    said = number(rest, language) if rest.isascii() and rest.isdigit() else rest
    return f" {language.words['power']} {minus}{said}"
