"""Who speaks when: diarization error of whole recordings, and the speakers of live turns.

    python bench/speakers.py --json bench/out/speakers.json
    python bench/speakers.py --every 3 --thresholds 0.66 0.70 0.74

Dialogues of two to four speakers are made of people's recordings (seeded): up to 6 s of one
recording is a turn, 0 to 0.6 s of the quietest room lie between turns. The real ones are those of
`dialogue` that say who speaks when; the channels of a telephone call are mixed. Reference times of
the made dialogues are Silero's on each recording, the product's detector, so there the error is
almost only confusion of speakers. Those of the call are by the level of each channel, which is
silent while its speaker is (Silero misses the first words after digital silence). Those of the
meetings (AMI) were made by hand and have overlaps, of which one speaker at most can be right.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from bench.common import OUT, ROOT, machine, manifest, say, version, write
from bench.diarization_error import Errors, best_pairing, diarization_error
from whisperfusion.audio import MICROPHONE_RATE, Samples, to_samples
from whisperfusion.cli.talk import read_audio
from whisperfusion.engines import VAD, SpeakerEncoder
from whisperfusion.engines.pcm import loudness
from whisperfusion.engines.resemblyzer import Resemblyzer
from whisperfusion.engines.silero import Silero
from whisperfusion.models import store
from whisperfusion.settings import Settings
from whisperfusion.speakers.call_speakers import CallSpeakers, embed_turn
from whisperfusion.speakers.diarization import Diarization, Turn, speech_regions

SEED, TURNS, LONGEST_S, LONGEST_GAP_S = 18, 12, 6.0, 0.6
SPACED_S = (1.5, 2.5)
LEAST_S, LEAST_RECORDINGS = 1.5, 3  # of speech in a recording; of a speaker
MADE = {2: 12, 3: 6, 4: 6}  # dialogues, by their speakers
TARGET_DB = -26.0  # level of each turn; recordings of different sets differ by 20 dB
ROOM_S = 0.3
SAME_RECORDING = 0.995  # cosine
CLEAN_DB, FRAME_S, GAP_S = -45.0, 0.02, 0.25  # of a channel whose silence is at -70 to -97 dB


@dataclass(frozen=True)
class Dialogue:
    """`turns` say who speaks when; `said` are the utterances that were put together, without the
    pauses inside them.
    """

    name: str
    speakers: int
    pcm: Samples
    turns: tuple[Turn, ...]
    said: tuple[Turn, ...] = ()


@dataclass(frozen=True)
class Utterance:
    speaker: str
    pcm: Samples
    regions: tuple[tuple[float, float], ...]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, default=OUT / "speakers.json", metavar="FILE")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="a part of the dialogues")
    parser.add_argument("--thresholds", type=float, nargs="+", default=[Resemblyzer.same_speaker])
    parser.add_argument("--half", choices=("all", "tune", "test"), default="all", help="of people")
    asked = parser.parse_args()
    settings = Settings()
    path = store.fetch(
        store.resolve("resemblyzer", "speaker", settings), settings.cache, settings.sources
    )
    encoder, vad = Resemblyzer(model=str(path)), Silero()
    rows: list[dict[str, Any]] = []
    for dialogue in list(dialogues(vad, asked.half))[:: asked.every]:
        rows += measured(dialogue, encoder, vad, asked.thresholds)
    result = {"version": version(ROOT), "machine": machine(), "rows": rows}
    write(asked.json, result)
    for threshold in asked.thresholds:
        show([row for row in rows if row["threshold"] == threshold])
    return 0


def measured(
    dialogue: Dialogue, encoder: SpeakerEncoder, vad: VAD, thresholds: Sequence[float]
) -> Iterator[dict[str, Any]]:
    began = time.process_time()
    whole = Diarization(encoder, vad.create_stream)
    whole.add(dialogue.pcm)
    took = time.process_time() - began
    heard = heard_turns(dialogue, encoder, vad)
    for threshold in thresholds:
        encoder.same_speaker = threshold
        found = whole.turns()
        errors = diarization_error(dialogue.turns, found)
        yield {
            "name": dialogue.name,
            "speakers": dialogue.speakers,
            "threshold": threshold,
            "found": len({turn.speaker for turn in found}),
            "seconds": len(dialogue.pcm) / MICROPHONE_RATE,
            "processor_s": took,
            **errors.__dict__,
            **live_turns(dialogue, heard, encoder.same_speaker),
            **known_turns(dialogue, heard, encoder.same_speaker),
        }


Heard = list[tuple[Samples, float] | None]  # embedding and seconds of speech of each utterance


def heard_turns(dialogue: Dialogue, encoder: SpeakerEncoder, vad: VAD) -> Heard:
    pieces = [
        dialogue.pcm[to_samples(turn.start_s) : to_samples(turn.end_s)] for turn in dialogue.said
    ]
    return [embed_turn(pcm, encoder, vad.create_stream()) for pcm in pieces]


def known_turns(dialogue: Dialogue, heard: Heard, same_speaker: float) -> dict[str, int]:
    """A call that listens to one of them only, for each of them: turns of the known speaker that
    are taken for theirs, and those of others that are not. The sample is their first utterance;
    the same recording is not counted again.
    """
    found = dict.fromkeys(("known_turns", "known_kept", "other_turns", "other_refused"), 0)
    names = [turn.speaker for turn in dialogue.said]
    for name in sorted(set(names)):
        sample = heard[names.index(name)]
        if sample is None:
            continue
        speakers = CallSpeakers(same_speaker, {name: sample[0]})
        for speaker, turn in zip(names, heard, strict=True):
            if turn is None or float(turn[0] @ sample[0]) > SAME_RECORDING:
                continue
            known = speakers.known_speaker(*turn)
            kind, right = ("known", bool(known)) if speaker == name else ("other", known == "")
            found[f"{kind}_turns"] += 1
            found["known_kept" if kind == "known" else "other_refused"] += right
    return found


def live_turns(dialogue: Dialogue, heard: Heard, same_speaker: float) -> dict[str, int]:
    """How many of the utterances, one after the other as turns of a call, get their speaker; pairs
    of names as in the error of recordings. Their ends are known here, not found.
    """
    speakers, given = CallSpeakers(same_speaker), []
    for found in heard:
        given.append(speakers.speaker_of(*found) if found is not None else "?")
    names, calls = sorted({turn.speaker for turn in dialogue.said}), sorted(set(given))
    agree = np.zeros((len(names), len(calls)), np.int64)
    for turn, call in zip(dialogue.said, given, strict=True):
        agree[names.index(turn.speaker), calls.index(call)] += 1
    return {"live_turns": len(given), "live_right": best_pairing(agree)}


def show(rows: list[dict[str, Any]]) -> None:
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        made = row["name"].startswith("made")
        groups[f"{row['speakers']} speakers" if made else row["name"]].append(row)
    for name, some in groups.items():
        total = Errors(*(sum(row[part] for row in some) for part in Errors.__annotations__))
        right = sum(row["found"] == row["speakers"] for row in some)
        cost = sum(row["processor_s"] for row in some) / sum(row["seconds"] for row in some)
        turns, live = (sum(row[part] for row in some) for part in ("live_turns", "live_right"))
        kept, known = (sum(row[part] for row in some) for part in ("known_kept", "known_turns"))
        left, others = (sum(row[part] for row in some) for part in ("other_refused", "other_turns"))
        live_rate = f", live turns right {live / turns:.1%} of {turns}" if turns else ""
        if known and others:
            live_rate += f", of a known speaker kept {kept / known:.1%} of {known}"
            live_rate += f", of others refused {left / others:.1%} of {others}"
        say(
            f"{some[0]['threshold']:.2f} {name:22} error {total.rate:6.1%} (missed "
            f"{total.missed / total.spoken:.1%}, false {total.false_alarm / total.spoken:.1%}, "
            f"confused {total.confused / total.spoken:.1%}), number right in {right} of "
            f"{len(some)}, {cost * 1000:.0f} ms/s{live_rate}"
        )


# --- dialogues ----------------------------------------------------------------------------------


def dialogues(vad: VAD, half: str = "all") -> Iterator[Dialogue]:
    """The made ones and the real ones; of `half` the people, where a threshold is chosen on one
    and tried on the other.
    """
    folders = _folders()
    people = dict(_people(folders, vad, half))
    chance = random.Random(SEED)
    for speakers, how_many in MADE.items():
        for number in range(how_many):
            yield _made(f"made-{speakers}-{number}", speakers, people, chance)
    if half != "tune":
        yield from _real(folders[1])


def spaced_dialogues(vad: VAD, half: str, how_many: int) -> Iterator[Dialogue]:
    """Of two speakers, with pauses between them that end a turn."""
    folders = _folders()
    people, chance = dict(_people(folders, vad, half)), random.Random(SEED)
    for number in range(how_many):
        yield _made(f"spaced-{number}", 2, people, chance, SPACED_S)


def _folders() -> tuple[Path, Path]:
    shared = Path(os.environ.get("WHISPERFUSION_SPEECH") or ROOT.parent / "shared/data/speech")
    return shared, shared.parent / "dialogue"


def _people(folders: Sequence[Path], vad: VAD, half: str) -> Iterator[tuple[str, list[Utterance]]]:
    found: dict[str, list[Utterance]] = defaultdict(list)
    for folder in folders:
        for entry in manifest(folder):
            speaker = entry["speaker"]
            turn = entry.get("kind", "turn").startswith("turn") and entry["lang"] == "en"
            if speaker in ("-", "several") or not turn:
                continue
            pcm = read_audio(str(folder / entry["file"]))
            regions = [
                one for one in speech_regions(pcm, vad.create_stream()) if one[0] < LONGEST_S
            ]
            if sum(end - start for start, end in regions) >= LEAST_S:
                found[speaker].append(_utterance(speaker, pcm, regions))
    names = sorted(name for name, said in found.items() if len(said) >= LEAST_RECORDINGS)
    chosen = {"all": names, "tune": names[::2], "test": names[1::2]}[half]
    yield from ((name, found[name]) for name in chosen)


def _utterance(speaker: str, pcm: Samples, regions: list[tuple[float, float]]) -> Utterance:
    begin, end = regions[0][0], min(regions[-1][1], regions[0][0] + LONGEST_S)
    piece = pcm[to_samples(begin) : to_samples(end)]
    level = float(np.sqrt(np.mean(np.square(piece)))) or 1.0
    inside = [(a - begin, min(b, end) - begin) for a, b in regions if a < end]
    return Utterance(speaker, piece * (10 ** (TARGET_DB / 20) / level), tuple(inside))


def _made(
    name: str,
    speakers: int,
    people: dict[str, list[Utterance]],
    chance: random.Random,
    gap_s: tuple[float, float] = (0.0, LONGEST_GAP_S),
) -> Dialogue:
    chosen = chance.sample(sorted(people), speakers)
    order = chosen + [chance.choice(chosen) for _ in range(TURNS - speakers)]
    for at in range(1, len(order)):  # nobody answers themselves
        if order[at] == order[at - 1]:
            order[at] = chance.choice([one for one in chosen if one != order[at]])
    parts: list[Samples] = [np.zeros(to_samples(ROOM_S), np.float32)]
    turns, said, at_s = [], [], ROOM_S
    for speaker in order:
        one = chance.choice(people[speaker])
        turns += [Turn(at_s + start, at_s + end, speaker) for start, end in one.regions]
        length_s = len(one.pcm) / MICROPHONE_RATE
        said.append(Turn(at_s, at_s + length_s, speaker))
        pause = np.zeros(to_samples(chance.uniform(*gap_s)), np.float32)
        parts += [one.pcm, pause]
        at_s += length_s + len(pause) / MICROPHONE_RATE
    return Dialogue(name, speakers, np.concatenate(parts), tuple(turns), tuple(said))


def _real(folder: Path) -> Iterator[Dialogue]:
    for entry in manifest(folder):
        if entry.get("kind") != "dialogue" or not entry["turns"]:
            continue
        path, name = folder / entry["file"], Path(entry["file"]).stem
        if entry["channels"] == 2:
            begin = to_samples(entry["turns"][0]["start"] - ROOM_S)  # after it has rung
            sides = [pcm[begin:] for pcm in _channels(path)]
            turns = tuple(
                Turn(start, end, str(side))
                for side, pcm in enumerate(sides)
                for start, end in loud_regions(pcm)
            )
            pcm = np.sum(sides, axis=0)
        else:
            pcm = read_audio(str(path))
            turns = tuple(Turn(t["start"], t["end"], t["speaker"]) for t in entry["turns"])
        yield Dialogue(name, len({turn.speaker for turn in turns}), pcm, turns)


def loud_regions(pcm: Samples) -> Iterator[tuple[float, float]]:
    """(start, end) in seconds of what is louder than the silence of a clean channel."""
    loud = loudness(pcm, to_samples(FRAME_S)) > 10 ** (CLEAN_DB / 20)
    begin = end = -1.0
    for at in np.flatnonzero(loud) * FRAME_S:
        if end >= 0 and at - end >= GAP_S:
            yield begin, end
            begin = -1.0
        begin, end = (at if begin < 0 else begin), at + FRAME_S
    if begin >= 0:
        yield begin, end


def _channels(path: Path) -> list[Samples]:
    import soundfile

    samples, _ = soundfile.read(path, dtype="float32")
    return [np.ascontiguousarray(samples[:, side]) for side in range(samples.shape[1])]


if __name__ == "__main__":
    raise SystemExit(main())
