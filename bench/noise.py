"""Noise suppression before recognition: does it lower the errors of what listens?

    python bench/noise.py --model DeepFilterNet3_onnx.tar.gz
    python bench/noise.py                         # what is known so far

Recordings of people are mixed with noise at 20, 10 and 5 dB and heard as they are, after
DeepFilterNet 3, after the same with 12 dB at most, and after the page's suppression (with node):
word errors of the recognizer, windows that the speech detector misses or takes for speech, and the
end-of-turn model's answers that change, each against the quiet recording. The recognizer gets the
speech alone, by the quiet recording's marks. A second of noise lies before and after it, so that
the suppression knows the noise, and the detector hears it alone. The level of speech is the mean of
the louder half of its 20 ms frames.

Each row is written as soon as it is known, and a second run goes on where the first one ended.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from bench.common import OUT, ROOT, SPEECH, Recording, machine, recordings, say, version, write
from bench.deep_filter import DeepFilter
from bench.sounds import sounds
from whisperfusion.audio import MICROPHONE_RATE, VAD_WINDOW, Samples, to_samples
from whisperfusion.engines import ASROptions, load
from whisperfusion.models import store
from whisperfusion.settings import Settings

SEED, RECORDINGS, LONGEST_S = 18, 40, 10.0
SNR_DB = (20, 10, 5)
QUIET, PLAIN = "quiet", "as it is"
AROUND_S, MARGIN_S, PAUSE_S = 1.0, 0.3, 0.2
VOICES = 6  # of people who talk at once
LIMIT_DB = 12.0
LEVEL = 0.1  # of the speech in the mix, of full scale
RESAMPLES = 2000
ROOMS = tuple(
    f"noise-{name}"
    for name in ("kitchen", "dishes", "exercise-bike", "office", "tau2-engine-idling")
)
DEEP, LIMITED, PAGE = "DeepFilterNet 3", f"the same, {LIMIT_DB:.0f} dB at most", "the page's"
PAGED = (QUIET, "household")  # noises that the page's suppression is tried on
SCRIPT = """
const { Spectrum } = await import("./web/spectrum.js");
const { HighPass, NoiseFloor, Suppressor } = await import("./web/denoise.js");
const { readFileSync, writeSync } = await import("node:fs");
const bytes = readFileSync(0);
const input = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
const pass = new HighPass(), floor = new NoiseFloor(), suppressor = new Suppressor();
const out = [];
new Spectrum((power, gains) => suppressor.gains(power, floor.update(power), gains))
  .push(input.map((x) => pass.next(x)), (block) => out.push(...block));
process.stdout.write(Buffer.from(Float32Array.from(out).buffer));
"""
PAGE_DELAY = 256  # samples


def page(pcm: Samples) -> Samples:
    """By the page's own modules."""
    given = np.pad(pcm, (0, 2 * PAGE_DELAY)).astype("<f4").tobytes()
    command = ["node", "--input-type=module", "-e", SCRIPT]
    found = subprocess.run(command, input=given, capture_output=True, check=True, cwd=ROOT).stdout
    return np.frombuffer(found, "<f4")[PAGE_DELAY : PAGE_DELAY + len(pcm)].copy()


# --- mixing -------------------------------------------------------------------------------------


