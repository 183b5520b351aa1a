"""Keeps keys out of the log, whichever code writes a line and at whatever level.

No code here logs a key on purpose, but URLs contain them (`?token=`), and errors of libraries
contain URLs. So the formatter, the last step before a line is written, removes the keys of the
settings and everything that looks like a key.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from whisperfusion.settings import Settings
from whisperfusion.wire.auth import INSECURE, QUERY

SHORTEST = 4  # characters; removing a shorter key would damage words
HIDDEN = "***"
_NAMES = "|".join((*QUERY, "listen_secret"))
LOOKS_LIKE_A_KEY = re.compile(
    rf"(?i)\b((?:{_NAMES})=|bearer\s+|{re.escape(INSECURE)})[^\s&\"'<>\\]+|\bek_[\w-]{{8,}}"
)


class Redacting(logging.Formatter):
    """Wraps a formatter and removes secrets from its output, tracebacks included."""

    def __init__(self, formatter: logging.Formatter, secrets: Iterable[str]) -> None:
        super().__init__()
        self._formatter = formatter
        spelled = {
            spelling
            for secret in secrets
            if len(secret) >= SHORTEST
            for spelling in (
                secret,
                quote(secret, safe=""),
                quote(secret),
                quote_plus(secret),
                repr(secret)[1:-1],
                json.dumps(secret)[1:-1],
            )
        }
        self._secrets = sorted(spelled, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        text = self._formatter.format(record)
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return LOOKS_LIKE_A_KEY.sub(lambda found: (found[1] or "") + HIDDEN, text)


def keep_keys_out_of_logs(settings: Settings) -> None:
    """Call it in each process, after logging was set up."""
    hide_in_logs((*settings.keys, *settings.server_keys))


def hide_in_logs(secrets: Iterable[str]) -> None:
    """The same for `secrets` that this process learned later."""
    found = tuple(secrets)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(Redacting(handler.formatter or logging.Formatter(), found))
