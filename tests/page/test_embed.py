"""whisperfusion.js in the page of another site: the example of twenty lines, the types, another
origin.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import copyfile
from threading import Thread

import pytest
from chromium import PATIENCE_S
from fake_sockets import READY, serving
from playwright.async_api import expect

from whisperfusion.paths import WEB

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def converse(page, server) -> None:
    await page.click("#talk")
    call = await server.call()
    await server.until(lambda: len(call.audio) > 4)
    await expect(page.locator("#state")).to_have_text("listening")
    await call.event("caption", text="what is", final=False, start=0, end=1)
    await expect(page.locator("#lines li")).to_have_text(["user: what is"])
    await call.event("turn", turn=1, text="What is it?")
    await call.event("reply", turn=1, index=0, text="A test.", last=True)
    await expect(page.locator("#lines li")).to_have_text(
        ["user: What is it?", "assistant: A test."]
    )
    await call.order("start", turn=1)
    await call.sound(440, 0.3)
    await call.order("end", turn=1)
    await server.until(lambda: call.told("heard"))
    await page.fill("[name=line]", "And now?")
    await page.keyboard.press("Enter")
    await server.until(lambda: call.told("say"))
    await page.click("#talk")
    await expect(page.locator("#state")).to_have_text("idle")


async def test_the_example_of_twenty_lines_converses(browser, address, server):
    context = await browser.new_context()
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_S * 1000)
    await page.goto(f"{address}/static/example.html")
    await converse(page, server)
    assert (WEB / "example.html").read_text().count("\n") <= 25
    await context.close()


@asynccontextmanager
async def elsewhere(folder: Path) -> AsyncIterator[str]:
    """The origin of a site that serves the files of a folder."""

    class Elsewhere(SimpleHTTPRequestHandler):
        def __init__(self, *arguments) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_) -> None:
            pass

    site = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    Thread(target=site.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{site.server_address[1]}"
    finally:
        await asyncio.to_thread(site.shutdown)
        site.server_close()


async def test_the_npm_package_works_alone(browser, server, tmp_path):
    """The files that package.json names and no other, from a site of their own."""
    package = json.loads((WEB / "package.json").read_text())
    folder = tmp_path / "node_modules" / package["name"]
    folder.mkdir(parents=True)
    for name in package["files"]:
        copyfile(WEB / name, folder / name)
    entry = package["exports"]["."]
    assert (folder / entry["types"]).is_file()
    imports = {package["name"]: f"./node_modules/{package['name']}/{entry['default'][2:]}"}
    example = (WEB / "example.html").read_text()
    script = '<script type="module">'
    example = example.replace(
        script, f'<script type="importmap">{json.dumps({"imports": imports})}</script>{script}'
    ).replace('"./whisperfusion.js"', f'"{package["name"]}"')
    async with elsewhere(tmp_path) as origin:
        settings = server.settings(cors_origins=origin)
        async with serving(settings, dict(READY)) as address:
            (tmp_path / "index.html").write_text(
                example.replace("new Conversation()", f'new Conversation("{address}")')
            )
            page = await browser.new_page()
            await page.goto(origin)
            await converse(page, server)
            await page.close()


@pytest.mark.parametrize("listed", [True, False])
async def test_a_page_of_another_origin_needs_to_be_listed(browser, server, tmp_path, listed):
    """The example, served from somewhere else, with the module from here."""
    async with (
        elsewhere(tmp_path) as origin,
        serving(server.settings(cors_origins=origin if listed else ""), dict(READY)) as address,
    ):
        example = (
            (WEB / "example.html")
            .read_text()
            .replace('"./whisperfusion.js"', f'"{address}/static/whisperfusion.js"')
        )
        (tmp_path / "index.html").write_text(example)
        context = await browser.new_context()
        page = await context.new_page()
        refused = asyncio.Event()
        page.on(
            "console",
            lambda message: message.type == "error" and "CORS" in message.text and refused.set(),
        )
        await page.goto(origin)
        if listed:
            await converse(page, server)
        else:
            await asyncio.wait_for(refused.wait(), PATIENCE_S)
        await context.close()


async def test_the_types_name_what_is_there():
    types, code = (WEB / "whisperfusion.d.ts").read_text(), (WEB / "whisperfusion.js").read_text()
    declared = types[types.index("export class Conversation") :]
    for name in re.findall(r"^  (?:readonly )?(\w+)[(<:]", declared[: declared.index("\n}")], re.M):
        assert name == "constructor" or re.search(
            rf"^  (?:async |get )?{name}\(|this\.{name} = ", code, re.M
        ), name
    told = set(re.findall(r'this\.emit\("(\w+)"', code))
    events = types[types.index("export interface Events") :]
    assert told == set(re.findall(r"^  (\w+): \(", events[: events.index("\n}")], re.M))
    options = types[types.index("export interface Options") :]
    declared = set(re.findall(r"^  (\w+)\?:", options[: options.index("\n}")], re.M))
    defaults = set(
        re.findall(r"(\w+): ", code[code.index("this.options = {") : code.index("...options }")])
    )
    used = (
        defaults
        | set(re.findall(r"this\.options\.(\w+)", code))
        | {"instructions", "voice", "speed", "language", "eagerness"}
    )
    assert used == declared, used ^ declared
