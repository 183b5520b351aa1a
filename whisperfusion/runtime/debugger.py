"""A debugger for one process of the server (DEBUGPY=asr:5678), reached from this machine alone: who
reaches it runs any code. It needs the extra `debug`.
"""

from __future__ import annotations

import logging

from whisperfusion.errors import SettingsError

PROCESSES = ("asr", "llm", "tts", "gateway")
HOST = "127.0.0.1"

log = logging.getLogger("process")


def ports(text: str) -> dict[str, int]:
    """DEBUGPY as process -> port. Raises SettingsError."""
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, port = part.partition(":")
        digits = port.isascii() and port.isdecimal() and len(port) <= 5
        if name not in PROCESSES or not digits or not 0 < int(port) < 2**16:
            raise SettingsError(
                f"DEBUGPY={text!r}: {part!r} is not PROCESS:PORT; allowed: one or more of "
                f"{', '.join(PROCESSES)}, such as asr:5678 or asr:5678,llm:5679"
            )
        found[name] = int(port)
    return found


def start(text: str, process: str) -> None:
    """Listen, if `text` names `process`. Raises SettingsError, and OSError or RuntimeError where
    the port is taken.
    """
    port = ports(text).get(process)
    if port is None:
        return
    try:
        import debugpy
    except ImportError:
        raise SettingsError(
            "DEBUGPY needs a package that is not installed; install it with: pip install debugpy"
        ) from None
    debugpy.listen((HOST, port))
    log.warning("%s can be debugged at %s:%d", process, HOST, port)
