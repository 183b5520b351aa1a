"""Conversations of twenty typed turns in six languages, and one that changes its language twice,
with the default language model and Kokoro: is the reply in the language, and is its sound
understood?

    python -m bench.languages [--only es fr mixed …] [--read | --report] [--show]

A server of this checkout answers; its recognizer is scripted, since nothing is spoken to it. Each
turn is kept in bench/out/languages with its sound, and a run that was broken off goes on behind the
last one (delete a conversation's file to hold it again). Then Whisper base reads the sound back in
the language of the turn, and both texts are compared (bench/compared_words.py). `--read` holds no
conversation, `--report` only prints what is there; `--show` prints what differs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import wave
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import OUT, ROOT, BenchError, Server, say, server, write
from bench.compared_words import comparable, error_rate
from bench.sounds import to_microphone
from whisperfusion.audio import MICROPHONE_RATE, SPEECH_RATE, Samples
from whisperfusion.client import CallError, UserTurn
from whisperfusion.client.timed_call import TimedCall, only
from whisperfusion.settings import Settings, build

FOLDER = OUT / "languages"
CONVERSATIONS = ROOT / "bench" / "conversations.tsv"
LANGUAGES = "en", "es", "fr", "it", "pt", "ja", "zh"
FLAGS = (
    f"--asr-language={','.join(LANGUAGES)}",
    "--tts-engine=kokoro",
    "--tts-option=measure=false",
    *(f"--{stage}-engine=scripted" for stage in ("asr", "vad", "turn", "speaker")),
    # a small model that goes on and on would cost minutes of speech
    "--llm-max-tokens=40",
)
TRIES = 5  # of a conversation: the server gives up a reply that takes half a minute
AT_ONCE = 2  # conversations, so that the machine is not idle while a reply is played
WAIT_S = 300.0  # for an answer: a busy machine does not count as a failure
PADDING = np.zeros(MICROPHONE_RATE // 2, np.float32)  # of quiet around what is read back


@dataclass
class Turn:
    """`language` is the one that the caller used, `told` the one that the server took it for and
    `identified` that of the reply's text.
    """

    asked: str
    language: str
    told: str
    reply: str
    identified: str
    seconds: float


def conversations() -> dict[str, list[tuple[str, str]]]:
    """Name of a conversation to its (language, text) of each turn."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in CONVERSATIONS.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, language, text = line.split("\t")
            found.setdefault(name, []).append((language, text))
    return found


def held(name: str) -> list[Turn]:
    return [Turn(**one) for one in kept(name, "turns")]


def kept(name: str, what: str) -> list[Any]:
    """The `turns` of a conversation, or what was `heard` of them, as far as they are there."""
    path = FOLDER / f"{name}-{what}.json"
    return list(json.loads(path.read_text(encoding="utf-8"))[what]) if path.is_file() else []


def keep(name: str, what: str, values: Sequence[Any]) -> None:
    write(FOLDER / f"{name}-{what}.json", {what: values})


def sound_file(name: str, number: int) -> Path:
    return FOLDER / f"{name}-{number + 1:02}.wav"


# --- what is said -------------------------------------------------------------------------------


async def hold(at: Server, name: str, said: Sequence[tuple[str, str]], identify: Any) -> None:
    """The turns of a conversation that are not there yet."""
    turns = held(name)
    history = [
        {"role": role, "text": text}
        for turn in turns
        for role, text in (("user", turn.asked), ("assistant", turn.reply))
    ]
    options = {"history": history} if history else {}
    async with TimedCall(at.asr_url, at.tts_url, options=options) as call:
        for language, text in said[len(turns) :]:
            first = len(call.log)
            result = await call.typed(text, timeout_s=WAIT_S)
            told = only(call.log[first:], UserTurn)[-1].event.language
            turn = Turn(
                text, language, told, result.reply, identify(result.reply), seconds(result.audio)
            )
            write_wave(sound_file(name, len(turns)), to_microphone(result.audio, SPEECH_RATE))
            turns.append(turn)
            keep(name, "turns", [asdict(one) for one in turns])
            say(f"{name} {len(turns):2} [{turn.identified}] {text} -> {turn.reply}")


def seconds(pcm: Samples) -> float:
    return round(len(pcm) / SPEECH_RATE, 2)


