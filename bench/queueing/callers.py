"""Callers who take turns, as bench/capacity.py measures them: a call of five turns, a short
thought between two of them; who is told to come back does so.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

from bench.queueing.language_model import Reply, tokens
from bench.queueing.parameters import Parameters, Turn
from bench.queueing.server import Server
from bench.turns import MOST_TRIES, THINK_S, TURNS_A_CALL
from whisperfusion.call.degradation import SMALL_LEVEL
from whisperfusion.generation.limits import BRIEF_PIECES
from whisperfusion.text.segmentation import Clauses
from whisperfusion.turns.commands import Latency
from whisperfusion.turns.endpointing import STOP_S, TURN_DETECTION_S
from whisperfusion.turns.load_shedding import MOST_OFTEN_S
from whisperfusion.turns.states import State

START_S = 3.0  # in which all callers begin
# after the last sound: the early request (two windows and half a frame), and the model's
REQUEST_S, DETECTION_S = 0.085, TURN_DETECTION_S + 0.02
WINDOW_S = 0.032
# tokens to be read when a reply begins: of the template and the last words; where nothing was read
# ahead, all words of the user
TEMPLATE, TOKENS_A_WORD = 6, 1.3
READ_AHEAD = 4  # tokens with each interim transcript
WASTED_S = 0.3  # before the end of speech: when a reply begins that will not fit


@dataclass(frozen=True)
class Answered:
    """Seconds after the end of speech; `ended`: when that was."""

    caller: int
    recording: str
    ended: float
    words_s: float
    decided_s: float
    clause_s: float
    heard_s: float


@dataclass
class Outcome:
    answered: list[Answered] = field(default_factory=list)
    sent_away: int = 0
    failed: int = 0
    began: float = 0.0
    over: float = 0.0
    used_s: float = 0.0  # processor time
    levels: list[int] = field(default_factory=list)


@dataclass
class Conversation:
    """What the server's policies ask of one."""

    state: State = State.IDLE
    awaited_since: float | None = None


