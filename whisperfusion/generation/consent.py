"""Tools that need the user's consent: a spoken question, and what counts as a yes.

The model does not decide: the question is said by the server, the call waits in the chat history
with a result that says so, and exactly this call runs if the next words of the user agree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from whisperfusion.engines import ToolCall
from whisperfusion.engines.remote.chat import given_in
from whisperfusion.messages import ChatMessage
from whisperfusion.tools import ServerTool

PENDING = "Not done yet: the user is asked for consent first."
DENIED_NOW = "Not done: only one question can be asked at a time."
LONGEST_ANSWER = 8  # words; a longer one is more than a yes
SHOWN = 60  # characters of an argument in a question
YES = set(
    "yes yeah yep yup sure okay ok alright absolutely certainly please go proceed affirmative "
    "ja jawohl klar gerne sicher natürlich mach bitte einverstanden "
    "oui ouais vas-y d'accord volontiers sí si claro vale adelante sim pode certo va bene "
    "tak jasne да ага конечно давай はい うん お願いします 是 好 好的 可以 네 응 نعم".split()
)
NO = set(
    "no nope nah not don't dont never stop cancel wait nein nicht kein keine stopp abbrechen lass "
    "non pas jamais arrête nunca para não nao annulla aspetta nie nee niet нет не 不 不要 "
    "いいえ 아니 아니요 لا but aber mais pero".split()
)
WORDS = re.compile(r"[\w'’-]+")
PLACE = re.compile(r"\{(\w+)\}")


def question_for(tool: ServerTool, arguments: Mapping[str, Any]) -> str:
    """What the user is asked. `{name}` in the tool's own question stands for an argument."""
    shown = {name: str(value)[:SHOWN] for name, value in arguments.items()}
    if tool.question:
        return PLACE.sub(lambda found: shown.get(found[1], found[0]), tool.question)
    words = tool.name.replace("_", " ").replace("-", " ")
    details = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items())
    return f"Shall I do this: {words}{', with ' if details else ''}{details}?"


def agrees(text: str) -> bool:
    """Whether a user's whole answer is a yes: short, with a word of consent and none against it."""
    words = [word.lower().replace("’", "'") for word in WORDS.findall(text)]
    return 0 < len(words) <= LONGEST_ANSWER and bool(YES & {*words}) and not NO & {*words}


def granted(history: Sequence[ChatMessage]) -> ToolCall | None:
    """The call that the user was asked about just before, if their newest words agree."""
    newest = max((at for at, one in enumerate(history) if one.role == "user"), default=-1)
    answered = any(one.role != "system" for one in history[newest + 1 :])
    if newest < 0 or answered or not agrees(history[newest].text):
        return None
    calls: dict[str, ToolCall] = {}
    pending = None
    for message in _reply_before(history[:newest]):
        try:
            given = json.loads(message.text)
            if message.role == "call":
                calls[given["id"]] = ToolCall(given["id"], given["name"], given["arguments"])
            elif str(given["output"]).startswith(PENDING):
                pending = calls.get(given["id"])
        except (ValueError, KeyError, TypeError):
            continue  # a client's own; the engine refuses it, with words
    return pending


def approved(history: Sequence[ChatMessage], id: str) -> ToolCall | None:
    """The call of that id, which the client of the call approved."""
    for message in reversed(history):
        if message.role == "call":
            given = given_in(message.text)
            if given.get("id") == id:
                return ToolCall(id, str(given.get("name")), str(given.get("arguments")))
    return None


def _reply_before(history: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The calls and results behind the last message of the user."""
    found = []
    for message in reversed(history):
        if message.role == "user":
            break
        if message.role in ("call", "result"):
            found.append(message)
    return found[::-1]
