"""The engine tensorrt-whisper: its real code on the recorded signatures of TensorRT-LLM 0.10.0
(whisper_on_fakes.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import fake_gpu
import numpy as np
import pytest
import whisper_on_fakes
from engine_checks import ENGLISH, SECOND, errors, words

from whisperfusion.engines import ASROptions, EngineError, decode_batch, load, transcribe_batch

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


def decodes(gpu) -> list[list[list[int]]]:
    """The prompts of all decodes but the first two, which warm up."""
    return [call["input_ids"].tolist() for call in gpu.arguments(DECODE)[2:]]


def prompts(gpu) -> list[list[int]]:
    return [rows[0] for rows in decodes(gpu)]


def test_the_start_tries_the_longest_decodes(gpu, english):
    warm = [tuple(call["input_ids"].shape) for call in gpu.arguments(DECODE)]
    sizes = [
        (call["batch_size"], call["max_new_tokens"])
        for call in gpu.arguments("tensorrt_llm.runtime.GenerationSession.setup")
    ]
    assert (warm, sizes) == ([(4, 228), (1, 228)], [(4, 220), (1, 220)])


def test_too_little_memory_ends_the_start(behaviour, stored, tmp_path):
    behaviour.broken = "CUDA out of memory"
    path = whisper_on_fakes.folder(tmp_path / "whisper-tiny.en", stored("whisper-tiny.en", "asr"))
    with pytest.raises(EngineError, match=r"not enough free GPU memory.*out of memory.*ASR_MODEL"):
        load("asr", "tensorrt-whisper", model=str(path))


def test_prompts_are_those_the_models_were_trained_with(gpu, english, sound):
    utterance = english.create_utterance(ENGLISH)
    utterance.accept_audio(sound("riva-nlp.flac"))
    # start, no timestamps: an English-only model knows no language token
    assert prompts(gpu) == [[50257, 50362]]
    assert english.languages == ("en",)


def test_multilingual_prompts_name_language_and_task(gpu, multilingual, sound):
    multilingual.create_utterance(ASROptions(language="de", task="translate")).accept_audio(
        sound("riva-nlp.flac")
    )
    assert prompts(gpu) == [[50258, 50261, 50358, 50363]]


def test_the_language_is_what_the_decoder_says_first(gpu, multilingual, recordings, sound):
    name = next(file for file, entry in recordings.items() if entry["lang"] == "de")
    result = multilingual.create_utterance(ASROptions()).accept_audio(sound(name))
    assert result.language == "de"
    assert prompts(gpu)[0] == [50258]  # one token after the start
    assert errors(recordings[name]["text"], result.text) <= len(words(result.text)) // 3


def test_a_prompt_is_cut_to_what_the_engine_takes(behaviour, gpu, stored, tmp_path, sound):
    path = whisper_on_fakes.folder(
        tmp_path / "whisper-tiny.en", stored("whisper-tiny.en", "asr"), max_input_len=14
    )
    engine = load("asr", "tensorrt-whisper", model=str(path))
    engine.create_utterance(
        ASROptions(language="en", initial_prompt="a long story " * 50)
    ).accept_audio(sound("riva-nlp.flac"))
    assert [len(prompt) for prompt in prompts(gpu)] == [14]
    assert prompts(gpu)[0][0] == 50360  # what was said before


def test_tokens_are_bounded_by_the_speech(gpu, english, sound):
    english.create_utterance(ENGLISH).accept_audio(sound("riva-nlp.flac")[:SECOND])
    assert (
        gpu.arguments("tensorrt_llm.runtime.GenerationSession.setup")[-1]["max_new_tokens"]
        == 8 + 16
    )


def test_silence_costs_no_decode(gpu, english):
    assert (
        english.create_utterance(ENGLISH).accept_audio(np.zeros(2 * SECOND, np.float32)).text == ""
    )
    assert prompts(gpu) == []


def test_long_utterances_keep_every_word(english, recordings, sound):
    name = "moonshine-two-cities.flac"  # 44 s: cut twice
    expected, pcm = recordings[name]["text"], sound(name)
    utterance = english.create_utterance(ENGLISH)
    for at in range(0, len(pcm), 15 * SECOND):
        utterance.accept_audio(pcm[at : at + 15 * SECOND])
    assert errors(expected, utterance.finish().text) / len(words(expected)) <= 0.06


# --- several at once ----------------------------------------------------------------------------

SHORT = ("riva-nlp.flac", "harvard-sb-birch.flac", "riva-nlp.flac", "harvard-sb-birch.flac")


def together(engine, sounds, options=ENGLISH) -> list[str]:
    jobs = [(engine.create_utterance(options), pcm, True) for pcm in sounds]
    return [found.text for found in decode_batch(engine, jobs)]


def test_callers_are_decoded_together_and_hear_what_they_said(gpu, english, sound):
    sounds = [*map(sound, SHORT), np.zeros(SECOND, np.float32), sound("riva-nlp.flac")[:SECOND]]
    alone = [english.create_utterance(ENGLISH).accept_audio(pcm).text for pcm in sounds]
    before = len(decodes(gpu))
    assert together(english, sounds) == alone
    assert [len(rows) for rows in decodes(gpu)[before:]] == [4, 1], "five of six are not silent"


def test_a_short_piece_beside_a_long_one_gets_no_more_tokens(gpu, english, behaviour, sound):
    behaviour.answer = list(range(300, 520))  # as many words as there is room for
    two = [sound("riva-nlp.flac")[:SECOND], sound("harvard-sb-birch.flac")]
    found = together(english, two)
    alone = [english.create_utterance(ENGLISH).accept_audio(pcm).text for pcm in two]
    assert found == alone
    assert len(found[0]) < len(found[1])


def test_engines_built_for_one_caller_decode_one(gpu, behaviour, stored, tmp_path, sound):
    path = whisper_on_fakes.folder(
        tmp_path / "whisper-tiny.en", stored("whisper-tiny.en", "asr"), max_batch_size=1
    )
    engine = load("asr", "tensorrt-whisper", model=str(path))
    assert together(engine, map(sound, SHORT[:2]))[0].startswith("What is natural")
    assert [len(call["input_ids"]) for call in gpu.arguments(DECODE)] == [1, 1, 1]


def test_engines_that_mix_up_their_rows_decode_one_caller_at_a_time(
    gpu, behaviour, stored, tmp_path, sound, caplog
):
    behaviour.zeros = True
    path = whisper_on_fakes.folder(tmp_path / "whisper-tiny.en", stored("whisper-tiny.en", "asr"))
    engine = load("asr", "tensorrt-whisper", model=str(path))
    assert "does not decode 4 equal pieces alike" in caplog.text
    found = together(engine, map(sound, SHORT))
    assert found[0] == found[2] and found[0].startswith("What is natural")
    assert [len(rows) for rows in decodes(gpu)] == [1, 1, 1, 1]


def test_files_are_read_together_in_turns_with_times(gpu, english, recordings, sound):
    long, short = sound("moonshine-two-cities.flac"), sound("riva-nlp.flac")
    found = list(transcribe_batch(english, [(long, ENGLISH), (short, ENGLISH)]))
    assert [at for at, _ in found].index(1) < [at for at, _ in found].count(0), "in turns"
    text = " ".join(segment.text for at, segment in found if at == 1)
    assert errors(recordings["riva-nlp.flac"]["text"], text) == 0
    expected = recordings["moonshine-two-cities.flac"]["text"]
    segments = [segment for at, segment in found if at == 0]
    text = " ".join(segment.text for segment in segments)
    assert errors(expected, text) / len(words(expected)) <= 0.06
    times = [round(at, 3) for one in segments for at in (one.start_s, one.end_s)]
    assert times == sorted(times) and times[-1] <= len(long) / SECOND
    assert max(s.end_s - s.start_s for s in segments) < 10.01, "captions that a person can read"
    assert decodes(gpu)[0][0] == [50257, 50362]
    assert max(len(rows) for rows in decodes(gpu)) > 1


def test_a_file_that_is_no_longer_wanted_is_read_no_further(gpu, english, sound):
    pcm = sound("moonshine-two-cities.flac")  # five windows
    left: set[int] = set()
    for at, _ in transcribe_batch(english, [(pcm, ENGLISH)], lambda at: at not in left):
        left.add(at)
    assert len(decodes(gpu)) == 1


def test_more_words_than_the_engine_has_tokens_for_are_read_in_halves(
    behaviour, stored, tmp_path, recordings, sound
):
    path = whisper_on_fakes.folder(
        tmp_path / "whisper-tiny.en", stored("whisper-tiny.en", "asr"), max_output_len=7
    )
    engine = load("asr", "tensorrt-whisper", model=str(path))
    name = "harvard-sb-birch.flac"
    text = engine.create_utterance(ENGLISH).accept_audio(sound(name)).text
    assert errors(recordings[name]["text"], text) <= 1, "eleven tokens, of which seven fit"


def test_an_english_only_model_knows_no_other_language(gpu, english, sound):
    assert english.detect_language(sound("riva-nlp.flac")) == ("en", 1.0)
    assert decodes(gpu) == []


def test_the_language_of_a_recording_is_told(gpu, multilingual, recordings, sound):
    name = next(file for file, entry in recordings.items() if entry["lang"] == "de")
    assert multilingual.detect_language(sound(name)) == ("de", 0.5)
    before = len(gpu.arguments(DECODE))
    list(multilingual.transcribe(sound(name), ASROptions()))
    asked = [call["input_ids"][0].tolist() for call in gpu.arguments(DECODE)[before:]]
    assert asked[:2] == [[50258], [50258, 50261, 50359, 50363]], "told once, and then kept"


def test_words_come_without_times(english, sound):
    result = english.create_utterance(ASROptions(language="en", word_timestamps=True)).accept_audio(
        sound("riva-nlp.flac")
    )
    assert result.segments[0].words == ()


def test_a_failure_on_the_gpu_ends_one_turn(english, behaviour, recordings, sound):
    utterance = english.create_utterance(ENGLISH)
    behaviour.broken = "CUDA out of memory"
    with pytest.raises(EngineError, match="out of memory"):
        utterance.accept_audio(sound("riva-nlp.flac"))
    behaviour.broken = ""
    assert (
        errors(
            recordings["riva-nlp.flac"]["text"],
            english.create_utterance(ENGLISH).accept_audio(sound("riva-nlp.flac")).text,
        )
        == 0
    )


def test_an_error_that_cuda_keeps_ends_the_process(english, behaviour, sound):
    behaviour.broken = "CUDA error: an illegal memory access was encountered"
    with pytest.raises(RuntimeError, match="illegal memory access"):  # main starts another
        english.create_utterance(ENGLISH).accept_audio(sound("riva-nlp.flac"))


# --- starting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lost",
    ["tokenizer.json", "encoder_config.json", "whisper_decoder_float16_tp1_rank0.engine", "all"],
)
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
