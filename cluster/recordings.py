"""Recordings of voices to clone, which cells send with the text: engines read them as files.

An engine keeps what it makes of a recording for as long as the file is there, so the newest
`MOST` stay, each named by its content, in a folder that ends with the process.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import replace
from pathlib import Path

from whisperfusion.wire import engine_pipe as wire

MOST = 64


class Recordings:
    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._names: dict[str, None] = {}  # oldest first

    def on_disk(self, call: wire.Call) -> wire.Call:
        """`call` with the path of the recording that it brings as its voice."""
        if not call.arguments.get("recording"):
            return call
        assert call.pcm is not None, call
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="voices-")
        data = call.pcm.tobytes()
        name = f"{hashlib.sha256(data).hexdigest()}.wav"
        path = Path(self._folder.name) / name
        if self._names.pop(name, "new") == "new":
            path.write_bytes(data)
        self._names[name] = None
        if len(self._names) > MOST:
            oldest = next(iter(self._names))
            del self._names[oldest]
            (Path(self._folder.name) / oldest).unlink(missing_ok=True)
        return replace(call, arguments={**call.arguments, "voice": str(path)}, pcm=None)
