"""/ws: the voice assistant's protocol, over the real processes with scripted engines."""

from __future__ import annotations

import asyncio
import io
import json

import httpx
import numpy as np
import pytest
from test_rest import speech_of, wav, words_in
from websockets.asyncio.client import connect

from whisperfusion.client import Event, Failed, ReplyAudio, ReplyDone, ReplyText, UserTurn
from whisperfusion.engines.scripted import read_tones, tone_speech
from whisperfusion.gateway.assistant.reply import SpokenReply
from whisperfusion.wire.openai_rest import ApiError

PATIENCE_S = 40.0


def ws(server, query: str = "") -> str:
    return server.http_url.replace("http", "ws", 1) + "/ws" + query


async def answer(socket) -> tuple[dict, bytes, dict]:
    """metadata, sound, and the last text."""
    metadata, sound = {}, b""
    while True:
        frame = await asyncio.wait_for(socket.recv(), PATIENCE_S)
        if isinstance(frame, bytes):
            sound += frame
            continue
        told = json.loads(frame)
        if told["type"] in ("audio_complete", "error"):
            return metadata, sound, told
        metadata = told if told["type"] == "metadata" else metadata


def raw(pcm: np.ndarray) -> bytes:
    return (pcm * 32767).astype("<i2").tobytes()


@pytest.mark.parametrize("sent", [raw(speech_of("alpha beta")), wav(speech_of("alpha beta"))])
async def test_a_question_in_chunks_and_its_answer(scripted_server, sent):
    async with connect(ws(scripted_server)) as socket:
        for turn in range(2):
            for start in range(0, len(sent), 4000):
                await socket.send(sent[start : start + 4000])
            await socket.send(json.dumps({"type": "end_stream"}))
            metadata, sound, told = await answer(socket)
            assert metadata["audio_info"] == {
                "format": "wav",
                "sample_rate": 24000,
                "channels": 1,
                "sample_width": 2,
            }, turn
            assert metadata["transcript"] == told["transcript"] == "alpha beta"
            assert told["reply"] == "You said alpha beta. That is 2 words." and told["size"] == len(
                sound
            )
            assert words_in(sound) == "you said alpha beta.that is 2 words."


async def test_other_rates_and_bare_samples(scripted_server):
    pcm = np.repeat(raw_48(speech_of("alpha")), 2)  # two channels
    async with connect(
        ws(scripted_server, "?format=raw&sample_rate=48000&channels=2&output=pcm")
    ) as socket:
        await socket.send(pcm.astype("<i2").tobytes())
        await socket.send('{"type": "end_stream"}')
        _, sound, told = await answer(socket)
    assert told["transcript"] == "alpha" and read_tones(
        np.frombuffer(sound, "<i2").astype(np.float32) / 32768, 24_000
    ).startswith("you said alpha")


def raw_48(pcm: np.ndarray) -> np.ndarray:
    at = np.arange(len(pcm) * 3) / 3
    return (np.interp(at, np.arange(len(pcm)), pcm) * 32767).astype(np.int16)


async def test_silence_is_an_error_and_never_a_wait(scripted_server):
    async with connect(ws(scripted_server)) as socket:
        for sent in (raw(np.zeros(16_000, np.float32)), b""):
            await socket.send(sent)
            await socket.send('{"type": "end_stream"}')
            assert (await answer(socket))[2]["code"] == "no_speech"
        await socket.send('{"type": "ping"}')
        assert json.loads(await socket.recv()) == {"type": "pong"}
        await socket.send(raw(speech_of("alpha")))
        await socket.send('{"type": "end_stream"}')
        assert (await answer(socket))[2]["transcript"] == "alpha"


async def test_sound_in_the_middle_of_an_answer_interrupts_it(scripted_server):
    async with connect(ws(scripted_server)) as socket:
        await socket.send(raw(speech_of("forever")))
        await socket.send('{"type": "end_stream"}')
        while not isinstance(await asyncio.wait_for(socket.recv(), PATIENCE_S), bytes):
            continue
        await socket.send(raw(speech_of("alpha")))
        await socket.send('{"type": "end_stream"}')
        assert (await answer(socket))[2] == {"type": "audio_complete", "interrupted": True}
        told = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))
        # nothing of the first answer was heard, so the second question goes on with the first, and
        # so would its answer for ever
        assert (told["type"], told["transcript"]) == ("metadata", "alpha")


