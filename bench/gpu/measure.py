"""What the CUDA form does on a real card, step by step, each within a known time.

    python bench/gpu/measure.py --list                  # the steps, and the visits for them
    python bench/gpu/measure.py --dry                   # the same code on the CPU, two minutes
    python bench/gpu/measure.py --data DIR              # on a card: as many steps as fit into 240 s
    python bench/gpu/measure.py --data DIR              # again: the next ones
    python bench/gpu/measure.py --data DIR latency      # some of them; --again: also what is done
    python bench/gpu/measure.py --table results.jsonl   # the figures as Markdown

DIR is what `carry.sh unpack` made. Each step is a process of its own, whose figures are in
DIR/results.jsonl (dry: bench/out/gpu-dry.jsonl) as soon as they are known.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from bench.common import OUT, ROOT, say
from bench.gpu import conversations, failures, recognizer, steps
from bench.gpu.setup import Setup, environment
from bench.gpu.steps import Step
from whisperfusion.errors import first_line

Work = Callable[[Setup], recognizer.Parts]
DRY_S = 600.0  # for a step on any machine


def work_of(data: Path | None) -> Mapping[str, Work]:
    return {
        "machine": recognizer.machine,
        "first": recognizer.first,
        "latency": partial(recognizer.latency, compute_type="auto"),
        "latency-int8": partial(recognizer.latency, compute_type="int8_float16"),
        "batches": recognizer.batches,
        "words": recognizer.words,
        "memory-full": failures.memory_full,
        "closing": failures.closing,
        "voice-1": partial(conversations.voice, callers=1, data=data),
        "voice-8": partial(conversations.voice, callers=8, data=data),
    }


def make(name: str, work: Work, setup: Setup, results: Path) -> int:
    """In the process of the step itself."""
    began = time.monotonic()
    tag = {"step": name, "dry": setup.dry}
    try:
        for part, figures in work(setup):
            say(f"  {name}{', ' if part else ''}{part}")
            steps.append(results, {**tag, "part": part, "figures": figures})
    except Exception as error:  # it takes no other step with it
        steps.append(results, {**tag, "part": "error", "failed": first_line(error, 1000)})
        say(f"  {name} FAILED: {error}")
        return 1
    steps.append(results, {**tag, "end": True, "seconds": round(time.monotonic() - began, 1)})
    return 0


def run(step: Step, chosen: argparse.Namespace, results: Path) -> bool:
    """Start the process of a step, and end it and all that it started when its time is over."""
    command = [sys.executable, __file__, "--child", step.name, "--results", str(results)]
    command += ["--dry"] if chosen.dry else []
    command += ["--data", str(chosen.data)] if chosen.data else []
    began, failed, before = time.monotonic(), "", len(steps.read(results))
    most_s = DRY_S if chosen.dry else step.most_s
    say(f"{step.name}: {step.what} (at most {most_s:g} s)")
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(chosen.data), start_new_session=True
    )
    try:
        code = process.wait(most_s)
        if code and not any(one.get("failed") for one in steps.read(results)[before:]):
            failed = f"the process ended with {code}"
    except subprocess.TimeoutExpired:
        failed = f"not done within {most_s:g} s"
    finally:
        end_all(process)
    if failed:
        record = {"step": step.name, "dry": chosen.dry, "part": "error", "failed": failed}
        steps.append(results, record)
        say(f"  {step.name} FAILED: {failed}")
    took = {"step": step.name, "dry": chosen.dry, "part": "process"}
    steps.append(results, {**took, "figures": {"seconds": time.monotonic() - began}})
    return step.name in steps.done(steps.read(results)[before:])


def end_all(process: subprocess.Popen[bytes]) -> None:
    """The step's process and those of its server, which has a moment to end by itself."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        time.sleep(1.0)
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # all are gone
        pass
    process.wait()


def shown_steps() -> str:
    lines = [f"{step.name:13} {step.most_s:4g} s  {step.what}" for step in steps.STEPS]
    for at, visit in enumerate(steps.visits(steps.STEPS), 1):
        most = sum(step.most_s for step in visit)
        lines.append(f"visit {at}: {' '.join(step.name for step in visit)} (at most {most:g} s)")
    return "\n".join(lines)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {' '.join(steps.NAMES)}")
    parser.add_argument("--data", type=Path, help="what carry.sh unpack made")
    parser.add_argument("--dry", action="store_true", help="on the CPU: proves the code only")
    parser.add_argument("--again", action="store_true", help="also what is done already")
    parser.add_argument(
        "--budget", type=float, default=steps.CALL_S, help="seconds of this visit [240]"
    )
    parser.add_argument("--results", type=Path, help="another file for the figures")
    parser.add_argument("--list", action="store_true", help="show the steps and visits")
    parser.add_argument("--table", type=Path, metavar="FILE", help="show the figures of FILE")
    parser.add_argument("--child", choices=steps.NAMES, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    unknown = set(chosen.steps) - set(steps.NAMES)
    if unknown:
        parser.error(f"no step {', '.join(sorted(unknown))}; there are {', '.join(steps.NAMES)}")
    chosen.data = chosen.data and chosen.data.resolve()
    return chosen


def main() -> int:
    chosen = options()
    if chosen.list:
        print(shown_steps())
        return 0
    if chosen.table:
        print(steps.table(steps.read(chosen.table)))
        return 0
    folder = OUT if chosen.dry or not chosen.data else chosen.data
    results = chosen.results or folder / ("gpu-dry.jsonl" if chosen.dry else "results.jsonl")
    if chosen.child:
        return make(chosen.child, work_of(chosen.data)[chosen.child], Setup(chosen.dry), results)
    finished = steps.done(steps.read(results))
    wanted = steps.chosen(chosen.steps, finished, chosen.again or chosen.dry)
    budget = float("inf") if chosen.dry else chosen.budget
    now, later = steps.fitting(wanted, budget)
    good = [run(step, chosen, results) for step in now]
    say(f"{sum(good)} of {len(now)} steps done; the figures are in {results}")
    if later:
        say(f"left for another visit: {' '.join(step.name for step in later)}")
    return 0 if all(good) and (now or not wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
