"""Whether the engine of a replica is still of use.

A call that fails says little: its input may be odd. The engine is lost when an error says so (the
GPU, memory), or when several calls have failed in its library, none succeeded between them, and a
trial that a sound engine passes fails, too. Then only a new process helps.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import Any

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE
from whisperfusion.engines import ASROptions
from whisperfusion.errors import EngineError, first_line, lost_for_good
from whisperfusion.runtime.failure_streak import FailureStreak

TRIAL = "Ready."
SAME_DEVIATION = 1e-4  # of samples, where processors differ in their rounding

log = logging.getLogger("engine")


class Health:
    def __init__(self, kind: str) -> None:
        self._kind = kind
        self.lost = ""  # why, for a person; empty = it is not
        self._streak, self._numbers = FailureStreak(), itertools.count()
        self._trials: set[asyncio.Task[None]] = set()

    def ended(self, engine: Any, error: BaseException | None) -> None:
        """A call of `engine` ended, with an error or well. On the event loop."""
        if error is None:
            self._streak.succeeded()
        elif why := lost_for_good(error):
            self._lose(f"{why} ({first_line(error)})")
        elif not isinstance(error, EngineError) and self._streak.failed(str(next(self._numbers))):
            trial = asyncio.create_task(self._try(engine))
            self._trials.add(trial)
            trial.add_done_callback(self._trials.discard)

    async def _try(self, engine: Any) -> None:
        try:
            await asyncio.to_thread(trial, self._kind, engine)
        except Exception as error:
            self._lose(f"it fails at everything ({first_line(error)})")

    def _lose(self, why: str) -> None:
        if not self.lost:
            log.error("the engine is of no more use in this process: %s", why)
        self.lost = self.lost or why


def trial(kind: str, engine: Any) -> Any:
    """The result of a small job, which a sound engine can do."""
    match kind:
        case "asr":
            language = engine.languages[0] if engine.languages else None
            silence = np.zeros(MICROPHONE_RATE, np.float32)
            return engine.create_utterance(ASROptions(language)).accept_audio(silence)
        case "llm":
            return list(engine.stream_chat((("user", "Hello"),), max_tokens=1, temperature=0.0))
    return np.concatenate([np.zeros(0, np.float32), *engine.synthesize(TRIAL)])


def is_deterministic(voice: Any) -> bool:
    """Whether it says the same text with the same samples: then a sentence that broke off can be
    finished by another replica.
    """
    one, other = trial("tts", voice), trial("tts", voice)
    return len(one) == len(other) and bool(np.allclose(one, other, rtol=0.0, atol=SAME_DEVIATION))
