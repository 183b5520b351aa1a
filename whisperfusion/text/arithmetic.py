"""Ranges, fractions, powers, operators and ordinals in words."""

from __future__ import annotations

import re
from re import Match

from whisperfusion.text.number_patterns import ALONE, NUM
from whisperfusion.text.numbers import cardinal, fraction, integer, ordinal, value

BY = re.compile(r"(?<=[0-9])(?<!\b0)\s?[x×]\s?(?=[0-9])")
RANGE = re.compile(rf"{ALONE}({NUM})\s?[-–—]\s?({NUM})(?![\w%]|[-–.,]?[0-9]|-|\s?=)")
MINUS = re.compile(
    r"(?<=[0-9a-zA-Z)])\s?[-–]\s?(?=[0-9]{1,15}(?:\.[0-9]{1,9})?\s?=)|(?<=[\s(0-9][a-z])\s[-–]\s(?=[0-9]|[a-z]\b)|(?<=\))\s[-–]\s(?=[0-9(])|"
    r"(?<=[0-9])\s[-–]\s(?=\()"
)
SPACED = re.compile(rf"{ALONE}({NUM}) [-–] ({NUM})(?![\w%]|[.,]?[0-9])")
VULGAR = {
    "½": (1, 2),
    "⅓": (1, 3),
    "⅔": (2, 3),
    "¼": (1, 4),
    "¾": (3, 4),
    "⅕": (1, 5),
    "⅖": (2, 5),
    "⅗": (3, 5),
    "⅘": (4, 5),
    "⅙": (1, 6),
    "⅚": (5, 6),
    "⅛": (1, 8),
    "⅜": (3, 8),
    "⅝": (5, 8),
    "⅞": (7, 8),
}
MIXED = re.compile(rf"(?:{ALONE}([0-9]{{1,6}})\s?)?([{''.join(VULGAR)}])")
MIXED_SLASH = re.compile(r"(?<![\w./])([0-9]{1,4}) ([0-9]{1,2})[/⁄]([0-9]{1,2})(?![\w/]|\.[0-9])")
FRACTION = re.compile(r"(?<![\w./])([0-9]{1,4})[/⁄]([0-9]{1,4})(?![\w/]|\.[0-9])")
RATIO = re.compile(r"(?<![\w.:])([0-9]{1,4}):([0-9]{1,4})(?![\w:]|\.[0-9])")
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
RAISED = re.compile(
    r"(?<=[\w)])([⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]{1,9})|(?<=[\w)])\^(?:\{(-?\w{1,9})\}|\((-?\w{1,9})\)|(-?\w{1,9}))"
)
LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
SCIENTIFIC = re.compile(r"(?<![\w.])([0-9]{1,9}(?:\.[0-9]{1,20})?)[eE]([+-]?)([0-9]{1,3})(?!\w)")
PLUS = re.compile(
    r"(?<=[0-9a-zA-Z)])\s?\+\s?(?=[0-9a-zA-Z(])|(?<![\w+])\+(?=[0-9])|(?<=[0-9]|\b[A-Z])\+(?!\+)"
)
OVER = re.compile(r"(?<=[0-9)])\s?÷\s?|(?<=[0-9)])\s/\s(?=[0-9(])")
MULTIPLIED = re.compile(
    r"(?<=[\w)])\s?[×·⋅]\s?(?=[\w(])|(?<=[0-9)])\s?\*\s?(?=[0-9(a-z])|(?<=\b[a-z])"
    r"\s?\*\s?(?=[0-9(]|[a-z]\b)"
)
SIGNS = {
    "≤": "is less than or equal to",
    "≥": "is greater than or equal to",
    "≠": "is not equal to",
    "≈": "is about",
    "=": "equals",
    "±": "plus or minus",
    "∞": "infinity",
    "√": "the square root of",
    "∑": "the sum of",
    "∈": "in",
    "→": "to",
    "⇒": "so",
    "↔": "to and from",
    "←": "from",
    "∆": "delta",
    "∂": "partial",
    "∫": "the integral of",
    "∏": "the product of",
    "∅": "the empty set",
    "∪": "union",
    "∩": "intersection",
    "¬": "not",
    "∧": "and",
    "∨": "or",
    "∀": "for all",
    "∃": "there is",
    "×": "times",
    "÷": "divided by",
    "&": "and",
    "%": "percent",
    "§": "section",
    "©": "copyright",
    "№": "number",
    "′": "prime",
    "‰": "per mille",
    "°": "degrees",
}
LESS = re.compile(r"(?<=[\w)])\s?([<>]=?)\s?(?=[\w(-])|(?<![\w<>])([<>]=?)\s?(?=-?[0-9$€£])")
COMPARED = {
    "<": "less than",
    ">": "greater than",
    "<=": "less than or equal to",
    ">=": "greater than or equal to",
}
ABOUT = re.compile(r"(?<![\w~])~\s?(?=[0-9$€£])")
GREEK = dict(
    zip(
        "αβγδεζηθικλμνξπρστυφχψω",
        (
            "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho "
            "sigma tau upsilon phi chi psi omega"
        ).split(),
        strict=True,
    )
)
GREEK |= {
    "Δ": "delta",
    "Σ": "sigma",
    "Ω": "omega",
    "Π": "pi",
    "Φ": "phi",
    "Ψ": "psi",
    "Θ": "theta",
    "Λ": "lambda",
    "Γ": "gamma",
}
GREEK_LETTER = re.compile(rf"(?<![^\W0-9a-zA-Z_])[{''.join(GREEK)}](?![^\W0-9a-zA-Z_])")


