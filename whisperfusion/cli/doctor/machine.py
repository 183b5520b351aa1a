"""The machine: cores, memory and disk."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator

from whisperfusion.cli.doctor.finding import Finding, good
from whisperfusion.models import machine
from whisperfusion.settings import Settings


def check_machine(settings: Settings) -> Iterator[Finding]:
    count, memory = machine.cores(), machine.memory_bytes()
    yield good(
        f"{count} core{'s' * (count != 1)}, {memory / 1e9:.1f} GB of memory, {platform.system()} "
        f"on {platform.machine()}"
    )
    folder = next(
        place for place in (settings.cache, *settings.cache.absolute().parents) if place.exists()
    )
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:.1f} GB free for models in {settings.cache}"
    if os.access(folder, os.W_OK):
        yield good(text)
    else:
        yield Finding(
            "bad", f"{settings.cache} cannot be written", "name another folder with MODEL_CACHE_DIR"
        )
