"""What a user prefers, in which language and colours the page comes, and whether every user can
use it.
"""

from __future__ import annotations

import json
import re
from importlib import resources

import pytest
from chromium import answering, bubble, opened, state, talking, type_line
from fake_sockets import READY
from playwright.async_api import expect

from whisperfusion.gateway.page import WEB

pytestmark = pytest.mark.asyncio(loop_scope="session")

AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
LARGEST_PAGE = 155_000  # bytes, everything that one visit loads


async def choose(page, **values) -> None:
    await page.click("#settings-open")
    for name, value in values.items():
        control = page.locator(f'#settings [name="{name}"]')
        if await control.get_attribute("type") == "checkbox":
            await control.set_checked(value)
        elif await control.evaluate("node => node.tagName") == "SELECT":
            await control.select_option(value)
        else:
            await control.fill(value)
            await control.dispatch_event("change")
    await page.keyboard.press("Escape")
    await expect(page.locator("#settings")).to_be_hidden()


async def test_settings_are_told_to_the_server_and_kept_after_a_reload(page, server):
    own = "You are a pirate."
    await choose(
        page,
        language="de",
        personality="own",
        instructions=own,
        eagerness="0.8",
        speed="1.3",
        theme="dark",
        denoise=True,
    )
    call = await talking(page, server)
    told = {
        name: call.handshake[name] for name in ("language", "instructions", "eagerness", "speed")
    }
    assert told == {"language": "de", "instructions": own, "eagerness": 0.8, "speed": 1.3}
    await page.click("#talk")
    await page.reload()
    await page.wait_for_selector("body[data-loaded]")
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    await page.click("#settings-open")
    shown = {
        name: await page.locator(f'#settings [name="{name}"]').input_value()
        for name in ("language", "instructions", "eagerness")
    }
    assert shown == {"language": "de", "instructions": own, "eagerness": "0.8"}
    assert await page.locator('#settings [name="denoise"]').is_checked()
    await page.keyboard.press("Escape")
    await page.click("#talk")
    again = await server.call(1)
    assert again.handshake["instructions"] == own and again.handshake["language"] == "de"


async def test_changes_hold_at_once_and_all_can_be_set_back(page, server):
    call = await talking(page, server)
    assert not {"instructions", "voice", "language"} & set(call.handshake)  # the server's own
    await choose(page, speed="1.5", personality="brief")
    await server.until(lambda: len(call.told("update")) >= 2)
    speed, personality = call.told("update")[:2]
    assert (
        speed == {"type": "update", "speed": 1.5}
        and "one short sentence" in personality["instructions"]
    )
    await page.click("#settings-open")
    await page.click("#settings-reset")
    await server.until(lambda: len(call.told("update")) >= 3)
    assert call.told("update")[-1] == {"type": "update", "instructions": "", "speed": 1}


async def test_voices_come_from_the_server(page, server):
    call = await talking(page, server)
    stage = {"state": "ready", "engine": "hibari", "model": "m"}
    await call.event("stage", name="tts", voices=["Ada", "Bert"], **stage)
    options = page.locator('#settings [name="voice"] option')
    await expect(options).to_have_text(["The server's default", "Ada", "Bert"])
    await choose(page, voice="Bert")
    await server.until(lambda: call.told("update"))
    assert call.told("update")[-1] == {"type": "update", "voice": "Bert"}
    # a voice that is gone stays chosen, and is seen to be
    await call.event("stage", name="tts", voices=["Ada"], **stage)
    await expect(page.locator('#settings [name="voice"]')).to_have_value("Bert")


async def test_nonsense_in_the_browsers_storage_is_no_reason_to_fail(browser, address, server):
    nonsense = (
        'localStorage.setItem("whisperfusion-settings", \'{"speed": "fast", "theme": '
        '"dark", "evil": 1}\')'
    )
    async with opened(browser, address, [nonsense]) as page:
        await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        await page.click("#settings-open")
        await expect(page.locator('#settings [name="speed"]')).to_have_value("1")


# --- languages ----------------------------------------------------------------------------------


def tables() -> dict[str, dict[str, str]]:
    text = (WEB / "texts.js").read_text()
    found = re.findall(r"^const (\w\w) = \{\n(.*?)\n\};", text, re.S | re.M)
    for file in (WEB / "texts").glob("*.js"):
        (body,) = re.findall(r"^export default \{\n(.*?)\n\};", file.read_text(), re.S | re.M)
        found.append((file.stem, body))
    return {code: json.loads("{" + re.sub(r",\s*$", "", body) + "}") for code, body in found}


