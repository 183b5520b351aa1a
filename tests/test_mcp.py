"""Tools of MCP servers: real servers, made with the official SDK, over stdio and HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from whisperfusion.errors import SettingsError
from whisperfusion.messages import Ticket
from whisperfusion.runtime.ports import free_ports
from whisperfusion.tools.mcp import adapting, connection
from whisperfusion.tools.mcp.adapting import adapted, name_of
from whisperfusion.tools.mcp.configuration import Configuration, Server, read
from whisperfusion.tools.mcp.connection import _listen
from whisperfusion.tools.mcp.servers import Servers
from whisperfusion.tools.runner import Runner, checked
from whisperfusion.tools.running import Invocation, Outcome, ToolError
from whisperfusion.wire.tool_schema import check_tool

SERVER = str(Path(__file__).with_name("mcp_server.py"))
PATIENCE_S = 240.0  # bound of a test that fails


def until(condition, what: str = "") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


class Machine:
    """The runner with the servers of `fields`, by label."""

    def __init__(self, **servers: dict) -> None:
        self.runner = Runner()
        self.servers = Servers(Configuration.model_validate({"servers": servers}), self.runner)

    def tool(self, name: str):
        found = {one.tool.name: one for one in self.servers.tools()}
        return found.get(name)

    def up(self, name: str):
        until(lambda: self.tool(name), f"{name}: {self.servers.states()}")
        return self.tool(name)

    def use(self, name: str, **arguments) -> Outcome:
        bound = self.up(name)
        given = checked(bound, json.dumps(arguments))
        return self.runner.start(bound, Invocation(Ticket("a", 1), given, (), print)).result(
            PATIENCE_S
        )

    def stop(self) -> None:
        for work in self.servers._work.values():
            work.cancel()
        self.runner.stop()


@pytest.fixture
def machine():
    made = []

    def make(**servers) -> Machine:
        made.append(Machine(**servers))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def stdio(**fields) -> dict:
    return {"command": [sys.executable, SERVER], **fields}


@pytest.fixture
def http():
    (port,) = free_ports(1)
    started = subprocess.Popen(
        [sys.executable, SERVER, "http", str(port)], stderr=subprocess.DEVNULL
    )
    running = SimpleNamespace(url=f"http://127.0.0.1:{port}/mcp", process=started, port=port)
    yield running
    running.process.kill()  # a test may have started another
    running.process.wait()


def test_tools_over_stdio(machine):
    one = machine(home=stdio(time_limit_s=30))
    assert one.use("home_add", a="1", b=2).output == "3"
    with pytest.raises(ToolError, match="b"):
        one.use("home_add", a=1, b="two")
    failed = one.use("home_fail")
    assert failed.failed and not failed.own and "the lamp is broken" in failed.output
    reads, acts = one.tool("home_add").tool, one.tool("home_switch").tool
    assert (reads.acts, reads.asks, reads.trusted, reads.chains) == (False, False, False, True)
    assert (acts.acts, acts.asks, acts.trusted, acts.chains) == (True, True, False, False)
    assert one.servers.states()["home"] == "9 of 9 tools"


class EagerRunner(Runner):
    """What another thread submits has run before `submit` returns, as a busy machine does it."""

    def submit(self, work):
        future = super().submit(work)
        if threading.current_thread().name != "tools":
            future.result(PATIENCE_S)
        return future


def test_servers_are_started_however_soon_the_event_loop_begins():
    runner = EagerRunner()
    servers = Servers(Configuration.model_validate({"servers": {"home": stdio()}}), runner)
    assert [*servers._work] == ["home"]
    runner.stop()


def test_processes_of_servers_end_with_the_runner(machine, tmp_path):
    starts = tmp_path / "starts"
    one = machine(home=stdio(env={"STARTS": str(starts)}))
    one.up("home_add")
    (process,) = starts.read_text().split()
    one.runner.stop()
    until(lambda: not Path(f"/proc/{process}").exists(), "the process is still there")


def test_the_list_is_read_again_once_the_server_listens():
    """A change before that was not told."""
    told = []

    class Client:
        @asynccontextmanager
        async def listen(self, tools_list_changed):
            yield self

        async def __aiter__(self):
            assert told == ["changed"]
            yield None

    asyncio.run(_listen(Client(), lambda: told.append("changed")))
    assert told == ["changed"] * 3


def test_a_server_that_hangs_costs_its_time_limit(machine):
    one = machine(home=stdio(time_limit_s=30, tool={"slow": {"time_limit_s": 0.5}}))
    outcome = one.use("home_slow")
    assert outcome.failed and outcome.own and "within 0.5 s" in outcome.output
    assert one.use("home_add", a=1, b=2).output == "3"


def test_a_server_that_dies_is_started_again(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "WAIT_S", PATIENCE_S)  # a busy machine starts it late
    starts = tmp_path / "starts"
    one = machine(home=stdio(time_limit_s=300, env={"STARTS": str(starts)}))
    outcome = one.use("home_die")
    assert outcome.failed
    # a tool that only reads is asked again, so the next use needs no luck
    assert one.use("home_add", a=2, b=2).output == "4"
    os.kill(int(starts.read_text().split()[-1]), signal.SIGKILL)
    assert one.use("home_add", a=2, b=3).output == "5"
    assert len(starts.read_text().split()) >= 3


def test_changes_of_the_list_are_followed(machine):
    one = machine(home=stdio())
    one.use("home_grow")
    assert one.up("home_newcomer") and one.use("home_newcomer").output == "new"


def test_too_many_and_too_large_tools_are_left_out(machine):
    one = machine(home=stdio(env={"TOO_MANY": "500", "FAT": "3000000"}))
    one.up("home_add")
    names = [bound.tool.name for bound in one.servers.tools()]
    assert len(names) == adapting.Most().tools
    assert len(one.tool("home_add").tool.description) < 600
    few = machine(home=stdio(env={"TOO_MANY": "500", "FAT": "3000000"}, tools=["one_499", "fat"]))
    few.up("home_one_499")
    fat = few.tool("home_fat").tool
    assert len(few.servers.tools()) == 2 and len(fat.description) == adapting.LONGEST_DESCRIPTION


def test_a_server_that_does_not_start_is_no_trouble(machine):
    one = machine(gone={"command": ["/nonexistent"]}, home=stdio(),
                  dead={"command": [sys.executable, "-c", "raise SystemExit(1)"]})  # fmt: skip
    assert one.use("home_add", a=1, b=1).output == "2"
    until(lambda: "is not reached" in one.servers.states()["gone"])
    until(lambda: "is not reached" in one.servers.states()["dead"])
    assert "nonexistent" not in one.servers.states()["gone"]


def test_tools_over_http(machine, http):
    one = machine(home={"url": http.url, "time_limit_s": 60, "headers": {"X-Key": "k"}})
    assert one.use("home_add", a=20, b=22).output == "42"
    http.process.kill()
    http.process.wait()
    assert one.use("home_add", a=1, b=1).failed
    http.process = subprocess.Popen(
        [sys.executable, SERVER, "http", str(http.port)], stderr=subprocess.DEVNULL
    )
    until(lambda: not one.use("home_add", a=1, b=1).failed)


# --- what a server describes ---------------------------------------------------------------------


def described(name="x", schema=None, description="An x.", **fields):
    return SimpleNamespace(
        name=name,
        title=None,
        description=description,
        input_schema={"type": "object", "properties": {}} if schema is None else schema,
        annotations=None,
        **fields,
    )


def rules(**fields) -> Server:
    return Server.model_validate({"url": "http://x", **fields})


def bound_to(described_tool, /, **fields):
    return adapted("home", rules(**fields), [described_tool], lambda *a: None)


def test_rules_of_the_operator():
    assert bound_to(described(), tools=["y"]) == ()
    assert bound_to(described(), tool={"x": {"permission": "never"}}) == ()
    assert bound_to(described(), permission="never", tool={"x": {"permission": "auto"}})
    (one,) = bound_to(
        described(),
        permission="auto",
        trusted=True,
        tool={
            "x": {
                "acts": False,
                "after_untrusted": True,
                "description": "Mine.",
                "question": "May I?",
                "time_limit_s": 3,
                "output_limit": 500,
            }
        },
    )
    tool = one.tool
    assert (tool.acts, tool.asks, tool.follows, tool.trusted) == (False, False, True, True)
    assert (tool.description, tool.question) == ("Mine.", "May I?")
    assert (tool.time_limit_s, tool.output_limit) == (3.0, 500)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"$ref": "http://evil/x.json"}}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}},
         "$defs": {"a": {"$ref": "#/$defs/a"}}},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}},
        {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(500)}},
        {"type": "array"},
        {"properties": {"a": {"enum": [float("nan")]}}},
        {"type": "object", "properties": {"a": {"description": "y", "enum": ["x" * 9000]}}},
    ],
)  # fmt: skip
def test_schemas_that_an_engine_cannot_take_are_left_out(schema):
    assert bound_to(described(schema=schema)) == ()


def test_a_schema_becomes_slim_and_stays_right():
    schema = {
        "$schema": "x",
        "title": "Arguments",
        "type": "object",
        "properties": {
            "title": {"title": "Title", "type": "string", "default": "", "examples": ["a"]},
            "pattern": {"type": "string", "pattern": "^(a+)+$"},
        },
        "required": ["title"],
    }
    (one,) = bound_to(described(schema=schema))
    assert one.tool.parameters == {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "pattern": {"type": "string", "pattern": "^(a+)+$"},
        },
        "required": ["title"],
    }
    # the pattern takes for ever on this text, and is not tried here
    assert one.check({"title": "x", "pattern": "a" * 60 + "!"})
    with pytest.raises(ToolError):
        one.check({"pattern": "a"})
    assert one.check({"title": "x", "pattern": None}) == {"title": "x"}


@pytest.mark.parametrize("name", ["a b/c", "ä" * 90, "x" * 200, "", "\u202e"])
def test_names_become_names_that_engines_take(name):
    check_tool({"name": name_of("home", name), "parameters": {"type": "object"}})


def test_descriptions_are_cleaned():
    (one,) = bound_to(described(description="Good.<|im_end|>\u200b" + "y" * 5000))
    assert "<|" not in one.tool.description and "\u200b" not in one.tool.description
    assert len(one.tool.description) == adapting.LONGEST_DESCRIPTION


# --- the file ------------------------------------------------------------------------------------


def write(tmp_path, text: str) -> Path:
    file = tmp_path / "tools.toml"
    file.write_text(text)
    return file


def test_the_file_is_read_and_filled(tmp_path):
    file = write(
        tmp_path,
        """
        [servers.home]
        url = "https://home.example/mcp?k=${K}"
        headers = { Authorization = "Bearer ${TOKEN}" }
        [servers.files]
        command = ["files", "${FOLDER}"]
        env = { A = "b" }
        tool.read.permission = "ask"
        """,
    )
    found = read(file, {"TOKEN": "secret-1", "K": "secret-2", "FOLDER": "/data"})
    assert found.servers["home"].headers == {"Authorization": "Bearer secret-1"}
    assert found.servers["home"].url.endswith("k=secret-2")
    assert found.servers["files"].command == ("files", "/data")
    assert found.servers["files"].tool["read"].permission == "ask"
    assert set(found.secrets) == {"secret-1", "secret-2", "/data"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[servers.home", "TOML"),
        ("[server.home]", "server: is not known"),
        ("[servers.home]\n", "either command"),
        ('[servers.home]\nurl = "x"', "http://"),
        ('[servers.home]\nurl = "http://x"\ncommand = ["y"]', "either command"),
        ('[servers.home]\nurl = "http://x"\nenv = {A = "b"}', "belong to command"),
        ('[servers.home]\ncommand = ["x"]\nheaders = {A = "b"}', "belong to url"),
        ('[servers.home]\nurl = "http://x"\npermision = "ask"', "permision: is not known"),
        ('[servers.home]\nurl = "http://x"\npermission = "maybe"', "permission"),
        ('[servers.home]\nurl = "http://x"\ntime_limit_s = -1', "time_limit_s"),
        ('[servers."My Home"]\nurl = "http://x"', "My Home"),
        ('[servers.timers]\nurl = "http://x"', "timers"),
        ('[servers.home]\nurl = "http://${NOWHERE}"', "NOWHERE is not set"),
        ('secrets = ["x"]', "secrets"),
        ('[servers.home]\nurl = 5\nheaders = {A = "${TOKEN}"}', "url"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path, text, words):
    with pytest.raises(SettingsError) as error:
        read(write(tmp_path, text), {"TOKEN": "secret-1"})
    assert words in str(error.value) and "tools.toml" in str(error.value)
    assert "secret-1" not in str(error.value)
