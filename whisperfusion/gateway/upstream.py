"""The server behind the gateway: its two sockets, as the routes use them.

A call, a recording or a text is the typed client's (`whisperfusion.client`); here its connections
carry the key and the address of the gateway's own client, and what goes wrong becomes an answer
over HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any

from whisperfusion.client import (
    Call,
    CallError,
    CallRefused,
    ServerBusy,
    SpeechClient,
    SynthesisFailed,
    TranscriptionFailed,
    connect,
    transcribe,
)
from whisperfusion.client.recordings import RecordingEvent
from whisperfusion.gateway.access.client_key import client_key
from whisperfusion.gateway.request_ids import CURRENT
from whisperfusion.runtime.peers import GATEWAY_HEADER, gateway_token
from whisperfusion.settings import Settings
from whisperfusion.wire.openai_rest import ApiError
from whisperfusion.wire.trace import headers_of

RESUME_S = 60.0  # for which a lost call is opened again; a server loads its models meanwhile
BUSY_S = 10.0  # after which a client is told to try again
DOWN = "the speech server is starting or down; try again in a few seconds"
ALL_BUSY = "all lines are busy; try again later"
RECORDINGS_BUSY = "too many recordings are being read at once; try again in a minute"


class Upstream:
    """`host` is where 6006 and 8888 are, ready for a URL."""

    def __init__(self, settings: Settings, host: str) -> None:
        self._asr_url = f"ws://{host}:{settings.asr_port}/"
        self._tts_url = f"ws://{host}:{settings.tts_port}/"
        self._own_key = settings.key
        self.speech = SpeechClient(self._tts_url, self._headers(""))

    def _headers(self, address: str) -> list[tuple[str, str]]:
        """With the client's own key, so that its sessions are its own behind the gateway too."""
        key = client_key()
        if not key or not key.isascii():  # other characters do not survive in a header
            key = self._own_key
        authorization = [("Authorization", f"Bearer {key}")] if key else []
        return [*authorization, *forwarded_headers(address)]

    async def open_call(
        self,
        options: Mapping[str, Any],
        *,
        audio: bool = True,
        address: str = "",
        resume_s: float = 0.0,
    ) -> Call:
        """A call that has been accepted, with s16 audio.

        `address` is the gateway's client's; `resume_s`: as of `client.connect`. Raises ApiError.
        """
        call = connect(
            self._asr_url,
            self._tts_url,
            # the gateway's own key is none of the client's, so it chooses no agent
            options={"agent": "", **options},
            audio=audio,
            headers=self._headers(address),
            resume_s=resume_s,
        )
        with api_errors(ALL_BUSY):
            await call.open()
        return call

    async def transcribe(
        self, pieces: AsyncGenerator[bytes, None], options: Mapping[str, Any], address: str = ""
    ) -> AsyncGenerator[RecordingEvent, None]:
        """The events of a recording: `LanguageDetected`, `Segment`…, `RecordingDone`.

        `pieces` are s16 at 16 kHz; they are closed. Raises ApiError, and what `pieces` raise.
        """
        events = transcribe(self._asr_url, pieces, options, self._headers(address))
        with api_errors(RECORDINGS_BUSY):
            async with aclosing(events):
                async for event in events:
                    yield event

    async def synthesize(
        self, text: str, voice: str | None = None, speed: float | None = None
    ) -> AsyncGenerator[bytes, None]:
        """`text` as s16 mono at 24 kHz, as it is made. Raises ApiError."""
        with api_errors(ALL_BUSY):
            async with aclosing(self.speech.synthesize(text, voice, speed)) as audio:
                async for pcm in audio:
                    yield pcm


@contextmanager
def api_errors(busy: str = ALL_BUSY) -> Iterator[None]:
    """What the client raises, as ApiError; `busy` is the message when all places are taken."""
    try:
        yield
    except ServerBusy as error:
        after_s = 60 * error.minutes
        raise ApiError(429, busy, code="rate_limit_exceeded", retry_after_s=after_s) from error
    except CallRefused as error:
        raise ApiError(400, str(error), code="invalid_value") from error
    except TranscriptionFailed as error:
        raise ApiError(500, str(error), code="asr_failed") from error
    except SynthesisFailed as error:
        status = 500 if error.code == "tts_failed" else 400
        raise ApiError(status, str(error), code=error.code) from error
    except CallError as error:
        raise server_down(DOWN) from error


def server_down(message: str) -> ApiError:
    return ApiError(503, message or DOWN, code="server_down", retry_after_s=BUSY_S)


def forwarded_headers(address: str) -> list[tuple[str, str]]:
    """The headers by which 6006 and 8888 know the gateway, and from it the client's address and
    the name of the present request.
    """
    forwarded = [("X-Forwarded-For", address)] if address else []
    return [(GATEWAY_HEADER, gateway_token()), *forwarded, *headers_of(CURRENT.get())]
