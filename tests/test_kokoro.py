"""What is special about Kokoro, beside the contract in test_tts.py: phonemes by language, pieces,
and what is told of a model that is not there or too slow.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_kokoro
import numpy as np
import pytest
from engine_checks import eventually

from whisperfusion.engines import EngineError, load
from whisperfusion.engines.kokoro.engine import said_of
from whisperfusion.engines.kokoro.phonemes import TOKENS, VOCABULARY, Phonemizer, mixed, pieces_of
from whisperfusion.engines.kokoro.voices import language_of

VOICES = "af_heart", "bf_emma", "ef_dora", "ff_siwis", "jf_alpha", "zf_xiaoni"


@pytest.fixture(scope="module")
def libraries(tmp_path_factory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("packages")
    fake_kokoro.install(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", str(folder))
        yield folder
    for name in [one for one in sys.modules if one.partition(".")[0] in ("misaki", "jieba")]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return fake_kokoro.make_model(tmp_path_factory.mktemp("kokoro"), *VOICES)


@pytest.fixture(scope="module")
def kokoro(libraries, folder) -> Any:
    return load("tts", "kokoro", model=str(folder), measure=False)


def say(engine: Any, text: str, voice: str = "", speed: float = 1.0) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.float32), *engine.synthesize(text, voice, speed)])


def test_the_vocabulary_is_that_of_the_model():
    """n_token 178 and a sample of hexgrad/Kokoro-82M's config.json."""
    assert len(VOCABULARY) == 178 and len(TOKENS) == 114
    expected = {";": 1, " ": 16, "A": 24, "Y": 41, "a": 43, "z": 68, "\u0261": 92, "\u0279": 123}
    expected |= {"\u02c8": 156, "\u02d0": 158, "\u2193": 169, "\u1d7b": 177}
    assert {symbol: TOKENS[symbol] for symbol in expected} == expected


def test_the_first_letter_of_a_voice_is_its_language():
    codes = {name: language_of(name) for name in (*VOICES, "hm_omega", "im_nicola", "pm_santa")}
    assert list(codes.values()) == ["en", "en", "es", "fr", "ja", "zh", "hi", "it", "pt"]
    assert language_of("heart") is language_of("xf_heart") is language_of("") is None


def test_every_language_has_its_reader(kokoro):
    assert kokoro.language == "en" and kokoro.voice_languages["zf_xiaoni"] == "zh"
    read = Phonemizer()
    assert read("Hello, you.", "a") == "ahello, you." and read("Hello", "b") == "bhello"
    assert read("¿Hola?", "e") == "ehola?"  # what the model does not know is left out
    assert read("公園", "j") == "koko"
    assert read("公园 OpenAI", "z") == "xau↓xau↓ aopenai"


def test_latin_words_are_english_in_a_text_of_another_script():
    assert mixed("我 use A-B, 你", "<{}>".format, "[{}]".format) == "<我> [use A-B] <, 你>"


def test_a_language_whose_dictionary_is_missing_is_read_by_espeak(libraries, caplog):
    (libraries / "misaki" / "cutlet.py").rename(libraries / "away.py")
    sys.modules.pop("misaki.cutlet", None)
    try:
        assert Phonemizer()("ka", "j") == "jka"
    finally:
        (libraries / "away.py").rename(libraries / "misaki" / "cutlet.py")
    assert "Kokoro reads ja by espeak-ng" in caplog.text and "make kokoro" in caplog.text


def test_long_phonemes_are_divided_where_a_speaker_would_breathe():
    text = "a" * 60 + ". " + "b" * 50 + ", " + "c " * 30 + "d" * 400
    pieces = list(pieces_of(text, 100))
    assert max(map(len, pieces)) <= 100
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")
    assert pieces[0] == "a" * 60 + "." and pieces[1].endswith(",")
    assert list(pieces_of("", 10)) == [] and list(pieces_of("abc.", 4)) == ["abc."]


