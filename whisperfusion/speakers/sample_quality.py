"""How good a recording is as the sample of a voice: how much speech, how loud, how much noise, how
much of it clipped, and of how many people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.engines import SpeakerEncoder
from whisperfusion.speakers.diarization import CreateDetector, Diarization

FRAME = MICROPHONE_RATE // 50  # samples whose level is one
EDGE = 5  # frames beside speech that are neither speech nor noise
FEWEST = 10  # frames of pauses in which noise can be measured
FULL = 0.97  # of full scale: with the ripple of a change of rate, what was clipped lies above
SILENCE_DB = -100.0
LEAST_OTHER_S, LEAST_OTHER = 2.0, 0.25  # speech that another person has, at least; its share


@dataclass(frozen=True)
class SampleQuality:
    """`level_db`: of the speech, dBFS. `noise_db`: of the pauses, None = there are too few.
    `clipped`: share of the speech at full scale, 0..1.
    """

    speech_s: float
    level_db: float
    noise_db: float | None
    clipped: float


def quality_of(pcm: Samples, regions: Sequence[tuple[float, float]]) -> SampleQuality:
    """`pcm` float32 [samples] at 16 kHz; `regions` of speech in it, (start, end) in seconds."""
    frames = pcm[: len(pcm) // FRAME * FRAME].reshape(-1, FRAME)
    speech, near = np.zeros(len(frames), bool), np.zeros(len(frames), bool)
    for start, end in regions:
        first, last = int(start * MICROPHONE_RATE / FRAME), int(end * MICROPHONE_RATE / FRAME)
        speech[first:last] = True
        near[max(0, first - EDGE) : last + EDGE] = True
    spoken, pauses = frames[speech], frames[~near]
    return SampleQuality(
        round(sum(end - start for start, end in regions), 3),
        _level(np.square(spoken).mean() if len(spoken) else 0.0),
        _level(np.median(np.square(pauses).mean(axis=1))) if len(pauses) >= FEWEST else None,
        round(float((np.abs(spoken) >= FULL).mean()), 5) if len(spoken) else 0.0,
    )


def speakers_in(pcm: Samples, encoder: SpeakerEncoder, create_detector: CreateDetector) -> int:
    """How many people have a good part of the speech; 0 where there is none."""
    whole = Diarization(encoder, create_detector)
    whole.add(pcm)
    seconds: dict[str, float] = {}
    for turn in whole.turns():
        seconds[turn.speaker] = seconds.get(turn.speaker, 0.0) + turn.end_s - turn.start_s
    total = sum(seconds.values())
    least = max(LEAST_OTHER_S, LEAST_OTHER * total)
    return sum(one >= least for one in seconds.values()) or min(1, len(seconds))


def _level(power: float) -> float:
    return round(float(max(SILENCE_DB, 10 * np.log10(max(power, 1e-12)))), 1)
