"""Calls that show every frame of docs/wire.md, each a coroutine that fills a `Transcript`.

Nothing here knows the package.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import numpy as np
from golden import Tape, Transcript, refused, silence, tones
from golden_calls import (
    QUESTION,
    asked,
    call,
    captions,
    cough,
    interrupted,
    talk,
    typed,
    unpaced,
    unsayable,
)
from running import Server

# --- 6006: what is refused -----------------------------------------------------------------------

BAD_FRAMES = (
    "{",
    "[1]",
    '{"type": 5}',
    '{"type": "say"}',
    '{"type": "say", "text": ""}',
    '{"type": "update", "voice": "donald"}',
    '{"type": "update", "speed": 9}',
    '{"type": "update", "language": "klingon"}',
    '{"type": "commit"}',
    '{"type": "heard", "turn": "x"}',
    '{"type": "result", "id": ""}',
    '{"type": "history", "lines": [{"role": "nobody", "text": "x"}]}',
    '{"type": "respond", "id": "r", "max_tokens": 0}',
    '{"type": "respond", "id": "r", "tools": [{"type": "x"}]}',
    '{"type": "update", "turn_detection": "perhaps"}',
    '{"type": "update", "silence": -5}',
)
BAD_HANDSHAKES: tuple[str | bytes, ...] = (
    "this is not JSON",
    "[]",
    "{}",
    '{"uid": 7}',
    b"\0\0\0\0",
    '{"uid": "g", "events": "yes"}',
    '{"uid": "g", "audio_format": "mp3"}',
    '{"uid": "g", "events": true, "task": "sing"}',
    '{"uid": "g", "model": "nonsense-huge"}',
    '{"uid": "g", "language": "klingon"}',
    '{"uid": "g", "events": true, "voice": "donald"}',
    '{"uid": "g", "events": true, "speed": 3}',
    '{"uid": "g", "events": true, "history": [{"role": "nobody", "text": "x"}]}',
    '{"uid": "g", "events": true, "tools": 5}',
    '{"uid": "g", "events": true, "max_tokens": 5000}',
    '{"uid": "g", "events": true, "silence": 11}',
)


async def bad_frames(to: Transcript, server: Server) -> None:
    async with call(to, server, "bad-frames") as (words, _):
        for number, frame in enumerate(BAD_FRAMES, 1):
            await words.send(frame)
            await words.got("error", number)
        await words.sound(np.concatenate((silence(0.3), tones("alpha beta"))))
        await words.got("speech_started")
        await words.send({"type": "respond", "id": "too soon"})
        await words.got("error", len(BAD_FRAMES) + 1)


async def failed_turns(to: Transcript, server: Server) -> None:
    """Each stage fails one turn, and says so."""
    async with call(to, server, "failed") as (words, _):
        for number, text in enumerate(("explode", "unspeakable"), 1):
            await words.send({"type": "say", "text": text})
            await words.got("error", number)
            await words.send({"type": "interrupt"})
    async with call(to, server, "failed-words") as (words, _):
        await words.sound(np.concatenate((silence(0.3), tones("garble"), silence(2.0))))
        await words.got("error")


async def bad_handshakes(to: Transcript, server: Server) -> None:
    for first in BAD_HANDSHAKES:
        async with Tape(to, "6006", server.asr_url) as words:
            await words.send(first)
            await words.got("close")
    async with call(to, server, "twice"), Tape(to, "6006", server.asr_url) as words:
        await words.send({"uid": "golden-twice"})
        await words.got("close")


# --- the other dialects of 6006 ------------------------------------------------------------------


async def whisper_live(to: Transcript, server: Server) -> None:
    async with Tape(to, "6006", server.asr_url) as words:
        await words.send(
            {
                "uid": "golden-live",
                "language": None,
                "task": "transcribe",
                "model": "small",
                "use_vad": True,
                "send_last_n_segments": 2,
                "word_timestamps": True,
            }
        )
        await words.got("SERVER_READY")
        await words.send("text that nobody asked for")
        await words.got("WARNING")
        for text in (QUESTION, "and once more the same from the start until it ends"):
            await words.speak(text)
        await words.until(
            lambda: (
                [one["completed"] for one in words.of("segments")[-1]["segments"]] == [True, True]
            )
        )
        await words.sound(np.concatenate((tones("garble"), silence(2.0))))
        await words.got("WARNING", 2)
        await words.send(b"END_OF_AUDIO")
        await words.got("close")


async def page(to: Transcript, server: Server) -> None:
    """WhisperFusion's: one segment at a time, whole replies, sound for a nameless listener."""
    async with Tape(to, "8888", server.tts_url) as sound, Tape(to, "6006", server.asr_url) as words:
        await words.send(
            {"uid": "golden-page", "multilingual": False, "language": "en", "task": "transcribe"}
        )
        await words.got("SERVER_READY")
        await words.speak(QUESTION)
        await words.got("llm_output")
        await sound.until(lambda: sound.sound_bytes > 0)
        to.got("8888", "sound", f"{sound.sound_bytes} bytes, at most {sound.largest} at once")
        await words.send("text that nobody asked for")
        await words.got("WARNING")
        await words.speak("explode and say so again and again until somebody hears it")
        await words.got("llm_output", 2)


