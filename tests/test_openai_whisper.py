"""The engine `whisper` (openai-whisper) apart from the contract of all recognizers in test_asr.py:
options, errors, where its interpreter and its weights are.

The real package is tested in gpu_stack/test_openai_whisper_real.py.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_checks import ENGLISH, SECOND, words

from whisperfusion import paths
from whisperfusion.call import recognizers
from whisperfusion.cli.doctor import packages
from whisperfusion.engines import (
    ENGINES,
    ASROptions,
    BatchASR,
    EngineError,
    Entry,
    LanguageDetectingASR,
    load,
)
from whisperfusion.engines.whisper.openai_whisper import LONGEST_S, SHORTEST_S, stretches
from whisperfusion.engines.whisper.parts import most_tokens
from whisperfusion.engines.whisper.prompt import PROMPT_TOKENS
from whisperfusion.errors import ModelError
from whisperfusion.models import store
from whisperfusion.settings import build

SITE = str(Path(__file__).parent / "openai_site")


def settings_of(**variables: str) -> Any:
    return build({}, {"ASR_ENGINE": "whisper", **variables}, {})


@pytest.fixture
def on_fakes(monkeypatch, stored):
    """The engine's own code in this process."""
    monkeypatch.syspath_prepend(SITE)
    monkeypatch.setenv("FAKE_WHISPER", stored("whisper-tiny.en", "asr"))
    known = set(sys.modules)

    def build(**options: Any) -> Any:
        given = {"model": stored("whisper-tiny.en", "asr"), "device": "cpu", **options}
        return load("asr", "whisper", python="", **given)

    yield build
    for name in set(sys.modules) - known:
        if name.split(".")[0] in ("torch", "whisper"):
            del sys.modules[name]


def test_it_lives_apart_and_can_what_the_registry_says(openai_whisper, sound):
    assert not isinstance(openai_whisper, BatchASR)
    assert isinstance(openai_whisper, LanguageDetectingASR)
    assert (openai_whisper.model, openai_whisper.device) == ("whisper-tiny.en", "cpu")
    assert openai_whisper.languages == ("en",)
    found = openai_whisper.create_utterance(ENGLISH).accept_audio(sound("az-weather.flac"))
    assert found.end_of_turn is not None  # by the head of faster-whisper's model of this size


def test_a_prompt_hot_words_and_bounds_reach_the_decoder(on_fakes, sound):
    engine, pcm = on_fakes(), sound("riva-nlp.flac")
    package = sys.modules["whisper"]
    package.ASKED.clear()
    options = ASROptions(language="en", initial_prompt="About <|en|>computers.", hotwords="Riva")
    assert engine.create_utterance(options).accept_audio(pcm).text
    (asked,) = package.ASKED
    tokenizer = package.get_tokenizer(False, language="en", task="transcribe")
    assert tokenizer.decode(asked.prompt).split() == ["Riva", "About", "computers."]
    assert (asked.task, asked.language, asked.beam_size) == ("transcribe", "en", None)
    assert asked.sample_len == most_tokens(len(pcm) / SECOND, "en")
    package.ASKED.clear()
    hostile = ASROptions(
        language="en", initial_prompt="<|endoftext|><|en|> word" * 300, hotwords="\ud800"
    )
    assert engine.create_utterance(hostile).accept_audio(pcm).text
    assert len(package.ASKED[0].prompt) <= PROMPT_TOKENS
    assert all(token < tokenizer.eot for token in package.ASKED[0].prompt)


def test_options_that_it_cannot_follow_are_refused_in_words(on_fakes):
    with pytest.raises(EngineError, match=r"float32 on cpu, not in int8.*faster-whisper"):
        on_fakes(compute_type="int8")
    with pytest.raises(EngineError, match="PyTorch finds no GPU.*ASR_DEVICE=cpu"):
        on_fakes(device="cuda")
    with pytest.raises(EngineError, match=r"no Whisper model in nowhere.*tiny.*ASR_MODEL"):
        on_fakes(model="nowhere")
    with pytest.raises(EngineError, match="translate"):
        on_fakes().create_utterance(ASROptions(task="dance"))


