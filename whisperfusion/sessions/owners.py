"""To whom a session belongs: the key that its call was made with.

A position in SHARED_SECRET would name another key after the operator removes one, and would differ
between servers that share a store. So a session has a hash of the key, made slowly, because keys
that people choose are short.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from whisperfusion.runtime.devices import DEVICE, Devices
from whisperfusion.settings import Settings

ROUNDS = 20_000  # about 10 ms, once for each key and process


def owner_of(settings: Settings, key: int | None) -> str:
    """The owner of what is made with the key of this number (`Keys.number`, `CallStarted.key`);
    "" for None, a call that needed no key.
    """
    if key is None:
        return ""
    if key >= DEVICE:
        return f"device-{key - DEVICE:x}"
    return _hash(settings.keys[key])


def all_owners(settings: Settings) -> list[str]:
    """Of calls without a key, with each shared key, and with each paired device."""
    numbers = [*range(len(settings.keys)), *Devices(settings.https_dir).numbers()]
    return ["", *(owner_of(settings, number) for number in numbers)]


@lru_cache(maxsize=256)
def _hash(key: str) -> str:
    secret = key.encode("utf-8", "surrogatepass")
    return "key-" + hashlib.pbkdf2_hmac("sha256", secret, b"whisperfusion", ROUNDS, 12).hex()
