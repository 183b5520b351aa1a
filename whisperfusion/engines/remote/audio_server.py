"""What the engines for transcriptions and speech by URL share: the model's name, and the options
that a server may refuse.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from whisperfusion.engines.remote.http_stream import HttpStreams, Refused, message_in
from whisperfusion.errors import EngineError

LOAD_S = 110.0  # for the first answer: servers load a model when it is first asked for
ANSWER_S = 15.0  # for any other, and between two pieces of one; no user waits longer
WORD = re.compile(r"(?<![\w.])\w+")  # not the end of a dotted name

log = logging.getLogger(__name__)


def model_name(
    http: HttpStreams, model: str | None, task: str, usual: str, setting: str
) -> tuple[str, bool]:
    """The name to ask for, and whether the server is one of this project's own.

    `model` None: the one that the server lists for `task`, its only one, or the `usual` one. A name
    that is not listed is asked for all the same: lists are often shorter than what is accepted.
    """
    status, body = http.get("/models")
    if status in (401, 403):
        raise http.refused(status, body)
    entries = body.get("data") if isinstance(body, dict) and status < 400 else None
    listed = [entry for entry in entries or [] if isinstance(entry, dict)]
    names = [str(entry.get("id")) for entry in listed]
    own = any(entry.get("owned_by") == "whisperfusion" for entry in listed)
    if model:
        if names and model not in names:
            log.warning(
                "%s is not in the list of the server, and is tried: %s", model, shown(names)
            )
        return model, own
    fitting = [str(entry.get("id")) for entry in listed if entry.get("task") == task]
    for candidates in (fitting, names if len(names) == 1 else [], [usual]):
        if candidates and candidates[0] in names:
            return candidates[0], own
    raise EngineError(f"{setting}_MODEL names no model; {shown(names)}. Set it to one of its names")


def shown(names: Sequence[str]) -> str:
    if not names:
        return "the server does not tell which it has"
    return f"the server has {', '.join(names[:20])}{' and more' * (len(names) > 20)}"


class RefusedOptions:
    """Options that a server answered with a 400 are left out from then on, or sent with their
    second choice where they have one. Servers differ in what they know, and say it like that only.
    """

    def __init__(self, names: Sequence[str], second: Mapping[str, str]) -> None:
        self._names, self._second = (*names, *second), second
        self._refused: frozenset[str] = frozenset()

    def fitted(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """`fields` as this server takes them."""
        kept = {name: value for name, value in fields.items() if name not in self._refused}
        refused = self._refused & fields.keys() & self._second.keys()
        return kept | {name: self._second[name] for name in refused}

    def learn(self, refusal: Refused, sent: Mapping[str, Any]) -> bool:
        """Whether it was about an option in `sent` that can be left out or changed."""
        if refusal.status not in (400, 422):
            return False
        words = WORD.findall(named_in(refusal.body))
        for name in self._names:
            there = name in sent and sent[name] != self._second.get(name)
            if there and name.rstrip("[]") in words:
                self._refused |= {name}
                return True
        return False


def named_in(body: Any) -> str:
    """Where a refusal names an option: `param`, the places of a list of details, or its text."""
    if not isinstance(body, dict):
        return ""
    details, error = body.get("detail"), body.get("error")
    if isinstance(details, list):  # each may repeat the whole request beside its place
        places = (one.get("loc") for one in details if isinstance(one, dict))
        return " ".join(str(part) for place in places for part in place or ())
    param = error.get("param") if isinstance(error, dict) else None
    return str(param) if param else message_in(body)
