"""The results of one batch on disk: two files that only grow, and how often each line was tried.

`output.jsonl` has what succeeded, `error.jsonl` what failed: one line for each request, by its
custom_id. Together they are the record of what was done: where a process was killed in the middle
of a line, the next one cuts that line off and does its request again. `tries.txt` has "7" when line
7 is begun and "-7" when it was interrupted through no fault of its own, so that a request which
ends the process each time is given up in the end.

All methods block, and one thread alone calls those that write.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

from whisperfusion.gateway.batches.state import Counts

OUTPUT, ERROR, TRIES = "output.jsonl", "error.jsonl", "tries.txt"


class Ledger:
    """`load` first. `done` are the custom_ids that have a result."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done: set[str] = set()
        self.size = 0  # bytes of both files
        self._counted = {OUTPUT: 0, ERROR: 0}
        self._tries: Counter[int] = Counter()

    def load(self) -> None:
        """Read what is there, without the end of a line that was not finished. Raises OSError."""
        self.done, self._counted, self.size = set(), {OUTPUT: 0, ERROR: 0}, 0
        for name in (OUTPUT, ERROR):
            self._read(name)
        self._tries = Counter()
        tries = self.folder / TRIES
        for line in tries.read_text().split() if tries.exists() else ():
            if line.removeprefix("-").isdecimal():
                self._tries[abs(int(line))] += -1 if line.startswith("-") else 1

    def append(self, custom_id: str, line: bytes, failed: bool) -> None:
        """Write the result of a request, once: a second one of it is dropped. Raises OSError."""
        if custom_id in self.done:
            return
        name = ERROR if failed else OUTPUT
        path = self.folder / name
        with open(path, "ab") as file:
            before = file.tell()
            try:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            except OSError:  # the disk is full: half a line would join the next one
                os.truncate(path, before)
                raise
        self._count(name, custom_id, len(line))

    def counts(self, total: int) -> Counts:
        return Counts(total, self._counted[OUTPUT], self._counted[ERROR])

    def tried(self, number: int) -> int:
        """How often line `number` was begun without a result."""
        return self._tries[number]

    def start(self, number: int) -> None:
        """Raises OSError."""
        self._note(number, 1)

    def interrupted(self, number: int) -> None:
        """The try that was begun does not count. Raises OSError."""
        self._note(number, -1)

    def _note(self, number: int, count: int) -> None:
        self._tries[number] += count
        with open(self.folder / TRIES, "a") as file:
            file.write(f"{number * count}\n")

    def _read(self, name: str) -> None:
        path = self.folder / name
        if not path.exists():
            return
        whole = 0
        with open(path, "rb") as file:
            for line in file:
                custom_id = _custom_id(line) if line.endswith(b"\n") else None
                if custom_id is None:
                    break
                whole += len(line)
                self._count(name, custom_id, len(line))
        if whole < path.stat().st_size:
            os.truncate(path, whole)

    def _count(self, name: str, custom_id: str, size: int) -> None:
        self.done.add(custom_id)
        self._counted[name] += 1
        self.size += size


def _custom_id(line: bytes) -> str | None:
    """None: the line is damaged."""
    try:
        return str(json.loads(line)["custom_id"])
    except (ValueError, LookupError, TypeError):
        return None
