"""Words of a transcript in the form that rules read: lower case, numbers in digits, clauses."""

from __future__ import annotations

import re

from text_to_num import alpha2digit

APOSTROPHES = str.maketrans("’‘`´–—", "''''--")
HYPHEN = re.compile(r"(\w)-(?=[a-z])")
SIGNS = (
    (re.compile(r"(\d),(?=\d{3}\b)"), r"\1"),  # 1,250
    (re.compile(r"(\d)\s*[x×]\s*(?=\d)"), r"\1 times "),
    (re.compile(r"(\d)\s*÷\s*(?=\d)"), r"\1 divided by "),
    (re.compile(r"(\d)\s+(?:percent|per cent)\b"), r"\1%"),
    (re.compile(r"[$€£](\d+(?:\.\d+)?)"), r"\1 euros"),
    (re.compile(r"\b(?:a|an)\s+(?=\d)"), ""),  # a 120
    (re.compile(r"\s+"), " "),
)
CLAUSE_END = re.compile(r"[.,!?;:]{1,5}(?=\s|$)")
POLITE = re.compile(
    r"^(?:(?:okay|ok|hey|hi|hello|oh|so|well|right|now|and|but|um|uh|please|excuse me|dear|darling|"
    r"sorry|listen|then|yes|no|great|thanks|thank you|computer|assistant|all right|alright|"
    r"never mind)\b[\s,.!-]*)+"
)
REQUEST = re.compile(
    r"^(?:(?:can|could|would|will) you(?: please| kindly)?(?: be so kind as to| mind)?\s+|"
    r"be (?:a (?:darling|dear|love)|so kind) and |"
    r"(?:i want|i'd like|i would like|i need) you to |say me |please(?: to)? |kindly |"
    r"go ahead and |let's |just )+"
)
TAIL = re.compile(
    r"(?:[ ,.]{1,3}(?:please|would you|will you|can you|could you|thanks|thank you|for me|dear|"
    r"right now|if you can|if you could|do you know)){1,6}$"
)


def lowered(text: str) -> str:
    return " ".join(text.translate(APOSTROPHES).lower().split())


def clauses(text: str) -> list[str]:
    """Of lowered text, without their punctuation."""
    return [part for one in CLAUSE_END.split(text) if (part := one.strip(" -\"'"))]


def request(text: str) -> str:
    """Lowered text without greeting, "could you" and "please": what is asked begins it."""
    before = None
    while before != text:
        before = text
        text = REQUEST.sub("", POLITE.sub("", text))
    return TAIL.sub("", text.rstrip(" .,!?")).strip(" .,!?")


def in_digits(text: str) -> str:
    """Lowered text with its numbers in digits, signs of arithmetic in words."""
    text = alpha2digit(HYPHEN.sub(r"\1 ", text), "en", 0.0)
    for pattern, sign in SIGNS:
        text = pattern.sub(sign, text)
    return str(text)
