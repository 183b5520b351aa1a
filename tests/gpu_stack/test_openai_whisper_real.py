"""The engine whisper on the real package and the image's torch, with the weights of Whisper base
from the store: that they are converted rightly shows in the same numbers as faster-whisper's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from engine_checks import ENGLISH, SECOND, errors, words

from whisperfusion.engines import ASROptions, EngineError, load
from whisperfusion.engines.whisper.faster_whisper import FasterWhisper
from whisperfusion.models import whisper_weights


@pytest.fixture(scope="module")
def folder(stored) -> Path:
    return Path(stored("whisper-base", "asr"))


@pytest.fixture(scope="module")
def real(folder):
    return load("asr", "whisper", python="", model=str(folder), device="cpu")


@pytest.fixture(scope="module")
def other(folder):
    """faster-whisper in the same precision."""
    return FasterWhisper(model=str(folder), device="cpu", compute_type="float32")


def test_the_weights_are_those_of_the_package(real, folder):
    """No name is missing or too many (`load_state_dict` is strict), and none has another shape."""
    _, state = whisper_weights.state_of(folder)
    network = real._files.network
    assert {name: tuple(one.shape) for name, one in network.state_dict().items()} == {
        name: one.shape for name, one in state.items()
    }
    heads = network.alignment_heads.to_dense().nonzero().tolist()
    assert [tuple(pair) for pair in heads] == sorted(whisper_weights.alignment_heads(folder))


@pytest.mark.parametrize("context_s", [6.0, 30.0])
def test_the_encoder_gives_the_same_numbers(real, other, sound, context_s):
    pcm = sound("harvard-sb-birch.flac")
    real._short.min_context_s = other._short.min_context_s = context_s
    mine = real._short.library.states(real._short.encode(pcm))
    theirs = other._short.library.states(other._short.encode(pcm))
    assert mine.shape == theirs.shape == (1, int(context_s * 50), 512)
    assert np.abs(mine - theirs).max() < 0.01 and np.abs(theirs).max() > 5
    if context_s == 30.0:  # and the package's own forward
        whole = real._files.network.encoder(torch.from_numpy(mel_of(real, pcm)))
        assert np.abs(whole.detach().numpy() - mine).max() < 0.001
    real._short.min_context_s = other._short.min_context_s = 6.0


def mel_of(engine, pcm: np.ndarray) -> np.ndarray:
    from whisperfusion.engines.whisper.log_mel import log_mel

    return log_mel(pcm, engine._files.feature_extractor.mel_filters, 3000)[None]


def test_the_decoder_gives_the_same_probabilities(real, other, sound):
    """Of each token of a text, by the alignment; of languages, by the first token."""
    pcm = sound("harvard-sb-birch.flac")
    text = " The birch canoe slid on the smooth planks."
    tokens = real._short.tokenizer("en", "transcribe").encode(text)
    found = []
    for short in (real._short, other._short):
        encoded, tokenizer = short.encode(pcm), short.tokenizer("en", "transcribe")
        starts, probabilities = short.library.token_starts(
            short.whisper, tokenizer, encoded, tokens, len(pcm) / SECOND
        )
        found.append((starts, probabilities, short.language_probabilities(encoded)))
    (starts, mine, languages), (their_starts, theirs, their_languages) = found
    assert len(starts) == len(tokens) + 1
    assert np.allclose(mine, theirs, atol=0.01)
    assert np.abs(np.subtract(starts, their_starts)).max() <= 0.1
    assert set(languages) == set(their_languages) and next(iter(languages)) == "en"
    assert all(abs(p - their_languages[code]) < 0.01 for code, p in languages.items())


def test_it_hears_the_same_and_times_the_same(real, other, recordings, sound):
    options = ASROptions(language="en", word_timestamps=True)
    for name in ("harvard-sb-birch.flac", "riva-nlp.flac", "az-weather.flac"):
        mine, theirs = (
            engine.create_utterance(options).accept_audio(sound(name)) for engine in (real, other)
        )
        assert words(mine.text) == words(theirs.text)
        times = [[w.end_s for s in one.segments for w in s.words] for one in (mine, theirs)]
        assert np.abs(np.subtract(*times)).max() <= 0.25
        assert abs(mine.end_of_turn - theirs.end_of_turn) < 0.02


def test_languages_translation_and_prompts(real, recordings, sound):
    name = "pv-de-cheetah.flac"
    found = real.create_utterance(ASROptions()).accept_audio(sound(name))
    assert found.language == "de" and real.detect_language(sound(name))[0] == "de"
    into = real.create_utterance(ASROptions("de", "translate")).accept_audio(sound(name))
    assert into.text and words(into.text) != words(found.text)
    prompted = ASROptions(
        "en", initial_prompt="RIVA-NLP, NATURAL LANGUAGE PROCESSING, SHOUTED.", hotwords="<|en|>"
    )
    said = real.create_utterance(prompted).accept_audio(sound("riva-nlp.flac")).text
    assert "NATURAL LANGUAGE PROCESSING" in said


def test_a_file_is_read_in_segments_with_words(real, recordings, sound):
    names = ("harvard-sb-birch.flac", "riva-nlp.flac")
    quiet = np.zeros(SECOND, np.float32)
    pcm = np.concatenate([part for name in names for part in (sound(name), quiet)])
    options = ASROptions("en", word_timestamps=True)
    found = list(real.transcribe(pcm, options))
    expected = " ".join(recordings[name]["text"] for name in names)
    assert errors(expected, " ".join(one.text for one in found)) == 0
    ends = [word.end_s for one in found for word in one.words]
    assert ends == sorted(ends) and ends[-1] <= len(pcm) / SECOND
    assert list(real.transcribe(np.zeros(SECOND, np.float32), ENGLISH)) == []


def test_a_file_that_runs_code_is_not_loaded(tmp_path):
    """A .pt file is a pickle, and may ask for any function."""

    class Hostile:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"dims": Hostile(), "model_state_dict": {}}, tmp_path / "hostile.pt")
    with pytest.raises(EngineError, match=r"hostile\.pt cannot be loaded"):
        load("asr", "whisper", python="", model=str(tmp_path / "hostile.pt"), device="cpu")
    assert not (tmp_path / "ran").exists()
