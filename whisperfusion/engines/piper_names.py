"""What the names of Piper's voices say, apart from numpy, which two processes do without."""

from __future__ import annotations

import re

# rhasspy/piper-voices: language, country, speaker, quality
NAME = re.compile(r"([a-z]{2,3})_[A-Z]{2}-\w+-(?:x_low|low|medium|high)")


def language_of(name: str) -> str | None:
    """ISO 639-1 code of a voice of rhasspy/piper-voices; None for another name."""
    found = NAME.fullmatch(name)
    return found[1] if found else None
