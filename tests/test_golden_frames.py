"""What clients see is as in data/golden: frames of both sockets, byte for byte, and names of HTTP.

The scenarios (golden_scenarios.py) know sockets alone, so the code may change its names and its
structure; the files change only with what a client sees. Write them anew with GOLDEN=write, and
read the difference before it is committed.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import urllib.request
from difflib import unified_diff
from pathlib import Path
from typing import Any

import golden_scenarios as scenarios
import pytest
from golden import normalised
from running import ROOT, SCRIPTED, Server

FOLDER = Path(__file__).parent / "data" / "golden"
WRITE = os.environ.get("GOLDEN") == "write"
NEVER = {  # kinds of docs/wire.md that no scripted engine provokes -> why
    "6006 < tool": "no tool of the server is scripted; its frames are in test_wire_events.py",
    "6006 < tools": "no MCP server is scripted; test_realtime_mcp.py has one",
    "6006 > approve": "as above",
    "6006 < ended": "only a tool ends a call; its frames are in test_wire_events.py",
    "8888 < unsayable": "the scripted voice has no language, so it knows every script",
}
NO_KINDS = {
    "avg_logprob",
    "initial_prompt",
    "language_probability",
}  # fields that stand beside kinds


@pytest.fixture(scope="module")
def shown(scripted_server) -> dict[str, Any]:
    """What every scenario showed."""
    own = {scenario: Server(*SCRIPTED, *flags) for scenario, flags in scenarios.OWN.items()}
    try:
        for server in own.values():
            server.wait_ready()
        return asyncio.run(
            scenarios.played({**dict.fromkeys(scenarios.SHARED, scripted_server), **own})
        )
    finally:
        for server in own.values():
            server.stop()


def golden(name: str, lines: list[str]) -> list[str]:
    path = FOLDER / name
    if WRITE:
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", [scenario.__name__ for scenario in scenarios.KEPT])
def test_every_frame_is_as_it_was(shown, name):
    lines = shown[name]
    if isinstance(lines, BaseException):
        raise lines
    wanted = golden(f"{name}.txt", lines)
    assert lines == wanted, "\n".join(
        ["", *unified_diff(wanted, lines, "golden", "now", n=0, lineterm="")]
    )


def named() -> set[str]:
    """What docs/wire.md names, as "port direction kind".

    First words of its tables, each "type", codes of errors.
    """
    found: set[str] = set()
    text = (ROOT / "docs" / "wire.md").read_text(encoding="utf-8")
    for way, heading in (
        ("6006 >", "## 6006, client"),
        ("6006 <", "## 6006, server"),
        ("8888 <", "## 8888"),
    ):
        section = text.partition(heading)[2].partition("\n## ")[0]
        kinds = set(re.findall(r'\{"type": "(\w+)"', section)) | set(
            re.findall(r'"(?:status|message|code)": "(\w+)"', section)
        )
        for row in re.findall(r"^\| (`\w+`(?:, `\w+`)*) .*$", section, re.MULTILINE):
            kinds |= set(re.findall(r"\w+", row))
        for codes in re.findall(
            r"\| `error` \|.*|a refused frame gets .*|then events .*|`done` .*", section
        ):
            kinds |= (
                set(re.findall(r"`([a-z]+_[a-z]+|busy|unsayable|language|segment|done)`", codes))
                - NO_KINDS
            )
        found |= {f"{way} {kind}" for kind in kinds}
    return found - {"8888 < say"} | {"8888 > say"}


def test_every_kind_that_the_document_names_is_kept(shown):
    seen = set()
    for path in FOLDER.glob("*.txt"):
        for way, frame in re.findall(
            r"^(\d+ [<>]) (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE
        ):
            kinds = re.findall(r'"(?:type|code|status|message)": "(\w+)"', frame) or [frame]
            seen |= {f"{way} {kind}" for kind in kinds}
    assert len(named()) > 45
    assert named() - seen == set(NEVER)


def test_a_field_that_is_renamed_moved_added_or_dropped_is_seen():
    """What is measured is left out, and nothing else."""
    frame = '{"uid": "u", "type": "spoken", "turn": 1, "seconds": 1.25, "last": true}'
    kind, wanted = normalised(frame)
    assert (kind, wanted) == (
        "spoken",
        '{"uid": "u", "type": "spoken", "turn": 1, "seconds": <float>, "last": true}',
    )
    assert normalised(frame.replace("1.25", "0.5"))[1] == wanted
    for old, new in (
        ("seconds", "played"),
        ("1.25", "1"),
        ("1.25", '"1.25"'),
        (", ", ","),
        ('"turn": 1, ', ""),
        ("true}", 'true, "a": 1}'),
        ('"turn": 1, "seconds": 1.25', '"seconds": 1.25, "turn": 1'),
    ):
        assert normalised(frame.replace(old, new))[1] != wanted


# --- HTTP: names may be added, none may go -------------------------------------------------------


def fetched(server: Server, path: str) -> str:
    with urllib.request.urlopen(server.http_url + path, timeout=20) as answer:
        return str(answer.read().decode())


def leaves(value: Any, name: str = "") -> list[str]:
    """The path of each value of a JSON document, and its type."""
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in leaves(inner, f"{name}/{key}")]
    return [f"{name} {type(value).__name__}"]


def none_is_gone(name: str, found: list[str]) -> None:
    gone = set(golden(name, sorted(found))) - set(found)
    assert not gone, gone


def test_health_has_its_keys(shown, scripted_server):
    none_is_gone("health.txt", leaves(json.loads(fetched(scripted_server, "/health"))))


def test_metrics_have_their_names(shown, scripted_server):
    """After the scenarios, so that all has been counted once."""
    scripted_server.wait_for(
        lambda: "errors_total" in fetched(scripted_server, "/metrics"), 20, "to count"
    )
    none_is_gone(
        "metrics.txt",
        sorted(set(re.findall(r"^(\w+)[{ ]", fetched(scripted_server, "/metrics"), re.MULTILINE))),
    )


def test_the_schema_has_its_routes(scripted_server):
    paths = json.loads(fetched(scripted_server, "/openapi.json"))["paths"]
    none_is_gone(
        "openapi.txt",
        [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods],
    )
