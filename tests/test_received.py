"""Received frames: reading pauses by their bytes, and not for each of a microphone."""

from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode

from whisperfusion.runtime.received import MOST_BYTES, MOST_FRAMES, ReceivedFrames


class Reading:
    def __init__(self) -> None:
        self.pauses = self.resumes = 0
        self.frames = ReceivedFrames(pause=self._pause, resume=self._resume)

    def _pause(self) -> None:
        self.pauses += 1

    def _resume(self) -> None:
        self.resumes += 1

    def put(self, *sizes: int) -> None:
        for size in sizes:
            self.frames.put(Frame(Opcode.BINARY, bytes(size)))


async def test_the_frames_of_a_microphone_pause_nothing():
    reading = Reading()
    for _ in range(100):
        reading.put(1600)
        assert len(await reading.frames.get()) == 1600
    assert (reading.pauses, reading.resumes) == (0, 0)


@pytest.mark.parametrize(
    "sizes", [(MOST_BYTES + 1,), (MOST_BYTES // 2, MOST_BYTES // 2 + 1), (1,) * (MOST_FRAMES + 1)]
)
async def test_what_is_too_much_pauses_until_all_of_it_was_taken(sizes):
    reading = Reading()
    reading.put(*sizes)
    assert (reading.pauses, reading.resumes) == (1, 0)
    for left in reversed(range(len(sizes))):
        assert reading.resumes == 0
        await reading.frames.get()
        assert reading.resumes == (0 if left else 1)
    reading.put(*sizes)
    assert reading.pauses == 2


async def test_many_small_frames_are_read_on():
    reading = Reading()
    reading.put(*[1600] * MOST_FRAMES)
    assert reading.pauses == 0
