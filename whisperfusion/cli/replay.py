"""`main.py replay FILE`: a recorded call once more through the core, without models, sockets or
clocks.

The same `Conversation` is built, and receives each event at the moment at which it came then
(whisperfusion/call/recorder.py wrote it down, whisperfusion/call/recordings.py reads it). Its
commands are compared with those of then: docs/replay.md.
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

from whisperfusion.audio import MICROPHONE_RATE, VAD_WINDOW
from whisperfusion.call.recorder import (
    TICKS,
    Recorder,
    Recording,
    changes,
    header,
    moment,
    packed,
    raised,
    written,
)
from whisperfusion.call.recordings import BadRecording, Received, Recorded, read
from whisperfusion.paths import COMMAND
from whisperfusion.turns.commands import Latency, RequestTranscript, RequestTurnDetection
from whisperfusion.turns.conversation import Conversation
from whisperfusion.turns.endpointing import START, STOP
from whisperfusion.turns.events import OptionsChanged, SpeechProbability, Wake
from whisperfusion.turns.harm import Harm, HarmMeter
from whisperfusion.turns.options import Options

DIFFERENCES = 5  # shown: after the first, what was recorded of the world may not fit any more
INPUT, STATE = 58, 30  # widths of columns
SHOWN = 34  # characters of a text in the timeline; of a longer one its end, where it grew
# not in the timeline: the summary has them
DETAILS = {"stopped_s", "words_s", "decided_s", "first_token_s", "first_clause_s"}
STRETCHES = 4  # of speech and silence shown one by one
ROUNDED = 0.00011  # numbers are written to 0.1 ms, and another Python may round a sum differently


@dataclass(frozen=True)
class Step:
    """One event, the conversation's state and options before it and its state after it, the
    commands of now, and the Latency objects in them.
    """

    event: Received
    options: Options
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
    if (
        isinstance(one, float)
        and isinstance(other, (int, float))
        or isinstance(other, float)
        and isinstance(one, int)
    ):
        return abs(one - other) <= ROUNDED
    return bool(one == other) and isinstance(one, bool) is isinstance(other, bool)


# --- through the core ---------------------------------------------------------------------------


def conversation_of(recorded: Recorded) -> Conversation:
    """As whisperfusion/call/caller.py built it for the recorded call."""
    header = recorded.header
    summary = header.get("summary", "")
    return Conversation(header["call"], recorded.options, recorded.history, summary=summary)


def played(
    conversation: Conversation, recorded: Recorded, meter: HarmMeter | None = None
) -> Iterator[Step]:
    """Every event in its order.

    An exception of the core stands in the place of its commands, as it does in a recording.
    """
    for one in recorded.events:
        before, options, commands = conversation.state.value, conversation.options, []
        now = moment(recorded.header["clock"], one.ticks)
        try:
            commands = conversation.receive(one.event, now)
            out = written(commands)
        except Exception as error:
            out = raised(error)
        if meter is not None:
            meter.receive(now, one.event, commands)
        latencies = tuple(command for command in commands if isinstance(command, Latency))
        yield Step(one, options, before, conversation.state.value, out, latencies)


def renew(path: str | Path) -> None:
    """Write the file again, in the present version and with the commands of the present core: for
    a recording that is kept as a test, after a change on purpose.
    """
    recorded, new = read(path), Path(f"{path}.new")
    conversation, clock = conversation_of(recorded), recorded.header["clock"]
    recording = Recording(new, header(conversation, clock, recorded.header["began"]))
    recorder = Recorder(conversation, recording, clock)
    for one in recorded.events:
        recorder.receive(one.event, moment(clock, one.ticks))
    if recorded.whole:
        recorder.end()
    else:
        recording.close()
    new.chmod(Path(path).stat().st_mode)
    new.replace(path)


# --- as text ------------------------------------------------------------------------------------


def timeline(steps: list[Step]) -> Iterator[str]:
    """What came in, the state before and after, what went out.

    Windows that change nothing are merged into the next that does.
    """
    windows: list[Step] = []
    for step in steps:
        quiet = step.same and not step.out and step.before == step.after
        if isinstance(step.event.event, SpeechProbability):
            windows.append(step)
            if quiet:
                continue
            yield from _lines(sound(windows), step)
            windows = []
        elif not (quiet and isinstance(step.event.event, Wake)):
            if windows:
                yield from _lines(sound(windows), windows[-1])
                windows = []
            yield from _lines(received(step), step)
    if windows:
        yield from _lines(sound(windows), windows[-1])


def _lines(what: str, step: Step) -> Iterator[str]:
    state = step.before if step.before == step.after else f"{step.before} -> {step.after}"
    shown = [described(command, SHOWN) for command in step.out] or [""]
    mark = " " if step.same else "!"
    yield f"{mark}{step.at:8.3f}  {what:{INPUT}}  {state:{STATE}}  {shown[0]}".rstrip()
    for more in shown[1:]:
        yield f"{mark}{'':{INPUT + STATE + 14}}{more}"


def sound(windows: list[Step]) -> str:
    """Windows as stretches of speech and silence, told apart as the endpointer does."""
    stretches: list[tuple[bool, int]] = []
    speech = False
    for window in windows:
        assert isinstance(window.event.event, SpeechProbability)
        speech = window.event.event.p >= (STOP if speech else START)
        count = stretches.pop()[1] if stretches and stretches[-1][0] is speech else 0
        stretches.append((speech, count + 1))
    if len(stretches) > STRETCHES:
        totals = {
            kind: sum(count for one, count in stretches if one is kind) for kind in (True, False)
        }
        return f"{_length(totals[True])} of speech with {_length(totals[False])} of silence in it"
    return ", ".join(
        f"{_length(count)} of {'speech' if kind else 'silence'}" for kind, count in stretches
    )


def _length(windows: int) -> str:
    return f"{windows * VAD_WINDOW / MICROPHONE_RATE:.2f} s"


def received(step: Step) -> str:
    """An event that is not a window."""
    match step.event.event:
        case OptionsChanged(options):
            return described([OptionsChanged.__name__, changes(step.options, options)], SHOWN)
        case event:
            return described(packed(event), SHOWN)


def described(command: list[Any], longest: int | None = None) -> str:
    """[name, fields] as a line."""
    name, values = command
    left_out = DETAILS if longest is not None else set()
    shown = [
        _described(field, value, longest)
        for field, value in values.items()
        if value is not False and field not in left_out
    ]
    return " ".join([name, *shown])


def _described(field: str, value: Any, longest: int | None) -> str:
    if field in ("at", "upto", "stopped_at") and isinstance(value, int):
        return f"{'to' if field == 'upto' else 'at'} {value / MICROPHONE_RATE:.3f} s"
    if field == "ticket":
        return str(value)
    if field == "history" and isinstance(value, list) and len(value) == 3:
        return (
            f"{_text(value[2], longest)} (message "
            f"{value[0]}{f', sum {value[1]}' if longest is None else ''})"
        )
    if field == "text":
        return _text(value, longest)
    if value is True:
        return field
    match value:
        case str():
            return f"{field} {_text(value, longest)}"
        case float():
            return f"{field} {round(value, 4)}"
    return f"{field} {value}"


def _text(text: Any, longest: int | None) -> str:
    """In quotes, with nothing in it that a terminal would obey."""
    if longest is not None and len(str(text)) > longest:
        text = "…" + str(text)[-longest:]
    return ascii(text) if not str(text).isprintable() else repr(text)


def differences(steps: list[Step]) -> Iterator[str]:
    """The first of them, recorded and present commands side by side."""
    different = [step for step in steps if not step.same]
    for step in different[:DIFFERENCES]:
        window = isinstance(step.event.event, SpeechProbability)
        what = sound([step]) if window else received(step)
        yield f"\nat {step.at:.3f} s, line {step.event.line}: {what}"
        pairs = list(
            zip_longest(
                map(described, step.event.out), map(described, step.out), fillvalue="(nothing)"
            )
        )
        width = max(len("recorded"), *(len(then) for then, _ in pairs))
        yield f"    {'recorded':{width}}  now"
        for then, now in pairs:
            yield f"  {' ' if then == now else '!'} {then:{width}}  {now}"
    if len(different) > DIFFERENCES:
        yield (
            f"\nand {len(different) - DIFFERENCES} more; after the first, what was recorded may "
            "not fit any more"
        )


def summary(conversation: Conversation, steps: list[Step], harm: Harm) -> Iterator[str]:
    wanted = [command[0] for step in steps for command in step.out]
    urgent = sum(
        command == ["RequestTranscript", {"urgent": True}] for step in steps for command in step.out
    )
    asked, scored = (
        wanted.count(RequestTranscript.__name__),
        wanted.count(RequestTurnDetection.__name__),
    )
    for latency in (latency for step in steps for latency in step.latencies):
        spans = {
            "silence noticed": latency.stopped_s,
            "words": latency.words_s,
            "decided": latency.decided_s,
            "first token": latency.first_token_s,
            "first clause": latency.first_clause_s,
            "first sound": latency.first_sound_s,
        }
        shown = ", ".join(f"{name} {seconds * 1000:.0f}" for name, seconds in spans.items())
        yield (
            f"turn {latency.turn}, ms after the end of speech: "
            f"{shown}{' (begun before the turn was over)' if latency.reused else ''}"
        )
    yield ", ".join(
        f"{name.replace('_', ' ')} {count}" for name, count in vars(conversation.counts).items()
    )
    yield (
        f"replies that began too early {harm.starts}: {harm.over_s * 1000:.0f} ms of sound over a "
        f"user who went on, {harm.ms_per_hour:.0f} ms per hour"
    )
    yield (
        f"transcripts requested {asked} times, {urgent} of them urgent; end-of-turn probabilities "
        f"{scored}"
    )


def report(recorded: Recorded) -> tuple[list[str], bool]:
    """All that is printed, and whether the core still commands the same."""
    header, conversation, meter = recorded.header, conversation_of(recorded), HarmMeter()
    steps = list(played(conversation, recorded, meter))
    same = all(step.same for step in steps)
    lines = [
        f"call {header['call']} of {header['began']}: {steps[-1].at:.1f} s, {len(steps)} events"
    ]
    if not recorded.whole:
        lines.append("the recording breaks off before the end of the call")
    lines += ["", *timeline(steps), "", *summary(conversation, steps, meter.harm)]
    if not same:
        count = sum(not step.same for step in steps)
        lines += [
            "",
            f"DIFFERENT: the core commands something else now at {count} of {len(steps)} events",
            *differences(steps),
        ]
    return [*lines, *(["no difference"] if same else [])], same


def run(path: str) -> int:
    """0 = the core commands what it commanded then; 1 = something else; 2 = the file cannot be
    replayed.
    """
    try:
        lines, same = report(read(path))
    except BadRecording as error:
        print(f"{COMMAND} replay: {path}: {error}", file=sys.stderr)
        return 2
    if isinstance(sys.stdout, io.TextIOWrapper):
        # a terminal may lack the letters of the call
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        print("\n".join(lines), flush=True)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0 if same else 1
