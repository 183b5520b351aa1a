"""The input of a batch: a JSONL file that is read line by line, since it may have 50,000 of them
and recordings in each. Everything here blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whisperfusion.gateway.batches import lines
from whisperfusion.gateway.batches.lines import LINE_BYTES, MOST_ERRORS, MOST_LINES, Request
from whisperfusion.gateway.batches.sources import FILE_ID
from whisperfusion.gateway.batches.state import BatchError


@dataclass(frozen=True)
class Line:
    """A request and its place in the file, in bytes."""

    number: int
    custom_id: str
    offset: int
    length: int


@dataclass(frozen=True)
class Input:
    """`files` are the ids of files that its requests name."""

    lines: tuple[Line, ...]
    errors: tuple[BatchError, ...]
    files: frozenset[str]


def scan(path: Path, endpoint: str) -> Input:
    """All requests in the file, or up to `MOST_ERRORS` of what is wrong with it. Raises OSError."""
    found: list[Line] = []
    errors: list[BatchError] = []
    known: set[str] = set()
    files: set[str] = set()
    number = offset = 0
    with open(path, "rb") as file:
        while len(errors) < MOST_ERRORS and (line := file.readline(LINE_BYTES + 1)):
            number += 1
            match lines.check(line, number, endpoint, known):
                case BatchError() as error:
                    errors.append(error)
                    if len(line) > LINE_BYTES:  # its rest would be read as lines of their own
                        break
                case Request(_, custom_id, body):
                    found.append(Line(number, custom_id, offset, len(line)))
                    known.add(custom_id)
                    files |= _files(body)
            offset += len(line)
            if len(found) > MOST_LINES:
                why = f"The input has more than {MOST_LINES} requests; make several batches of it."
                errors.append(BatchError("too_many_requests", why))
                break
    if not found and not errors:
        why = "The input has no requests; each line of it is one, as a JSON object."
        errors.append(BatchError("empty_file", why))
    return Input(tuple(found), tuple(errors), frozenset(files))


def _files(body: Mapping[str, Any]) -> set[str]:
    named = (body.get("file"), body.get("file_id"))
    return {id for id in named if isinstance(id, str) and id.startswith(FILE_ID) and len(id) < 100}


def read(path: Path, line: Line, endpoint: str) -> Request:
    """A line that `scan` has found. Raises OSError, also where it is not the one any more."""
    with open(path, "rb") as file:
        file.seek(line.offset)
        request = lines.check(file.read(line.length), line.number, endpoint, ())
    if not isinstance(request, Request):
        raise OSError(f"line {line.number} of {path} has changed")
    return request
