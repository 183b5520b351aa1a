"""TTS_CHAIN: voices in their order, over the real processes and over engines of a script."""

from __future__ import annotations

import asyncio
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from client import Caller
from fake_voice_server import FakeVoiceServer
from running import Server

from whisperfusion.audio import SPEECH_RATE
from whisperfusion.client import Failed, Notice
from whisperfusion.engines import gains_of_voices
from whisperfusion.engines.chain.breaker import LONGEST_REST_S
from whisperfusion.engines.scripted import ScriptedTTS, read_tones, tone_speech
from whisperfusion.errors import EngineError
from whisperfusion.settings import Settings
from whisperfusion.synthesis.voice import Voice
from whisperfusion.synthesis.voices import Voices

KEY = "sesame-cartesia"
OTHERS = [f"--{stage}-engine=scripted" for stage in ("asr", "vad", "turn", "llm")]


@pytest.fixture
def cartesia() -> Iterator[FakeVoiceServer]:
    server = FakeVoiceServer()
    yield server
    server.stop()


def flags(cartesia: FakeVoiceServer, chain: str = ", scripted:soft") -> list[str]:
    first = f"--tts-chain=cartesia@{cartesia.url}:bob-2?key=home{chain}"
    return [*OTHERS, first, f"--llm-keys=home={KEY}"]


def loud(audio: np.ndarray) -> bool:
    """Whether Cartesia said it; the scripted voice "soft" is quieter."""
    return bool(np.abs(audio).max() > 0.2)


def said(audio: np.ndarray) -> str:
    """Without spaces: there is none between sentences."""
    return read_tones(audio, SPEECH_RATE).replace(" ", "")


async def test_a_reply_goes_on_whatever_becomes_of_the_first_voice(start_server, cartesia):
    server = start_server(*flags(cartesia))
    async with Caller(server) as caller:
        await caller.send("say", text="alpha")
        await caller.answered()
        # it speaks English, and gets numbers in words
        assert said(caller.audio(1)) == "yousaidalpha.thatisoneword." and loud(caller.audio(1))
        assert cartesia.asked[-1]["voice"] == {"mode": "id", "id": "bob-2"}
        # before its first sound: within the sentence
        cartesia.how = "error"
        await caller.send("say", text="beta")
        await caller.answered(2)
        assert said(caller.audio(2)) == "yousaidbeta.thatis1word."
        assert not loud(caller.audio(2)) and not caller.of(Failed)
        told = [one.text for one in caller.of(Notice) if "instead" in one.text]
        assert len(told) == 1 and told[0].endswith("; scripted answers instead")
        assert told[0].startswith("cartesia failed (the Cartesia server at ")
    counted = re.compile(r'tts_link_answers_total\{.*link="scripted".*\} [1-9]')
    await asyncio.to_thread(server.wait_for, lambda: counted.search(read_metrics(server)))
    assert KEY not in server.log and set(cartesia.keys) == {f"Bearer {KEY}"}


async def test_of_a_sentence_that_began_nothing_is_said_twice(start_server, cartesia):
    server = start_server(*flags(cartesia))
    cartesia.how = "silent"  # nothing more after the first 0.2 s, which are heard meanwhile
    async with Caller(server) as caller:
        await caller.send("say", text="alpha beta gamma")
        await caller.answered()
        audio, piece = caller.audio(1), SPEECH_RATE // 5
        np.testing.assert_allclose(
            audio[:piece], tone_speech("You said alpha beta gamma.", SPEECH_RATE)[:piece], atol=1e-3
        )
        assert said(audio[piece:]) == "thatis3words." and not loud(audio[piece:])
        assert not caller.of(Failed)


async def test_a_start_without_the_first_voice_is_told_and_speaks(start_server, cartesia):
    cartesia.how = "credit"
    server = start_server(*flags(cartesia))
    async with Caller(server) as caller:
        await caller.send("say", text="alpha")
        await caller.answered()
        assert said(caller.audio(1)) == "yousaidalpha.thatis1word." and not loud(caller.audio(1))
    note = server.health()[1]["stages"]["tts"]["note"]
    assert "refused (402): No credits" in note and "scripted answers instead" in note


def test_a_chain_that_cannot_be_read_ends_the_start(cartesia):
    server = Server(*flags(cartesia, ", nobody/knows"))
    assert server.process.wait(timeout=60) == 1
    server.stop()
    assert "TTS_CHAIN names 'nobody'" in server.log and "hibari" in server.log


def read_metrics(server: Server) -> str:
    with urllib.request.urlopen(f"{server.http_url}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


# --- without processes --------------------------------------------------------------------------


class Failing(ScriptedTTS):
    """Raises what a test gives it, and has a rate of its own."""

    def __init__(self, error: Exception | None = None, rate: int = 16_000) -> None:
        super().__init__()
        self.error, self.sample_rate = error, rate

    def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> Any:
        if self.error is not None:
            raise self.error
        yield from super().synthesize(text, voice, speed)


def voices_of(
    *engines: Failing, told: list[str], clock: Callable[[], float] = time.monotonic
) -> Voices:
    names = ("scripted", "hibari", "piper")[: len(engines)]
    chain = ", ".join(names)
    made = Voices(
        Settings(tts_chain=chain, tts_option="language=xx"),
        lambda notice: told.append(notice.text),
        clock,
    )
    for link, engine in zip(made._links, engines, strict=True):
        link.voice = Voice(engine, gains_of_voices("scripted"))
    return made


def test_links_follow_each_other_in_their_order_and_the_first_comes_back() -> None:
    now, told = 0.0, []
    error = EngineError("no sound today")
    voices = voices_of(Failing(), Failing(), Failing(), told=told, clock=lambda: now)
    first, second, third = (link.voice for link in voices._links)
    assert voices.active is first
    assert voices.fall_back(first, error) is second
    assert voices.fall_back(second, error) is third and voices.active is third
    assert voices.fall_back(third, error) is None
    assert told == ["scripted failed (no sound today); hibari answers instead"]
    assert voices.spoken_instead == 3
    now += LONGEST_REST_S
    assert voices.active is first and voices.active is second  # one job tries it
    voices.spoke(first)
    assert voices.watch() and told[1:] == ["scripted answers again"]
    assert [one.value for one in voices.counted() if one.name == "tts_link_answers_total"] == [
        1.0,
        0.0,
        0.0,
    ]


def test_links_of_any_rate_give_one() -> None:
    voices = voices_of(Failing(rate=16_000), Failing(rate=22_050), told=[])
    for link in voices._links:
        pcm = np.concatenate([*link.voice.synthesize("alpha beta")])
        assert len(pcm) == pytest.approx(len(tone_speech("alpha beta", SPEECH_RATE)), abs=200)
