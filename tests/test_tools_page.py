"""/tools and /mcp-servers: the operator adds, switches and deletes MCP servers, and what calls may
use follows without a restart.
"""

from __future__ import annotations

import stat
import sys
import time
from importlib import resources
from pathlib import Path

import pytest
from chromium import browser_with, opened
from fake_sockets import READY, serving
from playwright.async_api import expect
from test_session_routes import FAR, client_of, problem, settings_of

from whisperfusion.errors import SettingsError
from whisperfusion.messages import Labelled, Metrics
from whisperfusion.settings.tools import added_file, server_tools
from whisperfusion.tools.catalog import Catalog
from whisperfusion.tools.mcp import added
from whisperfusion.tools.runner import Runner

AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
SERVER = str(Path(__file__).with_name("mcp_server.py"))
HOME = {"url": "http://127.0.0.1:1/mcp", "headers": {"Authorization": "Bearer quite-secret"}}
OWN = '[servers.own]\nurl = "http://127.0.0.1:1/own"\n'
PATIENCE_S = 120.0


def with_file(folder: Path, text: str = OWN, **fields):
    file = folder / "tools.toml"
    file.write_text(text)
    return settings_of(folder, tools_file=str(file), tools="none", **fields)


async def test_a_server_is_added_switched_and_deleted(tmp_path):
    settings = with_file(tmp_path)
    async with client_of(settings) as client:
        assert (await client.put("/mcp-servers/home", json=HOME)).status_code == 200
        own, home = (await client.get("/mcp-servers")).json()["servers"]
        assert (own["label"], own["from"], own["on"]) == ("own", "file", True)
        assert (home["label"], home["from"], home["headers"]) == ("home", "page", ["Authorization"])
        assert "quite-secret" not in (await client.get("/mcp-servers")).text
        assert stat.S_IMODE(added_file(settings).stat().st_mode) == 0o600
        assert [*added.configured(settings).servers] == ["own", "home"]
        assert added.configured(settings).secrets == ("quite-secret",)
        for label in ("own", "home"):
            answer = await client.patch(f"/mcp-servers/{label}", json={"on": False})
            assert answer.status_code == 200
        assert not added.configured(settings).servers
        await client.patch("/mcp-servers/own", json={"on": True})
        assert [*added.configured(settings).servers] == ["own"]
        assert (await client.delete("/mcp-servers/home")).status_code == 200
        assert [one["label"] for one in (await client.get("/mcp-servers")).json()["servers"]] == [
            "own"
        ]
        assert Path(settings.tools_file).read_text() == OWN  # it is the operator's own


async def test_what_is_not_possible_is_said(tmp_path):
    async with client_of(with_file(tmp_path)) as client:
        for label, given, status, code, words in (
            ("home", {"command": ["true"]}, 403, "programs_not_allowed", "MCP_PROGRAMS"),
            ("own", HOME, 409, "in_file", "tools.toml"),
            ("Home!", HOME, 400, "invalid_value", "small letters"),
            ("mcp", HOME, 400, "invalid_value", "not a name"),
            ("home", {"url": "ftp://x"}, 400, "invalid_value", "http://"),
            ("home", {}, 400, "invalid_value", "either command"),
            ("home", {**HOME, "colour": 1}, 400, "invalid_value", "colour: is not known"),
            ("home", {"url": "http://x/${HOME}"}, 400, "invalid_value", "tools.toml only"),
        ):
            answer = await client.put(f"/mcp-servers/{label}", json=given)
            assert problem(answer, status) == code and words in answer.text, (label, given)
        answer = await client.put("/mcp-servers/home", content=b"[")
        assert problem(answer, 400) and "JSON object" in answer.text
        assert problem(await client.delete("/mcp-servers/own"), 409) == "in_file"
        assert problem(await client.delete("/mcp-servers/none"), 404) == "server_not_found"
        assert problem(await client.patch("/mcp-servers/own", json={"on": 1}), 400)
        assert not added_file(settings_of(tmp_path)).exists()
    allowed = with_file(tmp_path, mcp_programs=True)
    async with client_of(allowed) as client:
        assert (await client.put("/mcp-servers/home", json={"command": ["true"]})).is_success
        assert added.load(allowed).servers["home"].command == ("true",)


