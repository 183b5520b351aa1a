"""Bytes to values and back, one file for each external format. Nothing here opens a socket or reads a clock.

A reader turns what arrived into frozen dataclasses or raises one of two errors, named by what dies.
"""

from __future__ import annotations


class WireError(Exception):
    """Ends a connection. `message` is for the person at the other end; `uid` is theirs where it could be read."""

    def __init__(self, message: str, uid: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.uid = uid


class FrameError(Exception):
    """A frame is refused and the connection goes on. `id` is the request's own, where it had one."""

    def __init__(self, code: str, message: str, id: str | int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.id = id
