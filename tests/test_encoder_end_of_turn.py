"""The end of a turn by the recognizer's encoder: the heads, and how they come with a transcript."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine_checks import ENGLISH, SECOND
from hypothesis import given
from hypothesis import strategies as st
from test_field_sockets import Listening

from whisperfusion.call.caller import Caller
from whisperfusion.engines import Hypothesis, Prediction
from whisperfusion.engines.scripted import tone_speech
from whisperfusion.engines.whisper import end_of_turn as heads
from whisperfusion.engines.whisper.library import CTRANSLATE2
from whisperfusion.wire.asr_handshake import parse_handshake

SIZES = {"whisper-base": 512, "whisper-tiny.en": 384}
# recordings of whole sentences
WHOLE = ("harvard-sb-birch.flac", "gcp-brooklyn.flac", "kyutai-dog-or-cat.flac", "LJ001-0002.flac")


def states(*values: float) -> np.ndarray:
    """Encoder states of size 1."""
    return np.array(values, np.float32)[:, None]


# --- the arithmetic -----------------------------------------------------------------------------


def test_a_head_weighs_the_last_tenth_of_a_second_and_the_time_before():
    head = heads.Head(np.array([1.0, 10.0, 0.5], np.float32))
    sound = states(*[9.0] * 7, *[0.2] * heads.BEFORE, *[0.1] * heads.RECENT, *[9.0] * 4)
    found = head.probability(sound, (7 + heads.BEFORE + heads.RECENT) * heads.STATE)
    assert found == pytest.approx(1 / (1 + np.exp(-(0.1 + 2.0 + 0.5))))


@given(st.integers(0, 30))
def test_too_little_sound_has_no_end(count):
    head = heads.Head(np.zeros(3, np.float32))
    found = head.probability(states(*[1.0] * 40), count * heads.STATE)
    assert found == (None if count < heads.RECENT + heads.BEFORE else 0.5)


@given(st.floats(-1e30, 1e30))
def test_it_is_always_a_probability(value):
    head = heads.Head(np.array([1.0, 1.0, 0.0], np.float32))
    assert 0.0 <= head.probability(states(*[value] * 20), 20 * heads.STATE) <= 1.0


# --- the heads that are shipped -----------------------------------------------------------------


@pytest.mark.parametrize("name", SIZES)
def test_each_model_that_packages_carry_has_a_head(name, stored):
    head = heads.head_of(Path(stored(name, "asr")))
    assert head is not None
    size = SIZES[name]
    found = head.probability(np.zeros((50, size), np.float32), SECOND)
    assert found is not None and 0.0 < found < 1.0


def test_another_model_has_none(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"123")
    assert heads.head_of(tmp_path) is None


# --- with a transcript --------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["whisper", "whisper_english"])
def test_a_final_transcript_tells_whole_from_begun(engine, request, sound):
    """Of the words of WHOLE, and of the same without their last second."""
    asr, ended, begun = request.getfixturevalue(engine), [], []
    for name in WHOLE:
        pcm = sound(name)
        last = int(np.flatnonzero(np.abs(pcm) > 0.02)[-1])
        for found, end in ((ended, last + 1024), (begun, last - SECOND)):
            hypothesis = asr.create_utterance(ENGLISH).accept_audio(pcm[:end])
            assert hypothesis.text and 0.0 < hypothesis.end_of_turn < 1.0
            found.append(hypothesis.end_of_turn)
    assert min(ended) > max(begun)


def test_an_interim_transcript_says_nothing_of_the_end(whisper, sound):
    utterance = whisper.create_utterance(ENGLISH)
    assert utterance.accept_audio(sound(WHOLE[0]), False).end_of_turn is None


def test_together_is_as_alone(whisper, sound):
    alone = [
        whisper.create_utterance(ENGLISH).accept_audio(sound(name)).end_of_turn for name in WHOLE
    ]
    jobs = [(whisper.create_utterance(ENGLISH), sound(name), True) for name in WHOLE]
    together = [one.end_of_turn for one in whisper.decode_batch(jobs)]
    assert together == pytest.approx(alone, abs=0.15)  # in a longer context than alone


def test_the_states_of_the_encoder_are_those_of_the_sound(whisper, sound):
    pcm = sound(WHOLE[0])
    found = CTRANSLATE2.states(whisper._short.encode(pcm))
    assert found.shape[0] == 1 and found.shape[2] == SIZES["whisper-base"]
    assert found.shape[1] * heads.STATE >= len(pcm)


async def test_it_reaches_turn_taking_with_the_words():
    """From the recognizer's hypothesis, through the caller, to the turn that it may end."""
    service = Listening()
    hello = parse_handshake('{"uid": "u", "events": true}')
    caller = Caller("c", "127.0.0.1", hello, service, lambda frame: None)
    await caller.accept_audio(np.pad(tone_speech("alpha beta"), (SECOND // 2, 4096)).tobytes())
    transcription, upto = caller.audio.transcription, caller.audio.position
    assert transcription is not None
    caller.transcript(transcription, Hypothesis("alpha beta", "en", end_of_turn=0.125), upto)
    assert caller.conversation._call.user.end_of_turn == 0.125
    stopped_at = caller.conversation.paused_at
    assert stopped_at is not None
    caller.end_of_turn(Prediction(0.5, 0.25), stopped_at)
    assert (caller.conversation._score, caller.conversation._by_states) == (0.5, 0.25)
    caller.hang_up()