def test_weights_that_cannot_be_had_or_do_not_fit_are_told(on_fakes, tmp_path):
    with pytest.raises(EngineError, match=r"large-v2 cannot be loaded.*no network.*whisper-base"):
        on_fakes(model="large-v2", download_root=str(tmp_path))
    (tmp_path / "model.bin").write_bytes(b"\6\0\0\0" * 20)
    with pytest.raises(EngineError, match="not a Whisper model in CTranslate2 form"):
        on_fakes(model=str(tmp_path))
    (tmp_path / "own.pt").write_bytes(b"pickle")
    with pytest.raises(EngineError, match=r"own\.pt cannot be loaded"):
        on_fakes(model=str(tmp_path / "own.pt"))


def test_without_the_package_the_start_says_how_to_get_it(stored):
    with pytest.raises(EngineError, match=r"openai-whisper cannot be imported.*make whisper"):
        load("asr", "whisper", python="", model=stored("whisper-tiny.en", "asr"))


def test_a_file_is_cut_where_it_is_quiet():
    rng = np.random.default_rng(0)
    pcm = rng.normal(0, 0.1, 61 * SECOND).astype(np.float32)
    pcm[24 * SECOND : 25 * SECOND] = 0
    found = list(stretches(pcm))
    assert found[0][0] == 0 and found[-1][1] == len(pcm)
    assert all(one[1] == then[0] for one, then in itertools.pairwise(found))
    assert 24 * SECOND < found[0][1] < 25 * SECOND
    assert all(
        SHORTEST_S * SECOND <= end - begin <= LONGEST_S * SECOND for begin, end in found[:-1]
    )
    assert list(stretches(pcm[:0])) == []


def test_reading_a_file_can_be_stopped(openai_whisper, sound):
    pcm = np.tile(np.concatenate((sound("riva-nlp.flac"), np.zeros(SECOND, np.float32))), 12)
    reading = openai_whisper.transcribe(pcm, ENGLISH)
    assert "natural language processing" in " ".join(words(next(reading).text))
    reading.close()
    assert openai_whisper.create_utterance(ENGLISH).accept_audio(sound("az-weather.flac")).text


# --- where its interpreter and its weights are ---------------------------------------------------


def test_its_own_interpreter_is_found_beside_the_program(monkeypatch, tmp_path):
    assert ENGINES["asr"]["whisper"].environment == "whisper"
    monkeypatch.setattr(paths, "HOME", tmp_path)
    assert paths.own_python("whisper") is None
    program = tmp_path / ".venv-whisper" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.symlink_to(sys.executable)
    assert paths.own_python("whisper") == str(program)
    told = packages.own_interpreter("whisper", ENGINES["asr"]["whisper"])
    assert told.level == "bad" and "PackageNotFoundError" in told.text  # no torch beside pytest


def test_doctor_names_the_command_that_installs_it(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "HOME", tmp_path)
    monkeypatch.setattr(packages, "check_loads", lambda name: [])
    (found,) = [one for one in packages.check_python(settings_of()) if one.level == "bad"]
    assert "interpreter of its own" in found.text and "make whisper" in found.advice
    elsewhere = settings_of(ASR_OPTION=f"python={sys.executable}")
    assert not [one for one in packages.check_python(elsewhere) if one.level == "bad"]
    entry = Entry("nowhere:Nothing", ("numpy", "pytest"), environment="whisper")
    program = tmp_path / ".venv-whisper" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.symlink_to(sys.executable)
    assert "numpy " in packages.own_interpreter("whisper", entry).text


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"ASR_MODEL": "large-v2"}, "large-v2"),
        ({"ASR_MODEL": "openai/whisper-medium"}, "medium"),
        ({"ASR_MODEL": "large-v2", "MODEL_SOURCES": "packages"}, None),
        ({"ASR_MODEL": "somebody/whisper-x"}, None),
    ],
)
def test_what_the_store_cannot_get_openai_is_asked_for(monkeypatch, tmp_path, variables, expected):
    def unreachable(*_: Any) -> Path:
        raise ModelError("the hub cannot be reached.")

    monkeypatch.setattr(store, "fetch", unreachable)
    given: dict[str, Any] = {}
    monkeypatch.setattr(recognizers, "load", lambda *_, **options: given.update(options))
    settings = settings_of(MODEL_CACHE_DIR=str(tmp_path), **variables)
    if expected is None:
        with pytest.raises(ModelError, match="cannot be reached"):
            recognizers.load_one(settings, 1)
        return
    recognizers.load_one(settings, 1)
    assert given["model"] == expected
    assert given["download_root"] == str(tmp_path / "openai-whisper")


def test_the_weights_of_the_store_are_fetched_before_the_start():
    assert next(model.id for model in store.needed(settings_of())) == "whisper-base"
