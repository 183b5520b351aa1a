"""Calls with events, each a coroutine that fills a `Transcript`: see golden_scenarios.py.

Nothing here knows the package.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from golden import RATE, Tape, Transcript, silence, tones
from running import Server

QUESTION = "alpha beta gamma delta one two three four five six seven eight"
LONG = f"{QUESTION} nine ten and then all of it once more from the start"
LOOK = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Looks.",
        "parameters": {"type": "object", "properties": {}},
    },
}
CYRILLIC = [
    {"role": "assistant", "text": text}
    for text in ("Good day to all of you.", "Привет мир привет мир")
]


@asynccontextmanager
async def call(
    to: Transcript, server: Server, name: str, **handshake: Any
) -> AsyncIterator[tuple[Tape, Tape]]:
    """Both sockets of a caller with events: (words, sound)."""
    uid = f"golden-{name}"
    async with (
        Tape(to, "8888", f"{server.tts_url}/?uid={uid}&events=1") as sound,
        Tape(to, "6006", server.asr_url) as words,
    ):
        await words.send({"uid": uid, "events": True, **handshake})
        await words.got("SERVER_READY")
        yield words, sound


async def ask(words: Tape, text: str) -> None:
    """A typed line, and its answer to the end."""
    done = len(words.of("spoken", last=True))
    await words.send({"type": "say", "text": text})
    await words.got("spoken", done + 1, last=True)


# --- 6006 with events, and its listener ----------------------------------------------------------


async def talk(to: Transcript, server: Server) -> None:
    """A spoken question and its answer; the listener shows the secret, END_OF_AUDIO ends it."""
    async with call(to, server, "talk") as (words, sound):
        secret = words.frames[0]["listen_secret"]
        await sound.send(
            {"uid": "golden-talk", "listen_secret": secret, "events": True, "format": "int16"}
        )
        await words.speak(QUESTION)
        await words.got("spoken", last=True)
        await sound.got("end")
        to.got("8888", "sound", f"{sound.sound_bytes} bytes, at most {sound.largest} at once")
        await words.send("END_OF_AUDIO")
        await words.got("close")


async def typed(to: Transcript, server: Server) -> None:
    """Typed lines, playback told by the client, a history of its own, an update, unknown frames."""
    lines = [{"role": "user", "text": "hi"}, {"role": "assistant", "text": "Good day."}]
    async with call(
        to, server, "typed", history=lines, voice="tone", speed=1.0, instructions="Be nice."
    ) as (words, sound):
        await ask(words, "recall")
        await words.send({"type": "heard", "turn": 1, "seconds": 0.3})
        await words.got("heard")
        await words.send(
            {"type": "history", "lines": [{"role": "system", "text": "Be brief."}, *lines]}
        )
        await words.send(
            {
                "type": "update",
                "instructions": "",
                "voice": "soft",
                "speed": 1.0,
                "language": None,
                "turn_detection": "auto",
                "eagerness": 0.5,
                "silence": None,
                "answers": "auto",
                "interruptible": True,
                "tools": [],
                "tool_choice": "auto",
                "max_tokens": None,
            }
        )
        await ask(words, "recall")
        await words.send({"type": "nothing that anybody knows"})
        await ask(words, 'alpha \u00e9 \U0001f600 "quoted"')
        await sound.got("end", 3)


async def asked(to: Transcript, server: Server) -> None:
    """Answers on request only: a function and its result, a short answer; and what is cleared."""
    options = {
        "answers": "asked",
        "turn_detection": "manual",
        "tools": [LOOK],
        "tool_choice": "auto",
        "silence": 0.5,
        "max_tokens": 200,
    }
    async with call(to, server, "asked", **options) as (words, _):
        await words.sound(np.concatenate((silence(0.3), tones("use the thing"), silence(0.6))))
        await words.got("speech_stopped")
        await words.send({"type": "commit"})
        await words.got("turn")
        await words.send({"type": "respond", "id": "first", "tool_choice": "auto", "tools": [LOOK]})
        await words.got("call")
        await words.got("spoken", last=True)
        await words.send({"type": "result", "id": "call_1", "output": "it rains"})
        await words.send({"type": "respond", "id": "second", "instructions": "Be rude."})
        await words.got("spoken", 2, last=True)
        await words.send(
            {"type": "history", "lines": [{"role": "user", "text": "one two three four"}]}
        )
        await words.send({"type": "respond", "id": "third", "max_tokens": 3, "tools": []})
        await words.got("spoken", 3, last=True)
        # too little for an interim transcript before it is cleared: that would name its beginning
        no_interest = np.concatenate((silence(0.3), tones("of no interest"), silence(1.0)))
        begun = int(0.5 * RATE)
        await words.sound(no_interest[:begun])
        await words.got("speech_started", 2)
        await words.send({"type": "clear"})
        await words.sound(no_interest[begun:])
        await words.got("speech_stopped", 2)


async def interrupted(to: Transcript, server: Server) -> None:
    """By a button, after half a second of the answer."""
    async with call(to, server, "interrupted") as (words, sound):
        await words.send({"type": "say", "text": LONG})
        await words.got("spoken")
        await words.send({"type": "heard", "turn": 1, "seconds": 0.5})
        await words.send({"type": "interrupt"})
        await words.got("interrupted")
        await sound.got("clear")


async def cough(to: Transcript, server: Server) -> None:
    """A sound without words over an answer: it stops, and goes on."""
    async with call(to, server, "cough") as (words, sound):
        await words.send({"type": "say", "text": LONG})
        await words.got("spoken")
        noise = 0.3 * np.sin(2 * np.pi * 7000 * np.arange(RATE // 2) / RATE)
        await words.live(np.concatenate((silence(0.3), noise.astype(np.float32), silence(1.0))))
        await sound.got("resume")


async def unpaced(to: Transcript, server: Server) -> None:
    async with call(to, server, "unpaced", paced=False, interruptible=False) as (words, sound):
        await ask(words, "alpha")
        await sound.got("end")
        to.got("8888", "sound", f"{sound.sound_bytes} bytes")


async def captions(to: Transcript, server: Server) -> None:
    """Nobody answers: captions only, in another format."""
    async with Tape(to, "6006", server.asr_url) as words:
        await words.send(
            {
                "uid": "golden-captions",
                "events": True,
                "reply": False,
                "audio_format": "int16",
                "language": "english",
                "task": "transcribe",
                "eagerness": 1,
            }
        )
        await words.got("SERVER_READY")
        await words.send(
            (np.concatenate((silence(0.3), tones("alpha beta"), silence(2.0))) * 32767)
            .astype("<i2")
            .tobytes()
        )
        await words.got("turn")
        await words.send({"type": "respond", "id": "nobody"})
        await words.send(b"END_OF_AUDIO")
        await words.got("close")


async def unsayable(to: Transcript, server: Server) -> None:
    """The voice has no sound for a piece of the answer."""
    async with call(to, server, "unsayable", history=CYRILLIC) as (words, _):
        await ask(words, "recall")
        await words.got("notice")
