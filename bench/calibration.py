"""What bench/capacity.py needs to know of this machine: what each engine takes alone, and what
sharing the cores costs. `one_caller` has the rest.

Engines are timed by the processor time of this process, so that other programs change little; what
sharing costs is timed by the clock, which needs a quiet machine.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from bench.common import say, utterances
from bench.queueing.callers import TEMPLATE, TOKENS_A_WORD
from bench.queueing.parameters import Engines, Sharing
from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.engines import ASROptions
from whisperfusion.settings import Settings

TRIES = 5
LENGTHS_S = (1.0, 2.0, 3.0)  # of the recognizer's sound: turns of a conversation
TOGETHER = (1, 2, 4)
TEXTS = (
    "Yes.",
    "It is about ten minutes to five.",
    "The light in the kitchen is on, and the door is closed now, so you can go to bed.",
)
ASKED = (
    "Tell me a long story about a lighthouse keeper.",
    "Explain how a loaf of bread is made.",
    "Describe a day in the life of a train driver.",
    "How do the seasons come about?",
)
SHORT = (
    "What is the capital of the north?",
    "Could you wake me at seven tomorrow?",
    "I have lost my keys in the garden again.",
    "Which train goes to the coast today?",
    "My sister plays the piano very well.",
)
WRITTEN = 40  # tokens of a reply that is timed
SPIN = "while True: pass"
THREADS = 2  # of the language model, while it is timed
ON = ("decode_threads", "prompt_threads")


def engines(settings: Settings) -> tuple[Engines, Sharing]:
    say("engines alone")
    # first: its library reads how long threads spin when it is loaded, and Whisper's sets it too
    written, sharing = _language_model(settings)
    found = {**_recognizers(settings), **_end_of_turn(settings), **_voice()}
    sharing = replace(sharing, together=_together(settings))
    return Engines(**found, **written, frames=0.0), sharing


def _seconds(run: Callable[[], object], tries: int = TRIES) -> float:
    """Median processor seconds of this process, after one run that does not count."""
    run()
    found = []
    for _ in range(tries):
        began = time.process_time()
        run()
        found.append(time.process_time() - began)
    return statistics.median(found)


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """(fixed, each) by least squares, neither below 0."""
    each, fixed = np.polyfit([x for x, _ in points], [y for _, y in points], 1)
    if each < 0:
        return statistics.mean(y for _, y in points), 0.0
    return max(0.0, float(fixed)), float(each)


def _sound() -> Samples:
    return np.concatenate([one.pcm[one.first : one.last] for one in utterances()])


def _recognizers(settings: Settings) -> dict[str, float]:
    from whisperfusion.call.recognizers import load_asr, load_small

    asr: Any = load_asr(settings, 1, say)
    small: Any = load_small(settings, asr.device, 1)
    sound, options = _sound(), ASROptions("en")

    def decode(engine: Any, length_s: float, final: bool) -> float:
        pcm = sound[: int(length_s * MICROPHONE_RATE)]
        return _seconds(lambda: engine.create_utterance(options).accept_audio(pcm, final))

    lines = {
        final: _line([(length, decode(asr, length, final)) for length in LENGTHS_S])
        for final in (False, True)
    }
    pieces = [one.pcm[one.first : one.last] for one in utterances()][: max(TOGETHER)]

    def batch(of: Sequence[Samples]) -> float:
        def run() -> object:
            return asr.decode_batch([(asr.create_utterance(options), pcm, True) for pcm in of])

        return _seconds(run)

    batches = [batch(pieces[:count]) for count in TOGETHER]
    whole = sum(batch([pcm]) for pcm in pieces)
    first = batches[0]
    more = (batches[-1] - first) / max(whole - first, 1e-6)
    smaller = decode(small, 2.0, True) / decode(asr, 2.0, True) if small is not None else 1.0
    return {
        "interim_fixed": lines[False][0],
        "interim_each": lines[False][1],
        "final_fixed": lines[True][0],
        "final_each": lines[True][1],
        "more": min(max(more, 0.1), 1.0),
        "small": min(max(smaller, 0.1), 1.0),
    }


def _end_of_turn(settings: Settings) -> dict[str, float]:
    from whisperfusion.call.detectors import load_turn_model

    model: Any = load_turn_model(settings, say)
    if model is None:
        return {"end_of_turn": 0.0}
    pcm = _sound()[: 3 * MICROPHONE_RATE]
    return {"end_of_turn": _seconds(lambda: model.predict_end_of_turn(pcm))}


def _voice() -> dict[str, float]:
    from whisperfusion.engines import load

    voice: Any = load("tts", "hibari")

    def say_it(text: str) -> float:
        return _seconds(lambda: list(voice.synthesize(text)))

    points = [(float(len(text)), say_it(text)) for text in TEXTS]
    fixed, each = _line(points)
    return {"voice": fixed, "character": each}


# --- the language model -------------------------------------------------------------------------


def _language_model(settings: Settings) -> tuple[dict[str, float], Sharing]:
    engine = _llama(settings)
    written = Written(engine, settings)
    written.together(ASKED[:1])
    alone = [written.together([text]) for text in ASKED[:3]]
    step_1 = statistics.median(used / max(1, count) for _, used, count in alone) / THREADS
    prompt = written.prompt(step_1)
    rate = statistics.median(count / took for took, _, count in alone if took)
    barrier = _barrier(lambda: written.together(ASKED[:1]), rate)
    # on more cores than four, all replies are written at once, whatever is heard of them
    several = Written(_llama(settings, threads=8), settings)
    several.together(ASKED)
    _, used, count = several.together(ASKED)
    step_4 = used / max(1, count) * len(ASKED) / THREADS
    token = min(max((step_4 - step_1) / (len(ASKED) - 1), 0.0), step_1 / 2)
    return (
        {"step": step_1 - token, "token": token, "prompt": prompt},
        Sharing(1.0, barrier),
    )


def _llama(settings: Settings, **options: Any) -> Any:
    from whisperfusion.generation.llm_links import load_embedded

    return load_embedded(settings, say, "", {**options, **dict.fromkeys(ON, THREADS)})


class Written:
    """Replies of one engine, timed."""

    def __init__(self, engine: Any, settings: Settings) -> None:
        self._engine, self._head = engine, ("system", settings.instructions)

    def _pieces(self, asked: str, most: int) -> Iterator[str]:
        lines = (self._head, ("user", asked))
        for piece in self._engine.stream_chat(lines, max_tokens=most, temperature=0.0):
            if str(piece):
                yield piece

    def together(self, asked: Sequence[str]) -> tuple[float, float, int]:
        """(seconds, processor seconds, tokens) of replies that are written at once, from the moment
        at which each has begun.
        """
        wrote, began = [0] * len(asked), [0.0, 0.0]

        def one(at: int, text: str) -> None:
            for _ in self._pieces(text, WRITTEN):
                wrote[at] += 1
                if not began[0] and all(wrote):
                    began[:] = [time.monotonic(), time.process_time()]
                    wrote[:] = [0] * len(wrote)

        threads = [threading.Thread(target=one, args=each) for each in enumerate(asked)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        if not began[0]:
            return 0.0, 0.0, 0
        return time.monotonic() - began[0], time.process_time() - began[1], sum(wrote)

    def prompt(self, step_s: float) -> float:
        """Seconds of each thread for one token of a short question, behind a prompt that was read:
        with few tokens at once each takes longer.
        """
        found = []
        for asked in SHORT:
            began = time.process_time()
            for _ in self._pieces(asked, 1):
                pass
            used = (time.process_time() - began) / THREADS
            found.append((used - step_s) / (TEMPLATE + TOKENS_A_WORD * len(asked.split())))
        return max(0.0, statistics.median(found))


def _barrier(write: Callable[[], tuple[float, float, int]], rate: float) -> float:
    """What two threads keep of their share of two cores beside a busy loop, at nice 0 (their share
    is two thirds) and at nice 10 (nearly all).
    """
    kept = []
    for nice, share in ((0, 2 / 3), (10, 0.95)):
        with _busy(nice):
            took, _, count = write()
        kept.append(count / max(took, 1e-6) / rate / share)
    return min(max(statistics.mean(kept), 0.3), 1.0)


@contextmanager
def _busy(nice: int) -> Iterator[None]:
    loop = subprocess.Popen(["nice", "-n", str(nice), sys.executable, "-c", SPIN])
    try:
        yield
    finally:
        loop.kill()
        loop.wait()


def _together(settings: Settings) -> float:
    """The speed of a core while the other one works as well: decodes by two copies at once, by
    their processor time.
    """
    from whisperfusion.call.recognizers import load_asr

    asr: Any = load_asr(settings, 1, say)
    pcm, options = _sound()[: 2 * MICROPHONE_RATE], ASROptions("en")

    def decode(final: bool) -> None:
        for _ in range(TRIES):
            asr.create_utterance(options).accept_audio(pcm, final)

    def both() -> None:
        other = threading.Thread(target=decode, args=(False,))
        other.start()
        decode(True)
        other.join()

    alone = _seconds(lambda: decode(True), 1) + _seconds(lambda: decode(False), 1)
    return min(max(alone / _seconds(both, 1), 0.4), 1.0)
