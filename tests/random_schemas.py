"""Random function schemas that pass our door, converted by llama.cpp itself: `python
tests/random_schemas.py COUNT SEED`.

A schema that its compiler refuses is an error of one turn; one that ends the process is what this
looks for.
"""

from __future__ import annotations

import contextlib
import random
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

TYPES = ["string", "number", "integer", "boolean", "object", "array", "null"]
NAMES = ["a", "b c", "", "é", "-", '"', "\\", "root", "string", "x" * 150, "$defs", "type", "\n"]
PATTERNS = [
    "",
    "^$",
    "^a{0,99999}$",
    "^(a*)*$",
    "^a*$",
    "^(a|b)+$",
    "^(((a)))$",
    "^[^]a]$",
    "a{2,1}",
    "^(?=a)b$",
    r"^\d\w\p{L}\"$",
    "^[a-\\]$",
]
NUMBERS = [0, 1, -1, 5, 2**31 - 1, 2**53, -(2**53), 0.5, 1e15, 9, 10]


def schema(r: random.Random, depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(r.randint(0, 4)):
        inner = lambda: schema(r, depth - 1) if depth else {}  # noqa: E731
        kind = r.randrange(12)
        if kind == 0:
            made["type"] = r.choice([r.choice(TYPES), r.sample(TYPES, r.randint(1, 3))])
        elif kind == 1:
            made["properties"] = {r.choice(NAMES): inner() for _ in range(r.randint(0, 4))}
        elif kind == 2:
            made["required"] = r.sample(NAMES, 2)
        elif kind == 3:
            made[r.choice(["anyOf", "oneOf", "allOf", "prefixItems"])] = [
                inner() for _ in range(r.randint(1, 3))
            ]
        elif kind == 4:
            made["items"] = r.choice([inner(), [inner()], []])
        elif kind == 5:
            made["additionalProperties"] = r.choice([True, False, inner()])
        elif kind == 6:
            made["enum"] = [
                r.choice([None, 1, "x", {}, ["\n"], '"\\', 0.5]) for _ in range(r.randint(1, 3))
            ]
        elif kind == 7:
            made["pattern"] = r.choice(PATTERNS)
        elif kind == 8:
            made[r.choice(["minLength", "maxLength", "minItems", "maxItems"])] = r.choice(NUMBERS)
        elif kind == 9:
            made[r.choice(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"])] = (
                r.choice(NUMBERS)
            )
        elif kind == 10:
            made["$ref"] = r.choice(
                ["#/$defs/a", "#/$defs/b", "#/properties/a", "#/items", "#/$defs/a/items/0", "#/"]
            )
        else:
            made[r.choice(["const", "default", "format", "title", "not", "$schema"])] = r.choice(
                ["uuid", "date", "x", "date-time"]
            )
    return made


def main(count: int, seed: int) -> None:
    import xllamacpp

    from whisperfusion.wire.fields import FieldError
    from whisperfusion.wire.tool_schema import check_tool

    r, passed, converted = random.Random(seed), 0, 0
    for _ in range(count):
        one = {**schema(r, 4), "type": "object", "$defs": {"a": schema(r, 2), "b": schema(r, 2)}}
        try:
            check_tool({"name": "f", "parameters": one})
        except FieldError:
            continue
        passed += 1
        with contextlib.suppress(ValueError, RuntimeError):
            converted += bool(xllamacpp.json_schema_to_grammar(one))
    print(passed, converted)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
