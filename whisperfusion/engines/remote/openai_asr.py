"""Speech to text on any server with OpenAI's `audio/transcriptions`: vLLM, Speaches, LocalAI, Groq,
OpenAI, another WhisperFusion.

Such a server has no memory of an utterance, so each pass sends all of it that is not settled (at
most 20 s). The server tells no probability of the end of a turn: the end-of-turn model decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.engines.batching import decoded
from whisperfusion.engines.pcm import checked, loudest
from whisperfusion.engines.protocols import ASROptions, Hypothesis, Job, Recording, Segment
from whisperfusion.engines.remote.audio_server import ANSWER_S, LOAD_S, RefusedOptions, model_name
from whisperfusion.engines.remote.http_stream import Refused, body_of, openai_server
from whisperfusion.engines.remote.passes import Passes
from whisperfusion.engines.remote.recordings import as_wav, read_recordings
from whisperfusion.engines.remote.transcripts import Transcript, transcript
from whisperfusion.engines.whisper.decode import SILENCE_RMS
from whisperfusion.engines.whisper.utterance import Decoded, WhisperUtterance
from whisperfusion.errors import GaveWay

TASK, USUAL_MODEL = "automatic-speech-recognition", "whisper-1"
TRANSLATE = "translate"
AT_ONCE, FILES_AT_ONCE = 8, 2  # requests
FILE_S = 300.0  # for the answer to a piece of a recording
DETECT_S = 29  # seconds that tell the language
BUSY = (429, 503)
# A final pass asks once more when a busy server wants no longer wait; interim ones pause.
PATIENCE_S, PAUSE_S = 2.0, 5.0
INTERIM, FINAL, FILE = "interim", "final", "file"  # kinds of passes


class OpenAIASR:
    """`url` as clients call it (ending in /v1); `model` None = the one that the server lists.

    `timeout_s` is the longest wait for the transcript of an utterance.
    """

    languages: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        model: str | None = None,
        url: str | None = None,
        key: str | None = None,
        timeout_s: float = ANSWER_S,
    ) -> None:
        self._http = openai_server(url, key, "speech to text", "ASR")
        self.device = self._http.url
        self.model, self._own = model_name(self._http, model, TASK, USUAL_MODEL, "ASR")
        self._passes, self._timeout_s = Passes(), timeout_s
        self._refused = RefusedOptions(
            ("timestamp_granularities[]", "temperature", "prompt", "live"),
            {"response_format": "json"},
        )
        self._pools = {
            kind: ThreadPoolExecutor(most, f"asr-{kind}")
            for kind, most in ((INTERIM, AT_ONCE), (FINAL, AT_ONCE), (FILE, FILES_AT_ONCE))
        }
        # so that wrong settings end the start, and no caller waits for a model to load
        silence = np.zeros(MICROPHONE_RATE, np.float32)
        self._http.run(self._asked(silence, ASROptions(), FILE, LOAD_S))

    def create_utterance(self, options: ASROptions) -> WhisperUtterance:
        return WhisperUtterance(_Pass(self, options, FINAL), options, _Pass(self, options, INTERIM))

    def decode_batch(self, jobs: Sequence[Job]) -> list[Hypothesis | Exception]:
        """Each is a request of its own; the server makes batches of them if it can."""
        final = any(job[2] for job in jobs)
        return list(self._pools[FINAL if final else INTERIM].map(lambda job: decoded(*job), jobs))

    def transcribe(self, pcm: Samples, options: ASROptions) -> Iterator[Segment]:
        for _, segment in self.transcribe_batch([(pcm, options)]):
            yield segment

    def transcribe_batch(
        self,
        recordings: Sequence[Recording],
        wanted: Callable[[int], bool] = lambda at: True,
    ) -> Iterator[tuple[int, Segment]]:
        yield from read_recordings(
            recordings,
            wanted,
            lambda pcm, options, _: self.read(pcm, options, FILE).segments,
            self._pools[FILE],
        )

    def detect_language(self, pcm: Samples) -> tuple[str, float]:
        """ "" where the server does not tell. Its probability is not told by any."""
        head = checked(pcm)[: DETECT_S * MICROPHONE_RATE]
        return self.read(head, ASROptions(), FILE).language, 0.0

    def read(self, pcm: Samples, options: ASROptions, kind: str) -> Transcript:
        """One request; none for silence, in which recognizers hear what is not there."""
        if loudest(pcm) < SILENCE_RMS:
            return Transcript()
        if kind == FILE:
            return self._http.run(self._asked(pcm, options, kind, FILE_S))
        order = self._passes.final if kind == FINAL else self._passes.interim
        return self._http.run(order(partial(self._asked, pcm, options, kind, self._timeout_s)))

    # --- on the event loop of the requests -------------------------------------------------------

    async def _asked(
        self, pcm: Samples, options: ASROptions, kind: str, timeout_s: float
    ) -> Transcript:
        sound, duration_s = as_wav(pcm), len(pcm) / MICROPHONE_RATE
        patient = kind != INTERIM
        while True:
            fields = self._refused.fitted(self._fields(options, kind))
            try:
                body = await self._answer(options.task, fields, sound, timeout_s)
                return transcript(body, duration_s)
            except Refused as refusal:
                if self._refused.learn(refusal, fields):
                    continue
                if refusal.status not in BUSY:
                    raise
                if kind == INTERIM:
                    self._passes.pause(refusal.retry_after_s or PAUSE_S)
                    raise GaveWay(str(refusal)) from refusal
                if not patient or not 0.0 < refusal.retry_after_s <= PATIENCE_S:
                    raise
                patient = False
                await self._http.sleep(refusal.retry_after_s)

    def _fields(self, options: ASROptions, kind: str) -> dict[str, Any]:
        prompt = " ".join(filter(None, (options.initial_prompt, options.hotwords)))
        fields = {
            "model": self.model,
            "response_format": "verbose_json",
            "language": options.language or "",
            "prompt": prompt.encode("utf-8", "replace").decode(),
            "temperature": options.temperature or "",
            "timestamp_granularities[]": ["segment", "word"] if options.word_timestamps else "",
            # the same as for our own callers, not the best that a recording gets
            "live": kind if self._own and kind != FILE else "",
        }
        return {name: value for name, value in fields.items() if value}

    async def _answer(
        self, task: str, fields: dict[str, Any], sound: bytes, timeout_s: float
    ) -> Any:
        path = "/audio/translations" if task == TRANSLATE else "/audio/transcriptions"
        file = {"file": ("speech.wav", sound, "audio/wav")}
        return await self._http.whole(path, timeout_s, body_of, data=fields, files=file)


class _Pass:
    """A `whisper.utterance.Decoder` of one utterance: the request is its encoding, and has all."""

    def __init__(self, asr: OpenAIASR, options: ASROptions, kind: str) -> None:
        self._asr, self._options, self._kind = asr, options, kind

    def encode(self, pcm: Samples) -> Transcript:
        return self._asr.read(pcm, self._options, self._kind)

    def language_probabilities(self, encoded: Transcript) -> dict[str, float]:
        return {encoded.language: 0.0}

    def decode(
        self, encoded: Transcript, pcm: Samples, language: str, options: ASROptions
    ) -> Decoded:
        return Decoded(encoded.segments, encoded.closed)
