"""Another machine, for tests: a network namespace of Linux, joined to this one by a virtual cable.

Seen from there this machine is a host in the network: its loopback is out of reach, and requests
come from an address that is not its own. Needs root (or sudo without a password) and the Debian
package iproute2.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NEEDED = (
    "this test makes a network namespace: it needs the Debian package iproute2, and root or sudo "
    "without a password"
)


@dataclass(frozen=True)
class OtherMachine:
    name: str
    address: str

    @property
    def prefix(self) -> list[str]:
        """What comes before a command that runs there."""
        return [*_root(), "ip", "netns", "exec", self.name]

    def run(self, *command: str, timeout_s: float = 60.0, **options) -> str:
        done = subprocess.run(
            [*self.prefix, *command], capture_output=True, text=True, timeout=timeout_s, **options
        )
        assert done.returncode == 0, f"{command[:3]}: {done.stdout}{done.stderr}"
        return done.stdout

    def launcher(self, program: str, folder: Path) -> Path:
        """A script that starts `program` there, for tools that want one executable file."""
        script = folder / "launch"
        script.write_text(f'#!/bin/sh\nexec {" ".join(self.prefix)} {program} "$@"\n')
        script.chmod(0o755)
        return script


@contextmanager
def other_machine() -> Iterator[OtherMachine]:
    assert shutil.which("ip"), NEEDED
    number = os.getpid() % 60_000
    name, here, there = f"voice{number}", f"vh{number}", f"vt{number}"
    subnet = f"10.213.{number % 250}"
    inside = ("netns", "exec", name, "ip")
    try:
        _ip("netns", "add", name)
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
        _ip("addr", "add", f"{subnet}.1/24", "dev", here)
        _ip("link", "set", here, "up")
        _ip(*inside, "addr", "add", f"{subnet}.2/24", "dev", there)
        for device in ("lo", there):
            _ip(*inside, "link", "set", device, "up")
        _ip(*inside, "route", "add", "default", "via", f"{subnet}.1")
        yield OtherMachine(name, f"{subnet}.2")
    finally:  # the cable goes with the namespace, unless that was never made
        for leftover in (("netns", "delete", name), ("link", "delete", here)):
            subprocess.run([*_root(), "ip", *leftover], capture_output=True, check=False)


def _root() -> list[str]:
    return [] if os.geteuid() == 0 else ["sudo", "-n"]


def _ip(*arguments: str) -> None:
    done = subprocess.run([*_root(), "ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{NEEDED}: ip {' '.join(arguments)}: {done.stderr.strip()}"
