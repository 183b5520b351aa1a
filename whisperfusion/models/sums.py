"""Sums of files, and the error of a source that does not deliver."""

from __future__ import annotations

import hashlib
from pathlib import Path

from whisperfusion.errors import ModelError

BLOCK = 1 << 20  # bytes read at a time


class SourceError(ModelError):
    """This source cannot deliver; the text says why."""


def sha256_of(file: Path) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
