"""mypy (`make types`) is strict in every file that is not a test, without exceptions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mypy.config_parser

ROOT = Path(__file__).parent.parent
UNCHECKED = {"tests", "examples"}  # short programs, and their tests


def settings() -> dict[str, Any]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found: dict[str, Any] = mypy.config_parser.tomllib.loads(text)["tool"]["mypy"]
    return found


def test_no_module_may_fail():
    """An override says of a library that it has no types, and never of a module of ours that its
    errors do not count.
    """
    assert settings()["strict"] is True
    for override in settings()["overrides"]:
        assert set(override) == {"module", "ignore_missing_imports"}, override


def test_every_file_is_checked():
    checked = [ROOT / name for name in settings()["files"]]
    folders = [
        folder
        for folder in ROOT.iterdir()
        if folder.is_dir() and not folder.is_symlink() and folder.name[0] != "."
    ]
    files = [*ROOT.glob("*.py")]
    for folder in folders:
        if folder.name not in UNCHECKED | {"node_modules", "shared", "build", "dist"}:
            files += folder.rglob("*.py")
    assert len(files) > 100
    missing = [
        str(file.relative_to(ROOT))
        for file in files
        if file not in checked and not set(file.parents) & set(checked)
    ]
    assert missing == []
