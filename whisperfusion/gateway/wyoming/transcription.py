"""Speech to text of one Wyoming request: a call with manual turn detection, so that interim
transcripts come while the user speaks.

Home Assistant wants the whole text soon after the last audio, others show it as it grows:
`transcript-start`, then `transcript-chunk` for the stable part; the chunks, joined, are the text,
unless a word of the stable part did change.
"""

from __future__ import annotations

import asyncio
import reprlib
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, VAD_WINDOW, Samples
from whisperfusion.client import Call, Closed, Failed, Transcript
from whisperfusion.gateway import media
from whisperfusion.gateway.upstream import BUSY_S, Upstream, server_down
from whisperfusion.wire.openai_rest import ApiError
from whisperfusion.wire.pcm import encode

LONGEST_S = 3600.0  # of one recording
QUEUED, PIECE = 32, 64_000  # pieces that wait for the call, and the bytes of each
# A recording may end with its last word. Without silence, the samples that fill no window of the
# detector are not decoded, and a recognizer may keep back a word that has no end.
AFTER_LAST_WORD: Samples = np.zeros(2 * VAD_WINDOW, np.float32)
Write = Callable[[str, dict[str, Any]], Awaitable[None]]


class Transcription:
    """`accept_audio`, then `finish`; `close` at the end.

    `write` writes a message of Wyoming. Raises ApiError.
    """

    def __init__(
        self,
        upstream: Upstream,
        address: str,
        data: dict[str, Any],
        language: str | None,
        prompt: str,
        write: Write,
    ) -> None:
        rate, width, channels = (
            data.get(name, default)
            for name, default in (("rate", MICROPHONE_RATE), ("width", 2), ("channels", 1))
        )
        if (
            width != 2
            or type(rate) is not int  # true is an int, and no count
            or not 4000 <= rate <= 192_000
            or type(channels) is not int
            or not 1 <= channels <= 8
        ):
            given = (
                f"rate {reprlib.repr(rate)}, width {reprlib.repr(width)}, channels "
                f"{reprlib.repr(channels)}"
            )
            raise ApiError(
                400, f"{given}: send s16 at 4000 to 192000 Hz, 1 to 8 channels", code="bad_format"
            )
        self._decoder = media.RawDecoder(rate, channels)
        self._seconds, self._rate, self._channels = 0.0, rate, channels
        self._write = write
        self._shown = ""  # the text of the chunks so far
        self._pieces: asyncio.Queue[Samples | None] = asyncio.Queue(QUEUED)
        self._task = asyncio.create_task(
            self._run(upstream, address, {"language": language, "initial_prompt": prompt})
        )

    async def accept_audio(self, data: bytes) -> None:
        """s16 in the rate and channels of the request."""
        self._seconds += len(data) / (2 * self._rate * self._channels)
        if self._seconds > LONGEST_S:
            raise ApiError(413, f"a recording may last {LONGEST_S:.0f} s", code="too_long")
        for start in range(0, len(data), PIECE):
            await self._put(self._decoder.feed(data[start : start + PIECE]))

    async def finish(self) -> tuple[str, str]:
        """The text and its language; "" for silence."""
        await self._put(self._decoder.close())
        await self._put(None)
        return await self._task

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _put(self, piece: Samples | None) -> None:
        """Unless the call failed: then `finish` raises its error."""
        put = asyncio.ensure_future(self._pieces.put(piece))
        try:
            await asyncio.wait({put, self._task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            put.cancel()

    async def _run(
        self, upstream: Upstream, address: str, options: dict[str, Any]
    ) -> tuple[str, str]:
        call = await upstream.open_call(
            {"reply": False, "turn_detection": "manual", **options}, audio=False, address=address
        )
        sending = asyncio.create_task(self._send(call))
        try:
            while True:
                match await call.receive():
                    case Transcript(text, stable, final) as found:
                        await self._show(text if final else text[:stable])
                        if final:
                            return text, found.language
                    case Failed("nothing_said"):
                        return "", ""
                    case Failed(code, message):
                        raise ApiError(503, message, code=code, retry_after_s=BUSY_S)
                    case Closed(reason):
                        raise server_down(reason)
        finally:
            sending.cancel()
            await call.close()

    async def _send(self, call: Call) -> None:
        while (piece := await self._pieces.get()) is not None:
            await call.send_audio(encode(piece, "int16"))
        await call.send_audio(encode(AFTER_LAST_WORD, "int16"))
        await call.send("commit")

    async def _show(self, text: str) -> None:
        """The new part of a stable transcript; a word that was shown and has changed since is
        right in the whole text only.
        """
        if not text.startswith(self._shown) or text == self._shown:
            return
        if not self._shown:
            await self._write("transcript-start", {})
        await self._write("transcript-chunk", {"text": text[len(self._shown) :]})
        self._shown = text
