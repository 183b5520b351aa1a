"""One utterance, read on two ways: passes on the way and passes that may be its last, without a
recognizer.
"""

from __future__ import annotations

import weakref

import numpy as np

from whisperfusion.audio import VAD_WINDOW
from whisperfusion.call.audio_input import AudioInput, Transcription


class Reader:
    """Stands for an utterance; only who it is matters here."""


def windows(count: int) -> list[np.ndarray]:
    return [np.zeros(VAD_WINDOW, np.float32) for _ in range(count)]


def test_each_way_is_given_everything_once():
    partial, final = Reader(), Reader()
    transcription = Transcription(partial, final, began=VAD_WINDOW)
    transcription.accept_audio(windows(3))
    utterance, pcm, upto = transcription.collect(False)
    assert utterance is partial and len(pcm) == 3 * VAD_WINDOW and upto == 4 * VAD_WINDOW
    transcription.accept_audio(windows(2))
    utterance, pcm, upto = transcription.collect(True)
    # nothing of it was taken by the other way
    assert utterance is final and len(pcm) == 5 * VAD_WINDOW and upto == 6 * VAD_WINDOW
    assert transcription.collect(True) is None
    utterance, pcm, upto = transcription.collect(False)
    assert utterance is partial and len(pcm) == 2 * VAD_WINDOW and upto == 6 * VAD_WINDOW


def test_an_utterance_begins_with_what_was_kept_from_its_start_on():
    audio = AudioInput(None)
    for window in windows(10):
        assert audio.feed(window) == 1.0
    audio.start_transcription(Reader(), Reader(), at=7 * VAD_WINDOW)
    assert audio.transcription is not None and audio.transcription.began == 7 * VAD_WINDOW
    audio.feed(windows(1)[0])
    _, pcm, upto = audio.transcription.collect(True)
    assert len(pcm) == 4 * VAD_WINDOW and upto == 11 * VAD_WINDOW
    assert len(audio.turn_audio()) == 4 * VAD_WINDOW


def test_a_call_that_is_over_keeps_no_audio():
    audio = AudioInput(None)
    fed = windows(5)
    for window in fed:
        audio.feed(window)
    audio.start_transcription(Reader(), Reader(), at=0)
    kept = [weakref.ref(window) for window in fed]
    fed.clear()
    del window
    assert all(one() is not None for one in kept)
    audio.clear()
    assert all(one() is None for one in kept)
