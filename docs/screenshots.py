"""Takes the pictures of docs/: the real server, human recordings as the microphone, Chromium.

`make screenshots`.

It needs what the tests need: Chromium, and the recordings (WHISPERFUSION_SPEECH names their
folder).
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from chromium import MICROPHONE, browser_with, bubble, opened, state  # noqa: E402
from client import Caller  # noqa: E402
from playwright.async_api import Browser, Page, expect  # noqa: E402
from running import SCRIPTED, Server  # noqa: E402

SPEECH = Path(os.environ.get("WHISPERFUSION_SPEECH", ROOT.parent / "shared" / "data" / "speech"))
QUESTION, INTERRUPTION, LAST = "riva-nlp.flac", "kyutai-dog-or-cat.flac", "rh3-what_time_is_it.flac"
PATIENCE_MS = 60_000
DESKTOP: dict[str, Any] = {"viewport": {"width": 1200, "height": 760}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 720},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
TINY: dict[str, Any] = {
    "viewport": {"width": 320, "height": 568},
    "is_mobile": True,
    "has_touch": True,
}
SEEN = 'localStorage.setItem("whisperfusion-settings", \'{"cues": false, "personality": "brief"}\')'


def recording(name: str) -> str:
    """WAV, as base64."""
    pcm, rate = soundfile.read(SPEECH / name)
    file = io.BytesIO()
    soundfile.write(file, pcm, rate, format="WAV")
    return base64.b64encode(file.getvalue()).decode()


async def converse(page: Page) -> None:
    """A question, its answer cut short by another one, and the answer to that."""
    await page.click("#talk")
    await state(page, "listening")
    await page.evaluate("speak", recording(QUESTION))
    await state(page, "speaking")
    await page.evaluate(
        "until(() => whisperfusion.log.some(({ what, seconds }) => what === 'spoken' && seconds > "
        "1.5))"
    )
    await page.evaluate("speak", recording(INTERRUPTION))
    await expect(bubble(page, "assistant").nth(1).locator(".latency")).to_be_visible(
        timeout=PATIENCE_MS
    )
    await page.evaluate("until(() => whisperfusion.state === 'listening')")
    speaking = asyncio.create_task(page.evaluate("speak", recording(LAST)))
    await expect(bubble(page, "user").nth(2).locator(".word").first).to_be_visible(
        timeout=PATIENCE_MS
    )
    await speaking


async def phone(browser: Browser) -> None:
    """The panel with the codes, and what a phone sees first, of a server with HTTPS=auto."""
    with tempfile.TemporaryDirectory() as cache:
        flags = ("--https=auto", "--allowed-hosts=192.168.1.20", f"--model-cache-dir={cache}")
        server = Server(*SCRIPTED, *flags).wait_ready()
        try:
            async with opened(browser, server.http_url, **DESKTOP) as page:
                await page.click("#phone-show")
                await expect(page.locator("#phone-open svg")).to_be_visible()
                await page.locator("#phone").screenshot(path=ROOT / "docs" / "phone-panel.png")
            agent = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)"
            page = await browser.new_page(**PHONE, user_agent=agent)
            await page.goto(f"{server.http_url}/install")
            await expect(page.locator("#print")).to_be_visible()
            await page.screenshot(path=ROOT / "docs" / "phone-install.png")
        finally:
            server.stop()


async def trace(browser: Browser) -> None:
    """The spans of a turn, of a server with TRACE_DIR and the default models."""
    pcm, rate = soundfile.read(SPEECH / INTERRUPTION, dtype="float32")
    pause = np.zeros(rate, np.float32)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(f"--trace-dir={folder}").wait_ready(600)
        try:
            async with Caller(server) as caller:
                for turn in (1, 2):  # the first one warms the caches
                    await caller.speak(np.concatenate((pause, pcm, pause, pause)), live=True)
                    await caller.answered(turn)
            async with opened(browser, f"{server.http_url}/trace", **DESKTOP) as page:
                await page.click("#load")
                await expect(page.locator("#spans tr").first).to_be_visible()
                await page.screenshot(
                    path=ROOT / "docs" / "trace.png", full_page=True, animations="disabled"
                )
        finally:
            server.stop()


async def main() -> None:
    server = Server().wait_ready(600)
    try:
        async with (
            browser_with() as browser,
            opened(browser, f"{server.http_url}/dashboard", **DESKTOP) as dashboard,
        ):
            dark = {**DESKTOP, "color_scheme": "dark"}
            for name, options in (
                ("page", DESKTOP),
                ("page-dark", dark),
                ("page-phone", PHONE),
                ("page-320", TINY),
            ):
                async with opened(browser, server.http_url, [SEEN, MICROPHONE], **options) as page:
                    if name == "page-dark":
                        await page.click("#inside-toggle")
                    await converse(page)
                    await page.screenshot(path=ROOT / "docs" / f"{name}.png", animations="disabled")
                    print(
                        json.dumps(
                            {
                                "picture": name,
                                "lines": await page.locator(".bubble .text").all_text_contents(),
                            }
                        )
                    )
            await dashboard.bring_to_front()
            await dashboard.wait_for_timeout(5000)  # its next looks at the numbers
            await dashboard.screenshot(
                path=ROOT / "docs" / "dashboard.png", full_page=True, animations="disabled"
            )
            await phone(browser)
            await trace(browser)
    finally:
        server.stop()


if __name__ == "__main__":
    asyncio.run(main())
