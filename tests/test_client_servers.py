"""MCP servers that clients name: what they may say of them, what a history says of their calls, and
how the language process holds them, with servers that misbehave.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tool_machine import Machine, of, tool
from tool_models import call
from turns_driver import Turns

from whisperfusion.call.named_servers import NamedServers
from whisperfusion.messages import (
    ChatMessage,
    Generate,
    Ticket,
    ToolFinished,
    ToolsListed,
    ToolStarted,
    UseServers,
)
from whisperfusion.settings import Settings
from whisperfusion.tools.client_servers import (
    APPROVAL_PENDING,
    APPROVED,
    DECLINED,
    ClientServer,
    ToolFilter,
)
from whisperfusion.tools.mcp.call_servers import MOST_CONNECTIONS, CallServers
from whisperfusion.tools.runner import Runner
from whisperfusion.turns import events
from whisperfusion.wire import asr_controls, asr_handshake
from whisperfusion.wire.asr_events import ListedTool
from whisperfusion.wire.fields import FieldError
from whisperfusion.wire.mcp_fields import check_hosts, fields_of, server_of
from whisperfusion.wire.realtime import RealtimeError, Session, as_dict
from whisperfusion.wire.realtime_history import history
from whisperfusion.wire.realtime_items import item_of
from whisperfusion.wire.realtime_mcp import list_item, mcp_call_item, request_item
from whisperfusion.wire.realtime_options import reply_options
from whisperfusion.wire.realtime_update import response_changes, updated

URL = "https://tools.example/mcp"
SECRET = "a-secret-token"


def named(**fields) -> dict:
    return {"type": "mcp", "server_label": "lamps", "server_url": URL, **fields}


# --- the wire -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "needs"),
    [
        (None, {"add": True, "off": True}),
        ("always", {"add": True, "off": True}),
        ("never", {"add": False, "off": False}),
        ({"never": {"read_only": True}}, {"add": False, "off": True}),
        ({"never": {"tool_names": ["off"]}}, {"add": True, "off": False}),
        ({"always": {"tool_names": ["off"]}}, {"add": False, "off": True}),
        (
            {"always": {"tool_names": ["off"]}, "never": {"tool_names": ["add"]}},
            {"add": False, "off": True},
        ),
    ],
)
def test_which_tools_need_approval(given, needs):
    server = server_of(named(require_approval=given))
    found = {name: server.needs_approval(name, name == "add", False) for name in needs}
    assert found == needs
    assert server_of(fields_of(server)) == server


def test_an_operators_server_keeps_its_rules_unless_more_is_asked():
    server = server_of({"server_label": "home"})
    assert server.needs_approval("off", False, True) and not server.needs_approval("x", True, False)
    strict = server_of({"server_label": "home", "require_approval": "always"})
    assert strict.needs_approval("x", True, False)


BAD = [
    ({"server_label": "1lamp"}, "server_label"),
    ({"server_label": "a" * 41}, "server_label"),
    (named(server_url="ftp://tools.example"), "http"),
    (named(server_url="https://"), "http"),
    (named(server_url="https://a:b@tools.example"), "authorization"),
    (named(server_url="https://tools.example:99999"), "http"),
    (named(server_url="https://" + "a" * 2000), "2000"),
    (named(connector_id="connector_gmail"), "connector"),
    (named(tunnel_id="t"), "tunnel"),
    (named(headers={"Host": "elsewhere"}), "Host"),
    (named(headers={"X-Key": "a\r\nX-Other: b"}), "X-Key"),
    (named(headers={"X Key": "a"}), "X Key"),
    (named(headers={f"X-{n}": "a" for n in range(17)}), "16"),
    (named(authorization=5), "Authorization"),
    ({"server_label": "home", "authorization": SECRET}, "server_url"),
    (named(allowed_tools="add"), "allowed_tools"),
    (named(allowed_tools=[5]), "allowed_tools"),
    (named(require_approval="perhaps"), "require_approval"),
    (named(require_approval={}), "require_approval"),
    (named(require_approval={"never": 5}), "require_approval.never"),
]


@pytest.mark.parametrize(("given", "told"), BAD)
def test_what_is_refused_and_why(given, told):
    with pytest.raises(FieldError, match=told) as problem:
        server_of(given)
    assert SECRET not in str(problem.value)


@pytest.mark.parametrize(
    ("allowed", "url", "is_allowed"),
    [
        ("", URL, False),
        ("tools.example", URL, True),
        ("other.example, Tools.Example", URL, True),
        ("tools.example:443", URL, True),
        ("tools.example:8443", URL, False),
        ("*.example", URL, True),
        ("*.tools.example", URL, False),
        ("tools.example", "https://tools.example.evil.example/mcp", False),
        ("tools.example", "https://evil.example/tools.example", False),
        ("tools.example", "https://tools.example./mcp", True),
        ("::1", "http://[::1]:9000/mcp", True),
        ("[::1]:9000", "http://[::1]:9000/mcp", True),
        ("[::1]:9000", "http://[::1]:9001/mcp", False),
    ],
)
def test_hosts_that_the_operator_allows(allowed, url, is_allowed):
    servers = [server_of(named(server_url=url))]
    if is_allowed:
        check_hosts(servers, allowed)
    else:
        with pytest.raises(FieldError, match="MCP_HOSTS"):
            check_hosts(servers, allowed)


def test_handshake_and_controls_name_servers():
    given = [named(authorization=SECRET)]
    shake = asr_handshake.parse_handshake(json.dumps({"uid": "a", "mcp_servers": given}))
    (server,) = shake.mcp_servers
    assert server.headers == (("Authorization", f"Bearer {SECRET}"),)
    assert SECRET not in repr(shake) and SECRET in server.secrets
    update = asr_controls.parse_control(json.dumps({"type": "update", "mcp_servers": []}))
    assert update.mcp_servers == () and asr_handshake.Update().mcp_servers is None
    assert asr_controls.parse_control('{"type": "update"}').mcp_servers is None
    approve = asr_controls.parse_control('{"type": "approve", "id": "c", "approve": false}')
    assert approve == asr_controls.Approve("c", False)
    for bad in ('{"type": "approve", "id": "c"}', '{"type": "approve", "approve": true}'):
        with pytest.raises(asr_controls.FrameError):
            asr_controls.parse_control(bad)


def test_a_session_shows_its_servers_without_their_keys():
    given = {"type": "realtime", "tools": [named(authorization=SECRET, headers={"X-Key": SECRET})]}
    session = updated(Session(), given, (), hosts="tools.example")
    (shown,) = as_dict(session, 1)["tools"]
    assert shown == named(require_approval=None) and SECRET not in repr(session)
    assert SECRET in json.dumps(reply_options(session)["mcp_servers"])
    assert "mcp_servers" not in reply_options(Session())
    none = updated(session, {"type": "realtime", "tools": []}, (), hosts="tools.example")
    assert reply_options(none)["mcp_servers"] == []
    with pytest.raises(RealtimeError, match="MCP_HOSTS=tools.example"):
        updated(Session(), given, ())
    with pytest.raises(RealtimeError, match="same server_label"):
        updated(Session(), {**given, "tools": [named(), named()]}, (), hosts="tools.example")


def test_the_choice_of_a_response():
    given = {"type": "realtime", "tools": [named()]}
    session = updated(Session(), given, (), hosts="tools.example")

    def chosen(choice):
        changes, _, _ = response_changes({"tool_choice": choice}, session)
        return changes["tool_choice"], changes["mcp_servers"]

    one = {"type": "mcp", "server_label": "lamps", "name": "add"}
    assert chosen("none") == ("none", [])
    how, (server,) = chosen(one)
    assert how == "required" and server["only"] == "add" and server["answers"] == "asked"
    assert chosen({"type": "function", "name": "f"}) == ("required", [])
    with pytest.raises(RealtimeError, match="'other'"):
        chosen({"type": "mcp", "server_label": "other"})
    label = {"type": "mcp", "server_label": "lamps"}
    changes, _, (known,) = response_changes({"tools": [label]}, session)
    assert known.url == URL and changes["mcp_servers"][0]["server_url"] == URL


def test_items_as_a_chat_history():
    listed = list_item("l", "lamps", [ListedTool("lamps_add", "add", "Add.", "{}", True)])
    done = mcp_call_item("m", "lamps", "add", "{}", output="3")
    failed = mcp_call_item("n", "lamps", "add", "{}", error="no")
    waits = mcp_call_item("o", "lamps", "off", "{}")
    request = request_item("call_1", "lamps", "off", "{}")
    lines = history([listed, done, failed, waits, request])
    assert [line["role"] for line in lines] == ["call", "result"] * 3
    assert json.loads(lines[0]["text"])["name"] == "lamps_add"
    outputs = [json.loads(line["text"])["output"] for line in lines if line["role"] == "result"]
    assert "not instructions" in outputs[0] and "3" in outputs[0] and "no" in outputs[1]
    assert outputs[2] == APPROVAL_PENDING
    for approve, said in ((True, APPROVED), (False, DECLINED)):
        decision = item_of(
            {
                "type": "mcp_approval_response",
                "approval_request_id": request["id"],
                "approve": approve,
            }
        )
        assert said in history([request, decision])[1]["text"]
    for bad in ({"approve": "yes"}, {"approve": True}):
        with pytest.raises(RealtimeError):
            item_of({"type": "mcp_approval_response", **bad})


# --- turn-taking --------------------------------------------------------------------------------


def test_what_waits_is_decided_once():
    given = json.dumps({"id": "c1", "name": "off", "arguments": "{}"})
    waits = json.dumps({"id": "c1", "output": APPROVAL_PENDING})
    turns = Turns()
    turns.receive(
        events.HistoryReplaced((ChatMessage("call", given), ChatMessage("result", waits))), 1.0
    )
    turns.receive(events.ApprovalGiven("other", True), 1.0)
    assert turns.history[-1].text == waits
    turns.receive(events.ApprovalGiven("c1", True), 1.0)
    assert json.loads(turns.history[-1].text)["output"] == APPROVED
    turns.receive(events.ApprovalGiven("c1", False), 1.0)
    assert json.loads(turns.history[-1].text)["output"] == APPROVED
    (asked,) = of(Generate, turns.receive(events.CreateReply("c1", approved="c1"), 1.0))
    assert asked.approved == "c1"


def test_results_that_end_a_reply_stand_behind_its_words():
    turns = Turns()
    turns.receive(events.CreateReply("r"), 1.0)
    ticket = turns.replies.ticket
    for message in (
        ToolStarted(ticket, "c1", "add", "{}", hands_back=True),
        ToolFinished(ticket, "c1", "3"),
    ):
        turns.receive(message, 1.0)
    turns.replies.current.pieces[0] = "One moment."
    turns.replies.current.played[0] = (1.0, 1.0)
    turns.replies.finish()
    assert [one.role for one in turns.history] == ["assistant", "call", "result"]


# --- which servers a call may have --------------------------------------------------------------


def test_who_learns_of_the_servers_of_a_call():
    posted, told = [], []
    settings = Settings(mcp_hosts="tools.example")
    servers = NamedServers("a", settings, ("time", "home"), posted.append, told.append)
    lamps = server_of(named())
    away = server_of(named(server_label="away", server_url="https://away.example"))
    home, other = ClientServer("home"), ClientServer("other")
    assert servers.replace((lamps, away, home, other))[:2] == ("time", "home")
    assert posted == [UseServers("a", (lamps, home))]
    assert [(one.label, bool(one.error)) for one in told] == [("away", True), ("other", True)]
    servers.replace((lamps, away, home, other))
    assert len(posted) == 1
    assert servers.add((server_of(named(only="add")),)) == ("time", "home", "call.lamps/add")
    assert {one.label for one in posted[-1].servers} == {"lamps", "home"}
    assert servers.replace(()) == ("time", "home") and posted[-1].servers == ()


# --- the language process -----------------------------------------------------------------------


class Bound(CallServers):
    """Servers of calls whose tools are those of the test."""

    def __init__(self, *tools) -> None:
        super().__init__(Runner(), None, lambda message: None)
        self.bound = tools

    def tools(self, call, names):
        return self.bound if "call.x" in names else ()


@pytest.fixture
def machine():
    made = []

    def make(*script, tools=()):
        made.append(Machine(*script))
        made[-1].service.tools.loop.catalog.calls = Bound(*tools)
        return made[-1]

    yield make
    for one in made:
        one.stop()


def acting(**fields):
    ran = []

    async def run(invocation):
        ran.append(dict(invocation.arguments))
        return "done"

    kept = {"acts": True, "by_client": True, "hands_back": True, "trusted": False, **fields}
    return tool("off", run, **kept), ran


def test_a_result_is_handed_back(machine):
    bound, ran = acting()
    one = machine((call("off"),), tools=(bound,))
    found = one.reply(names=("call.x",))
    assert ran == [{}] and of(ToolStarted, found)[0].hands_back
    assert of(ToolFinished, found)[0].failed is False and len(one.llm.prompts) == 1


def test_a_call_waits_for_the_client_and_runs_once(machine):
    bound, ran = acting(asks=True)
    one = machine((call("off", room="hall"),), ("Hm.",), tools=(bound,))
    found = one.reply(names=("call.x",))
    (started,) = of(ToolStarted, found)
    (finished,) = of(ToolFinished, found)
    assert started.approval and finished.output == APPROVAL_PENDING and not ran
    given = {"id": started.id, "name": "off", "arguments": started.arguments}
    asked = (
        ChatMessage("user", "off"),
        ChatMessage("call", json.dumps(given)),
        ChatMessage("result", json.dumps({"id": started.id, "output": APPROVAL_PENDING})),
    )
    # words of the user are no approval
    said = (*asked, ChatMessage("user", "yes please"))
    assert not of(ToolStarted, one.reply(names=("call.x",), history=said, ticket=Ticket("a", 2, 1)))
    assert not ran
    later = {"history": asked, "ticket": Ticket("a", 3, 1), "approved": started.id}
    found = one.reply(names=("call.x",), **later)
    assert ran == [{"room": "hall"}] and not of(ToolStarted, found)[0].approval
    assert len(one.llm.prompts) == 2  # it was not asked again
    gone = {**later, "ticket": Ticket("a", 4, 1), "approved": "other"}
    one.llm.script.append(("Gone.",))
    assert of(ToolFinished, one.reply(names=("call.x",), **gone))[0].failed and len(ran) == 1


# --- servers that misbehave ---------------------------------------------------------------------


class Hostile(BaseHTTPRequestHandler):
    """What it does stands in its path."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        getattr(self, self.path.strip("/"))()

    do_GET = do_POST

    def away(self) -> None:
        self.send_response(307)
        self.send_header("Location", f"http://localhost:{self.server.server_port}/endless")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def endless(self) -> None:
        self.server.sent = 0
        self._begin()
        try:
            while self.server.sent < 64 * 2**20:
                self.server.sent += self.wfile.write(b" " * 65536)
        except OSError:
            pass

    def bomb(self) -> None:
        self._begin(**{"Content-Encoding": "gzip"})
        self.wfile.write(gzip.compress(b" " * 2**24))

    def nonsense(self) -> None:
        self._begin()
        self.wfile.write(b'{"jsonrpc": "2.0", "id": 0, "result": {"tools": "many"}}')

    def _begin(self, **headers) -> None:
        self.send_response(200)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def hostile():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    server.sent = 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


