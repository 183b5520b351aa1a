"""Sessions in one SQLite file of this machine, which several processes use at once.

WAL mode lets readers go on while one process writes. What is deleted is overwritten with zeros and
taken out of the log too. The file is opened at the first use and again after every error, or when
another file has its place: a broken file or a full disk costs only the sessions of that time.
"""

from __future__ import annotations

import json
import logging
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from whisperfusion.sessions.protocol import FACTS_DAYS, Facts, StoreError
from whisperfusion.sessions.session import BadRecord, Session

BUSY_S = 2.0  # the longest wait for another process that writes
SCHEMA = 1
# Deleted sessions stay as an empty `record` until their call must be over (see `Store.save`).
TABLES = """
CREATE TABLE IF NOT EXISTS sessions(
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, updated REAL NOT NULL, expires REAL NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS sessions_by_owner ON sessions(owner, updated);
CREATE INDEX IF NOT EXISTS sessions_by_expiry ON sessions(expires);
CREATE TABLE IF NOT EXISTS facts(
    owner TEXT NOT NULL, caller TEXT NOT NULL, expires REAL NOT NULL, facts TEXT NOT NULL,
    PRIMARY KEY(owner, caller)
);
"""
ALIVE = "record <> '' AND expires > :now AND (:owner IS NULL OR owner = :owner)"

log = logging.getLogger("sessions")


