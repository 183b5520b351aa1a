"""What the model knows of a machine and of the people who call: measured by bench/capacity.py
calibrate, kept in bench/capacity.json.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Engines:
    """Seconds of one thread, alone on a core that nothing else shares.

    Recognizers: a decode takes `fixed` and `each` second of sound; one more utterance in the same
    batch takes `more` of one alone; the smaller one takes `small` of it. A language model's step
    takes `step`, `token` for each reply in it and `prompt` for each token of a prompt. A clause of
    speech takes `voice` and `character`. `frames` is the share of a core that one call takes all
    the time.
    """

    interim_fixed: float
    interim_each: float
    final_fixed: float
    final_each: float
    more: float
    small: float
    end_of_turn: float
    step: float
    token: float
    prompt: float
    voice: float
    character: float
    frames: float


@dataclass(frozen=True)
class Sharing:
    """`together`: the speed of a core while all are busy. `barrier`: what threads that wait for
    each other keep of their share, where others interrupt them. `second_thread`: what each further
    thread adds to the speed of one.
    """

    together: float
    barrier: float
    second_thread: float = 0.8


@dataclass(frozen=True)
class Turn:
    """One turn of the one caller whom the model is fitted to.

    `speech_s`: from the first sound to the last; `before_s`, `after_s`: silence around it, which
    the caller's client plays too. `wait_s`: the
    silence that ends it, apart from all work. `early_s`: the reply that fitted was begun so long
    after the end of speech (negative: before), None: with the final transcript. `words`: of the
    user. `reply`: its text.
    """

    recording: str
    before_s: float
    speech_s: float
    after_s: float
    wait_s: float
    early_s: float | None
    words: int
    reply: str


@dataclass(frozen=True)
class Fitted:
    """`overhead_s`: between the processes and on the sockets, from one caller. `work`: all work
    takes so much more beside other callers than alone, from one level of load; 1 = not fitted.
    """

    overhead_s: float = 0.015
    work: float = 1.0


@dataclass(frozen=True)
class Parameters:
    """`wasted`: preemptive replies for each turn of the one caller that did not fit.
    `characters_per_s`: of speech.
    """

    cores: int
    engines: Engines
    sharing: Sharing
    turns: tuple[Turn, ...]
    wasted: float
    characters_per_s: float
    fitted: Fitted = Fitted()

    def on(self, cores: int) -> Parameters:
        return replace(self, cores=cores)


def to_json(parameters: Parameters) -> dict[str, Any]:
    return asdict(parameters)


def from_json(found: Mapping[str, Any]) -> Parameters:
    turns: Sequence[Mapping[str, Any]] = found["turns"]
    return Parameters(
        cores=found["cores"],
        engines=Engines(**found["engines"]),
        sharing=Sharing(**found["sharing"]),
        turns=tuple(Turn(**one) for one in turns),
        wasted=found["wasted"],
        characters_per_s=found["characters_per_s"],
        fitted=Fitted(**found["fitted"]),
    )
