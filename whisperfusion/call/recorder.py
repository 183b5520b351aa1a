"""A call written down while it happens, to be played back by `main.py replay`
(whisperfusion/cli/replay.py, docs/replay.md).

A call is decided by `Conversation.receive` alone, so a recording is the list of (now, event,
commands). Sound is not kept: of the audio only the speech probability of each window. Transcripts
and typed text are, so files are readable by their owner only. The conversation receives what is
written, times and probabilities rounded alike; a replay is exact.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

from whisperfusion.messages import Ticket
from whisperfusion.tools import Tools
from whisperfusion.turns.commands import Command
from whisperfusion.turns.conversation import Conversation
from whisperfusion.turns.events import (
    EndOfTurnProbability,
    Event,
    InterimTranscript,
    OptionsChanged,
    SpeechProbability,
)
from whisperfusion.turns.options import Options

FORMAT, VERSION = "whisperfusion call", 2
TICKS = 10_000  # in a second: the resolution of the times in a recording
STEPS = 1000  # of a probability
LINE_WINDOWS = 50  # at most, on a line: 1.6 s
FLUSH_S = 2.0  # between two writes to the disk: what a killed process loses

log = logging.getLogger("asr")


def recorder_of(conversation: Conversation, folder: str, now: float) -> Recorder | None:
    """Writes the call of `conversation` to a new file in `folder`.

    None, with a warning, when that cannot be written: the call goes on without.
    """
    call, began = conversation.call, time.localtime()
    path = Path(folder).expanduser() / f"{time.strftime('%Y%m%d', began)}-{call}.jsonl"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        recording = Recording(
            path, header(conversation, now, time.strftime("%Y-%m-%d %H:%M:%S %z", began))
        )
    except OSError as error:
        log.warning("the call %s is not recorded: %s", call, error)
        return None
    return Recorder(conversation, recording, now)


def header(conversation: Conversation, clock: float, began: str) -> dict[str, Any]:
    """All that is needed to build the same conversation.

    `clock`: what the times of the call are added to, so that sums round alike.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "began": began,
        "clock": clock,
        "call": conversation.call,
        "history": [list(message) for message in conversation.history],
        "options": changes(None, conversation.options),
        **({"summary": conversation.summary} if conversation.summary else {}),
    }


def changes(before: Options | None, after: Options) -> dict[str, Any]:
    """What `after` has otherwise; None: all that it has."""
    return {
        one.name: _value(getattr(after, one.name), None)
        for one in fields(Options)
        if before is None or getattr(after, one.name) != getattr(before, one.name)
    }


def moment(clock: float, ticks: int) -> float:
    """The `now` of an event.

    Live and in a replay it is computed here, so that both get the same number.
    """
    return clock + ticks / TICKS


def ticks_at(clock: float, now: float) -> int:
    """The nearest tick that is not before `now`: a deadline that has come stays in the past."""
    ticks = round((now - clock) * TICKS)
    return ticks + (moment(clock, ticks) < now)


# --- values as JSON -----------------------------------------------------------------------------


def written(commands: Sequence[Command]) -> list[Any]:
    """Commands for comparing: [name, fields], numbers to 0.1 ms."""
    return [packed(command, 4) for command in commands]


def packed(value: Any, decimals: int | None = None) -> list[Any]:
    """An event or command as [name, fields], without the fields that have their default value."""
    return [
        type(value).__name__,
        {
            spec.name: _value(getattr(value, spec.name), decimals)
            for spec in fields(value)
            if spec.default is MISSING or getattr(value, spec.name) != spec.default
        },
    ]


def _value(value: Any, decimals: int | None) -> Any:
    if isinstance(value, Ticket):
        return f"{value.turn}.{value.revision}"
    if isinstance(value, Tools):
        return json.dumps(value.for_chat_completions()) if value else ""
    if isinstance(value, float) and decimals is not None:
        return round(value, decimals)
    if isinstance(value, tuple) and all(isinstance(one, str) for one in value):
        return list(value)
    if isinstance(value, tuple) and decimals is None:
        return [list(message) for message in value]
    if isinstance(value, tuple):  # chat history: its length, its sum, and the message that is new
        return [
            len(value),
            f"{zlib.crc32(json.dumps(value).encode()):08x}",
            value[-1].text if value else "",
        ]
    return value


