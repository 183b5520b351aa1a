"""A recording divided among its speakers.

Speech is found by the speech detector, cut into overlapping windows of 1.6 s (what the encoder was
trained on), and the windows' embeddings are clustered. Then each tenth of a second goes to the
speaker that the windows over it are most alike to, with a price for each change (Viterbi), so that
turns change where the voices do, not at the border of a window. Where two speak at once, one is
named.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, VAD_WINDOW, Samples
from whisperfusion.engines import SpeakerEncoder, VADStream
from whisperfusion.speakers import letters
from whisperfusion.speakers.clustering import centroids, clustered, unit

WINDOW_S, HOP_S = 1.6, 0.4
STEP_S = 0.1  # in which speakers are told apart
SPEECH, SILENCE = 0.5, 0.35  # probabilities of the detector at which speech begins and ends
GAP_S, SHORTEST_S = 0.25, 0.15  # a pause that stays inside a region; a region
SURE_S = 0.8  # a shorter window says too little: it is given to a speaker, and makes none
LEAST_S = 1.5  # of speech of one speaker in a recording; less is another one's, misheard
CHANGE = 0.35  # the price of a change: cosines summed over steps
AT_MOST = 800  # vectors that are clustered; of a longer recording neighbours are joined before
MOST_SPEAKERS = 20

CreateDetector = Callable[[], VADStream]
Named = tuple[float, float, "str | int"]  # start, end; the name of a speaker, or a number


@dataclass(frozen=True)
class Turn:
    """Seconds from the start of the recording."""

    start_s: float
    end_s: float
    speaker: str


@dataclass(frozen=True)
class Window:
    """What one embedding was made of; seconds from the start of the recording. `region` counts the
    regions of speech.
    """

    start_s: float
    end_s: float
    region: int


class Diarization:
    """One recording: `add` its audio stretch by stretch, then ask for `turns`.

    One thread at a time. Keeps 2.5 KB for each second of speech.
    """

    def __init__(self, encoder: SpeakerEncoder, create_detector: CreateDetector) -> None:
        self._encoder, self._create_detector = encoder, create_detector
        self._windows: list[Window] = []
        self._vectors: list[Samples] = []
        self._regions: list[tuple[float, float]] = []
        self._read_s = 0.0

    def add(self, pcm: Samples) -> None:
        """The next stretch, float32 [samples] at 16 kHz. Best cut where nobody speaks."""
        windows = []
        for start, end in speech_regions(pcm, self._create_detector()):
            number = len(self._regions)
            self._regions.append((self._read_s + start, self._read_s + end))
            windows += [Window(a, b, number) for a, b in cut(start, end)]
        clips = [
            pcm[int(one.start_s * MICROPHONE_RATE) : int(one.end_s * MICROPHONE_RATE)]
            for one in windows
        ]
        if clips:
            self._vectors.append(self._encoder.embed(clips))
            self._windows += [
                Window(one.start_s + self._read_s, one.end_s + self._read_s, one.region)
                for one in windows
            ]
        self._read_s += len(pcm) / MICROPHONE_RATE

    def turns(self, known: Mapping[str, Samples] | None = None, most: int = 0) -> list[Turn]:
        """In order of time, without overlaps. `known` are embeddings of speakers by their names;
        the others are called A, B and so on, in order of appearance. `most` speakers at most, 0 =
        any number.
        """
        if not self._windows:
            return []
        vectors = np.concatenate(self._vectors)
        threshold = self._encoder.same_speaker
        speakers = found_speakers(self._windows, vectors, threshold, most or MOST_SPEAKERS)
        names = named(speakers, known or {}, threshold)
        found: list[Named] = []
        for number, (start, end) in enumerate(self._regions):
            mine = [at for at, one in enumerate(self._windows) if one.region == number]
            windows = [self._windows[at] for at in mine]
            cosines = vectors[mine] @ speakers.T
            found += _merged(start, end, _path(_steps(windows, cosines, start, end)), names)
        return lettered(found, known or {})


def speech_regions(pcm: Samples, detector: VADStream) -> list[tuple[float, float]]:
    """(start, end) in seconds of each stretch of speech."""
    length_s = VAD_WINDOW / MICROPHONE_RATE
    found: list[list[float]] = []
    speaks = False
    for at in range(len(pcm) // VAD_WINDOW):
        probability = detector.probability(pcm[at * VAD_WINDOW : (at + 1) * VAD_WINDOW])
        if not speaks and probability >= SPEECH:
            speaks = True
            if found and at * length_s - found[-1][1] < GAP_S:
                found[-1][1] = (at + 1) * length_s
            else:
                found.append([at * length_s, (at + 1) * length_s])
        elif speaks and probability < SILENCE:
            speaks = False
        elif speaks:
            found[-1][1] = (at + 1) * length_s
    return [(start, end) for start, end in found if end - start >= SHORTEST_S]


def cut(start_s: float, end_s: float) -> list[tuple[float, float]]:
    """Windows over a region: whole ones, the last of which ends with it; one for a short region."""
    length = end_s - start_s
    if length <= WINDOW_S:
        return [(start_s, end_s)]
    starts = np.linspace(start_s, end_s - WINDOW_S, int(np.ceil((length - WINDOW_S) / HOP_S)) + 1)
    return [(float(one), float(one) + WINDOW_S) for one in starts]


def found_speakers(
    windows: Sequence[Window], vectors: Samples, threshold: float, most: int
) -> Samples:
    """Unit vectors, float32 [speakers, size]."""
    sound = [at for at, one in enumerate(windows) if one.end_s - one.start_s >= SURE_S]
    if sound:
        windows, vectors = [windows[at] for at in sound], vectors[sound]
    group = -(-len(windows) // AT_MOST)
    keys = [(one.region, at // group) for at, one in enumerate(windows)]
    at_of = {key: at for at, key in enumerate(dict.fromkeys(keys))}
    member = [at_of[key] for key in keys]
    seconds = np.array([one.end_s - one.start_s for one in windows], np.float32)
    joined = centroids(vectors, seconds, member)
    weights = np.bincount(member, seconds).astype(np.float32)
    labels = clustered(joined, weights, threshold, most)
    # windows overlap: each new one adds a hop
    spoken = np.bincount(labels, np.bincount(member, np.minimum(seconds, HOP_S)))
    speakers = centroids(joined, weights, labels)
    kept = speakers[spoken >= LEAST_S]
    return kept if len(kept) else speakers[[int(spoken.argmax())]]


def named(speakers: Samples, known: Mapping[str, Samples], threshold: float) -> list[str | int]:
    """The name of each speaker that is one of `known`, its number where it is none."""
    names: list[str | int] = list(range(len(speakers)))
    if not known:
        return names
    cosines = speakers @ unit(np.stack(list(known.values()))).T
    for at, row in enumerate(cosines):
        if row.max() >= threshold:
            names[at] = list(known)[int(row.argmax())]
    return names


def _steps(windows: Sequence[Window], cosines: Samples, start: float, end: float) -> Samples:
    """[steps, speakers]: how alike each step of a region is to each speaker, by the windows over
    it; those whose middle is near count more.
    """
    times = start + (np.arange(max(1, round((end - start) / STEP_S))) + 0.5) * STEP_S
    middles = np.array([(one.start_s + one.end_s) / 2 for one in windows])
    halves = np.array([(one.end_s - one.start_s) / 2 for one in windows])
    near = np.maximum(0.0, 1.0 - np.abs(times[:, None] - middles) / halves) + 1e-3
    found: Samples = near @ cosines / near.sum(axis=1, keepdims=True)
    return found


def _path(scores: Samples) -> list[int]:
    """The speaker of each step: the most alike on the whole, each change at its price."""
    best, back = scores[0].copy(), []
    for row in scores[1:]:
        stay, change = best, best.max() - CHANGE
        back.append(np.where(stay >= change, np.arange(len(row)), int(best.argmax())))
        best = np.maximum(stay, change) + row
    path = [int(best.argmax())]
    for came_from in reversed(back):
        path.append(int(came_from[path[-1]]))
    return path[::-1]


def _merged(start: float, end: float, path: Sequence[int], names: list[str | int]) -> list[Named]:
    """The turns of one region."""
    length, found, begin = (end - start) / len(path), [], 0
    for at in range(1, len(path) + 1):
        if at == len(path) or names[path[at]] != names[path[begin]]:
            found.append((start + begin * length, start + at * length, names[path[begin]]))
            begin = at
    return found


def lettered(found: Sequence[Named], taken: Collection[str]) -> list[Turn]:
    """Those without a name are called A, B and so on, but for the names that are `taken`."""
    free = (name for name in map(letters, count()) if name not in taken)
    given: dict[str | int, str] = {name: name for name in taken}
    for _, _, one in found:
        if one not in given:
            given[one] = next(free)
    return [Turn(round(start, 3), round(end, 3), given[one]) for start, end, one in found]