@pytest.mark.parametrize(
    "query", ["?format=mp7", "?sample_rate=5", "?channels=99", "?channels=x", "?output=opera"]
)
async def test_an_address_that_cannot_be_read(scripted_server, query):
    async with connect(ws(scripted_server, query)) as socket:
        await socket.send(b"\0\0")
        told = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))
        assert told["type"] == "error" and told["code"] == "invalid_value"


@pytest.mark.parametrize("frame", ["{", "[]", "5", '{"type": 5}', '{"type": "sing"}', "[" * 50_000])
async def test_text_that_means_nothing(scripted_server, frame):
    async with connect(ws(scripted_server)) as socket:
        await socket.send(frame)
        await socket.send('{"type": "ping"}')
        told = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))
        assert (
            told == {"type": "pong"}
            or told["type"] == "error"
            and json.loads(await socket.recv()) == {"type": "pong"}
        )


@pytest.mark.parametrize(
    "file", [b"RIFF" + b"\xff" * 300, b"OggS" + b"\0" * 300, b"ID3" + b"\xff" * 300, b"fLaC\0\0"]
)
async def test_a_broken_file(scripted_server, file):
    async with connect(ws(scripted_server)) as socket:
        await socket.send(file)
        await socket.send('{"type": "end_stream"}')
        told = (await answer(socket))[2]
        assert told["type"] == "error" and "audio file" in told["message"]


async def test_a_whisperlive_client_that_was_given_this_path(scripted_server):
    async with connect(ws(scripted_server)) as socket:
        await socket.send(
            json.dumps(
                {
                    "uid": "chrome",
                    "language": "en",
                    "task": "transcribe",
                    "model": "small",
                    "use_vad": True,
                }
            )
        )
        assert (
            json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))["message"]
            == "SERVER_READY"
        )
        await socket.send(speech_of("alpha beta").tobytes())
        await socket.send("END_OF_AUDIO")
        texts = [json.loads(frame)["segments"][-1]["text"].strip() async for frame in socket]
        assert texts[-1] == "alpha beta"


def test_a_wav_that_is_whole_has_its_sizes():
    import wave

    from whisperfusion.gateway.media import wav_header

    with wave.open(io.BytesIO(wav_header(24_000, 480) + bytes(480))) as file:
        assert (file.getnframes(), file.getframerate()) == (240, 24_000)


# --- which events are the answer's --------------------------------------------------------------


class Told:
    """A call with these events."""

    def __init__(self, *events: Event) -> None:
        self._events = list(events)

    async def receive(self) -> Event:
        return self._events.pop(0)


async def test_the_rest_of_an_interrupted_answer_is_not_in_the_next_one():
    old = [ReplyAudio(1, b"old"), ReplyText(1, 0, "Old.", True), ReplyDone(1)]
    own = [UserTurn(2, "alpha"), ReplyAudio(2, b"a"), ReplyText(2, 0, "You said alpha.", True)]
    call, found = Told(*old, *own, *old, ReplyAudio(2, b"b"), ReplyDone(2)), SpokenReply(after=1)
    audio = b"".join([part async for part in found.audio(call)])
    assert audio == b"ab" and found.transcript == "alpha" and found.text == "You said alpha."


def test_pieces_that_a_later_one_makes_void_are_not_in_the_answer():
    found = SpokenReply()
    for event in (
        UserTurn(1, "hi"),
        ReplyText(1, 0, "Hm,", False),
        ReplyText(1, 1, "Hi!", True, afresh=True),
    ):
        found.receive(event)
    assert found.text == "Hi!"


def test_a_turn_that_fails_before_its_words_are_known_ends_the_answer():
    found = SpokenReply(after=1)
    found.receive(Failed("asr_failed", "the recognizer failed", 1))  # of the one before
    with pytest.raises(ApiError, match="the recognizer failed"):
        found.receive(Failed("asr_failed", "the recognizer failed", 2))


async def test_interact_answers_a_blip_of_a_tenth_of_a_second(scripted_server):
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        blip = wav(tone_speech("ab")[:1566])
        answer = await client.post(
            f"{scripted_server.http_url}/interact", files={"file": ("a.wav", blip)}
        )
    assert answer.status_code in (200, 400)
