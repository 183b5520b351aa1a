"""One attempt at one request of a batch: its line is read, answered, and the result put on disk.

An attempt that a process did not survive counts, on disk, so that a request which ends the gateway
or the recognizer each time is given up; one that was refused, cancelled or stopped does not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from whisperfusion.errors import WhisperFusionError
from whisperfusion.gateway.batches import input as batch_input
from whisperfusion.gateway.batches import lines
from whisperfusion.gateway.batches.input import Line
from whisperfusion.gateway.batches.requests import Requests
from whisperfusion.gateway.batches.state import Batch
from whisperfusion.gateway.batches.store import Store
from whisperfusion.runtime.rate_limits import WAIT_S, TooMany
from whisperfusion.wire.openai_rest import ApiError

MOST_TRIES = 3  # of a request during which a process ended
GIVEN_UP = (
    f"a process of the server ended {MOST_TRIES} times while this request was being done; see its "
    "log, and send the request by itself"
)
T = TypeVar("T")

log = logging.getLogger("gateway")


class ProcessLost(WhisperFusionError):
    """The process that was asked ended, or does not answer."""


class Attempts:
    """`thread` is that of the store. `done` and `failed` count results since the start."""

    def __init__(self, store: Store, requests: Requests, thread: ThreadPoolExecutor) -> None:
        self._store, self._requests, self._thread = store, requests, thread
        self.done = self.failed = 0

    async def make(self, batch: Batch, route: str, line: Line) -> None:
        """The result is on disk afterwards. Raises OSError, TooMany and ProcessLost."""
        ledger, id = self._store.ledger(batch.id), result_id(batch, line)
        if ledger.tried(line.number) >= MOST_TRIES:
            result = lines.unanswered(id, line.custom_id, "server_error", GIVEN_UP)
            await self._record(batch, line, result, failed=True)
            return
        try:
            await self._call(lambda: ledger.start(line.number))
            result, failed = await self._answered(batch, route, line)
            await asyncio.shield(self._record(batch, line, result, failed))
        except (asyncio.CancelledError, TooMany, OSError):
            self._thread.submit(ledger.interrupted, line.number)
            raise

    async def _answered(self, batch: Batch, route: str, line: Line) -> tuple[bytes, bool]:
        """The line of its result, and whether it failed."""
        id = result_id(batch, line)

        def file(name: str) -> Path | None:
            stored = self._store.file(name)
            theirs = stored is not None and stored.owner == batch.owner
            return self._store.content(name) if theirs else None

        path = self._store.input(batch.id)
        request = await asyncio.to_thread(batch_input.read, path, line, batch.endpoint)
        try:
            body = await self._requests.answer(route, request.body, file)
            return await asyncio.to_thread(lines.answered, id, line.custom_id, 200, body), False
        except ApiError as problem:
            if problem.status == 503:
                raise ProcessLost(problem.message) from problem
            if problem.status == 429:
                raise TooMany(problem.message, WAIT_S) from problem
            return lines.answered(id, line.custom_id, problem.status, problem.body()), True
        except TooMany:
            raise
        except Exception:
            log.exception("%s, line %d failed", batch.id, line.number)
            bug = ApiError(500, "this server failed at it; its log has the details")
            return lines.answered(id, line.custom_id, 500, bug.body()), True

    async def _record(self, batch: Batch, line: Line, result: bytes, failed: bool) -> None:
        """Write the result; without room for it, that is the result. Raises OSError."""

        def write() -> bool:
            try:
                self._store.check_room(len(result), batch.owner)
                written, bad = result, failed
            except ApiError as problem:
                id = result_id(batch, line)
                written, bad = lines.answered(id, line.custom_id, 507, problem.body()), True
            self._store.ledger(batch.id).append(line.custom_id, written, bad)
            return bad

        bad = await self._call(write)
        self.done += 1
        self.failed += bad

    async def _call(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)


def result_id(batch: Batch, line: Line) -> str:
    return f"batch_req_{batch.id.removeprefix('batch_')}{line.number:05x}"
