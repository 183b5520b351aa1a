"""The key of the client whose request is served, for the sockets behind the gateway and for what
belongs to a key.

A context variable, since a request and all tasks that it starts are one context: no layer between
the access middleware and the upstream sockets has to hand a key on that it has no use for.
"""

from __future__ import annotations

from contextvars import ContextVar

_KEY: ContextVar[str] = ContextVar("client_key", default="")


def client_key() -> str:
    """The key that the request was admitted with; "" = none, outside of a request too."""
    return _KEY.get()


def set_client_key(key: str) -> None:
    """For the rest of this request."""
    _KEY.set(key)