# --- the file -----------------------------------------------------------------------------------


class Recording:
    """The file of one call: JSON lines.

    A full disk ends the recording, with a warning, and not the call. Raises OSError at the start.
    """

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self.path, self._over = path, False
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        # JSON may carry half a surrogate pair, which plain UTF-8 refuses
        self._file = os.fdopen(
            descriptor, "w", encoding="utf-8", errors="surrogatepass", newline="\n"
        )
        # (ticks, steps): those without commands share a line
        self._windows: list[tuple[int, int]] = []
        self._flushed = 0
        self._write(header, 0)
        self._file.flush()

    def window(self, ticks: int, steps: int, out: list[Any]) -> None:
        self._windows.append((ticks, steps))
        if out or len(self._windows) >= LINE_WINDOWS:
            self._write_windows(out)

    def event(self, ticks: int, event: list[Any], out: list[Any]) -> None:
        """`event`: [name, fields]."""
        self._write_windows([])
        self._write({"at": ticks / TICKS, "event": event, **({"out": out} if out else {})}, ticks)

    def end(self, ticks: int) -> None:
        """The client is gone: nothing that follows is written."""
        self._write_windows([])
        self._write({"at": ticks / TICKS, "end": True}, ticks)
        self.close()

    def close(self) -> None:
        self._write_windows([])
        if self._over:
            return
        self._over = True
        try:
            self._file.close()
        except OSError as error:
            self._stop(error)

    def _write_windows(self, out: list[Any]) -> None:
        if self._windows:
            ticks = [at for at, _ in self._windows]
            after = [later - earlier for earlier, later in itertools.pairwise(ticks)]
            line = {
                "at": ticks[0] / TICKS,
                "p": [steps for _, steps in self._windows],
                "after": after,
            }
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
            self._stop(error)

    def _stop(self, error: OSError) -> None:
        self._over = True
        log.warning("the recording %s ends here, the call goes on: %s", self.path, error)
        with suppress(OSError):  # what could not be written is what the warning is about
            self._file.close()


# --- the wrapper --------------------------------------------------------------------------------


class Recorder:
    """Receives the events of a conversation in its place."""

    def __init__(self, conversation: Conversation, recording: Recording, clock: float) -> None:
        self._conversation, self._recording, self._clock = conversation, recording, clock
        self._last = 0

    def receive(self, event: Event, now: float) -> list[Command]:
        ticks = self._last = ticks_at(self._clock, now)
        match event:
            case SpeechProbability(p):
                event = SpeechProbability(round(float(p) * STEPS) / STEPS)
            case EndOfTurnProbability(p, by_states=head):
                head = None if head is None else round(float(head), 3)
                event = replace(event, p=round(float(p), 3), by_states=head)
            case InterimTranscript(end_of_turn=float(p)):
                event = replace(event, end_of_turn=round(p, 3))
            case OptionsChanged(options) if options == self._conversation.options:
                return []
        before = self._conversation.options
        try:
            commands = self._conversation.receive(event, moment(self._clock, ticks))
        except Exception as error:
            self._write(ticks, event, before, raised(error))
            raise
        self._write(ticks, event, before, written(commands))
        return commands

    def end(self) -> None:
        """The client is gone."""
        self._recording.end(self._last)

    def _write(self, ticks: int, event: Event, before: Options, out: list[Any]) -> None:
        match event:
            case SpeechProbability(p):
                self._recording.window(ticks, round(p * STEPS), out)
            case OptionsChanged(options):
                kept = [OptionsChanged.__name__, changes(before, options)]
                self._recording.event(ticks, kept, out)
            case _:
                self._recording.event(ticks, packed(event), out)


def raised(error: Exception) -> list[Any]:
    """In the place of commands: a bug of the core, to be found again in a replay."""
    return [["raised", {"error": repr(error)}]]
