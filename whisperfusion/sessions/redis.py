"""Sessions in a Redis server, which several servers may share.

Redis itself deletes what has expired. Each session is a hash (`record`, `updated`, `owner`); two
sorted sets, by expiry, list the sessions of each owner and all of them. What must not be torn apart
is a script, since another server may write between two commands. Nothing here waits longer than
`TIMEOUT_S`, and no error has the URL in it, because of its password.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from whisperfusion.errors import SettingsError
from whisperfusion.sessions.protocol import FACTS_DAYS, Facts, StoreError
from whisperfusion.sessions.session import BadRecord, Session
from whisperfusion.sessions.sqlite import facts_from_json

PREFIX = "whisperfusion:"
TIMEOUT_S = 1.0  # of one connection or command

# A deleted session stays as a hash with `deleted` until its call must be over (see `Store.save`).
# KEYS: the session, the index of its owner, the index of all. ARGV: see the calls.
SAVE = """
if redis.call('HEXISTS', KEYS[1], 'deleted') == 1 then return 0 end
redis.call('HSET', KEYS[1], 'record', ARGV[1], 'updated', ARGV[2], 'owner', ARGV[3])
redis.call('PEXPIREAT', KEYS[1], ARGV[4])
for index = 2, 3 do
  redis.call('ZREMRANGEBYSCORE', KEYS[index], '-inf', ARGV[6])
  redis.call('ZADD', KEYS[index], ARGV[4], ARGV[5])
  redis.call('PEXPIREAT', KEYS[index], redis.call('ZRANGE', KEYS[index], -1, -1, 'WITHSCORES')[2])
end
return 1
"""
TOUCH = """
if redis.call('HEXISTS', KEYS[1], 'record') == 0 then return 0 end
redis.call('HSET', KEYS[1], 'updated', ARGV[1])
redis.call('PEXPIREAT', KEYS[1], ARGV[2])
for _, index in ipairs({ARGV[4] .. redis.call('HGET', KEYS[1], 'owner'), ARGV[5]}) do
  redis.call('ZADD', index, ARGV[2], ARGV[3])
  redis.call('PEXPIREAT', index, redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')[2])
end
return 1
"""
DELETE = """
if redis.call('HEXISTS', KEYS[1], 'record') == 0 then return 0 end
for _, index in ipairs({ARGV[2] .. redis.call('HGET', KEYS[1], 'owner'), ARGV[3]}) do
  redis.call('ZREM', index, ARGV[4])
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'deleted', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
"""

log = logging.getLogger("sessions")


class RedisStore:
    """`url`: redis://, rediss:// or unix://. For the others see `SqliteStore`.

    Raises SettingsError where the package redis is missing or does not understand the URL.
    """

    def __init__(
        self,
        url: str,
        keep_s: float,
        longest_call_s: float = 3600.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keep_s, self._longest_call_s, self._clock = keep_s, longest_call_s, clock
        self._redis = _client(url)

    # --- sessions --------------------------------------------------------------------------------

    def load(self, id: str) -> Session | None:
        with _errors():
            record, updated = self._redis.hmget(_session(id), "record", "updated")
        return _read(record, updated)

    def save(self, session: Session) -> None:
        expires = session.updated + self._keep_s
        if self._keep_s <= 0 or expires <= self._clock():
            return
        with _errors():
            self._redis.eval(
                SAVE,
                3,
                _session(session.id),
                _index(session.owner),
                _index(None),
                session.to_json(),
                repr(session.updated),
                session.owner,
                _ms(expires),
                session.id,
                _ms(self._clock()),
            )

    def touch(self, ids: Iterable[str]) -> None:
        now = self._clock()
        with _errors():
            pipeline = self._redis.pipeline(transaction=False)
            for id in ids:
                pipeline.eval(
                    TOUCH,
                    1,
                    _session(id),
                    repr(now),
                    _ms(now + self._keep_s),
                    id,
                    _index(""),
                    _index(None),
                )
            pipeline.execute()

    def delete(self, id: str) -> bool:
        until = max(1, _ms(self._longest_call_s))
        with _errors():
            return bool(
                self._redis.eval(DELETE, 1, _session(id), until, _index(""), _index(None), id)
            )

    def list(
        self, owner: str | None = None, offset: int = 0, limit: int = 20
    ) -> tuple[Session, ...]:
        with _errors():
            ids = self._redis.zrevrangebyscore(
                _index(owner), "+inf", f"({_ms(self._clock())}", offset, limit
            )
            pipeline = self._redis.pipeline(transaction=False)
            for id in ids:
                pipeline.hmget(_session(id.decode()), "record", "updated")
            rows = pipeline.execute()
        return tuple(filter(None, (_read(*row) for row in rows)))

    def count(self, owner: str | None = None) -> int:
        with _errors():
            return int(self._redis.zcount(_index(owner), f"({_ms(self._clock())}", "+inf"))

    # --- facts of callers ------------------------------------------------------------------------

    def facts(self, owner: str, caller: str) -> Facts:
        with _errors():
            found = self._redis.get(_facts(owner, caller))
        return facts_from_json(found) if found else ()

    def save_facts(self, owner: str, caller: str, facts: Facts) -> None:
        with _errors():
            if facts:
                self._redis.set(_facts(owner, caller), json.dumps(facts), ex=FACTS_DAYS * 86400)
            else:
                self._redis.delete(_facts(owner, caller))

    def delete_facts(self, owner: str, caller: str) -> bool:
        with _errors():
            return bool(self._redis.delete(_facts(owner, caller)))

    # --- expiry ----------------------------------------------------------------------------------

    def purge(self) -> int:
        """Redis deletes sessions and facts itself; this takes them out of the index of all. That
        of an owner is trimmed by `save`, and expires with its last session.
        """
        with _errors():
            return int(self._redis.zremrangebyscore(_index(None), "-inf", _ms(self._clock())))

    def next_expiry(self) -> float | None:
        return None

    def close(self) -> None:
        self._redis.close()


def _client(url: str) -> Any:
    """Connects at the first command. Raises SettingsError."""
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError:
        raise SettingsError(
            "STORE_URL names a Redis server, which needs one more package: pip install redis"
        ) from None
    try:
        # No second try: it would double the wait for a server that does not answer. A connection
        # that a new server does not know is noticed before it is used.
        return redis.Redis.from_url(
            url,
            socket_connect_timeout=TIMEOUT_S,
            socket_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
    except (ValueError, TypeError):
        raise SettingsError(
            "STORE_URL cannot be read; write it like redis://:PASSWORD@host:6379/0"
        ) from None


@contextmanager
def _errors() -> Iterator[None]:
    """Raises StoreError for errors of the library."""
    import redis

    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise StoreError(f"Redis cannot be used ({error}); it is tried again by itself") from error


def _session(id: str) -> str:
    return f"{PREFIX}session:{id}"


def _index(owner: str | None) -> str:
    """The sorted set of an owner's sessions; None = of all sessions."""
    return f"{PREFIX}sessions" if owner is None else f"{PREFIX}sessions-of:{owner}"


def _facts(owner: str, caller: str) -> str:
    """Identities are not readable in the names of keys, which monitoring tools show."""
    name = hashlib.sha256(f"{owner}\0{caller}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"{PREFIX}facts:{name}"


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _read(record: bytes | None, updated: bytes | None) -> Session | None:
    """A record that cannot be read counts as missing, and the log says why."""
    if record is None or updated is None:
        return None
    try:
        return replace(Session.from_json(record), updated=float(updated))
    except (BadRecord, ValueError) as error:
        log.warning("a stored session was left out: %s", error)
        return None
