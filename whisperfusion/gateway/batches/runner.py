"""Works off the requests of all batches, a few at once, when callers leave the server time.

A request waits until the process that it needs is ready and no load is shed for callers; then it
gives way to them as every recording and text does (docs/architecture.md, "Under load"). What a
result is and whether it is there already is the business of `ledger`: a request counts as done when
its line is on disk, so after a kill the lines that are missing are done, and no other.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from whisperfusion.errors import SettingsError
from whisperfusion.gateway.batches import input as batch_input
from whisperfusion.gateway.batches import lines, state
from whisperfusion.gateway.batches.attempts import Attempts, ProcessLost, result_id
from whisperfusion.gateway.batches.input import Line
from whisperfusion.gateway.batches.requests import Requests
from whisperfusion.gateway.batches.rotation import Rotation
from whisperfusion.gateway.batches.state import Batch
from whisperfusion.gateway.batches.store import Store
from whisperfusion.runtime.rate_limits import TooMany
from whisperfusion.wire.openai_rest import ApiError

AT_ONCE = 2  # requests: one is decoded or written while the other is recognized
EXPIRED = "This request could not be executed before the completion window expired."
T = TypeVar("T")
P = ParamSpec("P")

log = logging.getLogger("gateway")


@dataclass(frozen=True)
class Pace:
    """How long the runner waits, in seconds."""

    look_s: float = 1.0  # between two looks at whether callers leave time
    busy_s: float = 5.0  # after a refusal
    down_s: float = 10.0  # after a process was lost; by then main has noticed it
    disk_s: float = 60.0  # after the disk was full
    house_s: float = 60.0  # between two looks at what has expired


@dataclass
class Work:
    """What is left of a batch: lines that wait, and those that are being done."""

    route: str
    waiting: deque[Line]
    running: set[asyncio.Task[None]] = field(default_factory=set)


class Runner:
    """`running` while the gateway runs. `prefix` is that of the API; `busy`: whether callers need
    the whole server now.
    """

    def __init__(
        self,
        store: Store,
        requests: Requests,
        prefix: str,
        busy: Callable[[], bool],
        pace: Pace = Pace(),
    ) -> None:
        self._store, self._requests, self._prefix, self._busy = store, requests, prefix, busy
        self._pace = pace
        self._thread = ThreadPoolExecutor(1, "batches")  # so changes of the disk have an order
        self._attempts = Attempts(store, requests, self._thread)
        self._works: dict[str, Work] = {}
        self._rotation = Rotation()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._changed, self._changing = asyncio.Event(), asyncio.Lock()
        self._begun = False
        self._not_before = 0.0  # by the monotonic clock

    # --- for the gateway and the routes ---------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        if self._store.folder.is_dir():
            self._spawn(self._resume_earlier())
        try:
            yield
        finally:
            tasks = {*self._tasks, *(task for one in self._works.values() for task in one.running)}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._thread.submit(self._store.close)
            self._thread.shutdown(wait=False)

    async def disk(self, function: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """What `function` returns, called in the thread of the store, which is opened if need be.

        Raises ApiError and what `function` raises.
        """
        if not self._begun:
            await self._call(self._store.open)
            self._resume()
        return await self._call(function, *args, **named)

    def metrics(self) -> tuple[tuple[str, float], ...]:
        """For /metrics."""
        active = sum(batch.status in state.ACTIVE for batch in self._store.batches())
        return (
            ("active_batches", float(active)),
            ("batch_requests_total", float(self._attempts.done)),
            ("batch_requests_failed_total", float(self._attempts.failed)),
            ("batch_files_bytes", float(sum(file.bytes for file in self._store.files()))),
        )

    def submit(self, batch: Batch) -> None:
        """A batch that was added to the store."""
        self._spawn(self._prepare(batch))

    async def cancel(self, id: str) -> Batch:
        """The batch, which is being cancelled; requests that are being done are stopped, too."""
        batch = await self._apply(id, state.Cancel())
        if batch.status == "cancelling":
            self._spawn(self._end(id))
        return batch

    # --- from the first look to the end of a batch ----------------------------------------------

    async def _resume_earlier(self) -> None:
        """Batches of before. A predecessor that is ending may still have the folder."""
        while not self._begun:
            try:
                if not await self._call(self._store.open_for_work):
                    return
                self._resume()
            except ApiError as problem:
                log.debug("batches of before are not gone on with yet: %s", problem)
                await asyncio.sleep(self._pace.down_s)

    def _resume(self) -> None:
        """The store is open: go on with what it has."""
        if self._begun:
            return
        self._begun = True
        for batch in self._store.batches():
            if batch.status in ("finalizing", "cancelling"):
                self._spawn(self._end(batch.id))
            elif batch.status in state.ACTIVE:
                self._spawn(self._prepare(batch))
        for _ in range(AT_ONCE):
            self._spawn(self._worker())
        self._spawn(self._keep_house())

    async def _prepare(self, batch: Batch) -> None:
        while True:
            try:
                await self._validate(batch)
                return
            except FileNotFoundError:
                wrong = state.BatchError("server_error", "The input is not there any more.")
                await self._apply(batch.id, state.Rejected((wrong,)))
                return
            except (OSError, SettingsError) as error:
                log.error("%s cannot be begun yet: %s", batch.id, error)
                await asyncio.sleep(self._pace.disk_s)

    async def _validate(self, batch: Batch) -> None:
        """Read the input, and let the requests wait that have no result. Raises OSError and
        SettingsError.
        """
        path = self._store.input(batch.id)
        found = await asyncio.to_thread(batch_input.scan, path, batch.endpoint)
        if found.errors:
            await self._apply(batch.id, state.Rejected(found.errors))
            await self._call(self._store.clear, batch.id)
            return
        await self._call(self._store.keep_until, found.files, batch)
        now = await self._apply(batch.id, state.Validated(len(found.lines)))
        if now.status == "in_progress":
            done = self._store.ledger(batch.id).done
            left = deque(line for line in found.lines if line.custom_id not in done)
            self._works[batch.id] = Work(route_of(batch.endpoint, self._prefix) or "", left)
            self._changed.set()
            await self._end_if_done(batch.id)

    async def _end_if_done(self, id: str) -> None:
        work = self._works.get(id)
        if work is not None and not work.waiting and not work.running:
            del self._works[id]
            await self._apply(id, state.Done())
            await self._end(id)

    async def _end(self, id: str) -> None:
        """Publish what there is, when nothing of it is being done any more."""
        work = self._works.pop(id, None)
        tasks = list(work.running) if work is not None else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while True:
            try:
                batch = self._store.batch(id)
                if batch is not None and batch.status in state.ACTIVE:
                    await self._apply(id, await self._call(self._store.publish, batch))
                    await self._call(self._store.clear, id)
                return
            except (OSError, SettingsError) as error:
                log.error("the results of %s cannot be written yet: %s", id, error)
                await asyncio.sleep(self._pace.disk_s)

    async def _expire(self, batch: Batch) -> None:
        work = self._works.pop(batch.id, None)
        if work is None:
            return
        tasks = list(work.running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        ledger = self._store.ledger(batch.id)
        for line in work.waiting:
            result = lines.unanswered(
                result_id(batch, line), line.custom_id, "batch_expired", EXPIRED
            )
            await self._call(ledger.append, line.custom_id, result, True)
        await self._end(batch.id)

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(self._pace.house_s)
            try:
                for batch in self._store.batches():
                    if batch.status == "in_progress" and batch.expires_at <= self._store.now():
                        await self._expire(batch)
                await self._call(self._store.sweep)
            except OSError as error:
                log.error("what has expired cannot be deleted: %s", error)

    # --- one request ----------------------------------------------------------------------------

    async def _worker(self) -> None:
        while True:
            try:
                batch, work, line = await self._next()
            except Exception:
                log.exception("which request of a batch is next cannot be decided now")
                await asyncio.sleep(self._pace.disk_s)
                continue
            task = asyncio.create_task(self._do(batch, work, line))
            work.running.add(task)
            await asyncio.wait((task,))
            work.running.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("%s, line %d waits again: %r", batch.id, line.number, error)
                work.waiting.append(line)
                self._pause(self._pace.disk_s)
            await self._end_if_done(batch.id)

    async def _next(self) -> tuple[Batch, Work, Line]:
        while True:
            waiting = [(id, work) for id, work in self._works.items() if work.waiting]
            if not waiting:
                self._changed.clear()
                await self._changed.wait()
                continue
            ready = {work.route: False for _, work in waiting}
            if not self._busy() and time.monotonic() >= self._not_before:
                ready = {route: await self._requests.ready(route) for route in ready}
            able = [self._store.batch(id) for id, work in waiting if ready[work.route]]
            batch = self._rotation.choose(one for one in able if one is not None)
            # while it was asked, another worker may have had the last line
            work = self._works.get(batch.id) if batch is not None else None
            if batch is not None and work is not None and work.waiting:
                return batch, work, work.waiting.popleft()
            if batch is None:
                await asyncio.sleep(self._pace.look_s)

    async def _do(self, batch: Batch, work: Work, line: Line) -> None:
        """Its result is on disk afterwards, or it waits again. Raises OSError."""
        try:
            await self._attempts.make(batch, work.route, line)
        except asyncio.CancelledError:
            work.waiting.appendleft(line)
            raise
        except (TooMany, ProcessLost) as problem:
            work.waiting.appendleft(line)
            lost = isinstance(problem, ProcessLost)
            self._pause(self._pace.down_s if lost else self._pace.busy_s)

    def _pause(self, seconds: float) -> None:
        self._not_before = time.monotonic() + seconds

    # --- small things ---------------------------------------------------------------------------

    async def _apply(self, id: str, event: state.Event) -> Batch:
        """The batch after the event, which is on disk."""
        async with self._changing:
            before = self._store.batch(id)
            assert before is not None, id
            after = state.receive(before, event, self._store.now())
            if after is not before:
                await self._call(self._store.save, after)
            return after

    async def _call(self, function: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: function(*args, **named))

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("batches: %r", error, exc_info=error)


def route_of(endpoint: str, prefix: str) -> str | None:
    """The route of an endpoint without the API's prefix; OpenAI's own prefix is known too."""
    for known in (prefix, "/v1"):
        route = endpoint.removeprefix(known)
        if route != endpoint and route.startswith("/audio/"):
            return route
    return None
