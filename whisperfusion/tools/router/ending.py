"""Whether the user says goodbye or wants to hang up."""

from __future__ import annotations

import re

from whisperfusion.tools.router.heard import Arguments, Heard
from whisperfusion.tools.router.spoken import request

BEFORE = (
    r"(?:okay|ok|so|well|right|now|and|then|all right|alright|thank you|thanks|dear|oh|great|"
    r"thank you very much|thanks a lot|thanks for (?:your|the) help)"
)
AFTER = (
    r"(?:for now|then|now|dear|everyone|my friend|thank you|thanks|sleep well|"
    r"and (?:thank you|thanks|good night|goodbye))"
)
LATER = r"(?:later|soon|tomorrow|next time)"
GOODBYE = re.compile(
    "|".join(
        (
            r"good ?bye",
            r"bye(?:[ -]bye)*",
            r"cheerio|cheers|farewell|take care",
            r"(?:have a )?good ?night",
            rf"(?:(?:i'll|i) )?(?:talk|speak) to you {LATER}",
            rf"see you(?: {LATER})?|catch you later",
            rf"(?:we|we'll) (?:speak|talk)(?: again)? {LATER}",
            r"until (?:next time|tomorrow)",
            r"have a (?:nice|good|great|lovely) (?:day|evening|one|night|time)",
        )
    )
)
FAREWELL = re.compile(rf"(?:{BEFORE} ){{0,6}}(?:{GOODBYE.pattern})(?: {AFTER}){{0,4}}")
HANG_UP = re.compile(
    r"hang up(?: the phone)?(?: now)?|disconnect(?: (?:me|us|the line))?(?: now)?|"
    r"(?:end|finish|stop|close|terminate) (?:this|the|our) (?:call|phone call|conversation|chat)"
    r"(?: now| here)?"
)
ALLOWED = re.compile(r"(?:you (?:can|may|could|should)|i want to|i'd like to)(?: please)? (.+)")
# "In French, how do I say, see you later?"
QUOTED = re.compile(r"\b(?:say|says|said|mean|means|word|words|phrase|translate|song|called|how)\b")
LONGEST = 16  # words: a story is not a farewell


def end_call(heard: Heard) -> Arguments | None:
    """A farewell in a clause of its own at the end, or the wish to hang up."""
    parts = heard.clauses
    if not parts or len(heard.lower.split()) > LONGEST or QUOTED.search(heard.lower):
        return None
    asks = heard.lower.endswith("?")
    if not asks and any(FAREWELL.fullmatch(part) for part in parts[-2:]):
        return {}
    return {} if any(_wishes(part) for part in (*parts[-2:], heard.request)) else None


def _wishes(part: str) -> bool:
    allowed = ALLOWED.fullmatch(part)
    return HANG_UP.fullmatch(request(allowed[1] if allowed else part)) is not None