def speech_level(pcm: Samples) -> float:
    frames = pcm[: len(pcm) // 320 * 320].reshape(-1, 320)
    levels = np.sort(np.sqrt(np.square(frames, dtype=np.float64).mean(1)))
    return float(levels[len(levels) // 2 :].mean())


def chosen(count: int) -> list[Recording]:
    short = [one for one in recordings() if len(one.pcm) <= LONGEST_S * MICROPHONE_RATE]
    random.Random(SEED).shuffle(short)
    return short[:count]


def household(count: int, rng: np.random.Generator, _: Recording) -> Samples:
    """One of the recorded rooms, forwards and backwards again."""
    rooms = recorded_rooms()
    room = rooms[rng.integers(len(rooms))]
    return np.resize(np.concatenate((room, room[::-1])), count)


@functools.cache
def recorded_rooms() -> tuple[Samples, ...]:
    return tuple(one.pcm for one in sounds() if one.name.startswith(ROOMS))


def voices(count: int, rng: np.random.Generator, recording: Recording) -> Samples:
    """Other people who talk at once."""
    person = recording.name[:10]
    others = [one.pcm for one in recordings() if one.name[:10] != person]
    mixed = np.zeros(count)
    for at in rng.choice(len(others), VOICES, replace=False):
        voice = np.resize(others[at], count) / speech_level(others[at])
        mixed += np.roll(voice, rng.integers(count))
    return mixed.astype(np.float32)


NOISES = {"household": household, "voices": voices, "household, far": household}


def mixed(recording: Recording, kind: str, snr_db: float, seed: int) -> Samples:
    """Float32 at 16 kHz, a second longer than the recording on both sides."""
    rng, around = np.random.default_rng(seed), to_samples(AROUND_S)
    voice = recording.pcm * (LEVEL / speech_level(recording.pcm))
    if kind.endswith("far"):
        voice = far(voice, rng)
    sound = np.pad(voice, around)
    if kind != QUIET:
        noise = NOISES[kind](len(sound), rng, recording)
        sound += noise * (LEVEL / 10 ** (snr_db / 20) / np.sqrt(np.square(noise).mean()))
    return np.clip(sound, -1.0, 1.0).astype(np.float32)


def far(voice: Samples, rng: np.random.Generator) -> Samples:
    """From the other end of a room that takes 0.35 s to fall silent."""
    count = to_samples(0.35)
    tail = rng.standard_normal(count) * np.exp(-6.9 * np.arange(count) / count)
    tail[0] = 4.0
    size = len(voice) + count
    spectrum = np.fft.rfft(voice, size) * np.fft.rfft(tail, size)
    sound: Samples = np.fft.irfft(spectrum, size)[: len(voice)].astype(np.float32)
    return sound * np.float32(LEVEL / speech_level(sound))


# --- hearing ------------------------------------------------------------------------------------


class Listener:
    """The product's own recognizer, detector and end-of-turn model."""

    def __init__(self) -> None:
        settings = Settings()

        def model(name: str, kind: str) -> str:
            found = store.resolve(name, kind, settings)
            return str(store.fetch(found, settings.cache, settings.sources))

        path = model(settings.asr_model, "asr")
        self._asr = load("asr", "faster-whisper", model=path, device="cpu", threads=1)
        self._turn = load("turn", "smart-turn", model=model("smart-turn", "turn"))
        self._vad = load("vad", "silero")

    def heard(self, recording: Recording, pcm: Samples) -> dict[str, Any]:
        around, margin, pause = (to_samples(one) for one in (AROUND_S, MARGIN_S, PAUSE_S))
        first, last = around + recording.first, around + recording.last
        utterance = self._asr.create_utterance(ASROptions(language="en"))
        text = utterance.accept_audio(pcm[first - margin : last + margin]).text
        ends = [around + to_samples(begin) for begin, _ in recording.pauses] + [last]
        turns = [
            self._turn.predict_end_of_turn(pcm[max(0, first - margin) : end + pause])
            for end in ends
        ]
        return {
            "text": text,
            "turns": [one.score if one.by_states is None else one.by_states for one in turns],
            "voiced": self._voiced(pcm),
        }

    def _voiced(self, pcm: Samples) -> str:
        stream = self._vad.create_stream()
        cut = range(0, len(pcm) - VAD_WINDOW + 1, VAD_WINDOW)
        found = (stream.probability(pcm[at : at + VAD_WINDOW]) >= SPEECH for at in cut)
        return "".join(map(str, map(int, found)))


def suppressions(model: DeepFilter, kind: str, pcm: Samples) -> dict[str, tuple[Samples, float]]:
    """Ways to hear `pcm`, with what came out and its seconds of processor time."""
    began = time.process_time()
    cleaned = model.clean(pcm)
    took = time.process_time() - began
    share = 10 ** (-LIMIT_DB / 20)
    limited = (share * pcm + (1 - share) * cleaned).astype(np.float32)
    found = {PLAIN: (pcm, 0.0), DEEP: (cleaned, took), LIMITED: (limited, took)}
    if kind in PAGED:
        found[PAGE] = (page(pcm), 0.0)
    return found


def rows(listener: Listener, model: DeepFilter, done: set[str]) -> Iterator[dict[str, Any]]:
    """A recording at a time under all conditions, so that a run can be ended anywhere."""
    for number, recording in enumerate(chosen(RECORDINGS)):
        if recording.name in done:
            continue
        for kind, snr_db in [(QUIET, 99), *((k, s) for k in NOISES for s in SNR_DB)]:
            pcm = mixed(recording, kind, snr_db, number)
            for way, (changed, took) in suppressions(model, kind, pcm).items():
                yield {
                    "recording": recording.name,
                    "said": recording.text,
                    "noise": kind,
                    "snr_db": snr_db,
                    "way": way,
                    "seconds": len(pcm) / MICROPHONE_RATE,
                    "processor_s": took,
                    **listener.heard(recording, changed),
                }


# --- comparing ----------------------------------------------------------------------------------


def counted(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each row with what went wrong in it, against the quiet recording as it is."""
    import jiwer
    from whisper_normalizer.english import EnglishTextNormalizer

    plain = EnglishTextNormalizer()
    right = {
        row["recording"]: row for row in found if row["noise"] == QUIET and row["way"] == PLAIN
    }
    result = []
    for row in found:
        wanted = right[row["recording"]]
        words = jiwer.process_words(plain(row["said"]), plain(row["text"]))
        pairs = list(zip(wanted["voiced"], row["voiced"], strict=True))
        sides = [(a < 0.5, b < 0.5) for a, b in zip(wanted["turns"], row["turns"], strict=True)]
        result.append(
            {
                **{key: row[key] for key in ("recording", "noise", "snr_db", "way")},
                "words": words.hits + words.substitutions + words.deletions,
                "wrong": words.substitutions + words.deletions + words.insertions,
                "voiced": sum(a == "1" for a, _ in pairs),
                "missed": sum(a == "1" and b == "0" for a, b in pairs),
                "unvoiced": sum(a == "0" for a, _ in pairs),
                "false": sum(a == "0" and b == "1" for a, b in pairs),
                "ends": len(sides),
                "changed": sum(a != b for a, b in sides),
            }
        )
    return result


def compared(rows_of: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Way to its rates, and how its word errors differ from those without suppression: in points,
    with the 95 % interval over recordings drawn anew.
    """
    names = sorted({row["recording"] for row in rows_of})
    drawn = np.random.default_rng(SEED).integers(len(names), size=(RESAMPLES, len(names)))
    result: dict[str, dict[str, Any]] = {}
    for way in dict.fromkeys(row["way"] for row in rows_of):
        mine = [row for row in rows_of if row["way"] == way]

        def sums(what: str, of: Sequence[Mapping[str, Any]] = mine) -> Any:
            return np.array([sum(r[what] for r in of if r["recording"] == n) for n in names])

        total = {what: int(sums(what).sum()) for what in ("words", "ends", "unvoiced", "voiced")}
        result[way] = {
            "recordings": len(names),
            **total,
            "wer": sums("wrong").sum() / total["words"],
            "missed": sums("missed").sum() / total["voiced"],
            "false": sums("false").sum() / total["unvoiced"],
            "changed": sums("changed").sum() / total["ends"],
        }
        plain = [row for row in rows_of if row["way"] == PLAIN]
        if way != PLAIN:
            more = sums("wrong") - sums("wrong", plain)
            points = 100 * more[drawn].sum(1) / sums("words")[drawn].sum(1)
            result[way]["points"] = 100 * more.sum() / total["words"]
            result[way]["interval"] = [float(x) for x in np.percentile(points, (2.5, 97.5))]
    return result


def summary(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rows_of = counted(found)
    noisy = [row for row in rows_of if row["noise"] != QUIET]
    cells = {f"{noise}, {snr} dB": (noise, snr) for noise in NOISES for snr in SNR_DB}
    groups = {QUIET: [row for row in rows_of if row["noise"] == QUIET]}
    for name, (noise, snr) in cells.items():
        groups[name] = [row for row in noisy if (row["noise"], row["snr_db"]) == (noise, snr)]
    for snr in SNR_DB:
        groups[f"all noises, {snr} dB"] = [
            row for row in noisy if row["snr_db"] == snr and row["way"] != PAGE
        ]
    groups["all"] = [row for row in noisy if row["way"] != PAGE]
    result: dict[str, Any] = {name: compared(of) for name, of in groups.items() if of}
    took = [(row["processor_s"], row["seconds"]) for row in found if row["way"] == DEEP]
    result["processor_s of a second"] = sum(a for a, _ in took) / sum(b for _, b in took)
    return result


def show(found: Mapping[str, Any]) -> None:
    for name, ways in found.items():
        if not isinstance(ways, dict):
            say(f"{name}: {ways:.3f}")
            continue
        for way, of in ways.items():
            low, high = of.get("interval", (0.0, 0.0))
            against = f" ({of['points']:+.1f}: {low:+.1f} to {high:+.1f})" if "points" in of else ""
            say(
                f"{name}, {way}: {of['wer']:.1%} of {of['words']} words wrong{against}; speech "
                f"missed {of['missed']:.1%}, false {of['false']:.1%}; {of['changed']:.1%} of "
                f"{of['ends']} ends changed"
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--model", type=Path, help="DeepFilterNet3_onnx.tar.gz; without it, what is known is shown"
    )
    parser.add_argument("--rows", type=Path, default=OUT / "noise.jsonl", metavar="FILE")
    parser.add_argument("--json", type=Path, default=OUT / "noise.json", metavar="FILE")
    asked = parser.parse_args()
    asked.rows.parent.mkdir(parents=True, exist_ok=True)
    asked.rows.touch()
    lines = asked.rows.read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    last = found[-1]["recording"] if found else ""
    if asked.model is not None:
        # the last recording may be incomplete
        found = [row for row in found if row["recording"] != last]
        kept = "".join(json.dumps(row) + "\n" for row in found)
        asked.rows.write_text(kept, encoding="utf-8")
        done = {row["recording"] for row in found}
        with asked.rows.open("a", encoding="utf-8", buffering=1) as file:
            for row in rows(Listener(), DeepFilter(asked.model), done):
                found.append(row)
                file.write(json.dumps(row) + "\n")
    result = summary(found)
    show(result)
    write(asked.json, {"machine": machine(), "version": version(ROOT), "noise": result})
    return 0


if __name__ == "__main__":
    sys.exit(main())
