"""Do an older core and this one command the same in random dialogues and recorded calls?

    python tests/same_commands.py OLD_CHECKOUT [--dialogues 10000] [--seeds 1,2,3]

Each side acts the same dialogues out (world_dump/dialogues.py) with its own core in its own virtual
world, in a process of its own; commands are compared in neutral words (world_dump/neutral.py), with
their times. What knows the API of a checkout is world_dump/of_PACKAGE.py alone; it is copied, so an
older checkout needs nothing of this. Exit status: 0 = the same, 1 = not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import zip_longest
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONTEXT = 6  # commands shown before the first that differs
PROGRESS_S = 10.0


def started(folder: Path, checkout: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(folder / "dump.py"), str(checkout), *arguments],
        cwd=checkout,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
    )


def shown(folder: Path, checkout: Path, *names: str) -> list[str]:
    side = started(folder, checkout, "show", *names)
    return side.communicate()[0].splitlines()


def difference(folder: Path, old: Path, new: Path, name: str) -> str:
    """The first command that differs, and those before it."""
    pairs = list(
        zip_longest(shown(folder, old, name), shown(folder, new, name), fillvalue="(nothing more)")
    )
    at = next((i for i, (one, other) in enumerate(pairs) if one != other), None)
    if at is None:
        return f"{name}: the checksums differ, the commands do not: a side is not deterministic"
    before = [f"      {one}" for one, _ in pairs[max(0, at - CONTEXT) : at]]
    return "\n".join(
        [
            f"{name}: command {at + 1} of {len(pairs)} is the first that differs",
            *before,
            f"  old {pairs[at][0]}",
            f"  new {pairs[at][1]}",
        ]
    )


def compare(folder: Path, old: Path, new: Path, seeds: str, dialogues: int) -> int:
    recordings = sorted(str(path) for path in (old / "tests" / "recorded").glob("*.jsonl"))
    arguments = ("run", seeds, str(dialogues), *recordings)
    sides = [started(folder, checkout, *arguments) for checkout in (old, new)]
    wanted = dialogues + len(recordings)
    began = told_at = time.monotonic()
    compared = commands = 0
    try:
        assert sides[0].stdout and sides[1].stdout
        for one, other in zip(sides[0].stdout, sides[1].stdout, strict=False):
            name, count, _ = one.split("\t")
            if one != other:
                print(f"DIFFERENT after {compared} that are the same")
                print(difference(folder, old, new, name))
                return 1
            compared, commands = compared + 1, commands + int(count)
            if time.monotonic() - told_at > PROGRESS_S:
                told_at = time.monotonic()
                at_s = f"{told_at - began:5.0f} s"
                print(f"[{at_s}] {compared} of {wanted}, {commands} commands", flush=True)
    finally:
        for side in sides:
            side.kill()
            side.wait()
    if compared != wanted:
        print(f"only {compared} of {wanted} were acted out: a side ended early; its error is above")
        return 1
    what = f"{dialogues} dialogues (seeds {seeds}) and {len(recordings)} recorded calls"
    print(f"the same: {what}, {commands} commands, {time.monotonic() - began:.0f} s")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("old", type=Path, metavar="OLD_CHECKOUT")
    parser.add_argument(
        "--dialogues", type=int, default=10_000, help="in all; they are shared out among the seeds"
    )
    parser.add_argument("--seeds", default="1,2,3")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(shutil.copytree(HERE / "world_dump", Path(folder) / "world_dump"))
        return compare(copied, asked.old.resolve(), HERE.parent, asked.seeds, asked.dialogues)


if __name__ == "__main__":
    sys.exit(main())
