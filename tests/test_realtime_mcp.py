"""MCP servers that a Realtime client names: the published client against the real processes, with
servers made with the official SDK over streamable HTTP.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import openai
import pytest
from engine_checks import eventually
from running import SCRIPTED, Server

from whisperfusion.runtime.ports import free_ports

MCP_SERVER = str(Path(__file__).with_name("mcp_server.py"))
PATIENCE_S = 60.0
TOKEN = "token-of-the-client"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mcp")


def answers(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def http(folder):
    """The URL of an MCP server with more tools than fit."""
    (port,) = free_ports(1)
    variables = {
        "SWITCHED": f"{folder}/switched",
        "TOO_MANY": "100",
        "HEADERS": f"{folder}/headers",
    }
    started = subprocess.Popen(
        [sys.executable, MCP_SERVER, "http", str(port)],
        stderr=subprocess.DEVNULL,
        env={**variables, "TOO_MANY": "100", "PYTHONPATH": ":".join(sys.path)},
    )
    eventually(lambda: answers(port))
    yield f"http://127.0.0.1:{port}/mcp"
    started.kill()
    started.wait()


@pytest.fixture(scope="module")
def server(folder):
    file = folder / "tools.toml"
    file.write_text(f"""
        [servers.home]
        command = ["{sys.executable}", "{MCP_SERVER}"]
        env = {{ SWITCHED = "{folder}/switched" }}
    """)
    running = Server(*SCRIPTED, "--tools=none", f"--tools-file={file}", "--mcp-hosts=127.0.0.1")
    try:
        yield running.wait_ready()
    finally:
        running.stop()


class Session:
    """The published client, and all events that came."""

    def __init__(self, connection) -> None:
        self.connection, self.events = connection, []

    async def until(self, kind: str):
        """The next event of this type."""
        while True:
            event = await asyncio.wait_for(self.connection.recv(), PATIENCE_S)
            self.events.append(event)
            if event.type == kind:
                return event
            assert event.type != "error", event.error.message

    def kinds(self) -> list[str]:
        return [event.type for event in self.events]

    async def listed(self, *tools: dict, fails: bool = False):
        """The item of the first list; a server that is slow to start is asked again."""
        given = {"type": "realtime", "output_modalities": ["text"], "tools": list(tools)}
        await self.connection.session.update(session=given)
        while True:
            item = (await self.until("conversation.item.done")).item
            if item.type == "mcp_list_tools" and (fails or item.tools):
                return item

    async def ask(self, text: str, **response):
        """The response to a typed text."""
        content = [{"type": "input_text", "text": text}]
        await self.connection.conversation.item.create(
            item={"type": "message", "role": "user", "content": content}
        )
        return await self.respond(**response)

    async def respond(self, **response):
        await self.connection.response.create(response=response)
        return (await self.until("response.done")).response

    async def decide(self, request: str, approve: bool) -> None:
        item = {"type": "mcp_approval_response", "approval_request_id": request, "approve": approve}
        await self.connection.conversation.item.create(item=item)

    async def call_done(self):
        while True:
            item = (await self.until("conversation.item.done")).item
            if item.type == "mcp_call":
                return item


@asynccontextmanager
async def session_of(server):
    client = openai.AsyncOpenAI(base_url=f"{server.http_url}/v1", api_key="any")
    async with client.realtime.connect(model="gpt-realtime") as connection:
        yield Session(connection)


def at(url: str, label: str = "lamps", approval="never", **fields) -> dict:
    named = {"type": "mcp", "server_label": label, "server_url": url}
    return {**named, "require_approval": approval, **fields}


def said(response) -> str:
    return " ".join(one.content[0].text for one in response.output if one.type == "message")


async def test_a_call_without_approval(server, http, folder):
    async with session_of(server) as session:
        tools = at(http, authorization=TOKEN, allowed_tools=["add", "flood", "slow", "switch"])
        item = await session.listed(tools)
        assert {one.name for one in item.tools} == {"add", "flood", "slow", "switch"}
        assert item.tools[0].input_schema["properties"]["a"]["type"] == "integer"
        kinds = session.kinds()
        assert kinds.index("session.updated") < kinds.index("conversation.item.added")
        order = "mcp_list_tools.in_progress mcp_list_tools.completed conversation.item.done".split()
        assert [one for one in kinds if one in order][-3:] == order
        (shown,) = next(e for e in session.events if e.type == "session.updated").session.tools
        assert TOKEN not in repr(session.events) and shown.server_url == http
        assert f"Bearer {TOKEN}" in (folder / "headers").read_text()

        session.events.clear()
        response = await session.ask('use lamps_add {"a": 1, "b": 2}')
        call = await session.call_done()
        assert (call.server_label, call.name, call.output) == ("lamps", "add", "3")
        assert json.loads(call.arguments) == {"a": 1, "b": 2} and call.error is None
        assert [one.type for one in response.output] == ["mcp_call", "message"]
        of_call = [one for one in session.kinds() if "mcp" in one or one == "response.done"]
        assert of_call == [
            "response.mcp_call_arguments.delta",
            "response.mcp_call_arguments.done",
            "response.mcp_call.in_progress",
            "response.done",
            "response.mcp_call.completed",
        ]
        answer = await session.respond()
        assert "3" in said(answer) and [one.type for one in answer.output] == ["message"]

        response = await session.ask("use lamps_flood {}")  # a megabyte
        assert len((await session.call_done()).output) < 4100
        # what was read may order things: no tool that acts runs in the turn
        refused = await session.ask('use lamps_switch {"room": "hall"}', tool_choice="none")
        assert [one.type for one in refused.output] == ["message"]
        assert not (folder / "switched").exists()
    assert TOKEN not in server.log


async def test_approval_is_given_and_refused(server, http, folder):
    async with session_of(server) as session:
        await session.listed(at(http, approval="always", allowed_tools=["switch"]))
        choice = {"type": "mcp", "server_label": "lamps", "name": "switch"}
        asked = await session.ask('use lamps_switch {"room": "attic"}', tool_choice=choice)
        call, request = asked.output
        assert (call.type, request.type) == ("mcp_call", "mcp_approval_request")
        assert (request.name, json.loads(request.arguments)) == ("switch", {"room": "attic"})
        spoken = await session.ask("yes")  # words are no approval
        assert "attic" not in said(spoken)

        await session.decide(request.id, False)
        assert "not approve" in (await session.call_done()).error.message
        assert "response.mcp_call.failed" in session.kinds()
        await session.decide(request.id, True)
        with pytest.raises(AssertionError, match="waits for an answer"):
            await session.until("never")

        call, request = (await session.ask('use lamps_switch {"room": "hall"}')).output
        assert not (folder / "switched").exists()
        session.events.clear()
        await session.decide(request.id, True)
        answer = await session.respond()  # waits for the tool
        kinds = session.kinds()
        assert kinds.index("response.mcp_call.completed") < kinds.index(
            "response.output_text.delta"
        )
        done = next(
            e.item for e in session.events if getattr(e, "item", None) and e.item.id == call.id
        )
        assert done.approval_request_id == request.id
        assert done.output == "The lamp in the hall is on." and "hall is on" in said(answer)
        assert (folder / "switched").read_text() == "hall\n"
        (folder / "switched").unlink()


async def test_the_operators_server_by_its_label(server, folder):
    async with session_of(server) as session:
        label = {"type": "mcp", "server_label": "home", "allowed_tools": ["add", "switch"]}
        item = await session.listed({**label, "require_approval": "never"})
        assert [one.name for one in item.tools] == ["add", "switch"]
        response = await session.ask('use home_switch {"room": "hall"}')
        assert response.output[-1].type == "mcp_approval_request"  # the operator's rule stays
        assert not (folder / "switched").exists()
        item = await session.listed({"type": "mcp", "server_label": "unknown"}, fails=True)
        assert item.tools == [] and "no MCP server of that label" in item.error["message"]


async def test_servers_that_cannot_be_had(server, http):
    async with session_of(server) as session:
        (port,) = free_ports(1)
        item = await session.listed(at(f"http://127.0.0.1:{port}/mcp"), fails=True)
        assert item.tools == [] and "is not reached" in item.error["message"]
        assert "mcp_list_tools.failed" in session.kinds()
        assert said(await session.ask("alpha")) == "You said alpha. That is 1 word."

        await session.connection.session.update(
            session={"type": "realtime", "tools": [at("http://localhost:1/mcp")]}
        )
        with pytest.raises(AssertionError, match="MCP_HOSTS=localhost"):
            await session.until("never")
        # of one with very many tools the first are used
        assert len((await session.listed(at(http, "many"))).tools) == 32
        slow = await session.ask(
            "use many_slow {}", tools=[at(http, "many", allowed_tools=["slow"])]
        )
        assert "within 10 s" in slow.output[0].error.message


async def test_connections_end_with_their_call(server, http, folder):
    def open_requests() -> int:
        lines = [one for one in (folder / "headers").read_text().splitlines() if "leaving" in one]
        return len(lines) - 2 * sum(one.startswith("end of") for one in lines)

    async with session_of(server) as session:
        await session.listed(at(http, headers={"X-Call": "leaving"}))
        assert open_requests() == 1  # for news of its tools
    eventually(lambda: open_requests() == 0)
