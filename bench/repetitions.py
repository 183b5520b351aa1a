"""Sentences that repeat themselves, heard live and as files: which words are lost.

A guard against Whisper's loops must not take true repetitions for one. The sentences of
repetitions.txt are made by the voices of this project and heard twice: live, by the passes that a
caller without an answer makes (`Conversation`, the detector and the recognizer in virtual time),
and as a file. A sentence loses words when its words, digits and spelled letters apart, are missing
in what was heard. `--recordings` adds the word error rate of the recordings of people, on the same
two ways.

    .venv/bin/python bench/repetitions.py [--recordings] [--model FOLDER] [--only card,letters]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from whisperfusion.audio import MICROPHONE_RATE, Samples  # noqa: E402

SENTENCES = ROOT / "bench" / "repetitions.txt"
PACES = (1.0, 0.9, 1.15)  # speeds of the voices, in turns
LEVEL = 0.05  # root mean square of the loud part: a person at a microphone
NOISE = 0.0005  # of the room; digital silence is rare at a microphone
PARTIAL_S = 2.0  # between passes on the way: they do not decide what is heard in the end
AFTER_S = 2.0  # of silence, which ends the last turn of a caller without an answer
SIMILAR = 0.45  # of two texts' letters: less is another sentence, whatever is missing
UNITS = {
    "zero": "0",
    "oh": "0",
    "o": "0",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
}
LETTER_NAMES = {"w": "doubleu"}  # as it is spoken: "double here" for W is misheard, and not missing


@dataclass(frozen=True)
class Result:
    kind: str
    said: str
    voice: str
    heard: str
    lost: str  # the words that are missing, in their order
    miscounted: str  # those that were said once more

    def line(self, way: str) -> str:
        return (
            f"  {way}, {self.voice}: {self.said!r}\n      heard {self.heard!r}\n"
            f"      lost  {self.lost!r}, once too little {self.miscounted!r}"
        )


def sentences(file: Path = SENTENCES) -> list[tuple[str, str]]:
    """(kind, sentence)"""
    lines = [
        line
        for line in file.read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    return [(kind.strip(), text.strip()) for kind, text in (line.split("|") for line in lines)]


# --- what was lost ------------------------------------------------------------------------------


def tokens(text: str) -> list[str]:
    """Words in Whisper's own spelling; numbers are single digits and hyphens are gaps."""
    from whisper_normalizer.english import EnglishTextNormalizer

    spaced = re.sub(r"(?<=\w)[-–.,/](?=\w)", " ", text)
    digits = re.sub(
        r"(?<!ty[ -])\b[A-Za-z]+", lambda word: UNITS.get(word[0].lower(), word[0]), spaced
    )
    digits = re.sub(r"(?<=\d)[\s,]+(?=\d)", "", digits)
    plain = EnglishTextNormalizer()(digits)
    named = (LETTER_NAMES.get(word, word) for word in plain.split())
    return [part for word in named for part in (word if word.isdigit() else [word])]


def lost(said: str, heard: str) -> tuple[str, str]:
    """(what is missing of `said`, what was counted wrong), in order: words without any sound of
    theirs in `heard`.

    Compared letter by letter, so that "gonna" and "N A N A" cost what they differ in; a word is
    missing when less than a third of its letters found a partner and nothing else stands in its
    place: one that was misheard is not missing. One that is missing alone beside the same word
    ("very" six times instead of seven) is counted wrong.
    """
    wanted, got = tokens(said), "".join(tokens(heard))
    whole = "".join(wanted)
    owner = [at for at, word in enumerate(wanted) for _ in word]
    absent = [0.0] * len(wanted)
    for name, from_, to, got_from, got_to in SequenceMatcher(
        None, whole, got, autojunk=False
    ).get_opcodes():
        short = (to - from_) - (got_to - got_from)
        if name in ("delete", "replace") and short > 0:
            for at in range(from_, to):
                absent[owner[at]] += short / (to - from_)
    gone = [missing >= 0.67 * len(word) for word, missing in zip(wanted, absent, strict=True)]
    found: dict[bool, list[str]] = {True: [], False: []}
    for at in (at for at, is_gone in enumerate(gone) if is_gone):
        beside = [other for other in (at - 1, at + 1) if 0 <= other < len(wanted)]
        alone = not any(gone[other] for other in beside)
        found[alone and any(wanted[other] == wanted[at] for other in beside)].append(wanted[at])
    return " ".join(found[False]), " ".join(found[True])


# --- how it is said and heard -------------------------------------------------------------------


