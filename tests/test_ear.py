"""One utterance, read on two ways: passes on the way and passes that may be its last, without a recognizer."""

from __future__ import annotations

import numpy as np

from fusion.call.ear import STEP, Ear, Hearing
from fusion.core.endpoint import WINDOW
from fusion.engines import Hypothesis


class Reader:
    """Says how many samples it has heard, and remembers how each piece came."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, bool]] = []

    def hear(self, pcm: np.ndarray, final: bool = True) -> Hypothesis:
        self.pieces.append((len(pcm), final))
        return Hypothesis(str(sum(count for count, _ in self.pieces)))


def windows(count: int) -> list[np.ndarray]:
    return [np.zeros(WINDOW, np.float32) for _ in range(count)]


def test_each_way_hears_everything_once():
    partial, final = Reader(), Reader()
    hearing = Hearing(partial, final, began=WINDOW)
    hearing.hear(windows(3))
    assert hearing.transcribe(False) == (Hypothesis(str(3 * WINDOW)), 4 * WINDOW)
    hearing.hear(windows(2))
    assert hearing.transcribe(True) == (Hypothesis(str(5 * WINDOW)), 6 * WINDOW)  # nothing of it was taken by the other way
    assert hearing.transcribe(True) is None and hearing.transcribe(False) == (Hypothesis(str(5 * WINDOW)), 6 * WINDOW)
    assert partial.pieces == [(3 * WINDOW, False), (2 * WINDOW, False)] and final.pieces == [(5 * WINDOW, True)]


def test_only_the_last_piece_of_a_long_turn_is_final():
    final = Reader()
    hearing = Hearing(Reader(), final, began=0)
    hearing.hear(windows(STEP // WINDOW + 1))
    hearing.transcribe(True)
    assert final.pieces == [(STEP, False), (WINDOW, True)]


def test_an_utterance_begins_with_what_was_kept_from_its_start_on():
    ear = Ear(None)
    for window in windows(10):
        assert ear.feed(window) == 1.0
    ear.start_hearing(Reader(), Reader(), at=7 * WINDOW)
    assert ear.hearing is not None and ear.hearing.began == 7 * WINDOW
    ear.feed(windows(1)[0])
    assert ear.hearing.transcribe(True) == (Hypothesis(str(4 * WINDOW)), 11 * WINDOW)
    assert len(ear.turn_audio()) == 4 * WINDOW
