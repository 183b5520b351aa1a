"""The engine tensorrt-whisper: its real code on the recorded signatures of TensorRT-LLM 0.10.0 (whisper_on_fakes.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import fake_gpu
import numpy as np
import pytest
import whisper_on_fakes
from engine_checks import ENGLISH, SECOND, errors, words
from faster_whisper.feature_extractor import FeatureExtractor
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion.engines import ASROptions, EngineError, load
from fusion.engines.tensorrt_whisper import log_mel

DECODE = "tensorrt_llm.runtime.GenerationSession.decode"


@pytest.fixture
def gpu() -> Iterator[fake_gpu.Fake]:
    with fake_gpu.installed("tensorrt_llm", "torch") as fake:
        yield fake


@pytest.fixture
def behaviour(gpu) -> whisper_on_fakes.Behaviour:
    return whisper_on_fakes.Behaviour(gpu)


@pytest.fixture
def multilingual(behaviour, stored, tmp_path):
    path = whisper_on_fakes.folder(tmp_path / "whisper-base", stored("whisper-base", "asr"))
    return load("asr", "tensorrt-whisper", model=str(path))


@pytest.fixture
def english(behaviour, stored, tmp_path):
    path = whisper_on_fakes.folder(tmp_path / "whisper-tiny.en", stored("whisper-tiny.en", "asr"))
    return load("asr", "tensorrt-whisper", model=str(path))


def prompts(gpu) -> list[list[int]]:
    """Of all decodes but the first, which warms up."""
    return [call["input_ids"][0].tolist() for call in gpu.arguments(DECODE)[1:]]


def test_the_start_tries_the_longest_decode(gpu, english):
    [warm] = gpu.arguments(DECODE)
    [sizes] = gpu.arguments("tensorrt_llm.runtime.GenerationSession.setup")
    assert (warm["input_ids"].shape[1], sizes["max_new_tokens"]) == (228, 220)


def test_too_little_memory_ends_the_start(behaviour, stored, tmp_path):
    behaviour.broken = "CUDA out of memory"
    path = whisper_on_fakes.folder(tmp_path / "whisper-tiny.en", stored("whisper-tiny.en", "asr"))
    with pytest.raises(EngineError, match=r"not enough free GPU memory.*out of memory.*ASR_MODEL"):
        load("asr", "tensorrt-whisper", model=str(path))


def test_prompts_are_those_the_models_were_trained_with(gpu, english, sound):
    utterance = english.begin(ENGLISH)
    utterance.hear(sound("riva-nlp.flac"))
    assert prompts(gpu) == [[50257, 50362]]  # start, no timestamps: an English-only model knows no language token
    assert english.languages == ("en",)


def test_multilingual_prompts_name_language_and_task(gpu, multilingual, sound):
    multilingual.begin(ASROptions(language="de", task="translate")).hear(sound("riva-nlp.flac"))
    assert prompts(gpu) == [[50258, 50261, 50358, 50363]]


def test_the_language_is_what_the_decoder_says_first(gpu, multilingual, recordings, sound):
    name = next(file for file, entry in recordings.items() if entry["lang"] == "de")
    heard = multilingual.begin(ASROptions()).hear(sound(name))
    assert heard.language == "de"
    assert prompts(gpu)[0] == [50258]  # one token after the start
    assert errors(recordings[name]["text"], heard.text) <= len(words(heard.text)) // 3


def test_a_prompt_is_cut_to_what_the_engine_takes(behaviour, gpu, stored, tmp_path, sound):
    path = whisper_on_fakes.folder(tmp_path / "whisper-tiny.en", stored("whisper-tiny.en", "asr"), max_input_len=14)
    engine = load("asr", "tensorrt-whisper", model=str(path))
    engine.begin(ASROptions(language="en", initial_prompt="a long story " * 50)).hear(sound("riva-nlp.flac"))
    assert [len(prompt) for prompt in prompts(gpu)] == [14]
    assert prompts(gpu)[0][0] == 50360  # what was said before


def test_tokens_are_bounded_by_the_speech(gpu, english, sound):
    english.begin(ENGLISH).hear(sound("riva-nlp.flac")[:SECOND])
    assert gpu.arguments("tensorrt_llm.runtime.GenerationSession.setup")[-1]["max_new_tokens"] == 8 + 16


def test_silence_costs_no_decode(gpu, english):
    assert english.begin(ENGLISH).hear(np.zeros(2 * SECOND, np.float32)).text == ""
    assert prompts(gpu) == []


def test_long_utterances_and_files_keep_every_word(multilingual, recordings, sound):
    name = "moonshine-two-cities.flac"  # 44 s: cut twice
    said, pcm = recordings[name]["text"], sound(name)
    utterance = multilingual.begin(ENGLISH)
    for at in range(0, len(pcm), 11 * SECOND):
        utterance.hear(pcm[at : at + 11 * SECOND])
    assert errors(said, utterance.finish().text) / len(words(said)) <= 0.06
    segments = list(multilingual.transcribe(pcm, ENGLISH))
    assert len(segments) == 3
    assert errors(said, " ".join(segment.text for segment in segments)) / len(words(said)) <= 0.06
    assert [s.start_s for s in segments[1:]] == pytest.approx([s.end_s for s in segments[:-1]])
    assert segments[-1].end_s == pytest.approx(len(pcm) / SECOND)


def test_words_come_without_times(english, sound):
    heard = english.begin(ASROptions(language="en", word_timestamps=True)).hear(sound("riva-nlp.flac"))
    assert heard.segments[0].words == ()


def test_a_failure_on_the_gpu_ends_one_turn(english, behaviour, recordings, sound):
    utterance = english.begin(ENGLISH)
    behaviour.broken = "CUDA out of memory"
    with pytest.raises(EngineError, match="out of memory"):
        utterance.hear(sound("riva-nlp.flac"))
    behaviour.broken = ""
    assert errors(recordings["riva-nlp.flac"]["text"], english.begin(ENGLISH).hear(sound("riva-nlp.flac")).text) == 0


def test_an_error_that_cuda_keeps_ends_the_process(english, behaviour, sound):
    behaviour.broken = "CUDA error: an illegal memory access was encountered"
    with pytest.raises(RuntimeError, match="illegal memory access"):  # main starts another
        english.begin(ENGLISH).hear(sound("riva-nlp.flac"))


# --- starting ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["tokenizer.json", "encoder_config.json", "whisper_decoder_float16_tp1_rank0.engine", "all"])
def test_missing_engines_name_the_folder_and_the_script(behaviour, stored, tmp_path, lost):
    path = tmp_path / "whisper-small.en"
    if lost != "all":
        (whisper_on_fakes.folder(path, stored("whisper-tiny.en", "asr")) / lost).unlink()
    with pytest.raises(EngineError) as caught:
        load("asr", "tensorrt-whisper", model=str(path))
    assert str(path) in str(caught.value)
    assert "docker/scripts/build-whisper.sh small.en" in str(caught.value)


def test_an_engine_of_another_gpu_says_build_again(behaviour, stored, tmp_path):
    path = whisper_on_fakes.folder(tmp_path / "whisper-tiny.en", stored("whisper-tiny.en", "asr"))
    (path / "whisper_encoder_float16_tp1_rank0.engine").write_text("built elsewhere")
    with pytest.raises(EngineError, match=r"incompatible device.*delete the folder and build it"):
        load("asr", "tensorrt-whisper", model=str(path))


def test_a_decoder_without_padding_is_refused(behaviour, stored, tmp_path):
    path = whisper_on_fakes.folder(tmp_path / "whisper-tiny.en", stored("whisper-tiny.en", "asr"))
    config = json.loads((path / "decoder_config.json").read_text())
    config["plugin_config"]["remove_input_padding"] = True
    (path / "decoder_config.json").write_text(json.dumps(config))
    with pytest.raises(EngineError, match="--remove_input_padding"):
        load("asr", "tensorrt-whisper", model=str(path))


@pytest.mark.parametrize("options", [{"device": "cpu"}, {"compute_type": "int8"}])
def test_what_tensorrt_cannot_do_is_refused(behaviour, stored, tmp_path, options):
    path = whisper_on_fakes.folder(tmp_path / "whisper-tiny.en", stored("whisper-tiny.en", "asr"))
    with pytest.raises(EngineError, match="faster-whisper"):
        load("asr", "tensorrt-whisper", model=str(path), **options)


def test_without_the_libraries_it_says_where_they_are(stored, tmp_path):
    path = whisper_on_fakes.folder(tmp_path / "whisper-tiny.en", stored("whisper-tiny.en", "asr"))
    with pytest.raises(EngineError, match=r"docs/gpu\.md"):
        load("asr", "tensorrt-whisper", model=str(path))


# --- the spectrogram ---------------------------------------------------------------------------------


@given(st.one_of(st.integers(0, 40_000), st.integers(478_000, 482_000)), st.integers(0, 9), st.sampled_from([0.0, 1e-6, 0.1]))
@settings(deadline=None)
def test_the_spectrogram_is_that_of_thirty_seconds(samples, seed, level):
    pcm = (np.random.default_rng(seed).standard_normal(samples) * level).astype(np.float32)
    features = FeatureExtractor(feature_size=80)
    whole = features(np.pad(pcm[:480_000], (0, max(0, 480_000 - samples))), padding=0)[:, :3000]
    assert np.allclose(log_mel(features, pcm), whole, atol=1e-5)
