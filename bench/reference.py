"""What the whole recording says to the same model in one plain pass: the words, and when each was
spoken.

The plain pass is faster-whisper's own `transcribe` in windows of 30 s, beam 1, without a speech
detector. Both are made once for a model and kept in bench/out/.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from bench.common import OUT, Recording, recordings, say, write

WORD_TIMES_BY = "whisper-base"

SpokenWord = tuple[str, float, float]  # word, start and end in seconds of the recording


def plain_pass(model: str) -> dict[str, str]:
    """Recording to text."""
    return _kept(
        f"plain-{model}",
        lambda: _transcribe(model, lambda segments: " ".join(s.text.strip() for s in segments)),
    )


@functools.lru_cache(maxsize=1)
def word_times() -> dict[str, list[SpokenWord]]:
    """Recording to its words with the times of the model's attention to them (about 0.05 s
    exact).
    """

    def words(segments: Sequence[Any]) -> list[SpokenWord]:
        from bench.verdicts import plain_words

        found = [
            (plain, word.start, word.end)
            for s in segments
            for word in s.words
            for plain in plain_words(word.word)
        ]
        return [(word, round(start, 3), round(end, 3)) for word, start, end in found]

    return _kept(
        f"words-{WORD_TIMES_BY}", lambda: _transcribe(WORD_TIMES_BY, words, word_timestamps=True)
    )


def _transcribe(model: str, of: Callable[[list[Any]], Any], **how: Any) -> dict[str, Any]:
    import os

    from faster_whisper import WhisperModel

    from whisperfusion.models.store import fetch, resolve
    from whisperfusion.settings import build

    chosen = build({}, os.environ, {})
    folder = fetch(resolve(model, "asr", chosen), chosen.cache, chosen.sources)
    whisper = WhisperModel(str(folder), device="cpu", compute_type="int8")
    say(
        f"reading {len(recordings())} recordings with {model} in 30 s "
        f"windows{', for the times of the words' if how else ''}"
    )
    return {
        r.name: of(list(whisper.transcribe(r.pcm, language="en", beam_size=1, **how)[0]))
        for r in recordings()
    }


def _kept(name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    path, key = OUT / f"reference-{name}.json", _fingerprint(recordings())
    if path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["of"] == key:
            found: dict[str, Any] = kept["recordings"]
            return found
    made = make()
    write(path, {"of": key, "recordings": made})
    return made


def _fingerprint(of: Sequence[Recording]) -> str:
    digest = hashlib.sha256()
    for recording in of:
        digest.update(recording.name.encode() + recording.pcm.tobytes())
    return digest.hexdigest()
