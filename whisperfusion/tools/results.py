"""Results of tools as the model reads them: data, never instructions.

A result is cut at its limit and freed of control tokens and of this server's own keys. One that is
not the server's own stands between marks that it cannot contain, and only in its own turn: later
prompts have a note in its place, so a page cannot wait for a better moment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from whisperfusion.engines.remote.chat import plain_text
from whisperfusion.messages import ChatMessage
from whisperfusion.tools import ServerTool
from whisperfusion.tools.data_marks import CLOSING, FAILED, OPENING, marked
from whisperfusion.tools.running import Outcome

NOT_KEPT = "[The data was used for the answer and is not kept.]"
CUT = " … (cut here)"
HIDDEN = "***"
SHORTEST_SECRET = 4  # characters; removing a shorter one would damage words
# control characters but tabs and line breaks; what turns the direction of text or cannot be seen
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\U000e0000-\U000e007f]"
)
BLANKS = re.compile(r"[ \t]{2,}|\n{3,}")


def result_text(tool: ServerTool, outcome: Outcome, room: int, secrets: Iterable[str] = ()) -> str:
    """At most `room` characters of the result, within the tool's own limit, with its marks."""
    text = cleaned(outcome.output, secrets)
    limit = max(0, min(tool.output_limit, room))
    if len(text) > limit:
        text = text[:limit].rstrip() + CUT
    if outcome.failed:
        text = FAILED + text
    return text if tool.trusted else marked(text)


def cleaned(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without what a model or a reader would take for something else."""
    text = plain_text(UNSEEN.sub("", text))
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, HIDDEN)
    text = BLANKS.sub(lambda found: found[0][0], text).strip()
    return text.replace(OPENING, "(").replace(CLOSING, ")")


def without_old_data(history: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """`history` with notes in place of the untrusted results before its newest user message."""
    newest = _newest_question(history)
    return tuple(
        _note_for(one) if at < newest and _is_data(one) else one for at, one in enumerate(history)
    )


def untrusted_in(history: Sequence[ChatMessage]) -> tuple[str, ...]:
    """Names of the tools with untrusted results after the newest user message."""
    turn = history[_newest_question(history) :]
    names = {
        given.get("id"): str(given.get("name"))
        for given in (_given(one) for one in turn if one.role == "call")
    }
    return tuple(names.get(_given(one).get("id"), "") for one in turn if _is_data(one))


def _newest_question(history: Sequence[ChatMessage]) -> int:
    return max((at for at, one in enumerate(history) if one.role == "user"), default=0)


def _is_data(message: ChatMessage) -> bool:
    return message.role == "result" and str(_given(message).get("output")).startswith(OPENING)


def _note_for(message: ChatMessage) -> ChatMessage:
    return ChatMessage("result", json.dumps({"id": _given(message).get("id"), "output": NOT_KEPT}))


def _given(message: ChatMessage) -> dict[str, Any]:
    """The JSON of a call or a result; empty for what an engine will refuse, with words."""
    try:
        given = json.loads(message.text)
    except (ValueError, RecursionError):
        return {}
    return given if isinstance(given, dict) else {}
