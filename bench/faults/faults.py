"""Faults: each is put in, healed after a while, and says what must hold meanwhile.

`hits` tells which callers may notice it: those whose parts were hit, by their interface and
their cell ("" = not known). All others are bystanders. A fault that is not `healed_at` once waits
for the server itself: a process that hangs is ended by main after 15 s.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.faults.clock import ShiftedClock
from bench.faults.kept import Kept
from bench.faults.llm_server import EchoServer
from bench.faults.network import SlowLine
from bench.faults.topology import Cell, runs

HANG_S = 40.0  # until main has ended a process that gives no sign of life, which takes it 15 s
DEATH_S = 5.0  # at most, until a killed process has ended
SOCKET_INTERFACES = ("sockets",)  # they go past the gateway
FULL_DISK_MB = 24


@dataclass
class Fault(ABC):
    """`inject`, `hold_s` seconds later `heal`. `kind` is its row in the table."""

    kind: str
    hold_s: float = 0.0
    cell: str = ""  # that was hit; "" = none, or all
    loses_store: bool = False  # sessions may be forgotten

    @abstractmethod
    def inject(self) -> None: ...

    def heal(self) -> None:  # noqa: B027 - most faults end by themselves
        """Ends it; for a killed process nothing has to be done."""

    def hits(self, interface: str, cell: str) -> bool:
        """May a caller of this interface, with its call in this cell, notice it?"""
        return not self.cell or not cell or cell == self.cell


@dataclass
class NoFault(Fault):
    """For comparison: how long a new caller waits when nothing happens. All are bystanders."""

    def inject(self) -> None:
        """Nothing."""

    def hits(self, interface: str, cell: str) -> bool:
        return False


@dataclass
class Kill(Fault):
    """SIGKILL of a process of a cell."""

    pid: Callable[[], int] = lambda: 0
    stage: str = ""

    def inject(self) -> None:
        try:
            pid = self.pid()
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:  # it has just ended by itself
            return
        until = time.monotonic() + DEATH_S
        while runs(pid) and time.monotonic() < until:  # its memory is returned first
            time.sleep(0.005)

    def hits(self, interface: str, cell: str) -> bool:
        if self.stage == "gateway" and interface in SOCKET_INTERFACES:
            return False
        return super().hits(interface, cell)


@dataclass
class Stop(Kill):
    """SIGSTOP, and SIGCONT after `hold_s`; with `hangs` main has to end the process."""

    hangs: bool = False
    _stopped: psutil.Process | None = None

    def inject(self) -> None:
        self._stopped = psutil.Process(self.pid())
        self._stopped.suspend()

    def heal(self) -> None:
        assert self._stopped is not None
        if self.hangs:
            psutil.wait_procs([self._stopped], timeout=HANG_S)
        try:
            self._stopped.resume()
        except psutil.NoSuchProcess:
            return


@dataclass
class KillService(Fault):
    """SIGKILL of a program beside the cells."""

    service: Kept | None = None
    noticed: bool = True  # by callers

    def inject(self) -> None:
        assert self.service is not None
        self.service.signal(signal.SIGKILL)

    def hits(self, interface: str, cell: str) -> bool:
        return self.noticed


@dataclass
class StopService(KillService):
    def inject(self) -> None:
        assert self.service is not None
        self.service.signal(signal.SIGSTOP)

    def heal(self) -> None:
        assert self.service is not None
        self.service.signal(signal.SIGCONT)


@dataclass
class Paused(Fault):
    """All processes of a cell are stopped and go on, as those of a suspended machine."""

    target: Cell | None = None
    _stopped: list[psutil.Process] = field(default_factory=list)

    def inject(self) -> None:
        assert self.target is not None
        self._stopped = self.target.program.processes()
        for one in self._stopped:
            _try(one.suspend)

    def heal(self) -> None:
        for one in reversed(self._stopped):
            _try(one.resume)


@dataclass
class KillDecoder(Fault):
    """A recording is sent, and the process that decodes it is killed."""

    target: Cell | None = None

    def inject(self) -> None:
        assert self.target is not None
        gateway = psutil.Process(self.target.stage_pid("gateway"))
        deadline = time.monotonic() + 5.0
        while time.monotonic() < deadline:
            for child in gateway.children(recursive=True):
                if "resource_tracker" not in " ".join(_try(child.cmdline) or []):
                    _try(child.kill)
                    return
            time.sleep(0.005)

    def hits(self, interface: str, cell: str) -> bool:
        return interface not in SOCKET_INTERFACES  # whose upload it was is not known


# --- what is kept --------------------------------------------------------------------------------


@dataclass
class FullDisk(Fault):
    """The file system of a cell's state has no byte left."""

    target: Cell | None = None

    def inject(self) -> None:
        with self._ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError:
                pass

    def heal(self) -> None:
        self._ballast.unlink(missing_ok=True)

    @property
    def _ballast(self) -> Path:
        assert self.target is not None
        return self.target.state / "ballast"

    def hits(self, interface: str, cell: str) -> bool:
        return False


