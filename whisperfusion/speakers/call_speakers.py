"""The speakers of a call, turn by turn, while it goes on: nearest centroid, or a new speaker.

A turn is named when it ends and is not renamed. The embedding of a turn is the mean of its windows,
so the same two people are more alike in turns than in windows of a recording; a turn of a word or
two says too little to make a speaker, or to change one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.engines import SpeakerEncoder, VADStream
from whisperfusion.speakers import letters
from whisperfusion.speakers.clustering import unit
from whisperfusion.speakers.diarization import MOST_SPEAKERS, cut, speech_regions

ABOVE = 0.06  # turns of one speaker are so much more alike than windows are
ABOVE_FOR_SAMPLES = 0.03  # known speakers kept and others refused alike (bench/speakers.py)
SURE_S = 0.8  # of speech that a new speaker needs
LONGEST_S = 8.0  # of a turn that is listened to, its end
MOST_WINDOWS = 8
SAMPLE_WEIGHT = 10.0  # seconds that a known speaker's sample counts as


class CallSpeakers:
    """`known` are embeddings by name; `most` speakers at most, 0 = any number; `name_of` names
    those that are not known, counted from 0.
    """

    def __init__(
        self,
        same_speaker: float,
        known: Mapping[str, Samples] | None = None,
        most: int = 0,
        name_of: Callable[[int], str] = letters,
    ) -> None:
        self._same, self._most = same_speaker + ABOVE, most or MOST_SPEAKERS
        self._same_as_sample = same_speaker + ABOVE_FOR_SAMPLES
        self._sums = {name: vector * SAMPLE_WEIGHT for name, vector in (known or {}).items()}
        self._names = (name for name in map(name_of, count()) if name not in (known or {}))
        self._known = dict(known or {})

    def known_speaker(self, embedding: Samples, speech_s: float) -> str | None:
        """The known speaker whose voice this is, "" = none; None: so little speech does not tell.

        Only samples are compared with. What the call has found may be a known speaker in another
        mood, to which all that follows would be more alike; and samples that learn from turns
        learn from those of others, too (bench/speakers.py: 88 % of them refused instead of 78).
        """
        if speech_s < SURE_S:
            return None
        nearest, alike = _nearest(embedding, self._known)
        return nearest if alike >= self._same_as_sample else ""

    def speaker_of(self, embedding: Samples, speech_s: float) -> str:
        """The name of the speaker of a turn with so much speech; the turn counts from now on."""
        nearest, alike = _nearest(embedding, self._sums)
        if alike < self._same:
            full = len(self._sums) >= self._most
            if nearest and (full or speech_s < SURE_S):
                return nearest
            nearest = next(self._names)
        if speech_s >= SURE_S or nearest not in self._sums:
            self._sums[nearest] = self._sums.get(nearest, 0.0) + embedding * speech_s
        return nearest


def _nearest(embedding: Samples, sums: Mapping[str, Samples]) -> tuple[str, float]:
    """The speaker whose voice is the most alike, and the cosine; "" = there is none."""
    nearest, alike = "", -1.0
    for name, total in sums.items():
        cosine = float(unit(total) @ embedding)
        if cosine > alike:
            nearest, alike = name, cosine
    return nearest, alike


def embed_turn(
    pcm: Samples, encoder: SpeakerEncoder, detector: VADStream
) -> tuple[Samples, float] | None:
    """The embedding of the speaker of a turn, and its seconds of speech; None without speech."""
    pcm = pcm[-int(LONGEST_S * MICROPHONE_RATE) :]
    regions = speech_regions(pcm, detector)
    if not regions:
        return None
    windows = [window for region in regions for window in cut(*region)]
    chosen = np.unique(np.linspace(0, len(windows) - 1, MOST_WINDOWS).round().astype(int))
    spans = [windows[at] for at in chosen]
    clips = [pcm[int(a * MICROPHONE_RATE) : int(b * MICROPHONE_RATE)] for a, b in spans]
    lengths = np.array([b - a for a, b in spans], np.float32)
    vector = unit((encoder.embed(clips) * lengths[:, None]).sum(axis=0))
    return vector, sum(end - start for start, end in regions)
