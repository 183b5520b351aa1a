"""People who talk to the two sockets: they type, speak, hesitate, interrupt, stay silent, hang up
in the middle, and go on where they were when their connection is lost.

Each turn has one outcome (outcome.py). A turn that has none, and no answer that goes on, after
`STUCK_S` is stuck; one that a resumed call does not know any more, although its answer was complete
a second before the loss, is lost.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from bench.faults.account import Account, Noticed
from bench.faults.material import RECALL, Line, Material, echoes
from bench.faults.outcome import Lost, Turn, outcome_of
from bench.faults.topology import Front
from whisperfusion.audio import Samples
from whisperfusion.client import (
    Call,
    CallError,
    Closed,
    ConnectionLost,
    Event,
    Failed,
    Reconnected,
    ReplyAudio,
    ReplyDone,
    ReplyText,
    ServerBusy,
    Transcript,
    UserTurn,
    connect,
)
from whisperfusion.client.microphone import Microphone
from whisperfusion.wire.pcm import decode

STUCK_S = 90.0  # a bound for a busy machine, not a goal
E = TypeVar("E")
RESUME_S = 60.0  # for how long a lost connection is opened again
AGAIN_S = 0.3  # before another attempt to call
BUSY_S = 5.0  # at most, of a server that is full: sooner than it says, which is half a minute
WRITTEN_S = 1.0  # after its end, an answer is in the store
SOUND_S = 1.0  # of an answer, before it is interrupted
TURNS = (2, 6)  # of a call


@dataclass
class Person:
    """One caller, with all calls that it makes. `interface` is the name in the account."""

    code: str
    interface: str
    front: Front
    account: Account
    material: Material
    chance: random.Random
    uid: str = ""
    doing: str = ""

    async def live(self, over: asyncio.Event) -> None:
        """Calls, until `over` is set; the last call ends with its turn."""
        while not over.is_set():
            try:
                await self._call(over)
            except ServerBusy as error:
                self.account.add(self.interface, "busy", self.uid, str(error))
                await asyncio.sleep(BUSY_S * self.chance.random())
            except CallError as error:
                self.account.add(self.interface, "refused", self.uid, str(error))
            await asyncio.sleep(AGAIN_S * (1 + self.chance.random()))

    async def _call(self, over: asyncio.Event) -> None:
        instructions = self.material.instructions(self.code)
        call = connect(
            self.front.asr_url,
            self.front.tts_url,
            options={"instructions": instructions} if instructions else {},
            audio_format="float32",
            resume_s=RESUME_S,
        )
        self.uid = call.uid
        async with call:
            talk = Talk(self, call)
            try:
                await talk.run(over)
            finally:
                await talk.stop()


class Talk:
    """One call of a person."""

    def __init__(self, person: Person, call: Call) -> None:
        self.person, self.call = person, call
        self.events: list[Event] = []
        self._came: list[float] = []  # when each of them did
        self.kept = 0  # messages that the server must know
        self._said: list[tuple[float, str]] = []  # lines, and when their answers were complete
        self._audio: dict[int, list[Samples]] = {}
        self._resumed = False
        self._dropped = False  # by the caller
        self._changed = asyncio.Event()
        self._microphone = Microphone(call.send_audio)
        self._reader = asyncio.create_task(self._read())

    async def stop(self) -> None:
        await self._microphone.stop()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    # --- what comes ------------------------------------------------------------------------------

    async def _read(self) -> None:
        lost_at = 0.0
        async for event in self.call:
            now = time.monotonic()
            match event:
                case ConnectionLost():
                    lost_at = now
                    self._audio.clear()
                case Reconnected(resumed, messages):
                    event = Lost(resumed, messages, self.call.ready.pending, lost_at)
                    self._reopened(event)
                case ReplyAudio(turn, pcm):
                    self._audio.setdefault(turn, []).append(decode(pcm, "float32"))
                case UserTurn(text=text) | Transcript(text=text) | ReplyText(text=text):
                    self._check(text)
                case ReplyDone(turn):
                    self._check(self.person.material.heard(self._sound(turn)))
            self.events.append(event)
            self._came.append(now)
            self._changed.set()

    def _sound(self, turn: int) -> Samples:
        return np.concatenate([np.zeros(0, np.float32), *self._audio.pop(turn, [])])

    def _check(self, text: str) -> None:
        person = self.person
        person.account.read(person.interface, person.code, text)

    def _reopened(self, event: Lost) -> None:
        account, person = self.person.account, self.person
        what = "lost its connection, " + ("resumed" if event.resumed else "forgotten")
        if not self._dropped:
            account.noticed.append(Noticed(event.at, person.interface, person.uid, what))
        person.uid, self._resumed, self._dropped = self.call.uid, True, False
        # an answer that was complete in the last moment may not be in the store
        old = [one for one in self._said if one[0] < event.at - WRITTEN_S]
        self._said = old if event.resumed else []
        self.kept = 2 * len(old)

    # --- what is done ----------------------------------------------------------------------------

    async def run(self, over: asyncio.Event) -> None:
        chance, turns = self.person.chance, self.person.chance.randint(*TURNS)
        deeds = (self.write, self.speak, self.hesitate, self.interrupt, self.be_silent, self.drop)
        for number in range(turns):
            if number and over.is_set():
                return
            chosen = chance.choices(deeds, (4, 4, 1, 1, 1, 1))[0]
            deed = chosen if number else self.write  # of a call without an answer nothing is kept
            if not await deed(number):
                return
        if self._resumed and self.person.material.scripted:
            await self.recall()
        if chance.random() < 0.3:  # hang up in the middle
            await self._say(self.person.material.long_question(self.person.code))
            await asyncio.sleep(chance.random())

    async def write(self, number: int) -> bool:
        line = self.person.material.line(self.person.code, number, self.person.chance)
        return await self.turn(line, lambda: self._say(line.text))

    async def speak(self, number: int) -> bool:
        line = self.person.material.line(self.person.code, number, self.person.chance)
        return await self.turn(line, lambda: self._speak(line), spoken=True)

    async def hesitate(self, number: int) -> bool:
        """A pause in the middle, in which the microphone is silent."""
        line = self.person.material.line(self.person.code, number, self.person.chance)
        middle = len(line.pcm) // 2
        gap = np.zeros(int(0.3 * 16_000), np.float32)
        halves = np.concatenate((line.pcm[:middle], gap, line.pcm[middle:]))
        if self.person.material.scripted:  # whose tones cannot be cut
            halves = np.concatenate((gap, line.pcm))
        return await self.turn(line, lambda: self._speak(replace(line, pcm=halves)), spoken=True)

    async def interrupt(self, number: int) -> bool:
        """A long answer, and a stop in the middle of it."""
        first = len(self.events)
        await self._say(self.person.material.long_question(self.person.code))

        def sounds() -> bool:
            seconds = sum(len(one.pcm) for one in self._since(first, ReplyAudio)) / 4 / 24_000
            return seconds > SOUND_S or bool(self._since(first, ReplyDone, Failed, Closed, Lost))

        if not await self.until(sounds, "an answer to interrupt"):
            return False
        await self.call.send("interrupt")
        return not self._since(first, Closed)

    async def be_silent(self, number: int) -> bool:
        await asyncio.sleep(2.0 + 6.0 * self.person.chance.random())
        return not self._since(0, Closed)

    async def drop(self, number: int) -> bool:
        """The line is lost, and the call goes on."""
        first, socket = len(self.events), self.call._asr
        if socket is not None:
            self._dropped = True
            socket.transport.abort()
        await self.until(lambda: bool(self._since(first, Lost, Closed)), "the call again")
        return not self._since(0, Closed)

    async def recall(self) -> None:
        """Scripted engines list what they have said: all answers of before the loss."""
        said = [line for _, line in self._said if line not in ("", RECALL)]
        first = len(self.events)
        if not await self.turn(Line(RECALL, np.zeros(0, np.float32)), lambda: self._say(RECALL)):
            return
        told = " ".join(one.text for one in self._since(first, ReplyText))
        missing = [line for line in said if line not in told]
        if missing and "I said" in told and not self._since(first, Lost):
            person = self.person
            person.account.lost.append(f"{person.interface}: {missing} are not in {told!r}")

    async def turn(
        self, line: Line, say: Callable[[], Awaitable[None]], spoken: bool = False
    ) -> bool:
        """Says a line, and waits for its outcome. False: the call is over."""
        person, first = self.person, len(self.events)
        uid = person.uid  # a resumed call has another one, perhaps in another cell
        open_turn = Turn(line.text, spoken)
        person.doing = f"waits for the answer to {line.text!r}"
        await say()
        found = open_turn

        def decided() -> bool:
            nonlocal found
            kept = self.kept
            found = outcome_of(open_turn, self.events[first:], person.material.scripted, kept)
            return bool(found.outcome)

        if not await self.until(decided, f"an answer to {line.text!r}"):
            return False
        self._account(found, uid)
        return not self._since(first, Closed)

    def _account(self, found: Turn, uid: str) -> None:
        person, account = self.person, self.person.account
        if found.outcome == "lost":
            account.lost.append(f"{person.interface}: {found.line!r}: {found.why}")
        account.add(person.interface, found.outcome, uid, found.why)
        if found.outcome != "answered":
            return
        kept = found.line if found.line in found.why else ""
        self._said.append((time.monotonic(), kept))
        self.kept = 2 * len(self._said)
        if person.material.scripted and not echoes(found.line, found.why, found.spoken):
            account.wrong.append(f"{person.interface}: {found.line!r} was answered {found.why!r}")

    async def until(self, condition: Callable[[], bool], what: str) -> bool:
        """False: it did not come in time, which is noted."""

        async def come() -> None:
            while not condition():
                self._changed.clear()
                await self._changed.wait()

        coming = asyncio.create_task(come())
        since = time.monotonic()
        try:
            while not coming.done():
                patience_s = STUCK_S - (time.monotonic() - max(since, self._progress_at()))
                if patience_s <= 0:
                    self._stuck(what, time.monotonic() - since)
                    return False
                await asyncio.wait([coming], timeout=patience_s)
            await coming
        finally:
            coming.cancel()
        return True

    def _progress_at(self) -> float:
        """When something of an answer came: real models answer at length."""
        times = zip(reversed(self.events), reversed(self._came), strict=True)
        return next((at for one, at in times if isinstance(one, (ReplyText, ReplyAudio))), 0.0)

    def _stuck(self, what: str, waited_s: float) -> None:
        person, now = self.person, time.monotonic()
        told = [
            f"{now - at:.0f} s ago {event}"
            for event, at in zip(self.events, self._came, strict=True)
            if not isinstance(event, ReplyAudio)
        ]
        who = f"{person.interface} {person.uid}"
        person.account.stuck.append(f"{who}: {what} did not come in {waited_s:.0f} s: {told[-16:]}")

    def _since(self, first: int, *kinds: type[E]) -> list[E]:
        return [one for one in self.events[first:] if isinstance(one, kinds)]

    async def _say(self, text: str) -> None:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.call.say(text), RESUME_S)

    async def _speak(self, line: Line) -> None:
        self._microphone.speak(line.pcm)