class SqliteStore:
    """`keep_s`: seconds that a session is kept after its last sign of life; 0 = none is stored.
    `longest_call_s`: how long a deleted id is remembered. `clock` tells Unix time.
    """

    def __init__(
        self,
        file: Path,
        keep_s: float,
        longest_call_s: float = 3600.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file, self._keep_s, self._longest_call_s = file, keep_s, longest_call_s
        self._clock = clock
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None

    # --- sessions --------------------------------------------------------------------------------

    def load(self, id: str) -> Session | None:
        with self._transaction() as db:
            row = db.execute(
                f"SELECT updated, record FROM sessions WHERE id = :id AND {ALIVE}",  # noqa: S608
                {"id": id, "now": self._clock(), "owner": None},
            ).fetchone()
        return _read(*row) if row else None

    def save(self, session: Session) -> None:
        if self._keep_s <= 0:
            return
        values = {
            "id": session.id,
            "owner": session.owner,
            "updated": session.updated,
            "expires": session.updated + self._keep_s,
            "record": session.to_json(),
        }
        with self._transaction() as db:
            db.execute(
                "INSERT INTO sessions VALUES(:id, :owner, :updated, :expires, :record) "
                "ON CONFLICT(id) DO UPDATE SET owner = :owner, updated = :updated, "
                "expires = :expires, record = :record WHERE record <> ''",
                values,
            )

    def touch(self, ids: Iterable[str]) -> None:
        now = self._clock()
        rows = [(now, now + self._keep_s, id) for id in ids]
        with self._transaction() as db:
            db.executemany(
                "UPDATE sessions SET updated = ?, expires = ? WHERE id = ? AND record <> ''", rows
            )

    def delete(self, id: str) -> bool:
        now = self._clock()
        with self._transaction() as db:
            changed = db.execute(
                "UPDATE sessions SET record = '', owner = '', updated = 0, "  # noqa: S608
                f"expires = :until WHERE id = :id AND {ALIVE}",
                {"id": id, "now": now, "owner": None, "until": now + self._longest_call_s},
            ).rowcount
        if changed:
            self._empty_log()
        return changed > 0

    def list(
        self, owner: str | None = None, offset: int = 0, limit: int = 20
    ) -> tuple[Session, ...]:
        with self._transaction() as db:
            rows = db.execute(
                f"SELECT updated, record FROM sessions WHERE {ALIVE} "  # noqa: S608
                "ORDER BY updated DESC, id LIMIT :limit OFFSET :offset",
                {"now": self._clock(), "owner": owner, "limit": limit, "offset": offset},
            ).fetchall()
        return tuple(filter(None, (_read(*row) for row in rows)))

    def count(self, owner: str | None = None) -> int:
        with self._transaction() as db:
            (found,) = db.execute(
                f"SELECT COUNT(*) FROM sessions WHERE {ALIVE}",  # noqa: S608
                {"now": self._clock(), "owner": owner},
            ).fetchone()
        return int(found)

    # --- facts of callers ------------------------------------------------------------------------

    def facts(self, owner: str, caller: str) -> Facts:
        with self._transaction() as db:
            row = db.execute(
                "SELECT facts FROM facts WHERE owner = ? AND caller = ? AND expires > ?",
                (owner, caller, self._clock()),
            ).fetchone()
        return facts_from_json(row[0]) if row else ()

    def save_facts(self, owner: str, caller: str, facts: Facts) -> None:
        if not facts:
            self.delete_facts(owner, caller)
            return
        expires = self._clock() + FACTS_DAYS * 86400
        with self._transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO facts VALUES(?, ?, ?, ?)",
                (owner, caller, expires, json.dumps(facts)),
            )

    def delete_facts(self, owner: str, caller: str) -> bool:
        with self._transaction() as db:
            changed = db.execute(
                "DELETE FROM facts WHERE owner = ? AND caller = ?", (owner, caller)
            ).rowcount
        if changed:
            self._empty_log()
        return changed > 0

    # --- expiry ----------------------------------------------------------------------------------

    def purge(self) -> int:
        now = self._clock()
        with self._transaction() as db:
            sessions, facts = (
                db.execute(f"DELETE FROM {table} WHERE expires <= ?", (now,)).rowcount  # noqa: S608
                for table in ("sessions", "facts")
            )
        if sessions or facts:
            self._empty_log()
        return int(sessions + facts)

    def next_expiry(self) -> float | None:
        with self._transaction() as db:
            (first,) = db.execute(
                "SELECT MIN(first) FROM (SELECT MIN(expires) AS first FROM sessions "
                "UNION ALL SELECT MIN(expires) FROM facts)"
            ).fetchone()
        return None if first is None else float(first)

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    # --- the file --------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one transaction at a time. Raises StoreError."""
        with self._lock:
            try:
                connection = self._connect()
                with connection:
                    yield connection
            except (sqlite3.Error, OSError) as error:
                self._disconnect()
                raise StoreError(_why(self._file, error)) from error

    def _connect(self) -> sqlite3.Connection:
        if self._connection is not None and _inode(self._file) == self._inode:
            return self._connection
        self._disconnect()
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # SQLite gives its own files beside it the same mode. An existing file is not opened here:
        # closing it would release the locks that other connections of this process have on it.
        with suppress(FileExistsError):
            os.close(os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        self._file.chmod(0o600)
        self._connection, self._inode = _opened(self._file), _inode(self._file)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._inode = None

    def _empty_log(self) -> None:
        """Takes deleted text out of the write-ahead log; a reader at work puts it off."""
        with self._lock:
            try:
                if self._connection is not None:
                    self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as error:
                log.debug("the log of %s was not emptied: %s", self._file, error)


def _opened(file: Path) -> sqlite3.Connection:
    """A connection whose file is in WAL mode and has the tables.

    SQLite does not wait for other processes that do the same at that moment, so this does.
    """
    give_up = time.monotonic() + BUSY_S
    while True:
        connection = sqlite3.connect(file, timeout=BUSY_S, check_same_thread=False)
        try:
            for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "secure_delete=ON"):
                connection.execute(f"PRAGMA {pragma}")
            _make_tables(connection)
            return connection
        except sqlite3.Error as error:
            connection.close()
            if "locked" not in str(error) or time.monotonic() > give_up:
                raise
        time.sleep(random.uniform(0.005, 0.05))


def _make_tables(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA:
        raise sqlite3.DatabaseError("a newer release of this server made it")
    if version < SCHEMA:  # two processes may both come here
        with connection:
            for statement in TABLES.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={SCHEMA}")


def _inode(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _read(updated: float, record: str) -> Session | None:
    """A record that cannot be read counts as missing, and the log says why."""
    try:
        return replace(Session.from_json(record), updated=updated)
    except BadRecord as error:
        log.warning("a stored session was left out: %s", error)
        return None


def facts_from_json(text: str | bytes) -> Facts:
    """The facts; a malformed record has none."""
    try:
        found = json.loads(text)
    except ValueError:
        return ()
    return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list) else ()


def _why(file: Path, error: sqlite3.Error | OSError) -> str:
    text = str(error)
    if "full" in text or "I/O" in text or isinstance(error, OSError):
        advice = "make room there, or name another folder with MODEL_CACHE_DIR"
    elif isinstance(error, sqlite3.OperationalError):
        advice = "it is tried again by itself"
    else:
        advice = "move the file away, and a new one is made"
    return f"{file} cannot be used ({error}); {advice}"
