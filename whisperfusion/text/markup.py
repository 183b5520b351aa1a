"""Markup is for a screen: the text to speak of each piece of a reply, without it.

A reply arrives in pieces (`segmentation.Clauses`), which may cut fenced code, comments or a link.
So `Markup` reads one reply from its first piece to its last: the content of such a span is skipped,
and the start of a link waits for its end in the next piece. Fenced code is skipped silently: the
page shows it. A piece starts like a line.
"""

from __future__ import annotations

import html
import re
from re import Match

LONGEST_HELD = 400  # characters of an unfinished link or tag; longer ones are text

FENCE = re.compile(
    r"`{3,50}|(?:(?<=\n)|^)[ \t]{0,3}~{3,50}|<!--|<(?:script|style|svg)\b[^<>]{0,200}>|(?<!\$)"
    r"\$\$(?!\$)",
    re.IGNORECASE,
)
CLOSES = {
    "`": re.compile("`{3,50}"),
    "~": re.compile("~{3,50}"),
    "<!--": re.compile("-->"),
    "$$": re.compile(r"\$\$"),
}
CLOSES |= {
    f"<{name}": re.compile(f"</{name}>", re.IGNORECASE) for name in ("script", "style", "svg")
}
UNFINISHED = re.compile(
    r"!?\[[^\[\]\n]{0,300}(?:\](?:\([^()\s]{0,400})?)?$|<(?:[a-zA-Z/!][^<>]{0,390})?$"
)
IMAGE_OR_LINK = re.compile(
    r"!?\[([^\[\]\n]{0,300})\]\([ ]{0,3}<?[^()\s<>]{0,2000}(?:\([^()\s]{0,200}\)[^()\s]{0,200})"
    r"?>?(?:\s{1,3}[\"'(][^\"'()\n]{0,200}[\"')])?[ ]{0,3}\)"
)
REFERENCE = re.compile(r"\[([^\[\]\n]{1,300})\]\[[^\[\]\n]{0,80}\]")
DEFINITION = re.compile(r"(?:(?<=\n)|^)[ ]{0,3}\[\^?[^\[\]\n]{1,80}\]:[^\n]{0,2000}")
NOTE = re.compile(
    r"\[\^[^\[\]\n]{1,60}\]|\[[ xX✓✔]\]|\[(?:source|citation needed|ref|note)?[ ]?[0-9]{0,"
    r"3}(?:[,–-] ?[0-9]{1,3}){0,9}\]|【[^【】\n]{0,80}】|\[[a-z]\]"
)
AUTOLINK = re.compile(r"<((?:[a-zA-Z][a-zA-Z0-9+.-]{1,30}:(?://)?|[\w.+-]{1,64}@)[^<>\s]{1,2000})>")
TAG = re.compile(r"</?[a-zA-Z][^<>\n]{0,500}>|</?[a-zA-Z][\w-]{0,30}\s[^<>]{0,500}>")
RULED = re.compile(r"^[\s|:+-]{0,600}$|^\s*(?:[-*_=] ?){3,600}\s*$")
BULLET = re.compile(
    r"^\s{0,40}(?:(?:[#>•‣◦·●○■▪▸►➤✓✔✅+–—*-]{1,6}(?:\s+|$)){1,6}|#{1,6}(?![\w#])\s*|#{1,"
    r"6}(?=[A-Z]\w* \w))"
)
HEADING = re.compile(r"\s#{1,6}\s*$")
LATEX = re.compile(r"\\(?:frac|dfrac|tfrac)\{([^{}]{1,60})\}\{([^{}]{1,60})\}")
LATEX_ROOT = re.compile(r"\\sqrt\{([^{}]{1,60})\}")
LATEX_TEXT = re.compile(
    r"\\(?:text|mathrm|mathbf|textbf|textit|emph|operatorname|boxed)\{([^{}]{0,200})\}"
)
LATEX_WORDS = {
    "times": " × ",
    "cdot": " × ",
    "div": " ÷ ",
    "pm": " ± ",
    "le": " ≤ ",
    "leq": " ≤ ",
    "ge": " ≥ ",
    "geq": " ≥ ",
    "ne": " ≠ ",
    "neq": " ≠ ",
    "approx": " ≈ ",
    "infty": " ∞ ",
    "sqrt": " √ ",
    "sum": " ∑ ",
    "int": " ∫ ",
    "to": " → ",
    "rightarrow": " → ",
    "left": "",
    "right": "",
    "quad": " ",
    "ldots": "…",
    "dots": "…",
    "degree": "°",
    "circ": "°",
    "begin": "",
    "end": "",
}
LATEX_WORD = re.compile(r"\\([a-zA-Z]{1,20})")
LATEX_EDGE = re.compile(r"\\[()\[\],;!\\]")
MATH = re.compile(
    r"(?<![\w$\\])\$(?=[^\s$0-9])([^$\n]{1,200})(?<!\s)\$(?![\w$])|(?<![\w$\\])\$([0-9][^$\n]{0,"
    r"60}[\\^_={}][^$\n]{0,60})\$(?![\w$])"
)
ESCAPED = re.compile(r"\\([*_`#\[\]()~>!|<{}.+-])")
EMPHASIS = re.compile(r"\*{2,}|~{2,}|`+|(?<![\w*])\*+(?=\S)|(?<=\S)\*+(?![\w*])|(?<!\w)\*+(?!\w)")
TIMES = re.compile(r"(?<=[0-9)])\s{0,2}\*\s{0,2}(?=[0-9(])")
UNDERSCORED = re.compile(r"(?<!\w)_+|_+(?!\w)")