class Voices:
    """The voices that are there, at several paces, in turns."""

    def __init__(self) -> None:
        import onnxruntime

        from whisperfusion import settings
        from whisperfusion.engines import load
        from whisperfusion.models import store as models

        onnxruntime.set_seed(1)  # of the noise in the voices' models: the same sound every time
        chosen = settings.build({}, os.environ, {})
        self._engines = [("heart", load("tts", "hibari", model="", voice=""))]
        try:
            joe = models.fetch(
                models.resolve("piper-joe", "tts", chosen), chosen.cache, chosen.sources
            )
            self._engines.append(("joe", load("tts", "piper", model=str(joe))))
        except Exception as error:  # an optional package, or a model that cannot be had
            print(f"without Piper ({error})")

    def say(self, number: int, text: str) -> tuple[str, Samples]:
        """The name of the voice, and float32 [samples] at 16 kHz with half a second of room
        before and after.
        """
        from bench.sounds import to_microphone

        name, engine = self._engines[number % len(self._engines)]
        pace = PACES[number // len(self._engines) % len(PACES)]
        pcm = to_microphone(
            np.concatenate(list(engine.synthesize(text, "", pace))), engine.sample_rate
        )
        loud = np.abs(pcm) > 0.1 * np.abs(pcm).max()
        pcm = np.pad(pcm * (LEVEL / np.sqrt(np.mean(np.square(pcm[loud])))), 8000)
        noise = np.random.default_rng(number).standard_normal(len(pcm)) * NOISE
        return f"{name} {pace}", (pcm + noise).astype(np.float32)


class Live:
    """A caller who gets no answer, in virtual time: the words of a pass are there at once."""

    def __init__(self, asr: Any, language: str = "en") -> None:
        from whisperfusion.engines import ASROptions
        from whisperfusion.engines.silero import Silero

        self._asr, self._vad, self._options = asr, Silero(), ASROptions(language=language)

    def transcribe(self, pcm: Samples) -> str:
        """All that was said, of all turns."""
        from whisperfusion.call.audio_input import AudioInput
        from whisperfusion.turns import events
        from whisperfusion.turns.conversation import Conversation
        from whisperfusion.turns.options import Options
        from whisperfusion.turns.turn_detection import CAPTION_SILENCE_S

        self._audio = AudioInput(self._vad.create_stream())
        self._said: list[str] = []
        self._conversation = Conversation(
            "bench",
            Options(
                replies=False,
                turn_detector=False,
                max_silence_s=CAPTION_SILENCE_S,
                interim_every_s=PARTIAL_S,
            ),
        )
        self._text = ""
        for window in self._audio.windows(np.pad(pcm, (0, round(AFTER_S * MICROPHONE_RATE)))):
            self._event(events.SpeechProbability(self._audio.feed(window)))
        self._event(events.CommitTurn())
        return " ".join(self._said)

    def _event(self, event: Any) -> None:
        from whisperfusion.turns import commands as turns
        from whisperfusion.turns.events import InterimTranscript

        for command in self._conversation.receive(event, self._audio.position / MICROPHONE_RATE):
            if (
                isinstance(command, turns.RequestTranscript)
                and self._audio.transcription is not None
            ):
                taken = self._audio.transcription.collect(command.urgent)
                if taken is not None:
                    utterance, audio, upto = taken
                    self._text = utterance.accept_audio(audio, command.urgent).text
                    self._event(InterimTranscript(self._text, upto))
            elif isinstance(command, turns.StartTranscribing):
                self._audio.start_transcription(
                    self._asr.create_utterance(self._options),
                    self._asr.create_utterance(self._options),
                    command.at,
                )
            elif isinstance(command, turns.StopTranscribing):
                self._audio.stop_transcription()
            elif isinstance(command, turns.UserTurnFinal):
                self._said.append(command.text)


def as_file(asr: Any, pcm: Samples) -> str:
    from whisperfusion.engines import ASROptions

    return " ".join(segment.text for segment in asr.transcribe(pcm, ASROptions(language="en")))


# --- the whole ----------------------------------------------------------------------------------


def spoken(only: Sequence[str] = ()) -> Iterator[tuple[str, str, str, Samples]]:
    """(kind, sentence, voice, sound)"""
    voices = Voices()
    for number, (kind, text) in enumerate(sentences()):
        if not only or kind in only:
            yield (kind, text, *voices.say(number, text))


def repetitions(asr: Any, only: Sequence[str]) -> dict[str, list[Result]]:
    live = Live(asr)
    ways: dict[str, Callable[[Samples], str]] = {
        "live": live.transcribe,
        "file": lambda pcm: as_file(asr, pcm),
    }
    found: dict[str, list[Result]] = {way: [] for way in ways}
    for kind, text, voice, pcm in spoken(only):
        for way, hear in ways.items():
            heard = hear(pcm)
            result = Result(kind, text, voice, heard, *lost(text, heard))
            found[way].append(result)
            if result.lost or result.miscounted:
                print(result.line(way), flush=True)
    for way, results in found.items():
        print(
            f"{way}: {sum(bool(r.lost) for r in results)} of {len(results)} sentences lose words, "
            f"{sum(bool(r.miscounted) for r in results)} repeat one word once too little",
            flush=True,
        )
    return found


def word_error_rates(asr: Any) -> dict[str, Any]:
    from bench.accuracy import word_errors
    from bench.common import recordings

    live = Live(asr)
    found: dict[str, Any] = {}
    for way, hear in (("live", live.transcribe), ("file", lambda pcm: as_file(asr, pcm))):
        pairs = [(recording.text, hear(recording.pcm)) for recording in recordings()]
        found[way] = word_errors(pairs)
        print(
            (
                f"word error rate of {len(pairs)} recordings, {way}: {found[way]['wer']:.2%} of "
                f"{found[way]['words']} words"
            ),
            flush=True,
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument(
        "--recordings",
        action="store_true",
        help="also the word error rate of the recordings of people",
    )
    parser.add_argument(
        "--model", default="whisper-base", help="a Whisper of the model store, or a folder"
    )
    parser.add_argument("--only", default="", help="kinds of sentences, with commas")
    parser.add_argument("--out", default="", help="a JSON file for everything that was heard")
    flags = parser.parse_args()
    from whisperfusion import settings
    from whisperfusion.engines import load
    from whisperfusion.models import store as models

    chosen = settings.build({}, os.environ, {})
    path = models.fetch(models.resolve(flags.model, "asr", chosen), chosen.cache, chosen.sources)
    asr = load("asr", "faster-whisper", model=str(path), device="cpu", threads=1)
    heard = repetitions(asr, flags.only.split(",") if flags.only else ())
    found: dict[str, Any] = {way: [asdict(r) for r in results] for way, results in heard.items()}
    if flags.recordings:
        found["recordings"] = word_error_rates(asr)
    if flags.out:
        Path(flags.out).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
