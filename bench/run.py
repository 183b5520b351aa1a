"""The whole bench in one go: how long people wait, what stops the sound, who is cut off, what was
understood.

    python bench/run.py                                       # everything but the mechanisms, for
                                                              # this checkout
    python bench/run.py --before ../old                       # the same for an older checkout too,
                                                              # side by side
    python bench/run.py --only voice,barge-in --callers 1,8 -- --llm-model smollm2
    python bench/run.py --only mechanisms                     # what shows each mechanism, with it
                                                              # switched off

What follows `--` goes to the servers. Results are written to bench/out/ after each part;
bench/README.md has the method.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import accuracy, barge_in, common, disturb, reading, reference, table, turns
from bench.common import ROOT, BenchError, Server, say, server
from bench.without import MECHANISMS

COMPARISON = ("--asr-model=whisper-tiny.en", "--llm-model=smollm2", "--tts-engine=piper")
PARTS = ("voice", "comparison", "barge-in", "killed", "cut-off", "words")
ON_DEMAND = ("mechanisms", "read-back")


class Bench:
    """The parts, each with a server of its own, so that none inherits a cache or a crowd from
    another.
    """

    def __init__(self, arguments: argparse.Namespace, flags: Sequence[str]) -> None:
        self._levels = {callers: turns.TURNS[callers] for callers in arguments.callers}
        self._every, self._parts, self._without, self._flags = (
            arguments.every,
            arguments.only,
            arguments.without,
            tuple(flags),
        )

    def prepare(self) -> None:
        """What takes the machine's time is made before any server runs."""
        common.recordings()
        if {"voice", "comparison", "cut-off", "words", "mechanisms"} & set(self._parts):
            reference.word_times()
        if "words" in self._parts:
            reference.plain_pass(self._asr_model())

    def run(self, part: str, code: Path) -> dict[str, Any]:
        """What the summary of `part` adds to the results of `code`."""
        methods: dict[str, Callable[[Path], dict[str, Any]]] = {
            "voice": self._voice,
            "comparison": self._comparison,
            "barge-in": self._barge_in,
            "killed": self._killed,
            "cut-off": self._cut_off,
            "words": self._words,
            "mechanisms": self._mechanisms,
            "read-back": self._read_back,
        }
        return methods[part](code)

    def _voice(self, code: Path) -> dict[str, Any]:
        with server(code, self._flags) as running:
            found = asyncio.run(turns.measure(running, self._levels, self._every))
        return {"voice": {**found, "start_s": running.start_s}}

    def _comparison(self, code: Path) -> dict[str, Any]:
        with server(code, (*self._flags, *COMPARISON)) as running:
            return {
                "comparison": asyncio.run(
                    turns.measure(running, turns.COMPARISON_TURNS, self._every)
                )
            }

    def _barge_in(self, code: Path) -> dict[str, Any]:
        with server(code, self._flags) as running:
            return {"barge-in": asyncio.run(barge_in.measure(running, self._every))}

    def _killed(self, code: Path) -> dict[str, Any]:
        with server(code, self._flags) as running:
            return {"killed": asyncio.run(disturb.measure(running, self._every))}

    def _cut_off(self, code: Path) -> dict[str, Any]:
        with server(code, self._flags) as running:
            return {"cut-off": asyncio.run(reading.measure(running, self._every, everything=False))}

    def _words(self, code: Path) -> dict[str, Any]:
        with server(code, self._flags) as running:
            cut_off = asyncio.run(reading.measure(running, self._every, everything=True))
            captions = asyncio.run(accuracy.captions(running, self._every))
        texts = {
            "plain": reference.plain_pass(self._asr_model()),
            "captions": captions,
            "conversation": cut_off.pop("texts"),
        }
        return {"cut-off": cut_off, "words": accuracy.compared(texts)}

    def _asr_model(self) -> str:
        """Of the plain pass: the same as the server's."""
        from whisperfusion.models.store import resolve
        from whisperfusion.settings import Settings

        parser = argparse.ArgumentParser(allow_abbrev=False)
        parser.add_argument("--asr-model", default=Settings().asr_model)
        found = parser.parse_known_args(list(self._flags))[0].asr_model
        return resolve(found, "asr", Settings()).id

    def _mechanisms(self, code: Path) -> dict[str, Any]:
        """What shows each mechanism, with it switched off, and twice with everything: what
        chance alone changes.
        """
        if code != ROOT:
            raise BenchError("only this checkout can switch its mechanisms off")
        shown: dict[str, Callable[[Server], dict[str, Any]]] = {
            "one caller": lambda running: asyncio.run(
                turns.measure(running, {1: turns.TURNS[1]}, self._every)
            )["1"],
            "eight callers": lambda running: asyncio.run(
                turns.measure(running, {8: turns.TURNS[8]}, 1)
            )["8"],
            "cut-off": lambda running: asyncio.run(
                reading.measure(running, self._every, everything=False)
            ),
            "killed": lambda running: asyncio.run(disturb.measure(running, self._every)),
        }
        found: dict[str, Any] = {}
        for by, measure in shown.items():
            names = [name for name in self._without if MECHANISMS[name].shown_by == by]
            for name in ("", *names, *([""] if "caller" in by else [])) if names else ():
                title = f"without {name}: {MECHANISMS[name].what}" if name else "with everything"
                title += ", again" if f"{by}: {title}" in found else ""
                say(f"{by}, {title}")
                with server(code, self._flags, without=name) as running:
                    found[f"{by}: {title}"] = measure(running)
        return {"mechanisms": found}

    def _read_back(self, code: Path) -> dict[str, Any]:
        with server(code, self._flags) as running:
            return {"read-back": asyncio.run(accuracy.read_back(running, self._every))}


