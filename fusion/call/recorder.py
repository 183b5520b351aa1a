"""A call written down while it happens, to be played back by `main.py replay` (fusion/replay.py, docs/replay.md).

Everything that decides a call goes through its `Floor`, so a recording is the list of what went in and what came out.
Sound is not kept: of the audio only the speech probability of each window. Words and typed lines are, so files are
readable by their owner only. The floor is told what is written, times and probabilities rounded alike; a replay is exact.
"""

from __future__ import annotations

import json
import logging
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from fusion.core.endpoint import RATE
from fusion.core.floor import Floor
from fusion.core.turns import Command
from fusion.messages import Called, Failed, Line, Sentence, Spoken, Ticket

FORMAT, VERSION = "whisperfusion call", 1
TICKS = 10_000  # in a second: the resolution of the times in a recording
STEPS = 1000  # of a probability
LINE_WINDOWS = 50  # at most, on a line: 1.6 s
FLUSH_S = 2.0  # between two writes to the disk: what a killed process loses

# What the shell sets without an event. It is written down before the next event, when it matters first.
SET_ON_FLOOR: dict[str, type] = {"partial_s": float, "eagerness": float, "silence_s": float}
SET_ON_CONVERSATION: dict[str, type] = {"answers": bool, "automatic": bool, "early_guesses": bool, "interruptible": bool, "language": str}
SET_ON_DIALOGUE: dict[str, type] = {"brief": bool, "instructions": str, "tools": str, "max_tokens": int}

log = logging.getLogger("asr")


def recorded(floor: Floor, folder: str, now: float) -> Floor | RecordedFloor:
    """`floor`, its call being written to a new file in `folder`. A call that cannot be recorded goes on without."""
    call, began = floor.conversation.dialogue.call, time.localtime()
    path = Path(folder).expanduser() / f"{time.strftime('%Y%m%d', began)}-{call}.jsonl"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        recording = Recording(path, header(floor, now, time.strftime("%Y-%m-%d %H:%M:%S %z", began)))
    except OSError as error:
        log.warning("the call %s is not recorded: %s", call, error)
        return floor
    return RecordedFloor(floor, recording, now)


def header(floor: Floor, clock: float, began: str) -> dict[str, Any]:
    """All that is needed to build the same floor. `clock`: what the times of the call are added to, so that sums round alike."""
    conversation, dialogue = floor.conversation, floor.conversation.dialogue
    return {
        "format": FORMAT, "version": VERSION, "began": began, "clock": clock, "call": dialogue.call,
        "history": [list(line) for line in dialogue.memory.lines], "replies": conversation.replies, "filler": conversation.filler,
        "patience_s": floor.endpoint.patience / RATE, "scored": floor.scored, "set": attributes(floor),
    }


def attributes(floor: Floor) -> dict[str, Any]:
    return {name: getattr(holder, name) for holder, names in _holders(floor) for name in names}


def set_attributes(floor: Floor | RecordedFloor, values: dict[str, Any]) -> None:
    for holder, names in _holders(floor):
        for name in names.keys() & values.keys():
            setattr(holder, name, values[name])


def _holders(floor: Any) -> list[tuple[Any, dict[str, type]]]:
    conversation = floor.conversation
    return [(floor, SET_ON_FLOOR), (conversation, SET_ON_CONVERSATION), (conversation.dialogue, SET_ON_DIALOGUE)]


def moment(clock: float, ticks: int) -> float:
    """The `now` of an event. Live and in a replay it is computed here, so that both get the same number."""
    return clock + ticks / TICKS


def ticks_at(clock: float, now: float) -> int:
    """The nearest tick that is not before `now`: a deadline that has come stays in the past."""
    ticks = round((now - clock) * TICKS)
    return ticks + (moment(clock, ticks) < now)


# --- values as JSON ---------------------------------------------------------------------------------------


def written(commands: Sequence[Command]) -> list[Any]:
    """Commands for comparing: [name, fields], numbers to 0.1 ms."""
    return [packed(command, 4) for command in commands]


def packed(value: Any, decimals: int | None = None) -> list[Any]:
    """A message or command as [name, fields], without the fields that have their default value."""
    return [type(value).__name__, {
        spec.name: _value(getattr(value, spec.name), decimals)
        for spec in fields(value)
        if spec.default is MISSING or getattr(value, spec.name) != spec.default
    }]


def _value(value: Any, decimals: int | None) -> Any:
    if isinstance(value, Ticket):
        return f"{value.turn}.{value.revision}"
    if isinstance(value, float) and decimals is not None:
        return round(value, decimals)
    if isinstance(value, tuple):  # the dialogue: its length, its sum, and the line that is new
        return [len(value), f"{zlib.crc32(json.dumps(value).encode()):08x}", value[-1].text if value else ""]
    return value


# --- the file ---------------------------------------------------------------------------------------------


