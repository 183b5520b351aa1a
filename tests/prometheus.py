"""Prometheus's own checker, and what PromQL expressions say of the metrics in them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from whisperfusion.gateway.operations.metric_catalog import CATALOG, PREFIX

# what /metrics has beside the catalogue (whisperfusion/gateway/operations/metrics.py)
KINDS = {name: one.kind for name, one in CATALOG.items()} | {
    "stage_up": "gauge",
    "stage_restarts": "gauge",
    "build_info": "gauge",
}
DEPRECATED = {one.was for one in CATALOG.values() if one.was}
RATES = ("rate", "increase", "irate")
# a metric of ours, which no recorded name is (those have colons), and the function right before it
USE = re.compile(rf"(?:(\w+)\()?(?<![:\w]){PREFIX}(\w+)(?![:\w])")
PARTS_OF_HISTOGRAMS = re.compile(r"_(?:bucket|sum|count)$")


def promtool(*arguments: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    """Runs it. Without it the test is skipped, but not in CI."""
    program = shutil.which("promtool")
    if program is None:
        missing = "promtool is not installed (Debian: it is in the package prometheus)"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    # less garbage collection: half of the time of the rules' tests
    environment = {**os.environ, "GOGC": "400"}
    return subprocess.run(
        [program, *map(str, arguments)],
        input=text,
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )


def uses(expression: str) -> Iterator[tuple[str, str]]:
    """Function ("" = none) and name of each of our metrics; samples of a histogram as such."""
    yield from USE.findall(expression)


def problems(expression: str) -> list[str]:
    """Metrics that do not exist, are deprecated, or are of another type than they are used as."""
    found = []
    for function, name in uses(expression):
        base = PARTS_OF_HISTOGRAMS.sub("", name)
        kind = KINDS.get(name) or ("histogram" if KINDS.get(base) == "histogram" else None)
        if kind is None or name in DEPRECATED or (kind == "histogram" and name == base):
            found.append(f"{name} is not served, or is deprecated")
        elif (function in RATES) != (kind != "gauge"):
            found.append(f"{name} is a {kind}, and stands in {function or 'no function'}")
    return found
