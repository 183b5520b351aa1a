"""`main.py` with one mechanism switched off, to see what it is worth: BENCH_WITHOUT=NAME python bench/without.py [FLAGS OF main.py]

A mechanism is switched off by other values for a few names in modules, or by settings. The stages are spawned processes, and
each of them runs this file again before anything else (as `__mp_main__`), so the values are there before any module that copies them
is imported. A name that no longer exists is an error, and tests/test_bench.py looks for all of them.
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


@dataclass(frozen=True)
class Mechanism:
    """`what` is the case without it. `values`: "module:name" or "module:Class.name" to what stands there instead."""

    what: str
    values: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


MECHANISMS = {
    "early-words": Mechanism("the words are asked for when the pause is certain, not at the first silence",
                             {"fusion.core.floor:EARLY": NEVER}),
    "early-guesses": Mechanism("no answer is begun while the person still speaks", {"fusion.core.guesses:EARLY_GUESSES": 0}),
    "guesses": Mechanism("no answer is begun before the turn is over",
                         {"fusion.core.guesses:EARLY_GUESSES": 0, "fusion.core.guesses:GUESSES": 0}),
    "prepare": Mechanism("the model reads the dialogue so far only with the question",
                         {"fusion.core.conversation:Conversation.opened": _nothing}),
    "short-context": Mechanism("the recognizer always reads 30 s", environment={"ASR_OPTION": "min_context_s=30"}),
    "end-of-turn-model": Mechanism("silence and words alone end a turn", environment={"TURN_ENGINE": "none"}),
    "first-clause": Mechanism("the voice waits for a whole sentence",
                              {**{f"fusion.core.text:{name}": NEVER for name in ("CLAUSE_WORDS", "PHRASE_WORDS", "FIRST_PATIENCE")},
                               "fusion.core.phrases:OPENERS": frozenset()}),
    "one-decode-thread": Mechanism("the language model decodes with two threads", environment={"LLM_OPTION": "decode_threads=2"}),
}


def place_of(name: str) -> tuple[Any, str]:
    """The object that holds "module:path", and the last part of the path. Raises AttributeError when nothing is there."""
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