class Recording:
    """The file of one call: JSON lines. A full disk ends the recording, with a warning, and not the call. Raises OSError at the start."""

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self.path, self._over = path, False
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        # JSON may carry half a surrogate pair, which plain UTF-8 refuses
        self._file = os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogatepass", newline="\n")
        self._windows: list[tuple[int, int]] = []  # (ticks, steps): those without commands share a line
        self._flushed = 0
        self._write(header, 0)
        self._file.flush()

    def window(self, ticks: int, steps: int, out: list[Any]) -> None:
        self._windows.append((ticks, steps))
        if out or len(self._windows) >= LINE_WINDOWS:
            self._write_windows(out)

    def event(self, ticks: int, do: str, arguments: dict[str, Any], out: list[Any]) -> None:
        self._write_windows([])
        self._write({"at": ticks / TICKS, "do": do, **({"with": arguments} if arguments else {}), **({"out": out} if out else {})}, ticks)

    def close(self) -> None:
        self._write_windows([])
        if self._over:
            return
        self._over = True
        try:
            self._file.close()
        except OSError as error:
            self._give_up(error)

    def _write_windows(self, out: list[Any]) -> None:
        if self._windows:
            ticks = [at for at, _ in self._windows]
            after = [later - earlier for earlier, later in zip(ticks, ticks[1:], strict=False)]
            line = {"at": ticks[0] / TICKS, "do": "windows", "p": [steps for _, steps in self._windows], "after": after}
            self._windows = []
            self._write({**line, **({"out": out} if out else {})}, ticks[-1])

    def _write(self, line: dict[str, Any], ticks: int) -> None:
        if self._over:
            return
        try:
            self._file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
            if ticks - self._flushed >= FLUSH_S * TICKS:
                self._flushed = ticks
                self._file.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._over = True
        log.warning("the recording %s ends here, the call goes on: %s", self.path, error)
        try:
            self._file.close()
        except OSError:
            pass  # what could not be written is what the warning is about


# --- the floor --------------------------------------------------------------------------------------------


class RecordedFloor:
    """Stands before a floor and has its methods; all else that is read or set is the floor's own."""

    def __init__(self, floor: Floor, recording: Recording, clock: float) -> None:
        self.__dict__.update(_floor=floor, _recording=recording, _clock=clock, _known=attributes(floor), _last=0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._floor, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._floor, name, value)

    def window(self, probability: float, now: float) -> list[Command]:
        steps, ticks = round(float(probability) * STEPS), self._ticks(now)
        try:
            commands = self._floor.window(steps / STEPS, moment(self._clock, ticks))
        except Exception as error:
            self._recording.window(ticks, steps, raised(error))
            raise
        self._recording.window(ticks, steps, written(commands))
        return self._done(commands)

    def score(self, probability: float, stopped_at: int, now: float) -> list[Command]:
        return self._event("score", now, probability=round(float(probability), 3), stopped_at=stopped_at)

    def words(self, text: str, upto: int, now: float, doubtful: bool = False) -> list[Command]:
        return self._event("words", now, text=text, upto=upto, doubtful=doubtful)

    def commit(self, now: float) -> list[Command]:
        return self._event("commit", now)

    def opened(self, now: float) -> list[Command]:
        return self._event("opened", now)

    def typed(self, text: str, now: float) -> list[Command]:
        return self._event("typed", now, text=text)

    def interrupt(self, now: float) -> list[Command]:
        return self._event("interrupt", now)

    def heard_up_to(self, turn: int, seconds: float, now: float) -> list[Command]:
        return self._event("heard_up_to", now, turn=turn, seconds=seconds)

    def respond(self, changes: Mapping[str, Any], now: float, id: str = "") -> list[Command]:
        return self._event("respond", now, changes=dict(changes), id=id)

    def clear(self, now: float) -> list[Command]:
        return self._event("clear", now)

    def remember(self, lines: Sequence[Line], now: float) -> list[Command]:
        return self._event("remember", now, lines=[list(line) for line in lines])

    def result(self, id: str, output: str, now: float) -> list[Command]:
        return self._event("result", now, id=id, output=output)

    def message(self, message: Sentence | Called | Spoken | Failed, now: float) -> list[Command]:
        return self._event("message", now, message=message)

    def stage_down(self, stage: str, now: float) -> list[Command]:
        return self._event("stage_down", now, stage=stage)

    def wake(self, now: float) -> list[Command]:
        return self._event("wake", now)

    def end(self) -> None:
        """The caller is gone: nothing that follows is written."""
        self._recording.event(self._last, "end", {}, [])
        self._recording.close()

    def _event(self, do: str, now: float, **arguments: Any) -> list[Command]:
        ticks = self._ticks(now)
        kept = {name: packed(value) if name == "message" else value for name, value in arguments.items()}
        try:
            commands: list[Command] = getattr(self._floor, do)(**arguments, now=moment(self._clock, ticks))
        except Exception as error:
            self._recording.event(ticks, do, kept, raised(error))
            raise
        self._recording.event(ticks, do, kept, written(commands))
        return self._done(commands)

    def _ticks(self, now: float) -> int:
        """When the event is said to happen; what was set since the last one is written down first."""
        ticks, present = ticks_at(self._clock, now), attributes(self._floor)
        if present != self._known:
            changed = {name: value for name, value in present.items() if value != self._known[name]}
            self._recording.event(ticks, "set", changed, [])
        self.__dict__["_last"] = ticks
        return ticks

    def _done(self, commands: list[Command]) -> list[Command]:
        self.__dict__["_known"] = attributes(self._floor)
        return commands


def raised(error: Exception) -> list[Any]:
    """In the place of commands: a bug of the core, to be found again in a replay."""
    return [["raised", {"error": repr(error)}]]
