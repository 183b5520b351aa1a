"""Runs tools in an event loop on a thread of its own, which starts with the first of them.

A tool never raises into the turn that uses it: whatever happens is an `Outcome`. One that takes
longer than its time limit is cancelled and left behind, so that it costs that time and no more.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, TypeVar

from whisperfusion.messages import Labelled
from whisperfusion.tools.running import BoundTool, Invocation, Outcome, ReportedError, ToolError

MOST_AT_ONCE = 64  # tools that run at once, of all calls
END_S = 10.0  # for what was cancelled to close its connections and processes
T = TypeVar("T")
log = logging.getLogger("tools")


class Runner:
    """Thread-safe. `uses`, `failures` and `seconds` count by name of the tool."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running = 0
        self.uses: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.seconds: dict[str, float] = {}

    def start(self, bound: BoundTool, invocation: Invocation) -> Future[Outcome]:
        """Cancelling the future cancels the tool."""
        return self.submit(self._outcome(bound, invocation))

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run `work` in the event loop of the tools."""
        return asyncio.run_coroutine_threadsafe(work, self._started())

    def metrics(self) -> tuple[Labelled, ...]:
        """What the tools have done so far, by name."""
        counted: tuple[tuple[str, Mapping[str, float]], ...] = (
            ("tool_calls_total", self.uses),
            ("tool_failures_total", self.failures),
            ("tool_seconds_total", self.seconds),
        )
        return tuple(
            Labelled(metric, (("tool", name),), float(counts.get(name, 0)))
            for name in sorted(self.uses)
            for metric, counts in counted
        )

    def stop(self) -> None:
        """Ends the event loop; tools that still run are cancelled."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_run, args=(self._loop,), name="tools", daemon=True).start()
            return self._loop

    async def _outcome(self, bound: BoundTool, invocation: Invocation) -> Outcome:
        name, began = bound.counted_as or bound.tool.name, time.monotonic()
        if self._running >= MOST_AT_ONCE:
            outcome = _failure("the server runs too many tools now")
        else:
            self._running += 1
            try:
                outcome = await self._result(bound, invocation)
            finally:
                self._running -= 1
        seconds = time.monotonic() - began
        self.uses[name] += 1
        self.failures[name] += outcome.failed
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        return replace(outcome, seconds=seconds)

    async def _result(self, bound: BoundTool, invocation: Invocation) -> Outcome:
        name, limit_s = bound.tool.name, bound.tool.time_limit_s
        try:
            return Outcome(await _within(limit_s, bound.run(invocation)))
        except asyncio.TimeoutError:
            log.warning("the tool %s gave no result within %g s", name, limit_s)
            return _failure(f"it gave no result within {limit_s:g} s")
        except ReportedError as error:
            return Outcome(str(error), failed=True)
        except ToolError as error:
            return _failure(str(error))
        except Exception as error:  # its text may be anything: a key in a URL, a caller's words
            log.warning("the tool %s failed: %s", name, type(error).__name__)
            log.debug("the tool %s failed", name, exc_info=error)
            return _failure(f"it failed ({type(error).__name__})")


def _failure(reason: str) -> Outcome:
    return Outcome(reason, failed=True, own=True)


def checked(bound: BoundTool, arguments: str) -> dict[str, Any]:
    """The model's `arguments`, JSON as text, as the tool takes them. Raises ToolError."""
    try:
        given = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise ToolError(f"the arguments of {bound.tool.name} are not a JSON object")
    return bound.check(given)


async def _within(limit_s: float, work: Any) -> str:
    """The result of `work`; asyncio.TimeoutError after `limit_s`, also where it ignores that it
    is cancelled.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=limit_s)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not done:
        task.cancel()
        raise asyncio.TimeoutError
    return str(task.result())


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=END_S))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
