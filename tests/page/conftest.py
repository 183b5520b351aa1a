"""The page in Chromium, before scripted sockets. One Chromium for all files, hence one event loop."""

from __future__ import annotations

import pytest_asyncio
from chromium import ELSEWHERE, browser_with, opened
from fake_sockets import READY, fake_server, serving


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser():
    async with browser_with(f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1") as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def server():
    async with fake_server() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def address(server):
    async with serving(server.settings(allowed_hosts=ELSEWHERE), dict(READY)) as address:
        yield address


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser, address):
    async with opened(browser, address) as page:
        yield page
