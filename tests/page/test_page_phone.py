"""'Use on your phone', pairing in the page, the page that installs the authority, and the page as
an app.
"""

from __future__ import annotations

import json
import re

import pytest
import pytest_asyncio
from chromium import opened, type_line
from fake_sockets import READY, serving
from playwright.async_api import expect
from test_page_settings import RULES, complaints

from whisperfusion.gateway.page import WEB

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def secure(server, tmp_path):
    """The address on this machine, which needs neither TLS nor a key."""
    settings = server.settings(
        https="auto", model_cache_dir=str(tmp_path), allowed_hosts="192.168.7.7"
    )
    async with serving(settings, dict(READY)) as address:
        yield address.replace("https", "http", 1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_panel_shows_both_codes_and_makes_new_ones(browser, secure, scheme):
    async with opened(browser, secure, color_scheme=scheme) as page:
        await page.click("#phone-show")
        codes = page.locator("#phone li svg")
        await expect(codes).to_have_count(2)
        assert await codes.first.evaluate(
            "(svg) => svg.clientWidth > 150 && svg.clientHeight > 150"
        )
        link = page.locator("#phone-open a")
        first = await link.get_attribute("href")
        assert first.startswith("https://192.168.7.7:") and "#pair=" in first
        assert await link.text_content() == first.partition("#")[0]
        assert await complaints(page, RULES) == []
        await page.click("#phone-again")
        await expect(link).not_to_have_attribute("href", first)
        await page.keyboard.press("Escape")
        await expect(page.locator("#phone")).not_to_be_visible()


async def test_without_https_there_is_no_panel(page):
    await expect(page.locator("#phone-show")).to_be_hidden()


@pytest.mark.parametrize("typed", [False, True])
async def test_a_scanned_or_typed_pairing_key_lets_a_device_in_for_good(
    browser, server, secure, typed
):
    """A proxy's header makes the browser another client; else this machine would need no key."""
    async with opened(browser, secure) as page:
        await page.click("#phone-show")
        await expect(page.locator("#phone-open svg")).to_be_visible()
        url = await page.locator("#phone-open a").get_attribute("href")
    key = url.partition("#pair=")[2]
    context = await browser.new_context(
        ignore_https_errors=True, extra_http_headers={"X-Forwarded-For": "192.168.7.9"}
    )
    page = await context.new_page()
    place = secure.replace("http", "https", 1)
    await page.goto(place if typed else f"{place}/#pair={key}")
    if typed:
        await expect(page.locator("#secret-title")).to_contain_text("not paired")
        await page.fill("#secret-value", "wrong")
        await page.press("#secret-value", "Enter")
        await expect(page.locator("#secret-wrong")).not_to_be_empty()
        await page.fill("#secret-value", key)
        await page.press("#secret-value", "Enter")
    await page.wait_for_selector("body[data-loaded]")
    assert "pair" not in page.url
    await page.reload()
    await page.wait_for_selector("body[data-loaded]")
    await type_line(page, "Hello")
    call = await server.call()
    assert "token=" in call.asr.request.path
    await context.close()


@pytest.mark.parametrize(
    ("agent", "shown"),
    [("iPhone; CPU iPhone OS 18_0", "ios"), ("Linux; Android 15", "android"), ("X11", "computer")],
)
async def test_the_install_page_opens_the_steps_of_the_device(browser, secure, agent, shown):
    context = await browser.new_context(
        user_agent=f"Mozilla/5.0 ({agent}) AppleWebKit", locale="de-DE", color_scheme="dark"
    )
    page = await context.new_page()
    await page.goto(f"{secure}/install#pair=abc")
    await expect(page.locator("#print")).to_be_visible()
    opened_now = await page.locator("details[open]").get_attribute("data-for")
    assert opened_now == shown
    await expect(page.locator("h1")).to_contain_text("Einmal für dieses Gerät")
    assert (
        await page.locator("#open").get_attribute("href")
        == f"{secure.replace('http', 'https', 1)}/#pair=abc"
    )
    assert await complaints(page, RULES) == []
    await context.close()


async def test_the_install_page_has_every_text_in_every_language():
    text = (WEB / "install.js").read_text()
    tables = [
        json.loads("{" + re.sub(r",\s*$", "", body) + "}")
        for body in re.findall(r"^const \w\w = \{\n(.*?)\n\};", text, re.S | re.M)
    ]
    for file in sorted((WEB / "texts" / "install").glob("*.js")):
        (body,) = re.findall(r"^export default \{\n(.*?)\n\};", file.read_text(), re.S | re.M)
        tables.append(json.loads("{" + re.sub(r",\s*$", "", body) + "}"))
    assert len(tables) == 8
    for table in tables:
        assert table.keys() == tables[0].keys()
        for key, words in table.items():
            places = [set(re.findall(r"\{\w+\}", one)) for one in (words, tables[0][key])]
            assert places[0] == places[1] and words.strip(), key
    used = set(re.findall(r'data-t="([^"]+)"', (WEB / "install.html").read_text()))
    assert used <= tables[0].keys()


async def test_the_page_can_be_installed_as_an_app(page, address):
    session = await page.context.new_cdp_session(page)
    manifest = await session.send("Page.getAppManifest")
    assert manifest["errors"] == [] and manifest["url"] == f"{address}/static/app.webmanifest"
    told = json.loads(manifest["data"])
    assert {icon["sizes"] for icon in told["icons"]} >= {"192x192", "512x512"}
    for icon in told["icons"]:
        answer = await page.request.get(f"{address}/static/{icon['src']}")
        assert answer.headers["content-type"] == icon["type"] and len(await answer.body()) < 20_000
    problems = (await session.send("Page.getInstallabilityErrors"))["installabilityErrors"]
    assert [one["errorId"] for one in problems if one["errorId"] != "in-incognito"] == []
