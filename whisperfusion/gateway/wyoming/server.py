"""The Wyoming protocol (Home Assistant): speech to text and text to speech over TCP, off unless
WYOMING_PORT is set.

The protocol knows no keys, so every client that reaches the port may use it: it listens on
WYOMING_HOST, which is this machine alone unless it is set, and every connection counts for its
address as those of the other ports do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

from whisperfusion.gateway.operations.health import StageSnapshot
from whisperfusion.gateway.upstream import Upstream
from whisperfusion.gateway.wyoming.messages import LINE_BYTES, Broken, Event, linger, read, write
from whisperfusion.gateway.wyoming.synthesis import Synthesis
from whisperfusion.gateway.wyoming.transcription import Transcription
from whisperfusion.runtime.listener import Listener, listen_on
from whisperfusion.runtime.rate_limits import Cost, Limits, TooMany, names_of
from whisperfusion.settings import Settings
from whisperfusion.wire.languages import NAMES, UnknownLanguage, asked_language
from whisperfusion.wire.openai_rest import ApiError

# a connection that says nothing is closed; sooner while it holds a line
IDLE_S, AUDIO_IDLE_S = 300.0, 30.0
CONNECTIONS = Cost("Wyoming connections", most=64, each=16)
MOST_OPEN = 128  # connections, those included that have sent nothing yet
LANGUAGES = (*NAMES, "nb", "fil", "jv")  # as Home Assistant spells some of them
ABOUT = {"attribution": {"name": "WhisperFusion", "url": ""}, "installed": True, "version": "1"}
MISTAKE = "the server made a mistake; its log tells more. Please connect again"

log = logging.getLogger("gateway")


class Server:
    """Use `start`; it listens until `stop_listening` or `close`. Every connection is `work`."""

    def __init__(
        self,
        settings: Settings,
        upstream: Upstream,
        snapshot: StageSnapshot,
        limits: Limits,
        work: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._work = work
        self._settings, self._upstream, self._snapshot, self._limits = (
            settings,
            upstream,
            snapshot,
            limits,
        )
        self._open: set[asyncio.Task[Any]] = set()
        self._listener: Listener | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Raises SettingsError."""
        host, port = self._settings.wyoming_host, self._settings.wyoming_port
        self._listener = listen_on(
            host, port, "WYOMING_PORT", MOST_OPEN, host_variable="WYOMING_HOST"
        )
        self._server = await asyncio.start_server(
            self._serve, sock=self._listener, limit=LINE_BYTES
        )
        log.info("Wyoming on %s, port %d", host, port)

    def stop_listening(self) -> None:
        """Those who are connected go on."""
        if self._server is not None:
            self._server.close()

    async def close(self) -> None:
        self.stop_listening()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with self._work():
                await self._admit(reader, writer, writer.get_extra_info("peername") or ("", 0))
        except (OSError, asyncio.CancelledError):
            pass
        except Exception:
            log.exception("a Wyoming connection is ended by an error of this server")
            with suppress(OSError):
                await write(writer, "error", {"text": MISTAKE, "code": "server_error"})
        finally:
            self._open.discard(task)
            writer.close()

    async def _admit(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: tuple[Any, ...]
    ) -> None:
        names = names_of(None, str(peer[0]))
        try:
            with self._limits.admitted(names), self._limits.hold(CONNECTIONS, names):
                connection = Connection(
                    reader, writer, self._upstream, self._snapshot, str(peer[0])
                )
                first = await connection.next()
                if self._listener is not None:
                    self._listener.head_received(peer)
                await connection.serve(first)
        except TooMany as problem:
            text = f"{problem.message}; try again in {problem.retry_after_s:.0f} s"
            await write(writer, "error", {"text": text, "code": "rate_limit_exceeded"})
            await linger(reader, writer)