class Call:
    """One call: what `Degradation` and `Admission` ask of a caller, and its turns."""

    def __init__(self, server: Server, number: int, serial: int, chance: random.Random) -> None:
        self._server, self._env, self.number = server, server.env, number
        self.call, self._chance = f"{number}.{serial}", chance
        self.conversation = Conversation()
        self._every_s, self._early, self._brief = MOST_OFTEN_S, True, False

    def limit(self, interim_every_s: float, *, early_replies: bool, brief: bool) -> None:
        self._every_s, self._early, self._brief = interim_every_s, early_replies, brief

    def turn(self, turn: Turn) -> Generator[simpy.Event, Any, Answered]:
        """Until the reply was heard to its end."""
        env, server = self._env, self._server
        engines, work = server.parameters.engines, server.parameters.fitted.work
        yield env.timeout(turn.before_s)
        self.conversation.state = State.USER_SPEAKING
        ends, early = env.now + turn.speech_s, self._early
        level = server.degradation.load.level(env.now)
        share = work * (engines.small if level >= SMALL_LEVEL else 1.0)
        env.process(self._interim(ends, turn.speech_s, share))
        spoken = Spoken(self, turn, early, ends)
        yield env.timeout(turn.speech_s)
        env.process(self._transcribe(turn, share, spoken))
        env.process(self._detect(spoken))
        yield env.timeout(STOP_S)
        self.conversation.state = State.USER_PAUSED
        yield env.all_of([spoken.words, spoken.judged, env.timeout(turn.wait_s - STOP_S)])
        decided = env.now
        self.conversation.state, self.conversation.awaited_since = State.REPLYING, env.now
        yield spoken.sound
        yield env.timeout(server.parameters.fitted.overhead_s)
        heard, self.conversation.awaited_since = env.now, None
        answer = Answered(
            self.number,
            turn.recording,
            ends,
            spoken.words_at - ends,
            decided - ends,
            spoken.clause_at - ends,
            heard - ends,
        )
        self._report(answer)
        yield from spoken.played()
        self.conversation.state = State.IDLE
        if env.now < ends + turn.after_s:
            yield env.timeout(ends + turn.after_s - env.now)
        return answer

    def _interim(
        self, ends: float, speech_s: float, share: float
    ) -> Generator[simpy.Event, Any, None]:
        env, server, engines = self._env, self._server, self._server.parameters.engines

        def done(waited_s: float, took_s: float) -> None:
            server.degradation.transcribed(waited_s, took_s, False, env.now)
            if self._early:
                server.llm.prefill(READ_AHEAD)

        last = env.now
        while env.now < ends - WINDOW_S:
            yield env.timeout(max(WINDOW_S, last + self._every_s - env.now))
            if last + self._every_s <= env.now < ends:
                last = env.now
                sound_s = speech_s - (ends - env.now)
                seconds = share * (engines.interim_fixed + engines.interim_each * sound_s)
                server.interim.put(
                    self.call,
                    seconds,
                    done,
                    wanted=lambda: env.now < ends + REQUEST_S,
                    replace="transcript",
                    urgent=True,
                )

    def _transcribe(
        self, turn: Turn, share: float, spoken: Spoken
    ) -> Generator[simpy.Event, Any, None]:
        env, server, engines = self._env, self._server, self._server.parameters.engines
        yield env.timeout(REQUEST_S)
        seconds = share * (engines.final_fixed + engines.final_each * turn.speech_s)

        def done(waited_s: float, took_s: float) -> None:
            server.degradation.transcribed(waited_s, took_s, True, env.now)
            spoken.transcribed()

        server.final.put(self.call, seconds, done, urgent=True)

    def _detect(self, spoken: Spoken) -> Generator[simpy.Event, Any, None]:
        yield self._env.timeout(DETECTION_S)
        parameters = self._server.parameters
        self._server.end_of_turn.put(
            self.call,
            parameters.engines.end_of_turn * parameters.fitted.work,
            lambda waited_s, took_s: spoken.judged.succeed(),
            urgent=True,
        )

    def _report(self, one: Answered) -> None:
        times = (STOP_S, one.words_s, one.decided_s, one.clause_s, one.clause_s, one.heard_s)
        self._server.replied(Latency(1, *times, reused=True))

    @property
    def brief(self) -> bool:
        return self._brief

    @property
    def server(self) -> Server:
        return self._server

    def wastes(self) -> bool:
        """Is a reply begun that will not fit?"""
        return self._chance.random() < self._server.parameters.wasted


