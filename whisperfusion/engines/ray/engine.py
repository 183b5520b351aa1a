"""Engines on the servers of a cluster: Ray Serve's, or single ones (`cluster/`).

`url` is the address of one kind of engine, such as http://HOST:8100/asr, and may lead to any
number of replicas; `model` is one of those that the servers have, None = their usual one. No
package of Ray is needed here. What the engine can do over there, it can do here; see `servers.py`
for what happens when a replica is lost, and `wire/engine_server.py` for what travels.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from whisperfusion.audio import Samples
from whisperfusion.engines.batching import decoded
from whisperfusion.engines.elsewhere.adapters import (
    FarASR,
    FarConstrainedLLM,
    FarLLM,
    FarMultilingualTTS,
    FarToolLLM,
    FarTTS,
    FarWarmLLM,
    able,
    samples_in,
    segment,
)
from whisperfusion.engines.pcm import checked
from whisperfusion.engines.protocols import ASROptions, Hypothesis, Job, Recording, Segment
from whisperfusion.engines.ray.servers import Servers
from whisperfusion.engines.ray.utterance import RayUtterance, both_passes, one_pass
from whisperfusion.engines.remote.audio_server import ANSWER_S
from whisperfusion.engines.remote.http_stream import BETWEEN_PIECES_S
from whisperfusion.engines.remote.recordings import read_recordings
from whisperfusion.engines.whisper.utterance import fitting
from whisperfusion.errors import EngineError

AT_ONCE, FILES_AT_ONCE = 16, 4  # utterances of one batch; pieces of recordings
FILE_S = 300.0  # for the answer to a piece of a recording
SAMPLE_LIMIT = 8 << 20  # bytes of a recording of a voice


class RayASR(FarASR):
    """`timeout_s` is the longest wait for the transcript of an utterance."""

    def __init__(
        self,
        *,
        model: str | None = None,
        url: str | None = None,
        key: str | None = None,
        timeout_s: float = ANSWER_S,
    ) -> None:
        super().__init__(Servers("asr", url, key, model, timeout_s))
        self._threads = ThreadPoolExecutor(AT_ONCE, "asr-live")
        self._file_threads = ThreadPoolExecutor(FILES_AT_ONCE, "asr-files")

    def create_utterance(self, options: ASROptions) -> RayUtterance:
        self._check(options)
        return one_pass(self._way, options)

    def create_utterances(self, options: ASROptions) -> tuple[RayUtterance, RayUtterance]:
        self._check(options)
        return both_passes(self._way, options)

    def decode_batch(self, jobs: Sequence[Job]) -> list[Hypothesis | Exception]:
        """They go out side by side; a replica reads those together that wait there."""
        return list(self._threads.map(lambda job: decoded(*job), jobs))

    def transcribe(self, pcm: Samples, options: ASROptions) -> Iterator[Segment]:
        for _, found in self.transcribe_batch([(pcm, options)]):
            yield found

    def transcribe_batch(
        self,
        recordings: Sequence[Recording],
        wanted: Callable[[int], bool] = lambda at: True,
    ) -> Iterator[tuple[int, Segment]]:
        """In pieces of two minutes, a few at once, each at any replica."""
        closed = threading.Event()
        try:
            yield from read_recordings(
                recordings,
                lambda at: not closed.is_set() and wanted(at),
                self._read,
                self._file_threads,
            )
        finally:
            closed.set()

    def detect_language(self, pcm: Samples) -> tuple[str, float]:
        language, probability = self._way.value("detect_language", {}, checked(pcm))
        return language, probability

    def _read(
        self, pcm: Samples, options: ASROptions, wanted: Callable[[], bool]
    ) -> Iterator[Segment]:
        asked = {"options": asdict(options)}
        yield from self._way.stream(
            "transcribe", asked, lambda piece: segment(piece.value), None, pcm, wanted, FILE_S
        )

    def _check(self, options: ASROptions) -> None:
        """Raises EngineError for what the recognizer does not know, before a caller speaks."""
        if self.languages:
            fitting(options, self.languages, len(self.languages) > 1)


class RayLLM(FarToolLLM, FarConstrainedLLM, FarWarmLLM):
    """`parallel` replies may run at once for this server; the cluster has its own limits.

    What the engine cannot do over there is missing in what is made.
    """

    def __new__(
        cls,
        *,
        model: str | None = None,
        url: str | None = None,
        key: str | None = None,
        parallel: int = 8,
        timeout_s: float = BETWEEN_PIECES_S,
    ) -> Any:
        servers = Servers("llm", url, key, model, timeout_s)
        servers.attributes["parallel"] = parallel
        abilities: dict[str, type] = {
            "ToolLLM": FarToolLLM,
            "ConstrainedLLM": FarConstrainedLLM,
            "WarmLLM": FarWarmLLM,
        }
        return able(FarLLM, abilities, servers)


class _TTS(FarTTS):
    def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> Iterator[Samples]:
        yield from super().synthesize(text, voice or self.voices[0], speed)


class _CloningTTS(_TTS):
    """The recording of a voice goes with the text: its file is here."""

    clones = True

    def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> Iterator[Samples]:
        if not voice or voice in self.voices or not Path(voice).is_file():
            yield from super().synthesize(text, voice, speed)
            return
        data = Path(voice).read_bytes()
        if len(data) > SAMPLE_LIMIT:
            raise EngineError(
                f"the recording {voice} has {len(data) / 1e6:.0f} MB; at most "
                f"{SAMPLE_LIMIT >> 20} MB can go to the cluster with each text. Use a shorter one"
            )
        asked = {"text": text, "voice": None, "speed": speed, "recording": True}
        nothing_yet: Samples = np.zeros(0, np.float32)
        yield from self._way.stream(
            "synthesize", asked, samples_in, nothing_yet, np.frombuffer(data, np.uint8)
        )


class _MultilingualTTS(_TTS, FarMultilingualTTS):
    pass


class RayTTS(_CloningTTS, _MultilingualTTS):
    """`voice` is the usual one, None = the servers' own; `timeout_s` is the longest wait for the
    first sound and between two pieces.

    What the engine cannot do over there is missing in what is made.
    """

    voice_languages: Mapping[str, str]

    def __new__(
        cls,
        *,
        model: str | None = None,
        voice: str | None = None,
        url: str | None = None,
        key: str | None = None,
        timeout_s: float = ANSWER_S,
    ) -> Any:
        servers = Servers("tts", url, key, model, timeout_s)
        known = servers.attributes["voices"]
        if voice and voice not in known:
            raise EngineError(f"no voice {voice!r} in the cluster; available: {', '.join(known)}")
        servers.attributes["voices"] = tuple(dict.fromkeys((voice or known[0], *known)))
        abilities = {"CloningTTS": _CloningTTS, "MultilingualTTS": _MultilingualTTS}
        return able(_TTS, abilities, servers)
