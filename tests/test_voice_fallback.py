"""A voice when the voice is down: the embedded one answers for a voice that runs elsewhere, within
a sentence of which nothing was heard, else from the next one on; the real processes, and voices
that are ended on purpose.

The scripted voice speaks tones, and the embedded one says the same text always in the same way, so
it is known who said what, to the sample.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from client import Caller
from engine_checks import eventually
from running import SCRIPTED, Server

from whisperfusion.audio import SPEECH_RATE
from whisperfusion.client import Failed, Notice
from whisperfusion.engines import gains_of_voices
from whisperfusion.engines.chain.breaker import LONGEST_REST_S
from whisperfusion.engines.scripted import ScriptedTTS, tone_speech
from whisperfusion.errors import EngineError, EngineLost, Unsayable
from whisperfusion.messages import Ticket
from whisperfusion.output.events import AudioMade, SentenceMade, SentenceRestarted, Synthesize
from whisperfusion.settings import Settings
from whisperfusion.synthesis.fillers import FillerJob
from whisperfusion.synthesis.listeners import Listener
from whisperfusion.synthesis.synthesizer import FillerEnded, Synthesizer
from whisperfusion.synthesis.texts import TextAudio, TextJob, TextPartEnded
from whisperfusion.synthesis.voice import Voice
from whisperfusion.synthesis.voices import Voices
from whisperfusion.text.normalization import spoken
from whisperfusion.wire.tts_socket import Name

PYTHON = f"python={sys.executable}"
INSTEAD, AGAIN = "the embedded voice answers instead", "scripted answers again"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Its voice is in a process of its own, and slower than real time."""
    running = Server(*SCRIPTED, f"--tts-option={PYTHON},delay_s=0.25")
    try:
        yield running.wait_ready()
    finally:
        running.stop()


@pytest.fixture
def embedded(hibari) -> Callable[[str], np.ndarray]:
    voice = Voice(hibari, gains_of_voices("hibari"))
    return lambda text: np.concatenate([*voice.synthesize(spoken(text, "en"))])


def tones(text: str) -> np.ndarray:
    return tone_speech(text, SPEECH_RATE)


def notices(caller: Caller) -> list[str]:
    return [one.text for one in caller.of(Notice)]


def pid_of_the_voice(server: Server) -> int:
    return int(re.findall(r"scripted in .* runs on Python .*\(process (\d+)\)", server.log)[-1])


async def asks(caller: Caller, text: str) -> None:
    await caller.send("say", text=text)


async def test_a_reply_whose_voice_is_killed_is_said_on_by_the_embedded_one(server, embedded):
    first, second = "You said alpha beta.", "That is 2 words."
    async with Caller(server) as caller, Caller(server) as other:
        await asks(caller, "alpha beta")
        await caller.until(lambda: len(caller.audio(1)) > 0)
        os.kill(pid_of_the_voice(server), signal.SIGKILL)
        await caller.answered(1)
        audio = caller.audio(1)
        # nothing is said twice: of a sentence that began no more is heard, and the next one is
        # whole, by the embedded voice or by its own, which may be back by then
        same = np.abs(audio[: len(tones(first))] - tones(first)[: len(audio)]) < 1e-3
        heard = len(same) if same.all() else int(same.argmin()) // 240 * 240
        assert 0 < heard < len(tones(first))
        rest = [embedded(second), tones(second)]
        assert any(len(one) == len(audio) - heard for one in rest)
        (again,) = [one for one in rest if len(one) == len(audio) - heard]
        np.testing.assert_allclose(audio[heard:], again, atol=1e-4)
        assert not caller.of(Failed)
        # everybody is told, when it begins and when it ends
        for one in (caller, other):
            await one.until(lambda one=one: any(AGAIN in text for text in notices(one)))
            (began,) = [text for text in notices(one) if INSTEAD in text]
            assert began == f"scripted ended and is being started again; {INSTEAD}"
        await asks(caller, "gamma")
        await caller.answered(2)
        both = np.concatenate((tones("You said gamma."), tones("That is 1 word.")))
        np.testing.assert_allclose(caller.audio(2), both, atol=1e-4)
    assert server.health()[0] == 200


