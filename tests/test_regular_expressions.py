"""Every regular expression of the package is linear: a caller's words may be anything, and they are
read on event loops.

All compiled patterns are found by importing the package, and one that is made elsewhere is found in
the syntax trees. Each meets strings that are made from its own parts, in a child process whose
processor time is bounded a hundred times above what a linear pattern takes.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import hostile_strings
import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted([*ROOT.glob("*.py"), *(ROOT / "whisperfusion").rglob("*.py")])
USES = {"compile", "search", "match", "fullmatch", "split", "findall", "finditer", "sub", "subn"}
MADE_LATER = {  # (file, function): why its pattern is none of the walk's
    ("whisperfusion/engines/prompts.py", "__init__"): "a choice of fixed texts",
    ("whisperfusion/text/backchannel.py", "_known"): "the same, made once for each language",
    (
        "whisperfusion/wire/tool_schema.py",
        "_is_pattern",
    ): "a client's own, which is read and never run",
}
BOUND_S = 400.0  # of a test that fails


def patterns_in_functions(source: str) -> list[tuple[str, int]]:
    """(function, line) of each use of `re` by which a pattern escapes the walk over modules and
    classes.
    """
    found: list[tuple[str, int]] = []

    def walk(node: ast.AST, function: str) -> None:
        for child in ast.iter_child_nodes(node):
            inside = (
                child.name
                if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
                else function
            )
            inside = inside or ("lambda" if isinstance(child, ast.Lambda) else "")
            name = ast.unparse(child.func) if isinstance(child, ast.Call) else ""
            if inside and name.startswith("re.") and name[3:] in USES:
                found.append((inside, child.lineno))
            walk(child, inside)

    walk(ast.parse(source), "")
    return found


def test_a2_patterns_are_made_where_they_are_found():
    assert len(FILES) > 200
    found = [
        (path, function, line)
        for path in (file.relative_to(ROOT).as_posix() for file in FILES)
        for function, line in patterns_in_functions((ROOT / path).read_text(encoding="utf-8"))
    ]
    assert [one for one in found if one[:2] not in MADE_LATER] == [], (
        "make the pattern a constant of its module"
    )


def test_a2_what_escapes_the_walk_is_noticed():
    assert patterns_in_functions("import re\ndef f(x):\n    return re.search('a+', x)") == [
        ("f", 3)
    ]
    assert patterns_in_functions("import re\nf = lambda x: re.sub('a+', '', x)") == [("lambda", 2)]
    assert (
        patterns_in_functions("import re\nA = re.compile('a+')\ndef f(x):\n    return A.search(x)")
        == []
    )


def culprits(*arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, hostile_strings.__file__, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=BOUND_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a2_every_pattern_of_the_package_is_linear():
    *slow, count = culprits()
    assert slow == []
    assert int(count) > 40, "the walk finds the patterns"


@pytest.mark.parametrize(
    "pattern",
    [
        r"\be ?mail is (?:\S+ ?){1,8}$",  # what stopped the recognizer
        r"(a+)+$",
        r"(?:a|aa)*$",
        r"\s*$",
        r"(\w+\s?)*:",
        r"\w*\d\w*!",
        r"x[ab]*[bc]*[cd]*y",
    ],
)
def test_a2_relative_a_pattern_that_is_not_linear_is_caught(pattern):
    assert culprits(pattern)[0].startswith("given")
