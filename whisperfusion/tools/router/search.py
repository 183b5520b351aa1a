"""Whether the user asks for what is on the web, and for what exactly."""

from __future__ import annotations

import re

from whisperfusion.tools.router.heard import Arguments, Heard

WEB = r"(?:(?:the )?(?:web|internet|net)|google|online)"
ON = r"(?:on|in|through|at|over)"
SEARCH = re.compile(
    "|".join(
        (  # what a request begins with
            rf"(?:search|look|check|browse)(?: {ON})? {WEB}\b",
            r"(?:do|run|make) a (?:(?:web|internet|quick|google) )*search (?:for|about|on)\b",
            r"search (?:for|about)\b",
            r"look up\b",
            r"google\b",
            rf"find (?:me )?out (?:{ON} )?{WEB}\b",
            rf"(?:search|find|look(?: for)?|check|find out) .{{1,200}} (?:{ON} )?{WEB}$",
        )
    )
)
LEAD = re.compile(  # of a request, not of what is searched for
    rf"(?:search|look|check|browse|google|find)(?: (?:up|out|for|me)){{0,3}}(?: {ON})?(?: {WEB})?"
    r"(?: (?:for|about))? |"
    r"(?:do|run|make) a (?:(?:web|internet|quick|google) ){0,3}search (?:for|about|on) "
)
SOON = r"(?:today|tomorrow|tonight|this week|this weekend|next week)"
NOW = r"(?:at the moment|right now|now|currently|today|this year|this season)"
CHANGES = re.compile(
    "|".join(
        (  # what changes from day to day
            rf"\b(?:weather|forecast)\b.{{0,80}}\b(?:in|for|at|{SOON}|going to|like)\b",
            r"\bwill it (?:rain|snow|be (?:sunny|warm|cold|hot|windy|dry|cloudy))\b",
            r"\bis it (?:raining|snowing|going to (?:rain|snow))\b",
            r"\b(?:latest|newest|today's|current|recent)\b.{0,80}"
            r"\b(?:news|headlines|score|results?|price)\b",
            r"\bnews (?:about|on|from|of)\b|\bin the news\b",
            r"\bwhat(?:'s| is) the (?:price|exchange rate|share price) of\b",
            rf"\bwho (?:is|are|won|leads|plays)\b.{{0,80}}\b{NOW}",
            r"\bwho is the current\b",
            r"\bopening (?:hours|times)\b",
            rf"\bwhat(?:'s| is) on (?:at|in)\b.{{0,80}}\b{SOON}",
            r"\b(?:phone|telephone) number (?:of|from|for)\b",
            r"\b(?:what time|when) (?:do|does)\b.{0,80}"
            rf"\b(?:open|close|leave|depart|start)(?: {SOON})?$",
        )
    )
)
CHECK = re.compile(
    r"\b(?:can|could|would|will) you (?:please )?(?:check|look up|find out|search|google)\b|"
    r"\band (?:check|look up|find out|search|google)\b|^find out\b"
)
ABOUT = re.compile(r"(?:how (?:do|does|did|can)|why|what (?:is|are|was) (?:an?|the difference))\b")
END = re.compile(rf" (?:{ON} )?{WEB}$")


def web_search(heard: Heard) -> Arguments | None:
    """Asked for in so many words, or about what changes from day to day."""
    text = heard.request
    if ABOUT.match(text):
        return None
    asked = SEARCH.match(text) or CHANGES.search(text) or CHECK.search(heard.lower)
    return {"query": _query(heard)} if asked else None


def _query(heard: Heard) -> str:
    """What to search for, in the spelling of the transcript."""
    start = heard.lower.find(heard.request)
    whole = heard.text.strip()
    text = whole[start : start + len(heard.request)] if start >= 0 else heard.request
    lead = LEAD.match(text.lower())
    text = text[lead.end() :] if lead and lead.end() < len(text) else text
    return END.sub("", text).strip(" .,!?")
