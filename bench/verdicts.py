"""The arithmetic of the bench: what was measured becomes a figure or a yes or no.

No clock, no socket, no file.

Times are seconds on one clock, or milliseconds where a name says so. What was observed at the
sockets comes as `whisperfusion.client.timed_call.Observed`.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any

from whisperfusion.client.events import (
    Flushed,
    Paused,
    ReplyAudio,
    ReplyInterrupted,
    Resumed,
    SpeechStarted,
    SpeechStopped,
    Transcript,
    UserTurn,
)
from whisperfusion.client.timed_call import Observed, only

PAUSE_S = 0.3  # an inner silence this long is a pause


# --- figures ------------------------------------------------------------------------------------


def spread(values: Iterable[float | None]) -> dict[str, float]:
    """Median, 95th percentile, largest and count of the values that are there; {"n": 0} for
    none.
    """
    found = sorted(value for value in values if value is not None)
    if not found:
        return {"n": 0}
    return {
        "p50": statistics.median(found),
        "p95": percentile(found, 0.95),
        "max": found[-1],
        "n": len(found),
    }


def percentile(ordered: Sequence[float], share: float) -> float:
    """By linear interpolation between the two nearest values, as numpy does it by default."""
    at = (len(ordered) - 1) * share
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (at - below)


def rate(found: Iterable[bool]) -> dict[str, float]:
    """How many of how many."""
    tries = list(found)
    return (
        {"count": sum(tries), "n": len(tries), "share": sum(tries) / len(tries)}
        if tries
        else {"count": 0, "n": 0}
    )


# --- recordings ---------------------------------------------------------------------------------


def speech_span(voiced: Sequence[bool], window: int) -> tuple[int, int] | None:
    """First and one-past-last sample of speech; None when there is none."""
    loud = [number for number, yes in enumerate(voiced) if yes]
    return (loud[0] * window, (loud[-1] + 1) * window) if loud else None


def inner_pauses(
    voiced: Sequence[bool], window_s: float, least_s: float = PAUSE_S
) -> Iterator[tuple[float, float]]:
    """(start, end) in seconds of each silence between speech that lasts at least `least_s`."""
    began: int | None = None
    for number, yes in enumerate(voiced):
        if yes:
            if began is not None and (number - began) * window_s >= least_s:
                yield began * window_s, number * window_s
            began = number + 1


# --- turns --------------------------------------------------------------------------------------


def cut_off(first_audible: float | None, last_word_ended: float) -> bool:
    """Was an answer to be heard while the person still had words to say?"""
    return first_audible is not None and first_audible < last_word_ended


def committed_early(log: Sequence[Observed[Any]], last_word_ended: float) -> list[float]:
    """Seconds before the person's last word ended at which turns were taken for over."""
    return [last_word_ended - one.at for one in only(log, UserTurn) if one.at < last_word_ended]


def unsettled(log: Sequence[Observed[Any]]) -> bool:
    """Is the user still speaking, or is it not yet decided what it was?"""
    speaking = False
    for one in log:
        match one.event:
            case SpeechStarted():
                speaking = True
            case Resumed() | UserTurn() | Transcript(final=True):
                speaking = False
    return speaking


def audio_of_last_turn(log: Sequence[Observed[Any]]) -> list[Observed[Any]]:
    """The audio of the last reply that had any."""
    audio = only(log, ReplyAudio)
    return [one for one in audio if one.event.turn == audio[-1].event.turn]


def held_s(log: Sequence[Observed[Any]], until: float) -> float:
    """For how long playback was paused; a pause without an end lasts `until`."""
    total, began = 0.0, None
    for one in log:
        if isinstance(one.event, Paused) and began is None:
            began = one.at
        elif isinstance(one.event, (Resumed, Flushed, ReplyInterrupted)) and began is not None:
            total, began = total + one.at - began, None
    return total + (until - began if began is not None else 0.0)


# --- words --------------------------------------------------------------------------------------


def plain_words(text: str) -> list[str]:
    """Words without case and punctuation."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower().replace("’", "'"))


def shown(log: Sequence[Observed[Any]]) -> Iterator[tuple[float, str]]:
    """(when, all that stands on the caller's screen): the turns that are over and the
    transcript of the present one.
    """
    over = ""
    for one in log:
        match one.event:
            case Transcript(text) if text:
                yield one.at, f"{over} {text}".strip()
            case UserTurn(_, text):
                over = f"{over} {text}".strip()
                yield one.at, over


def settled_at(log: Sequence[Observed[Any]]) -> float | None:
    """When the words on the screen became what they stayed; None without words."""
    since, last = None, None
    for at, text in shown(log):
        words = plain_words(text)
        if words != last:
            since, last = at, words
    return since


def transcribed_at(log: Sequence[Observed[Any]]) -> float | None:
    """When the words of the whole turn were on the screen: of all the sound up to its end, and
    as they stayed; None without words.
    """
    turns = only(log, UserTurn)
    words = plain_words(turns[-1].event.text) if turns else []
    if not words:
        return None
    at, before = turns[-1].at, log[: log.index(turns[-1])]
    stopped = max((one.event.at for one in only(before, SpeechStopped)), default=float("inf"))
    for one in reversed(only(before, Transcript)):
        if one.event.end < stopped or plain_words(one.event.text) != words:
            break
        at = one.at
    return at


def word_delays(
    spoken: Sequence[tuple[str, float, float]], screens: Iterable[tuple[float, str]], began: float
) -> list[float | None]:
    """For each word of `spoken` (word, start, end in seconds of the recording): from its end to the
    first screen that has it.

    "Has it" is "at its place": the screen's words are aligned with those whose sound has begun
    (none can be on the screen before). None = it never came; one that comes while its end is being
    spoken is negative. `began`: when the recording began to be played.
    """
    words = [word for word, _, _ in spoken]
    first: list[float | None] = [None] * len(words)
    for at, text in screens:
        begun = sum(1 for _, start, _ in spoken if began + start < at)
        blocks = SequenceMatcher(
            None, words[:begun], plain_words(text), autojunk=False
        ).get_matching_blocks()
        for number in (block.a + offset for block in blocks for offset in range(block.size)):
            if first[number] is None:
                first[number] = at
    return [
        None if at is None else at - began - end
        for at, (_, _, end) in zip(first, spoken, strict=True)
    ]
