"""Which store the settings ask for. Nothing is opened here: a store connects at its first use."""

from __future__ import annotations

from pathlib import Path

from whisperfusion.sessions.guarded import GuardedStore
from whisperfusion.sessions.protocol import Store
from whisperfusion.sessions.sqlite import SqliteStore
from whisperfusion.settings import Settings

FILE = "sessions.sqlite3"
SQLITE = "sqlite://"


def keep_s(settings: Settings) -> float:
    """How long a session is kept after its last sign of life, in seconds."""
    return max(settings.resume_s, settings.session_days * 86400)


def open_store(settings: Settings) -> Store | None:
    """The store that STORE_URL names, for a server; None = sessions are off. Raises SettingsError
    where the library for it is missing.
    """
    store = bare_store(settings)
    return None if store is None else GuardedStore(store)


def bare_store(settings: Settings) -> Store | None:
    """The same for a command, which tells of each error itself."""
    url = settings.store_url
    if url == "none":
        return None
    if url and not url.startswith(SQLITE):
        from whisperfusion.sessions.redis import RedisStore

        return RedisStore(url, keep_s(settings), settings.max_call_s)
    file = Path(url.removeprefix(SQLITE)) if url else settings.state_dir / FILE
    return SqliteStore(file.expanduser(), keep_s(settings), settings.max_call_s)