async def test_every_language_has_every_text():
    found = tables()
    named = re.search(r"NAMES = \{(.*)\}", (WEB / "texts.js").read_text())
    assert named and set(re.findall(r"(\w\w): ", named[1])) == set(found) and len(found) == 8
    for code, table in found.items():
        assert found["en"].keys() == table.keys(), code
        for key, text in found["en"].items():
            places = [set(re.findall(r"\{\w+\}", one)) for one in (text, table[key])]
            assert places[0] == places[1] and table[key].strip(), (code, key)
    used = set(re.findall(r'data-t(?:-\w+)?="([^"]+)"', (WEB / "index.html").read_text()))
    assert used <= found["en"].keys(), used - found["en"].keys()


async def test_a_language_of_a_file_is_loaded_when_it_is_asked_for(browser, address, server):
    japanese, spanish = tables()["ja"], tables()["es"]
    async with opened(browser, address, locale="ja-JP") as page:
        await expect(page.locator("html")).to_have_attribute("lang", "ja")
        await expect(page.locator("#welcome .lead")).to_have_text(japanese["lead"])
        await expect(page.locator("#state-text")).to_have_text(japanese["state.idle"])
        call = await talking(page, server)
        await call.event("turn", turn=1, text="¿Qué hora es?", language="es")
        spoken = page.locator("#log .spoken-language")
        await expect(spoken).to_have_text("スペイン語")
        await expect(page.locator("#log .text")).to_have_attribute("lang", "es")
        await choose(page, interface="es")
        await expect(page.locator("html")).to_have_attribute("lang", "es")
        await expect(page.locator("#welcome .lead")).to_have_text(spanish["lead"])
        await call.event("turn", turn=2, text="Ja", language="")
        await expect(spoken).to_have_count(1)
        await call.event("caption", text="Hola", final=True, speaker="Ann")
        await call.event("turn", turn=3, text="Hola")
        await call.event("caption", text="Y ahora", final=True, speaker="B", ignored=True)
        shown = page.locator("#log .speaker")
        await expect(shown).to_have_text(["Ann", f"B \u00b7 {spanish['ignored']}"])
        await call.event("caption", text="Oye", final=False)  # the next turn is another line
        await expect(page.locator("#log .bubble")).to_have_count(5)


async def test_the_page_speaks_the_browsers_language_and_any_other_on_request(
    browser, address, server
):
    german = tables()["de"]
    async with opened(browser, address, locale="de-AT") as page:
        await expect(page.locator("html")).to_have_attribute("lang", "de")
        await expect(page.locator("#welcome .lead")).to_have_text(german["lead"])
        await expect(page.locator("#line")).to_have_attribute("placeholder", german["type.here"])
        await expect(page.locator("#state-text")).to_have_text(german["state.idle"])
        call = await talking(page, server)
        await call.event("speech_started", at=0.4)
        await expect(page.locator("#state-text")).to_have_text(german["state.hearing"])
        await choose(page, interface="en")
        await expect(page.locator("#state-text")).to_have_text("I hear you")
        await expect(page.locator("html")).to_have_attribute("lang", "en")


# --- for all users ------------------------------------------------------------------------------


async def complaints(page, rules) -> list[str]:
    """What axe-core finds serious or critical."""
    await page.evaluate(AXE)
    found = await page.evaluate("rules => axe.run(document, { runOnly: rules })", rules)
    bad = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    return [
        f"{one['id']}: {one['help']}: {[node['html'][:120] for node in one['nodes'][:3]]}"
        for one in bad
    ]


