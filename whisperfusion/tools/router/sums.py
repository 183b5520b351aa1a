"""Whether the user asks for a sum."""

from __future__ import annotations

import re

from whisperfusion.tools.router.arithmetic import expression
from whisperfusion.tools.router.heard import Arguments, Heard
from whisperfusion.tools.router.spoken import in_digits, request

DIGIT = re.compile(r"\d")
AMOUNT = re.compile(r"\d{1,15}(?:\.\d{1,9})?")
STORY = re.compile(
    r"\b(?:how (?:much|many|old|far|long)|left over|is left|remains?|in total|altogether|each|"
    r"what do (?:i|we) (?:pay|get|owe)|split|the (?:rest|total|sum|result|change|average))\b"
)


def story(heard: Heard) -> bool:
    """Whether the text may ask for a sum that it tells as a story: a model has to find it."""
    if not DIGIT.search(heard.digits) or STORY.search(heard.lower) is None:
        return False
    return len(AMOUNT.findall(heard.digits)) > 1


def told(expression: str, heard: Heard) -> bool:
    """Whether a model's `expression` is made of the numbers of the text."""
    known = {float(one) for one in AMOUNT.findall(heard.digits)} | {100.0}
    numbers = [float(one) for one in AMOUNT.findall(expression)]
    return len(numbers) > 1 and known.issuperset(numbers)


def calculate(heard: Heard) -> Arguments | None:
    """The sum that the whole text asks for, or one of its clauses."""
    if not DIGIT.search(heard.digits):
        return None
    parts = [in_digits(request(part)) for part in heard.clauses] if len(heard.clauses) > 1 else []
    found = next((one for part in (heard.digits, *parts) if (one := expression(part))), None)
    return {"expression": found} if found else None
