"""`main.py replay FILE`: a recorded call once more through the core, without models, sockets or clocks.

The same `Floor` is built, and each event is told to it at the moment at which it was told then (fusion/call/recorder.py
wrote it down, fusion/recordings.py reads it). What the floor wants now is compared with what it wanted then: docs/replay.md.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from fusion.call.recorder import TICKS, RecordedFloor, Recording, moment, packed, raised, set_attributes, written
from fusion.core.conversation import Conversation
from fusion.core.endpoint import RATE, START, STOP, WINDOW, Endpoint
from fusion.core.floor import Floor
from fusion.core.turns import AskScore, AskWords, Command, Latency
from fusion.messages import Line
from fusion.recordings import BadRecording, Event, Recorded, read

DIFFERENCES = 5  # shown: after the first, what was recorded of the world may not fit any more
INPUT, STATE = 58, 14  # widths of columns
SHOWN = 34  # characters of a text in the timeline; of a longer one its end, where it grew
DETAILS = {"stopped_s", "words_s", "decided_s", "first_token_s", "first_clause_s"}  # not in the timeline: the summary has them
STRETCHES = 4  # of speech and silence told one by one
ROUNDED = 0.00011  # numbers are written to 0.1 ms, and another Python may round a sum differently


@dataclass(frozen=True)
class Step:
    """One event, the conversation's state before and after it, what the floor wants now, and its Latency objects."""

    event: Event
    before: str
    after: str
    out: list[Any]
    latencies: tuple[Latency, ...]

    @property
    def same(self) -> bool:
        return alike(self.event.out, self.out)

    @property
    def at(self) -> float:
        return self.event.ticks / TICKS


