"""The steps of the measurements on a card: what each may take, which come next, what is done.

Results are JSON lines, so that a step that is broken off leaves what it had. A step is done when it
has a line with `end`; a line with `failed` tells why one has none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CALL_S, WHOLE_S = 240.0, 660.0  # of card time: at most for one visit, and for all steps together
START_S = 6.0  # of a visit: interpreters and imports

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """It is ended after `most_s` seconds, done or not."""

    name: str
    most_s: float
    what: str


STEPS = (
    Step("machine", 15, "card, driver, libraries, what each of them sees"),
    Step("first", 110, "loading Whisper, and the first pass, which compiles for the card"),
    Step("latency", 60, "a pass over 2 to 10 s of speech, interim and final"),
    Step("latency-int8", 50, "the same with int8_float16"),
    Step("batches", 45, "1, 2, 4 and 8 utterances at once, and the memory"),
    Step("words", 60, "word errors of 40 recordings, on the card and on the CPU"),
    Step("memory-full", 40, "what a full card does to a pass, to a start, and after it"),
    Step("closing", 30, "a file that is closed in the middle, and the end of the process"),
    Step("voice-1", 120, "the four processes, voice to voice, one caller"),
    Step("voice-8", 95, "the same, eight callers at once"),
)
NAMES = tuple(step.name for step in STEPS)


def read(path: Path) -> list[Record]:
    """The records of a file of results; a last line that is not whole is left out."""
    if not path.is_file():
        return []
    found: list[Record] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def append(path: Path, record: Record) -> None:
    """On the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(record) + "\n")


def done(records: Iterable[Record]) -> set[str]:
    return {record["step"] for record in records if record.get("end")}


def chosen(names: Sequence[str], finished: set[str], again: bool) -> list[Step]:
    """The steps of `names` (none: all) that are still to be made, in the order of the table."""
    wanted = [step for step in STEPS if not names or step.name in names]
    return [step for step in wanted if again or step.name not in finished]


def fitting(steps: Sequence[Step], budget_s: float) -> tuple[list[Step], list[Step]]:
    """(those that surely end within the budget, the rest). In order: nothing is passed over."""
    left, now = budget_s - START_S, 0
    while now < len(steps) and steps[now].most_s <= left:
        left -= steps[now].most_s
        now += 1
    return list(steps[:now]), list(steps[now:])


def visits(steps: Sequence[Step], budget_s: float = CALL_S) -> list[list[Step]]:
    """All steps, as visits of at most `budget_s`."""
    found, rest = [], list(steps)
    while rest:
        now, rest = fitting(rest, budget_s)
        if not now:
            raise ValueError(f"the step {rest[0].name} alone takes more than {budget_s:g} s")
        found.append(now)
    return found


def table(records: Iterable[Record]) -> str:
    """The latest figures of each step and part as Markdown, without the lists of single turns. A
    failure is left out once the step was done.
    """
    latest: dict[tuple[str, str], Record] = {}
    for record in records:
        if record.get("end"):
            latest.pop((record["step"], "error"), None)
        else:
            latest[record["step"], str(record.get("part", ""))] = record
    rows = ["| step | part | figures |", "| --- | --- | --- |"]
    for (step, part), record in latest.items():
        figures = record.get("failed") or ", ".join(_shown(record.get("figures", {})))
        rows.append(f"| {step}{' (dry)' if record.get('dry') else ''} | {part} | {figures} |")
    return "\n".join(rows)


def _shown(figures: Mapping[str, Any], under: str = "") -> Iterable[str]:
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _shown(value, f"{under}{name} ")
        elif isinstance(value, float):
            yield f"{under}{name} {value:.4g}"
        elif isinstance(value, list):
            texts = [one for one in value if isinstance(one, str)]
            if texts:
                yield f"{under}{name}: {'; '.join(texts)}"
        else:
            yield f"{under}{name} {value}"
