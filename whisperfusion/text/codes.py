"""Digits that are read one by one, and Roman numerals; the words beside them decide."""

from __future__ import annotations

import re
from re import Match

from whisperfusion.text.numbers import as_roman, cardinal, digits, ordinal, roman

KINGS = set(
    "Henry Louis Charles George Edward William James Richard Elizabeth Philip Napoleon Pope "
    "Pius Paul Benedict Francis Leo Gregory Clement "
    "Urban Innocent Alexander Nicholas Catherine Frederick Ferdinand Leopold Albert "
    "Mary Peter Ivan Ramesses Ptolemy Xerxes Darius Victoria "
    "Otto Alfonso Carlos Juan Wilhelm Friedrich Ludwig Christian Harald Gustav "
    "Margrethe Wenceslas Constantine John Stephen".split()
)
PARTS_OF = set(
    "Chapter Part Act Scene Section Volume Book War Phase Type Article Title Appendix Level "
    "Stage Episode Season Class Grade Bowl Mark Figure "
    "Table Lesson Unit Round Division Group Schedule Rocky Fantasy Apollo Gemini "
    "Quest Tier Category Wars Warcraft Theft".split()
)
NUMERAL = re.compile(r"\b([A-Z][a-z]{1,20}) ([IVXLC]{1,8})\b(?!['’.]\w)")
CENTURY = re.compile(r"\b([IVX]{2,6})(?:th|st|nd|rd)?(?=[ -](?:century|centuries)\b)")

STATES = (
    "AL|AK|AZ|AR|CA|CO|CT|DE|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|"
    "NM|NY|NC|ND|OH|OK|OR|PA|RI|SC|SD|TN|TX|UT|VT|VA|"
    "WA|WV|WI|WY|DC|Alabama|Alaska|Arizona|Arkansas|California|Colorado|Connecticut|"
    "Delaware|Florida|Georgia|Hawaii|Idaho|Illinois|Indiana|Iowa|"
    "Kansas|Kentucky|Louisiana|Maine|Maryland|Massachusetts|Michigan|Minnesota|"
    "Mississippi|Missouri|Montana|Nebraska|Nevada|Hampshire|Jersey|Mexico|"
    "York|Carolina|Dakota|Ohio|Oklahoma|Oregon|Pennsylvania|Tennessee|Texas|Utah|Vermont|"
    "Virginia|Washington|Wisconsin|Wyoming"
)
ZIP = re.compile(
    rf"(?:(?<=\s)|(?<=^)|(?<=,))({STATES})(,?) ([0-9]{{5}})(?:-([0-9]{{4}}))?(?![\w]|[.,-][0-9])"
)
CODE = re.compile(
    r"\b(?i:(zip(?: code)?|zipcode|postal code|postcode|post code|area code|pin(?: code)?|"
    r"passcode|access code|port|country code|code|password|ID|id number|"
    r"(?:phone|account|order|card|serial|tracking|confirmation|reference|routing|invoice|policy|"
    r"telephone) number))"
    r"((?:\s(?:is|was|of|for|in|there|here|like|you|me|the|this|that|number|area|city|place|has|"
    r"be|will)){0,4}[:#]?\s[\"'“‘(]?)([0-9]{3,16})(?:-([0-9]{4}))?(?![\w]|[.,:/-][0-9]|%)"
)
EMERGENCY = re.compile(
    r"\b(?i:(call|dial|calling|dialing|called|ring|text))( )(911|999|112|988|101|111|311|411)\b"
)


def codes(text: str) -> str:
    """ZIP codes, PINs and emergency numbers, read digit by digit because of the words before."""
    text = ZIP.sub(
        lambda m: f"{m[1]}{m[2]} {digits(m[3])}" + (f", {digits(m[4])}" if m[4] else ""), text
    )
    text = CODE.sub(
        lambda m: f"{m[1]}{m[2]}{_in_groups(m[3])}" + (f", {digits(m[4])}" if m[4] else ""), text
    )
    return EMERGENCY.sub(lambda m: f"{m[1]}{m[2]}{digits(m[3])}", text)


def _in_groups(text: str) -> str:
    size = 4 if len(text) > 6 else len(text)
    return ", ".join(digits(text[at : at + size]) for at in range(0, len(text), size))


def numerals(text: str) -> str:
    text = CENTURY.sub(lambda m: ordinal(roman(m[1])) if roman(m[1]) else m[0], text)
    return NUMERAL.sub(_numeral, text)


def _numeral(m: Match[str]) -> str:
    n = roman(m[2])
    if not n or as_roman(n) != m[2] or (n > 60 and m[1] not in PARTS_OF):
        return m[0]
    if m[1] in KINGS and (
        n > 1 or m[1] not in ("John", "Mary", "Paul", "Peter", "Stephen", "George")
    ):
        return (
            f"{m[1]} the {ordinal(n)}"
            if m[2] not in ("I", "C", "L")
            or m[1] in ("Elizabeth", "Napoleon", "Charles", "Francis", "Henry")
            else m[0]
        )
    if m[1] in PARTS_OF or m[2] in ("II", "III", "VII", "VIII", "XII", "XIII"):
        return (
            f"{m[1]} {cardinal(n)}"
            if m[2] not in ("I", "C", "L")
            or m[1] in ("Chapter", "Part", "Act", "War", "Phase", "Type", "Volume")
            else m[0]
        )
    return m[0]