async def recording(to: Transcript, server: Server) -> None:
    """A whole recording: its language, its segments, what went wrong."""
    pcm = np.concatenate(
        (silence(0.3), tones("alpha beta"), silence(1.0), tones("gamma"), silence(0.5))
    )
    handshakes: tuple[dict[str, Any], ...] = (
        {
            "language": None,
            "word_timestamps": True,
            "initial_prompt": "Names:",
            "hotwords": "alpha",
            "temperature": 0.2,
        },
        {"language": "en", "task": "translate"},
        {"language": None, "task": "detect"},
        {"language": "en"},
    )
    for handshake in handshakes:
        async with Tape(to, "6006", server.asr_url) as words:
            await words.send({"uid": "golden-file", "file": True, **handshake})
            await words.got("SERVER_READY")
            await words.sound(pcm if len(handshake) > 1 else tones("garble"))
            await words.send("END_OF_AUDIO")
            await words.got("close")


# --- 8888 ----------------------------------------------------------------------------------------


async def say(to: Transcript, server: Server) -> None:
    """Texts to be said, in both formats, and what cannot be said."""
    async with Tape(to, "8888", server.tts_url) as sound:
        await sound.send(
            {"type": "say", "text": "alpha beta. gamma", "voice": "soft", "speed": 1, "id": 7}
        )
        await sound.got("said")
        to.got("8888", "sound", f"{sound.sound_bytes} bytes, at most {sound.largest} at once")
        for number, frame in enumerate(
            (
                "{",
                '{"type": 1}',
                '{"type": "say", "id": "empty"}',
                '{"type": "say", "text": "a", "speed": 9}',
                '{"type": "say", "text": "a", "voice": "donald", "id": "voice"}',
                '{"uid": 7}',
                '{"type": "say", "text": "unspeakable", "id": "unspeakable"}',
            ),
            1,
        ):
            await sound.send(frame)
            await sound.got("error", number)
        await sound.send({"type": "nothing that anybody knows"})
    async with Tape(to, "8888", f"{server.tts_url}/?format=int16") as sound:
        await sound.send({"type": "say", "text": "alpha"})
        await sound.got("said")
        to.got("8888", "sound", f"{sound.sound_bytes} bytes, at most {sound.largest} at once")


async def busy(to: Transcript, server: Server) -> None:
    """More texts than may wait."""
    async with Tape(to, "8888", server.tts_url) as sound:
        for _ in range(20):
            await sound.send({"type": "say", "text": "a" * 4000})
        await sound.got("error")


