"""A recognizer whose answers are kept: the same sound, given in the same pieces, is decoded once.

The key is the hash of all that an utterance was given, so a change of the code that asks at another
time is decoded anew, and everything else comes from the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from whisperfusion.audio import Samples
from whisperfusion.engines import ASROptions, Hypothesis
from whisperfusion.engines.protocols import Segment


class RecordedASR:
    """`load` builds the recognizer when something is not in `file` yet; `save` writes it."""

    def __init__(self, file: Path, load: Callable[[], Any]) -> None:
        self._file, self._load, self._asr = file, load, None
        self.kept: dict[str, list[Any]] = {}
        if file.is_file():
            self.kept = json.loads(file.read_text(encoding="utf-8"))
        self.decoded = 0  # by the recognizer, now

    @property
    def asr(self) -> Any:
        if self._asr is None:
            self._asr = self._load()
        return self._asr

    def create_utterance(self, options: ASROptions) -> RecordedUtterance:
        return RecordedUtterance(self, options)

    def save(self) -> None:
        if self.decoded:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            beside = self._file.with_suffix(".part")
            beside.write_text(json.dumps(self.kept), encoding="utf-8")
            beside.replace(self._file)


class RecordedUtterance:
    def __init__(self, recorded: RecordedASR, options: ASROptions) -> None:
        self._recorded, self._options = recorded, options
        self._hash = hashlib.sha256(repr(options).encode())
        self._given: list[tuple[Samples, bool]] = []  # that a real utterance was not given yet
        self._real: Any = None
        self._last = Hypothesis("")

    def accept_audio(self, pcm: Samples, final: bool = True) -> Hypothesis:
        self._hash.update(pcm.tobytes() + bytes([final]))
        self._given.append((pcm, final))
        key = self._hash.hexdigest()[:24]
        found = self._recorded.kept.get(key)
        if found is None:
            found = self._recorded.kept[key] = self._decode()
            self._recorded.decoded += 1
        text, segments = found
        self._last = Hypothesis(
            text,
            segments=tuple(
                Segment(0.0, 0.0, part, (), average, silent) for part, average, silent in segments
            ),
        )
        return self._last

    def finish(self) -> Hypothesis:
        return self._last

    def _decode(self) -> list[Any]:
        if self._real is None:
            self._real = self._recorded.asr.create_utterance(self._options)
        given, self._given = self._given, []
        for pcm, final in given:
            hypothesis = self._real.accept_audio(pcm, final)
        segments = [
            [one.text, round(one.avg_logprob, 4), round(one.no_speech_prob, 4)]
            for one in hypothesis.segments
        ]
        return [hypothesis.text, segments]
