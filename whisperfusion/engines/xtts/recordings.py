"""What the model makes of recordings of people: read once, kept for as long as they are there.

A voice is two tensors (the style of speaking and the embedding of the speaker), which take as long
to compute as a sentence. They are kept by the content of the file, so a copy costs nothing and a
file that was changed is another voice.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from whisperfusion.audio import Samples
from whisperfusion.errors import EngineError

SHORTEST_S = 3.0  # what the documentation of coqui-tts asks for
LONGEST_S = 30.0  # what comes after it is not used: max_ref_len and gpt_cond_len of XTTS-v2
MOST_BYTES = 100_000_000  # of a file
MOST = 64  # voices that are kept: 135 kB each
SILENT = 0.01  # the loudest sample of a recording without speech

T = TypeVar("T")


class Cloned(Generic[T]):
    """`make(pcm, rate)` gets float32 [samples] in -1..1. One thread at a time."""

    def __init__(self, make: Callable[[Samples, int], T], most: int = MOST) -> None:
        self._make, self._most = make, most
        self._made: dict[str, T] = {}  # by the SHA-256 of the file; the last that was used is last
        self._files: dict[Path, str] = {}

    def __len__(self) -> int:
        return len(self._made)

    def of(self, path: Path) -> T:
        """Raises EngineError: no voice can be made of the file."""
        self.forget()
        content = content_of(path)
        key = hashlib.sha256(content).hexdigest()
        made = self._made.pop(key, None)
        if made is None:
            made = self._make(*sound_of(path, content))
        self._made[key], self._files[path] = made, key
        self._drop(list(self._made)[: -self._most])
        return made

    def forget(self) -> None:
        """Drop what was made of files that are not there any more."""
        self._files = {path: key for path, key in self._files.items() if path.is_file()}
        self._drop([key for key in self._made if key not in self._files.values()])

    def _drop(self, keys: list[str]) -> None:
        for key in keys:
            del self._made[key]


def content_of(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise _refused(path, f"it has {size / 1e6:,.0f} MB")
        return path.read_bytes()
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from error


def sound_of(path: Path, content: bytes) -> tuple[Samples, int]:
    """float32 [samples] in -1..1, at most `LONGEST_S` of them, and their rate in Hz."""
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            rate = file.samplerate
            found = file.read(int(LONGEST_S * rate), dtype="float32", always_2d=True).mean(axis=1)
    except (RuntimeError, TypeError, ValueError) as error:  # soundfile's errors are RuntimeErrors
        raise _refused(path, " ".join(str(error).split())[:120]) from error
    if len(found) < SHORTEST_S * rate:
        raise _refused(path, f"it lasts {len(found) / rate:.1f} s")
    if not np.isfinite(found).all() or np.abs(found).max() < SILENT:
        raise _refused(path, "it is silent")
    return np.clip(found, -1.0, 1.0), rate


def _refused(path: Path, why: str) -> EngineError:
    return EngineError(
        f"no voice can be made of {path} ({why}); a sound file (WAV, FLAC, OGG or MP3, at most "
        f"{MOST_BYTES // 10**6} MB) in which one person speaks for {SHORTEST_S:g} to "
        f"{LONGEST_S:g} s is needed"
    )
