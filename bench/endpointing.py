"""How early and how often too early turns are ended, on recordings with known pauses.

    python bench/endpointing.py --data ../shared/data/dialogue --json bench/out/endpointing.json
    python bench/endpointing.py --data ../shared/data/dialogue \
        --unseen bench/out/unseen.json bench/out/unseen-smart-turn.json
    python bench/endpointing.py --data ../shared/data/dialogue --live --every 3
    python bench/endpointing.py --json bench/out/endpointing.json --picture docs/endpointing.png

Offline: detector, recognizer and end-of-turn model run over each recording once, as the product
runs them at each pause, and every policy then decides on the same signals (bench/policies.py).
`--unseen` takes the probabilities by both heads from bench/fit_end_of_turn.py, where each speaker
was judged by a head that never met them: for sets that the heads were fitted to. `--live` speaks
the recordings to a server in real time and takes the times of its decisions.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import policies
from bench.common import OUT, ROOT, BenchError, Server, machine, say, server, version, write
from bench.pauses import Turn, read_turns
from bench.people import call
from bench.policies import POLICIES, Evidence, Spoken
from bench.verdicts import spread
from whisperfusion.audio import MICROPHONE_RATE, to_samples
from whisperfusion.client import CallError, UserTurn
from whisperfusion.client.timed_call import only
from whisperfusion.models import store
from whisperfusion.settings import Settings
from whisperfusion.turns.endpointing import TAIL, TURN_DETECTION_S
from whisperfusion.turns.options import Options
from whisperfusion.turns.user_turn import LONG_S

WAIT_S = 40.0  # for an answer
MEAN_S, CUT = (0.7, 1.0), (0.05, 0.11)  # where curves are compared


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with a manifest.jsonl")
    parser.add_argument("--json", type=Path, default=OUT / "endpointing.json", metavar="FILE")
    parser.add_argument(
        "--signals", type=Path, metavar="FILE", help="an earlier result: decide again, run no model"
    )
    parser.add_argument(
        "--unseen",
        type=Path,
        nargs=2,
        metavar="FILE",
        help="probabilities of other heads: of the recognizer's, and of the end-of-turn model's",
    )
    parser.add_argument("--live", action="store_true", help="speak to a server in real time")
    parser.add_argument("--every", type=int, default=1, help="only every n-th turn")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the result of --json")
    parser.add_argument("flags", nargs="*", help="of the server that is started (after --)")
    asked = parser.parse_args()
    try:
        if asked.data is not None:
            write(asked.json, _measured(asked))
        elif asked.picture is None:
            parser.error("--data says which recordings to measure, --picture what to draw")
        if asked.picture is not None:
            from bench.picture import draw_endpointing

            draw_endpointing(json.loads(asked.json.read_text(encoding="utf-8")), asked.picture)
    except (BenchError, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def _read(path: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _measured(asked: argparse.Namespace) -> dict[str, Any]:
    result: dict[str, Any] = {"machine": machine(), "version": version(ROOT)}
    result["data"] = asked.data.name
    if asked.live:
        with server(ROOT, asked.flags, log="endpointing.log") as running:
            turns = list(read_turns(asked.data))[:: asked.every]
            return {**result, "live": asyncio.run(live(running, turns))}
    turns_ = known_signals(asked.signals) if asked.signals else signals(asked.data, asked.every)
    if asked.unseen is not None:
        turns_ = with_probabilities(turns_, *map(_read, asked.unseen))
    result |= {"curves": curves(turns_), "kinds": by_kind(turns_)}
    result["turns"] = [asdict(turn) for turn in turns_]
    print_summary(result)
    return result


# --- signals ------------------------------------------------------------------------------------


def signals(folder: Path, every: int = 1) -> list[Spoken]:
    """What the product knows at each pause, from its own engines."""
    from whisperfusion.engines import ASROptions, load

    settings = Settings()

    def model(name: str, kind: str) -> str:
        found = store.resolve(name, kind, settings)
        return str(store.fetch(found, settings.cache, settings.sources))

    asr = load("asr", "faster-whisper", model=model(settings.asr_model, "asr"), device="cpu")
    smart_turn = load("turn", "smart-turn", model=model("smart-turn", "turn"))
    found = []
    for number, turn in enumerate(list(read_turns(folder))[::every]):
        pauses, before = [], 0
        for pause in turn.pauses:
            length_s = pause.length_s
            if length_s is not None and length_s < TURN_DETECTION_S:
                continue
            utterance = asr.create_utterance(ASROptions("en"))
            hypothesis = utterance.accept_audio(turn.audio(pause.at + TAIL))
            sound = turn.audio(pause.at + to_samples(TURN_DETECTION_S))
            predicted = smart_turn.predict_end_of_turn(sound)
            at_s = pause.at / MICROPHONE_RATE
            speech_s = at_s - turn.start / MICROPHONE_RATE
            pauses.append(
                Evidence(
                    at_s,
                    length_s,
                    hypothesis.text,
                    predicted.score,
                    hypothesis.end_of_turn,
                    before + int(speech_s // LONG_S),
                    turn.asked,
                    predicted.by_states,
                )
            )
            before += length_s is not None and length_s >= Options().prefix_padding
        found.append(Spoken(turn.name, turn.speaker, turn.tags, turn.end_s, tuple(pauses)))
        if number % 20 == 0:
            say(f"{folder.name}: {number} turns")
    return found


def known_signals(path: Path) -> list[Spoken]:
    """Of an earlier result of this program."""
    found = json.loads(path.read_text(encoding="utf-8"))["turns"]
    return [
        Spoken(**{**one, "pauses": tuple(Evidence(**pause) for pause in one["pauses"])})
        for one in found
    ]


def with_probabilities(
    turns: Sequence[Spoken], encoder: Mapping[str, float], model: Mapping[str, float]
) -> list[Spoken]:
    """Of both heads, by "file@milliseconds" of the pause's beginning."""

    def changed(turn: Spoken, pause: Evidence) -> Evidence:
        name = f"{turn.name}@{round(pause.at_s * 1000)}"
        return replace(pause, end_of_turn=encoder.get(name), by_states=model.get(name))

    return [replace(turn, pauses=tuple(changed(turn, p) for p in turn.pauses)) for turn in turns]


