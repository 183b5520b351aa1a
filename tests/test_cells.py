"""Two cells behind HAProxy: callers keep together what belongs together, and do not notice when
cells come and go, or go on elsewhere.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from itertools import count
from typing import Any

import httpx
import pytest
from cells import PATIENCE_S, Site, exited
from client import Caller
from redis_server import RedisServer
from stored_sessions import written

from whisperfusion.client import (
    ConnectionLost,
    Failed,
    Reconnected,
    ReplyAudio,
    ReplyDone,
    ReplyText,
    ServerBusy,
    ServerDown,
)

pytestmark = pytest.mark.sites

CALLERS = 6
MOST = 8  # calls of a cell
TRIES = 40
Again = tuple[type[Exception], ...]
BUSY: Again = (ServerBusy, ServerDown)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    redis = RedisServer(folder)
    redis.start()
    running = None
    try:
        running = Site(folder, DRAIN_S="600", STORE_URL=redis.url, MAX_CALLERS=str(MOST))
        yield running
    finally:
        if running is not None:
            running.stop()
        redis.kill()


async def opened(stack: AsyncExitStack, server: Any, again: Again = BUSY, **options: Any) -> Caller:
    """A caller, who comes again where the machine is too busy for the time-outs of a client, and
    where chance has sent more callers to a cell than it takes: each try is of another name.
    """
    for _ in range(TRIES):
        caller = Caller(server, resume_s=PATIENCE_S, **options)
        with suppress(*again):
            return await stack.enter_async_context(caller)
        await asyncio.sleep(0.05)
    raise AssertionError("no cell answers")


async def at(
    stack: AsyncExitStack, site: Site, *wanted: str, each: int = 1, audio: bool = True
) -> dict[str, list[Caller]]:
    """At least `each` callers at each of the `wanted` cells; those of other cells hang up."""
    found: dict[str, list[Caller]] = {name: [] for name in wanted}
    for _ in range(TRIES):
        if all(len(callers) >= each for callers in found.values()):
            return found
        async with AsyncExitStack() as one:
            caller = await opened(one, site, audio=audio)
            cell = site.cell_of(caller.call.uid)
            if cell in found and len(found[cell]) < each:
                found[cell].append(caller)
                stack.push_async_callback(one.pop_all().aclose)
    raise AssertionError(f"no callers came to {wanted}: {found}")


async def says(caller: Caller, words: str) -> None:
    """One turn, which is answered by voice."""
    done = len(caller.of(ReplyDone))
    await caller.call.say(words)
    await caller.until(lambda: len(caller.of(ReplyDone)) > done)


async def test_both_sockets_of_every_caller_reach_one_cell(site):
    cells: Counter[str] = Counter()
    async with AsyncExitStack() as stack:
        servers = (site, site.by_one_port) * CALLERS
        callers = await asyncio.gather(*(opened(stack, server) for server in servers))
        cells.update(site.cell_of(caller.call.uid) for caller in callers)
        await asyncio.gather(*(says(one, f"word {number}") for number, one in enumerate(callers)))
        for number, caller in enumerate(callers):
            assert f"word {number}" in caller.reply(1)
            assert caller.of(ReplyAudio)  # which came over the other socket
    assert set(cells) == {"cell1", "cell2"}


async def test_a_full_cell_is_skipped_and_when_all_are_full_the_caller_is_asked_to_wait(site):
    await asyncio.to_thread(site.until_idle)
    async with AsyncExitStack() as stack, httpx.AsyncClient(base_url=site.http_url) as http:
        admitted: Counter[str] = Counter()
        busy = None
        while busy is None:
            try:
                caller = await opened(stack, site, (ServerDown,))
            except ServerBusy as error:
                busy = error
            else:
                admitted[site.cell_of(caller.call.uid)] += 1
                await asyncio.to_thread(_seen_when_full, site, admitted)
        assert admitted == {"cell1": MOST, "cell2": MOST} and busy.minutes > 0
        assert (await http.get("/")).status_code == 200  # the page can still be opened
    await asyncio.to_thread(site.until_idle)


def _seen_when_full(site: Site, admitted: Counter[str]) -> None:
    for name, calls in admitted.items():
        if calls == MOST:
            site.until(name, "DOWN")


async def test_a_cell_that_drains_keeps_its_calls_and_gets_no_other(site):
    async with AsyncExitStack() as stack:
        (talking,) = (await at(stack, site, "cell1"))["cell1"]
        # a caller whose second socket comes when the cell drains already
        (late,) = (await at(stack, site, "cell1", audio=False))["cell1"]
        draining = site.cells["cell1"]
        draining.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(site.until, "cell1", "DOWN")
        await late.call.listen(True)
        assert site.cell_of(late.call.uid) == "cell1"
        for caller in (talking, late):
            await says(caller, "still here")
            assert "still here" in caller.reply(1) and caller.of(ReplyAudio)
        async with AsyncExitStack() as others:
            for _ in range(CALLERS):
                other = await opened(others, site)
                assert site.cell_of(other.call.uid) == "cell2"
    assert await exited(draining) == 0
    await asyncio.to_thread(site.restart, "cell1")


async def test_callers_of_a_cell_that_dies_go_on_at_the_other(site):
    async with AsyncExitStack() as stack:
        found = await at(stack, site, "cell1", "cell2", each=2)
        everyone = [*found["cell1"], *found["cell2"]]
        await asyncio.gather(*(says(one, f"i am {n}") for n, one in enumerate(everyone)))
        store = site.environment["STORE_URL"]  # which gets a turn when its callers have heard it
        await asyncio.gather(*(written(store, one.call.ready.session, 2) for one in everyone))
        site.cells["cell1"].kill()
        for caller in found["cell1"]:
            await caller.until(lambda caller=caller: caller.of(Reconnected))
            assert caller.of(Reconnected) == [Reconnected(True, 2)]
            assert site.cell_of(caller.call.uid) == "cell2"
        for number, caller in enumerate(everyone):
            await says(caller, f"again {number}")
            assert f"again {number}" in "".join(text.text for text in caller.of(ReplyText))
        for caller in found["cell2"]:
            assert not caller.of(ConnectionLost) and not caller.of(Failed)
    site.environment["DRAIN_S"] = "1"  # for what follows
    await asyncio.to_thread(site.restart, "cell1")


async def test_a_rolling_restart_costs_no_turn_that_its_caller_is_not_told_of(site):
    async with AsyncExitStack() as stack:
        found = await at(stack, site, "cell1", "cell2", each=2)
        callers = [*found["cell1"], *found["cell2"]]
        over = asyncio.Event()
        talking = [asyncio.create_task(_talks(caller, over)) for caller in callers]
        for name in ("cell1", "cell2"):
            old = site.cells[name]
            old.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(site.until, name, "DOWN")
            if name == "cell2":  # which is given no time
                old.process.send_signal(signal.SIGTERM)
            assert await exited(old) == 0
            await asyncio.to_thread(site.restart, name)
        over.set()
        turns = await asyncio.wait_for(asyncio.gather(*talking), 2 * PATIENCE_S)
        assert all(number > 2 for number in turns)


async def _talks(caller: Caller, over: asyncio.Event) -> int:
    """Turn after turn; each gets its answer, or its caller learns that it is lost. How many."""
    news = (ReplyDone, Failed, ConnectionLost)
    for number in count(1):
        known = sum(len(caller.of(kind)) for kind in news)
        await caller.call.say(f"turn {number}")
        await caller.until(lambda known=known: sum(len(caller.of(kind)) for kind in news) > known)
        if over.is_set():
            break
    await caller.until(lambda: len(caller.of(Reconnected)) == len(caller.of(ConnectionLost)))
    again = caller.of(Reconnected)
    assert again and all(one.resumed for one in again)
    return number
