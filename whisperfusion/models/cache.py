"""Which models lie in the cache; nothing is fetched, and nothing is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from whisperfusion.models.model import Model


def path_of(model: Model, cache: Path) -> Path | None:
    """Where the model lies (its file when it is a single one, else its folder), or None.

    Cheap: no sums are computed.
    """
    if model.path is not None:
        return model.path if model.path.exists() else None
    folder = cache / model.id
    recorded = recorded_files(folder)
    if not recorded or any(file.name not in recorded for file in model.files):
        return None
    for file in model.files:
        if file.sha256 not in (None, recorded[file.name]["sha256"]):
            return None  # fetched for an older table
    for name, entry in recorded.items():
        if not (folder / name).is_file() or (folder / name).stat().st_size != entry["bytes"]:
            return None
    return entry_of(model, folder)


def entry_of(model: Model, folder: Path) -> Path:
    """Its file where it has one, else its `folder`."""
    return folder / model.files[0].name if len(model.files) == 1 else folder


def recorded_files(folder: Path) -> dict[str, Any]:
    """The files of a finished model in `source.json`; empty when there is none or it is damaged:
    then the model is fetched again.
    """
    try:
        files: dict[str, Any] = json.loads((folder / "source.json").read_text(encoding="utf-8"))
        return files.get("files", {}) or {}
    except (OSError, ValueError, AttributeError):
        return {}
