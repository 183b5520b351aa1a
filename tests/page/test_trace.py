"""/trace: the spans of a turn as a waterfall, from this server and from a file."""

from __future__ import annotations

import json
from importlib import resources

from chromium import browser_with, opened
from client import Caller, spoken
from playwright.async_api import expect
from running import SCRIPTED, Server

from whisperfusion.client import Latency

AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


async def violations(page) -> list[str]:
    await page.evaluate(AXE)
    found = await page.evaluate("axe.run(document)")
    return [one["id"] for one in found["violations"]]


async def test_the_last_turn_of_a_server_and_a_file_of_it_are_drawn(tmp_path):
    server = Server(*SCRIPTED, f"--trace-dir={tmp_path}/traces").wait_ready()
    try:
        async with Caller(server) as caller:
            await caller.speak(spoken("alpha beta"))
            await caller.answered()
            await caller.until(lambda: caller.of(Latency))
        files = tmp_path / "traces"
        server.wait_for(
            lambda: all(
                f'"{name}"' in "".join(one.read_text() for one in files.glob("*.jsonl"))
                for name in ("call", "turn", "chat echo", "synthesis")
            )
        )
        async with browser_with() as browser:
            async with opened(browser, f"{server.http_url}/trace", color_scheme="dark") as page:
                await page.click("#load")
                await expect(page.locator("#turns option")).to_have_count(1)
                names = await page.locator("#spans button").all_text_contents()
                assert names[0] == "turn"
                assert {"vad", "transcription", "endpointing", "chat echo", "synthesis"} < set(
                    names
                )
                assert await page.locator("rect.bar.llm").count() >= 1
                await page.locator("#spans button", has_text="chat echo").last.press("Enter")
                await expect(page.locator("#details-title")).to_have_text("chat echo")
                await expect(page.locator("#attributes")).to_contain_text("gen_ai.request.model")
                assert await violations(page) == []
                drawn = await page.locator("#spans tr").count()
                whole = tmp_path / "whole.json"
                lines = "".join(one.read_text() for one in files.glob("*.jsonl")).splitlines()
                parts = [part for line in lines for part in json.loads(line)["resourceSpans"]]
                whole.write_text(json.dumps({"resourceSpans": parts}))
                await page.set_input_files("#file", whole)
                await expect(page.locator("#notice")).to_contain_text("whole.json")
                assert await page.locator("#spans tr").count() == drawn
                broken = tmp_path / "broken.json"
                broken.write_text("{")
                await page.set_input_files("#file", broken)
                await expect(page.locator("#notice")).to_have_text(
                    "There are no spans in broken.json."
                )
                await expect(page.locator("#picture")).to_be_hidden()
    finally:
        server.stop()


async def test_a_server_without_traces_says_how_to_have_them(scripted_server):
    async with browser_with() as browser:
        address = f"{scripted_server.http_url}/trace"
        async with opened(browser, address, color_scheme="light") as page:
            await page.click("#load")
            await expect(page.locator("#notice")).to_contain_text("TRACE_DIR=FOLDER")
            assert await violations(page) == []
