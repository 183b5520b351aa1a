"""What is stored of a voice: `ID.json` with whose it is and who has consented, and `ID.wav`, the
sample that engines clone. Recordings of consents lie beside them in the same form.

The sample is written first and its entry last, each at once and readable for this user only, so a
voice is there whole or not at all. Deleting unlinks both, the entry first.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from whisperfusion.errors import WhisperFusionError
from whisperfusion.runtime import private_files
from whisperfusion.settings import Settings

MOST = 100  # of each kind that belong to one key
MOST_BYTES = 1_000_000_000  # of all samples of a kind: about 350 of the longest
FRESH_S = 2.0  # a folder that changed so lately may change again within one tick of its clock
LEFT_S = 3600.0  # a sample without an entry that is older was left by a process that died

log = logging.getLogger("voices")


class Full(WhisperFusionError):
    """No more can be stored; the message says what to delete."""


@dataclass(frozen=True)
class Consent:
    """Of the person who is heard in a sample: in words, or by the recording with the id
    `recording`. `at` is in Unix seconds.
    """

    by: str
    at: int
    words: str = ""
    recording: str = ""


@dataclass(frozen=True)
class CustomVoice:
    """`owner` is that of a session: the key that it was made with. `speech_s`: seconds of speech.
    `speakers`: as many as were heard, None = that was not checked.
    """

    id: str
    name: str
    created: int
    owner: str
    consent: Consent
    speech_s: float = 0.0
    speakers: int | None = None


@dataclass(frozen=True)
class ConsentRecording:
    """`name` is the client's label, `language` the tag of what is said."""

    id: str
    name: str
    created: int
    owner: str
    language: str


ID = re.compile(r"(?:voice|cons)_[0-9a-f]{24}")
Stored = CustomVoice | ConsentRecording
S = TypeVar("S", CustomVoice, ConsentRecording)


class Folder(Generic[S]):
    """All of one kind. Thread-safe; several processes may read while one writes."""

    def __init__(self, folder: Path, kind: type[S], prefix: str) -> None:
        self._folder, self._prefix = folder, prefix
        self._kind: type[S] = kind
        self._stamp: int | None = None
        self._found: tuple[S, ...] = ()
        self._lock = threading.Lock()

    def new_id(self) -> str:
        """Random, since without keys the id alone says whose something is."""
        return f"{self._prefix}_{secrets.token_hex(12)}"

    def is_id(self, text: str) -> bool:
        return text.startswith(f"{self._prefix}_") and ID.fullmatch(text) is not None

    def all(self) -> tuple[S, ...]:
        """The oldest first."""
        try:
            stamp = self._folder.stat().st_mtime_ns
        except OSError:
            return ()
        if stamp != self._stamp:
            entries = (self.get(file.stem) for file in self._folder.glob(f"{self._prefix}_*.json"))
            found = sorted(filter(None, entries), key=lambda one: (one.created, one.id))
            self._found = tuple(found)
            settled = time.time() - stamp / 1e9 > FRESH_S
            self._stamp = stamp if settled else None
        return self._found

    def of(self, owner: str) -> tuple[S, ...]:
        return tuple(one for one in self.all() if one.owner == owner)

    def get(self, id: str) -> S | None:
        """None: nothing, or nothing that can be read, is stored under `id`."""
        if not self.is_id(id):
            return None
        file = self._folder / f"{id}.json"
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            found: S = _entry(self._kind, {**values, "id": id})
            return found
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, LookupError) as error:
            log.warning("%s cannot be read (%s)", file, error)
            return None

    def sample(self, id: str) -> Path | None:
        """The file of its sample; None: it is not stored."""
        if not self.is_id(id) or not (self._folder / f"{id}.json").is_file():
            return None
        return self._folder / f"{id}.wav"

    def check_room(self, owner: str, size: int = 0) -> None:
        """Raises Full where another sample of `size` bytes would be too many."""
        if len(self.of(owner)) >= MOST:
            raise Full(f"{MOST} are stored already, which is the most of one key; delete some")
        held = sum(file.stat().st_size for file in self._folder.glob(f"{self._prefix}_*.wav"))
        if held + size > MOST_BYTES:
            raise Full(f"this server stores at most {MOST_BYTES // 10**6} MB of them; delete some")

    def add(self, entry: S, wav: bytes) -> None:
        """Raises Full, and SettingsError where the folder cannot be written."""
        with self._lock:
            self._sweep()
            self.check_room(entry.owner, len(wav))
            self._write(f"{entry.id}.wav", wav)
            self._write_entry(entry)

    def rename(self, id: str, name: str) -> S | None:
        """The entry under its new name; None: it is gone."""
        with self._lock:
            found = self.get(id)
            if found is not None:
                found = replace(found, name=name)
                self._write_entry(found)
            return found

    def delete(self, id: str) -> bool:
        """Whether it was there. Raises OSError."""
        if not self.is_id(id):
            return False
        with self._lock:
            there = (self._folder / f"{id}.json").is_file()
            for kind in ("json", "wav"):
                (self._folder / f"{id}.{kind}").unlink(missing_ok=True)
            return there

    def _write_entry(self, entry: S) -> None:
        values = {name: value for name, value in asdict(entry).items() if name != "id"}
        self._write(f"{entry.id}.json", json.dumps(values, indent=1).encode() + b"\n")

    def _write(self, name: str, content: bytes) -> None:
        private_files.write(self._folder / name, content, "the samples of voices are kept")

    def _sweep(self) -> None:
        """What a process left that died while it wrote."""
        for file in self._folder.glob(f"{self._prefix}_*.wav*"):
            with contextlib.suppress(OSError):
                alone = not (self._folder / f"{file.name.partition('.')[0]}.json").is_file()
                if alone and time.time() - file.stat().st_mtime > LEFT_S:
                    file.unlink()


def voices_of(settings: Settings) -> Folder[CustomVoice]:
    return Folder(settings.state_dir / "voices", CustomVoice, "voice")


def consents_of(settings: Settings) -> Folder[ConsentRecording]:
    return Folder(settings.state_dir / "voices", ConsentRecording, "cons")


def _entry(kind: type[S], values: Mapping[str, Any]) -> S:
    """Raises TypeError and LookupError for what is not one."""
    known: dict[str, Any] = {one.name: values[one.name] for one in fields(kind)}
    if "consent" in known:
        known["consent"] = Consent(**known["consent"])
    return kind(**known)