class Markup:
    """The markup filter of one reply. Linear in its input; it holds at most `LONGEST_HELD`
    characters.
    """

    def __init__(self) -> None:
        self._closes: re.Pattern[str] | None = None  # the end of the span that is being skipped
        self._held = ""

    def feed(self, piece: str, last: bool = False) -> str:
        """The text to speak of the next piece; `last`: it is the last one."""
        text = f"{self._held} {piece}" if self._held else piece
        self._held = ""
        text = self._outside(text)
        if not last:
            tail = text[-LONGEST_HELD:]
            found = UNFINISHED.search(tail)
            if found:
                self._held, text = (
                    tail[found.start() :],
                    text[: len(text) - len(tail) + found.start()],
                )
        return plain(text)

    def _outside(self, text: str) -> str:
        """`text` without the content of code, comments and similar spans."""
        out: list[str] = []
        at = 0
        while at < len(text):
            if self._closes is not None:
                end = self._closes.search(text, at)
                if end is None:
                    return "".join(out)
                at, self._closes = end.end(), None
                out.append(" ")
                continue
            begin = FENCE.search(text, at)
            if begin is None:
                out.append(text[at:])
                break
            out.append(text[at : begin.start()])
            at, mark = begin.end(), begin[0].strip().lower()
            self._closes = next(
                pattern for opening, pattern in CLOSES.items() if mark.startswith(opening)
            )
        return "".join(out)


def plain(text: str) -> str:
    """`text`, in which no span is open, without its markup."""
    if "\\" in text or "$" in text:
        text = _without_latex(text)
    if "[" in text or "【" in text:
        text = REFERENCE.sub(r"\1", IMAGE_OR_LINK.sub(r"\1", DEFINITION.sub("", text)))
        text = NOTE.sub("", text)
    if "<" in text:
        text = TAG.sub(" ", AUTOLINK.sub(lambda m: m[1].removeprefix("mailto:"), text))
    if "&" in text:
        text = html.unescape(text)
    text = " ".join(filter(None, map(_line, text.split("\n"))))
    text = EMPHASIS.sub("", TIMES.sub(" × ", text))
    return " ".join(UNDERSCORED.sub(" ", text).split())


def _line(line: str) -> str:
    if RULED.match(line):
        return ""
    bars = line.count("|") - 2 * line.count("||")
    if bars >= 2 or line.lstrip().startswith("|"):
        return ", ".join(filter(None, (BULLET.sub("", cell).strip() for cell in line.split("|"))))
    return HEADING.sub("", BULLET.sub("", line.replace("|", " ")))


def _without_latex(text: str) -> str:
    text = MATH.sub(lambda m: m[1] or m[2], text)
    for _ in range(2):  # nested
        text = LATEX_TEXT.sub(r"\1", LATEX.sub(r"\1/\2", LATEX_ROOT.sub(r"√(\1)", text)))
    text = ESCAPED.sub(r"\1", LATEX_EDGE.sub(" ", text))
    return LATEX_WORD.sub(_latex_word, text)


def _latex_word(m: Match[str]) -> str:
    before = m.string[m.start() - 1 : m.start()]
    if before.isalnum() or before == ":":  # a Windows path
        return m[0]
    return LATEX_WORDS.get(m[1], f" {m[1]} ")
