"""Mistakes that this kind of server has made before, looked for in the whole tree. AI_LOG.md has the list, with each one's rule."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("fusion", "bench", "docker", "tests")
FOUND = [*ROOT.glob("*.py"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))]
FILES = sorted(path.relative_to(ROOT).as_posix() for path in FOUND)
LEAVES = (ast.Raise, ast.Return, ast.Continue, ast.Break)
COUNTS = {"qsize", "empty", "full"}  # of a queue: true when asked, and not any more when used
ARRAYS = {"np", "numpy", "torch", "self._torch"}  # their empty() and full() make arrays


def unreachable(source: str) -> Iterator[int]:
    """Lines of statements that follow a raise, return, continue or break in the same block."""
    for node in ast.walk(ast.parse(source)):
        for block in (getattr(node, name, None) for name in ("body", "orelse", "finalbody")):
            if isinstance(block, list):
                yield from (after.lineno for before, after in zip(block, block[1:], strict=False) if isinstance(before, LEAVES))


def counting(source: str) -> Iterator[int]:
    """Lines that ask a queue how full it is."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in COUNTS:
            if ast.unparse(node.func.value) not in ARRAYS:
                yield node.lineno


@pytest.mark.parametrize("path", FILES)
def test_no_code_after_a_raise(path):
    assert list(unreachable((ROOT / path).read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", [path for path in FILES if not path.startswith("tests/")])
def test_no_decision_by_the_size_of_a_queue(path):
    assert list(counting((ROOT / path).read_text(encoding="utf-8"))) == []


def test_the_searches_find_what_they_look_for():
    dead = "def f():\n    try:\n        raise ValueError\n        g()\n    finally:\n        return\n        h()"
    assert sorted(unreachable(dead)) == [4, 7]
    assert list(counting("if inbox.qsize() == 0 or self.outbox.empty():\n    np.empty(3)")) == [1, 1]
