"""Text to speech of one Wyoming connection: a whole text, or one that comes in pieces and is spoken
sentence by sentence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

from whisperfusion.audio import SPEECH_RATE
from whisperfusion.gateway.upstream import Upstream
from whisperfusion.wire.openai_rest import LONGEST_INPUT, ApiError
from whisperfusion.wire.voices import UnknownVoice, voice_named

SPOKEN = {"rate": SPEECH_RATE, "width": 2, "channels": 1}
QUEUED = 64  # pieces of a text
Write = Callable[..., Awaitable[None]]  # type, data, payload of a message


class Synthesis:
    """Use `close` at the end. Each method is a message of the client; it raises ApiError, and
    ConnectionError when the client is gone."""

    def __init__(
        self, upstream: Upstream, voices: Callable[[], Awaitable[tuple[str, ...]]], write: Write
    ) -> None:
        self._upstream, self._voices, self._write = upstream, voices, write
        self._task: asyncio.Task[None] | None = None  # of a text that comes in pieces
        self._texts: asyncio.Queue[str | None] = asyncio.Queue(QUEUED)
        self._streamed = False  # pieces came: what `synthesize` repeats is not spoken again

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def start(self, data: dict[str, Any]) -> None:
        """`synthesize-start`; the text before it is given up."""
        await self.close()
        self._streamed, self._texts = False, asyncio.Queue(QUEUED)
        self._task = asyncio.create_task(self._stream(_voice(data)))

    async def add(self, data: dict[str, Any]) -> None:
        """`synthesize-chunk`."""
        self._streamed = True
        await self._put(_text(data))

    async def stop(self) -> None:
        """`synthesize-stop`."""
        await self._put(None)

    async def whole(self, data: dict[str, Any]) -> None:
        """`synthesize`."""
        if self._task is not None and not self._task.done():
            if not self._streamed:  # a client that announces a stream and sends one text
                await self._put(_text(data))
            return
        await self._speak(_text(data), _voice(data), opened=False)
        await self._write("audio-stop")

    async def _put(self, text: str | None) -> None:
        """To the text that is being spoken; when that has failed there is nothing to wait for."""
        if self._task is None:
            raise ApiError(400, "send synthesize-start first", code="bad_order")
        put = asyncio.ensure_future(self._texts.put(text))
        try:
            await asyncio.wait({put, self._task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            put.cancel()

    async def _stream(self, voice: str) -> None:
        """Sentences are synthesized as they become complete."""
        opened = False
        try:
            async for sentence in sentences(self._texts):
                opened = await self._speak(sentence, voice, opened)
            if not opened:
                await self._write("audio-start", SPOKEN)
            await self._write("audio-stop")
            await self._write("synthesize-stopped")
        except ApiError as problem:
            await self._fail(problem)
        except ConnectionError:
            return

    async def _fail(self, problem: ApiError) -> None:
        try:
            await self._write("error", {"text": problem.message, "code": problem.code or "error"})
        except ConnectionError:
            return

    async def _speak(self, text: str, voice: str, opened: bool) -> bool:
        known = None
        with suppress(UnknownVoice):  # then it is the default
            known = voice_named(voice, await self._voices())
        async with aclosing(self._upstream.synthesize(text, known)) as audio:
            async for pcm in audio:
                if not opened:
                    await self._write("audio-start", SPOKEN)
                    opened = True
                await self._write("audio-chunk", SPOKEN, pcm)
        if not opened:
            await self._write("audio-start", SPOKEN)
        return True


async def sentences(texts: asyncio.Queue[str | None]) -> AsyncIterator[str]:
    """What comes in pieces, cut where a voice may pause."""
    held = ""
    while (text := await texts.get()) is not None:
        held += text
        while (cut := _end(held)) > 0:
            yield held[:cut].strip()
            held = held[cut:]
    if held.strip():
        yield held.strip()


def _end(text: str) -> int:
    """After the last sentence that is surely complete; 0 = none is."""
    ends = [
        at + 1
        for at, sign in enumerate(text[:-1])
        if sign in ".!?…\n" and text[at + 1].isspace() and at >= 20
    ]
    if ends:
        return ends[-1]
    return len(text) if len(text) > LONGEST_INPUT // 2 else 0


def _text(data: dict[str, Any]) -> str:
    text = data.get("text")
    match text:
        case str() if len(text) <= LONGEST_INPUT:
            return text
        case str():
            given = f"this one has {len(text)}"
        case None:
            given = "it is missing"
        case _:
            given = f"not {str(text)[:40]}"
    raise ApiError(
        400,
        f"text must be a string of at most {LONGEST_INPUT} characters; {given}",
        code="bad_text",
    )


def _voice(data: dict[str, Any]) -> str:
    voice = data.get("voice")
    name = voice.get("name") if isinstance(voice, dict) else None
    return name if isinstance(name, str) else ""
