"""Fits the heads of whisperfusion/engines/whisper/end_of_turn.py and says how well they travel.

    python bench/fit_end_of_turn.py --model ~/.cache/whisperfusion/whisper-base \
        --data ../shared/data/dialogue-train ../shared/data/dialogue ../shared/data/speech

and the same with `--model ~/.cache/whisperfusion/smart-turn-v3.2/smart-turn-v3.2-cpu.onnx`.

One example for each pause of 0.2 s or more: the encoder's states of the turn until 64 ms after the
sound stopped, as the recognizer gets it, or Smart Turn's hidden states 0.2 s after it, when that is
asked; and whether the turn ended there. Each is taken three times: as recorded, and twice with
another level, noise, room, line, and up to six seconds of quiet before it, since the encoder knows
where in its window a state lies and the length of a turn is a habit of a corpus. Logistic
regression, standardized, strongly regularized; folds over speakers.
Licences: WUW Corpus II is CC-BY-SA-4.0 (V. Këpuska), so the heads that are fitted to it are too.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.common import BenchError, say
from bench.noises import changed
from bench.pauses import Turn, entries, read_turns
from whisperfusion.audio import MICROPHONE_RATE, Samples, to_samples
from whisperfusion.engines import smart_turn
from whisperfusion.engines.whisper import end_of_turn as heads
from whisperfusion.turns.endpointing import TAIL, TURN_DETECTION_S

OUT = Path(heads.__file__).with_name(heads.HEADS)
MOST_S = 20.0  # of a turn: the recognizer keeps no more
LEAD_S = 6.0  # of quiet before the turn, at most
COPIES = 2  # changed ones of each example
STRENGTH = 3e-4  # of the regression's freedom; tried 1e-4 to 1e-2
READ = 3.0  # weight of a set without kinds: read sentences, of which there are few
FOLDS = 8


@dataclass(frozen=True)
class Reader:
    """`features` (float32 [2 * size], None of too little) of sound that ends so many samples after
    the speech.
    """

    after: int
    features: Callable[[Samples], Samples | None]


@dataclass(frozen=True)
class Example:
    """`features` are float32 [2 * size]; `copy` 0 is the sound as recorded. `pause`: the file and
    the millisecond in it.
    """

    pause: str
    features: Samples
    ended: bool
    speaker: str
    corpus: str
    copy: int
    weight: float


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--model", type=Path, required=True, help="folder of a CTranslate2 Whisper, or Smart Turn"
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders with turns")
    parser.add_argument(
        "--unseen", type=Path, help="file for what heads say of speakers whom they never met"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="file of all heads (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        examples = [one for folder in options.data for one in examples_of(folder, options.model)]
        unseen = validate(examples)
        if options.unseen is not None:
            options.unseen.write_text(json.dumps(unseen, indent=0), encoding="utf-8")
        save(options.out, options.model, fit(examples))
    except BenchError as problem:
        sys.exit(str(problem))


# --- examples -----------------------------------------------------------------------------------


def examples_of(folder: Path, model: Path) -> list[Example]:
    reader = _smart_turn(model) if model.suffix == ".onnx" else _encoder(model)
    found: list[Example] = []
    turns = list(read_turns(folder))
    weight = READ if not any("kind" in entry for entry in entries(folder)) else 1.0
    for number, turn in enumerate(turns):
        for copy in range(COPIES + 1):
            random = np.random.default_rng([copy, number])
            pcm = turn.pcm if copy == 0 else changed(turn.pcm, random)
            lead = _lead(pcm, random) if copy else pcm[:0]
            found += [
                Example(pause, features, ended, turn.speaker, _corpus(turn), copy, weight)
                for pause, features, ended in _features(turn, pcm, lead, reader)
            ]
        if number % 20 == 0:
            say(f"{folder.name}: {number} of {len(turns)} turns")
    return found


def _corpus(turn: Turn) -> str:
    return turn.name.partition("-")[0]


def _lead(pcm: Samples, random: Any) -> Samples:
    """Up to six seconds of noise as quiet as the recording's room."""
    quiet = float(np.sqrt(np.square(pcm[-to_samples(0.1) :]).mean())) + 1e-6
    count = to_samples(float(random.uniform(0.0, LEAD_S)))
    lead: Samples = (random.standard_normal(count) * quiet).astype(np.float32)
    return lead


