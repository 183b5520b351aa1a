"""How many callers a machine can answer, and how it grows: a queueing model, fitted and checked.

    python bench/capacity.py all           # calibrate, measure, compare: 20 minutes, quiet machine
    python bench/capacity.py calibrate     # engines alone, one caller: the model's parameters
    python bench/capacity.py measure       # 1, 2, 4, 8 and 16 callers with real models
    python bench/capacity.py compare       # predicted beside measured, with the error
    python bench/capacity.py predict --cores 8 --callers 1,8,16,32
    python bench/capacity.py growth --price 0.20 --cores 8    # to 10,000 calls
    python bench/capacity.py document      # tables and picture of docs/capacity.md

Parameters and measurements are kept in --file, bench/capacity.json. docs/capacity.md has the
results, bench/queueing/ the model.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import calibration, common, growth, levels, one_caller
from bench.common import ROOT, BenchError, say, server, utterances
from bench.queueing.parameters import Fitted, Parameters, from_json, to_json
from bench.queueing.prediction import LEVEL, Predicted, predict, with_overhead, with_work
from bench.table import markdown
from whisperfusion.settings import Settings

FILE, DOCUMENT = ROOT / "bench" / "capacity.json", ROOT / "docs" / "capacity.md"
WARM_S = 5.0  # after a start: the language model's slots are warmed
GOAL = 0.15
CALIBRATION_SEED = 1000


class Kept:
    """The file of parameters and measurements."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}

    def write(self, **values: Any) -> None:
        self.found.update(values)
        common.write(self._path, self.found)

    @property
    def parameters(self) -> Parameters:
        if "parameters" not in self.found:
            raise BenchError(f"{self._path} has no parameters; run `calibrate` first")
        return from_json(self.found["parameters"])

    @property
    def measured(self) -> dict[int, dict[str, Any]]:
        return {int(count): one for count, one in self.found.get("measured", {}).items()}


def calibrate(kept: Kept, flags: Sequence[str]) -> None:
    engines, sharing = calibration.engines(Settings())
    say("one caller")
    with server(ROOT, flags) as running:
        time.sleep(WARM_S)
        share, bits = asyncio.run(one_caller.silent_calls(running))
        summary, said = asyncio.run(levels.level(running, 1, 1, utterances(), CALIBRATION_SEED))
        begun = one_caller.counter(running, "whisperfusion_preemptive_generations_total")
        used = one_caller.counter(running, "whisperfusion_preemptive_generations_used_total")
    timed = [(one.recording, one.figures) for one in said]
    found = [one_caller.turn_of(*one) for one in timed]
    turns = tuple(one for one in found if one is not None)
    if not turns:
        raise BenchError("no turn of the one caller has figures; is something wrong in server.log?")
    missing = {one.name for one in utterances()} - {one.recording for one in turns}
    if missing:
        say(f"without figures, and left out: {', '.join(sorted(missing))}")
    parameters = Parameters(
        common.machine()["cores"],
        replace(engines, frames=share),
        sharing,
        turns,
        max(0.0, begun - used) / len(turns),
        one_caller.characters_per_s([figures for _, figures in timed if figures["audio"]]),
    )
    parameters = with_overhead(parameters, summary["p50"])
    kept.write(
        machine={**common.machine(), "processor": one_caller.processor()},
        calibrated=summary,
        bits_a_second=bits,
        parameters=to_json(parameters),
        # of another machine, or of this one before
        fitted=None,
        measured={},
        predicted={},
    )
    print(markdown(shown(parameters)))


def shown(parameters: Parameters) -> list[list[str]]:
    """The lines of a table."""
    lines = [["parameter", "value"]]
    for name, value in asdict(parameters.engines).items():
        unit = "of a core" if name == "frames" else "of one alone"
        seconds = name not in ("frames", "more", "small")
        lines.append([name, f"{value * 1000:.2f} ms" if seconds else f"{value:.3f} {unit}"])
    lines += [[name, f"{value:.2f}"] for name, value in asdict(parameters.sharing).items()]
    lines.append(["wasted", f"{parameters.wasted:.2f} a turn"])
    lines.append(["characters_per_s", f"{parameters.characters_per_s:.1f}"])
    return lines


