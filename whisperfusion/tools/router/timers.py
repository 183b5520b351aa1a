"""Whether the user wants a timer or a reminder, which one, and for when."""

from __future__ import annotations

import re

from whisperfusion.tools.router.durations import Span, clock_time, duration
from whisperfusion.tools.router.heard import Arguments, Heard
from whisperfusion.tools.router.spoken import in_digits

LONGEST_S = 24 * 3600
LONGEST_LENGTH = 8  # words of an answer that is nothing but a length
UNITS = ("hours", "minutes", "seconds")
TIMER = r"(?:timers?|reminders?|alarms?(?: clock)?)\b"
SET = re.compile(
    "|".join(
        (
            rf"\b{TIMER}",
            r"\b(?:remind|wake) me\b",
            r"\b(?:let me know|tell me|notify me|alert me|ping me|warn me|call me)\b.{0,80}"
            r"\b(?:when|in|after|once)\b",
            r"\bgive me a (?:shout|call|nudge|sign)\b",
            r"\btime (?:that|this|it|me)\b",
            r"\bcount ?down\b",
            r"^(?:set|start) (?:it (?:to|for) )?\d+ ",
        )
    )
)
WANTED = re.compile(
    r"(?:i (?:need|want|wanna)|i(?:'d| would) (?:like|love)|help me|set|start|create|make|put|"
    rf"give me)\b.{{0,30}}?\b{TIMER}|remind me (?:to|about)\b"
)
LIST = re.compile(
    "|".join(
        (
            r"\b(?:what|which|how many|any|list|show|are there|(?:do|did|have) i (?:have|set))\b"
            rf".{{0,30}}\b{TIMER}",
            rf"\bhow (?:much|long)\b.{{0,40}}\b{TIMER}",
            rf"\b{TIMER}.{{0,80}}\b(?:left|running|over yet)\b",
        )
    )
)
ABOUT = re.compile(r"(?:what|how) (?:is|are|do|does|did|was)\b")
MINE = re.compile(r"\b(?:left|my|running|remain|active|set)")
CANCEL = re.compile(
    r"\b(?:cancel|stop|delete|remove|clear|kill|forget|turn off|switch off|end|never mind|drop|"
    r"get rid of|dismiss) (?:about )?(?:(?:the|my|this|that|all|of|any|an?) )*"
    rf"(?P<which>(?:[\w']+ ){{0,4}}?){TIMER}"
)
PAST = re.compile(
    r"\b(?:ago|lasted|took|was|were|had|used to|yesterday|last (?:night|week|year))\b"
)
QUESTION = re.compile(r"^(?:what|why|who|how|when|where|is|are|does|did|has|was)\b")
PURPOSE = re.compile(
    r"\b(?:(?:that|because) (?:i|we) (?:must|should|have to|need to|want to|can)|to|about|for) (.+)"
)
REMINDS = re.compile(r"\bremind|\bwake me\b")
NO_PURPOSE = re.compile(r"(?:me|us|the|a|an|my|it|that|this|please|one)?")
LINK = re.compile(r" (?:in|for|after|at|of|within|by) ?$")
FILLERS = re.compile(r"\b(?:please|would you|will you|could you|okay|thanks|thank you|now)\b")
# a user's words in the assistant's mouth
TURNED = {"my": "your", "me": "you", "i": "you", "mine": "yours", "i'm": "you're", "am": "are"}


def set_timer(heard: Heard) -> Arguments | None:
    text = heard.digits
    if not SET.search(text) or QUESTION.search(text) or PAST.search(text):
        return None
    span = duration(text) or clock_time(text, heard.now)
    if span is None and WANTED.match(text) is None:
        return None
    purpose = _purpose(text, span or Span(0.0, len(text), len(text)))
    if span is not None and not 1 <= span.seconds <= LONGEST_S:
        return None
    # without a length the tool fails, and the user is asked for it
    given = _length(span) if span else {}
    return {**given, "say": f"It is time to {purpose}."} if purpose else given


def timer_length(heard: Heard, asked: Arguments) -> Arguments | None:
    """What follows the question for the length of a timer that was `asked` for without one."""
    text = in_digits(heard.lower)
    if set(UNITS) & set(asked) or len(text.split()) > LONGEST_LENGTH:
        return None
    span = duration(text) or clock_time(text, heard.now)
    return {**asked, **_length(span)} if span and 1 <= span.seconds <= LONGEST_S else None


def _length(span: Span) -> Arguments:
    hours, rest = divmod(round(span.seconds), 3600)
    counts = (hours, *divmod(rest, 60))
    return {unit: count for unit, count in zip(UNITS, counts, strict=True) if count}


def _purpose(text: str, span: Span) -> str:
    """What a reminder is for, in the assistant's words; "" where the user does not say."""
    if not REMINDS.search(text):
        return ""
    before, after = text[: span.start], text[span.end :]
    for part in (after, LINK.sub("", before)):
        found = PURPOSE.search(part)
        words = LINK.sub("", FILLERS.sub("", found[1]).strip(" .,!?")) if found else ""
        if not NO_PURPOSE.fullmatch(words):
            return " ".join(TURNED.get(word, word) for word in words.split())
    return ""


def list_timers(heard: Heard) -> Arguments | None:
    text = heard.request
    if PAST.search(text) or ABOUT.match(text) and not MINE.search(text):
        return None
    return {} if LIST.search(text) else None


def cancel_timer(heard: Heard) -> Arguments | None:
    found = CANCEL.search(heard.lower)
    if found is None or QUESTION.search(heard.request) or PAST.search(heard.lower):
        return None
    which = found["which"].strip()
    return {"timer": which} if which else {}
