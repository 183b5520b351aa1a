"""A whole conversation with engines of another server: transcripts and speech of a second instance
of this one, answers of a scripted language model server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from client import Caller, spoken
from fake_audio_server import FakeAudioServer
from fake_llm_server import FakeLLMServer
from fake_voice_server import FakeVoiceServer
from running import SCRIPTED, Server

from whisperfusion.client import Failed, Notice, ReplyAudio, ReplyDone, ReplyText, Transcript
from whisperfusion.engines import ASROptions, decode_batch, load
from whisperfusion.engines.scripted import read_tones, tone_speech
from whisperfusion.errors import EngineError

KEY = "sesame"


@pytest.fixture(scope="module")
def remote() -> Iterator[Server]:
    server = Server(*SCRIPTED, f"--shared-secret={KEY}")
    try:
        yield server.wait_ready()
    finally:
        server.stop()


@pytest.fixture
def language_models() -> Iterator[FakeLLMServer]:
    server = FakeLLMServer(models=("small",))
    yield server
    server.stop()


def flags(remote: Server, language_models: FakeLLMServer) -> list[str]:
    """The end-of-turn model and the detector are this server's own, as always."""
    return [
        *("--vad-engine=scripted", "--turn-engine=scripted"),
        *(f"--{stage}-engine=openai" for stage in ("asr", "llm", "tts")),
        *(f"--{stage}-url={remote.http_url}" for stage in ("asr", "tts")),
        *(f"--{stage}-key={KEY}" for stage in ("asr", "tts")),
        f"--llm-url={language_models.url}",
    ]


async def test_a_conversation_with_all_three_engines_elsewhere(
    start_server, remote, language_models
):
    server = start_server(*flags(remote, language_models))
    async with Caller(server) as caller:
        await caller.speak(spoken("alpha beta gamma delta epsilon"), live=True)
        await caller.answered()
        assert caller.reply(1) == "You said alpha beta gamma delta epsilon."
        said = read_tones(caller.audio(1), 24_000).replace(" ", "")
        assert said == "yousaidalphabetagammadeltaepsilon."
        assert any("alpha" in one.text for one in caller.of(Transcript))
        await caller.send("say", text="forever")
        await caller.until(lambda: any(one.turn == 2 for one in caller.of(ReplyAudio)))
        await caller.speak(spoken("stop that please"), live=True)
        await caller.until(lambda: any("stop that please" in caller.reply(n) for n in (3, 4)))
    assert KEY not in server.log and "Traceback" not in server.log


async def test_servers_that_go_end_no_process(start_server, language_models):
    """A turn of speech ends; a reply is said by the embedded voice."""
    other = Server(*SCRIPTED, f"--shared-secret={KEY}").wait_ready()
    try:
        server = start_server(*flags(other, language_models))
        pids = {stage: server.pid(stage) for stage in ("asr", "tts")}
    finally:
        other.stop()
    for number in range(4):  # more failures in a row than a healthy engine has
        async with Caller(server) as caller:
            await caller.speak(spoken("alpha beta"))
            await caller.until(lambda c=caller: c.of(Failed))
            await caller.send("say", text="gamma")
            await caller.answered()
            (reason,) = [one.message for one in caller.of(Failed)]
            assert "ASR_URL" in reason
            notices = [one.text for one in caller.of(Notice) if "TTS_URL" in one.text]
            assert len(notices) == (number == 0)  # and never that it answers again
    assert {stage: server.pid(stage) for stage in ("asr", "tts")} == pids


async def test_a_request_that_stalls_holds_up_no_other_caller(start_server):
    other = FakeAudioServer()
    try:
        server = start_server(
            *("--vad-engine=scripted", "--turn-engine=scripted", "--llm-engine=scripted"),
            *("--asr-engine=openai", f"--asr-url={other.url}", "--asr-option=timeout_s=90"),
            *("--tts-engine=openai", f"--tts-url={other.url}", "--tts-option=timeout_s=90"),
        )
        other.how = "patient"
        async with Caller(server) as slow, Caller(server) as quick:
            await slow.speak(spoken("please wait"))
            assert await asyncio.to_thread(other.arrived.acquire, timeout=40)
            await quick.speak(spoken("alpha beta"))
            await quick.answered()
            assert not slow.of(ReplyText)
            other.release.set()
            await slow.answered()
            assert slow.reply(1) == "You said please wait. That is 2 words."
            other.release.clear()
            while other.arrived.acquire(blocking=False):
                pass
            await slow.send("say", text="please wait")
            assert await asyncio.to_thread(other.arrived.acquire, timeout=40)
            await quick.send("say", text="gamma")
            await quick.answered(2)
            assert len(slow.of(ReplyDone)) == 1
            other.release.set()
            await slow.answered(2)
    finally:
        other.stop()


def test_an_utterance_is_read_there_as_those_of_calls_are(remote):
    asr = load("asr", "openai", url=remote.http_url, key=KEY)
    assert asr.model == "tones"  # the server's own, found by its task
    words, english = tone_speech("alpha beta"), ASROptions("en")
    for final in (True, False):
        (found,) = decode_batch(asr, [(asr.create_utterance(english), words, final)])
        # a word whose end has not come yet counts in a recording only
        assert not isinstance(found, Exception) and found.text == "alpha"
    assert [one.text for one in asr.transcribe(words, english)] == ["alpha beta"]
    assert asr.create_utterance(ASROptions()).accept_audio(words).language == "en"
    with pytest.raises(EngineError, match="scripted recogniser"):
        asr.create_utterance(english).accept_audio(tone_speech("garble garble"))


async def test_a_conversation_over_the_sockets_of_deepgram_and_cartesia(start_server):
    """Whose key reaches whom, words in mid-utterance, a lost connection, and an interruption."""
    other = FakeVoiceServer()
    try:
        server = start_server(
            *("--vad-engine=scripted", "--turn-engine=scripted", "--llm-engine=scripted"),
            *("--asr-engine=deepgram", f"--asr-url={other.url}", "--tts-engine=cartesia"),
            *(f"--tts-url={other.url}", "--deepgram-api-key=dg-sesame"),
            "--cartesia-api-key=ca-sesame",
        )
        async with Caller(server) as caller:
            await caller.speak(spoken("alpha beta gamma delta epsilon"), live=True)
            await caller.answered()
            assert caller.reply(1) == "You said alpha beta gamma delta epsilon. That is 5 words."
            said = read_tones(caller.audio(1), 24_000).replace(" ", "")
            assert said == "yousaidalphabetagammadeltaepsilon.thatisfivewords."
            assert any("alpha" in one.text for one in caller.of(Transcript))
            other.how = "cut"  # within the next utterance, once
            await caller.speak(spoken("zeta eta"), live=True)
            await caller.answered(2)
            assert caller.reply(2).startswith("You said zeta eta.") and not caller.of(Failed)
            await caller.send("say", text="forever")
            await caller.until(lambda: any(one.turn == 3 for one in caller.of(ReplyAudio)))
            await caller.speak(spoken("stop that please"), live=True)
            await caller.until(lambda: any("stop that please" in caller.reply(n) for n in (4, 5)))
        assert set(other.keys) == {"Token dg-sesame", "Bearer ca-sesame"}
        assert "sesame" not in server.log and "Traceback" not in server.log
    finally:
        other.stop()
