"""An enemy that reads the schema: schemathesis makes up requests to every HTTP route, good and
bad ones.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance"
)


def test_no_request_that_the_schema_suggests_breaks_a_route(scripted_server, tmp_path):
    tool = Path(sys.executable).with_name("schemathesis")
    done = subprocess.run(
        [
            str(tool),
            "run",
            f"{scripted_server.http_url}/openapi.json",
            "--checks",
            CHECKS,
            "--phases",
            "fuzzing",
            "-n",
            "8",
            "-w",
            "1",
            "--generation-deterministic",
            "--no-shrink",
            "--request-timeout",
            "30",
            "--warnings",
            "off",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=240,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "160"},
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-1000:]
