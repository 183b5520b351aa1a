"""Row 6: word errors of the captions and of the turns, against the plain pass of the same model;
and of the replies read back.

Captions come through 6006 in the WhisperLive dialect, each recording sent at once. Both sides are
normalized by Whisper's own rules for English (numbers, spelling, titles) before they are compared.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.common import Recording, Server, recordings, say
from bench.sounds import to_microphone
from bench.verdicts import spread
from whisperfusion.audio import SPEECH_RATE, Samples
from whisperfusion.client import CallError
from whisperfusion.client.timed_call import TimedCall

MARKUP = re.compile(r"[*#`_|<>{}\[\]]|https?://")
BOOKS = ("libri", "LJ")
READ_BACK = 10  # questions asked aloud, whose answers are read back


def word_errors(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """(reference, heard) pairs: the word error rate over all their words, and the pairs that
    differ.
    """
    import jiwer
    from whisper_normalizer.english import EnglishTextNormalizer

    plain = EnglishTextNormalizer()
    clean = [(plain(reference), plain(heard)) for reference, heard in pairs if plain(reference)]
    if not clean:
        return {"words": 0}
    references, heard = [list(side) for side in zip(*clean, strict=True)]
    wrong = [{"said": said, "heard": got} for said, got in clean if said != got]
    return {
        "wer": jiwer.wer(references, heard),
        "words": sum(len(r.split()) for r in references),
        "wrong": wrong,
    }


async def caption(url: str, pcm: Samples) -> str:
    """All finished segments of one recording, sent at once."""
    from websockets.asyncio.client import connect

    finished: dict[str, str] = {}
    async with connect(url, max_size=None, proxy=None) as socket:
        await socket.send(
            json.dumps(
                {
                    "uid": f"bench-{time.monotonic_ns()}",
                    "language": "en",
                    "task": "transcribe",
                    "use_vad": True,
                }
            )
        )
        await socket.recv()
        await socket.send(np.pad(pcm, (0, 8000)).astype("<f4").tobytes())
        await socket.send("END_OF_AUDIO")
        async for frame in socket:
            finished.update(
                {
                    s["start"]: s["text"].strip()
                    for s in json.loads(frame).get("segments", [])
                    if s["completed"]
                }
            )
    return " ".join(finished.values())


async def captions(server: Server, every: int) -> dict[str, str]:
    return {r.name: await caption(server.asr_url, r.pcm) for r in recordings()[::every]}


def compared(texts: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """`texts`: kind to recording to what was understood.

    Each kind over the recordings that all of them have.
    """
    common = set.intersection(*(set(of) for of in texts.values()))
    of = [r for r in recordings() if r.name in common]
    found = {kind: _errors(of, heard) for kind, heard in texts.items()}
    for kind, errors in found.items():
        say(
            f"  word error rate, {kind}: {errors['all']['wer']:.1%} of {errors['all']['words']} "
            "words"
        )
    return found


def _errors(of: Sequence[Recording], heard: Mapping[str, str]) -> dict[str, Any]:
    def over(wanted: Sequence[Recording]) -> dict[str, Any]:
        return word_errors([(r.text, heard[r.name]) for r in wanted])

    return {
        "all": over(of),
        "books": over([r for r in of if r.name.startswith(BOOKS)]),
        "others": over([r for r in of if not r.name.startswith(BOOKS)]),
    }


async def read_back(server: Server, every: int) -> dict[str, Any]:
    """Ask, keep the replies, read their sound back with the recognizer."""
    from whisperfusion.engines import ASROptions, load
    from whisperfusion.models.store import fetch, resolve
    from whisperfusion.settings import Settings

    replies, took = [], []
    for recording in [r for r in recordings() if "single-turn" in r.tags][:READ_BACK:every]:
        began = time.monotonic()
        try:
            async with TimedCall(server.asr_url, server.tts_url) as call:
                replies.append((recording, await call.turn(recording.pcm)))
        except CallError as error:
            say(f"  FAILED: {recording.name}: {error}")
        took.append((time.monotonic() - began) * 1000)
    defaults = Settings()
    reader = load(
        "asr",
        "faster-whisper",
        model=str(
            fetch(resolve(defaults.asr_model, "asr", defaults), defaults.cache, defaults.sources)
        ),
    )
    pairs, answers = [], []
    for recording, result in replies:
        pcm = to_microphone(result.audio, SPEECH_RATE)
        back = " ".join(
            segment.text for segment in reader.transcribe(pcm, ASROptions(language="en"))
        )
        pairs.append((result.reply, back))
        spoken = (
            bool(result.reply)
            and not MARKUP.search(result.reply)
            and len(result.reply.split()) <= 80
        )
        answers.append(
            {
                "asked": recording.text,
                "heard": result.transcript,
                "reply": result.reply,
                "read back": back,
                "speakable": spoken,
            }
        )
        say(
            f"  {result.transcript!r} -> "
            f"{result.reply!r}{'' if spoken else '   (NOT FIT TO BE SPOKEN)'}"
        )
    errors = word_errors(pairs)
    if errors["words"]:
        say(f"  replies read back: word error rate {errors['wer']:.1%} of {errors['words']} words")
    return {**errors, "answers": answers, "ms": spread(took)}