def measure(
    bench: Bench, parts: Sequence[str], codes: dict[str, Path], path: Path, flags: Sequence[str]
) -> dict[str, Any]:
    """Part by part, the older code first: what else the machine does then falls on both."""
    result: dict[str, Any] = {
        "machine": common.machine(),
        "flags": list(flags),
        "versions": {name: common.version(code) for name, code in codes.items()},
        "codes": {name: {} for name in codes},
    }
    for part in parts:
        for name, code in codes.items():
            say(f"{part}, {name} ({result['versions'][name]})")
            try:
                result["codes"][name].update(bench.run(part, code))
            except Exception as error:  # a part that breaks takes no other part's figures with it
                if not isinstance(error, BenchError):
                    traceback.print_exc()
                say(f"  FAILED: {error}")
                result["codes"][name][part] = {
                    "failures": [f"the whole part {part}: {error or type(error).__name__}"]
                }
            common.write(path, result)
    return result


def report(result: dict[str, Any]) -> None:
    codes = result["codes"]
    print(f"\n{table.rendered(codes)}\n")
    for name, found in codes.items():
        for failure in table.failures(found):
            print(f"{name}: {failure}")
        for part in ("voice", "comparison"):
            if found.get(part, {}).get("1"):
                print(
                    f"\n{name}, {part}, one caller: medians after the last "
                    f"word\n{table.waterfall(found[part]['1']['stages'])}"
                )
        if "failures" not in found.get("mechanisms", {"failures": []}):
            print(f"\n{table.mechanisms(found['mechanisms'])}")


def options(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    def some_of(known: Sequence[str]) -> Callable[[str], list[str]]:
        def names(text: str) -> list[str]:
            unknown = set(text.split(",")) - set(known)
            if unknown:
                raise argparse.ArgumentTypeError(
                    f"{', '.join(sorted(unknown))}? known: {', '.join(known)}"
                )
            return [name for name in known if name in text.split(",")]

        return names

    def callers(text: str) -> list[int]:
        return [int(name) for name in some_of([str(count) for count in turns.TURNS])(text)]

    parts = (*PARTS, *ON_DEMAND)
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n\n")[0],
        usage="%(prog)s [options] [-- FLAGS OF main.py]",
    )
    parser.add_argument(
        "--code", type=Path, default=ROOT, help="the checkout to measure [this one]"
    )
    parser.add_argument("--before", type=Path, help="an older checkout to compare it with")
    parser.add_argument(
        "--only",
        type=some_of(parts),
        default=list(PARTS),
        help=f"of {','.join(parts)} [the first {len(PARTS)}]",
    )
    parser.add_argument(
        "--without",
        type=some_of(tuple(MECHANISMS)),
        default=list(MECHANISMS),
        help="of the mechanisms, only these",
    )
    parser.add_argument(
        "--callers",
        type=callers,
        default=list(turns.TURNS),
        help="at once, of 1,2,4,8,16 [all of them]",
    )
    parser.add_argument(
        "--every", type=int, default=1, help="only every n-th turn and try: a rough look"
    )
    parser.add_argument(
        "--picture", type=Path, help="draw the result to this PNG (needs requirements-bench.txt)"
    )
    at = arguments.index("--") if "--" in arguments else len(arguments)
    chosen = parser.parse_args(arguments[:at])
    if "words" in chosen.only:  # which reads the recordings with pauses too
        chosen.only = [part for part in chosen.only if part != "cut-off"]
    return chosen, list(arguments[at + 1 :])


def main() -> int:
    chosen, flags = options(sys.argv[1:])
    codes = {
        **({"before": chosen.before.resolve()} if chosen.before else {}),
        "now": chosen.code.resolve(),
    }
    # so that the server under test is stopped, too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    path = common.OUT / f"run-{time.strftime('%Y%m%d-%H%M%S')}.json"
    try:
        bench = Bench(chosen, flags)
        bench.prepare()
        result = measure(bench, chosen.only, codes, path, flags)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    report(result)
    print(f"\nwritten to {path}")
    if chosen.picture:
        from bench.picture import draw

        draw(result, chosen.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