def measure(kept: Kept, callers: Sequence[int], flags: Sequence[str]) -> None:
    every: dict[str, Any] = {}
    with server(ROOT, flags) as running:
        time.sleep(WARM_S)
        for count in callers:
            summary, said = asyncio.run(
                levels.level(running, count, levels.PASSES[count], utterances(), count)
            )
            every[str(count)] = [one.figures for one in said]
            measured = {**kept.found.get("measured", {}), str(count): summary}
            kept.write(measured=measured, load_before=common.LOAD_BEFORE)
            common.write(common.OUT / f"capacity-{time.strftime('%Y%m%d')}.json", every)


def fit(kept: Kept) -> Parameters | None:
    """With `work` fitted to one level; None where that was not measured."""
    if LEVEL not in kept.measured or "calibrated" not in kept.found:
        return None
    one_s, level_s = kept.found["calibrated"]["p50"], kept.measured[LEVEL]["p50"]
    found = with_work(kept.parameters, one_s, level_s)
    kept.write(fitted=asdict(found.fitted))
    return found


def fitted(kept: Kept) -> Parameters:
    """The parameters with the last fit, if there is one."""
    last = kept.found.get("fitted")
    return replace(kept.parameters, fitted=Fitted(**last)) if last else kept.parameters


def compare(kept: Kept) -> tuple[bool, str]:
    """(whether every median is within `GOAL`, the table)."""
    measured = kept.measured
    if not measured:
        raise BenchError("nothing was measured; run `measure` first")
    alone, loaded = kept.parameters, fit(kept)
    rows = [
        "callers|measured, median (95 %)|predicted, not fitted|error|predicted, fitted at "
        f"{LEVEL}|error|95th percentile: measured|predicted|turns a minute: measured|predicted|"
        "told to come back: measured|predicted".split("|")
    ]
    good, predictions = True, {}
    for count, one in sorted(measured.items()):
        first = predict(alone, count)
        best = predict(loaded, count) if loaded is not None else first
        predictions[str(count)] = {"alone": asdict(first), "fitted": asdict(best)}
        rows.append(_row(count, one, first, best))
        good = good and abs(best.p50 / one["p50"] - 1) <= GOAL
    kept.write(predicted=predictions)
    return good, "\n\n".join([markdown(rows), *_fits(kept, alone, loaded)])


def _fits(kept: Kept, alone: Parameters, loaded: Parameters | None) -> list[str]:
    """What was fitted to what."""
    one_ms = kept.found["calibrated"]["p50"] * 1000 if "calibrated" in kept.found else 0
    overhead_ms = alone.fitted.overhead_s * 1000
    lines = [
        f"Not fitted to load: an overhead of {overhead_ms:.0f} ms, by the calibration's one caller "
        f"({one_ms:.0f} ms)."
    ]
    if loaded is not None:
        lines.append(
            f"Fitted at {LEVEL} callers: all work takes {loaded.fitted.work:.2f} times as long, "
            f"and the overhead is {loaded.fitted.overhead_s * 1000:.0f} ms."
        )
    return lines


def _row(count: int, one: Mapping[str, Any], first: Predicted, best: Predicted) -> list[str]:
    return [
        str(count),
        f"{ms(one['p50'])} ({ms(one['low'])} to {ms(one['high'])}) ms, n {one['n']}",
        f"{ms(first.p50)} ms",
        f"{first.p50 / one['p50'] - 1:+.0%}",
        f"{ms(best.p50)} ms",
        f"{best.p50 / one['p50'] - 1:+.0%}",
        f"{ms(one['p95'])} ms",
        f"{ms(best.p95)} ms",
        f"{one['turns a minute']:.0f}",
        f"{best.turns_a_minute:.0f}",
        str(one["sent away"]),
        f"{best.sent_away:.0f}",
    ]


