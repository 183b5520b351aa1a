"""`main.py doctor`: what this machine can do, what the settings lead to, and what is missing.

Each check yields findings; printing and the verdict are done here. Nothing is fetched or changed
and no model is loaded, so speeds are predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from whisperfusion.cli.doctor.engines import check_engines, check_models, check_servers
from whisperfusion.cli.doctor.finding import Finding
from whisperfusion.cli.doctor.gpu import check_gpu
from whisperfusion.cli.doctor.machine import check_machine
from whisperfusion.cli.doctor.network import check_https, check_ports
from whisperfusion.cli.doctor.packages import check_python
from whisperfusion.cli.doctor.speed import check_speed
from whisperfusion.cli.doctor.tools import check_tools
from whisperfusion.settings import Settings

SECTIONS: tuple[tuple[str, Callable[[Settings], Iterator[Finding]]], ...] = (
    ("Machine", check_machine),
    ("GPU", check_gpu),
    ("Python", check_python),
    ("Ports", check_ports),
    ("HTTPS", check_https),
    ("Engines", check_engines),
    ("Models", check_models),
    ("Servers", check_servers),
    ("Tools", check_tools),
    ("Speed", check_speed),
)
MARKS = {"good": "  ok  ", "note": "  !   ", "bad": "  X   "}


def run(settings: Settings) -> int:
    """Print everything and a verdict; 0 when the server can run."""
    found: list[Finding] = []
    for title, check in SECTIONS:
        findings = list(check(settings))
        if findings:
            print(f"\n{title}")
        for finding in findings:
            print(MARKS[finding.level] + finding.text)
        found += findings
    bad = [finding for finding in found if finding.level == "bad"]
    notes = [finding for finding in found if finding.level == "note"]
    print(f"\nVerdict: {'this cannot run yet' if bad else 'this can run'}.")
    for finding in (*bad, *notes):
        print(f"  {'must' if finding in bad else 'may'}: {finding.text}. To do: {finding.advice}.")
    return 1 if bad else 0
