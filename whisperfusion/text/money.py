"""Amounts of money in words."""

from __future__ import annotations

import re
from re import Match

from whisperfusion.text.number_patterns import ALONE, DASH, MANY, NUM
from whisperfusion.text.numbers import cardinal, number

SHORT_MANY = {
    "k": "thousand",
    "m": "million",
    "mn": "million",
    "mm": "million",
    "b": "billion",
    "bn": "billion",
    "t": "trillion",
    "tn": "trillion",
}

# sign -> (one, several, a hundredth, hundredths)
MONEY = {
    "US$": ("US dollar", "US dollars", "cent", "cents"),
    "A$": ("Australian dollar", "Australian dollars", "cent", "cents"),
    "C$": ("Canadian dollar", "Canadian dollars", "cent", "cents"),
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "sen", "sen"),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "₩": ("won", "won", "jeon", "jeon"),
    "₽": ("ruble", "rubles", "kopeck", "kopecks"),
    "₺": ("lira", "lira", "kurus", "kurus"),
    "₴": ("hryvnia", "hryvnias", "kopiyka", "kopiykas"),
    "₪": ("shekel", "shekels", "agora", "agorot"),
    "₫": ("dong", "dong", "xu", "xu"),
    "₦": ("naira", "naira", "kobo", "kobo"),
    "₱": ("peso", "pesos", "centavo", "centavos"),
    "₿": ("bitcoin", "bitcoins", "bit", "bits"),
}
CODES = {
    "USD": "US$",
    "EUR": "€",
    "GBP": "£",
    "JPY": "¥",
    "INR": "₹",
    "KRW": "₩",
    "RUB": "₽",
    "AUD": "A$",
    "CAD": "C$",
    "BTC": "₿",
}
_SIGNS = "|".join(re.escape(sign) for sign in MONEY)
_CODES = "|".join(CODES)


def amount(sign: str, digits: str, many: str = "") -> str:
    """Three dollars and fifty cents; one point five billion dollars."""
    one, several, hundredth, hundredths = MONEY[sign]
    if many:
        return f"{number(digits)} {SHORT_MANY.get(many.lower(), many.lower())} {several}"
    whole, _point, cents = digits.partition(".")
    if len(cents) != 2:
        return f"{number(digits)} {one if digits == '1' else several}"
    units, small = int(whole.replace(",", "") or 0), int(cents)
    spelled = f"{number(whole)} {one if units == 1 else several}" if units or not small else ""
    parts = f"{cardinal(small)} {hundredth if small == 1 else hundredths}" if small else ""
    return " and ".join(filter(None, (spelled, parts)))


MONEY_RANGE = re.compile(
    rf"({_SIGNS})({NUM}){DASH}(?:\1)?({NUM})(?:\s?({MANY}|[kKmMbB]n?)\b)?(?![\w.])"
)
MONEY_BEFORE = re.compile(
    rf"(-\s?)?(?<![\w$€£])({_SIGNS}|(?:{_CODES})(?=[ 0-9]))\s?(-?)({NUM})(?:\s?({MANY}|"
    rf"(?:[kKmMbBtT]|bn|mn|tn)(?=\W|$)))?(?![0-9])"
)
MONEY_AFTER = re.compile(rf"{ALONE}({NUM})(?:\s?({MANY}))?\s?({_SIGNS}|(?:{_CODES})\b)(?![0-9])")
EUROPEAN = re.compile(r"(?<![\w.,])([0-9]{1,3}(?:\.[0-9]{3}){1,6}),([0-9]{2})(?=\s?€)")
CENTS = re.compile(rf"{ALONE}({NUM})\s?¢")


def money(text: str) -> str:
    text = EUROPEAN.sub(lambda m: f"{m[1].replace('.', '')}.{m[2]}", text)
    text = MONEY_RANGE.sub(lambda m: f"{number(m[2])} to {amount(m[1], m[3], m[4] or '')}", text)
    text = MONEY_BEFORE.sub(_money_before, text)
    text = MONEY_AFTER.sub(lambda m: amount(CODES.get(m[3], m[3]), m[1], m[2] or ""), text)
    return CENTS.sub(lambda m: f"{number(m[1])} {'cent' if m[1] == '1' else 'cents'}", text)


def _money_before(m: Match[str]) -> str:
    minus = "minus " if m[1] or m[3] else ""
    return minus + amount(CODES.get(m[2], m[2]), m[4], m[5] or "")