def fractions(text: str) -> str:
    text = MIXED_SLASH.sub(_mixed_slash, text)
    text = FRACTION.sub(_fraction, text)
    return MIXED.sub(lambda m: _mixed(m[1], *VULGAR[m[2]]), text)


def _mixed(whole: str | None, above: int, below: int) -> str:
    if not whole:
        return fraction(above, below)
    part = fraction(above, below)
    return f"{integer(whole)} and {'a' + part.removeprefix('one') if above == 1 else part}"


def _mixed_slash(m: Match[str]) -> str:
    above, below = int(m[2]), int(m[3])
    if not 0 < above < below:
        return m[0]
    return _mixed(m[1], above, below)


def _fraction(m: Match[str]) -> str:
    known = {
        "24/7": "twenty-four seven",
        "9/11": "nine eleven",
        "50/50": "fifty-fifty",
        "20/20": "twenty-twenty",
    }
    return known.get(m[0]) or fraction(int(m[1]), int(m[2]))


def arithmetic(text: str) -> str:
    """Powers, operators and comparisons; remaining numbers are left to `normalization.numbers`."""
    text = SCIENTIFIC.sub(
        lambda m: (
            f"{m[1]} times ten to the power of {'minus ' * (m[2] == '-')}{cardinal(int(m[3]))}"
        ),
        text,
    )
    text = RAISED.sub(_raised, text.translate(LOWERED))
    text = SPACED.sub(_spaced, MINUS.sub(" minus ", text))
    text = RANGE.sub(lambda m: f"{m[1]} to {m[2]}", text)
    text = RATIO.sub(lambda m: f"{m[1]} to {m[2]}", text)
    text = OVER.sub(" divided by ", MULTIPLIED.sub(" times ", text))
    text = LESS.sub(lambda m: f"{' is' if m[1] else ''} {COMPARED[m[1] or m[2]]} ", text)
    text = ABOUT.sub("about ", text)
    text = BY.sub(" by ", text)
    text = PLUS.sub(" plus ", text)
    text = GREEK_LETTER.sub(lambda m: f" {GREEK[m[0]]} ", text)
    for sign, spelled in SIGNS.items():
        if sign in text:
            text = text.replace(sign, f" {spelled} ")
    return text


def _spaced(m: Match[str]) -> str:
    """A subtraction if the larger number is first, else a range."""
    return f"{m[1]} {'minus' if value(m[1]) > value(m[2]) else 'to'} {m[2]}"


def _raised(m: Match[str]) -> str:
    power = (m[1] or "").translate(SUPERSCRIPTS) or m[2] or m[3] or m[4]
    if power in ("2", "3"):
        return " squared" if power == "2" else " cubed"
    minus, plain = ("minus ", power[1:]) if power[:1] in "-+" else ("", power)
    if plain.isascii() and plain.isdigit():
        return f" to the power of {minus}{integer(plain)}"
    return f" to the power of {minus}{plain}"


ORDINAL = re.compile(r"(?<![\w.,])([0-9]{1,15}|[0-9]{1,3}(?:,[0-9]{3}){1,4})(?:st|nd|rd|th)\b")


def ordinals(text: str) -> str:
    return ORDINAL.sub(lambda m: ordinal(int(m[1].replace(",", ""))), text)
