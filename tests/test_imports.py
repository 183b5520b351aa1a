"""Who may import whom.

Rules are read off the syntax trees, so nothing is imported and no library is needed.

A rule forbids names wherever they are imported, `later` ones only where importing the module would
run them (outside functions and `if TYPE_CHECKING`). With `only`, whatever is not listed is
forbidden. A name covers what is inside it: "whisperfusion.turns" covers
"whisperfusion.text.segmentation".
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROCESSES = {"whisper_server", "llm_service", "tts_service", "gateway"}
MODELS = set(
    "faster_whisper ctranslate2 onnxruntime xllamacpp llama_cpp hibari hibari_tts piper "
    "kokoro_onnx torch torchaudio transformers "
    "tokenizers optimum vllm tensorrt_llm mlx ray ollama openai whisper".split()
)
HEAVY = MODELS | {"huggingface_hub", "av", "scipy", "soundfile", "cryptography", "segno", "ifaddr"}
SOCKETS = set(
    "socket socketserver ssl select selectors asyncio http.client http.server websockets wsproto "
    "fastapi starlette uvicorn httpx aiohttp "
    "requests anyio".split()
)
PURE = set(
    "__future__ abc array bisect collections copy dataclasses difflib enum fractions functools "
    "heapq itertools json math operator re "
    "string types typing unicodedata".split()
)
CLOCKS = set("asyncio threading multiprocessing time random logging numpy queue datetime".split())


def own(*parts: str) -> set[str]:
    return {f"whisperfusion.{part}" for part in parts}


@dataclass(frozen=True)
class Rule:
    never: set[str] = field(default_factory=set)
    later: set[str] = field(default_factory=set)
    only: set[str] | None = None


ROOMS = own(
    *"agents call cli client custom_voices engines gateway generation messages models "
    "output runtime sessions settings speakers synthesis text turns wire".split()
)
PLAIN = {"__future__", "dataclasses", "enum", "typing", "collections.abc"}
RULES = {
    "whisperfusion/messages.py": Rule(only=PLAIN | own("tools")),
    "whisperfusion/errors.py": Rule(only=PLAIN),
    "whisperfusion/json_log.py": Rule(
        only=PLAIN | {"contextlib", "contextvars", "json", "logging", "time"}
    ),
    "whisperfusion/tools/__init__.py": Rule(only=PLAIN),
    # engines describe tools to their models, so only what needs none of them imports engines
    "whisperfusion/tools/": Rule(
        never=MODELS
        | PROCESSES
        | ROOMS - own("tools", "settings", "runtime", "messages", "engines", "wire"),
        later=HEAVY | {"mcp", "ddgs", "httpx", "httpx2", "jsonschema"},
    ),
    # the type of samples is numpy's, and only type checkers import it here
    "whisperfusion/audio.py": Rule(only=PLAIN | {"numpy"}, later={"numpy"}),
    "whisperfusion/text/": Rule(only=PURE | {"html"} | own("text")),
    "whisperfusion/agents/": Rule(
        never=SOCKETS | HEAVY | PROCESSES | {"numpy"} | ROOMS - own("agents", "settings", "wire")
    ),
    "whisperfusion/turns/": Rule(only=PURE | own("turns", "text", "messages", "audio", "tools")),
    "whisperfusion/output/": Rule(only=PURE | own("output", "text", "messages", "audio")),
    "whisperfusion/wire/": Rule(
        never=SOCKETS | HEAVY | PROCESSES | ROOMS - own("wire", "messages")
    ),
    "whisperfusion/engines/": Rule(
        never=PROCESSES | ROOMS - own("engines", "wire", "models"), later=HEAVY | SOCKETS
    ),
    "whisperfusion/speakers/": Rule(
        never=SOCKETS | HEAVY | PROCESSES | CLOCKS - {"numpy"} | ROOMS - own("engines", "speakers")
    ),
    "whisperfusion/client/": Rule(
        never=HEAVY | PROCESSES | {"fastapi", "anyio"} | ROOMS - own("client", "wire")
    ),
    "whisperfusion/gateway/": Rule(
        never=MODELS | PROCESSES | own("turns", "engines", "runtime.worker")
    ),
    "whisperfusion/gateway/access/certificates/": Rule(
        never=PROCESSES
        | {"fastapi", "starlette", "asyncio"}
        | ROOMS - own("settings", "runtime", "gateway"),
        later=HEAVY,
    ),
    "whisperfusion/models/": Rule(never=PROCESSES | ROOMS - own("models", "settings"), later=HEAVY),
    "whisperfusion/runtime/": Rule(never=PROCESSES | own("engines", "gateway"), later=HEAVY),
    "whisperfusion/runtime/heartbeats.py": Rule(only=PURE | own("messages")),
    "whisperfusion/runtime/event_loop.py": Rule(
        never=HEAVY | PROCESSES | {"numpy"} | ROOMS - own("runtime")
    ),
    "whisperfusion/runtime/mailbox.py": Rule(only=PURE | own("messages")),
    "whisperfusion/runtime/failure_streak.py": Rule(only=PURE | own("messages")),
    "whisperfusion/runtime/worker.py": Rule(
        never=SOCKETS | HEAVY | PROCESSES | {"numpy"} | ROOMS - own("runtime", "messages")
    ),
    # The sockets ask for paired devices too, and import no library of the certificates for that.
    "whisperfusion/runtime/devices.py": Rule(
        never=PROCESSES | own("turns", "engines", "gateway"), later=HEAVY | SOCKETS
    ),
    "whisperfusion/sessions/": Rule(
        never=SOCKETS
        | HEAVY
        | PROCESSES
        | ROOMS - own("sessions", "messages", "runtime", "settings"),
        later={"redis"},
    ),
    "whisperfusion/custom_voices/": Rule(
        never=SOCKETS
        | HEAVY
        | PROCESSES
        | {"numpy"}
        | ROOMS - own("custom_voices", "runtime", "sessions", "settings", "wire")
    ),
    "whisperfusion/settings/": Rule(
        never=SOCKETS | HEAVY | PROCESSES | {"numpy"} | ROOMS - own("settings", "runtime")
    ),
    "whisperfusion/": Rule(never=PROCESSES, later=HEAVY),
    "gateway.py": Rule(never=MODELS | PROCESSES | own("turns", "engines", "runtime.worker")),
    **{
        f"{name}.py": Rule(never=PROCESSES - {name}, later=HEAVY)
        for name in PROCESSES - {"gateway"}
    },
    # engines as servers: what builds an engine in a cell, builds it here; nothing of a conversation
    "cluster/": Rule(
        never=(MODELS - {"ray"}) | PROCESSES | own("turns", "gateway", "client", "sessions"),
        later=HEAVY | {"ray"},
    ),
    "main.py": Rule(never=MODELS | own("turns", "engines", "runtime.worker", "wire"), later=HEAVY),
}


@dataclass(frozen=True)
class Import:
    name: str
    line: int
    at_once: bool  # runs when the module is imported


def imports(source: str, package: str = "") -> list[Import]:
    """Every import in `source`, a module of `package`, relative ones resolved and
    `import_module("…")` included.
    """
    return list(_walk(ast.parse(source), package, True))


def _walk(node: ast.AST, package: str, at_once: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, at_once) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            above = (
                package.split(".")[: len(package.split(".")) - child.level + 1]
                if child.level
                else []
            )
            base = ".".join([*above, *([child.module] if child.module else [])])
            yield from (
                Import(f"{base}.{alias.name}", child.lineno, at_once) for alias in child.names
            )
        elif (
            isinstance(child, ast.Call)
            and ast.unparse(child.func).split(".")[-1]
            in (
                "import_module",
                "__import__",
            )
            and child.args
            and isinstance(child.args[0], ast.Constant)
        ):
            yield Import(str(child.args[0].value), child.lineno, at_once)
        function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for part in child.body:
                yield from _walk(ast.Module([part], []), package, False)
            for part in child.orelse:
                yield from _walk(ast.Module([part], []), package, at_once)
        else:
            yield from _walk(child, package, at_once and not function)


def covered(name: str, names: set[str]) -> bool:
    return any(name == one or name.startswith(one + ".") for one in names)


def rule_for(path: str) -> Rule | None:
    """The rule of the longest matching path."""
    matching = [key for key in RULES if path == key or (key.endswith("/") and path.startswith(key))]
    return RULES[max(matching, key=len)] if matching else None


def violations(path: str, source: str) -> list[str]:
    rule = rule_for(path)
    if rule is None:
        return []
    package = ".".join(Path(path).parent.parts)
    wrong = []
    for one in imports(source, package):
        if rule.only is not None and not covered(one.name, rule.only):
            wrong.append(
                f"{path}:{one.line} imports {one.name}; only these may be: "
                f"{', '.join(sorted(rule.only))}"
            )
        if covered(one.name, rule.never) or (one.at_once and covered(one.name, rule.later)):
            wrong.append(
                f"{path}:{one.line} imports "
                f"{one.name}{'' if covered(one.name, rule.never) else ' before it is needed'}"
            )
    return wrong + (
        _strangers(path, package, source) if path.startswith("whisperfusion/engines/") else []
    )


def _strangers(path: str, package: str, source: str) -> list[str]:
    """Of an engine: libraries other than numpy that are imported with the module instead of in
    the constructor.
    """
    found = [one for one in imports(source, package) if one.at_once]
    known = sys.stdlib_module_names | {"numpy", "whisperfusion"}
    return [
        f"{path}:{one.line} imports {one.name} before it is needed"
        for one in found
        if one.name.split(".")[0] not in known
    ]


FOLDERS = ("whisperfusion", "cluster")
FILES = sorted(
    [*ROOT.glob("*.py"), *(one for name in FOLDERS for one in (ROOT / name).rglob("*.py"))]
)


def test_imports() -> None:
    assert len(FILES) > 200
    paths = [file.relative_to(ROOT).as_posix() for file in FILES]
    found = {path: violations(path, (ROOT / path).read_text(encoding="utf-8")) for path in paths}
    assert {path: why for path, why in found.items() if why} == {}


def test_core_knows_no_clock_and_no_world() -> None:
    for name in sorted(
        CLOCKS
        | SOCKETS
        | {"os", "pathlib", "whisperfusion.settings", "whisperfusion.engines", "whisperfusion.wire"}
    ):
        assert violations("whisperfusion/turns/new.py", f"def late():\n    import {name}")


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("whisperfusion/messages.py", "import json"),
        ("whisperfusion/messages.py", "from whisperfusion.text import segmentation"),
        ("whisperfusion/text/segmentation.py", "from time import monotonic"),
        (
            "whisperfusion/text/segmentation.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy as np",
        ),
        ("whisperfusion/text/segmentation.py", "from .. import settings"),
        ("whisperfusion/text/segmentation.py", "from ..engines.scripted import ScriptedASR"),
        ("whisperfusion/text/segmentation.py", "x = __import__('random')"),
        ("whisperfusion/wire/a.py", "import asyncio"),
        ("whisperfusion/wire/a.py", "from whisperfusion import engines"),
        ("whisperfusion/wire/a.py", "from whisperfusion.text.segmentation import words"),
        ("whisperfusion/engines/a.py", "from faster_whisper import WhisperModel"),
        ("whisperfusion/engines/a.py", "import never_heard_of"),
        ("whisperfusion/engines/a.py", "class A:\n    import torch"),
        ("whisperfusion/engines/a.py", "def f():\n    from whisperfusion.messages import Ticket"),
        ("whisperfusion/engines/a.py", "from whisperfusion.settings import Settings"),
        ("whisperfusion/gateway/a.py", "def f():\n    from whisperfusion.engines import load"),
        (
            "whisperfusion/gateway/a.py",
            "from importlib import import_module\nimport_module('torch')",
        ),
        ("whisperfusion/sessions/a.py", "import redis"),
        ("whisperfusion/sessions/a.py", "from whisperfusion.wire import fields"),
        ("whisperfusion/runtime/worker.py", "import websockets"),
        ("whisperfusion/runtime/worker.py", "from whisperfusion.engines import load"),
        ("whisperfusion/new.py", "try:\n    import ctranslate2\nexcept ImportError:\n    pass"),
        ("whisperfusion/gateway/access/certificates/a.py", "import cryptography"),
        ("whisperfusion/gateway/access/certificates/a.py", "from fastapi import Request"),
        (
            "whisperfusion/runtime/devices.py",
            "from whisperfusion.gateway.access.pairing import Pairing",
        ),
        ("gateway.py", "import tts_service"),
        ("whisper_server.py", "def f():\n    import gateway"),
        ("tts_service.py", "import onnxruntime"),
        ("main.py", "def f():\n    import faster_whisper"),
        ("main.py", "from whisperfusion.engines import load"),
    ],
)
def test_a_violation_is_caught(path: str, source: str) -> None:
    assert violations(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "whisperfusion/turns/a.py",
            (
                "from collections.abc import Sequence\nfrom ..text import segmentation\n"
                "from ..messages import Ticket\nimport re"
            ),
        ),
        (
            "whisperfusion/wire/a.py",
            (
                "import json, struct, base64\nfrom pydantic import BaseModel\nfrom urllib.parse "
                "import urlsplit"
            ),
        ),
        (
            "whisperfusion/engines/a.py",
            (
                "import numpy as np\nclass A:\n    def __init__(self):\n        from "
                "faster_whisper import WhisperModel"
            ),
        ),
        (
            "whisperfusion/engines/a.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch",
        ),
        (
            "whisperfusion/gateway/a.py",
            "import fastapi, websockets, av\nfrom whisperfusion.wire import pcm",
        ),
        (
            "main.py",
            (
                "import whisper_server\nfrom gateway import run\nfrom whisperfusion.settings "
                "import Settings"
            ),
        ),
        ("tests/test_a.py", "import torch"),
    ],
)
def test_what_is_allowed_passes(path: str, source: str) -> None:
    assert violations(path, source) == []