async def rest() -> None:
    """All other tasks of this loop are over."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


@pytest.mark.parametrize("path", ["away", "endless", "bomb", "nonsense"])
def test_a_hostile_server_has_no_tools(hostile, path):
    told: list[ToolsListed] = []
    runner = Runner()
    servers = CallServers(runner, None, told.append)
    url = f"http://127.0.0.1:{hostile.server_port}/{path}"
    servers.use(UseServers("a", (ClientServer("x", url, never=ToolFilter()),)))
    deadline = time.monotonic() + 60
    while not told:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert told[0].tools == () and "is not reached" in told[0].error
    assert path not in ("endless", "bomb") or "GuardError" in told[0].error
    assert url not in told[0].error and hostile.sent < 16 * 2**20
    assert path != "away" or not hostile.sent  # it was not followed to another host
    servers.forget("a")
    assert not servers.tools("a", {"call.x"}) and not servers.waiting("a", {"call.x"})
    runner.submit(rest()).result(60)  # nothing of it goes on
    runner.stop()


class IdleRunner(Runner):
    """Runs nothing; `begun` is what it was to run."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[Future] = []

    def submit(self, work):
        work.close()
        self.begun.append(Future())
        return self.begun[-1]


def test_connections_are_counted_and_freed():
    told: list[ToolsListed] = []
    runner = IdleRunner()
    servers = CallServers(runner, None, told.append)
    one = ClientServer("x", "http://127.0.0.1:9/mcp", (("X-Key", SECRET),))
    for number in range(MOST_CONNECTIONS):
        servers.use(UseServers(f"c{number}", (one,)))
    servers.use(UseServers("more", (one,)))
    (refused,) = [message for message in told if message.call == "more"]
    assert str(MOST_CONNECTIONS) in refused.error
    assert SECRET in servers.secrets("c0")
    servers.forget("c0")
    servers.use(UseServers("again", (one,)))
    servers.use(UseServers("again", (one, ClientServer("home"))))  # its connection stays
    assert [message.label for message in told if message.call == "again"] == ["home"]
    assert len(runner.begun) == MOST_CONNECTIONS + 1
    assert [future.cancelled() for future in runner.begun[:2]] == [True, False]
    servers.use(UseServers("again", ()))
    servers.forget_all()
    assert all(future.cancelled() for future in runner.begun) and not servers.secrets("c1")