def _features(
    turn: Turn, pcm: Samples, lead: Samples, reader: Reader
) -> list[tuple[str, Samples, bool]]:
    found = []
    for pause in turn.pauses:
        if pause.length_s is not None and pause.length_s < TURN_DETECTION_S:
            continue
        sound = np.concatenate((lead, turn.audio_of(pcm, pause.at + reader.after)))
        features = reader.features(sound[-to_samples(MOST_S) :])
        if features is not None:
            name = f"{turn.name}@{round(1000 * pause.at / MICROPHONE_RATE)}"
            found.append((name, features, pause.length_s is None))
    return found


def _encoder(model: Path) -> Reader:
    from whisperfusion.engines.whisper.faster_whisper import FasterWhisper
    from whisperfusion.engines.whisper.library import CTRANSLATE2

    short = FasterWhisper(model=str(model), device="cpu")._short

    def features(pcm: Samples) -> Samples | None:
        end, count = len(pcm) // heads.STATE, heads.RECENT + heads.BEFORE
        states = CTRANSLATE2.states(short.encode(pcm))[0]
        return heads.pooled(states[end - count : end]) if end >= count else None

    return Reader(TAIL, features)


def _smart_turn(model: Path) -> Reader:
    engine = smart_turn.SmartTurn(model=str(model))
    count = smart_turn.RECENT + smart_turn.BEFORE
    return Reader(
        to_samples(TURN_DETECTION_S),
        lambda pcm: heads.pooled(engine.states(pcm)[-count:], smart_turn.RECENT),
    )


# --- the head -----------------------------------------------------------------------------------


def fit(examples: list[Example]) -> Samples:
    """Float32 [2 * size + 1]: the weights of the features as they are, and a constant."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    features = np.array([one.features for one in examples])
    scaler = StandardScaler().fit(features)
    regression = LogisticRegression(C=STRENGTH, max_iter=1000).fit(
        scaler.transform(features),
        [one.ended for one in examples],
        sample_weight=[one.weight for one in examples],
    )
    weights = regression.coef_[0] / scaler.scale_
    constant = regression.intercept_[0] - float(weights @ scaler.mean_)
    return np.append(weights, constant).astype(np.float32)


def validate(examples: list[Example]) -> dict[str, float]:
    """Area under the curve for "end, not pause", each speaker judged by a head that never met
    them; and each corpus by one that never met it. Gives the probabilities of the first.
    """
    unseen: dict[str, float] = {}
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold

    clean = np.array([one.copy == 0 for one in examples])
    ended = np.array([one.ended for one in examples])
    corpus = np.array([one.corpus for one in examples])
    speakers = np.array([one.speaker for one in examples])
    for name, groups in (("speakers", speakers), ("corpora", corpus)):
        found = np.zeros(len(examples))
        folds = min(FOLDS, len(set(groups)))
        for rest, held in GroupKFold(folds).split(found, ended, groups):
            weights = fit([examples[at] for at in rest])
            features = np.array([examples[at].features for at in held])
            found[held] = features @ weights[:-1] + weights[-1]
        if not unseen:
            probabilities = 1.0 / (1.0 + np.exp(-found))
            unseen = {examples[at].pause: float(probabilities[at]) for at in np.flatnonzero(clean)}
        for part in ("all", *sorted(set(corpus))):
            chosen = clean & ((corpus == part) | (part == "all"))
            if 0 < ended[chosen].sum() < chosen.sum() and chosen.sum() >= 20:
                area = roc_auc_score(ended[chosen], found[chosen])
                say(f"unseen {name}: {part}: {area:.3f} ({chosen.sum()} pauses)")
    return unseen


def save(path: Path, model: Path, weights: Samples) -> None:
    """Beside the heads of other models that are there."""
    kept = {}
    if path.exists():
        with np.load(path) as file:
            kept = {name: file[name] for name in file.files}
    file = model if model.suffix == ".onnx" else model / "model.bin"
    kept[str(file.stat().st_size)] = weights
    np.savez(path, **kept)
    say(f"{path}: {len(kept)} heads, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
