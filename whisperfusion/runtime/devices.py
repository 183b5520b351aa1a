"""Paired devices: a file with a hash of each device key. The gateway writes it, all processes
read it.

Devices stay paired across restarts. Removing an entry, or the file, revokes them at the next
connection.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whisperfusion.runtime.private_files import write
from whisperfusion.settings import Settings
from whisperfusion.wire.auth import key_of

MOST = 100  # devices; a new one replaces the oldest
KEY_BYTES = 32
DEVICE = 1_000_000  # numbers of device keys start here, beyond all positions in SHARED_SECRET
SHA256 = re.compile("[0-9a-f]{64}")
LONGEST_NAME = 120  # characters

log = logging.getLogger("devices")


def digest(key: str) -> str:
    """Keys are random and long, so a hash without salt cannot be inverted."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class Devices:
    """The keys of the paired devices, read again when the file changes."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "devices.json"
        self._stamp: tuple[int, int] | None = None
        self._entries: list[dict[str, Any]] = []

    def known(self, keys: Sequence[str]) -> str:
        """The hash of the first device that has one of `keys`; "" = none has. All comparisons take
        constant time.
        """
        offered = [digest(key) for key in keys if key]
        found = ""
        for entry in self._read() if offered else ():
            same = [hmac.compare_digest(entry["key_sha256"], one) for one in offered]
            found = entry["key_sha256"] if any(same) and not found else found
        return found

    def name_of(self, number: int | None) -> str:
        """The name of the device with this number (`Keys.number`); "" = none."""
        if number is None or number < DEVICE:
            return ""
        entries = self._read()
        return next(
            (str(one.get("name", "")) for one in entries if number_of(one["key_sha256"]) == number),
            "",
        )

    def add(self, name: str) -> str:
        """Pair a device and return its key, which is not stored. Raises SettingsError."""
        key = secrets.token_urlsafe(KEY_BYTES)
        entry = {
            "name": name[:LONGEST_NAME],
            "paired": time.strftime("%Y-%m-%d %H:%M:%S"),
            "key_sha256": digest(key),
        }
        entries = [*self._read(), entry][-MOST:]
        write(
            self._file,
            json.dumps({"devices": entries}, indent=2, ensure_ascii=False).encode() + b"\n",
        )
        return key

    def numbers(self) -> list[int]:
        """Those of all devices, as `Keys.number` has them."""
        return [number_of(entry["key_sha256"]) for entry in self._read()]

    def __len__(self) -> int:
        return len(self._read())

    def _read(self) -> list[dict[str, Any]]:
        try:
            status = self._file.stat()
        except OSError:
            self._stamp, self._entries = None, []
            return []
        stamp = (status.st_mtime_ns, status.st_size)
        if stamp != self._stamp:
            self._stamp, self._entries = stamp, self._parsed()
        return self._entries

    def _parsed(self) -> list[dict[str, Any]]:
        """A malformed file counts as empty, and the log says why."""
        try:
            entries = json.loads(self._file.read_text(encoding="utf-8"))["devices"]
            return [entry for entry in entries if SHA256.fullmatch(entry["key_sha256"])]
        except (OSError, ValueError, LookupError, TypeError) as error:
            log.warning("no device is paired: %s cannot be read (%s)", self._file, error)
            return []


def number_of(key_sha256: str) -> int:
    """The number of a device, from the hash of its key."""
    return DEVICE + int(key_sha256[:12], 16)


class Keys:
    """All valid keys: the shared secrets and the keys of paired devices."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._devices = Devices(settings.https_dir) if settings.secure else None

    def needed(self, local: bool) -> bool:
        """Whether a request needs a key; `local`: it comes from this machine, or from the gateway,
        which has checked the key of its client.
        """
        return bool(self._settings.keys) or (self._settings.secure and not local)

    def number(self, keys: Sequence[str]) -> int | None:
        """The number of the first valid key of `keys`: its position in SHARED_SECRET, or a number
        beyond for a device; None = none is valid.
        """
        shared = key_of(self._settings.keys, keys)
        if shared is not None:
            return self._settings.keys.index(shared)
        device = self._devices.known(keys) if self._devices else ""
        return number_of(device) if device else None
