"""Files that only this user can read: keys, certificates, paired devices."""

from __future__ import annotations

import os
from pathlib import Path

from whisperfusion.errors import SettingsError


def write(file: Path, content: bytes, what: str = "HTTPS=auto keeps its certificates") -> None:
    """Write atomically, readable for this user only. Raises SettingsError, which says `what` is
    kept there.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = file.with_name(f"{file.name}.{os.getpid()}")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(content)
        new.replace(file)
    except OSError as error:
        raise SettingsError(
            f"{what} in {file.parent}, which cannot be written "
            f"({error.strerror}); name another folder with MODEL_CACHE_DIR"
        ) from error
