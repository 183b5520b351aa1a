"""How well it hears and speaks: word errors of the captions, and of the replies read back by the recognizer.

    python bench/accuracy.py --start --replies 10
    python bench/accuracy.py --start --replies 0 -- --asr-model whisper-tiny.en

Captions come through 6006 in the WhisperLive dialect, each recording sent at once. Both sides are normalized by Whisper's
own rules for English (numbers, spelling, titles) before they are compared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import common  # noqa: E402
from fusion.client import Call, CallError  # noqa: E402

MARKUP = re.compile(r"[*#`_|<>{}\[\]]|https?://")


def word_errors(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """(reference, heard) pairs: the word error rate over all their words, and the pairs that differ."""
    import jiwer
    from whisper_normalizer.english import EnglishTextNormalizer

    plain = EnglishTextNormalizer()
    clean = [(plain(reference), plain(heard)) for reference, heard in pairs if plain(reference)]
    if not clean:
        return {"words": 0}
    references, heard = [list(side) for side in zip(*clean, strict=True)]
    wrong = [{"said": said, "heard": got} for said, got in clean if said != got]
    return {"wer": jiwer.wer(references, heard), "words": sum(len(r.split()) for r in references), "wrong": wrong}


async def caption(url: str, pcm: np.ndarray) -> str:
    """All finished segments of one recording, sent at once."""
    from websockets.asyncio.client import connect

    finished: dict[str, str] = {}
    async with connect(url, max_size=None, proxy=None) as socket:
        await socket.send(json.dumps({"uid": f"bench-{time.monotonic_ns()}", "language": "en", "task": "transcribe", "use_vad": True}))
        await socket.recv()
        await socket.send(np.pad(pcm, (0, 8000)).astype("<f4").tobytes())
        await socket.send("END_OF_AUDIO")
        async for frame in socket:
            finished.update({s["start"]: s["text"].strip() for s in json.loads(frame).get("segments", []) if s["completed"]})
    return " ".join(finished.values())


async def hear(server: common.Server, recordings: Sequence[common.Recording]) -> dict[str, Any]:
    pairs, took = [], []
    for recording in recordings:
        began = time.monotonic()
        pairs.append((recording.text, await caption(server.asr_url, recording.pcm)))
        took.append((time.monotonic() - began) * 1000)
    read = {r.name for r in recordings if r.name.startswith(("libri", "LJ"))}
    books = [pair for pair, recording in zip(pairs, recordings, strict=True) if recording.name in read]
    others = [pair for pair, recording in zip(pairs, recordings, strict=True) if recording.name not in read]
    result = {"all": word_errors(pairs), "books": word_errors(books), "others": word_errors(others), "ms": common.spread(took)}
    for name in ("all", "books", "others"):
        if result[name]["words"]:
            print(f"captions, {name}: word error rate {result[name]['wer']:.1%} of {result[name]['words']} words")
    return result


async def speak(server: common.Server, recordings: Sequence[common.Recording]) -> dict[str, Any]:
    """Ask, keep the replies, read their sound back."""
    from fusion.engines import ASROptions, load
    from fusion.models import fetch, resolve
    from fusion.settings import Settings

    replies = []
    for recording in recordings:
        try:
            async with Call(server.asr_url, server.tts_url) as call:
                replies.append((recording, await call.turn(recording.pcm)))
        except CallError as error:
            print(f"{recording.name}: {error}")
    defaults = Settings()
    model = fetch(resolve(defaults.asr_model, "asr", defaults), defaults.cache, defaults.sources)
    reader = load("asr", "faster-whisper", model=str(model))
    pairs, answers = [], []
    for recording, result in replies:
        at = np.arange(0, len(result.audio), 1.5)  # 24 kHz to 16 kHz; the voice has little above 8 kHz
        pcm = np.interp(at, np.arange(len(result.audio)), result.audio).astype(np.float32)
        back = " ".join(segment.text for segment in reader.transcribe(pcm, ASROptions(language="en")))
        pairs.append((result.reply, back))
        spoken = bool(result.reply) and not MARKUP.search(result.reply) and len(result.reply.split()) <= 80
        answers.append({"asked": recording.text, "heard": result.caption, "reply": result.reply, "read back": back, "speakable": spoken})
        print(f"  {result.caption!r} -> {result.reply!r}{'' if spoken else '   (NOT FIT TO BE SPOKEN)'}")
    errors = word_errors(pairs)
    if errors["words"]:
        print(f"replies read back: word error rate {errors['wer']:.1%} of {errors['words']} words; "
              f"{len(replies)} of {len(recordings)} answered")
    return {**errors, "answers": answers}


async def bench(server: common.Server, arguments: argparse.Namespace) -> dict[str, Any]:
    recordings = common.read_recordings(lambda entry: True)
    heard = await hear(server, recordings[:: arguments.every])
    asked = [recording for recording in recordings if "single-turn" in recording.tags][: arguments.replies]
    return {"captions": heard, "replies": await speak(server, asked) if asked else {}}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0], usage="%(prog)s [options] [-- FLAGS OF main.py]")
    parser.add_argument("--start", action="store_true", help="start a server on free ports and stop it at the end")
    parser.add_argument("--asr-port", type=int, default=6006)
    parser.add_argument("--tts-port", type=int, default=8888)
    parser.add_argument("--every", type=int, default=1, help="only every n-th recording is transcribed")
    parser.add_argument("--replies", type=int, default=10, help="questions asked aloud, whose answers are read back")
    own, flags = common.split_flags(sys.argv[1:])
    arguments = parser.parse_args(own)
    with common.server(arguments.start, flags, arguments.asr_port, arguments.tts_port) as server:
        result = asyncio.run(bench(server, arguments))
    common.write("accuracy", {**result, "flags": flags})


if __name__ == "__main__":
    main()
