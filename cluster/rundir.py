"""What a cluster on this machine leaves in files while it runs: its folder, and its state.

The folder is named by the port, so that a second cluster has another one, and `status` and a later
start see what is there. Sockets of HAProxy lie in it, whose paths may have 97 bytes: hence a short
name in /tmp. All processes of the cluster have the folder in their environment, which is how those
are seen that outlived what started them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PLACE = Path("/tmp")  # noqa: S108
KILL_S = 10.0  # for processes to be gone


class ClusterError(Exception):
    """The cluster cannot start or go on; the text says what to do."""


def folder(port: int) -> Path:
    return PLACE / f"wfc-{os.getuid()}-{port}"


def create(port: int) -> Path:
    """The empty folder, for this user alone. Raises ClusterError when it is another user's."""
    path = folder(port)
    path.mkdir(mode=0o700, exist_ok=True)
    about = path.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
        raise ClusterError(f"{path} belongs to another user; remove it, or choose another --port")
    path.chmod(0o700)
    end_processes(path)
    empty(path)
    return path


def empty(path: Path) -> None:
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """With all processes of the cluster."""
    end_processes(path)
    shutil.rmtree(path, ignore_errors=True)


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    beside = path / "state.part"
    beside.write_text(json.dumps(state, indent=1), encoding="utf-8")
    beside.replace(path / "state.json")


def has_state(path: Path) -> bool:
    """Whether the cluster there came so far that it was written."""
    return (path / "state.json").is_file()


def read_state(path: Path) -> dict[str, Any]:
    """Empty = no cluster runs there."""
    try:
        found: dict[str, Any] = json.loads((path / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if _is_running(int(found["pid"])) else {}


def processes_of(path: Path) -> Iterator[int]:
    """Those that were started for the cluster: RAY_TMPDIR is in their environment."""
    mark = b"RAY_TMPDIR=" + os.fsencode(path)
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:  # gone, or another user's
            continue
        if mark in variables and int(entry.name) != os.getpid():
            yield int(entry.name)


def end_processes(path: Path) -> None:
    """At once. Raises ClusterError when some do not end."""
    until = time.monotonic() + KILL_S
    while left := [pid for pid in processes_of(path) if _is_running(pid)]:
        if time.monotonic() > until:
            raise ClusterError(f"processes {left} of the cluster in {path} do not end; end them")
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)


def _is_running(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"
