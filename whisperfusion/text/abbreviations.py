"""Titles, streets and other abbreviations as the words that they stand for."""

from __future__ import annotations

import re
from re import Match

TITLES = {
    "Dr": "Doctor",
    "Mr": "Mister",
    "Mrs": "Missus",
    "Ms": "Miz",
    "Prof": "Professor",
    "Rev": "Reverend",
    "Gen": "General",
    "Col": "Colonel",
    "Lt": "Lieutenant",
    "Sgt": "Sergeant",
    "Capt": "Captain",
    "Gov": "Governor",
    "Sen": "Senator",
    "Rep": "Representative",
    "Pres": "President",
    "Hon": "Honorable",
    "Fr": "Father",
    "Mt": "Mount",
    "Ft": "Fort",
}
TITLE = re.compile(
    rf"(?<![\w.])(?:({'|'.join(TITLES)})\.? (?=[A-Z])|(Mr|Mrs|Ms|Dr)\. (?=and |or |& ))"
)
SAINT = re.compile(r"(?<![\w.])St\.? (?=[A-Z][a-z])")
STREETS = {
    "St": "Street",
    "Ave": "Avenue",
    "Blvd": "Boulevard",
    "Rd": "Road",
    "Ln": "Lane",
    "Hwy": "Highway",
    "Pkwy": "Parkway",
    "Sq": "Square",
}
STREET = re.compile(
    rf"\b([A-Z][a-z]{{1,20}}|[0-9]{{1,3}}(?:st|nd|rd|th))( (?:[NSEW]\.? )?)({'|'.join(STREETS)})"
    rf"(\.?)(?=[\s,;:!?)]|$)"
)
# Replaced everywhere. A full stop that also ends the text is kept.
SHORT = {
    "e.g.": "for example",
    "i.e.": "that is",
    "etc.": "et cetera",
    "vs.": "versus",
    "vs": "versus",
    "approx.": "approximately",
    "dept.": "department",
    "est.": "established",
    "Inc.": "Incorporated",
    "Ltd.": "Limited",
    "Corp.": "Corporation",
    "Co.": "Company",
    "Jr.": "Junior",
    "Sr.": "Senior",
    "a.k.a.": "also known as",
    "w/o": "without",
    "w/": "with",
    "N/A": "not applicable",
    "n/a": "not applicable",
    "ca.": "circa",
    "govt.": "government",
    "incl.": "including",
    "excl.": "excluding",
    "avg.": "average",
    "misc.": "miscellaneous",
    "Bros.": "Brothers",
    "Univ.": "University",
    "i. e.": "that is",
    "e. g.": "for example",
    "et al.": "and others",
    "cf.": "compare",
    "resp.": "respectively",
}
ABBREVIATION = re.compile(
    rf"(?<![\w./])({'|'.join(map(re.escape, sorted(SHORT, key=len, reverse=True)))})(?![\w/])"
)
COUNTED = {
    "no": "number",
    "nos": "numbers",
    "vol": "volume",
    "fig": "figure",
    "figs": "figures",
    "eq": "equation",
    "p": "page",
    "pp": "pages",
    "ch": "chapter",
    "chap": "chapter",
    "sec": "section",
    "art": "article",
    "op": "opus",
    "ep": "episode",
    "apt": "apartment",
    "ref": "reference",
    "par": "paragraph",
    "ln": "line",
    "lines": "lines",
}
COUNT = re.compile(rf"(?<![\w.])(?i:({'|'.join(COUNTED)}))\. ?(?=[0-9])")


def abbreviations(text: str) -> str:
    text = COUNT.sub(lambda m: f"{_like(m[1], COUNTED[m[1].lower()])} ", text)
    text = STREET.sub(lambda m: f"{m[1]}{m[2]}{STREETS[m[3]]}{_kept_stop(m, m[4])}", text)
    text = SAINT.sub("Saint ", text)
    text = TITLE.sub(lambda m: f"{TITLES[m[1] or m[2]]} ", text)
    return ABBREVIATION.sub(lambda m: SHORT[m[1]] + _kept_stop(m, m[1][-1:]), text)


def _like(written: str, word: str) -> str:
    return word.capitalize() if written[0].isupper() else word


def _kept_stop(m: Match[str], last: str) -> str:
    """A full stop, where that of an abbreviation also ends the sentence."""
    return "." if last == "." and not m.string[m.end() :].strip(" \"')”’") else ""