async def listeners(to: Transcript, server: Server) -> None:
    """Who may not listen."""
    for query in ("?uid=golden-two", "?events=perhaps", "?format=mp3", f"?uid={'x' * 300}"):
        async with (
            Tape(to, "8888", f"{server.tts_url}/?uid=golden-two"),
            Tape(to, "8888", f"{server.tts_url}/{query}") as sound,
        ):
            await sound.got("close")
    async with call(to, server, "secret") as (words, sound):
        async with Tape(to, "8888", server.tts_url) as other:
            await other.send({"uid": "golden-secret", "listen_secret": "wrong"})
            await other.got("close")
        async with Tape(
            to, "8888", f"{server.tts_url}/?listen_secret={words.frames[0]['listen_secret']}"
        ):
            await sound.got("close")


async def doors(to: Transcript, server: Server) -> None:
    """Upgrades that are refused."""
    for port, url in (("6006", server.asr_url), ("8888", server.tts_url)):
        await refused(to, port, url, origin="https://evil.example")
        await refused(to, port, url, additional_headers={"Host": "evil.example"})


# --- servers of their own ------------------------------------------------------------------------


async def limits(to: Transcript, server: Server) -> None:
    """A server with a key, one place and four seconds a call."""
    for port, url in (("6006", server.asr_url), ("8888", server.tts_url)):
        await refused(to, port, url)
        await refused(to, port, f"{url}/?token=wrong")
    async with Tape(to, "6006", f"{server.asr_url}/?token=sesame") as first:
        await first.send({"uid": "golden-first"})
        await first.got("SERVER_READY")
        async with Tape(
            to, "6006", server.asr_url, additional_headers={"Authorization": "Bearer sesame"}
        ) as second:
            await second.send({"uid": "golden-second"})
            await second.got("close")
        await first.got("close")


async def stages(to: Transcript, server: Server) -> None:
    """The language model's process dies under a call; a line is typed meanwhile."""
    async with call(to, server, "stages") as (words, _):
        os.kill(server.pid("llm"), signal.SIGKILL)
        await words.got("stage", name="llm", state="down")
        await words.send({"type": "say", "text": "alpha"})
        await words.got("waiting")
        await words.got("thinking")
        await words.got("spoken", last=True)
        await words.got("stage", name="llm", state="ready")


SHARED: dict[
    Any, dict[str, tuple[str, ...]]
] = {  # on the server that all tests share -> what a `Transcript` keeps
    talk: {"also": ("interim caption",)},
    typed: {},
    asked: {},
    interrupted: {"only": ("interrupted", "clear")},
    cough: {"only": ("hold", "resume")},
    unpaced: {},
    captions: {},
    unsayable: {"only": ("notice",)},
    bad_frames: {"only": ("error",)},
    failed_turns: {"only": ("error",)},
    bad_handshakes: {"only": ("ERROR", "close")},
    whisper_live: {},
    page: {},
    recording: {},
    say: {},
    busy: {"only": ("error",)},
    listeners: {"only": ("error", "close")},
    doors: {},
}
OWN = {  # on one with these flags
    limits: ("--shared-secret=sesame", "--max-callers=1", "--max-call-s=4"),
    stages: ("--llm-option=delay_s=0.2",),
}
KEPT = {**SHARED, limits: {}, stages: {"only": ("stage", "waiting", "thinking")}}


async def settled(server: Server) -> None:
    """Until a call is told that all processes are ready: main.py knew it first."""
    while True:
        async with Tape(Transcript(), "6006", f"{server.asr_url}/?token=sesame") as words:
            await words.send({"uid": "golden-settled", "events": True, "reply": False})
            await words.got("SERVER_READY")
            if all(stage["state"] == "ready" for stage in words.frames[0]["stages"].values()):
                return


async def played(servers: dict[Any, Server]) -> dict[str, list[str] | BaseException]:
    """All of them at the same time: name -> lines of the transcript, or what went wrong."""
    await asyncio.gather(*map(settled, set(servers.values())))
    transcripts = {scenario: Transcript(**kept) for scenario, kept in KEPT.items()}
    ends = await asyncio.gather(
        *(one(transcripts[one], servers[one]) for one in KEPT), return_exceptions=True
    )
    return {
        one.__name__: end or transcripts[one].lines() for one, end in zip(KEPT, ends, strict=True)
    }
