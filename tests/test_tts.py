"""One contract for all voices; then what is special about each.

What is said is read back by a recognizer.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import fake_kokoro
import numpy as np
import pytest
from engine_checks import ENGLISH, SECOND, errors
from engine_server import EngineServer
from fake_voice_server import FakeVoiceServer

from whisperfusion.engines import EngineError, MultilingualTTS, gains_of_voices, load
from whisperfusion.engines.hibari import (
    BREATH_S,
    CLAUSE_GAP_S,
    LONGEST,
    SENTENCE_GAP_S,
    gap_after,
    short_pieces,
    trimmed,
)
from whisperfusion.engines.scripted import read_tones
from whisperfusion.errors import Unsayable
from whisperfusion.models import store as models
from whisperfusion.models.catalog import MODELS
from whisperfusion.paths import own_python
from whisperfusion.settings import build
from whisperfusion.synthesis.leveling import CEILING, TARGET
from whisperfusion.synthesis.loudness import block_powers, integrated, true_peaks
from whisperfusion.synthesis.voice import Voice


@pytest.fixture(scope="session")
def piper(stored) -> Any:
    return load("tts", "piper", model=stored("piper-joe", "tts"), voice="")


@pytest.fixture(scope="session")
def scripted_tts() -> Any:
    return load("tts", "scripted", model="", voice="")


@pytest.fixture(scope="session")
def kokoro(tmp_path_factory) -> Iterator[Any]:
    """Of `make kokoro`, where that was run; else on a model of tones."""
    python, model = (
        own_python("kokoro"),
        models.path_of(MODELS["kokoro-v1.0"], build({}, os.environ, {}).cache),
    )
    folder = tmp_path_factory.mktemp("kokoro")
    with pytest.MonkeyPatch.context() as patch:
        if python is None or model is None:
            fake_kokoro.install(folder)
            model = fake_kokoro.make_model(folder / "model", "af_heart", "ef_dora")
            patch.setenv("PYTHONPATH", str(folder))
        engine = load("tts", "kokoro", python=python or sys.executable, model=str(model))
        yield engine
        engine.close()


@pytest.fixture
def languages_apart(apart) -> Any:
    """Voices of two languages."""
    return apart("tts", "scripted", languages="tone:en/soft:es")


@pytest.fixture
def hibari_apart(apart) -> Any:
    return apart("tts", "hibari")


@pytest.fixture(scope="session")
def hibari_by_url(english_server) -> Any:
    """The real voice of another server of ours."""
    return load("tts", "openai", url=english_server.http_url, timeout_s=120.0)


@pytest.fixture
def cartesia() -> Iterator[Any]:
    """One that a server of tones answers for."""
    server = FakeVoiceServer()
    yield load("tts", "cartesia", url=server.url)
    server.stop()


@pytest.fixture
def ray(hibari) -> Iterator[Any]:
    """The real voice as the server of a cluster."""
    server = EngineServer("tts", hibari)
    yield load("tts", "ray", url=server.url, timeout_s=120.0)
    server.stop()


@pytest.fixture(
    params=[
        "scripted_tts",
        "cartesia",
        "hibari",
        "hibari_apart",
        "hibari_by_url",
        "kokoro",
        "languages_apart",
        "piper",
        "ray",
    ]
)
def tts(request) -> Any:
    return request.getfixturevalue(request.param)


def say(engine: Any, text: str, voice: str = "", speed: float = 1.0) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.float32), *engine.synthesize(text, voice, speed)])


def test_speech_is_sound_as_long_as_its_text(tts):
    short, long = (
        say(tts, "Hello there."),
        say(tts, "On the third of March, twelve people paid nine dollars each to hear it."),
    )
    for pcm in (short, long):
        assert pcm.dtype == np.float32
        assert 0.05 < np.abs(pcm).max() <= 1.0
    assert 0.3 < len(short) / tts.sample_rate < len(long) / tts.sample_rate < 15


def test_speed_changes_length(tts):
    text = "The capital of France is Paris."
    assert len(say(tts, text, speed=1.5)) < len(say(tts, text)) < len(say(tts, text, speed=0.7))


@pytest.mark.parametrize("text", ["", "   ", "\n", "😀👍", "\x00\x01", "..."])
def test_nothing_to_say_is_no_error(tts, text):
    pcm = say(tts, text)
    assert len(pcm) == 0 or (text == "..." and tts.model == "tones")


@pytest.mark.parametrize(
    "text",
    [
        "9" * 80,
        "x" * 700,
        "Привет, 你好, مرحبا",
        "\ud800 bad",
        "a\x00b",
        "[[hi",
        "[hi](/∆/)",
        "1/2 + 3.5% = $4 @ 7:30",
    ],
)
def test_odd_text_is_spoken_or_left_out(tts, text):
    with suppress(Unsayable):
        assert np.isfinite(say(tts, text)).all()


def test_voices_are_checked(tts):
    assert len(say(tts, "Hello.", tts.voices[0])) > 0
    with pytest.raises(EngineError, match=r"nobody.*available"):
        say(tts, "Hello.", "nobody")


def test_each_voice_has_a_language(tts, request):
    if "languages" in request.node.callspec.id:
        assert isinstance(tts, MultilingualTTS)
    if isinstance(tts, MultilingualTTS):
        assert set(tts.voice_languages) == set(tts.voices)
        assert tts.language == tts.voice_languages[tts.voices[0]]
        assert all(re.fullmatch("[a-z]{2,3}", code) for code in tts.voice_languages.values())


def test_voices_are_equally_loud(tts, request):
    """As the speaking process passes them on."""
    engine = request.node.callspec.params["tts"].removesuffix("_apart")
    known = gains_of_voices("" if tts.model == "model" else engine)  # that one makes tones
    voice = Voice(tts, known)
    texts = [
        "Sure, I can help you with that.",
        "The capital of France is Paris, and about two million people live there.",
        "Would you like me to set a timer for ten minutes?",
    ]
    if not known:  # it is measured as it speaks
        list(voice.synthesize("On the third of March, twelve people paid nine dollars each."))
    made = [np.concatenate(list(voice.synthesize(text))) for text in texts]
    assert integrated(block_powers(np.concatenate(made))) == pytest.approx(TARGET, abs=2.0)
    assert all(true_peaks(pcm).max() < CEILING * 1.03 for pcm in made)


def test_closing_speech_leaves_the_engine_usable(tts):
    pieces = tts.synthesize("This is one sentence. " * 50, "", 1.0)
    assert len(next(pcm for pcm in pieces if len(pcm))) > 0
    pieces.close()
    assert len(say(tts, "Hello there.")) > 0


def test_speakers_at_once_say_their_own(tts):
    texts = ["Hello there.", "The capital of France is Paris, and that is all.", "Yes."] * 2
    alone = [len(say(tts, text)) for text in texts[:3]] * 2
    with ThreadPoolExecutor(3) as pool:
        together = [len(pcm) for pcm in pool.map(lambda text: say(tts, text), texts)]
    # Piper draws the length of its sounds, so the same text differs a little.
    assert all(
        abs(a - b) <= (0.35 * a if tts.model.startswith("en_US") else 0)
        for a, b in zip(alone, together, strict=True)
    )


def test_speech_starts_at_once_and_ends_soon(hibari, piper):
    for engine in (hibari, piper):
        pcm = say(engine, "Sure, I can help you with that.")
        loud = np.flatnonzero(np.abs(pcm) > 0.01)
        assert loud[0] / engine.sample_rate < 0.08
        assert 0.2 < (len(pcm) - loud[-1]) / engine.sample_rate < 0.4  # the pause after a sentence


def test_the_pause_after_a_piece_depends_on_its_end(hibari, piper):
    for piece in ("It is Paris.", "Really?", 'He said "no."', "Well…"):
        assert gap_after(piece) == SENTENCE_GAP_S
    assert (
        gap_after("Of course,") == gap_after("a list:") == CLAUSE_GAP_S
        and gap_after("The tower is located") == BREATH_S
    )
    for engine in (hibari, piper):
        silences = []
        for piece in ("The tower is located", "The tower is located,", "The tower is located."):
            pcm = say(engine, piece)
            silences.append(
                (len(pcm) - np.flatnonzero(np.abs(pcm) > 0.01)[-1]) / engine.sample_rate
            )
        assert silences == sorted(silences) and silences[0] < 0.15


def test_speech_is_understood(hibari, piper, whisper):
    text = "Today the weather is warm and sunny, and about two million people are on the beach."
    for engine in (hibari, piper):
        pcm = say(engine, text)
        at = np.arange(int(len(pcm) * SECOND / engine.sample_rate)) * engine.sample_rate / SECOND
        transcript = (
            whisper.create_utterance(ENGLISH)
            .accept_audio(np.interp(at, np.arange(len(pcm)), pcm).astype(np.float32))
            .text
        )
        assert errors(text, transcript.replace("2 million", "two million")) <= 1


def test_scripted_speech_can_be_read_back(scripted_tts):
    text = "You said alpha, beta. That is 2 words!"
    assert read_tones(say(scripted_tts, text), scripted_tts.sample_rate) == text.lower()
    assert (
        np.abs(say(scripted_tts, text, "soft")).max()
        < np.abs(say(scripted_tts, text, "tone")).max()
    )
    with pytest.raises(EngineError):
        say(scripted_tts, "unspeakable")


def test_long_sentences_are_made_in_pieces():
    sentence = "this part has no end, " * 40 + "word " * 200
    pieces = list(short_pieces(sentence))
    assert " ".join(pieces).split() == sentence.split()
    assert max(map(len, pieces)) <= LONGEST
    assert pieces[0].endswith(",")


def test_silence_is_trimmed_to_measure():
    sound = np.concatenate((np.zeros(9600), np.full(2400, 0.5), np.zeros(24_000))).astype(
        np.float32
    )
    assert len(trimmed(sound, 0.02, 0.15)) == 2400 + 480 + 3600
    assert len(trimmed(np.zeros(24_000, np.float32), 0.02, 0.15)) == 0
    assert len(trimmed(sound[:12_000], 0.02, 0.15)) == 2400 + 480 + 3600  # what lacks is added


def test_missing_voices(tmp_path):
    with pytest.raises(EngineError, match="heart"):
        load("tts", "hibari", model="", voice="nobody")
    with pytest.raises(EngineError, match="emma"):
        load("tts", "hibari", model="", voice="emma")
    with pytest.raises(EngineError, match="onnx"):
        load("tts", "piper", model=str(tmp_path), voice="")
    for name in ("v.onnx", "v.onnx.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(EngineError, match="cannot be loaded"):
        load("tts", "piper", model=str(tmp_path), voice="")


def test_unknown_engines_name_the_known():
    with pytest.raises(EngineError, match=r"nonsuch.*faster-whisper, openai, ray, scripted"):
        load("asr", "nonsuch")
