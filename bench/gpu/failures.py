"""What goes wrong on a card: no memory for a pass or a start, and a job that is closed in the
middle. The words of the library are kept, so that `errors.py` can be held against them.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from bench.gpu import card
from bench.gpu.recognizer import ENGLISH, Parts, decode
from bench.gpu.setup import Setup
from whisperfusion.errors import EngineError, gpu_is_full, gpu_is_lost

LEAVE_MB = 24
FILE_S = 29.0


def attempt(work: Any) -> dict[str, Any]:
    """What `work` ends with, and what the server takes it for."""
    try:
        work()
    except Exception as error:  # every kind is a finding
        cause = error.__cause__ or error
        return {
            "error": f"{type(error).__name__}: {error}",
            "of the library": f"{type(cause).__name__}: {cause}",
            "ends a turn": isinstance(error, EngineError) or gpu_is_full(error),
            "ends the process": not isinstance(error, EngineError) and gpu_is_lost(error),
        }
    return {"error": "none"}


def memory_full(setup: Setup) -> Parts:
    engine = setup.whisper()
    (pcm,) = setup.stretches(4.0, 1)
    before = decode(engine, pcm)
    long = setup.stretches(20.0, 2 if setup.dry else 8)

    def batch() -> None:
        jobs = [(engine.create_utterance(ENGLISH), each, True) for each in long]
        for one in engine.decode_batch(jobs):
            if isinstance(one, Exception):
                raise one

    with card.filled(LEAVE_MB) as taken:
        yield "a batch of long utterances", {"taken MB": taken, **attempt(batch)}
        yield "a file", attempt(lambda: list(engine.transcribe(np.concatenate(long), ENGLISH)))
        yield "a second start", attempt(setup.whisper)
    yield "afterwards", {**attempt(batch), "same words": decode(engine, pcm) == before}


def closing(setup: Setup) -> Parts:
    """The time that the process then takes to end is in the record of its end."""
    engine = setup.whisper()
    (pcm,) = setup.stretches(4.0, 1)
    before = decode(engine, pcm)
    (part,) = setup.stretches(FILE_S, 1)
    segments = engine.transcribe(np.tile(part, 1 if setup.dry else 20), ENGLISH)
    first = next(iter(segments)).text
    began = time.perf_counter()
    segments.close()
    yield (
        "a file, after its first words",
        {"ms": (time.perf_counter() - began) * 1000, "first": first},
    )
    yield "afterwards", {"same words": decode(engine, pcm) == before}
