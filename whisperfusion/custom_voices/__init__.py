"""Voices that clients make of recordings of people, and the recordings of their consent.

The gateway writes them into a folder of the server's state; the processes that listen and speak
read from it which there are, and to whom they belong.
"""

from __future__ import annotations

from whisperfusion.custom_voices.store import (
    Consent,
    ConsentRecording,
    CustomVoice,
    Folder,
    Full,
    consents_of,
    voices_of,
)
from whisperfusion.custom_voices.usable import Usable

__all__ = [
    "Consent",
    "ConsentRecording",
    "CustomVoice",
    "Folder",
    "Full",
    "Usable",
    "consents_of",
    "voices_of",
]
