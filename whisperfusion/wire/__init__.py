"""Bytes to values and back, one file for each external format.

Nothing here opens a socket or reads a clock.

A reader turns what arrived into frozen dataclasses or raises one of two errors, named by what dies.
"""

from __future__ import annotations

from whisperfusion.errors import FrameError, WireError

__all__ = ["FrameError", "WireError"]
