"""Speech to text of one Wyoming request: a call that is ended by hand, so that words are found while they are spoken.

Home Assistant wants the whole text soon after the last sound, others show words as they come: `transcript-start`, then
`transcript-chunk` for words that will hardly change; what the chunks say, joined, is the text, unless a word did change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from fusion.gateway import media
from fusion.gateway.inner import BUSY_S, DOWN, Inner
from fusion.gateway.inner_call import InnerCall
from fusion.wire.openai_rest import ApiError
from fusion.wire.pcm import encode

LONGEST_S = 3600.0  # of one recording
Tell = Callable[[str, dict[str, Any]], Awaitable[None]]


class Hearing:
    """`feed`, then `finish`. `tell` writes a message of Wyoming. Raises ApiError."""

    def __init__(self, inner: Inner, data: dict[str, Any], language: str | None, prompt: str, tell: Tell) -> None:
        rate, width, channels = (data.get(name, default) for name, default in (("rate", 16_000), ("width", 2), ("channels", 1)))
        if (
            width != 2
            or not isinstance(rate, int)
            or not 8000 <= rate <= 192_000
            or not isinstance(channels, int)
            or not 1 <= channels <= 8
        ):
            raise ApiError(400, f"rate {rate}, width {width}, channels {channels}: send s16 at 8000 to 192000 Hz", code="bad_format")
        self._decoder = media.RawDecoder(rate, channels)
        self._seconds, self._rate, self._channels = 0.0, rate, channels
        self._tell = tell
        self._shown = ""  # what the chunks said so far
        self._pieces: asyncio.Queue[np.ndarray | None] = asyncio.Queue(64)
        self._task = asyncio.create_task(self._converse(inner, {"language": language, "initial_prompt": prompt}))

    async def feed(self, data: bytes) -> None:
        self._seconds += len(data) / (2 * self._rate * self._channels)
        if self._seconds > LONGEST_S:
            raise ApiError(413, f"a recording may last {LONGEST_S:.0f} s", code="too_long")
        await self._put(self._decoder.feed(data))

    async def finish(self) -> tuple[str, str]:
        """The text and its language; "" for silence."""
        await self._put(self._decoder.close())
        await self._put(None)
        return await self._task

    def cancel(self) -> None:
        self._task.cancel()

    async def _put(self, piece: np.ndarray | None) -> None:
        """Unless the call failed: then it tells why at the end."""
        put = asyncio.ensure_future(self._pieces.put(piece))
        await asyncio.wait({put, self._task}, return_when=asyncio.FIRST_COMPLETED)
        put.cancel()

    async def _converse(self, inner: Inner, wanted: dict[str, Any]) -> tuple[str, str]:
        call = await InnerCall.opened(inner, {"reply": False, "turn_detection": "manual", **wanted}, sound=False)
        speaking = asyncio.create_task(self._speak(call))
        try:
            while True:
                event = await call.happened.get()
                if event["type"] == "caption":
                    await self._show(event["text"] if event["final"] else event["text"][: event["stable"]])
                    if event["final"]:
                        return event["text"], event["language"]
                elif event["type"] == "error" and event["code"] == "nothing_said":
                    return "", ""
                elif event["type"] in ("error", "gone"):
                    raise ApiError(503, event.get("message") or DOWN, code=event.get("code") or "server_down", retry_after_s=BUSY_S)
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
            await call.close()

    async def _speak(self, call: InnerCall) -> None:
        while (piece := await self._pieces.get()) is not None:
            await call.hear(encode(piece, "int16"))
        await call.tell("commit")

    async def _show(self, text: str) -> None:
        """Words that are new; one that was shown and has changed since is right in the whole text only."""
        if not text.startswith(self._shown) or text == self._shown:
            return
        if not self._shown:
            await self._tell("transcript-start", {})
        await self._tell("transcript-chunk", {"text": text[len(self._shown) :]})
        self._shown = text
