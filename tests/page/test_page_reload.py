"""A conversation survives a reload of its page, and a button begins another one."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
import pytest_asyncio
from chromium import bubble, opened, state, talking, type_line
from fake_sockets import READY, serving
from playwright.async_api import expect

from whisperfusion.messages import ChatMessage
from whisperfusion.sessions import Session, new_id, open_store

pytestmark = pytest.mark.asyncio(loop_scope="session")

SAID = (ChatMessage("user", "Who built it?"), ChatMessage("assistant", "Ada did."))
STORED = "JSON.parse(sessionStorage['whisperfusion-session'] ?? null)?.id"


@pytest.fixture
def store(server, tmp_path):
    """What the fake server's sessions are kept in, as far as the gateway reads them."""
    settings = server.settings(store_url=f"sqlite://{tmp_path}/s.sqlite3")
    opened_store = open_store(settings)
    yield settings, opened_store
    opened_store.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser, server, store):
    async with serving(store[0], dict(READY)) as address:
        async with opened(browser, address, allowed=["status of 404"]) as page:
            yield page


def kept(server, store, history=SAID) -> str:
    """The id of a stored session, which the server gives to its next call."""
    now = time.time()
    session = replace(Session(new_id(), now, now), history=history)
    store[1].save(session)
    server.ready_fields["session"] = session.id
    return session.id


async def reloaded(page) -> None:
    await page.reload()
    await page.wait_for_selector("body[data-loaded]")


async def test_the_session_and_what_was_said_come_back(page, server, store):
    id = kept(server, store)
    await talking(page, server)
    assert await page.evaluate(STORED) == id and not await page.evaluate("localStorage.length")
    await reloaded(page)
    await state(page, "idle")
    await expect(bubble(page, "user").locator(".text")).to_have_text(["Who built it?"])
    await expect(bubble(page, "assistant").locator(".text")).to_have_text(["Ada did."])
    server.ready_fields |= {"resumed": True, "messages": 2}
    await type_line(page, "When?")
    call = await server.call(1)
    assert call.handshake["session"] == id
    await server.until(lambda: call.told("say"))
    await expect(bubble(page, "user")).to_have_count(2)


async def test_an_answer_that_the_reload_cut_off_is_awaited(page, server, store):
    kept(server, store, SAID[:1])
    await talking(page, server)
    await reloaded(page)
    await expect(bubble(page, "user")).to_have_count(1)
    server.ready_fields |= {"resumed": True, "messages": 1, "pending": True}
    await page.click("#talk")
    call = await server.call(1)
    await state(page, "thinking")
    await call.event("reply", turn=1, index=0, text="Sorry, I was interrupted.", last=True)
    await expect(bubble(page, "assistant")).to_have_count(1)
    assert not call.told("respond")


async def test_a_button_begins_another_conversation(page, server, store):
    first = kept(server, store)
    await talking(page, server)
    await expect(page.locator("#anew")).to_be_hidden()  # nothing was said
    await reloaded(page)
    await expect(bubble(page, "assistant")).to_have_count(1)
    await page.click("#talk")
    call = await server.call(1)
    assert call.handshake["session"] == first
    await state(page, "listening")
    second = kept(server, store)
    await page.get_by_role("button", name="New conversation").click()
    again = await server.call(2)
    assert "session" not in again.handshake and again.handshake["history"] == []
    await state(page, "listening")
    await expect(page.locator(".bubble")).to_have_count(0)
    await expect(page.locator("#welcome")).to_be_visible()
    assert await page.evaluate(STORED) == second


async def test_hanging_up_keeps_the_session_and_ends_the_answer(page, server, store):
    id = kept(server, store)
    call = await talking(page, server)
    await call.event("turn", turn=1, text="Count")
    await state(page, "thinking")
    await page.click("#talk")
    await server.until(lambda: call.told("interrupt"))
    await page.click("#talk")
    assert (await server.call(1)).handshake["session"] == id


@pytest.mark.parametrize("why", ["too old", "deleted"])
async def test_what_the_server_has_forgotten_is_forgotten_here(page, server, store, why):
    id = kept(server, store)
    await talking(page, server)
    await page.click("#talk")
    if why == "deleted":
        store[1].delete(id)
    else:
        old = json.dumps({"id": id, "at": 1000 * (time.time() - store[0].resume_s - 5)})
        await page.evaluate(f"sessionStorage['whisperfusion-session'] = {json.dumps(old)}")
    await reloaded(page)
    if why == "deleted":
        await page.evaluate(f"until(() => !{STORED})")
    await page.click("#talk")
    call = await server.call(1)
    assert "session" not in call.handshake
    await expect(page.locator(".bubble")).to_have_count(0)