def write_wave(path: Path, pcm: Samples) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, MICROPHONE_RATE, 0, "NONE", ""))
        file.writeframes((np.clip(pcm, -1, 1) * 32767).astype("<i2").tobytes())


def identifier(settings: Settings) -> Any:
    """A function: ISO code of the likeliest of the 176 languages of lid.176.ftz for a text."""
    import fasttext

    from whisperfusion.models.catalog import MODELS
    from whisperfusion.models.store import fetch

    path = fetch(MODELS["lid-176"], settings.cache, settings.sources)
    model = fasttext.load_model(str(path))

    def identify(text: str) -> str:
        labels, _ = model.predict(" ".join(text.split()))
        return labels[0].removeprefix("__label__") if labels else ""

    return identify


# --- what is heard ------------------------------------------------------------------------------


def read_back(names: Sequence[str], settings: Settings) -> None:
    """The turns that were not read back yet, by Whisper base."""
    from whisperfusion.cli.talk import read_audio
    from whisperfusion.engines import ASROptions, load
    from whisperfusion.models.store import fetch, resolve

    model = fetch(resolve("whisper-base", "asr", settings), settings.cache, settings.sources)
    reader = load("asr", "faster-whisper", model=str(model))
    for name in names:
        turns, heard = held(name), kept(name, "heard")
        for number in range(len(heard), len(turns)):
            pcm = read_audio(str(sound_file(name, number)))
            padded = np.concatenate([PADDING, pcm, PADDING])
            options = ASROptions(language=turns[number].language)
            segments = reader.transcribe(padded, options)
            heard.append(" ".join(segment.text.strip() for segment in segments))
            keep(name, "heard", heard)
        say(f"{name}: {len(heard)} replies were read back")


def report(names: Sequence[str], show: bool) -> None:
    print("| conversation | turns | switched to | reply in the language | speech | errors |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in names:
        turns = held(name)
        told = sum(turn.told == turn.language for turn in turns)
        right = sum(turn.identified == turn.language for turn in turns)
        length = sum(turn.seconds for turn in turns)
        print(
            f"| {name} | {len(turns)} | {told} | {right} ({right / max(len(turns), 1):.0%}) | "
            f"{length:.0f} s | {error_rate(pairs(name)):.1%} of "
            f"{sum(len(said) for said, _ in pairs(name))} |"
        )
        for turn in turns if show else ():
            if turn.identified != turn.language or turn.told != turn.language:
                print(f"- {turn.asked!r} ({turn.told}) -> {turn.reply!r} is {turn.identified}")
        for said, got in pairs(name) if show else ():
            if said != got:
                print(f"- {error_rate([(said, got)]):.0%}: {' '.join(said)} | {' '.join(got)}")


def pairs(name: str) -> list[tuple[list[str], list[str]]]:
    """What was said and what was heard of it, of the turns that were read back."""
    return [
        (comparable(turn.reply, turn.language), comparable(got, turn.language))
        for turn, got in zip(held(name), kept(name, "heard"), strict=False)
    ]


async def hold_all(names: Sequence[str], settings: Settings) -> None:
    wanted = conversations()
    left = [name for name in names if len(held(name)) < len(wanted[name])]
    if not left:
        return
    identify = identifier(settings)
    with server(ROOT, FLAGS, log="languages.log") as running:
        say(f"the server is ready after {running.start_s:.0f} s")
        at_once = asyncio.Semaphore(AT_ONCE)

        async def one(name: str) -> None:
            async with at_once:
                for _ in range(TRIES):
                    try:
                        await hold(running, name, wanted[name], identify)
                        break
                    except CallError as error:
                        say(f"FAILED: {name}: {error}")

        await asyncio.gather(*(one(name) for name in left))


def main() -> None:
    names = list(conversations())
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--read", action="store_true", help="hold no conversation")
    parser.add_argument("--report", action="store_true", help="only print what is there")
    parser.add_argument("--show", action="store_true", help="print what differs")
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    settings = build({}, os.environ, {})
    try:
        if not (options.read or options.report):
            asyncio.run(hold_all(options.only, settings))
        if not options.report:
            read_back(options.only, settings)
    except BenchError as error:
        raise SystemExit(str(error)) from None
    report(options.only, options.show)


if __name__ == "__main__":
    main()
