"""A WebSocket connection whose received frames are limited by their bytes.

websockets limits them by their number. With a number that is safe for frames of 16 MiB, reading
stops at each frame of a microphone and goes on a moment later, which are two system calls and as
much Python as the frame itself: a tenth of what a silent caller costs.
"""

from __future__ import annotations

import asyncio
from typing import Any

from websockets.asyncio.messages import Assembler
from websockets.asyncio.server import ServerConnection

MOST_BYTES = 64 * 1024  # that wait to be taken; one larger frame may, too
MOST_FRAMES = 32


class ReceivedFrames(Assembler):
    """Reading pauses above the limits, until all that came was taken."""

    def maybe_pause(self) -> None:
        waiting = self.frames.queue
        if self.paused or len(waiting) == 1 and len(waiting[0].data) <= MOST_BYTES:
            return
        if len(waiting) > MOST_FRAMES or sum(len(one.data) for one in waiting) > MOST_BYTES:
            self.paused = True
            self.pause()

    def maybe_resume(self) -> None:
        if self.paused and not self.frames.queue:
            self.paused = False
            self.resume()


class Connection(ServerConnection):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        to: Any = transport
        self.recv_messages = ReceivedFrames(pause=to.pause_reading, resume=to.resume_reading)