@dataclass
class LockedStore(Fault):
    """Another program holds the file of the sessions, as a backup does."""

    target: Cell | None = None
    _held: sqlite3.Connection | None = None

    def inject(self) -> None:
        assert self.target is not None
        path = self.target.state / "sessions.sqlite3"
        # healed in another thread, perhaps
        self._held = sqlite3.connect(
            path, timeout=10.0, isolation_level=None, check_same_thread=False
        )
        self._held.execute("BEGIN IMMEDIATE")

    def heal(self) -> None:
        if self._held is not None:
            self._held.rollback()
            self._held.close()

    def hits(self, interface: str, cell: str) -> bool:
        return False


@dataclass
class ReadOnlyStore(Fault):
    """The files of the sessions cannot be written (`chattr +i`, which root does not override)."""

    target: Cell | None = None

    def inject(self) -> None:
        self._each("+i")

    def heal(self) -> None:
        self._each("-i")

    def _each(self, flag: str) -> None:
        assert self.target is not None
        for path in self.target.state.glob("sessions.sqlite3*"):
            subprocess.run(["chattr", flag, str(path)], check=False, capture_output=True)

    def hits(self, interface: str, cell: str) -> bool:
        return False


# --- what is around ------------------------------------------------------------------------------


@dataclass
class LostModel(Fault):
    """The language model server hangs, fails, breaks off, or is gone; the chain has another one."""

    server: EchoServer | None = None
    mood: str = "gone"

    def inject(self) -> None:
        assert self.server is not None
        if self.mood == "gone":
            self.server.stop()
        else:
            self.server.mood = self.mood

    def heal(self) -> None:
        assert self.server is not None
        self.server.mood = "answers"
        if self.mood == "gone":
            self.server.start()

    def hits(self, interface: str, cell: str) -> bool:
        return False


@dataclass
class SlowNetwork(Fault):
    """Callers whose line it is: each piece of data is late, some much, as lost packets are."""

    lines: Sequence[SlowLine] = ()
    cuts: bool = False  # connections are reset, too

    def inject(self) -> None:
        for line in self.lines:
            line.bad = True
            if self.cuts:
                line.cut()

    def heal(self) -> None:
        for line in self.lines:
            line.bad = False

    def hits(self, interface: str, cell: str) -> bool:
        return self.cuts  # those without such a line are not told apart


@dataclass
class ClockJump(Fault):
    """The time of day jumps, and jumps back."""

    clock: ShiftedClock | None = None
    seconds: float = 0.0

    def inject(self) -> None:
        assert self.clock is not None
        self.clock.shift(self.seconds)

    def heal(self) -> None:
        assert self.clock is not None
        self.clock.shift(0.0)

    def hits(self, interface: str, cell: str) -> bool:
        return False


def _try(what: Callable[[], object]) -> list[str] | None:
    try:
        found = what()
    except psutil.Error:
        return None
    return found if isinstance(found, list) else None
