"""Memory that survives its call: the store of sessions, and of facts about callers."""

from whisperfusion.sessions.opening import keep_s, open_store
from whisperfusion.sessions.owners import owner_of
from whisperfusion.sessions.protocol import Facts, Store, StoreError
from whisperfusion.sessions.session import (
    BadRecord,
    Pending,
    Session,
    is_caller,
    is_id,
    may_resume,
    new_id,
)
from whisperfusion.sessions.writer import SessionWriter

__all__ = [
    "BadRecord",
    "Facts",
    "Pending",
    "Session",
    "SessionWriter",
    "Store",
    "StoreError",
    "is_caller",
    "is_id",
    "keep_s",
    "may_resume",
    "new_id",
    "open_store",
    "owner_of",
]
