"""The real recognizer on the card: how long a pass takes, alone and in batches, what memory it
takes, and whether it hears the same words as on the CPU. Each step gives its figures part by part.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from bench.accuracy import word_errors
from bench.gpu import card
from bench.gpu.setup import LONGEST_S, Setup
from bench.verdicts import spread
from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.engines import ASROptions

ENGLISH = ASROptions(language="en")
SECONDS = (2.0, 4.0, 6.0, 8.0, 10.0)
BATCHES = (1, 2, 4, 8)
RECORDINGS = 40

Parts = Iterator[tuple[str, dict[str, Any]]]


def decode(engine: Any, pcm: Samples, final: bool = True) -> str:
    return str(engine.create_utterance(ENGLISH).accept_audio(pcm, final).text)


def timed_ms(work: Any) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def machine(setup: Setup) -> Parts:
    yield "", card.machine()


def first(setup: Setup) -> Parts:
    before = card.used_mb()
    began = time.perf_counter()
    engine = setup.whisper()
    yield "load", {"seconds": time.perf_counter() - began, "device": engine.device}
    (pcm,) = setup.stretches(4.0, 1)
    passes = [timed_ms(partial(decode, engine, pcm)) for _ in range(3)]
    yield "passes over 4 s", {f"ms, {at + 1}": each for at, each in enumerate(passes)}
    after = card.used_mb()
    if before is not None and after is not None:
        yield "memory", {"MB": after - before}


def latency(setup: Setup, compute_type: str) -> Parts:
    engine = setup.whisper(compute_type="int8" if setup.dry else compute_type)
    for seconds in SECONDS[:2] if setup.dry else SECONDS:
        stretches = setup.stretches(seconds, setup.tries)
        decode(engine, stretches[0])
        for final in (False, True):
            found = [timed_ms(partial(decode, engine, pcm, final)) for pcm in stretches]
            yield f"{seconds:g} s, {'final' if final else 'interim'}", {"ms": spread(found)}


def batches(setup: Setup) -> Parts:
    engine = setup.whisper()
    stretches = setup.stretches(4.0, max(BATCHES))
    for count in BATCHES[:2] if setup.dry else BATCHES:
        found = []
        for _ in range(1 + max(2, setup.tries // 3)):
            jobs = [(engine.create_utterance(ENGLISH), pcm, True) for pcm in stretches[:count]]
            found.append(timed_ms(partial(engine.decode_batch, jobs)))
        each = spread(found[1:])
        yield f"{count} at once", {"ms": each, "ms for each": each["p50"] / count}
    used = card.used_mb()
    yield "memory of the card in use", {} if used is None else {"MB": used}


def words(setup: Setup) -> Parts:
    """Both hear each recording whole, as one utterance."""
    short = [one for one in setup.speech() if len(one[1]) <= LONGEST_S * MICROPHONE_RATE]
    chosen = short[: 4 if setup.dry else RECORDINGS]
    heard: dict[str, list[str]] = {}
    for device in dict.fromkeys((setup.device, "cpu")):
        engine = setup.whisper(device)
        heard[device] = [decode(engine, pcm) for _, pcm in chosen]
        pairs = [(text, words) for (text, _), words in zip(chosen, heard[device], strict=True)]
        found = word_errors(pairs)
        yield device, {"wer": found["wer"], "words": found["words"], "recordings": len(chosen)}
    differing = word_errors(list(zip(heard["cpu"], heard[setup.device], strict=True)))
    yield "card against CPU", {"wer": differing["wer"], "differing": differing["wrong"]}