def test_a_voice_is_the_row_of_its_count_of_tokens(kokoro):
    for text in ("yes", "a rather long sentence that has many words"):
        (pcm,) = kokoro.synthesize(text)
        tokens = len(text) + 1  # the fake's letter of the reader
        loud = 0.3 + fake_kokoro.LOUDER * (tokens - 1)
        assert abs(np.abs(pcm).max() - loud) < 1e-3
        assert abs(len(pcm) / 24_000 - 0.1 * (tokens + 2)) < 0.3


def test_a_piece_that_overflows_is_divided(libraries, tmp_path):
    fake_kokoro.make_model(tmp_path, "af_heart")
    rows = np.fromfile(tmp_path / "af_heart.bin", np.float32).reshape(510, 256)
    rows[40:] = np.nan  # of more than 40 tokens the model makes no numbers
    rows.tofile(tmp_path / "af_heart.bin")
    engine = load("tts", "kokoro", model=str(tmp_path), measure=False)
    text = "one two, three four five six seven. eight nine ten eleven twelve"
    pcm = say(engine, text)
    assert np.isfinite(pcm).all() and 0.29 < np.abs(pcm).max() < 0.32
    assert len(pcm) / 24_000 > 0.1 * len(text)
    rows[:] = np.nan
    rows.tofile(tmp_path / "af_heart.bin")
    assert len(say(load("tts", "kokoro", model=str(tmp_path), measure=False), text)) == 0


def test_a_voice_of_another_language_is_asked_for_by_name(kokoro):
    assert len(say(kokoro, "Hola, amigos.", "ef_dora")) > 24_000
    with pytest.raises(EngineError, match=r"nobody.*af_heart.*zf_xiaoni"):
        say(kokoro, "Hello", "nobody")


def test_a_voice_is_killed_in_mid_sentence_and_is_back(libraries, folder, caplog, capfd):
    caplog.set_level(logging.INFO)  # of the other interpreter, too
    engine = load("tts", "kokoro", python=sys.executable, model=str(folder))
    try:
        assert dict(engine.voice_languages) == {name: language_of(name) for name in VOICES}
        pieces = engine.synthesize("word and word, " * 60)
        next(pcm for pcm in pieces if len(pcm))
        os.kill(engine._way.child(0).pid, signal.SIGKILL)
        with pytest.raises(EngineError, match="started again"):
            list(pieces)
        eventually(lambda: engine.up)
        assert len(say(engine, "Hello there.")) > 0
        # its speed is known: nobody waits for it to be measured again
        assert capfd.readouterr().err.count("s for a second of speech") == 1
    finally:
        engine.close()


def test_what_is_not_there_is_told(libraries, tmp_path):
    with pytest.raises(EngineError, match=r"af_heart\.bin are needed"):
        load("tts", "kokoro", model=str(tmp_path))
    fake_kokoro.make_model(tmp_path, "ef_dora")
    with pytest.raises(EngineError, match=r"no voice 'af_sky'; available: ef_dora"):
        load("tts", "kokoro", model=str(tmp_path), voice="af_sky")
    with pytest.raises(EngineError, match=r"'tpu'.*allowed: cpu, and cuda"):
        load("tts", "kokoro", model=str(tmp_path), device="tpu")
    assert load("tts", "kokoro", model=str(tmp_path), measure=False).language == "es"
    (tmp_path / "ef_dora.bin").write_bytes(b"\0" * 100)
    with pytest.raises(EngineError, match=r"ef_dora\.bin is not a voice"):
        load("tts", "kokoro", model=str(tmp_path))
    (tmp_path / "model.onnx").write_bytes(b"{}")
    with pytest.raises(EngineError, match="cannot be loaded"):
        load("tts", "kokoro", model=str(tmp_path))


def test_without_its_libraries_it_says_how_to_get_them(folder, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with pytest.raises(EngineError, match="make kokoro"):
        load("tts", "kokoro", python=sys.executable, model=str(folder))


def test_a_machine_that_is_too_slow_is_told():
    assert said_of(0.62, "cpu") == (
        logging.INFO,
        "Kokoro on cpu takes 0.62 s for a second of speech",
    )
    level, text = said_of(1.4, "cpu")
    assert level == logging.WARNING and "slower than speech" in text and "TTS_ENGINE=hibari" in text
