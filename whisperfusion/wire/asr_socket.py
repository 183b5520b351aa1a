"""Port 6006: a handshake and audio in, captions, events and replies out.

Three dialects share the port and the handshake tells them apart. WhisperLive clients get the last
finished segments and the changing one, again and again; the WhisperFusion page gets one segment and
whole replies; a client that asks for `events` gets the whole conversation (docs/wire.md). The field
names and the rules of `whisperfusion.wire.segments` are what those clients rely on.
"""

from __future__ import annotations

import json
from typing import Any

from whisperfusion.wire import FrameError, WireError
from whisperfusion.wire.asr_controls import (
    Approve,
    Clear,
    CommitTurn,
    Control,
    HeardUpTo,
    History,
    Interrupt,
    Respond,
    Result,
    Say,
    parse_control,
)
from whisperfusion.wire.asr_handshake import (
    CHECK,
    DETECT,
    EMBED,
    MOST_TOKENS,
    Dialect,
    Handshake,
    Update,
    parse_handshake,
)
from whisperfusion.wire.pcm import AudioDecoder
from whisperfusion.wire.segments import LiveSegment, LiveWord, SegmentHistory, whisper_live_segments

__all__ = [  # one import for the process that owns the port
    "CHECK",
    "DETECT",
    "EMBED",
    "MOST_TOKENS",
    "Approve",
    "AudioDecoder",
    "Clear",
    "CommitTurn",
    "Control",
    "Dialect",
    "FrameError",
    "Handshake",
    "HeardUpTo",
    "History",
    "Interrupt",
    "LiveSegment",
    "LiveWord",
    "Respond",
    "Result",
    "Say",
    "SegmentHistory",
    "Update",
    "WireError",
    "is_end_of_audio",
    "language",
    "parse_control",
    "parse_handshake",
    "whisper_fusion_reply",
    "whisper_fusion_segment",
    "whisper_live_segments",
]

END_OF_AUDIO = "END_OF_AUDIO"


def is_end_of_audio(frame: str | bytes) -> bool:
    """The 12 letters END_OF_AUDIO, binary from Python, text from iOS.

    Ask before decoding: they would also be three floats.
    """
    return frame == END_OF_AUDIO or frame == END_OF_AUDIO.encode()


# --- messages of the two older dialects ---------------------------------------------------------


def _frame(uid: str, **fields: Any) -> str:
    return json.dumps({"uid": uid, **fields}, allow_nan=False)


def language(uid: str, code: str, probability: float) -> str:
    """Once, before the first segments, if the handshake's language was null."""
    return _frame(uid, language=code, language_prob=probability)


def whisper_fusion_segment(uid: str, text: str, eos: bool, latency: float) -> str:
    return _frame(uid, segments=[{"text": text}], eos=eos, latency=latency)


def whisper_fusion_reply(uid: str, text: str, latency: float) -> str:
    """The whole reply at once: the page shows every message as a bubble of its own."""
    return _frame(uid, llm_output=[text], eos=True, latency=latency)
