"""The engine xtts on the real package, in a process whose packages are those of XTTS where they
differ from the image's.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = Path(sys.prefix) / "xtts"  # run.sh installs them there
HERE = Path(__file__).parent


@pytest.mark.skipif(not PACKAGES.is_dir(), reason="run.sh has not installed coqui-tts")
def test_the_engine_on_the_real_package() -> None:
    options = ("-q", "-p", "no:cacheprovider", "--noconftest")
    command = [sys.executable, "-m", "pytest", *options, "xtts_real.py"]
    done = subprocess.run(
        command,
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": f"{PACKAGES}{os.pathsep}{HERE.parents[1]}"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6_000:]
