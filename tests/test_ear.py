"""One utterance, read on two ways: passes on the way and passes that may be its last, without a recognizer."""

from __future__ import annotations

import numpy as np

from fusion.call.ear import Ear, Hearing
from fusion.core.endpoint import WINDOW


class Reader:
    """Stands for an utterance; only who it is matters here."""


def windows(count: int) -> list[np.ndarray]:
    return [np.zeros(WINDOW, np.float32) for _ in range(count)]


def test_each_way_is_given_everything_once():
    partial, final = Reader(), Reader()
    hearing = Hearing(partial, final, began=WINDOW)
    hearing.hear(windows(3))
    utterance, pcm, upto = hearing.take(False)
    assert utterance is partial and len(pcm) == 3 * WINDOW and upto == 4 * WINDOW
    hearing.hear(windows(2))
    utterance, pcm, upto = hearing.take(True)
    assert utterance is final and len(pcm) == 5 * WINDOW and upto == 6 * WINDOW  # nothing of it was taken by the other way
    assert hearing.take(True) is None
    utterance, pcm, upto = hearing.take(False)
    assert utterance is partial and len(pcm) == 2 * WINDOW and upto == 6 * WINDOW


def test_an_utterance_begins_with_what_was_kept_from_its_start_on():
    ear = Ear(None)
    for window in windows(10):
        assert ear.feed(window) == 1.0
    ear.start_hearing(Reader(), Reader(), at=7 * WINDOW)
    assert ear.hearing is not None and ear.hearing.began == 7 * WINDOW
    ear.feed(windows(1)[0])
    _, pcm, upto = ear.hearing.take(True)
    assert len(pcm) == 4 * WINDOW and upto == 11 * WINDOW
    assert len(ear.turn_audio()) == 4 * WINDOW
