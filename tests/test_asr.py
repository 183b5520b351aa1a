"""One contract for all engines that recognise speech, with the real models of the store; then
what is special about each.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import fake_gpu
import numpy as np
import pytest
import whisper_on_fakes
from engine_checks import BAD_AUDIO, ENGLISH, SECOND, errors, words
from engine_server import EngineServer
from fake_voice_server import FakeVoiceServer
from running import SCRIPTED, Server
from tqdm import tqdm

from whisperfusion.engines import ASROptions, EngineError, Hypothesis, Segment, load
from whisperfusion.engines.scripted import tone_speech
from whisperfusion.engines.whisper.decode import ShortContext
from whisperfusion.engines.whisper.faster_whisper import NICE
from whisperfusion.engines.whisper.log_mel import log_mel
from whisperfusion.engines.whisper.parts import most_tokens, shortened, split
from whisperfusion.engines.whisper.utterance import Decoded, WhisperUtterance
from whisperfusion.turns.barge_in import probably_noise


@dataclass
class Ear:
    engine: Any
    clips: list[tuple[str, np.ndarray]]  # what is said, and its sound
    step_s: float = 1.0  # longer where a pass takes long


@pytest.fixture
def tensorrt(stored, tmp_path) -> Iterator[Any]:
    """The engine's own code over the recorded signatures, with the real model's arithmetic
    behind them.
    """
    with fake_gpu.installed("tensorrt_llm", "torch") as gpu:
        whisper_on_fakes.Behaviour(gpu)
        path = whisper_on_fakes.folder(
            tmp_path / "whisper-tiny.en", stored("whisper-tiny.en", "asr")
        )
        yield load("asr", "tensorrt-whisper", model=str(path))


@pytest.fixture(scope="session")
def whisper_by_url() -> Iterator[Any]:
    """The real recognizer of another server of ours, of which the rest is scripted."""
    server = Server(*(flag for flag in SCRIPTED if not flag.startswith("--asr")))
    try:
        # the limit is for a machine that is busy with other tests
        yield load("asr", "openai", url=server.wait_ready(600).http_url, timeout_s=120.0)
    finally:
        server.stop()


@pytest.fixture
def deepgram() -> Iterator[Any]:
    """One that a server of tones answers for."""
    server = FakeVoiceServer()
    yield load("asr", "deepgram", url=server.url)
    server.stop()


@pytest.fixture
def ray(request, whisper_english) -> Iterator[Any]:
    """The real recognizer as the server of a cluster."""
    server = EngineServer("asr", whisper_english)
    yield load("asr", "ray", url=server.url, timeout_s=120.0)
    server.stop()


TIMED = (
    *("scripted", "scripted_apart", "deepgram", "whisper", "whisper_english", "whisper_by_url"),
    *("openai_whisper", "ray"),
)


@pytest.fixture(params=[*TIMED, "tensorrt"])
def ear(request, recordings, sound) -> Ear:
    if request.param.startswith("scripted"):
        texts = [
            "the birch canoe slid on the smooth planks",
            "what is natural language processing?",
        ]
        here = request.param == "scripted"
        return Ear(
            load("asr", "scripted")
            if here
            else request.getfixturevalue("apart")("asr", "scripted"),
            [(t, np.pad(tone_speech(t), (4000, 8000))) for t in texts],
        )
    if request.param == "deepgram":  # a word a second: none is cut by what the tests ask for
        texts = ["birch canoe slid smooth", "what natural language processing"]
        tones = [[tone_speech(word) for word in text.split()] for text in texts]
        clips = [np.concatenate([np.pad(t, (0, SECOND - len(t))) for t in one]) for one in tones]
        return Ear(request.getfixturevalue("deepgram"), list(zip(texts, clips, strict=True)))
    names = ["harvard-sb-birch.flac", "riva-nlp.flac"]
    return Ear(
        request.getfixturevalue(request.param),
        [(recordings[name]["text"], sound(name)) for name in names],
        1.0 if request.param in ("whisper", "whisper_english") else 2.0,
    )


def in_steps(utterance: Any, pcm: np.ndarray, step_s: float) -> Iterator[Hypothesis]:
    for at in range(0, len(pcm), int(step_s * SECOND)):
        yield utterance.accept_audio(pcm[at : at + int(step_s * SECOND)])


def test_hypotheses_grow_to_what_was_said(ear):
    for expected, pcm in ear.clips:
        utterance = ear.engine.create_utterance(ENGLISH)
        partial = list(in_steps(utterance, pcm, ear.step_s))
        last = utterance.finish()
        assert errors(expected, last.text) == 0
        assert last.language == "en"
        counts = [len(words(h.text)) for h in partial]
        assert counts[0] < counts[-1] == len(words(last.text))
        assert all(0 <= s.start_s <= s.end_s <= len(pcm) / SECOND + 0.05 for s in last.segments)


def test_utterances_do_not_mix(ear):
    utterances = [
        (expected, ear.engine.create_utterance(ENGLISH), list(np.array_split(pcm, 2)))
        for expected, pcm in ear.clips
    ]
    for step in range(2):
        for _, utterance, parts in utterances:
            utterance.accept_audio(parts[step])
    assert all(
        errors(expected, utterance.finish().text) == 0 for expected, utterance, _ in utterances
    )


def test_several_threads_hear_their_own(ear):
    def recognize(clip: tuple[str, np.ndarray]) -> int:
        utterance = ear.engine.create_utterance(ENGLISH)
        utterance.accept_audio(clip[1])
        return errors(clip[0], utterance.finish().text)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(recognize, ear.clips * 2)) == [0] * 4


def test_whole_files_come_in_segments(ear):
    (expected, pcm), (expected_then, pcm_then) = ear.clips
    segments = list(
        ear.engine.transcribe(
            np.concatenate((pcm, np.zeros(SECOND, np.float32), pcm_then)), ENGLISH
        )
    )
    assert errors(f"{expected} {expected_then}", " ".join(s.text for s in segments)) == 0
    assert segments[-1].end_s > len(pcm) / SECOND + 1


@pytest.mark.parametrize("ear", TIMED, indirect=True)
def test_words_have_times(ear):
    expected, pcm = ear.clips[0]
    utterance = ear.engine.create_utterance(ASROptions(language="en", word_timestamps=True))
    utterance.accept_audio(pcm)
    timed = [word for segment in utterance.finish().segments for word in segment.words]
    assert words(" ".join(word.text for word in timed)) == words(expected)
    times = [t for word in timed for t in (word.start_s, word.end_s)]
    assert times == sorted(times)
    assert times[-1] <= len(pcm) / SECOND + 0.05


def test_silence_says_nothing(ear):
    utterance = ear.engine.create_utterance(ENGLISH)
    assert utterance.finish().text == ""
    assert utterance.accept_audio(np.zeros(0, np.float32)).text == ""
    assert utterance.accept_audio(np.zeros(SECOND, np.float32)).text == ""
    assert list(ear.engine.transcribe(np.zeros(0, np.float32), ENGLISH)) == []


def test_bad_audio_is_refused_and_forgotten(ear):
    expected, pcm = ear.clips[0]
    utterance = ear.engine.create_utterance(ENGLISH)
    for bad in BAD_AUDIO.values():
        with pytest.raises(EngineError):
            utterance.accept_audio(bad)
        with pytest.raises(EngineError):
            list(ear.engine.transcribe(bad, ENGLISH))
    utterance.accept_audio(pcm)
    assert errors(expected, utterance.finish().text) == 0


def test_short_context_hears_people(whisper, recordings, sound):
    wrong = total = 0
    short = [
        name
        for name, clip in recordings.items()
        if clip["lang"] == "en" and not name.startswith("libri-") and clip["duration_s"] < 20
    ]
    for name in short[::4]:
        found = whisper.create_utterance(ENGLISH).accept_audio(sound(name)).text
        wrong += errors(recordings[name]["text"], found)
        total += len(words(recordings[name]["text"]))
    assert wrong / total <= 0.08  # 0.045 when measured


def test_long_utterance_loses_and_doubles_nothing(whisper, recordings, sound):
    name = "moonshine-two-cities.flac"  # 44 s: the buffer is cut twice
    utterance = whisper.create_utterance(ENGLISH)
    hypotheses = list(in_steps(utterance, sound(name), 15.0))
    last = utterance.finish()
    assert (
        errors(recordings[name]["text"], last.text) / len(words(recordings[name]["text"])) <= 0.06
    )
    assert (
        errors(last.text, whisper.create_utterance(ENGLISH).accept_audio(sound(name)).text) <= 6
    )  # all at once
    starts = [segment.start_s for segment in last.segments]
    assert starts == sorted(starts)
    # settled
    assert [s.text for s in hypotheses[2].segments[:3]] == [s.text for s in last.segments[:3]]


def test_noise_is_no_speech(whisper):
    hiss = np.random.default_rng(1).standard_normal(3 * SECOND).astype(np.float32)
    hum = np.sin(np.arange(3 * SECOND) * 2 * np.pi * 50 / SECOND).astype(np.float32)
    found = [
        whisper.create_utterance(ENGLISH).accept_audio(noise)
        for noise in (0.01 * hiss, 0.1 * hiss, 0.1 * hum)
    ]
    # on processors without VNNI the int8 weights find words in the first, and doubt them
    assert all(
        not one.text
        or probably_noise((part.no_speech_prob, part.avg_logprob) for part in one.segments)
        for one in found
    )


def test_a_recording_leaves_no_semaphore_behind(whisper, sound):
    """Processes exit without a clean-up, and Python would warn of it at each stop."""
    assert list(whisper.transcribe(sound("az-weather.flac"), ENGLISH))
    assert isinstance(tqdm.get_lock(), type(threading.RLock()))


@pytest.mark.parametrize(
    ("name", "language"), [("pv-de-cheetah.flac", "de"), ("az-zh-weather.flac", "zh")]
)
def test_language_is_detected(whisper, recordings, sound, name, language):
    result = whisper.create_utterance(ASROptions()).accept_audio(sound(name))
    assert result.language == language
    assert result.language_probability > 0.9
    assert recordings[name]["text"][:2] in result.text


def test_languages_are_checked(whisper, whisper_english, sound):
    with pytest.raises(EngineError, match=r"xx.*allowed.*de, .*en"):
        whisper.create_utterance(ASROptions(language="xx"))
    with pytest.raises(EngineError, match="translate"):
        whisper.create_utterance(ASROptions(task="dance"))
    result = whisper_english.create_utterance(
        ASROptions(language="de", task="translate")
    ).accept_audio(sound("kyutai-dog-or-cat.flac"))
    assert (words(result.text), result.language) == (words("should I get a dog or a cat"), "en")


def test_prompt_sets_the_spelling(whisper, sound):
    prompted = ASROptions(
        language="en", initial_prompt="RIVA-NLP, NATURAL LANGUAGE PROCESSING, SHOUTED."
    )
    assert (
        "NATURAL LANGUAGE PROCESSING"
        in whisper.create_utterance(prompted).accept_audio(sound("riva-nlp.flac")).text
    )


@pytest.mark.parametrize("ear", ["whisper", "whisper_english"], indirect=True)
def test_heard_together_is_what_each_would_hear(ear):
    (expected, pcm), (expected_then, pcm_then) = ear.clips
    begun = [ear.engine.create_utterance(ENGLISH) for _ in range(5)]
    timed = ear.engine.create_utterance(ASROptions(language="en", word_timestamps=True))
    begun[3].accept_audio(pcm)
    nothing = np.zeros(0, np.float32)
    jobs = [
        (begun[0], pcm, True),
        (begun[1], BAD_AUDIO["nan"], True),
        (begun[2], pcm_then, False),
        (begun[3], nothing, True),
        (timed, pcm, True),
        (begun[4], np.concatenate((pcm, pcm_then)), True),
    ]
    result = ear.engine.decode_batch(jobs)
    assert isinstance(result[1], EngineError)
    texts = [expected, "", expected_then, expected, expected, f"{expected} {expected_then}"]
    assert all(
        errors(text, one.text) == 0
        for text, one in zip(texts, result, strict=True)
        if not isinstance(one, EngineError)
    )
    assert result[4].segments[0].words
    assert [begun[0].finish(), begun[2].finish()] == [result[0], result[2]]


def test_what_is_not_final_is_decoded_behind():
    @dataclass
    class Named:
        name: str

        def encode(self, pcm: np.ndarray) -> int:
            return len(pcm)

        def decode(
            self, encoded: int, pcm: np.ndarray, language: str, options: ASROptions
        ) -> Decoded:
            return Decoded((Segment(0.0, 1.0, f"{self.name} {encoded // SECOND}"),))

    utterance = WhisperUtterance(Named("front"), ENGLISH, Named("behind"))  # type: ignore[arg-type]
    second = np.zeros(SECOND, np.float32)
    assert [utterance.accept_audio(second, final).text for final in (False, False, True)] == [
        "behind 1",
        "behind 2",
        "front 3",
    ]
    assert WhisperUtterance(Named("only"), ENGLISH).accept_audio(second, False).text == "only 1"  # type: ignore[arg-type]


@pytest.mark.skipif(
    sys.platform != "linux", reason="threads have priorities of their own on Linux only"
)
def test_partial_words_yield_the_processor_to_all_else(whisper):
    threads = [int(name) for name in os.listdir("/proc/self/task")]
    nicer = min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICE)  # the tests may be nice themselves
    assert nicer in [os.getpriority(os.PRIO_PROCESS, thread) for thread in threads]


def test_the_spectrogram_is_the_librarys(whisper, sound):
    extractor, clip = whisper._whisper.feature_extractor, sound("kyutai-dog-or-cat.flac")
    for pcm, frames in (
        (clip, 800),
        (clip, 100),
        (clip[:100], 402),
        (np.zeros(0, np.float32), 400),
        (clip * 0, 300),
    ):
        theirs = extractor(
            np.pad(pcm, (0, max(0, frames * 160 - len(pcm))))[: frames * 160], padding=0
        )[:, :frames]
        ours = log_mel(pcm, extractor.mel_filters, frames)
        assert (ours.shape, ours.dtype) == (theirs.shape, np.float32)
        assert np.abs(ours - theirs).max() < 1e-5


def test_fast_speech_has_room(whisper):
    """CTranslate2 generates half of `max_length`, or what the prompt leaves of it: what is less."""
    asked = []
    real = whisper._whisper.model

    class Model:
        def generate(self, encoded: Any, prompts: Any, **options: Any) -> Any:
            asked.append(min(options["max_length"] // 2, options["max_length"] - len(prompts[0])))
            return real.generate(encoded, prompts, **options)

    decoder = ShortContext(
        SimpleNamespace(model=Model(), hf_tokenizer=whisper._whisper.hf_tokenizer)
    )
    Model.is_multilingual = True  # type: ignore[attr-defined]
    pcm = np.zeros(10 * SECOND, np.float32)
    encoded = whisper._short.encode(pcm)
    for options in (ENGLISH, ASROptions(language="en", initial_prompt="so it goes " * 10)):
        decoder.decode(encoded, pcm, "en", options)
    assert asked == [most_tokens(10.0, "en")] * 2
    assert most_tokens(10.0, "ja") > most_tokens(10.0, "en") > 60


def test_missing_and_damaged_whisper(tmp_path):
    with pytest.raises(EngineError, match="ASR_MODEL"):
        load("asr", "faster-whisper", model=str(tmp_path))
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(EngineError, match="ASR_MODEL"):
        load("asr", "faster-whisper", model=str(tmp_path), device="cpu")


def test_tokens_become_parts():
    tokens = SimpleNamespace(timestamp_begin=1000, eot=900)
    at = lambda seconds: 1000 + round(seconds / 0.02)  # noqa: E731
    assert split([at(0), 1, 2, at(1), at(1.2), 3, at(2), at(2), 4], tokens, 5.0) == (
        [(0, 1, [1, 2]), (1.2, 2, [3]), (2, 5, [4])],
        2,
    )
    # what follows the end is invented
    assert split([at(0), 1, at(4.9), at(4.9), 2], tokens, 5.0)[0] == [(0, 4.9, [1])]
    assert shortened([(0, 1, [1, 2]), (1.2, 2, [3, 4])], 3, 1.5) == [
        (0, 1, [1, 2]),
        (1.2, 1.5, [3]),
    ]
