"""`main.py` with one mechanism switched off, to see what it is worth: BENCH_WITHOUT=NAME python
bench/without.py [FLAGS OF main.py]

A mechanism is switched off by other values for a few names in modules, or by settings. The stages
are spawned processes, and each of them runs this file again before anything else (as
`__mp_main__`), so the values are there before any module that copies them is imported. A name that
no longer exists is an error, and tests/test_bench.py looks for all of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

NEVER = 10**9


def _nothing(*_: object) -> list[object]:
    return []


def _plain(*_: object) -> object:
    from whisperfusion.text.end_of_turn import Ending

    return Ending.PLAIN


@dataclass(frozen=True)
class Mechanism:
    """`what` is the case without it.

    `values`: "module:name" or "module:Class.name" to what stands there instead.

    `shown_by`: the part of the bench that shows it: "one caller", "eight callers", "cut-off" or
    "killed".
    """

    what: str
    shown_by: str = "one caller"
    values: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


MECHANISMS = {
    "early-transcript": Mechanism(
        "the words are asked for when the pause is certain, not at the first silence",
        values={"whisperfusion.turns.transcript_requests:EARLY": NEVER},
    ),
    "preemptive-in-speech": Mechanism(
        "no answer is begun before the last words are known",
        values={
            "whisperfusion.turns.preemptive_budget:MAX_WHILE_SPEAKING": 0,
            "whisperfusion.turns.user_speech:COVERED": -NEVER,
        },
    ),
    "preemptive": Mechanism(
        "no answer is begun before the turn is over",
        values={
            "whisperfusion.turns.preemptive_budget:MAX_WHILE_SPEAKING": 0,
            "whisperfusion.turns.preemptive_budget:MAX_IN_PAUSES": 0,
        },
    ),
    "prefill": Mechanism(
        "the model reads the dialogue only when it answers",
        values={"whisperfusion.engines.llama.llama_cpp:LlamaCpp.prefill": _nothing},
    ),
    "second-recognizer": Mechanism(
        "partial transcripts and last words share one copy of the recognizer",
        values={"whisperfusion.engines.whisper.faster_whisper:COPIED_BYTES": 0},
    ),
    "short-context": Mechanism(
        "the recognizer always reads 30 s", environment={"ASR_OPTION": "min_context_s=30"}
    ),
    "no-spinning": Mechanism(
        "the language model's threads spin while they wait, as libgomp does by default",
        values={"whisperfusion.engines.llama.server:SPIN": "30000000000"},
    ),
    "first-clause": Mechanism(
        "the voice waits for a whole sentence",
        values={
            **{
                f"whisperfusion.text.segmentation:{name}": NEVER
                for name in ("CLAUSE_WORDS", "PHRASE_WORDS", "FIRST_PATIENCE")
            },
            "whisperfusion.text.phrases:OPENERS": frozenset(),
        },
    ),
    "two-decode-threads": Mechanism(
        "the language model decodes with one thread", environment={"LLM_OPTION": "decode_threads=1"}
    ),
    "beginnings-first": Mechanism(
        "all answers are written at the same time",
        "eight callers",
        values={"whisperfusion.engines.llama.pace:Writing.must_wait": False},
    ),
    "warm-slots": Mechanism(
        "each caller's first words wait for the instructions to be read",
        "eight callers",
        values={"whisperfusion.engines.llama.llama_cpp:LlamaCpp.warm_up": _nothing},
    ),
    "recognizer-first": Mechanism(
        "the language model runs at the same priority as the recognizer",
        "eight callers",
        values={"llm_service:NICE": 0},
    ),
    "overload": Mechanism(
        "no call gets less when many talk",
        "eight callers",
        values={"whisperfusion.turns.load_shedding:TOP": 0},
    ),
    "end-of-turn-model": Mechanism(
        "silence and words alone end a turn", "cut-off", environment={"TURN_ENGINE": "none"}
    ),
    "words-in-turn-detection": Mechanism(
        "the end-of-turn model and silence alone end a turn",
        "cut-off",
        values={"whisperfusion.turns.turn_detection:ending": _plain},
    ),
    "longer-pauses": Mechanism(
        "no call is given longer pauses than others",
        "cut-off",
        values={"whisperfusion.turns.turn_detection:NARRATED": 0},
    ),
    "echo-guard": Mechanism(
        "each sound over the answer stops it",
        "killed",
        values={
            "whisperfusion.turns.overlap:GUARDED_REPLIES": 0,
            "whisperfusion.turns.overlap:MAX_PAUSES": NEVER,
        },
    ),
    "backchannels": Mechanism(
        "each word over the answer takes the turn",
        "killed",
        values={"whisperfusion.turns.overlap:is_backchannel": lambda text: False},
    ),
}


def place_of(name: str) -> tuple[Any, str]:
    """The object that holds "module:path", and the last part of the path.

    Raises AttributeError when nothing is there.
    """
    module, _, path = name.partition(":")
    holder: Any = import_module(module)
    *outer, last = path.split(".")
    for part in outer:
        holder = getattr(holder, part)
    getattr(holder, last)
    return holder, last


def switch_off(name: str) -> None:
    """Raises KeyError for a mechanism that is not known."""
    mechanism = MECHANISMS[name]
    os.environ.update(mechanism.environment)
    for where, value in mechanism.values.items():
        holder, last = place_of(where)
        setattr(holder, last, value)


if __name__ in ("__main__", "__mp_main__") and os.environ.get("BENCH_WITHOUT"):
    switch_off(os.environ["BENCH_WITHOUT"])

if __name__ == "__main__":
    from main import main

    sys.exit(main(sys.argv[1:]))
