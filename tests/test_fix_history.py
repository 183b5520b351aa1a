"""Mistakes that this kind of server has made before, looked for in the whole tree.

AI_LOG.md has the list, with each one's rule.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("whisperfusion", "bench", "docker", "tests")
FOUND = [
    *ROOT.glob("*.py"),
    *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")),
]
FILES = sorted(path.relative_to(ROOT).as_posix() for path in FOUND)
LEAVES = (ast.Raise, ast.Return, ast.Continue, ast.Break)
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")  # what holds statements
COUNTS = {"qsize", "empty", "full"}  # of a queue: true when asked, and not any more when used
ASKED = re.compile(rf"\.\s*(?:{'|'.join(COUNTS)})\b")
ARRAYS = {"np", "numpy", "torch", "self._torch"}  # their empty() and full() make arrays


def unreachable(source: str) -> Iterator[int]:
    """Lines of statements that follow a raise, return, continue or break in the same block."""
    nodes: list[ast.AST] = [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        for name in BLOCKS:
            block = getattr(node, name, ())
            if isinstance(block, list):  # a lambda's body is an expression
                nodes += block
                yield from (
                    after.lineno
                    for before, after in itertools.pairwise(block)
                    if isinstance(before, LEAVES)
                )


def counting(source: str) -> Iterator[int]:
    """Lines that ask a queue how full it is."""
    if not ASKED.search(source):
        return
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in COUNTS
        ) and ast.unparse(node.func.value) not in ARRAYS:
            yield node.lineno


def found(search: Callable[[str], Iterator[int]], files: Iterable[str]) -> list[str]:
    """Places, as "file:line"."""
    return [
        f"{path}:{line}"
        for path in files
        for line in search((ROOT / path).read_text(encoding="utf-8"))
    ]


def test_no_code_after_a_raise():
    assert len(FILES) > 400
    assert found(unreachable, FILES) == []


def test_no_decision_by_the_size_of_a_queue():
    assert found(counting, (path for path in FILES if not path.startswith("tests/"))) == []


def test_the_searches_find_what_they_look_for():
    dead = (
        "def f():\n    try:\n        raise ValueError\n        g()\n    finally:\n        "
        "return\n        h()"
    )
    assert sorted(unreachable(dead)) == [4, 7]
    assert list(counting("if inbox.qsize() == 0 or self.outbox.empty():\n    np.empty(3)")) == [
        1,
        1,
    ]
