"""Text normalization: numbers, dates, money, units, abbreviations and addresses as the words that a
person says when reading aloud.

One implementation in front of every voice: synthesis libraries normalize too, each differently and
with its own errors ("The answer is no." became "number"), so this leaves little to them. Rules run
from the longest and surest match to what is left; each is a pattern with bounded repeats, so time
is linear in the text. Running it again changes nothing. Other languages have rules of their own in
`verbalizers`; in one that has none, only what no voice can say is removed (emoji, the tails of
links).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from re import Match

from whisperfusion.text import addresses, arithmetic, dates
from whisperfusion.text.abbreviations import abbreviations
from whisperfusion.text.codes import codes, numerals
from whisperfusion.text.measures import measures
from whisperfusion.text.money import money
from whisperfusion.text.number_patterns import NUM
from whisperfusion.text.numbers import number

LONGEST_RUN = 4  # equal signs in a row: "!!!!!!!!" becomes "!!!!"
PASSES = 4  # a rule may match the output of another one

EMOJI = re.compile(
    "[\U0001f000-\U0001faff\u2300-\u23ff\u2460-\u24ff\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff\u200d\u20e3\U000e0000-\U000e007f]+"
)
UNSEEN = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069"
    "\ufe00-\ufe0f\ufeff\ufff9-\ufffd"
    "\ud800-\udfff\ue000-\uf8ff]"
)
ALIKE = str.maketrans(
    {
        "\u00a0": " ",
        "\u202f": " ",
        "\u2009": " ",
        "\u2007": " ",
        "\u2010": "-",
        "\u2011": "-",
        "\u2012": "–",
        "\u2212": "-",
        "\u2015": "—",
        "\uff05": "%",
        "’": "'",
        "‘": "'",
        "ʼ": "'",
        "\u2044": "/",
        "®": None,
        "™": None,
        "℗": None,
        "†": None,
        "‡": None,
        "¶": None,
        "•": " ",
        "℃": "°C",
        "℉": "°F",
        "＄": "$",
        "＋": "+",
        "＝": "=",
    }
)
EMOTICON = re.compile(r"(?<![\w:;=])(?:[:;=]['-]?[()DPp/\\|*3oO]|<3|\^_\^|xD|XD)(?![\w/])")
THIN = re.compile("(?<=[0-9])[\u00a0\u202f\u2009'](?=[0-9]{3}(?![0-9]))")
RUN = re.compile(r"([^\w\s])\1{4,}")
SPACES = re.compile(r"\s+")
SPACE_BEFORE = re.compile(r" ([,.;:!?](?!\w))")
TIGHT_COMMA = re.compile(r"(?<=[a-z]),(?=[a-z])")
EMPTY_PAIR = re.compile(r"\(\s*\)|\[\s*\]|\{\s*\}")

STICK = re.compile(r"(?<=[A-Za-z])-?(?=[0-9])|(?<=[0-9])(?:-(?=[A-Za-z])|(?=[A-Za-z]))")
NUMBER = re.compile(rf"(?:{NUM})")
LETTER_AND = re.compile(r"\b([A-Z]{1,3})&([A-Z]{1,3})\b")
BETWEEN_LETTERS = re.compile(r"(?<=[^\W\d_])\s?/\s?(?=[^\W\d_])")
LEFT_OVER = re.compile(r"[_\\^~|#@<>{}\[\]*`/+]+")
POINTS = re.compile(r"(?<=\w)\.(?=[a-z]{1,10}\b)(?![a-z]\.)")


def spoken(text: str, language: str | None = "en") -> str:
    """`text`, already without markup, in words; white space becomes single spaces. Never fails, and
    is idempotent.

    `language`: the ISO 639 code of the voice; for None and languages without rules the text stays,
    without what no voice can say.
    """
    once = _rules(language)
    for _ in range(PASSES):
        before, text = text, once(text)
        if text == before:
            break
    return text


def _rules(language: str | None) -> Callable[[str], str]:
    """One pass of the rules of `language`."""
    if language is None:
        return _any_language
    if language[:2].lower() == "en":
        return _once
    from whisperfusion.text.verbalizers import verbalizer  # loads none for English

    return verbalizer(language) or _any_language


def _any_language(text: str) -> str:
    text = addresses.links(EMOJI.sub(" ", UNSEEN.sub("", text)), english=False)
    return " ".join(text.split())


def _plain_letters(text: str) -> str:
    """Decorative letters and digits (fullwidth, mathematical, ligatures) as plain ones."""
    return "".join(
        c if c.isascii() or not (c.isalpha() or c.isdecimal()) else _plain(c) for c in text
    )


def _plain(c: str) -> str:
    if c.isdecimal():
        return str(unicodedata.decimal(c))
    alike = unicodedata.normalize("NFKC", c)
    return alike if alike.isascii() else c


def _once(text: str) -> str:
    text = (
        unicodedata.normalize("NFC", text)
        if text.isascii()
        else _plain_letters(unicodedata.normalize("NFC", text))
    )
    text = addresses.FLAT.sub(lambda m: f"{m[1]} flat{' minor' * bool(m[2])}", text)
    text = UNSEEN.sub("", EMOTICON.sub(" ", THIN.sub(",", text)))
    text = EMOJI.sub(" ", RUN.sub(lambda m: m[1] * LONGEST_RUN, text.translate(ALIKE)))
    text = SPACES.sub(" ", text).strip()
    text = addresses.links(text)
    text = abbreviations(text)
    text = codes(dates.dates(dates.times(dates.stamps(text))))
    text = addresses.machines(addresses.telephones(text))
    text = measures(money(text))
    text = addresses.signs(addresses.files(text))
    text = arithmetic.ordinals(arithmetic.fractions(numerals(text)))
    text = numbers(arithmetic.arithmetic(text))
    return tidy(text)


def numbers(text: str) -> str:
    """All remaining digits."""
    if not any(c.isdigit() for c in text):
        return text
    return NUMBER.sub(_number, STICK.sub(" ", text))


def _number(m: Match[str]) -> str:
    before, after = m.string[: m.start()][-1:], m.string[m.end() :][:1]
    spelled = number(m[0])
    return f"{' ' if before.isalnum() else ''}{spelled}{' ' if after.isalnum() else ''}"


def tidy(text: str) -> str:
    text = LETTER_AND.sub(r"\1 and \2", text)
    text = BETWEEN_LETTERS.sub(" ", text)
    text = LEFT_OVER.sub(" ", text)
    text = TIGHT_COMMA.sub(", ", EMPTY_PAIR.sub(" ", text))
    return SPACE_BEFORE.sub(r"\1", SPACES.sub(" ", text)).strip()
