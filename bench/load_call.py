"""One caller of the load generator: speaks, reads the answer to its end, pauses, and speaks again.

It behaves as the page does: a uid of its own for each connection, int16 frames at 16 kHz as long as
it listens, also in silence; a lost connection is followed by another, after 0.5 s and then twice as
long up to 15 s, which goes on with the session; a server that is full is tried again when it said.
A caller that pushes to talk sends frames while it speaks, and ends its turn by hand.

    CLOSED -> OPENING -> PAUSING -> SPEAKING -> AWAITING -> ANSWERING -> PAUSING
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from uuid import uuid4

from bench.load_line import Line
from bench.load_sounds import SLOT, Voice, heard_mark, other_mark

FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 15.0  # before another attempt, as the page waits
OPEN_S = 20.0  # for both sockets and SERVER_READY
STUCK_S = 30.0  # without an answer's end or a message why there is none
STALLED_BYTES = 64 * 1024  # of a socket that the server does not read
CHECKED = 80 * SLOT * 2  # bytes of an answer's beginning, in which its mark is
TAIL_MS = 150  # that the page goes on listening after the button was released
SOUND = {"format": "int16", "events": True}


class Phase(Enum):
    CLOSED = "closed"
    OPENING = "opening"
    PAUSING = "pausing"
    SPEAKING = "speaking"
    AWAITING = "awaiting"
    ANSWERING = "answering"


IN_TURN = (Phase.SPEAKING, Phase.AWAITING, Phase.ANSWERING)


@dataclass(frozen=True)
class Pattern:
    """How callers behave. Seconds; pauses and calls are exponentially long, with these means."""

    frame_ms: int = 50
    speech_s: float = 2.5
    pause_s: float = 4.0
    call_s: float = 300.0
    push_to_talk: bool = False


@dataclass
class Tally:
    """What came of the turns, of one or many callers."""

    turns: int = 0  # spoken to their end
    answered: int = 0  # whose answer came to its end, with the caller's own mark
    stuck: int = 0  # without an answer or a message in STUCK_S
    foreign: int = 0  # answers or words of another caller
    wrong: int = 0  # answers without any mark, words that were not said
    unheard: int = 0  # answers whose sound did not say the mark
    failed: int = 0  # turns that failed with a message
    refused: int = 0  # attempts that were told to wait
    errors: int = 0  # attempts that were refused for another reason
    lost: int = 0  # connections that ended by themselves
    lost_in_turn: int = 0  # of them, in a turn
    resumed: int = 0  # connections that went on with their session
    forgotten: int = 0  # of them, without the answer to a turn whose words the server had
    calls: int = 0  # that were ended by their caller
    sent: int = 0  # bytes
    received: int = 0
    first_sound_s: list[float] = field(default_factory=list)  # from the end of speech
    examples: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        del self.examples[20:]

    def note(self, text: str) -> None:
        if len(self.examples) < 20:
            self.examples.append(text[:300])


class Call:
    """Driven by `tick`, once for each frame, and by its two lines. `now` is the loop's time."""

    def __init__(
        self, voice: Voice, pattern: Pattern, urls: tuple[str, str], silence: bytes, seed: object
    ) -> None:
        """`urls`: of the sockets 6006 and 8888."""
        self.voice, self.pattern, self._urls, self._silence = voice, pattern, urls, silence
        self._chance = random.Random(f"{seed} {voice.mark}")
        self._loop = asyncio.get_running_loop()
        tail = -(-TAIL_MS // pattern.frame_ms) if pattern.push_to_talk else 0
        self._speech = voice.frames + (silence,) * tail
        self.tally = Tally()
        self.phase = Phase.CLOSED
        self.due = 0.0  # of the next step: to open, to speak, to give up
        self.last = False  # no turn and no call begins any more
        self._delay = FIRST_DELAY_S
        self._asr: Line | None = None
        self._tts: Line | None = None
        self._opening: asyncio.Task[None] | None = None
        self._uid = self._session = self._secret = ""
        self._frame = 0  # of the sentence, the next to be sent
        self._settled = False  # the server has the words of a turn that is not answered
        self._spoken_at = self._hang_up_at = 0.0
        self._reply, self._audio = "", bytearray()
        self._ends: set[Line | None] = set()  # the lines on which the answer came to its end

    @property
    def busy(self) -> bool:
        return self.phase in IN_TURN

    # --- the clock -------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        match self.phase:
            case Phase.CLOSED:
                if now >= self.due and not self.last:
                    self._open(now)
            case Phase.OPENING:
                if now >= self.due:
                    self._lost("was not ready in time")
            case Phase.SPEAKING:
                self._speak(now)
            case Phase.PAUSING if now >= self.due and not self.last:
                if now >= self._hang_up_at:
                    self.hang_up(now)
                else:
                    self._start_speaking()
                    self._speak(now)
            case _:
                if now >= self.due and self.phase is not Phase.PAUSING:
                    self.tally.stuck += 1
                    self.tally.note(f"stuck: {self._uid} {self.phase.value}: {self._reply!r}")
                    self._pause(now)
                if not self.pattern.push_to_talk:
                    self._send(self._silence)

    def _start_speaking(self) -> None:
        self.phase, self._frame, self._settled = Phase.SPEAKING, 0, False

    def _speak(self, now: float) -> None:
        if not self._send(self._speech[self._frame]):
            return
        self._frame += 1
        if self._frame < len(self._speech):
            return
        if self.pattern.push_to_talk and self._asr is not None:
            self._asr.say(type="commit")
        self.tally.turns += 1
        self._await(now)

    def _await(self, now: float) -> None:
        self.phase, self._spoken_at, self.due = Phase.AWAITING, now, now + STUCK_S
        self._reply = ""
        self._audio.clear()
        self._ends.clear()

    def _pause(self, now: float) -> None:
        self.phase = Phase.PAUSING
        self.due = now + self._chance.expovariate(1 / self.pattern.pause_s)

    def _send(self, frame: bytes) -> bool:
        """False: the line is not there any more."""
        line = self._asr
        if line is None or not line.ready:
            return False
        if line.unsent > STALLED_BYTES + len(frame):
            self._lost("does not read")
            return False
        line.write(frame)
        return True

    # --- opening and closing ---------------------------------------------------------------------

    def _open(self, now: float) -> None:
        self.phase, self.due, self._uid = Phase.OPENING, now + OPEN_S, uuid4().hex
        self._secret = ""
        self._opening = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        asr, tts = (f"{url}?uid={self._uid}" for url in self._urls)
        try:
            self._asr = await Line.open(asr, self)
            self._tts = await Line.open(f"{tts}&events=1&format=int16", self)
        except OSError as error:
            self._lost(str(error))

    def hang_up(self, now: float) -> None:
        """The next call of this caller begins after a pause, without the session."""
        self.tally.calls += 1
        self._session = ""
        self.close(now + self._chance.expovariate(1 / self.pattern.pause_s))

    def close(self, again_at: float) -> None:
        if self._opening is not None:
            self._opening.cancel()
        for line in (self._asr, self._tts):
            if line is not None:
                self._count(line)
                line.close()
        self._asr = self._tts = self._opening = None
        self.phase, self.due = Phase.CLOSED, again_at

    def _count(self, line: Line) -> None:
        self.tally.sent, line.sent = self.tally.sent + line.sent, 0
        self.tally.received, line.received = self.tally.received + line.received, 0

    def collect(self) -> Tally:
        """What was counted since the last call of this."""
        for line in (self._asr, self._tts):
            if line is not None:
                self._count(line)
        taken, self.tally = self.tally, Tally()
        return taken

    def _lost(self, why: str) -> None:
        self.tally.lost += 1
        if self.phase in IN_TURN:
            self.tally.lost_in_turn += 1
            self.tally.note(f"lost: {self._uid} {self.phase.value}: {why}")
        self._settled = self._settled and self.phase is Phase.AWAITING
        self._retry()

    def _retry(self) -> None:
        now = self._loop.time()
        self.close(now + self._delay * self._chance.uniform(0.75, 1.25))
        self._delay = min(2 * self._delay, LONGEST_DELAY_S)

    # --- what the lines tell ---------------------------------------------------------------------

    def opened(self, line: Line) -> None:
        if line is self._tts:
            self._present_secret()
            return
        session = {"session": self._session} if self._session else {}
        manual = {"turn_detection": "manual"} if self.pattern.push_to_talk else {}
        line.say(uid=self._uid, events=True, audio_format="int16", **session, **manual)

    def ended(self, line: Line, why: str) -> None:
        if line in (self._asr, self._tts):
            self._lost(why)

    def audio(self, line: Line, frame: bytes) -> None:
        if self.phase is Phase.AWAITING:
            self.phase = Phase.ANSWERING
            self.tally.first_sound_s.append(self._loop.time() - self._spoken_at)
        if len(self._audio) < CHECKED:
            self._audio += frame

    def text(self, line: Line, message: dict[str, Any]) -> None:
        if line is self._tts:
            if message["type"] == "end":
                self._ended_on(line)
            return
        if message.get("uid") != self._uid:
            self._foreign(f"a frame of {message.get('uid')}")
        elif message.get("message") == "SERVER_READY":
            self._greeted(message)
        elif "status" in message:
            self._sent_away(message)
        else:
            self._event(message)

    def _sent_away(self, message: dict[str, Any]) -> None:
        if message["status"] == "WAIT":
            self.tally.refused += 1
            wait_s = float(message["message"]) * 60 * self._chance.uniform(1.0, 1.25)
            self.close(self._loop.time() + wait_s)
        else:
            self.tally.errors += 1
            self.tally.note(f"refused: {message.get('message')}")
            self._retry()

    def _greeted(self, message: dict[str, Any]) -> None:
        self._session = message.get("session") or ""
        self._secret, self._delay = message["listen_secret"], FIRST_DELAY_S
        self._present_secret()
        now = self._loop.time()
        resumed = bool(message.get("resumed"))
        self.tally.resumed += resumed
        if self._hang_up_at <= now:
            self._hang_up_at = now + self._chance.expovariate(1 / self.pattern.call_s)
        if resumed and message.get("pending"):  # the server takes the turn up again
            self._await(now)
        else:
            self.tally.forgotten += resumed and self._settled
            self._pause(now)

    def _present_secret(self) -> None:
        if self._secret and self._tts is not None:
            self._tts.say(uid=self._uid, listen_secret=self._secret, **SOUND)

    # --- the answer ------------------------------------------------------------------------------

    def _event(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "turn":
                self._settled = True
                if message["text"].lower() != self.voice.words:
                    self._mistaken(f"heard {message['text']!r}", message["text"])
            case "reply":
                self._reply += message["text"] + " "
            case "spoken" if message["last"]:
                self._ended_on(self._asr)
            case "error" if "turn" in message and self.phase in IN_TURN:
                self.tally.failed += 1
                self.tally.note(f"failed: {message['message']}")
                self._pause(self._loop.time())
            case "ended":
                self.hang_up(self._loop.time())

    def _ended_on(self, line: Line | None) -> None:
        """Each of the lines may be read first."""
        self._ends.add(line)
        if self.phase in (Phase.AWAITING, Phase.ANSWERING) and len(self._ends) == 2:
            self._answered()

    def _answered(self) -> None:
        if self.voice.mark not in self._reply.lower():
            self._mistaken(f"answered {self._reply!r}", self._reply)
        elif other := other_mark(self._reply, self.voice.mark):
            self._foreign(f"answered {self._reply!r} with {other}")
        elif heard_mark(bytes(self._audio), self.voice.mark):
            self.tally.answered += 1
        else:
            self.tally.unheard += 1
            self.tally.note(f"unheard: {self._uid}: {len(self._audio)} bytes")
        self._pause(self._loop.time())

    def _mistaken(self, what: str, text: str) -> None:
        if other_mark(text, self.voice.mark):
            self._foreign(what)
        else:
            self.tally.wrong += 1
            self.tally.note(f"wrong: {self._uid} said {self.voice.words!r}, {what}")

    def _foreign(self, what: str) -> None:
        self.tally.foreign += 1
        self.tally.note(f"foreign: {self._uid} said {self.voice.words!r}, {what}")