async def test_a_sentence_whose_voice_loses_the_gpu_is_said_by_the_embedded_one(server, embedded):
    said = {"role": "assistant", "text": "Do not lose the gpu."}
    async with Caller(server, history=[said]) as caller:
        await asks(caller, "recall")
        await caller.answered(1)
        assert caller.reply(1) == "I said: Do not lose the gpu."
        again = embedded("I said: Do not lose the gpu.")
        np.testing.assert_allclose(caller.audio(1), again, atol=1e-4)
        assert not caller.of(Failed)
        await caller.until(lambda: any(AGAIN in text for text in notices(caller)))
    assert "CUDA error" in server.log


async def test_a_voice_that_takes_long_to_load_again_is_stood_in_for(start_server, embedded):
    server = start_server(*SCRIPTED, f"--tts-option={PYTHON},load_s=4")

    async def speaks(engine: str, *names: str) -> None:
        def told() -> bool:
            stage = server.health()[1]["stages"]["tts"]
            return (stage["state"], stage["engine"], stage["voices"]) == ("ready", engine, [*names])

        await asyncio.to_thread(server.wait_for, told)

    await speaks("scripted", "tone", "soft")
    before = pid_of_the_voice(server)
    async with Caller(server, audio=False) as caller:
        os.kill(server.pid("tts"), signal.SIGKILL)
        await asyncio.to_thread(server.wait_for, lambda: pid_of_the_voice(server) != before)
        os.kill(pid_of_the_voice(server), signal.SIGSTOP)  # it loads for as long as is needed
        await caller.until(lambda: any(INSTEAD in text for text in notices(caller)))
        await speaks("hibari")
        assert server.health()[1]["stages"]["tts"]["note"] == (
            f"scripted is being loaded; {INSTEAD}"
        )
        async with Caller(server, voice="anybody") as meanwhile:  # a name that may be right
            await asks(meanwhile, "alpha")
            await meanwhile.answered()
            said = embedded("You said alpha."), embedded("That is 1 word.")
            np.testing.assert_allclose(meanwhile.audio(1), np.concatenate(said), atol=1e-4)
        os.kill(pid_of_the_voice(server), signal.SIGCONT)
        await caller.until(lambda: any(AGAIN in text for text in notices(caller)))
    await speaks("scripted", "tone", "soft")


def test_a_voice_that_cannot_be_loaded_ends_the_first_start():
    server = Server(*SCRIPTED, "--tts-option=python=/no/such/python")
    assert server.process.wait(timeout=60) == 1
    server.stop()
    assert "python=/no/such/python is not a program that can be run" in server.log


# --- without processes of ours ------------------------------------------------------------------


class Failing(ScriptedTTS):
    """Raises what a test gives it, where the scripted voice would begin to speak."""

    def __init__(self, error: Exception | None = None, language: str | None = None) -> None:
        super().__init__()
        self.error, self.language = error, language

    def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> Any:
        yield from super().synthesize(text, voice, speed)
        if self.error is not None:
            raise self.error


def voices_of(
    engine: Failing, told: list[str], clock: Callable[[], float] = time.monotonic
) -> Voices:
    """As if `engine` ran elsewhere, and were up."""
    chosen = Settings(tts_engine="scripted", tts_option=PYTHON)
    made = Voices(chosen, lambda notice: told.append(notice.text), clock)
    assert made.loading.result(60) is None
    made.chosen.engine.close()
    made.chosen = Voice(engine, gains_of_voices("scripted"))
    return made


def test_a_voice_that_fails_while_it_is_up_is_left_alone_for_a_while() -> None:
    told: list[str] = []
    error = EngineError("the card is full")
    voices = voices_of(Failing(error), told, lambda: 0.0)  # however long hibari takes to load
    failed = voices.active
    instead = voices.fall_back(failed, error)
    assert instead is not None and instead.engine.model == "hibari"
    assert voices.active is instead and voices.spoken_instead == 2
    assert told == [f"scripted failed (the card is full); {INSTEAD}"]
    assert voices.fall_back(instead, error) is None  # behind it there is none
    voices.spoke(instead)
    assert not voices.watch() and len(told) == 1


def test_no_embedded_voice_reads_out_another_language() -> None:
    told: list[str] = []
    error = EngineError("the card is full")
    engine = Failing(error, "en")
    engine.voice_languages = {"tone": "en", "soft": "es"}
    voices = voices_of(engine, told, lambda: 0.0)
    assert voices.fall_back(voices.speaker("soft"), error, "soft") is None and not told
    instead = voices.fall_back(voices.speaker(None), error, "tone")
    assert instead is not None and instead.engine.model == "hibari"
    assert voices.speaker("tone") is instead and voices.speaker("soft").engine is engine
    assert voices.speaker("soft").readable("Привет, a¿b", "soft") == (", a¿b", "Привет,")


