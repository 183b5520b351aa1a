"""Speech and noises of people over an answer, offline: what ends it, and what should have.

    python bench/overlaps.py                      # all kinds
    python bench/overlaps.py --only backchannel,laugh --names

The recordings of the set `dialogue` are played over an answer on a virtual clock, with the real
turn-taking, detector and recognizer; what the recognizer made of a sound is kept in bench/out/, so
that a second run takes a minute. Backchannels, coughs, laughs, other noises and the answer's own
echo should not end it; interruptions (the turns of the set) should, each of them.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import common  # noqa: E402
from bench.common import say  # noqa: E402
from bench.overlap_call import Found, OverlapCall, SpokenAnswer  # noqa: E402
from bench.recorded import RecordedASR  # noqa: E402
from bench.sounds import HARMLESS, INTERRUPTIONS, Sound, commands, sounds  # noqa: E402
from bench.verdicts import rate, speech_span, spread  # noqa: E402
from whisperfusion.audio import MICROPHONE_RATE, VAD_WINDOW, Samples  # noqa: E402

ECHO_DB = (-15.0, -10.0, -6.0)
OVER_ECHO = "turn over echo"  # an interruption by a person beside the loudspeaker
OVER_ECHO_DB = -15.0
OVER_ECHO_S = 4.0  # of the answer, until its echo is known
EVERY_OVER_ECHO = 6  # of the interruptions, that are tried beside a loudspeaker too
KEEP_EVERY = 20  # sounds, after which what was heard is written
AFTER_S = 3.0  # after a sound, until it is known what it was taken for
BEGINS_S = (0.7, 2.0)  # of the answer, in turns, before the sound
ANSWER = (
    "Long ago, a lighthouse keeper lived alone on a small island.",
    "Every evening he climbed the hundred steps and lit the lamp.",
    "One winter night a storm came up, and the waves rose higher than the door.",
    "He heard a ship's bell out in the dark, and he ran down to the beach with a rope.",
    "By morning the whole crew sat around his stove and drank hot tea.",
)
ECHOES = (
    ("The capital of France is Paris.",),
    ("A bicycle stays upright because it steers itself into a fall.", "Its wheels help a little."),
    ("You could cook some pasta with tomatoes.", "It takes about twenty minutes."),
    ("The sky is blue because air scatters blue light more than red light.",),
    ("The moon goes around the earth once a month.", "It has no air, and its days are very long."),
)


# --- one try ------------------------------------------------------------------------------------


def outcome(sound: Sound, found: Found, onset_s: float | None) -> dict[str, Any]:
    """`onset_s`: of the first speech in the sound; ms in what is found."""
    until = found.interrupted_at or max((end or 0.0 for _, end in found.pauses), default=0.0)
    first = next((began for began, _ in found.pauses if began >= found.sound_at), None)
    held = sum((until if end is None else end) - began for began, end in found.pauses)
    began = None if onset_s is None else found.sound_at + onset_s

    def after(at: float | None) -> float | None:
        return None if at is None or began is None else (at - began) * 1000

    return {
        "kind": sound.kind,
        "name": sound.name,
        "text": sound.text,
        "killed": found.interrupted_at is not None or any(found.turns),
        "taken for": [text for text in found.turns if text],
        "noticed": bool(found.pauses),
        "pauses": len(found.pauses),
        "held": held * 1000,
        "hold": after(first),
        "interrupted": after(found.interrupted_at),
        "passes": found.passes,
    }


def onset(vad: Any, pcm: Samples) -> float | None:
    stream = vad.create_stream()
    voiced = [
        stream.probability(pcm[at : at + VAD_WINDOW]) >= common.SPEECH
        for at in range(0, len(pcm) - VAD_WINDOW + 1, VAD_WINDOW)
    ]
    span = speech_span(voiced, VAD_WINDOW)
    return None if span is None else span[0] / MICROPHONE_RATE


class Tries:
    def __init__(self, asr: RecordedASR) -> None:
        from whisperfusion.engines import load
        from whisperfusion.engines.silero import Silero

        self._asr, self._vad = asr, Silero()
        self._voice: Any = None
        self._load = load

    @functools.lru_cache(maxsize=8)  # noqa: B019 - one object, to the end of the program
    def _answer(self, texts: tuple[str, ...]) -> SpokenAnswer:
        if self._voice is None:
            import onnxruntime

            onnxruntime.set_seed(1)  # the same sound every time
            self._voice = self._load("tts", "hibari", model="", voice="")
        return SpokenAnswer(
            tuple(
                (text, np.concatenate(list(self._voice.synthesize(text, "", 1.0))))
                for text in texts
            )
        )

    def over_an_answer(self, all_sounds: Sequence[Sound]) -> Iterator[dict[str, Any]]:
        for number, sound in enumerate(all_sounds):
            found = self._one(sound, BEGINS_S[number % len(BEGINS_S)], None)
            yield outcome(sound, found, onset(self._vad, sound.pcm))

    def over_echoes(self, all_sounds: Sequence[Sound]) -> Iterator[dict[str, Any]]:
        """Interruptions by a person who sits beside the loudspeaker."""
        spoken = [one for one in all_sounds if one.kind in INTERRUPTIONS]
        for sound in spoken[::EVERY_OVER_ECHO]:
            found = self._one(sound, OVER_ECHO_S, OVER_ECHO_DB)
            of = replace(sound, kind=OVER_ECHO)
            yield outcome(of, found, onset(self._vad, sound.pcm))

    def _one(self, sound: Sound, after_s: float, echo_db: float | None) -> Found:
        answer = self._answer(ANSWER)
        call = OverlapCall(
            self._asr, self._vad, answer, sound.pcm, after_s=after_s, echo_db=echo_db
        )
        return call.run(AFTER_S)

    def echoes(self) -> Iterator[dict[str, Any]]:
        nothing = np.zeros(0, np.float32)
        for texts in (*ECHOES, ANSWER):
            answer = self._answer(texts)
            for gain_db in ECHO_DB:
                call = OverlapCall(self._asr, self._vad, answer, nothing, echo_db=gain_db)
                name = f"{gain_db:.0f} dB, {texts[0]}"
                sound = Sound("echo", name, " ".join(texts), nothing)
                yield outcome(sound, call.run(AFTER_S), None)


# --- the whole ----------------------------------------------------------------------------------


def should_end(kind: str) -> bool:
    return kind in (*INTERRUPTIONS, OVER_ECHO)


def summary(tries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    kinds = {}
    for kind in dict.fromkeys(one["kind"] for one in tries):
        of = [one for one in tries if one["kind"] == kind]
        went_on = [one["held"] for one in of if one["noticed"] and not one["killed"]]
        kinds[kind] = {
            "ended the answer": rate(one["killed"] for one in of),
            "paused it": rate(one["noticed"] for one in of),
            "paused needlessly": spread(went_on),
            "hold": spread(one["hold"] for one in of),
            "interrupted": spread(one["interrupted"] for one in of),
        }
    harmless = [one["killed"] for one in tries if one["kind"] in (*HARMLESS, "echo")]
    missed = [not one["killed"] for one in tries if should_end(one["kind"])]
    return {
        "kinds": kinds,
        "answers ended needlessly": rate(harmless),
        "interruptions missed": rate(missed),
        "tries": list(tries),
    }


def print_summary(found: Mapping[str, Any], names: bool) -> None:
    for kind, of in found["kinds"].items():
        ended, paused = of["ended the answer"], of["paused it"]
        line = f"  {kind}: {ended['count']} of {ended['n']} ended it, {paused['count']} paused it"
        for name in ("hold", "interrupted", "paused needlessly"):
            if of[name]["n"]:
                line += f"; {name} {of[name]['p50']:.0f} / {of[name]['p95']:.0f} ms"
        say(line)
    for one in found["tries"]:
        wrong = one["killed"] != should_end(one["kind"])
        if wrong or names:
            heard = [text for _, text, noise in one["passes"]]
            say(f"  {'WRONG' if wrong else 'right'} {one['kind']}, {one['name']} ({one['text']})")
            say(f"      taken for {one['taken for']}, heard {heard}")
    for name in ("answers ended needlessly", "interruptions missed"):
        say(f"  {name}: {found[name]['count']} of {found[name]['n']}")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--only", default="", help="kinds, with commas")
    parser.add_argument("--names", action="store_true", help="list every try")
    parser.add_argument("--json", default="", help="a file for everything that was found")
    chosen = parser.parse_args(arguments)
    only = set(filter(None, chosen.only.split(",")))
    asr = RecordedASR(common.OUT / "overlap-words.json", recognizer)
    tries, played = Tries(asr), []
    wanted = [one for one in (*sounds(), *commands()) if not only or one.kind in only]
    try:
        for found in tries.over_an_answer(wanted):
            played.append(found)
            if len(played) % KEEP_EVERY == 0:
                asr.save()
        if not only or OVER_ECHO in only:
            played += tries.over_echoes([*sounds(), *commands()])
        if not only or "echo" in only:
            played += tries.echoes()
    finally:
        asr.save()
    result = summary(played)
    print_summary(result, chosen.names)
    say(f"  {asr.decoded} passes of the recognizer, {len(asr.kept)} kept")
    if chosen.json:
        common.write(Path(chosen.json), {"version": common.version(ROOT), **result})
    return 0


def recognizer() -> Any:
    from whisperfusion import settings
    from whisperfusion.engines import load
    from whisperfusion.models import machine
    from whisperfusion.models import store as models

    chosen = settings.build({}, os.environ, {})
    path = models.fetch(
        models.resolve(chosen.asr_model, "asr", chosen), chosen.cache, chosen.sources
    )
    began = time.monotonic()
    asr = load("asr", chosen.asr_engine, model=str(path), device="cpu", threads=machine.cores())
    say(f"  the recognizer is loaded ({time.monotonic() - began:.1f} s)")
    return asr


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
