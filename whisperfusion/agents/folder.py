"""The agents of AGENTS_DIR, read again when a file changes, and which of them a call gets."""

from __future__ import annotations

import logging
from pathlib import Path

from whisperfusion.agents.agent import Agent, digits
from whisperfusion.agents.reading import read_agent
from whisperfusion.errors import SettingsError, WhisperFusionError

Stamp = tuple[tuple[str, int, int], ...]  # name, time of change and size of each file

log = logging.getLogger("agents")


class UnknownAgent(WhisperFusionError):
    """A client named an agent that the server does not have; the text names those it has."""


class Agents:
    """Each look at the files costs some microseconds; they are read when one has changed.

    A file with an error is a warning in the log, and its agent stays as it was: the start of the
    server has checked the folder (`check_folder`), and a process that is started again must not die
    of what was edited since.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stamp: Stamp = ()
        self._agents: dict[str, Agent] = {}

    def all(self) -> dict[str, Agent]:
        """By name, in the order of names."""
        stamp = self._stamp_of_files()
        if stamp != self._stamp:
            self._stamp = stamp
            self._agents = self._read_again()
        return self._agents

    def named(self, name: str) -> Agent:
        """Raises UnknownAgent."""
        agents = self.all()
        if name in agents:
            return agents[name]
        known = ", ".join(agents) or "none: AGENTS_DIR has no file"
        raise UnknownAgent(f"agent {name[:64]!r} is not known; known: {known}")

    def choose(
        self, name: str | None, number: str = "", key: int | None = None, device: str = ""
    ) -> Agent | None:
        """The agent with this `name` ("": none), else the one for this telephone number, else the
        one for this key: its position in SHARED_SECRET from 0, or the name of a `device`.

        Raises UnknownAgent.
        """
        if name is not None:
            return self.named(name) if name else None
        called = digits(number)
        agents = self.all().values()
        if called:
            for agent in agents:
                if called in map(digits, agent.numbers):
                    return agent
        mine = {key + 1} if key is not None else set()
        for agent in agents:
            if mine & set(agent.keys) or (device and device in agent.keys):
                return agent
        return None

    def _stamp_of_files(self) -> Stamp:
        seen = []
        for file in files_in(self._folder):
            try:
                status = file.stat()
            except OSError:  # an editor replaces it at this moment
                continue
            seen.append((file.name, status.st_mtime_ns, status.st_size))
        return tuple(seen)

    def _read_again(self) -> dict[str, Agent]:
        found: dict[str, Agent] = {}
        for file in files_in(self._folder):
            try:
                found[file.stem] = read_agent(file)
            except SettingsError as error:
                log.warning("%s; the agent stays as it was", error)
                if file.stem in self._agents:
                    found[file.stem] = self._agents[file.stem]
        try:
            _check_owners(found)
        except SettingsError as error:
            log.warning("%s; the first of them gets it", error)
        return found


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.toml"))


def check_folder(folder: Path) -> dict[str, Agent]:
    """The agents of `folder`, by name.

    Raises SettingsError for a file that is not a valid agent, and where two agents want the same
    key or number.
    """
    found = {file.stem: read_agent(file) for file in files_in(folder)}
    _check_owners(found)
    return found


def _check_owners(agents: dict[str, Agent]) -> None:
    owners: dict[tuple[str, int | str], str] = {}
    for agent in agents.values():
        wanted = [("key", key) for key in agent.keys]
        wanted += [("number", digits(number)) for number in agent.numbers]
        for what, one in wanted:
            owner = owners.setdefault((what, one), agent.name)
            if owner != agent.name:
                raise SettingsError(
                    f"the {what} {one!r} stands in the agents {owner} and {agent.name}; one {what} "
                    "can have only one agent"
                )