class Spoken:
    """The reply to one turn, on its way from the model to the caller's ear."""

    def __init__(self, call: Call, turn: Turn, early: bool, ends: float) -> None:
        self._call, self._turn, self._early, self._env = call, turn, early, call.server.env
        env = self._env
        self.words, self.judged, self.sound = env.event(), env.event(), env.event()
        self._written, self._made = env.event(), env.event()
        self.words_at = self.clause_at = 0.0
        self._clauses, self._index, self._sentences = Clauses(), 0, 0
        self._sounds: list[tuple[float, float]] = []  # of each clause: made at, seconds
        self._reply: Reply | None = None
        self._wasted: Reply | None = None
        if early and turn.early_s is not None:
            env.process(self._at(ends + turn.early_s, self._start))
        elif early and call.wastes():
            env.process(self._at(ends - WASTED_S, self._waste))

    def transcribed(self) -> None:
        """The words are known: the reply begins, unless one did that fits."""
        self.words_at = self._env.now
        self.words.succeed()
        if self._wasted is not None:
            self._wasted.cancel()
        if self._reply is None:
            self._start()

    def played(self) -> Generator[simpy.Event, Any, None]:
        """Until all of the reply was played, each clause once it is there and the last one over."""
        yield self._written
        until, at = self._env.now, 0
        while at < self._sentences:
            while len(self._sounds) <= at:
                yield self._made
            made, seconds = self._sounds[at]
            until = max(until, made) + seconds if at else self._heard_at(made) + seconds
            at += 1
        if until > self._env.now:
            yield self._env.timeout(until - self._env.now)

    def _heard_at(self, made: float) -> float:
        return max(made, self.words_at)

    def _at(self, when: float, do: Any) -> Generator[simpy.Event, Any, None]:
        yield self._env.timeout(max(0.0, when - self._env.now))
        do()

    def _waste(self) -> None:
        if not self.words.triggered:
            self._wasted = self._call.server.llm.write(
                self._to_read(), tokens(self._turn.reply), lambda piece, last: None
            )

    def _start(self) -> None:
        if self._reply is None:
            pieces = tokens(self._turn.reply)
            if self._call.brief:
                pieces = pieces[:BRIEF_PIECES]
            self._reply = self._call.server.llm.write(self._to_read(), pieces, self._wrote)

    def _to_read(self) -> int:
        words = 2 if self._early else self._turn.words
        return TEMPLATE + round(TOKENS_A_WORD * words)

    def _wrote(self, piece: str, last: bool) -> None:
        for clause in self._clauses.feed(piece):
            self._say(clause)
        if last:
            rest = self._clauses.flush()
            if rest or not self._sentences:
                self._say(rest or ".")
            self._written.succeed()

    def _say(self, clause: str) -> None:
        server, parameters = self._call.server, self._call.server.parameters
        index, self._sentences = self._sentences, self._sentences + 1
        if not index:
            self.clause_at = self._env.now
        engines = parameters.engines
        seconds = (engines.voice + engines.character * len(clause)) * parameters.fitted.work

        def done(waited_s: float, took_s: float) -> None:
            self._sounds.append((self._env.now, len(clause) / parameters.characters_per_s))
            made, self._made = self._made, self._env.event()
            made.succeed()
            if not index:
                self.sound.succeed()

        server.voice.put(self._call.call, seconds, done, replace=index, urgent=not index)


# --- everybody ----------------------------------------------------------------------------------


def simulate(
    parameters: Parameters,
    said: Sequence[Sequence[str]],
    seed: int = 0,
    admits: bool = True,
) -> Outcome:
    """`said`: of each caller, the recordings of the turns, in this order."""
    env, outcome = simpy.Environment(), Outcome()
    server, known = Server(env, parameters, admits), by_recording(parameters.turns)
    callers = [
        env.process(caller(server, number, of, known, random.Random(f"{seed} {number}"), outcome))
        for number, of in enumerate(said)
    ]
    env.process(_watch(server, outcome))
    env.run(env.all_of(callers))
    outcome.over, outcome.used_s = env.now, server.processor.used_s
    return outcome


def by_recording(turns: Sequence[Turn]) -> dict[str, list[Turn]]:
    found: dict[str, list[Turn]] = {}
    for turn in turns:
        found.setdefault(turn.recording, []).append(turn)
    return found


def caller(
    server: Server,
    number: int,
    said: Sequence[str],
    known: dict[str, list[Turn]],
    chance: random.Random,
    outcome: Outcome,
) -> Generator[simpy.Event, Any, None]:
    env, waiting, tries = server.env, iter(said), 0
    yield env.timeout(chance.uniform(0.0, START_S))
    left, serial = len(said), 0
    while left:
        call = Call(server, number, serial, chance)
        serial += 1
        wait_min = server.admit(call)
        if wait_min:
            outcome.sent_away, tries = outcome.sent_away + 1, tries + 1
            if tries > MOST_TRIES:
                outcome.failed += left
                return
            yield env.timeout(wait_min * 60 * chance.uniform(1.0, 1.3))
            continue
        for recording in _some(waiting, min(TURNS_A_CALL, left)):
            left -= 1
            turn = chance.choice(known[recording])
            answered = yield from call.turn(turn)
            outcome.answered.append(answered)
            yield env.timeout(chance.uniform(*THINK_S))
        server.hang_up(call)


def _some(of: Iterator[str], count: int) -> Iterator[str]:
    for _ in range(count):
        yield next(of)


def _watch(server: Server, outcome: Outcome) -> Generator[simpy.Event, Any, None]:
    while True:
        yield server.env.timeout(1.0)
        outcome.levels.append(server.degradation.load.level(server.env.now))
