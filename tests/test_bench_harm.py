"""The arithmetic of bench/harm.py: what is heard of an answer while a person goes on."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from running import ROOT

from whisperfusion.client.events import Flushed, Paused, ReplyAudio, UserTurn
from whisperfusion.client.timed_call import Observed

sys.path.insert(0, str(ROOT))

from bench import harm

ENTRY = {"start_s": 0.3, "end_s": 5.0, "pauses": [[1.0, 2.0], [3.0, 4.5]]}
BEGAN = 100.0


def audio(at: float, seconds: float, turn: int = 1, level: float = 0.5) -> Observed:
    pcm = np.full(round(seconds * 24_000), level, np.float32)
    return Observed(BEGAN + at, ReplyAudio(turn, b""), pcm, plays_at=BEGAN + at)


def seen(at: float, event: Any) -> Observed:
    return Observed(BEGAN + at, event)


def found(*log: Observed) -> dict[str, Any]:
    turn = harm.Turn("a.flac", "a", np.zeros(0, np.float32), harm.speech_of(ENTRY))
    return harm.outcome(turn, log, BEGAN)


def test_speech_is_what_lies_between_pauses():
    assert harm.speech_of(ENTRY) == ((0.3, 1.0), (2.0, 3.0), (4.5, 5.0))
    assert harm.speech_of({**ENTRY, "pauses": []}) == ((0.3, 5.0),)


def test_an_answer_after_the_end_is_no_harm():
    one = found(seen(5.5, UserTurn(1, "hello")), audio(6.0, 2.0))
    assert (one["over"], one["before the end"], one["starts"]) == (0.0, 0.0, 0)
    assert one["text"] == "hello" and one["parts"] == 1 and one["call_s"] == pytest.approx(6.0)


def test_over_speech_counts_what_is_heard_and_in_pauses_apart():
    log = audio(1.8, 0.5), seen(2.1, Paused()), seen(2.6, Flushed(1)), audio(6, 1, turn=2)
    one = found(*log)
    assert one["over"] == pytest.approx(100.0, abs=0.1)
    assert one["over, sent"] == pytest.approx(300.0, abs=0.1)
    assert one["before the end"] == pytest.approx(300.0, abs=0.1) and one["starts"] == 1


def test_silence_in_an_answer_is_no_sound():
    one = found(audio(2.0, 0.4, level=0.005), audio(2.4, 0.2), audio(6.0, 1.0, turn=2))
    assert one["over"] == pytest.approx(200.0, abs=0.1)
    assert one["before the end"] == pytest.approx(200.0, abs=0.1)


def test_per_hour_of_all_calls():
    calls = [
        {**found(audio(2.0, 0.4), audio(6.0, 1.0, turn=2)), "call_s": 30.0},
        {**found(audio(6.0, 1.0)), "call_s": 60.0},
        {"recording": "b.flac", "error": "no answer"},
    ]
    whole = harm.summary(calls)
    assert whole["ms an hour"] == pytest.approx(400 * 40, rel=1e-3)
    assert (whole["calls"], whole["starts"], whole["calls with one"]) == (2, 1, 1)
    assert whole["calls in parts"] == 0
    assert whole["failures"] == ["b.flac: no answer"]
    assert harm.summary([])["ms an hour"] == 0.0
