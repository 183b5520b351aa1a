"""The other caller: a client that talks to the server all the while, in its own process, and is
timed.

Also measures from outside how long each process takes to answer a ping, which is how long its event
loop was held, plus what the machine's other work adds.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE
from whisperfusion.client import CallError
from whisperfusion.client.timed_call import TimedCall
from whisperfusion.engines.scripted import read_tones, tone_speech

ANSWER_S = 25.0  # until a turn without an answer counts as lost
PING_EVERY_S, PING_S = 0.2, 30.0
PAUSE_S = 0.3
# A caller that sends nothing for half a second is silent to the server: what comes of a turn in
# which this process itself was kept from running says nothing about the server.
OWN_PAUSE_S, WATCH_S = 0.3, 0.05


@dataclass
class Account:
    """What the bystander saw: seconds from the end of speech to the first sound, per turn; pings
    by process.
    """

    delays: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    pings: dict[str, float] = field(
        default_factory=dict
    )  # worst round trip of each process, seconds


class Bystander:
    """Use `start`; `forget` before an attack and `take` after it; `stop` at the end."""

    def __init__(self, asr_url: str, tts_url: str, http_url: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._mine, theirs = context.Pipe()
        self._process = context.Process(
            target=_run, args=(theirs, asr_url, tts_url, http_url), daemon=True
        )

    def start(self) -> None:
        self._process.start()

    def forget(self) -> None:
        """What was seen so far does not count; a turn that is going on does."""
        self._mine.send("forget")

    async def collect(self) -> Account:
        """What was seen since the last call of this; waits until the present turn is over."""
        self._mine.send("collect")
        while not self._mine.poll():
            if not self._process.is_alive():
                raise RuntimeError("the bystander ended by itself")
            await asyncio.sleep(0.05)
        account = self._mine.recv()
        assert isinstance(account, Account)
        return account

    def stop(self) -> None:
        self._process.terminate()
        self._process.join(10)


class OwnPauses:
    """How long this process was kept from running, at most."""

    worst_s = 0.0

    async def watch(self) -> None:
        while True:
            due = time.monotonic() + WATCH_S
            await asyncio.sleep(WATCH_S)
            self.worst_s = max(self.worst_s, time.monotonic() - due)


def _run(pipe: Any, asr_url: str, tts_url: str, http_url: str) -> None:
    asyncio.run(_watch(pipe, asr_url, tts_url, http_url))


async def _watch(pipe: Any, asr_url: str, tts_url: str, http_url: str) -> None:
    account = Account()

    def now() -> Account:
        return account

    pauses = OwnPauses()
    tasks = [
        asyncio.create_task(pauses.watch()),
        asyncio.create_task(_talk(now, pauses, asr_url, tts_url)),
        asyncio.create_task(
            _ping_socket(now, "asr", asr_url, '{"uid": "ping", "events": true, "reply": false}')
        ),
        asyncio.create_task(_ping_socket(now, "tts", f"{tts_url}/?uid=ping", "")),
        asyncio.create_task(_ping_http(now, http_url)),
    ]
    while True:
        await asyncio.sleep(0.05)
        for task in tasks:
            if task.done():
                task.result()
        if not pipe.poll():
            continue
        if pipe.recv() == "forget":
            account = Account()
            continue
        seen, until = len(account.delays) + len(account.lost), time.monotonic() + ANSWER_S + 5
        while len(account.delays) + len(account.lost) == seen and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        done, account = account, Account()
        pipe.send(done)


async def _talk(now: Any, pauses: OwnPauses, asr_url: str, tts_url: str) -> None:
    """One call, turn after turn; a call that breaks is opened again and its turn counts as lost."""
    number = 0
    while True:
        try:
            async with TimedCall(asr_url, tts_url) as call:
                while True:
                    number += 1
                    pauses.worst_s = 0.0
                    now().delays.append(await _turn(call, number))
                    await asyncio.sleep(PAUSE_S)
        except CallError as error:
            if pauses.worst_s < OWN_PAUSE_S:
                now().lost.append(f"turn {number}: {error}")
            await asyncio.sleep(0.5)


async def _turn(call: TimedCall, number: int) -> float:
    """Say a sentence of one's own and wait for the answer to it.

    Raises CallError, also for another's answer.
    """
    words = f"w {number}"
    breath = np.zeros(MICROPHONE_RATE // 4, np.float32)
    result = await call.turn(np.concatenate((breath, tone_speech(words))), timeout_s=ANSWER_S)
    heard = read_tones(result.audio, 24_000)
    if words not in result.reply.lower() or words not in heard:
        raise CallError(f"the answer to {words!r} was {result.reply!r}, heard as {heard!r}")
    if result.first_audio is None:
        raise CallError("the answer could not be heard")
    return result.first_audio - result.end_of_speech


async def _ping_socket(now: Any, name: str, url: str, handshake: str) -> None:
    from websockets.asyncio.client import connect

    while True:
        try:
            async with connect(
                url, max_size=None, ping_interval=None, open_timeout=PING_S
            ) as connection:
                if handshake:
                    await connection.send(handshake)
                while True:
                    began = time.monotonic()
                    await asyncio.wait_for(await connection.ping(), PING_S)
                    _worst(now(), name, time.monotonic() - began)
                    await asyncio.sleep(PING_EVERY_S)
        except Exception:  # a killed process; what matters is whether turns were lost
            await asyncio.sleep(0.5)


async def _ping_http(now: Any, url: str) -> None:
    import httpx

    async with httpx.AsyncClient(timeout=PING_S) as client:
        while True:
            began = time.monotonic()
            try:
                await client.get(f"{url}/healthz")
                _worst(now(), "gateway", time.monotonic() - began)
            except httpx.HTTPError:
                pass
            await asyncio.sleep(PING_EVERY_S)


def _worst(account: Account, name: str, seconds: float) -> None:
    account.pings[name] = max(account.pings.get(name, 0.0), seconds)