def test_sentences_texts_and_fillers_are_said_by_the_embedded_voice(embedded) -> None:
    made: list[Any] = []
    told: list[str] = []
    now = 0.0
    voice = Failing(EngineError("the card is full"))
    voices = voices_of(voice, told, lambda: now)
    synthesizer = Synthesizer(voices, made.append)
    listener = Listener("ann", None, Name(), "1.1.1.1")  # type: ignore[arg-type]
    text = TextJob(listener, 1, "Alpha beta.", None, 1.0)

    def ended(kind: type, job: Callable[[], object]) -> list[Any]:
        """What was made of a job, up to its end."""
        nonlocal now
        now += LONGEST_REST_S  # so that the failing voice is asked first
        made.clear()
        job()
        eventually(lambda: any(isinstance(one, kind) for one in made))
        return list(made)

    def sound(kind: type, reports: list[Any]) -> np.ndarray:
        return np.concatenate([one.audio for one in reports if isinstance(one, kind)])

    synthesizer.worker.start()
    both = np.concatenate((tones("Alpha beta."), embedded("Alpha beta.")))
    wanted = Synthesize(Ticket("a", 1), 0, "Alpha beta.", True, True)
    reports = ended(SentenceMade, lambda: synthesizer.put_sentence(wanted, None, 1.0))
    np.testing.assert_array_equal(sound(AudioMade, reports), both)
    (again,) = [at for at, one in enumerate(reports) if isinstance(one, SentenceRestarted)]
    np.testing.assert_array_equal(sound(AudioMade, reports[again:]), embedded("Alpha beta."))
    # of a text what was made has left, and is not said again
    reports = ended(TextPartEnded, lambda: synthesizer.put_text(text))
    np.testing.assert_array_equal(sound(TextAudio, reports), tones("Alpha beta."))
    eventually(lambda: synthesizer.worker.busy_since() is None)
    np.testing.assert_array_equal(sound(TextAudio, made), tones("Alpha beta."))
    filler = FillerJob("One moment.", "soft", 1.0)
    reports = ended(FillerEnded, lambda: synthesizer.put_filler(filler))
    np.testing.assert_array_equal(sound(FillerEnded, reports), embedded("One moment."))
    voice.error = None
    reports = ended(TextPartEnded, lambda: synthesizer.put_text(text))
    np.testing.assert_array_equal(sound(TextAudio, reports), tones("Alpha beta."))
    eventually(lambda: (voices.watch(), told[1:])[1] == [AGAIN])
    synthesizer.worker.stop()
    assert voices.spoken_instead == 3


def test_a_voice_that_failed_is_back_when_it_has_spoken_and_not_before() -> None:
    told: list[str] = []
    now = 0.0
    error = EngineError("the server does not answer")
    voices = voices_of(Failing(error), told, lambda: now)
    chosen = voices.active
    for _ in range(3):  # it is tried again each time, and callers are told once
        assert voices.active is chosen
        assert voices.fall_back(chosen, error) is voices.active is not chosen
        now += LONGEST_REST_S
    assert [INSTEAD in text for text in told] == [True]
    voices.spoke(chosen)
    assert voices.watch() and told[1:] == [AGAIN]


@pytest.mark.parametrize(
    ("error", "language"),
    [
        (Unsayable("not this text"), None),
        (EngineLost("not in this process"), None),
        (MemoryError(), None),
        (EngineError("no Polish today"), "pl"),  # which the embedded voice cannot say
    ],
)
def test_what_the_embedded_voice_does_not_mend(error: Exception, language: str | None) -> None:
    told: list[str] = []
    voices = voices_of(Failing(error, language), told)
    failed = voices.active
    assert voices.fall_back(failed, error) is None
    assert voices.active is failed and told == []


def test_a_voice_of_another_language_lives_and_dies_with_this_process() -> None:
    for language in ("en", "pl"):  # without a GPU it can be built in neither
        chosen = Settings(tts_engine="whisperspeech", tts_option=f"language={language}")
        try:
            refused = Voices(chosen, lambda notice: None).loading.result(60)
        except EngineError:
            assert language == "pl"
        else:
            assert language == "en" and isinstance(refused, EngineError)


def test_a_voice_in_this_process_has_none_behind_it() -> None:
    voices = Voices(Settings(tts_engine="scripted"), lambda notice: None)
    failed = voices.active
    assert voices.fall_back(failed, EngineError("told to fail")) is None
    assert voices.active is failed