# --- figures ------------------------------------------------------------------------------------


def curves(turns: Sequence[Spoken]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, (policy, settings) in POLICIES.items():
        curve = [policies.outcomes(turns, policy, setting) for setting in settings]
        points = [one.point() for one in curve]
        found[name] = {"points": [asdict(one) for one in points]}
        for mean_s in MEAN_S:
            figure = f"cut off at {mean_s} s"
            found[name][figure] = policies.cut_at(points, mean_s)
            found[name][figure + ", 95 %"] = policies.interval(turns, curve, mean_s)
        for cut in CUT:
            found[name][f"mean wait at {cut:.0%}"] = policies.wait_at(points, cut)
    return found


def by_kind(turns: Sequence[Spoken], eagerness: float = 0.5) -> dict[str, Any]:
    """Ours at the default setting, for each kind of turn."""
    groups: dict[str, list[Spoken]] = {}
    for turn in turns:
        for kind in policies.kinds(turn):
            groups.setdefault(kind, []).append(turn)
    return {
        kind: {
            "turns": len(group),
            **asdict(policies.outcomes(group, policies.ours, eagerness).point()),
            "before": asdict(policies.outcomes(group, policies.without_heads, eagerness).point()),
        }
        for kind, group in sorted(groups.items())
    }


def print_summary(result: Mapping[str, Any]) -> None:
    for name, found in result["curves"].items():
        parts = [f"{key} {value:.3f}" for key, value in found.items() if isinstance(value, float)]
        say(f"{name}: {', '.join(parts)}")
    for kind, found in result["kinds"].items():
        before = found["before"]
        say(
            f"{kind} ({found['turns']}): cut off {found['cut']:.1%}, mean {found['mean_s']:.2f} s, "
            f"median {found['median_s']:.2f} s (by the table {before['cut']:.1%}, "
            f"{before['mean_s']:.2f}, {before['median_s']:.2f})"
        )


# --- live ---------------------------------------------------------------------------------------


async def live(running: Server, turns: Sequence[Turn]) -> dict[str, Any]:
    """The server's own decisions: seconds from the true end of each turn to the first final
    transcript after it, and whether one came before.
    """
    rows: list[dict[str, Any]] = []
    failures = []
    for turn in turns:
        open_call = call(running)
        try:
            async with open_call:
                began = (await open_call.turn(turn.pcm, timeout_s=WAIT_S)).began
        except CallError as problem:
            failures.append(f"{turn.name}: {problem}")
            continue
        ends = [one.at - began - turn.end_s for one in only(open_call.log, UserTurn)]
        after = [wait for wait in ends if wait > 0]
        rows.append({"turn": turn.name, "cut": len(after) < len(ends), "wait_s": after[:1]})
        say(f"{turn.name}: {'cut off' if rows[-1]['cut'] else ''} {after[:1]}")
    waits = [wait for row in rows for wait in row["wait_s"]]
    found = {"turns": len(rows), "cut": sum(row["cut"] for row in rows) / max(1, len(rows))}
    return {**found, "wait_s": spread(waits), "failures": failures, "each": rows}


if __name__ == "__main__":
    sys.exit(main())
