"""The Wyoming port: the published client of Home Assistant, and what strangers send, over the
real processes with scripted engines.
"""

from __future__ import annotations

import asyncio
import json
import socket

import numpy as np
import pytest
from test_rest import speech_of
from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeVoice,
)

from whisperfusion.engines.scripted import read_tones, tone_speech

PATIENCE_S = 40.0


@pytest.fixture(scope="module")
def port(scripted_server):
    return scripted_server.wyoming_port


def client(port: int) -> AsyncClient:
    return AsyncClient.from_uri(f"tcp://127.0.0.1:{port}")


async def until(client: AsyncClient, kind: str) -> list:
    """Events up to the first of `kind`, that included."""
    found = []
    while True:
        event = await asyncio.wait_for(client.read_event(), PATIENCE_S)
        assert event is not None, [one.type for one in found]
        found.append(event)
        if event.type == kind:
            return found


async def test_it_tells_what_is_here(port):
    async with client(port) as peer:
        await peer.write_event(Describe().event())
        info = Info.from_event((await until(peer, "info"))[-1])
        assert info.asr[0].models[0].languages and [voice.name for voice in info.tts[0].voices] == [
            "tone",
            "soft",
        ]
        assert (
            info.tts[0].supports_synthesize_streaming and info.asr[0].supports_transcript_streaming
        )
        await peer.write_event(Ping(text="hello").event())
        assert Pong.from_event((await until(peer, "pong"))[-1]).text == "hello"


@pytest.mark.parametrize("rate", [16_000, 48_000])
async def test_a_recording_becomes_its_transcript(port, rate):
    pcm = speech_of("alpha beta")
    if rate != 16_000:
        pcm = np.interp(np.arange(len(pcm) * 3) / 3, np.arange(len(pcm)), pcm)
    data = (pcm * 32767).astype("<i2").tobytes()
    async with client(port) as peer:
        for _ in range(2):  # several requests on one connection
            await peer.write_event(Transcribe(language="en").event())
            await peer.write_event(AudioStart(rate=rate, width=2, channels=1).event())
            for start in range(0, len(data), 2048):
                await peer.write_event(
                    AudioChunk(
                        rate=rate, width=2, channels=1, audio=data[start : start + 2048]
                    ).event()
                )
            await peer.write_event(AudioStop().event())
            assert Transcript.from_event((await until(peer, "transcript"))[-1]).text == "alpha beta"
        await until(peer, "transcript-stop")
        await peer.write_event(AudioStart(rate=rate, width=2, channels=1).event())
        await peer.write_event(
            AudioChunk(rate=rate, width=2, channels=1, audio=bytes(rate)).event()
        )
        await peer.write_event(AudioStop().event())
        assert Transcript.from_event((await until(peer, "transcript"))[-1]).text == ""


@pytest.mark.parametrize("rest", [0, 1, 511])
async def test_the_last_word_needs_no_silence_after_it(port, rest):
    """`rest`: samples that fill no window of the detector."""
    speech = tone_speech("alpha beta")
    pcm = np.concatenate([np.zeros(rest - len(speech) % 512 + 4096, np.float32), speech])
    async with client(port) as peer:
        data = (pcm * 32767).astype("<i2").tobytes()
        await peer.write_event(AudioChunk(rate=16_000, width=2, channels=1, audio=data).event())
        await peer.write_event(AudioStop().event())
        assert Transcript.from_event((await until(peer, "transcript"))[-1]).text == "alpha beta"


async def test_words_come_while_they_are_spoken(port):
    pcm = speech_of("one two three four five six seven eight nine ten eleven twelve")
    async with client(port) as peer:
        await peer.write_event(AudioStart(rate=16_000, width=2, channels=1).event())
        for start in range(0, len(pcm), 1600):
            data = (pcm[start : start + 1600] * 32767).astype("<i2").tobytes()
            await peer.write_event(AudioChunk(rate=16_000, width=2, channels=1, audio=data).event())
            await asyncio.sleep(0.1)
        # no event has marked the end yet
        first = await asyncio.wait_for(peer.read_event(), PATIENCE_S)
        assert TranscriptStart.is_type(first.type)
        await peer.write_event(AudioStop().event())
        events = await until(peer, "transcript-stop")
    chunks = [
        TranscriptChunk.from_event(event).text
        for event in events
        if TranscriptChunk.is_type(event.type)
    ]
    assert len(chunks) > 1 and TranscriptStop.is_type(events[-1].type)
    assert "".join(chunks) == Transcript.from_event(events[-2]).text


