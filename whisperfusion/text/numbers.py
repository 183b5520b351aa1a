"""Numbers as English words, without "and": 1234 is "one thousand two hundred thirty-four"."""

from __future__ import annotations

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen "
    "nineteen".split()
)
TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()
SCALES = ["", " thousand", " million", " billion", " trillion", " quadrillion"]
ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
PARTS = {2: "half", 4: "quarter"}
NAMED = 18  # digits: longer numbers have no common name
GROUP = 4  # digits read in one group where a long number has no separators


def cardinal(n: int) -> str:
    """`n` of at most `NAMED` digits."""
    if n < 0:
        return f"minus {cardinal(-n)}"
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10] + (f"-{ONES[n % 10]}" if n % 10 else "")
    if n < 1000:
        return f"{ONES[n // 100]} hundred" + (f" {cardinal(n % 100)}" if n % 100 else "")
    parts = []
    for power in range(len(SCALES) - 1, -1, -1):
        part = n // 1000**power % 1000
        if part:
            parts.append(cardinal(part) + SCALES[power])
    return " ".join(parts)


def ordinal(n: int) -> str:
    """First, twenty-second, one hundredth."""
    words = cardinal(n)
    at = max(words.rfind(" "), words.rfind("-")) + 1
    last = words[at:]
    if last in ORDINALS:
        return words[:at] + ORDINALS[last]
    return f"{words[:-1]}ieth" if last.endswith("y") else f"{words}th"


def plural(word: str) -> str:
    """Of a number word: twenties, hundredths, halves."""
    if word.endswith("half"):
        return f"{word[:-1]}ves"
    if word.endswith("y"):
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith("x") else f"{word}s"


def year(n: int) -> str:
    """Nineteen ninety, nineteen oh five, two thousand five, twenty twenty-six."""
    century, rest = divmod(n, 100)
    if not 1100 <= n <= 9999 or century % 10 == 0 and rest < 10:
        return cardinal(n)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def digits(text: str) -> str:
    """The digits of `text` one by one; other characters are skipped."""
    return " ".join(ONES[int(c)] for c in text if c in "0123456789")


def integer(text: str) -> str:
    """A row of digits in a text: a number, or digit by digit where people would not read
    it as one.
    """
    long = len(text) >= 7 and not text.endswith("000")
    if len(text) > NAMED or long or (len(text) > 1 and text[0] == "0"):
        return ", ".join(digits(text[at : at + GROUP]) for at in range(0, len(text), GROUP))
    return cardinal(int(text))


def number(text: str) -> str:
    """Digits with commas between thousands, a point, a sign: "-1,234.5"."""
    minus = "minus " if text[:1] == "-" else ""
    whole, point, fraction = text.lstrip("-").partition(".")
    grouped = "," in whole
    whole = whole.replace(",", "")
    named = integer(whole) if whole else ""
    if grouped and len(whole) <= NAMED:
        named = cardinal(int(whole))
    return minus + " ".join(filter(None, (named, "point" if point else "", digits(fraction))))


def value(text: str) -> float:
    """Of digits with commas and a point."""
    return float(text.replace(",", ""))


def fraction(above: int, below: int) -> str:
    """One half, three quarters, two thirds, seven out of ten, one hundred twenty over eighty."""
    if below in (10, above):
        return f"{cardinal(above)} out of {cardinal(below)}"
    if below in PARTS or (3 <= below <= 9 or below in (12, 16, 32, 64, 100)):
        part = PARTS.get(below) or ordinal(below)
        return f"{cardinal(above)} {part if above == 1 else plural(part)}"
    return f"{cardinal(above)} over {cardinal(below)}"


ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}


def roman(text: str) -> int:
    """The value of Roman numerals up to the hundreds; 0 for what is not written as they are."""
    total, values = 0, [ROMAN.get(c, 0) for c in text]
    for at, one in enumerate(values):
        total += -one if at + 1 < len(values) and values[at + 1] > one else one
    return total if total > 0 and 0 not in values and as_roman(total) == text else 0


def as_roman(n: int) -> str:
    steps = (
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    )
    made = ""
    for size, sign in steps:
        made += sign * (n // size)
        n %= size
    return made
