"""Run in a checkout by tests/same_commands.py: what its core commands.

dump.py CHECKOUT run SEEDS DIALOGUES RECORDING…    "name<TAB>number of commands<TAB>checksum", each
dump.py CHECKOUT show NAME…                        their commands, one line each
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType


def generation(checkout: Path) -> ModuleType:
    """The module that knows the API of this checkout."""
    sys.path[1:1] = [str(checkout / "tests"), str(checkout)]
    for package in ("whisperfusion", "fusion"):
        if importlib.util.find_spec(package):
            return importlib.import_module(f"of_{package}")
    raise SystemExit(f"{checkout} has neither package: whisperfusion, fusion")


def lines(of: ModuleType, name: str) -> Iterable[str]:
    """`name`: seed/number of a dialogue, or the path of a recording."""
    if name.endswith(".jsonl"):
        return map(repr, of.of_recording(Path(name)))
    from dialogues import dialogue

    seed, number = map(int, name.split("/"))
    return map(repr, of.of_dialogue(dialogue(seed, number)))


def main(checkout: str, what: str, *arguments: str) -> None:
    of = generation(Path(checkout))
    if what == "show":
        for name in arguments:
            print("\n".join(lines(of, name)))
        return
    seeds, dialogues, *recordings = arguments
    names = recordings + [
        f"{seed}/{number}"
        for at, seed in enumerate(seeds.split(","))
        for number in range(at, int(dialogues), seeds.count(",") + 1)
    ]
    for name in names:
        told = list(lines(of, name))
        print(
            name,
            len(told),
            hashlib.sha256("\n".join(told).encode()).hexdigest(),
            sep="\t",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