def words(events: list) -> str:
    data = b"".join(
        AudioChunk.from_event(event).audio for event in events if event.type == "audio-chunk"
    )
    return read_tones(np.frombuffer(data, "<i2").astype(np.float32) / 32768, 24_000)


async def test_a_text_becomes_sound(port):
    async with client(port) as peer:
        await peer.write_event(
            Synthesize(text="alpha beta.", voice=SynthesizeVoice(name="soft")).event()
        )
        events = await until(peer, "audio-stop")
    assert AudioStart.from_event(events[0]).rate == 24_000 and words(events) == "alpha beta."


async def test_a_text_that_comes_in_pieces_is_said_once(port):
    async with client(port) as peer:
        await peer.write_event(SynthesizeStart().event())
        for piece in ("alpha beta gamma ", "delta one. two", " three four five. six"):
            await peer.write_event(SynthesizeChunk(text=piece).event())
        await peer.write_event(
            Synthesize(text="alpha beta gamma delta one. two three four five. six").event()
        )  # repeated for older servers
        await peer.write_event(SynthesizeStop().event())
        events = await until(peer, "synthesize-stopped")
    assert words(events) == "alpha beta gamma delta one.two three four five.six"  # a sentence each
    assert [event.type for event in events].count("audio-start") == 1 and events[
        -2
    ].type == "audio-stop"


BAD = [
    b"hello\n",
    b"{\n",
    b"[]\n",
    b"5\n",
    b"{}\n",
    b'{"type": 5}\n',
    b'{"type": "ping", "data_length": -1}\n',
    b'{"type": "ping", "data_length": "x"}\n',
    b'{"type": "audio-chunk", "payload_length": 99999999999}\n',
    b'{"type": "audio-chunk", "payload_length": true}\n',
    b"\xff\xfe\n",
    b"x" * 200_000 + b"\n",
    b'{"type": "ping", "data_length": 3}\n[1]',
    b'{"type": "ping", "data_length": 4}\n{{{{',
    b"[" * 30_000 + b"\n",
    b'{"type": "ping", "data": 5}\n',
]


@pytest.mark.parametrize("sent", BAD, ids=range(len(BAD)))
async def test_what_is_no_message_ends_the_connection_with_a_reason(port, sent):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    told = await asyncio.wait_for(reader.read(), PATIENCE_S)
    assert b'"error"' in told and b"Traceback" not in told
    writer.close()
    await test_a_text_becomes_sound(port)


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ({"type": "audio-start", "data": {"rate": 5, "width": 2, "channels": 1}}, "rate"),
        ({"type": "audio-start", "data": {"rate": 16000, "width": 4, "channels": 1}}, "width"),
        ({"type": "audio-start", "data": {"rate": "x"}}, "rate"),
        ({"type": "synthesize", "data": {}}, "text"),
        ({"type": "synthesize", "data": {"text": 5}}, "text"),
        ({"type": "synthesize", "data": {"text": "x" * 5000}}, "4096"),
        ({"type": "synthesize", "data": {"text": "unspeakable"}}, "told to fail"),
        ({"type": "synthesize-chunk", "data": {"text": []}}, "text"),
    ],
)
async def test_a_request_that_cannot_be_is_refused_and_the_connection_goes_on(port, event, says):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(json.dumps(event).encode() + b"\n" + b'{"type": "ping"}\n')
    told = b""
    while b"pong" not in told:
        part = await asyncio.wait_for(reader.read(65536), PATIENCE_S)
        assert part, told
        told += part
    assert b'"error"' in told and says.encode() in told
    writer.close()


async def test_unknown_messages_are_ignored_and_a_cut_connection_hurts_nobody(port):
    _reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b'{"type": "dance"}\n{"type": "audio-chunk", "payload_length": 1000}\n' + bytes(10)
    )
    writer.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
    )
    writer.close()
    await test_it_tells_what_is_here(port)
