"""The arithmetic of the bench: what was measured becomes a figure or a yes or no. No clock, no socket, no file.

Times are seconds on one clock, or milliseconds where a name says so. What was observed at the sockets comes as objects with
`at`, `kind` and `fields` (`fusion.client.Observed`).
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, Protocol

PAUSE_S = 0.3  # an inner silence this long is a pause


class Seen(Protocol):
    """Something that arrived at `at`."""

    @property
    def at(self) -> float: ...
    @property
    def kind(self) -> str: ...
    @property
    def fields(self) -> Mapping[str, Any]: ...


# --- figures ----------------------------------------------------------------------------------------------


def spread(values: Iterable[float | None]) -> dict[str, float]:
    """Median, 95th percentile, largest and count of the values that are there; {"n": 0} for none."""
    found = sorted(value for value in values if value is not None)
    if not found:
        return {"n": 0}
    return {"p50": statistics.median(found), "p95": percentile(found, 0.95), "max": found[-1], "n": len(found)}


def percentile(ordered: Sequence[float], share: float) -> float:
    """By linear interpolation between the two nearest values, as numpy does it by default."""
    at = (len(ordered) - 1) * share
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (at - below)


def rate(found: Iterable[bool]) -> dict[str, float]:
    """How many of how many."""
    tries = list(found)
    return {"count": sum(tries), "n": len(tries), "share": sum(tries) / len(tries)} if tries else {"count": 0, "n": 0}


# --- recordings -------------------------------------------------------------------------------------------


def speech_span(voiced: Sequence[bool], window: int) -> tuple[int, int] | None:
    """First and one-past-last sample of speech; None when there is none."""
    loud = [number for number, yes in enumerate(voiced) if yes]
    return (loud[0] * window, (loud[-1] + 1) * window) if loud else None


def inner_pauses(voiced: Sequence[bool], window_s: float, least_s: float = PAUSE_S) -> Iterator[tuple[float, float]]:
    """(start, end) in seconds of each silence between speech that lasts at least `least_s`."""
    began: int | None = None
    for number, yes in enumerate(voiced):
        if yes:
            if began is not None and (number - began) * window_s >= least_s:
                yield began * window_s, number * window_s
            began = number + 1


# --- turns ------------------------------------------------------------------------------------------------


def cut_off(first_audible: float | None, last_word_ended: float) -> bool:
    """Was an answer to be heard while the person still had words to say?"""
    return first_audible is not None and first_audible < last_word_ended


def committed_early(log: Sequence[Seen], last_word_ended: float) -> list[float]:
    """Seconds before the person's last word ended at which turns were taken for over."""
    return [last_word_ended - event.at for event in log if event.kind == "turn" and event.at < last_word_ended]


def unsettled(log: Sequence[Seen]) -> bool:
    """Is somebody still speaking, or is it not yet decided what it was?"""
    speaking = False
    for event in log:
        if event.kind == "speech_started":
            speaking = True
        elif event.kind in ("resume", "turn") or event.kind == "caption" and event.fields.get("final"):
            speaking = False
    return speaking


def after_last(log: Sequence[Seen], kind: str) -> Sequence[Seen]:
    """What came after the last event of `kind`; all of it when there was none."""
    at = max((number for number, event in enumerate(log) if event.kind == kind), default=-1)
    return log[at + 1 :]


def held_s(log: Sequence[Seen], until: float) -> float:
    """For how long the sound was held; a hold without an end lasts `until`."""
    total, began = 0.0, None
    for event in log:
        if event.kind == "hold" and began is None:
            began = event.at
        elif event.kind in ("resume", "clear", "interrupted", "start") and began is not None:
            total, began = total + event.at - began, None
    return total + (until - began if began is not None else 0.0)


# --- words ------------------------------------------------------------------------------------------------


def plain_words(text: str) -> list[str]:
    """Words without case and punctuation."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower().replace("’", "'"))


def shown(log: Sequence[Seen]) -> Iterator[tuple[float, str]]:
    """(when, all that stands on the caller's screen): the turns that are over and the caption of the present one."""
    over = ""
    for event in log:
        if event.kind == "caption" and event.fields["text"]:
            yield event.at, f"{over} {event.fields['text']}".strip()
        elif event.kind == "turn":
            over = f"{over} {event.fields['text']}".strip()
            yield event.at, over


def settled_at(log: Sequence[Seen]) -> float | None:
    """When the words on the screen became what they stayed; None without words."""
    since, last = None, None
    for at, text in shown(log):
        words = plain_words(text)
        if words != last:
            since, last = at, words
    return since


def transcribed_at(log: Sequence[Seen]) -> float | None:
    """When the words of the whole turn were on the screen: of all the sound up to its end, and as they stayed; None without words."""
    final = max((number for number, event in enumerate(log) if event.kind == "turn"), default=None)
    if final is None or not plain_words(log[final].fields["text"]):
        return None
    words = plain_words(log[final].fields["text"])
    stopped = max((event.fields["at"] for event in log[:final] if event.kind == "speech_stopped"), default=float("inf"))
    at = log[final].at
    for event in reversed(log[:final]):
        if event.kind == "caption":
            if event.fields.get("end", 0.0) < stopped or plain_words(event.fields["text"]) != words:
                break
            at = event.at
    return at


def word_delays(spoken: Sequence[tuple[str, float, float]], screens: Iterable[tuple[float, str]], began: float) -> list[float | None]:
    """For each word of `spoken` (word, start, end in seconds of the recording): from its end to the first screen that has it.

    "Has it" is "at its place": the screen's words are aligned with those whose sound has begun (none can be on the screen before).
    None = it never came; one that comes while its end is being spoken is negative. `began`: when the recording began to be played.
    """
    words = [word for word, _, _ in spoken]
    first: list[float | None] = [None] * len(words)
    for at, text in screens:
        begun = sum(1 for _, start, _ in spoken if began + start < at)
        blocks = SequenceMatcher(None, words[:begun], plain_words(text), autojunk=False).get_matching_blocks()
        for number in (block.a + offset for block in blocks for offset in range(block.size)):
            if first[number] is None:
                first[number] = at
    return [None if at is None else at - began - end for at, (_, _, end) in zip(first, spoken, strict=True)]