class Connection:
    """One client: requests come one after the other."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: Upstream,
        snapshot: StageSnapshot,
        address: str,
        audio_idle_s: float = AUDIO_IDLE_S,
    ) -> None:
        self._reader, self._writer, self._upstream, self._snapshot, self._address = (
            reader,
            writer,
            upstream,
            snapshot,
            address,
        )
        self._audio_idle_s = audio_idle_s
        self._language: str | None = None
        self._prompt = ""
        self._transcription: Transcription | None = None
        self._synthesis = Synthesis(upstream, self._voices, self._write)

    async def next(self) -> Event | None:
        """The client's next message; None at its end, and after one that cannot be read."""
        try:
            return await read(
                self._reader, IDLE_S if self._transcription is None else self._audio_idle_s
            )
        except Broken as problem:
            await self._write("error", {"text": str(problem), "code": "bad_message"})
            await linger(self._reader, self._writer)
            return None

    async def serve(self, event: Event | None) -> None:
        """All messages, of which `event` is the first."""
        try:
            while event is not None:
                try:
                    await self._handle(event)
                except ApiError as problem:
                    await self._write(
                        "error", {"text": problem.message, "code": problem.code or "error"}
                    )
                event = await self.next()
        finally:
            try:
                await self._stop_transcribing()
            finally:
                await self._synthesis.close()

    async def _write(
        self, type: str, data: dict[str, Any] | None = None, payload: bytes = b""
    ) -> None:
        await write(self._writer, type, data, payload)

    async def _handle(self, event: Event) -> None:
        kind, data = event.type, event.data
        if kind == "describe":
            await self._write("info", await self._info())
        elif kind == "ping":
            await self._write("pong", {"text": data.get("text")} if data.get("text") else None)
        elif kind == "transcribe":
            self._prompt = _prompt(data)
            self._choose_language(data.get("language"))
        elif kind == "audio-start":
            await self._stop_transcribing()
            self._transcription = self._start_transcribing(data)
        elif kind == "audio-chunk":
            if self._transcription is None:
                self._transcription = self._start_transcribing(data)
            await self._transcription.accept_audio(event.payload)
        elif kind == "audio-stop":
            await self._transcript()
        elif kind == "synthesize-start":
            await self._synthesis.start(data)
        elif kind == "synthesize-chunk":
            await self._synthesis.add(data)
        elif kind == "synthesize":
            await self._synthesis.whole(data)
        elif kind == "synthesize-stop":
            await self._synthesis.stop()

    # --- speech to text --------------------------------------------------------------------------

    def _choose_language(self, value: Any) -> None:
        """Raises ApiError for a language that is not known; it is detected then."""
        self._language = None
        if value is None:
            return
        try:
            self._language = asked_language(value if isinstance(value, str) else str(value))
        except UnknownLanguage as problem:
            raise ApiError(400, f"{problem}; it is detected now", code="unknown_language") from None

    def _start_transcribing(self, data: dict[str, Any]) -> Transcription:
        return Transcription(
            self._upstream, self._address, data, self._language, self._prompt, self._write
        )

    async def _stop_transcribing(self) -> None:
        transcription, self._transcription = self._transcription, None
        if transcription is not None:
            await transcription.close()

    async def _transcript(self) -> None:
        """Of what came since the last one; without any sound there were no words."""
        text = language = ""
        try:
            if self._transcription is not None:
                text, language = await self._transcription.finish()
        finally:
            await self._stop_transcribing()
        await self._write(
            "transcript", {"text": text, **({"language": language} if language else {})}
        )
        await self._write("transcript-stop")

    # --- what is here ----------------------------------------------------------------------------

    async def _voices(self) -> tuple[str, ...]:
        stage = (await self._snapshot()).get("tts")
        return tuple(stage.voices) if stage else ()

    async def _info(self) -> dict[str, Any]:
        stages = await self._snapshot()
        asr, tts = stages.get("asr"), stages.get("tts")
        model = {
            "name": (asr.model if asr else "") or "whisper",
            "languages": list(LANGUAGES),
            "description": "speech to text",
            **ABOUT,
        }
        voices = [
            {"name": name, "languages": ["en"], "description": name, **ABOUT}
            for name in (tts.voices if tts else ())
        ]
        asr_program = {
            "name": "whisperfusion",
            "description": "speech to text",
            "models": [model],
            "supports_transcript_streaming": True,
            **ABOUT,
        }
        tts_program = {
            "name": "whisperfusion",
            "description": "text to speech",
            "voices": voices,
            "supports_synthesize_streaming": True,
            **ABOUT,
        }
        return {
            "asr": [asr_program],
            "tts": [tts_program],
            "handle": [],
            "intent": [],
            "wake": [],
            "mic": [],
            "snd": [],
        }


def _prompt(data: dict[str, Any]) -> str:
    terms = data.get("transcript_terms")
    return ", ".join(str(term) for term in terms)[:2000] if isinstance(terms, list) else ""