@pytest.mark.parametrize(("scheme", "rules"), [("light", RULES), ("dark", ["color-contrast"])])
async def test_axe_finds_nothing_serious(browser, address, server, scheme, rules):
    """In the dark only the colours are others."""
    async with opened(browser, address, color_scheme=scheme, reduced_motion="reduce") as page:
        assert await complaints(page, rules) == []
        call = await talking(page, server)
        await call.event("turn", turn=1, text="Tell me a story")
        await call.event(
            "reply", turn=1, index=0, text="Once upon a time there was a king.", last=True
        )
        steps = {
            "stopped": 60,
            "words": 210,
            "decided": 300,
            "first_token": 380,
            "first_clause": 420,
            "first_sound": 615,
        }
        await call.event("latency", turn=1, **steps, reused=True)
        await answering(page, call, 1, 0.5)
        await call.order("end", turn=1)
        await state(page, "listening")
        await expect(bubble(page, "assistant").locator(".play")).to_be_visible()
        await call.event("interrupted", turn=1, heard="Once upon")
        await call.event("error", code="tts_failed", message="The voice failed", turn=1)
        await call.event(
            "caption", text="what is the time", stable=7, final=False, start=0.4, end=1.4
        )
        await page.click("#inside-toggle")
        assert await complaints(page, rules) == []
        await page.click("#settings-open")
        assert await complaints(page, rules) == []


@pytest.mark.parametrize("width", [320, 640])
async def test_panels_fit_narrow_screens(browser, address, server, width):
    async with opened(
        browser, address, viewport={"width": width, "height": 640}, has_touch=True, is_mobile=True
    ) as page:
        await page.click("#inside-toggle")
        for control in await page.locator("#inside button:visible, #inside a:visible").all():
            box = await control.bounding_box()
            assert box["height"] >= 44 and box["x"] >= 0 and box["x"] + box["width"] <= width
        await page.click("#settings-open")
        assert await page.evaluate(
            "document.querySelector('#settings').scrollWidth <= "
            "document.querySelector('#settings').clientWidth"
        )
        for control in await page.locator(
            "#settings select:visible, #settings input:visible, #settings label.switch"
        ).all():
            box = await control.bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= width, await control.get_attribute(
                "name"
            )
        assert await page.evaluate("document.documentElement.scrollWidth") == width


async def test_focus_goes_into_a_dialog_and_back(page, server):
    await page.focus("#settings-open")
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.closest('dialog')?.id") == "settings"
    await page.keyboard.press("Escape")
    assert await page.evaluate("document.activeElement.id") == "settings-open"
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator("#inside")).to_be_visible()
    await page.click("#inside-close")
    assert await page.evaluate("document.activeElement.id") == "inside-toggle"


async def test_one_visit_loads_little_and_all_of_it_from_here(browser, address, server):
    context = await browser.new_context()
    page = await context.new_page()
    loaded: dict[str, int] = {}

    async def count(response) -> None:
        loaded[response.url] = len(await response.body())

    page.on("response", count)
    await page.goto(address)
    await page.wait_for_selector("body[data-loaded]")
    await page.click("#talk")  # the worklets too
    await state(page, "listening")
    await type_line(page, "hello")
    await page.wait_for_load_state("networkidle")
    assert sum(loaded.values()) < LARGEST_PAGE, loaded
    assert len(loaded) > 15 and all(url.startswith((address, f"blob:{address}")) for url in loaded)
    await context.close()


async def test_all_modules_are_asked_for_at_once():
    """Otherwise each import waits for the module that it stands in: four ways to the server and
    back before the page works.
    """
    needed, found = ["app.js"], set()
    while needed:
        module = needed.pop()
        found.add(module)
        text = (WEB / module).read_text()
        needed += set(re.findall(r'^(?:import|export) .* from "\./(.+)";', text, re.M)) - found
    preloaded = re.findall(
        r'<link rel="modulepreload" href="static/(.+)">', (WEB / "index.html").read_text()
    )
    assert sorted(found - {"app.js"}) == preloaded


async def test_the_stages_of_the_server_are_named_in_the_pages_language(browser, address):
    async with opened(browser, address, locale="de") as page:
        for name in ("asr", "llm", "tts"):
            await expect(page.locator(f'[data-stage="{name}"] b')).to_have_text(
                tables()["de"][name]
            )
        assert READY["asr"].engine in await page.locator('[data-stage="asr"]').text_content()


async def test_an_agent_is_chosen_with_what_it_has_of_its_own(page, server):
    """The page's defaults of pace and eagerness would hide the agent's; a call that is open begins
    anew.
    """
    options = page.locator('#settings [name="agent"] option')
    await expect(options).to_have_text(["The server's default", "Receptionist", "English tutor"])
    call = await talking(page, server)
    assert "agent" not in call.handshake and "eagerness" in call.handshake
    await choose(page, agent="tutor")
    again = await server.call(1)
    assert again.handshake["agent"] == "tutor"
    assert not {"eagerness", "speed", "voice", "instructions"} & set(again.handshake)
