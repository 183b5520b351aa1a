"""The speakers of live calls: dialogues of two people, streamed to a server like microphones.

    python -m bench.live_speakers --half test --dialogues 12

A server with SPEAKER_ENGINE=resemblyzer captions each dialogue three times: once with the speaker
of each turn, and once for each of the two as the only known speaker, whose first utterance is the
sample. The server finds where turns end; the pauses between people are long enough for that
(`speakers.SPACED_S`). A caption belongs to the person who speaks in most of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from websockets.asyncio.client import connect

from bench.common import OUT, ROOT, Server, machine, say, server, version, write
from bench.diarization_error import best_pairing
from bench.speakers import Dialogue, spaced_dialogues
from whisperfusion.audio import MICROPHONE_RATE, Samples, to_samples
from whisperfusion.engines.resemblyzer import Resemblyzer
from whisperfusion.engines.silero import Silero
from whisperfusion.models import store
from whisperfusion.settings import Settings
from whisperfusion.speakers.call_speakers import embed_turn
from whisperfusion.wire.speakers import embedding_text

FRAME_S, SILENCE_S = 0.04, 3.0
AT_ONCE = 3  # calls
Caption = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dialogues", type=int, default=12, metavar="N")
    parser.add_argument("--half", choices=("all", "tune", "test"), default="test", help="of people")
    parser.add_argument("--json", type=Path, default=OUT / "live_speakers.json", metavar="FILE")
    asked = parser.parse_args()
    settings = Settings()
    path = store.fetch(
        store.resolve("resemblyzer", "speaker", settings), settings.cache, settings.sources
    )
    encoder, vad = Resemblyzer(model=str(path)), Silero()
    made = list(spaced_dialogues(vad, asked.half, asked.dialogues))
    samples = {}
    for dialogue in made:
        for name in sorted({turn.speaker for turn in dialogue.said}):
            first = next(turn for turn in dialogue.said if turn.speaker == name)
            pcm = dialogue.pcm[to_samples(first.start_s) : to_samples(first.end_s)]
            if found := embed_turn(pcm, encoder, vad.create_stream()):
                samples[dialogue.name, name] = embedding_text(found[0].tolist())
    with server(ROOT, ("--speaker-engine=resemblyzer",)) as running:
        rows = asyncio.run(_all(running, made, samples))
    write(asked.json, {"version": version(ROOT), "machine": machine(), "rows": rows})
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row)
    say(
        f"{asked.half}: right {total['right']} of {total['captions']} captions, {total['mixed']} "
        f"with words of both; of a known speaker kept {total['kept']} of {total['known']}, of "
        f"others ignored {total['ignored']} of {total['other']}"
    )
    return 0


async def _all(
    running: Server, made: Sequence[Dialogue], samples: dict[tuple[str, str], str]
) -> list[dict[str, int]]:
    free = asyncio.Semaphore(AT_ONCE)

    async def one(dialogue: Dialogue, known: str = "") -> dict[str, int]:
        async with free:
            asked: dict[str, Any] = {"enable_diarization": True}
            if known:
                sample = {"name": "known", "embedding": samples[dialogue.name, known]}
                asked = {"known_speakers": [sample], "known_speakers_only": True}
            captions = [
                one for one in await stream(running, dialogue.pcm, asked) if one["text"].strip()
            ]
        found = known_row(dialogue, captions, known) if known else row(dialogue, captions)
        say(f"{dialogue.name} {known}: {found}")
        return found

    calls = [one(dialogue) for dialogue in made]
    by_name = {dialogue.name: dialogue for dialogue in made}
    calls += [one(by_name[name], known) for name, known in samples]
    return list(await asyncio.gather(*calls))


async def stream(running: Server, pcm: Samples, asked: dict[str, Any]) -> list[Caption]:
    """The final captions of a call that only transcribes, or listens to one speaker."""
    finals: list[Caption] = []
    async with connect(running.asr_url, max_size=None, proxy=None) as socket:
        hello = {"uid": f"bench-{time.monotonic_ns()}", "language": "en", "events": True}
        await socket.send(json.dumps({**hello, "reply": False, **asked}))

        async def speak() -> None:
            size = to_samples(FRAME_S)
            sound = np.concatenate([pcm, np.zeros(to_samples(SILENCE_S), np.float32)])
            began = time.monotonic()
            for at in range(0, len(sound), size):
                due = began + (at + size) / MICROPHONE_RATE
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                await socket.send(sound[at : at + size].astype("<f4").tobytes())
            await socket.send("END_OF_AUDIO")

        speaking = asyncio.create_task(speak())
        async for frame in socket:
            told = json.loads(frame)
            if told.get("status") == "ERROR":
                raise SystemExit(told["message"])
            if told.get("final") is True:
                finals.append(told)
        await speaking
    return finals


def row(dialogue: Dialogue, captions: Sequence[Caption]) -> dict[str, int]:
    """Captions whose speaker is right, by the best pairs of names."""
    told = [(one, *_spoken_by(dialogue, one)) for one in captions]
    names = sorted({name for _, name, _ in told})
    given = sorted({one.get("speaker", "?") for one, _, _ in told})
    agree = np.zeros((len(names), len(given)), np.int64)
    for one, name, _ in told:
        agree[names.index(name), given.index(one.get("speaker", "?"))] += 1
    mixed = sum(both for _, _, both in told)
    return {"captions": len(told), "right": best_pairing(agree), "mixed": mixed}


def known_row(dialogue: Dialogue, captions: Sequence[Caption], known: str) -> dict[str, int]:
    """Captions of the known speaker that are a turn, without that of the sample, and of the other
    one that are ignored.
    """
    found = dict.fromkeys(("known", "kept", "other", "ignored"), 0)
    sample = next(turn for turn in dialogue.said if turn.speaker == known)
    for one in captions:
        ignored, name = bool(one.get("ignored")), _spoken_by(dialogue, one)[0]
        if name == known and one["start"] < sample.end_s:
            continue
        found["known" if name == known else "other"] += 1
        found["kept"] += name == known and not ignored
        found["ignored"] += name != known and ignored
    return found


def _spoken_by(dialogue: Dialogue, caption: Caption) -> tuple[str, bool]:
    """Who speaks in most of it, and whether the other one does for half a second too."""
    shares: Counter[str] = Counter()
    for name, length_s in _overlaps(dialogue, caption["start"], caption["end"]):
        shares[name] += int(length_s * 1000)
    ordered = shares.most_common()
    return (ordered[0][0] if ordered else ""), len(ordered) > 1 and ordered[1][1] > 500


def _overlaps(dialogue: Dialogue, start: float, end: float) -> Iterator[tuple[str, float]]:
    for turn in dialogue.turns:
        length_s = min(end, turn.end_s) - max(start, turn.start_s)
        if length_s > 0:
            yield turn.speaker, length_s


if __name__ == "__main__":
    sys.exit(main())
