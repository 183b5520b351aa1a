"""Why a call, a recording or a text got no result.

CallError
├─ ServerDown            no server answers, or it is starting, or it hung up
├─ KeyRefused            the key is missing or wrong
├─ ServerBusy            all places are taken
├─ CallRefused           the server does not accept the handshake
├─ TranscriptionFailed   the recognizer failed at a recording
└─ SynthesisFailed       a text was refused, or could not be spoken
"""

from __future__ import annotations

from whisperfusion.errors import WhisperFusionError


class CallError(WhisperFusionError):
    """The call was not opened, or gave no reply; the text says what to do."""


class ServerDown(CallError):
    """No server answers at the address, or it closed the connection before it was done."""


class KeyRefused(CallError):
    """The server asks for a key, and this one is missing or wrong."""


class ServerBusy(CallError):
    """All places are taken for about `minutes`."""

    def __init__(self, minutes: float) -> None:
        super().__init__(f"the server is full; try again in {minutes:g} minutes")
        self.minutes = minutes


class CallRefused(CallError):
    """The server refused the handshake; the text is its message."""


class TranscriptionFailed(CallError):
    """The recognizer failed at a recording; the text is the server's message."""


class SynthesisFailed(CallError):
    """A text was refused, or could not be spoken: the server's `code` and text (docs/wire.md)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