def document(kept: Kept, price: float) -> bool:
    """Writes the tables and the picture of docs/capacity.md; whether the goal was met."""
    good, table = compare(kept) if kept.measured else (True, "Not measured yet.")
    parameters = fitted(kept)
    found = {
        "compared": table,
        "parameters": markdown(shown(parameters)),
        **growth.report(parameters, price),
    }
    text = DOCUMENT.read_text("utf-8")
    for name, new in found.items():
        text = put(text, name, new)
    DOCUMENT.write_text(text, "utf-8")
    print(f"\n{table}\n\nevery median within {GOAL:.0%}: {'yes' if good else 'NO'}")
    try:
        from bench.capacity_picture import draw

        draw(kept.found, parameters, DOCUMENT.with_suffix(".png"))
    except ImportError:
        say("no picture: it needs requirements-bench.txt")
    return good


def put(text: str, name: str, new: str) -> str:
    """`text` with `new` between the two marks of `name`. Raises BenchError where they are not."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    if begin not in text or end not in text:
        raise BenchError(f"{DOCUMENT} has no marks {begin} and {end}")
    before, rest = text.split(begin, 1)
    return f"{before}{begin}\n{new}\n{end}{rest.split(end, 1)[1]}"


def ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f}"


def show_predicted(parameters: Parameters, callers: Sequence[int], admits: bool) -> None:
    rows = ["callers|median|95th percentile|words|turns a minute|busy cores|told to come back"]
    found = []
    for count in callers:
        one = predict(parameters, count, passes=max(2, count // 4), runs=4, admits=admits)
        found.append(
            f"{count}|{ms(one.p50)} ms|{ms(one.p95)} ms|{ms(one.words)} ms|"
            f"{one.turns_a_minute:.0f}|{one.cores:.1f} of {parameters.cores}|{one.sent_away:.0f}"
        )
    print(markdown([row.split("|") for row in (*rows, *found)]))


def numbers(text: str) -> list[int]:
    try:
        found = [int(one) for one in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers, such as 1,8,16")
    return found


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n\n")[0],
        usage="%(prog)s COMMAND [options] [-- FLAGS OF main.py]",
    )
    commands = ("all", "calibrate", "measure", "compare", "predict", "growth", "document")
    parser.add_argument("command", choices=commands)
    parser.add_argument("--file", type=Path, default=FILE, help="[%(default)s]")
    parser.add_argument(
        "--callers", type=numbers, help="at once, such as 1,8 [1,2,4,8,16; as measured]"
    )
    parser.add_argument("--cores", type=int, help="of the machine [those calibrated on]")
    parser.add_argument(
        "--no-admission", action="store_true", help="predict without anyone being turned away"
    )
    parser.add_argument(
        "--price", type=float, default=0.20, help="of such a machine for an hour [%(default)s]"
    )
    return parser


def run(chosen: argparse.Namespace, flags: Sequence[str]) -> bool:
    kept, callers = Kept(chosen.file), chosen.callers or list(levels.PASSES)
    if chosen.command in ("all", "calibrate"):
        calibrate(kept, flags)
    if chosen.command in ("all", "measure"):
        measure(kept, [count for count in callers if count in levels.PASSES], flags)
    match chosen.command:
        case "all" | "compare":
            good, table = compare(kept)
            print(f"\n{table}\n\nevery median within {GOAL:.0%}: {'yes' if good else 'NO'}")
            return good
        case "document":
            return document(kept, chosen.price)
        case "predict":
            one = fitted(kept)
            one = one.on(chosen.cores or one.cores)
            show_predicted(one, callers, not chosen.no_admission)
        case "growth":
            print("\n\n".join(growth.report(fitted(kept), chosen.price).values()))
    return True


def main() -> int:
    given = sys.argv[1:]
    at = given.index("--") if "--" in given else len(given)
    # so that the server under test is stopped, too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return 0 if run(options().parse_args(given[:at]), given[at + 1 :]) else 1
    except BenchError as error:
        print(f"capacity: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
