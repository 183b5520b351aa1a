"""Who may import whom. Rules are read off the syntax trees, so nothing is imported and no library is needed.

A rule forbids names wherever they are imported, `later` ones only where importing the module would run them
(outside functions and `if TYPE_CHECKING`). With `only`, whatever is not listed is forbidden. A name covers
what is inside it: "fusion.core" covers "fusion.core.text".
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
    "faster_whisper ctranslate2 onnxruntime xllamacpp llama_cpp hibari hibari_tts piper kokoro_onnx torch torchaudio transformers "
    "tokenizers optimum vllm tensorrt_llm mlx ray ollama openai whisper".split()
)
HEAVY = MODELS | {"huggingface_hub", "av", "scipy", "soundfile"}
SOCKETS = set(
    "socket socketserver ssl select selectors asyncio http.client http.server websockets wsproto fastapi starlette uvicorn httpx aiohttp "
    "requests anyio".split()
)
PURE = set(
    "__future__ abc array bisect collections copy dataclasses difflib enum fractions functools heapq itertools json math operator re "
    "string types typing unicodedata".split()
)
CLOCKS = set("asyncio threading multiprocessing time random logging numpy queue datetime".split())


def fusion(*parts: str) -> set[str]:
    return {f"fusion.{part}" for part in parts}


@dataclass(frozen=True)
class Rule:
    never: set[str] = field(default_factory=set)
    later: set[str] = field(default_factory=set)
    only: set[str] | None = None


MAP = fusion("settings", "messages", "worker", "core", "wire", "engines", "gateway", "models", "process")
RULES = {
    "fusion/messages.py": Rule(only={"__future__", "dataclasses", "enum", "typing", "collections.abc"}),
    "fusion/core/": Rule(only=PURE | fusion("core", "messages")),
    "fusion/wire/": Rule(never=SOCKETS | HEAVY | PROCESSES | MAP - fusion("wire", "messages")),
    "fusion/engines/": Rule(never=PROCESSES | MAP - fusion("engines", "wire", "models"), later=HEAVY | SOCKETS),
    "fusion/gateway/": Rule(never=MODELS | PROCESSES | fusion("core", "engines", "worker")),
    "fusion/worker.py": Rule(never=SOCKETS | HEAVY | PROCESSES | {"numpy"} | MAP - fusion("core", "messages")),
    "fusion/settings.py": Rule(never=SOCKETS | HEAVY | PROCESSES | {"numpy"} | MAP - fusion("settings")),
    "fusion/": Rule(never=PROCESSES, later=HEAVY),
    "gateway.py": Rule(never=MODELS | PROCESSES | fusion("core", "engines", "worker")),
    **{f"{name}.py": Rule(never=PROCESSES - {name}, later=HEAVY) for name in PROCESSES - {"gateway"}},
    "main.py": Rule(never=MODELS | fusion("core", "engines", "worker", "wire"), later=HEAVY),
}


@dataclass(frozen=True)
class Import:
    name: str
    line: int
    at_once: bool  # runs when the module is imported


def imports(source: str, package: str = "") -> list[Import]:
    """Every import in `source`, a module of `package`, relative ones resolved and `import_module("…")` included."""
    return list(_walk(ast.parse(source), package, True))


def _walk(node: ast.AST, package: str, at_once: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, at_once) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - child.level + 1] if child.level else []
            base = ".".join([*above, *([child.module] if child.module else [])])
            yield from (Import(f"{base}.{alias.name}", child.lineno, at_once) for alias in child.names)
        elif isinstance(child, ast.Call) and ast.unparse(child.func).split(".")[-1] in ("import_module", "__import__"):
            if child.args and isinstance(child.args[0], ast.Constant):
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
            wrong.append(f"{path}:{one.line} imports {one.name}; only these may be: {', '.join(sorted(rule.only))}")
        if covered(one.name, rule.never) or (one.at_once and covered(one.name, rule.later)):
            wrong.append(f"{path}:{one.line} imports {one.name}{'' if covered(one.name, rule.never) else ' before it is needed'}")
    return wrong + (_strangers(path, package, source) if path.startswith("fusion/engines/") else [])


def _strangers(path: str, package: str, source: str) -> list[str]:
    """Of an engine: libraries other than numpy that are imported with the module instead of in the constructor."""
    found = [one for one in imports(source, package) if one.at_once]
    known = sys.stdlib_module_names | {"numpy", "fusion"}
    return [f"{path}:{one.line} imports {one.name} before it is needed" for one in found if one.name.split(".")[0] not in known]


FILES = sorted([*ROOT.glob("*.py"), *(ROOT / "fusion").rglob("*.py")])


@pytest.mark.parametrize("path", [file.relative_to(ROOT).as_posix() for file in FILES])
def test_imports(path: str) -> None:
    assert violations(path, (ROOT / path).read_text(encoding="utf-8")) == []


def test_core_knows_no_clock_and_no_world() -> None:
    for name in sorted(CLOCKS | SOCKETS | {"os", "pathlib", "fusion.settings", "fusion.engines", "fusion.wire"}):
        assert violations("fusion/core/new.py", f"def late():\n    import {name}")


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("fusion/messages.py", "import json"),
        ("fusion/messages.py", "from fusion.core import text"),
        ("fusion/core/text.py", "from time import monotonic"),
        ("fusion/core/text.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy as np"),
        ("fusion/core/text.py", "from .. import settings"),
        ("fusion/core/text.py", "from ..engines.scripted import ScriptedASR"),
        ("fusion/core/text.py", "x = __import__('random')"),
        ("fusion/wire/a.py", "import asyncio"),
        ("fusion/wire/a.py", "from fusion import engines"),
        ("fusion/wire/a.py", "from fusion.core.text import words"),
        ("fusion/engines/a.py", "from faster_whisper import WhisperModel"),
        ("fusion/engines/a.py", "import never_heard_of"),
        ("fusion/engines/a.py", "class A:\n    import torch"),
        ("fusion/engines/a.py", "def f():\n    from fusion.messages import Ticket"),
        ("fusion/engines/a.py", "from fusion.settings import Settings"),
        ("fusion/gateway/a.py", "def f():\n    from fusion.engines import load"),
        ("fusion/gateway/a.py", "from importlib import import_module\nimport_module('torch')"),
        ("fusion/worker.py", "import websockets"),
        ("fusion/worker.py", "from fusion.engines import load"),
        ("fusion/new.py", "try:\n    import ctranslate2\nexcept ImportError:\n    pass"),
        ("gateway.py", "import tts_service"),
        ("whisper_server.py", "def f():\n    import gateway"),
        ("tts_service.py", "import onnxruntime"),
        ("main.py", "def f():\n    import faster_whisper"),
        ("main.py", "from fusion.engines import load"),
    ],
)
def test_a_violation_is_caught(path: str, source: str) -> None:
    assert violations(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("fusion/core/a.py", "from collections.abc import Sequence\nfrom . import text\nfrom ..messages import Ticket\nimport re"),
        ("fusion/wire/a.py", "import json, struct, base64\nfrom pydantic import BaseModel\nfrom urllib.parse import urlsplit"),
        ("fusion/engines/a.py", "import numpy as np\nclass A:\n    def __init__(self):\n        from faster_whisper import WhisperModel"),
        ("fusion/engines/a.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"),
        ("fusion/gateway/a.py", "import fastapi, websockets, av\nfrom fusion.wire import pcm"),
        ("main.py", "import whisper_server\nfrom gateway import run\nfrom fusion.settings import Settings"),
        ("tests/test_a.py", "import torch"),
    ],
)
def test_what_is_allowed_passes(path: str, source: str) -> None:
    assert violations(path, source) == []
