"""Text to speech on any server with OpenAI's `audio/speech`: vLLM-Omni, Kokoro-FastAPI, Speaches,
LocalAI, Groq, OpenAI, another WhisperFusion.

Sound is asked for as raw samples and played as it comes, from the body of the answer or from
events. What a server calls streaming differs, so it is asked in every way at once, and what it
refuses is left out.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import numpy as np

from whisperfusion.audio import SPEECH_RATE, Samples
from whisperfusion.engines.remote.audio_server import ANSWER_S, LOAD_S, RefusedOptions, model_name
from whisperfusion.engines.remote.http_stream import Refused, message_in, openai_server
from whisperfusion.engines.remote.sound import SoundReader
from whisperfusion.errors import EngineError, Unsayable

TASK, USUAL_MODEL = "text-to-speech", "tts-1"
USUAL_VOICE = "alloy"  # which most servers know, whatever their own names
EVENTS = "text/event-stream"
TEXTS = ("application/json", "application/problem+json", "text/html", "text/plain")
FIRST_TEXT = "Ready."

log = logging.getLogger(__name__)


class OpenAITTS:
    """`url` as clients call it (ending in /v1); `model` None = the one that the server lists;
    `voice` None = the first that it lists.

    `stream_format` is "audio", or "sse" for a server that streams only events; `sample_rate` is
    that of raw samples, asked for and believed; `timeout_s` is the longest wait for the first sound
    and between two pieces.
    """

    sample_rate, language = SPEECH_RATE, None

    def __init__(
        self,
        *,
        model: str | None = None,
        voice: str | None = None,
        url: str | None = None,
        key: str | None = None,
        stream_format: str = "audio",
        sample_rate: int = SPEECH_RATE,
        timeout_s: float = ANSWER_S,
    ) -> None:
        self._http = openai_server(url, key, "text to speech", "TTS")
        self.device = self._http.url
        self.model, _ = model_name(self._http, model, TASK, USUAL_MODEL, "TTS")
        self._rate, self._stream_format = sample_rate, stream_format
        self._timeout_s = timeout_s
        self._refused = RefusedOptions(
            ("stream_format", "stream", "sample_rate", "speed"), {"response_format": "wav"}
        )
        listed = voices_in(self._http.get("/audio/voices"))
        if voice and listed and voice not in listed:
            log.warning("%s is not in the server's list of voices, and is tried", voice)
        first = voice or next(iter(listed), USUAL_VOICE)
        self.voices = (first, *(name for name in listed if name != first))
        # so that wrong settings end the start, and no caller waits for a model to load
        for _ in self._spoken(FIRST_TEXT, first, 1.0, LOAD_S):
            pass

    def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> Iterator[Samples]:
        voice = voice or self.voices[0]
        if voice not in self.voices:
            raise EngineError(f"no voice {voice!r}; available: {', '.join(self.voices)}")
        text = text.encode("utf-8", "replace").decode().replace("\0", " ")
        if any(sign.isalnum() for sign in text):
            yield from self._spoken(text, voice, speed, self._timeout_s)

    def _spoken(self, text: str, voice: str, speed: float, timeout_s: float) -> Iterator[Samples]:
        fields = {
            "model": self.model,
            "input": text,
            "voice": voice,
            "response_format": "pcm",
            "stream_format": self._stream_format,
            "stream": True,
            "sample_rate": self._rate,
            **({"speed": speed} if speed != 1.0 else {}),
        }
        nothing_yet: Samples = np.zeros(0, np.float32)
        while True:
            sent = self._refused.fitted(fields)
            try:
                yield from self._http.pieces(partial(self._read, sent, timeout_s), nothing_yet)
                return
            except Refused as refusal:  # before the first sound
                if self._refused.learn(refusal, sent):
                    continue
                error = refusal.body.get("error") if isinstance(refusal.body, dict) else None
                if isinstance(error, dict) and error.get("code") == "unsayable":
                    raise Unsayable(message_in(refusal.body)) from refusal
                raise

    # --- on the event loop of the requests -------------------------------------------------------

    async def _read(self, fields: dict[str, Any], timeout_s: float) -> AsyncIterator[Samples]:
        timeout = self._http.timeout(timeout_s)
        begun = False
        try:
            async with self._http.opened("/audio/speech", json=fields, timeout=timeout) as answer:
                begun, reader = True, SoundReader(self._rate)
                kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
                if kind in TEXTS:
                    await answer.aread()
                    raise EngineError(not_sound(kind, answer.text))
                if kind == EVENTS:
                    async for data in _sounds(answer):
                        reader.restart()
                        yield reader.feed(data)
                else:
                    async for data in answer.aiter_bytes():
                        yield reader.feed(data)
                yield reader.rest()
        except self._http.errors as error:
            raise self._http.trouble(error, begun) from error


async def _sounds(answer: Any) -> AsyncIterator[bytes]:
    """The bytes of an answer in events. EngineError for one that ends without saying so."""
    from httpx_sse import EventSource

    async for event in EventSource(answer).aiter_sse():
        if event.data == "[DONE]":
            return
        try:
            found = json.loads(event.data)
            if found.get("error") or found.get("type") == "error":
                raise EngineError(f"the text to speech server broke off: {message_in(found)}")
            if found.get("type", event.event) == "speech.audio.done":
                return
            if found.get("audio"):
                yield base64.b64decode(found["audio"], validate=True)
        except (ValueError, AttributeError, TypeError, binascii.Error) as error:
            raise EngineError(
                f"the text to speech server sent an event that is not sound: {event.data[:80]!r}"
            ) from error
    raise EngineError("the text to speech server broke off in the middle of its answer")


def not_sound(kind: str, text: str) -> str:
    return (
        f"the text to speech server answered with {kind} and not with sound ({text[:100]!r}); "
        "check that TTS_URL is the address of a server with OpenAI's audio/speech"
    )


def voices_in(answer: tuple[int, Any]) -> tuple[str, ...]:
    """Names in the lists that servers give; empty where there is none."""
    status, body = answer
    if status >= 400 or not isinstance(body, (dict, list)):
        return ()
    entries = body if isinstance(body, list) else body.get("voices") or body.get("data")
    names = []
    for entry in entries if isinstance(entries, list) else ():
        name = entry if isinstance(entry, str) else None
        if isinstance(entry, dict):
            name = entry.get("id") or entry.get("voice_id") or entry.get("name")
        if isinstance(name, str):
            names.append(name)
    return tuple(dict.fromkeys(names))
