"""A stage that fails goes on with less, and says so: the speech detector without its model, turns
without the end-of-turn model, captions by a smaller recognizer, words in the default language.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from client import Caller, spoken
from engine_checks import SECOND
from running import SCRIPTED, Server
from test_files import read

from whisperfusion.audio import VAD_WINDOW
from whisperfusion.call.detectors import Detector, load_turn_model
from whisperfusion.client import Failed, Notice
from whisperfusion.engines import ASROptions, EngineError
from whisperfusion.engines.loudness import SPEECH, LoudnessStream
from whisperfusion.engines.scripted import ScriptedASR, tone_speech
from whisperfusion.engines.whisper.utterance import Decoded, WhisperUtterance
from whisperfusion.errors import EngineLost, GaveWay
from whisperfusion.models.store import smaller_asrs
from whisperfusion.settings import Settings

SHRILL = np.full(VAD_WINDOW, 0.95, np.float32)  # at which the scripted detector fails


def notices(caller: Caller, part: str) -> list[str]:
    return [one.text for one in caller.of(Notice) if part in one.text]


def others(*stages: str) -> list[str]:
    """Flags of scripted engines, but for `stages`."""
    return [flag for flag in SCRIPTED if not any(f"--{one}-" in flag for one in stages)]


def note(server: Server) -> str:
    return str(server.health()[1]["stages"]["asr"]["note"])


async def is_answered(server: Server) -> None:
    async with Caller(server) as caller:
        await caller.speak(spoken("alpha beta"))
        await caller.answered()
        assert caller.reply(1) == "You said alpha beta. That is 2 words."
        assert not caller.of(Failed)


@pytest.fixture
def cache(tmp_path, stored) -> Any:
    """A cache of models, of which those that a test names are damaged, at their full size."""

    def made(damaged: dict[str, str], whole: dict[str, str]) -> Path:
        for name, kind in {**damaged, **whole}.items():
            path = Path(stored(name, kind))
            folder = path if path.is_dir() else path.parent
            (tmp_path / folder.name).mkdir()
            for file in folder.iterdir():
                new = tmp_path / folder.name / file.name
                if name in damaged and file.suffix in (".bin", ".onnx"):
                    with new.open("wb") as out:
                        out.truncate(file.stat().st_size)
                else:
                    new.symlink_to(file)
        return tmp_path

    return made


# --- the speech detector ------------------------------------------------------------------------


async def test_a_detector_that_fails_in_a_call_is_replaced_by_loudness(start_server):
    server = start_server(*SCRIPTED)
    async with Caller(server) as caller:
        await caller.speak(np.concatenate((np.zeros(SECOND, np.float32), SHRILL)))
        await caller.until(lambda: notices(caller, "loudness decides instead"))
        # a sound without words, and then a turn as always
        await caller.speak(spoken("alpha beta"))
        await caller.answered()
        assert caller.reply(1) == "You said alpha beta. That is 2 words."
        assert not caller.of(Failed)
    await is_answered(server)  # another call has the detector
    assert len([line for line in server.lines if "loudness decides" in line]) == 1
    assert "loudness decides" in note(server) and "Traceback" not in server.log


async def test_a_start_without_a_detector_is_told_and_serves(start_server, tmp_path):
    package = tmp_path / "faster_whisper"  # which should carry the model
    package.mkdir()
    (package / "__init__.py").touch()
    server = start_server(*others("vad"), PYTHONPATH=str(tmp_path))
    await is_answered(server)
    assert "loudness decides instead" in note(server) and "faster-whisper" in note(server)


def test_an_engine_that_is_not_known_is_a_mistake_and_ends_the_start() -> None:
    for settings in (Settings(vad_engine="ears"), Settings(turn_engine="ears")):
        with pytest.raises(EngineError, match="ears"):
            Detector(settings, print)
            load_turn_model(settings, print)


def test_a_window_that_is_none_is_no_failure_of_the_detector(caplog) -> None:
    told: list[str] = []
    detector = Detector(Settings(vad_engine="scripted"), told.append)
    stream = detector.create_stream()
    for bad in (np.zeros(7, np.float32), np.full(VAD_WINDOW, np.nan, np.float32)):
        with pytest.raises(EngineError):
            stream.probability(bad)
    assert not told and stream.probability(np.zeros(VAD_WINDOW, np.float32)) < 0.5
    for _ in range(2):
        assert stream.probability(SHRILL) == SPEECH
    assert len(caplog.records) == 1  # it was not asked again
    stream.reset()
    assert stream.probability(np.zeros(VAD_WINDOW, np.float32)) < 0.5 and len(told) == 1
    assert detector.create_stream().probability(SHRILL) == SPEECH and len(told) == 1


def test_speech_stands_out_of_a_noise_that_stays() -> None:
    chance = np.random.default_rng(1)
    stream = LoudnessStream()

    def heard(level: float, windows: int) -> list[bool]:
        made = chance.normal(0, level, (windows, VAD_WINDOW)).astype(np.float32)
        return [stream.probability(window) > 0.5 for window in made]

    assert not any(heard(0.001, 50))
    assert all(heard(0.1, 20))  # speech
    assert not any(heard(0.001, 20))
    assert heard(0.02, 300)[0] and not any(heard(0.02, 50))  # a fan is switched on, and stays
    assert all(heard(0.2, 20))


# --- the end-of-turn model ----------------------------------------------------------------------


async def test_a_start_without_an_end_of_turn_model_is_told_and_serves(start_server, cache):
    folder = cache({"smart-turn": "turn"}, {})
    server = start_server(*others("turn"), f"--model-cache-dir={folder}")
    await is_answered(server)
    assert "the end-of-turn model cannot be used" in note(server)
    assert "silence decides" in note(server)


async def test_an_end_of_turn_model_that_fails_again_and_again_is_no_longer_asked(start_server):
    server = start_server(*SCRIPTED)
    before = server.pid("asr")
    for _ in range(4):  # more failures in a row than a healthy engine has
        async with Caller(server) as caller:
            await caller.speak(spoken("riddle"))
            await caller.answered()
            assert caller.reply(1) == "You said riddle. That is 1 word."
    assert "the end-of-turn model failed" in note(server) and "silence decides" in note(server)
    assert server.pid("asr") == before
    failures = [line for line in server.lines if "told to fail" in line and "a job of" in line]
    assert len(failures) == 3


# --- the recognizer -----------------------------------------------------------------------------


def test_a_model_that_cannot_be_loaded_gives_way_to_a_smaller_one(start_server, cache):
    folder = cache({"whisper-base": "asr"}, {"whisper-tiny.en": "asr"})
    server = start_server(*others("asr"), "--asr-model=whisper-base", f"--model-cache-dir={folder}")
    stage = server.health()[1]["stages"]["asr"]
    assert stage["state"] == "ready" and stage["model"] == "whisper-tiny.en"
    assert "whisper-tiny.en transcribes instead" in stage["note"]


def test_a_model_that_cannot_be_fetched_gives_way_too(start_server, cache):
    folder = cache({}, {"whisper-tiny.en": "asr"})
    server = start_server(
        *others("asr"),
        "--asr-model=whisper-base",
        f"--model-cache-dir={folder}",
        "--model-sources=hub",
        HF_ENDPOINT="http://127.0.0.1:1",
    )
    assert server.health()[1]["stages"]["asr"]["model"] == "whisper-tiny.en"
    assert "whisper-tiny.en transcribes instead" in note(server)


def test_only_a_model_that_can_stand_in_does(cache):
    folder = str(cache({}, {"whisper-tiny.en": "asr"}))
    english = Settings(model_cache_dir=folder, asr_model="whisper-base")
    assert smaller_asrs(english) == ["whisper-tiny.en"]
    german = Settings(model_cache_dir=folder, asr_model="whisper-base", asr_language="de")
    assert smaller_asrs(german) == []
    assert smaller_asrs(Settings(model_cache_dir=folder, asr_model="whisper-tiny.en")) == []


# --- the language -------------------------------------------------------------------------------


async def test_a_recording_whose_language_cannot_be_detected_is_read_in_the_default_one(
    start_server,
):
    server = start_server(*SCRIPTED, "--asr-language=German")
    found = await read(server, {"language": "auto"}, tone_speech("babel alpha"))
    kinds = {one["type"]: one for one in found}
    assert [one["type"] for one in found] == ["language", "segment", "done"]
    assert (kinds["language"]["language"], kinds["done"]["language_probability"]) == ("de", 0.0)
    assert kinds["segment"]["text"] == "babel alpha"
    # a client that only asks for the language gets no invented one
    found = await read(server, {"language": "auto", "task": "detect"}, tone_speech("babel alpha"))
    assert "could not be detected" in str(found)


class NoLanguage:
    """A decoder of Whisper's kind that cannot tell languages."""

    def __init__(self, error: Exception) -> None:
        self.error, self.asked = error, 0

    def encode(self, pcm: np.ndarray) -> Any:
        return pcm

    def language_probabilities(self, encoded: Any) -> dict[str, float]:
        self.asked += 1
        raise self.error

    def decode(self, encoded: Any, pcm: Any, language: str, options: ASROptions) -> Decoded:
        return Decoded(tuple(ScriptedASR().transcribe(pcm, options)))


def test_an_utterance_whose_language_cannot_be_detected_keeps_its_words() -> None:
    decoder = NoLanguage(ValueError("no such head"))
    utterance = WhisperUtterance(decoder, ASROptions(default_language="de"))
    for _ in range(2):
        found = utterance.accept_audio(tone_speech("alpha beta "))
        assert (found.language, found.language_probability) == ("de", 0.0)
        assert found.language_assumed and found.text.startswith("alpha beta")
    assert decoder.asked == 1
    for error in (EngineLost("the GPU"), GaveWay("a final one")):
        with pytest.raises(type(error)):
            WhisperUtterance(NoLanguage(error), ASROptions()).accept_audio(tone_speech("alpha"))


async def test_a_caller_is_told_once_that_a_language_is_assumed(start_server):
    server = start_server(*SCRIPTED)
    async with Caller(server, language="auto") as caller:
        for count in (1, 2):
            await caller.speak(spoken("babel alpha"))
            await caller.answered(count)
        assert notices(caller, "language") == ["your language could not be detected; en is assumed"]
