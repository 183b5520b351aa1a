"""Speech to text by Deepgram: utterances over its live WebSocket, recordings over its REST.

The server transcribes while audio comes. So an utterance is sent once, whoever asks for its
transcript: an interim pass sends what came and returns what is known, a final one asks for the
rest (`Finalize`). If the connection is lost within an utterance, a new one gets all of it.

Sources: developers.deepgram.com/reference/speech-to-text/listen-streaming and listen-pre-recorded,
/docs/language-detection, /docs/multilingual-code-switching, /docs/keyterm, /docs/errors.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.engines.batching import decoded
from whisperfusion.engines.pcm import checked, loudest
from whisperfusion.engines.protocols import ASROptions, Hypothesis, Job, Recording, Segment
from whisperfusion.engines.remote import deepgram_stream
from whisperfusion.engines.remote.audio_server import ANSWER_S
from whisperfusion.engines.remote.deepgram_stream import NAME, LiveStream, Lost, Pool
from whisperfusion.engines.remote.http_stream import HttpStreams, body_of
from whisperfusion.engines.remote.recordings import as_bytes, as_wav, read_recordings
from whisperfusion.engines.whisper.decode import SILENCE_RMS
from whisperfusion.errors import EngineError
from whisperfusion.wire.languages import code_of

URL, USUAL_MODEL = "https://api.deepgram.com/v1", "nova-3"
AT_ONCE, FILES_AT_ONCE = 8, 2  # requests
FILE_S = 300.0  # for the answer to a piece of a recording
DETECT_S = 29  # seconds that tell the language
KEEP_S = 60.0  # a connection waits for the next utterance
ADVICE = "Check DEEPGRAM_API_KEY (or ASR_KEY), ASR_MODEL and ASR_URL."
ENGLISH = ASROptions("en")
TERM_END = re.compile(r"[,;\n]")


class Deepgram:
    """`url` "" = Deepgram's own, or that of a server at home (ending in /v1); `timeout_s` is the
    longest wait for a final transcript; other options go into the query as they are.
    """

    languages: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        model: str | None = None,
        url: str | None = None,
        key: str | None = None,
        timeout_s: float = ANSWER_S,
        **query: Any,
    ) -> None:
        if not (key or url):
            raise EngineError("Deepgram wants a key; set DEEPGRAM_API_KEY")
        url = (url or URL).rstrip("/")
        url = url if urlsplit(url).path else f"{url}/v1"
        headers = {"Authorization": f"Token {key}"} if key else {}
        self.http = HttpStreams(url, headers, NAME, ADVICE)
        self.model, self.device, self.timeout_s = model or USUAL_MODEL, url, timeout_s
        self._query, self.pool = query, Pool(self.http, headers, KEEP_S)
        self._threads = ThreadPoolExecutor(AT_ONCE, "asr-live")
        self._files = ThreadPoolExecutor(FILES_AT_ONCE, "asr-files")
        # so that a wrong key or model ends the start, and the first caller finds it open
        query_ = self.live_query(ENGLISH)
        stream = self.http.run(self.pool.acquire(query_))
        self.http.soon(self.pool.put, query_, stream)

    def create_utterance(self, options: ASROptions) -> DeepgramUtterance:
        return DeepgramUtterance(_Sending(self, options))

    def create_utterances(self, options: ASROptions) -> tuple[DeepgramUtterance, DeepgramUtterance]:
        sending = _Sending(self, options)
        return DeepgramUtterance(sending), DeepgramUtterance(sending)

    def decode_batch(self, jobs: Sequence[Job]) -> list[Hypothesis | Exception]:
        return list(self._threads.map(lambda job: decoded(*job), jobs))

    def transcribe(self, pcm: Samples, options: ASROptions) -> Iterator[Segment]:
        for _, segment in self.transcribe_batch([(pcm, options)]):
            yield segment

    def transcribe_batch(
        self,
        recordings: Sequence[Recording],
        wanted: Callable[[int], bool] = lambda at: True,
    ) -> Iterator[tuple[int, Segment]]:
        yield from read_recordings(
            recordings, wanted, lambda pcm, options, _: self._read(pcm, options), self._files
        )

    def detect_language(self, pcm: Samples) -> tuple[str, float]:
        query = {"model": self.model, "detect_language": "true"}
        channel = self._asked(query, checked(pcm)[: DETECT_S * MICROPHONE_RATE])["channels"][0]
        code = code_of(str(channel.get("detected_language", "")).partition("-")[0]) or ""
        return code, float(channel.get("language_confidence") or 0.0)

    def live_query(self, options: ASROptions) -> str:
        """Raises EngineError for what Deepgram cannot do."""
        audio = {"encoding": "linear16", "sample_rate": MICROPHONE_RATE, "channels": 1}
        live = {"interim_results": "true", "endpointing": 100}
        return urlencode(self._fields(options) | audio | live | _spelled(self._query), doseq=True)

    def _fields(self, options: ASROptions) -> dict[str, Any]:
        if options.task != "transcribe":
            raise EngineError("Deepgram does not translate; choose another engine for that")
        terms = [term.strip() for term in TERM_END.split(options.hotwords) if term.strip()]
        return {
            "model": self.model,
            "language": options.language or "multi",
            "punctuate": "true",
            ("keyterm" if self.model.startswith("nova-3") else "keywords"): terms,
        }

    def _read(self, pcm: Samples, options: ASROptions) -> list[Segment]:
        if loudest(pcm) < SILENCE_RMS:
            return []
        query = self._fields(options) | {"utterances": "true"} | _spelled(self._query)
        found = self._asked(query, pcm).get("utterances") or []
        return [
            deepgram_stream.segment(one, float(one["start"]), float(one["end"])) for one in found
        ]

    def _asked(self, query: dict[str, Any], pcm: Samples) -> dict[str, Any]:
        """The `results` of one request."""
        kind = {"Content-Type": "audio/wav"}
        path = f"/listen?{urlencode(query, doseq=True)}"
        asked = self.http.whole(path, FILE_S, body_of, content=as_wav(pcm), headers=kind)
        body = self.http.run(asked)
        results = body.get("results") if isinstance(body, dict) else None
        if not isinstance(results, dict) or not results.get("channels"):
            raise EngineError(f"{NAME} at {self.device} answered without results. {ADVICE}")
        return results


class DeepgramUtterance:
    """One pass over an utterance: what it is given may have been sent for the other one already."""

    def __init__(self, sending: _Sending) -> None:
        self._sending, self._given = sending, 0  # samples

    def accept_audio(self, pcm: Samples, final: bool = True) -> Hypothesis:
        pcm, start = checked(pcm), self._given
        self._given += len(pcm)
        return self._sending.run(start, pcm, final)

    def finish(self) -> Hypothesis:
        return self._sending.run(self._given, np.zeros(0, np.float32), True)


class _Sending:
    """The audio of one utterance on its way to the server, and what came back."""

    def __init__(self, asr: Deepgram, options: ASROptions) -> None:
        self._query, self._asr, self._options = asr.live_query(options), asr, options
        self._sent: list[bytes] = []
        self._taken = 0  # samples
        self._held: list[LiveStream] = []  # the connection, while it has one
        self._lock: Any = None
        ended = weakref.finalize(self, _release, asr.http, asr.pool, self._query, self._held)
        ended.atexit = False

    def run(self, start: int, pcm: Samples, final: bool) -> Hypothesis:
        """Blocks. `pcm` begins at sample `start` of the utterance."""
        return self._asr.http.run(self._accept(start, pcm, final))

    # --- on the event loop of the requests -------------------------------------------------------

    async def _accept(self, start: int, pcm: Samples, final: bool) -> Hypothesis:
        import asyncio

        if self._lock is None:
            self._lock = asyncio.Lock()
        try:
            await asyncio.wait_for(self._send(start, pcm), self._asr.timeout_s)
            if final and self._held:
                await self._finalize()
            elif self._held and self._held[0].stalls(self._asr.timeout_s):
                raise EngineError(f"{NAME} gave no results for {self._asr.timeout_s:g} s")
        except (TimeoutError, asyncio.TimeoutError):
            raise EngineError(f"{NAME} took no audio for {self._asr.timeout_s:g} s") from None
        return self._hypothesis()

    async def _send(self, start: int, pcm: Samples) -> None:
        async with self._lock:
            audio = as_bytes(pcm[max(0, self._taken - start) :])
            if not audio:
                return
            self._taken += len(audio) // 2
            self._sent.append(audio)
            try:
                await self._send_audio(audio if self._held else b"".join(self._sent))
            except Lost:
                await self._again()

    async def _send_audio(self, audio: bytes) -> None:
        if not self._held:
            self._held.append(await self._asr.pool.acquire(self._query))
        await self._held[0].send(audio)

    async def _again(self) -> None:
        """All of it, on another connection."""
        lost = self._held.pop()
        self._asr.pool.put(self._query, lost)
        await self._send_audio(b"".join(self._sent))

    async def _finalize(self) -> None:
        stream = self._held[0]
        try:
            await stream.finalize(self._asr.timeout_s)
        except Lost:
            async with self._lock:
                if self._held == [stream]:
                    await self._again()
            await self._held[0].finalize(self._asr.timeout_s)

    def _hypothesis(self) -> Hypothesis:
        segments = self._held[0].segments if self._held else ()
        text = " ".join(one.text for one in segments)
        told = self._options.language
        language = told or (self._held[0].language if self._held else "")
        timed = (
            segments
            if self._options.word_timestamps
            else tuple(replace(one, words=()) for one in segments)
        )
        return Hypothesis(text, language, 1.0 if told else 0.0, timed)


def _release(http: HttpStreams, pool: Pool, query: str, held: list[LiveStream]) -> None:
    """When both passes are forgotten; in any thread."""
    if held:
        http.soon(pool.put, query, held.pop())


def _spelled(query: dict[str, Any]) -> dict[str, Any]:
    return {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in query.items()
    }