async def test_only_the_machine_of_the_server_may(tmp_path):
    settings = with_file(tmp_path, shared_secret="sesame")
    async with client_of(settings, Authorization="Bearer sesame") as client:
        assert (await client.get("/mcp-servers")).is_success
        foreign = {"Origin": "http://elsewhere.example"}
        for headers, code in ((FAR, "not_the_operator"), (foreign, "origin_not_allowed")):
            for method in ("GET", "PUT", "PATCH", "DELETE"):
                place = "/mcp-servers" + "/home" * (method != "GET")
                answer = await client.request(method, place, headers=headers, json=HOME)
                assert problem(answer, 403) == code, method
    async with client_of(settings) as client:
        assert (await client.get("/mcp-servers")).status_code == 401
    async with client_of(with_file(tmp_path, upstream_host="127.0.0.1")) as client:
        assert problem(await client.get("/mcp-servers"), 409) == "upstream_elsewhere"


async def test_a_file_that_is_broken_is_told_and_not_replaced(tmp_path):
    settings = with_file(tmp_path)
    file = added_file(settings)
    file.parent.mkdir(parents=True)
    file.write_text("{")
    async with client_of(settings) as client:
        assert "is not JSON" in (await client.get("/mcp-servers")).json()["problem"]
        assert "is not JSON" in (await client.put("/mcp-servers/home", json=HOME)).text
    assert file.read_text() == "{"
    with pytest.raises(SettingsError):
        added.configured(settings)


def test_the_catalog_follows_the_file(tmp_path):
    """A server that stays keeps its process."""
    settings = settings_of(tmp_path, tools_file="", tools="none")
    starts = tmp_path / "starts"
    program = {"command": (sys.executable, SERVER), "env": {"STARTS": str(starts)}}
    assert server_tools(settings) == ()
    runner = Runner()
    try:
        catalog = Catalog(settings, runner)
        added.save(settings, added.Added().with_server("one", program))
        assert server_tools(settings) == ("mcp",)
        catalog.reload()
        until(lambda: catalog.chosen(["one"]))
        metrics = {one.name: one for one in catalog.metrics()}
        assert metrics["mcp_server_up"] == Labelled("mcp_server_up", (("server", "one"),), 1.0)
        added.save(settings, added.load(settings).with_server("two", HOME))
        catalog.reload()
        until(lambda: len(catalog.states()) == 2)
        assert catalog.chosen(["one"])
        assert len(starts.read_text().splitlines()) == 1
        added_file(settings).write_text("{")  # leaves everything as it is
        catalog.reload()
        assert catalog.chosen(["one"])
        added.save(settings, added.Added())
        catalog.reload()
        until(lambda: not catalog.states() and not catalog.chosen(["mcp"]))
    finally:
        runner.stop()


def until(condition) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def test_the_page(tmp_path):
    settings = with_file(tmp_path, mcp_programs=True)
    up = (Labelled("mcp_server_up", (("server", "own"),), 1.0),)
    found = (Labelled("mcp_server_tools", (("server", "own"),), 3.0),)
    counted = {"llm": Metrics("llm", (), labelled=up + found)}
    async with serving(settings, dict(READY), counted) as address, browser_with() as browser:
        async with opened(browser, f"{address}/tools", allowed=["status of 400"]) as page:
            rows = page.locator("#servers li")
            await expect(rows).to_have_count(1)
            await expect(rows.first).to_contain_text("connected, 3 tools")
            await page.fill("[name=label]", "time")
            await page.fill("[name=url]", "http://127.0.0.1:1/mcp")
            await page.click("#add button")
            await expect(page.locator("#notice")).to_contain_text("not a name for a server")
            await page.fill("[name=label]", "home")
            await page.fill("[name=authorization]", "Bearer quite-secret")
            await page.click("#add button")
            await expect(rows).to_have_count(2)
            await expect(rows.nth(1)).to_contain_text("not connected")
            assert added.load(settings).servers["home"].headers == HOME["headers"]
            await page.get_by_role("button", name="Switch off own").click()
            await expect(rows.first).to_contain_text("off")
            await page.evaluate(AXE)
            assert (await page.evaluate("axe.run(document)"))["violations"] == []
            await page.get_by_role("button", name="Delete home").click()
            await expect(rows).to_have_count(1)
            assert added.load(settings) == added.Added(off=("own",))
