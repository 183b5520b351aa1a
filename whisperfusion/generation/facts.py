"""Facts about a caller, taken from a call that is over: for the next call of the same person.

Only where the client says who calls and REMEMBER_CALLERS allows it. The work is that of summaries
(`summaries.py`): done when nothing else is to be done.
"""

from __future__ import annotations

import re

from whisperfusion.messages import ChatMessage, ExtractFacts

MOST_FACTS = 20
LONGEST_FACT = 200  # characters
LONGEST_DIALOGUE = 4000  # characters, the newest; the embedded models read 2048 tokens
ASK = (
    "You keep notes about a user, for later calls. Write what is worth knowing of the user: name, "
    "family, home, work, likes, plans. One short sentence for each fact, on its own line, in the "
    f"user's language, at most {MOST_FACTS}. Keep the notes that still hold. Write only what "
    "the user said, nothing about this call or the assistant. If nothing is worth knowing: NONE."
)
BULLET = re.compile(r"^\s*(?:[-*•–]+|\(?\d{1,3}[.)])\s*")
NOTHING = {"none", "none.", "no facts", "n/a"}


def prompt_for(job: ExtractFacts) -> tuple[ChatMessage, ...]:
    said = "\n".join(
        f"{message.role}: {message.text}"
        for message in job.history
        if message.role in ("user", "assistant")
    )[-LONGEST_DIALOGUE:]
    known = "\n".join(f"- {fact}" for fact in job.facts) or "(none)"
    text = f"Notes so far:\n{known}\n\nThe call:\n{said}\n\nThe notes now:"
    return (ChatMessage("system", ASK), ChatMessage("user", text))


def facts_in(text: str) -> tuple[str, ...]:
    """The facts that the model wrote, each once; `text` has one sentence on each line."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        fact = BULLET.sub("", line).strip()[:LONGEST_FACT]
        if fact and fact.lower() not in NOTHING and not fact.endswith(":"):
            found.setdefault(fact.lower(), fact)
    return tuple(found.values())[:MOST_FACTS]
