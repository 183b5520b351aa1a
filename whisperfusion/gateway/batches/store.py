"""Files and batches on disk, in one folder that one process has at a time.

    lock                      held while the folder is used
    files/ID.json, ID.bin     a file: what is known about it, then its content
    batches/ID/batch.json     a batch; beside it its input and the files of `ledger`

Every change is a new file that is renamed into place, so a process that is killed leaves the old
state or the new one. What is known is also held in memory. `file`, `files`, `batch` and `batches`
may be called anywhere; all other methods block, and one thread alone calls them.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from whisperfusion.errors import SettingsError
from whisperfusion.gateway.batches import state
from whisperfusion.gateway.batches.ledger import ERROR, OUTPUT, Ledger
from whisperfusion.gateway.batches.state import DAY_S, Batch
from whisperfusion.runtime.private_files import write
from whisperfusion.wire.openai_rest import ApiError

TOTAL_BYTES = 10_000_000_000  # of all files and results
SPARE_BYTES = 500_000_000  # of the disk that stay free for everything else
MOST_FILES, MOST_KEPT = 10_000, 1_000  # files, and batches with those that ended, of one owner
MOST_ACTIVE = 20  # batches of one owner that have not ended
INPUT = "input.jsonl"

log = logging.getLogger("gateway")


@dataclass(frozen=True)
class StoredFile:
    """`owner` is whose key uploaded it, or made the batch that it is a result of."""

    id: str
    owner: str
    filename: str
    purpose: str
    bytes: int
    created_at: int
    expires_at: int

    def body(self) -> dict[str, Any]:
        """As clients get it."""
        shown = {name: value for name, value in asdict(self).items() if name != "owner"}
        return {**shown, "object": "file", "status": "processed", "status_details": None}


class Store:
    """`open` first. Errors are ApiError."""

    def __init__(self, folder: Path, now: Callable[[], float]) -> None:
        self.folder, self.now = folder, now
        self._lock: BinaryIO | None = None
        self._files: dict[str, StoredFile] = {}
        self._batches: dict[str, Batch] = {}
        self._ledgers: dict[str, Ledger] = {}

    # --- the folder -----------------------------------------------------------------------------

    def open(self) -> None:
        """Take the folder, which is made if need be, and read it. Raises ApiError."""
        if self._lock is not None:
            return
        try:
            for name in ("files", "batches"):
                (self.folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = open(self.folder / "lock", "wb")  # noqa: SIM115 - held until `close`
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                raise _elsewhere() from None
            self._read()
            self.sweep()
            self._lock = lock
        except OSError as error:
            raise _broken(self.folder, error) from error

    def open_for_work(self) -> bool:
        """Take the folder if it has batches that have not ended: a server that needs it only to
        look leaves it to another one. Raises ApiError.
        """
        self.open()
        if any(batch.status in state.ACTIVE for batch in self.batches()):
            return True
        self.close()
        return False

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def sweep(self) -> None:
        """Delete what has expired, and contents that no file names."""
        now = self.now()
        for file in self.files():
            if file.expires_at <= now:
                self.delete_file(file.id)
        for batch in self.batches():
            if batch.ended_at is not None and batch.ended_at + max(DAY_S, batch.keep_s) <= now:
                self._forget(batch.id)
        for content in (self.folder / "files").iterdir():
            if content.name.partition(".")[0] not in self._files:
                content.unlink(missing_ok=True)

    def _read(self) -> None:
        self._files, self._batches, self._ledgers = {}, {}, {}
        for path in sorted((self.folder / "files").glob("file-*.json")):
            try:
                file = StoredFile(**json.loads(path.read_text()))
                self._files[file.id] = file
            except (OSError, ValueError, TypeError) as error:
                log.warning("%s cannot be read, so that file is gone: %s", path, error)
        for path in sorted((self.folder / "batches").glob("batch_*/batch.json")):
            try:
                batch = state.from_record(json.loads(path.read_text()))
                ledger = Ledger(path.parent)
                self._batches[batch.id], self._ledgers[batch.id] = batch, ledger
                if batch.status in state.ACTIVE:
                    ledger.load()
                else:  # the process may have ended before it was cleared
                    self.clear(batch.id)
            except (OSError, ValueError, LookupError, TypeError) as error:
                log.warning("%s cannot be read, so that batch is gone: %s", path, error)

    # --- files ----------------------------------------------------------------------------------

    def file(self, id: str) -> StoredFile | None:
        found = self._files.get(id)
        return found if found is not None and found.expires_at > self.now() else None

    def files(self) -> list[StoredFile]:
        """All of them, the oldest first."""
        return sorted(self._files.values(), key=lambda file: (file.created_at, file.id))

    def content(self, id: str) -> Path:
        return self.folder / "files" / f"{id}.bin"

    def add_file(
        self, content: BinaryIO, filename: str, purpose: str, owner: str, keep_s: int
    ) -> StoredFile:
        """Keep a copy of `content`. Raises ApiError."""
        size = content.seek(0, 2)
        content.seek(0)
        self.check_room(size, owner)
        if sum(1 for file in self._files.values() if file.owner == owner) >= MOST_FILES:
            raise _full(f"{MOST_FILES} files are kept for one key", owner)
        id = f"file-{secrets.token_hex(12)}"
        now = int(self.now())
        file = StoredFile(id, owner, filename, purpose, size, now, now + keep_s)
        try:
            with open(os.open(self.content(id), _NEW, 0o600), "wb") as out:
                shutil.copyfileobj(content, out, 1024 * 1024)
                os.fsync(out.fileno())
            self._keep(file)
        except (OSError, SettingsError) as error:
            self.content(id).unlink(missing_ok=True)
            raise _broken(self.folder, error) from error
        return file

    def check_room(self, size: int, owner: str) -> None:
        """Whether `size` more bytes of `owner` may be kept. Raises ApiError."""
        used: Counter[str] = Counter()
        for file in self._files.values():
            used[file.owner] += file.bytes
        for id, batch in self._batches.items():
            if batch.status in state.ACTIVE:
                used[batch.owner] += self._ledgers[id].size
        theirs = TOTAL_BYTES - TOTAL_BYTES // 4 if owner else TOTAL_BYTES
        if used[owner] + size > theirs or used.total() + size > TOTAL_BYTES:
            raise _full(f"files and results may have {TOTAL_BYTES / 1e9:g} GB", owner)
        if shutil.disk_usage(self.folder).free - size < SPARE_BYTES:
            raise _full("the disk of this server is full", owner)

    def delete_file(self, id: str) -> None:
        self._files.pop(id, None)
        (self.folder / "files" / f"{id}.json").unlink(missing_ok=True)
        self.content(id).unlink(missing_ok=True)

    def keep_until(self, ids: Collection[str], batch: Batch) -> None:
        """Files of its owner that a batch needs do not expire before it."""
        for id in ids:
            file = self._files.get(id)
            theirs = file is not None and file.owner == batch.owner
            if file is not None and theirs and file.expires_at < batch.expires_at:
                self._keep(replace(file, expires_at=batch.expires_at))

    def _keep(self, file: StoredFile) -> None:
        record = json.dumps(asdict(file)).encode()
        write(self.folder / "files" / f"{file.id}.json", record, "files are kept")
        self._files[file.id] = file

    # --- batches --------------------------------------------------------------------------------

    def batch(self, id: str) -> Batch | None:
        """With the counts of now."""
        batch = self._batches.get(id)
        if batch is None or batch.status not in ("in_progress", "finalizing", "cancelling"):
            return batch
        return replace(batch, counts=self._ledgers[id].counts(batch.counts.total))

    def batches(self) -> list[Batch]:
        """All of them, the oldest first."""
        found = [self.batch(id) for id in list(self._batches)]
        batches = [batch for batch in found if batch is not None]
        return sorted(batches, key=lambda batch: (batch.created_at, batch.id))

    def ledger(self, id: str) -> Ledger:
        return self._ledgers[id]

    def input(self, id: str) -> Path:
        return self.folder / "batches" / id / INPUT

    def add_batch(self, batch: Batch) -> None:
        """Its input stays, whatever becomes of the file. Raises ApiError."""
        folder = self.folder / "batches" / batch.id
        theirs = [one for one in self.batches() if one.owner == batch.owner]
        active = [one for one in theirs if one.status in state.ACTIVE]
        if len(active) >= MOST_ACTIVE:
            raise ApiError(
                429,
                f"{MOST_ACTIVE} batches of one key may be unfinished; wait for one, or cancel one",
                code="rate_limit_exceeded",
            )
        for old in theirs[: max(0, len(theirs) - MOST_KEPT + 1)]:
            if old.status in state.ENDED:
                self._forget(old.id)
        try:
            folder.mkdir(mode=0o700)
            try:
                os.link(self.content(batch.input_file_id), folder / INPUT)
            except OSError:  # a file system without links
                shutil.copyfile(self.content(batch.input_file_id), folder / INPUT)
            self._ledgers[batch.id] = Ledger(folder)
            self.save(batch)
        except (OSError, SettingsError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise _broken(self.folder, error) from error

    def save(self, batch: Batch) -> None:
        """Raises SettingsError."""
        record = json.dumps(state.to_record(batch)).encode()
        write(self.folder / "batches" / batch.id / "batch.json", record, "batches are kept")
        self._batches[batch.id] = batch

    def publish(self, batch: Batch) -> state.Published:
        """The results as files, which is done once however often it is begun. Raises OSError and
        SettingsError.
        """
        ledger = self._ledgers[batch.id]
        ids: list[str | None] = []
        for name, kind in ((OUTPUT, "output"), (ERROR, "error")):
            source = ledger.folder / name
            if not source.exists() or not source.stat().st_size:
                ids.append(None)
                continue
            id = f"file-{batch.id.removeprefix('batch_')}{kind[0]}"
            if not self.content(id).exists():
                try:
                    os.link(source, self.content(id))
                except OSError:
                    new = self.content(id).with_suffix(".new")
                    shutil.copyfile(source, new)
                    new.replace(self.content(id))
            now, size = int(self.now()), source.stat().st_size
            filename = f"{batch.id}_{kind}.jsonl"
            self._keep(
                StoredFile(id, batch.owner, filename, "batch_output", size, now, now + batch.keep_s)
            )
            ids.append(id)
        return state.Published(ids[0], ids[1], ledger.counts(batch.counts.total))

    def clear(self, id: str) -> None:
        """An ended batch needs neither its input nor its own copy of the results."""
        for path in (self.folder / "batches" / id).iterdir():
            if path.name != "batch.json":
                path.unlink(missing_ok=True)

    def _forget(self, id: str) -> None:
        self._batches.pop(id, None)
        self._ledgers.pop(id, None)
        shutil.rmtree(self.folder / "batches" / id, ignore_errors=True)


_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL


def _full(why: str, owner: str) -> ApiError:
    whose = "of this key " if owner else ""
    message = f"this cannot be kept: {why}; delete files {whose}that are not needed any more"
    return ApiError(507, message, code="storage_full")


def _broken(folder: Path, error: Exception) -> ApiError:
    log.error("files and batches cannot be kept in %s: %s", folder, error)
    message = "files and batches cannot be kept at the moment; the log of the server says why"
    return ApiError(503, message, code="storage_down", retry_after_s=10.0)


def _elsewhere() -> ApiError:
    message = (
        "another server of this machine works on the batches of this folder; ask that one, or give "
        "this one a STORE_URL (sqlite:///FOLDER/FILE) or a MODEL_CACHE_DIR of its own"
    )
    return ApiError(503, message, code="batches_elsewhere", retry_after_s=10.0)
