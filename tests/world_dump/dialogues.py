"""Random dialogues as plain values, which every version of the code can act out.

The kinds are those of tests/test_world.py, and one with what a client changes during a call.
Nothing here knows the package, and `random.Random` gives every Python the same numbers: number and
seed of a dialogue are all that two versions need to share.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

OPEN = ("what is the", "i would like to", "tell me about the", "and", "how do we")
SPELLED = ("my number is five five five", "alpha bravo", "seven")
QUESTIONS = ("how old are they", "what time is it", "where is the nearest hotel")
PLAIN = (
    "capital of france",
    "weather in rome tomorrow",
    "kilo",
    "stop",
    "delta yeah",
    "do not know what that means but go ahead",
)
BACKCHANNELS = ("yeah", "mm-hmm", "okay", "i see", "yeah yeah right")
GAPS_S = (0.08, 0.15, 0.2, 0.35, 0.6, 1.0, 1.6, 2.4, 4.0, 8.0)
PIECES = {
    "open": OPEN,
    "spelled": SPELLED,
    "question": QUESTIONS,
    "plain": PLAIN,
    "backchannel": BACKCHANNELS,
}
SOUNDS = ("open", "spelled", "question", "plain", "plain", "backchannel", "cough", "invented")
WORD_S = 0.25  # of a person
QUIET_S = 130.0  # longer than every deadline together
KINDS = ("plain", "noises", "echo", "interruption", "accidents", "requests", "loss", "changes")


@dataclass(frozen=True)
class Sound:
    """A person makes it at `at` seconds: words, or a cough, which may sound like words."""

    at: float
    words: tuple[str, ...] = ()
    cough_s: float = 0.0
    invents: bool = False

    @property
    def end(self) -> float:
        return self.at + (WORD_S * len(self.words) if self.words else self.cough_s)


@dataclass(frozen=True)
class Dialogue:
    """`manner`: how the world is. `happens`: (when, what, with) of all that is not said.

    `reactions`: (seconds after an answer's first sound, what is said then), one answer each;
    `later`: questions, each asked when all is quiet.
    """

    kind: str
    seed: int
    script: tuple[Sound, ...]
    until: float
    manner: dict[str, Any]
    reactions: tuple[tuple[float, Sound], ...] = ()
    later: tuple[tuple[str, ...], ...] = ()
    options: dict[str, Any] = field(default_factory=dict)  # of the call, from its start
    happens: tuple[tuple[float, str, tuple[Any, ...]], ...] = ()


def dialogue(seed: int, number: int) -> Dialogue:
    chance = random.Random(f"{seed}/{number}")
    kind = KINDS[number % len(KINDS)]
    return _MAKERS[kind](chance, kind)


def _sound(chance: random.Random, at: float) -> Sound:
    kind = chance.choice(SOUNDS)
    if kind in ("cough", "invented"):
        return Sound(at, cough_s=chance.uniform(0.05, 0.8), invents=kind == "invented")
    return Sound(at, tuple(chance.choice(PIECES[kind]).split()))


def _script(chance: random.Random) -> tuple[Sound, ...]:
    """A person who speaks, pauses in the middle, goes on, interrupts, coughs and mumbles "yeah"."""
    script, when = [], chance.uniform(0.2, 1.0)
    for _ in range(chance.randint(1, 8)):
        script.append(_sound(chance, when))
        when = script[-1].end + chance.choice(GAPS_S)
    return tuple(script)


def _manner(chance: random.Random) -> dict[str, Any]:
    return {
        "scored": chance.random() < 0.5,
        "eagerness": chance.choice((0.0, 0.3, 0.5, 1.0)),
        "slow": chance.choice((0.5, 1.0)),
        "filler": chance.choice(("", "one little moment")),
    }


def _rations(chance: random.Random) -> tuple[tuple[float, str, tuple[Any, ...]], ...]:
    """What an overloaded machine allows, from a moment on."""
    count = chance.randint(0, 2)
    return tuple(
        (
            chance.uniform(0.0, 20.0),
            "ration",
            (chance.choice((0.2, 0.3, 0.8, 2.0)), chance.randint(0, 3)),
        )
        for _ in range(count)
    )


def _plain(chance: random.Random, kind: str) -> Dialogue:
    script = _script(chance)
    return Dialogue(
        kind,
        chance.getrandbits(32),
        script,
        script[-1].end + QUIET_S,
        _manner(chance),
        happens=_rations(chance),
    )


def _noises(chance: random.Random, kind: str) -> Dialogue:
    noises = []
    for _ in range(chance.randint(1, 4)):
        if chance.random() < 0.5:
            noise = Sound(0.0, tuple(chance.choice(BACKCHANNELS).split()))
        else:
            noise = Sound(0.0, cough_s=chance.uniform(0.05, 0.8), invents=chance.random() < 0.5)
        noises.append((chance.uniform(0.1, 6.0), noise))
    hello = (Sound(0.5, ("hello", "there")),)
    return Dialogue(
        kind,
        chance.getrandbits(32),
        hello,
        60.0 + QUIET_S,
        _manner(chance),
        reactions=tuple(noises),
    )


def _echo(chance: random.Random, kind: str) -> Dialogue:
    questions = [
        tuple(chance.choice(QUESTIONS + PLAIN).split()) for _ in range(chance.randint(1, 4))
    ]
    manner = {**_manner(chance), "echo_s": chance.uniform(0.05, 0.3)}
    return Dialogue(
        kind,
        chance.getrandbits(32),
        (Sound(0.5, questions[0]),),
        QUIET_S,
        manner,
        later=tuple(questions[1:]),
        happens=_rations(chance),
    )


def _interruption(chance: random.Random, kind: str) -> Dialogue:
    reaction = chance.uniform(0.1, 4.0), Sound(0.0, tuple(chance.choice(PLAIN).split()))
    manner = {
        **_manner(chance),
        "replies": (25, 40),
        "echo_s": chance.choice((None, 0.05, 0.12, 0.3)),
    }
    hello = (Sound(0.5, ("hello", "there")),)
    return Dialogue(
        kind,
        chance.getrandbits(32),
        hello,
        60.0 + QUIET_S,
        manner,
        reactions=(reaction,),
        happens=_rations(chance),
    )


def _accidents(chance: random.Random, kind: str) -> Dialogue:
    """Things that happen beside speech: a typed line, a hand on a button, a process that dies."""
    script = _script(chance)
    manner = {**_manner(chance), "echo_s": chance.choice((None, 0.05, 0.2))}
    accidents = [
        ("typed", ("kilo kilo",)),
        ("interrupt", ()),
        ("commit", ()),
        ("kill", ("llm",)),
        ("kill", ("tts",)),
    ]
    happens = tuple(
        (chance.uniform(0.5, 20.0), *chance.choice(accidents)) for _ in range(chance.randint(0, 4))
    )
    return Dialogue(
        kind,
        chance.getrandbits(32),
        script,
        script[-1].end + 20.0 + QUIET_S,
        manner,
        happens=_rations(chance) + happens,
    )


WISHES: tuple[tuple[tuple[str, tuple[Any, ...]], ...], ...] = (
    (("respond", ({},)),),
    (("respond", ({"instructions": "Be rude."},)),),
    (("respond", ({"max_tokens": 20},)),),
    (("commit", ()),),
    (("commit", ()), ("respond", ({},))),
    (("clear", ()),),
    (("history", ()),),
    (("interrupt", ()),),
    (("kill", ("llm",)),),
)


def _wishes(
    chance: random.Random, script: tuple[Sound, ...], wishes: tuple[Any, ...]
) -> tuple[tuple[float, str, tuple[Any, ...]], ...]:
    """While something is said, and some soon after the other."""
    happens: list[tuple[float, str, tuple[Any, ...]]] = []
    for sound in script:
        when = chance.uniform(sound.at, sound.end + 0.5)
        for _ in range(chance.randint(0, 3)):
            happens += [(when, *one) for one in chance.choice(wishes)]
            when += chance.choice((0.0, 0.02, 0.1, 0.5, 3.0))
    return tuple(happens)


def _requests(chance: random.Random, kind: str) -> Dialogue:
    script = _script(chance)
    options = {"answers": chance.random() < 0.5, "interruptible": chance.random() < 0.5}
    until = script[-1].end + 20.0 + QUIET_S
    happens = _wishes(chance, script, WISHES)
    return Dialogue(
        kind,
        chance.getrandbits(32),
        script,
        until,
        _manner(chance),
        options=options,
        happens=happens,
    )


def _loss(chance: random.Random, kind: str) -> Dialogue:
    script = _script(chance)
    manner = {"loss": chance.uniform(0.01, 0.3), "echo_s": chance.choice((None, 0.05, 0.2))}
    return Dialogue(kind, chance.getrandbits(32), script, script[-1].end + QUIET_S * 3, manner)


CHANGES: tuple[tuple[tuple[str, tuple[Any, ...]], ...], ...] = (
    (("change", ("instructions", "Be short.")),),
    (("change", ("automatic", False)),),
    (("change", ("automatic", True)),),
    (("change", ("answers", False)),),
    (("change", ("answers", True)),),
    (("change", ("interruptible", False)),),
    (("change", ("interruptible", True)),),
    (("change", ("eagerness", 1.0)),),
    (("change", ("silence_s", 0.4)),),
    (("change", ("silence_s", None)),),  # judged
    (("change", ("language", "de")),),
    (("change", ("max_tokens", 50)),),
    (("change", ("tools", '{"tools": [], "tool_choice": "auto"}')),),
    (("tool_call", ("c1", "look", "{}")),),
    (("tool_call", ("c1", "look", '{"at": "the sky"}')),),
    (("tool_result", ("c1", "it rains")), ("respond", ({},))),
    (("typed", ("one more thing",)),),
    (("commit", ()),),
)


def _changes(chance: random.Random, kind: str) -> Dialogue:
    """What a client may change or tell during a call; some have captions only."""
    script = _script(chance)
    options = {"replies": chance.random() < 0.85, "automatic": chance.random() < 0.8}
    reports = [
        (chance.uniform(0.0, script[-1].end + 20.0), "heard_up_to", (chance.uniform(0.0, 5.0),))
        for _ in range(4)
    ]
    happens = (*_wishes(chance, script, CHANGES), *reports)
    return Dialogue(
        kind,
        chance.getrandbits(32),
        script,
        script[-1].end + 20.0 + QUIET_S,
        _manner(chance),
        options=options,
        happens=happens,
    )


_MAKERS = {
    "plain": _plain,
    "noises": _noises,
    "echo": _echo,
    "interruption": _interruption,
    "accidents": _accidents,
    "requests": _requests,
    "loss": _loss,
    "changes": _changes,
}