def alike(one: Any, other: Any) -> bool:
    """Equal but for rounding."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)
    if isinstance(one, float) and isinstance(other, (int, float)) or isinstance(other, float) and isinstance(one, int):
        return abs(one - other) <= ROUNDED
    return bool(one == other) and isinstance(one, bool) is isinstance(other, bool)


# --- through the core -------------------------------------------------------------------------------------


def floor_of(header: dict[str, Any]) -> Floor:
    """As fusion/call/caller.py built it for the recorded call."""
    values = header["set"]
    history = [Line(role, text) for role, text in header["history"]]
    conversation = Conversation(header["call"], values["instructions"], history, replies=header["replies"], filler=header["filler"])
    floor = Floor(conversation, Endpoint(header["patience_s"]), scored=header["scored"], eagerness=values["eagerness"])
    set_attributes(floor, values)
    return floor


def tell(floor: Floor | RecordedFloor, event: Event, clock: float) -> list[Command]:
    if event.do == "set":
        set_attributes(floor, event.arguments)
        return []
    commands: list[Command] = getattr(floor, event.do)(**event.arguments, now=moment(clock, event.ticks))
    return commands


def played(floor: Floor, recorded: Recorded) -> Iterator[Step]:
    """Every event in its order. An exception of the core stands in the place of its commands, as it does in a recording."""
    for event in recorded.events:
        before, commands = floor.conversation.state.value, []
        try:
            commands = tell(floor, event, recorded.header["clock"])
            out = written(commands)
        except Exception as error:
            out = raised(error)
        latencies = tuple(command for command in commands if isinstance(command, Latency))
        yield Step(event, before, floor.conversation.state.value, out, latencies)


def renew(path: str | Path) -> None:
    """Write the file again with what the present core wants: for a recording that is kept as a test, after a change on purpose."""
    recorded, new = read(path), Path(f"{path}.new")
    floor = floor_of(recorded.header)
    clock = recorded.header["clock"]
    recording = Recording(new, recorded.header)
    told = RecordedFloor(floor, recording, clock)
    for event in recorded.events:
        tell(told, event, clock)
    if recorded.whole:
        told.end()
    else:
        recording.close()
    new.chmod(Path(path).stat().st_mode)
    new.replace(path)


# --- as text ----------------------------------------------------------------------------------------------


def timeline(steps: list[Step]) -> Iterator[str]:
    """What came in, the state before and after, what went out. Windows that change nothing are told together with the next that does."""
    windows: list[Step] = []
    for step in steps:
        quiet = step.same and not step.out and step.before == step.after
        if step.event.do == "window":
            windows.append(step)
            if quiet:
                continue
            yield from _lines(heard(windows), step)
            windows = []
        elif not (quiet and step.event.do == "wake"):
            if windows:
                yield from _lines(heard(windows), windows[-1])
                windows = []
            yield from _lines(told(step.event), step)
    if windows:
        yield from _lines(heard(windows), windows[-1])


def _lines(what: str, step: Step) -> Iterator[str]:
    state = step.before if step.before == step.after else f"{step.before} -> {step.after}"
    shown = [described(command, SHOWN) for command in step.out] or [""]
    mark = " " if step.same else "!"
    yield f"{mark}{step.at:8.3f}  {what:{INPUT}}  {state:{STATE}}  {shown[0]}".rstrip()
    for more in shown[1:]:
        yield f"{mark}{'':{INPUT + STATE + 14}}{more}"


def heard(windows: list[Step]) -> str:
    """Windows as stretches of speech and silence, told apart as the endpoint does."""
    stretches: list[tuple[bool, int]] = []
    speech = False
    for window in windows:
        speech = window.event.arguments["probability"] >= (STOP if speech else START)
        count = stretches.pop()[1] if stretches and stretches[-1][0] is speech else 0
        stretches.append((speech, count + 1))
    if len(stretches) > STRETCHES:
        totals = {kind: sum(count for one, count in stretches if one is kind) for kind in (True, False)}
        return f"{_length(totals[True])} of speech with {_length(totals[False])} of silence in it"
    return ", ".join(f"{_length(count)} of {'speech' if kind else 'silence'}" for kind, count in stretches)


def _length(windows: int) -> str:
    return f"{windows * WINDOW / RATE:.2f} s"


def told(event: Event) -> str:
    """An event that is no window."""
    if event.do == "message":
        return described(packed(event.arguments["message"]), SHOWN)
    return described([event.do, event.arguments], SHOWN)


def described(command: list[Any], longest: int | None = None) -> str:
    """[name, fields] as a line."""
    name, values = command
    left_out = DETAILS if longest is not None else set()
    shown = [_described(field, value, longest) for field, value in values.items() if value is not False and field not in left_out]
    return " ".join([name, *shown])


def _described(field: str, value: Any, longest: int | None) -> str:
    if field in ("at", "upto", "stopped_at") and isinstance(value, int):
        return f"{'to' if field == 'upto' else 'at'} {value / RATE:.3f} s"
    if field == "ticket":
        return str(value)
    if field == "lines" and isinstance(value, list) and len(value) == 3:
        return f"{_text(value[2], longest)} (line {value[0]}{f', sum {value[1]}' if longest is None else ''})"
    if field == "text":
        return _text(value, longest)
    if value is True:
        return field
    shown = _text(value, longest) if isinstance(value, str) else round(value, 4) if isinstance(value, float) else value
    return f"{field} {shown}"


def _text(text: Any, longest: int | None) -> str:
    """In quotes, with nothing in it that a terminal would obey."""
    if longest is not None and len(str(text)) > longest:
        text = "…" + str(text)[-longest:]
    return ascii(text) if not str(text).isprintable() else repr(text)


def differences(steps: list[Step]) -> Iterator[str]:
    """The first of them, recorded and present commands side by side."""
    different = [step for step in steps if not step.same]
    for step in different[:DIFFERENCES]:
        what = heard([step]) if step.event.do == "window" else told(step.event)
        yield f"\nat {step.at:.3f} s, line {step.event.line}: {what}"
        pairs = list(zip_longest(map(described, step.event.out), map(described, step.out), fillvalue="(nothing)"))
        width = max(len("recorded"), *(len(then) for then, _ in pairs))
        yield f"    {'recorded':{width}}  now"
        for then, now in pairs:
            yield f"  {' ' if then == now else '!'} {then:{width}}  {now}"
    if len(different) > DIFFERENCES:
        yield f"\nand {len(different) - DIFFERENCES} more; after the first, what was recorded may not fit any more"


def summary(floor: Floor, steps: list[Step]) -> Iterator[str]:
    wanted = [command[0] for step in steps for command in step.out]
    urgent = sum(command == ["AskWords", {"urgent": True}] for step in steps for command in step.out)
    asked, scored = wanted.count(AskWords.__name__), wanted.count(AskScore.__name__)
    for latency in (latency for step in steps for latency in step.latencies):
        spans = {"silence noticed": latency.stopped_s, "words": latency.words_s, "decided": latency.decided_s,
                 "first token": latency.first_token_s, "first clause": latency.first_clause_s, "first sound": latency.first_sound_s}
        shown = ", ".join(f"{name} {seconds * 1000:.0f}" for name, seconds in spans.items())
        yield f"turn {latency.turn}, ms after the end of speech: {shown}{' (the guess was right)' if latency.reused else ''}"
    yield ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in vars(floor.conversation.dialogue.counts).items())
    yield f"words asked for {asked} times, {urgent} of them urgent; scores {scored}"


def report(recorded: Recorded) -> tuple[list[str], bool]:
    """All that is printed, and whether the core still wants what it wanted."""
    header, floor = recorded.header, floor_of(recorded.header)
    steps = list(played(floor, recorded))
    same = all(step.same for step in steps)
    lines = [f"call {header['call']} of {header['began']}: {steps[-1].at:.1f} s, {len(steps)} events"]
    if not recorded.whole:
        lines.append("the recording breaks off before the end of the call")
    lines += ["", *timeline(steps), "", *summary(floor, steps)]
    if not same:
        count = sum(not step.same for step in steps)
        lines += ["", f"DIFFERENT: the core wants something else now at {count} of {len(steps)} events", *differences(steps)]
    return [*lines, *(["no difference"] if same else [])], same


def run(path: str) -> int:
    """0 = the core wants what it wanted then; 1 = something else; 2 = the file cannot be replayed."""
    try:
        lines, same = report(read(path))
    except BadRecording as error:
        print(f"main.py replay: {path}: {error}", file=sys.stderr)
        return 2
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may lack the letters of the call
    try:
        print("\n".join(lines), flush=True)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0 if same else 1
