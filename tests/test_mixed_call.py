"""A call that switches its language twice, from the microphone to the voice: the real processes
with scripted engines, the English voice, and a second one of another engine beside it.
"""

from __future__ import annotations

import pytest
from client import Caller, spoken
from running import SCRIPTED, Server
from test_realtime import Client
from test_realtime import spoken as spoken_to_realtime

from whisperfusion.client import Notice, UserTurn
from whisperfusion.engines.scripted import read_tones


@pytest.fixture(scope="module")
def server():
    scripted = [flag for flag in SCRIPTED if not flag.startswith("--tts")]
    voices = "--tts-voice=en:heart, es:scripted/soft, fr:scripted/tone"
    running = Server(*scripted, "--asr-language=en,es,fr,de", voices)
    yield running.wait_ready()
    running.stop()


async def turn(call: Caller, text: str) -> tuple[str, str, str]:
    """Its language, its reply, and what is read from the tones of its voice."""
    count = len(call.of(UserTurn)) + 1
    await call.speak(spoken(text), live=True)
    await call.answered(count)
    told = call.of(UserTurn)[-1]
    return told.language, call.reply(told.turn), read_tones(call.audio(told.turn), 24_000)


async def test_a_mixed_call_switches_twice(server) -> None:
    async with Caller(server) as call:
        language, reply, tones = await turn(call, "alpha beta")
        assert (language, reply) == ("en", "You said alpha beta. That is 2 words.")
        assert not tones.startswith("you said")  # by the English voice
        language, reply, tones = await turn(call, "spanish alpha")
        assert language == "es" and reply.endswith("I was told: Responde en español.")
        assert tones.startswith("you said spanish alpha.")
        language, _, tones = await turn(call, "gamma delta")  # nothing says that it is another
        assert language == "es" and tones.startswith("you said gamma delta.")
        language, reply, tones = await turn(call, "english again")
        assert language == "en" and reply.endswith("I was told: Answer in English.")
        assert not tones.startswith("you said")
        assert not call.of(Notice)


async def test_a_client_fixes_the_language_in_mid_call_and_hears_that_no_voice_speaks_it(
    server,
) -> None:
    async with Caller(server) as call:
        await call.send("update", language="de")
        for text in ("alpha beta", "spanish gamma"):
            language, reply, tones = await turn(call, text)
            assert language == "de" and reply.endswith("I was told: Antworte auf Deutsch.")
            assert not tones.startswith("you said")
        (notice,) = call.of(Notice)  # once for each language
        assert "no voice speaks German" in notice.text
        await call.send("update", language="fr")
        assert (await turn(call, "alpha"))[2].startswith("you said alpha.")


async def test_what_is_typed_changes_the_language_too(server) -> None:
    async with Caller(server, audio=False) as call:
        await call.send("say", text="¿Qué tiempo hace mañana?")
        await call.answered()
        assert call.of(UserTurn)[-1].language == "es"
        assert call.reply(1).endswith("I was told: Responde en español.")
        await call.send("say", text="ok")
        await call.answered(2)
        assert call.of(UserTurn)[-1].language == "es"
        await call.send("say", text="Please tell me about the weather")
        await call.answered(3)
        assert call.of(UserTurn)[-1].language == "en"


async def test_a_realtime_session_changes_the_language_of_its_input(server) -> None:
    def language(code: str) -> dict:
        return {"input": {"transcription": {"model": "whisper-1", "language": code}}}

    async with Client(server) as client:
        for count, (code, told) in enumerate(
            (("en", "2 words."), ("es", "I was told: Responde en español."), ("en", "in English.")),
            1,
        ):
            await client.update(audio=language(code))
            await client.speak(spoken_to_realtime("alpha beta"))
            await client.until("response.done", count)
            said = client.of("response.output_audio_transcript.done")[-1]["transcript"]
            assert said.endswith(told), (code, said)
