"""Processes that are killed, stopped and continued: the service comes back and the others stay."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time

from bench.attacks.target import STAGES, Tally, Target
from whisperfusion.client import CallError
from whisperfusion.client.timed_call import TimedCall

BACK_S = 60.0
PAUSE_SHORT_S, PAUSE_LONG_S = 3.0, 20.0


async def kills(target: Target, count: int, seed: int) -> Tally:
    """`count` processes, one after the other, killed in the middle of a call or stopped in an
    orderly way.
    """
    tally, chance, slowest = Tally("kills"), random.Random(seed), 0.0
    for number in range(count):
        name = STAGES[number % len(STAGES)]
        how = signal.SIGTERM if name == "gateway" and chance.random() < 0.5 else signal.SIGKILL
        tally.tried += 1
        try:
            async with TimedCall(target.asr_url, target.tts_url) as call:
                await call.call.say("forever")
                await asyncio.sleep(chance.random() * 0.5)
                os.kill(target.stage_pid(name), how)
                began = time.monotonic()
                await asyncio.sleep(0.3)
        except CallError:
            began = time.monotonic()
        if await _answers(target, BACK_S):
            tally.answered += 1
            slowest = max(slowest, time.monotonic() - began)
        else:
            tally.wrong(f"{name} did not come back within {BACK_S:.0f} s", hung=True)
    tally.figures["back after, at most, s"] = slowest
    return tally


async def _answers(target: Target, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if await target.back(deadline - time.monotonic()):
            try:
                async with TimedCall(target.asr_url, target.tts_url) as call:
                    await call.typed("alpha", timeout_s=10)
                return True
            except CallError:
                await asyncio.sleep(0.2)
    return False


async def pauses(target: Target, count: int, seconds: float) -> Tally:
    """All processes at once are stopped and continued, as a suspended machine does: no client may
    be killed.
    """
    tally = Tally(f"pauses of {seconds:.0f} s")
    before = target.restarts()
    for _ in range(count):
        tally.tried += 1
        processes = target.processes()
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        for process in reversed(processes):
            process.send_signal(signal.SIGCONT)
        await asyncio.sleep(2.0)
        if await _answers(target, BACK_S):
            tally.answered += 1
        else:
            tally.wrong("no answer after a pause", hung=True)
    if target.restarts() != before:
        tally.wrong(f"{target.restarts() - before} processes were started again after a pause")
    return tally
