"""Whether the user asks for the time or the date, and of which place."""

from __future__ import annotations

import re

from whisperfusion.tools.router.heard import Arguments, Heard

DAY = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
OF_DATE = r"(?:day|date|month|year|week)s?"
# what follows "what day"
NOW = (
    r"(?:is it|it is|are today|is today|is tomorrow|today is|tomorrow is|was yesterday|today|"
    r"tomorrow|do we have|have we|we have|are we|we are)"
)
# "tell me", "let me know"; nothing where the words stand alone: "the date, please"
WANTS = (
    r"(?:(?:tell|give) me |let me know |i (?:need|want) to know |do you know |"
    r"what(?:'s| is|s| was| will be) |)"
)
NOUN = (
    r"(?:(?:exact|current|right|local) )?(?:time|date|day)(?: of (?:the )?(?:week|day))?"
    r"(?: of(?= today| tomorrow))?"
)
SOON = r"(?:today|tomorrow)"
WHEN = (
    r"(?: (?:is|now|right now|today|tomorrow|be tomorrow|in [\w ]{1,40}|"
    r"\w{1,12} days from (?:now|today))){0,3}"
)
ASKED = re.compile(
    "|".join(
        (
            r"\bwhat(?:'s| is) the (?:(?:current|local|exact) )?time\b(?! of| to| for| between)",
            r"\bwhat time (?:of day )?(?:is it|it is|do you have|have you got|do we have)\b",
            rf"^{WANTS}(?:what )?(?:the )?{NOUN}(?: (?:is|it is|will be))?{WHEN}$",
            rf"^{WANTS}(?:what |which )?(?:the )?{SOON}(?:'s date)?(?: date)?(?: is)?$",
            rf"\b(?:what|which) {OF_DATE} (?:will it be|would it be|it is|it)\b.{{0,20}}{SOON}\b",
            rf"^{SOON} is (?:what|which) {OF_DATE}\b",
            r"^the (?:time|date) is what$",
            r"\b(?:have|got|know) the (?:(?:exact|current|right) )?time\b(?! of| to| for)",
            r"\bhow late (?:is it|it is)\b",
            rf"\b(?:what|which|of the) (?:the )?{OF_DATE}(?: of (?:the|a) (?:week|month))? {NOW}\b",
            r"\bwhat(?:'s| is) (?:today's|tomorrow's|the current|the|today) (?:date|day)"
            r"(?: today| tomorrow)?$",
            r"\bwhat(?:'s| is) today$|\btoday's date\b",
            rf"\bis (?:it|today|tomorrow) (?:(?:already|still|now) )*(?:a )?{DAY}\b",
            r"\bis it (?:(?:already|still|now) )*"
            r"(?:past|after|before|noon|midnight|\w{1,9} o'? ?clock)\b",
            r"\b(?:read|see) (?:the|my) (?:clock|watch)\b.{0,80}\b(?:what|say)\b",
            r"^what(?:'s| does| is) the clock say",
        )
    )
)
# "to Tokyo" has no time; names of months do not end an hour
PLACE = re.compile(r"\b(?:in|at) ((?!the\b)[A-Z][\w'-]*(?: [A-Z][\w'-]*)*)")
MONTHS = set(
    "January February March April May June July August September October November December".split()
)


# "And in London?" after the time in another place
FOLLOWING = re.compile(
    r"(?:(?:And|What|How|about|in|for|what) ){1,4}([A-Z][\w'-]*(?: [A-Z][\w'-]*)*)"
)


def time_elsewhere(heard: Heard) -> Arguments | None:
    """What follows a question about the time: another place."""
    found = FOLLOWING.fullmatch(heard.text.strip(" .,!?"))
    return {"place": found[1]} if found and found[1] not in MONTHS else None


def get_time(heard: Heard) -> Arguments | None:
    if not ASKED.search(heard.request) and not ASKED.search(heard.lower):
        return None
    places = [one for one in PLACE.findall(heard.text) if one not in MONTHS]
    return {"place": places[-1]} if places else {}
