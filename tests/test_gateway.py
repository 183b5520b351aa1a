"""The gateway's own promises: sockets passed through unchanged, doors, health, files, and life
as a process.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import struct

import httpx
import pytest
from fake_sockets import PATIENCE_S, READY, fake_server, serving
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

import gateway
from whisperfusion.gateway import page
from whisperfusion.gateway.proxy import LARGEST_MESSAGE
from whisperfusion.messages import Heartbeat, Ready, Stage
from whisperfusion.settings import Settings, SettingsError

SECRET = "open sesame"


def ws(address: str, path: str) -> str:
    return address.replace("http", "ws", 1) + path


async def ending(socket) -> tuple[int, str]:
    """How the other side closed; what it says before that is not looked at."""
    await asyncio.wait_for(drain(socket), PATIENCE_S)
    return socket.close_code, socket.close_reason


async def drain(socket) -> None:
    with pytest.raises(ConnectionClosed):
        while True:
            await socket.recv()


def first_offered(connection, offered):
    return offered[0] if offered else None


@pytest.fixture
async def upstream():
    """A socket server that a test gives its behaviour: `upstream.handler = ...`."""

    class Upstream:
        handler = None
        requests: list = []

    state = Upstream()
    state.requests = []

    async def handle(socket):
        state.requests.append(socket.request)
        await state.handler(socket)

    async with serve(
        handle, "127.0.0.1", 0, max_size=None, select_subprotocol=first_offered, close_timeout=0.2
    ) as server:
        state.port = server.sockets[0].getsockname()[1]
        yield state


def settings_for(port: int, **fields) -> Settings:
    return Settings(asr_port=port, tts_port=port, http_port=0, **fields)


async def echo(socket) -> None:
    async for message in socket:
        await socket.send(message)


# --- the sockets --------------------------------------------------------------------------------


async def test_text_and_binary_pass_both_ways_unchanged(upstream):
    upstream.handler = echo
    async with serving(settings_for(upstream.port), dict(READY)) as address:
        for path in ("/transcription", "/audio"):
            async with connect(ws(address, path)) as client:
                for message in ("héllo", "", b"\x00\xff\x80", b"", "END_OF_AUDIO", b"END_OF_AUDIO"):
                    await client.send(message)
                    assert await client.recv() == message


async def test_the_inner_socket_sees_address_query_peer_and_key(upstream):
    upstream.handler = echo
    headers = {"Authorization": "Bearer k", "X-Forwarded-For": "6.6.6.6, 7.7.7.7"}
    for proxies, believed in (
        ("", "127.0.0.1"),
        ("127.0.0.1", "7.7.7.7"),
        ("127.0.0.1, 7.7.0.0/16", "6.6.6.6"),
    ):
        async with serving(
            settings_for(upstream.port, trusted_proxies=proxies), dict(READY)
        ) as address:
            url = ws(address, "/audio?uid=a%20b&events=1")
            async with connect(
                url, additional_headers=headers, subprotocols=["bearer", "k"]
            ) as client:
                assert client.subprotocol == "bearer"
        request = upstream.requests.pop()
        assert request.path == "/audio?uid=a%20b&events=1"
        assert request.headers["Authorization"] == "Bearer k"
        assert request.headers["X-Forwarded-For"] == believed


async def test_close_codes_travel_in_both_directions(upstream):
    closed = asyncio.get_running_loop().create_future()

    async def handler(socket):
        if "server-ends" in socket.request.path:
            await socket.send("last words")
            await socket.close(4001, "enough für heute")
        else:
            await socket.wait_closed()
            closed.set_result((socket.close_code, socket.close_reason))

    upstream.handler = handler
    async with serving(settings_for(upstream.port), dict(READY)) as address:
        async with connect(ws(address, "/audio?server-ends")) as client:
            assert await client.recv() == "last words"
            assert await ending(client) == (4001, "enough für heute")
        async with connect(ws(address, "/audio")) as client:
            await client.close(4002, "bye")
        assert await asyncio.wait_for(closed, PATIENCE_S) == (4002, "bye")


async def test_upstream_down_is_try_again_later(upstream):
    async with serve(echo, "127.0.0.1", 0) as gone:
        port = gone.sockets[0].getsockname()[1]
    async with serving(settings_for(port), dict(READY)) as address:
        async with connect(ws(address, "/transcription")) as client:
            code, reason = await ending(client)
    assert code == 1013 and "try again" in reason


async def test_upstream_dying_is_service_restart(upstream):
    async def handler(socket):
        await socket.recv()
        socket.transport.abort()

    upstream.handler = handler
    async with serving(settings_for(upstream.port), dict(READY)) as address:
        async with connect(ws(address, "/transcription")) as client:
            await client.send("hello")
            code, reason = await ending(client)
    assert code == 1012 and "connect again" in reason


async def test_upstream_that_refuses_the_secret_is_a_policy_violation():
    async def refuse(connection, request):
        return connection.respond(401, "no")

    async with serve(echo, "127.0.0.1", 0, process_request=refuse) as server:
        port = server.sockets[0].getsockname()[1]
        async with serving(settings_for(port), dict(READY)) as address:
            async with connect(ws(address, "/audio")) as client:
                assert (await ending(client))[0] == 1008


async def test_messages_up_to_the_limit_pass_and_larger_ones_are_told(upstream):
    upstream.handler = echo
    async with serving(settings_for(upstream.port), dict(READY)) as address:
        async with connect(ws(address, "/audio"), max_size=None) as client:
            await client.send(bytes(LARGEST_MESSAGE))
            assert len(await client.recv()) == LARGEST_MESSAGE
            # the head of a frame is enough to be told, and nothing is left in flight that could
            # turn it into a reset
            client.transport.write(b"\x82\xff" + struct.pack(">QI", LARGEST_MESSAGE + 1, 0))
            assert (await ending(client))[0] == 1009


async def test_a_larger_message_of_the_server_is_told_too(upstream):
    async def handler(socket):
        await socket.send(bytes(LARGEST_MESSAGE + 1))

    upstream.handler = handler
    async with serving(settings_for(upstream.port), dict(READY)) as address:
        async with connect(ws(address, "/audio"), max_size=None) as client:
            assert (await ending(client))[0] == 1009


async def test_a_client_that_does_not_read_stops_the_inner_sender(upstream):
    block, sent = bytes(2**20), []
    full = asyncio.Event()

    async def handler(socket):
        for _ in range(200):
            try:
                await asyncio.wait_for(socket.send(block), 1.0)
            except asyncio.TimeoutError:
                full.set()
                return
            sent.append(1)
        full.set()

    upstream.handler = handler
    async with serving(settings_for(upstream.port), dict(READY)) as address:
        async with connect(ws(address, "/audio"), max_queue=1, max_size=None) as client:
            await asyncio.wait_for(full.wait(), PATIENCE_S)
            client.transport.abort()
    assert len(sent) < 60


async def test_an_answer_does_not_wait_for_an_acknowledgement(upstream):
    """asyncio sets TCP_NODELAY on its own sockets only; ours is inherited by those that it
    accepts.
    """
    listener = gateway.listen("127.0.0.1", 0)
    with listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# --- who may come in ----------------------------------------------------------------------------


async def test_the_secret_guards_everything_but_the_page_and_the_probes(upstream):
    upstream.handler = echo
    async with serving(settings_for(upstream.port, shared_secret=SECRET), dict(READY)) as address:
        async with httpx.AsyncClient(base_url=address, timeout=PATIENCE_S) as http:
            # probes carry no key
            for path in ("/", "/static/app.js", "/health", "/healthz", "/health/asr"):
                assert (await http.get(path)).status_code == 200
            for path in ("/config.json", "/openapi.json", "/no-such-thing", "/static"):
                answer = await http.get(path)
                assert answer.status_code == 401 and "key" in answer.json()["error"]["message"], (
                    path
                )
                assert (await http.get(path, params={"token": SECRET[:-1]})).status_code == 401
            assert (await http.get("/config.json", params={"token": SECRET})).status_code == 200
            assert (
                await http.get("/config.json", headers={"Authorization": f"Bearer {SECRET}"})
            ).status_code == 200
        with pytest.raises(InvalidStatus) as refused:
            await connect(ws(address, "/transcription"))
        assert refused.value.response.status_code == 401 and not upstream.requests
        async with connect(
            ws(address, "/audio"), additional_headers={"Authorization": f"Bearer {SECRET}"}
        ) as client:
            await client.ping()


@pytest.mark.parametrize(
    ("origin", "listed", "allowed"),
    [
        (None, "", True),
        ("same", "", True),
        ("https://evil.example", "", False),
        ("null", "", False),
        ("https://friend.example", "https://friend.example", True),
        ("https://friend.example.evil.example", "https://friend.example", False),
        ("https://any.example", "*", True),
    ],
)
async def test_pages_of_other_sites_need_to_be_listed(upstream, origin, listed, allowed):
    upstream.handler = echo
    async with serving(settings_for(upstream.port, cors_origins=listed), dict(READY)) as address:
        origin = address if origin == "same" else origin
        if not allowed:
            with pytest.raises(InvalidStatus) as refused:
                await connect(ws(address, "/transcription"), origin=origin)
            assert refused.value.response.status_code == 403
        else:
            async with connect(ws(address, "/transcription"), origin=origin) as client:
                await client.send("hello")
                assert await client.recv() == "hello"
        headers = {"Origin": origin} if origin else {}
        async with httpx.AsyncClient(base_url=address, timeout=PATIENCE_S) as http:
            answer = await http.get("/health", headers=headers)
        assert ("access-control-allow-origin" in answer.headers) == bool(listed and allowed)


async def test_a_listed_page_may_ask_before_it_sends_the_secret(upstream):
    settings = settings_for(
        upstream.port, cors_origins="https://friend.example", shared_secret=SECRET
    )
    asking = {
        "Origin": "https://friend.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    async with (
        serving(settings, dict(READY)) as address,
        httpx.AsyncClient(base_url=address, timeout=PATIENCE_S) as http,
    ):
        answer = await http.options("/health", headers=asking)
    assert (
        answer.status_code == 200
        and "authorization" in answer.headers["access-control-allow-headers"]
    )


# --- health and the page ------------------------------------------------------------------------


async def test_health_follows_the_stages():
    stages = {"asr": READY["asr"]}
    async with (
        serving(Settings(http_port=0), stages) as address,
        httpx.AsyncClient(base_url=address, timeout=PATIENCE_S) as http,
    ):
        answer = await http.get("/health")
        assert (answer.status_code, answer.json()["status"]) == (503, "starting")
        assert answer.json()["stages"]["llm"]["state"] == "starting"
        stages |= READY
        for path in ("/health", "/healthz", "/healthcheck"):
            answer = await http.get(path)
            assert (answer.status_code, answer.json()["status"]) == (200, "ok")
        assert answer.json()["stages"]["asr"]["engine"] == "scripted"
        stages["tts"] = Stage("tts", "down", restarts=2, note="was killed by signal 9")
        answer = await http.get("/health")
        assert (answer.status_code, answer.json()["status"]) == (503, "degraded")
        tts, asr, nothing = [await http.get(f"/health/{name}") for name in ("tts", "asr", "nobody")]
    assert (
        tts.status_code == 503 and tts.json()["restarts"] == 2 and "signal 9" in tts.json()["note"]
    )
    assert (
        asr.status_code == 200
        and nothing.status_code == 404
        and "asr" in nothing.json()["error"]["message"]
    )


async def test_alone_it_probes_the_two_sockets():
    async with fake_server() as server:
        async with (
            serving(server.settings(), None) as address,
            httpx.AsyncClient(base_url=address, timeout=PATIENCE_S) as http,
        ):
            answer = await http.get("/health")
            assert answer.status_code == 200 and set(answer.json()["stages"]) == {"asr", "tts"}
    async with (
        serving(server.settings(), None) as address,
        httpx.AsyncClient(base_url=address, timeout=PATIENCE_S) as http,
    ):
        answer = await http.get("/health")
    assert answer.status_code == 503 and "no response" in answer.json()["stages"]["asr"]["note"]


async def test_every_file_of_the_page_has_its_type_and_the_policy():
    types = {
        ".js": "text/javascript",
        ".css": "text/css",
        ".svg": "image/svg+xml",
        ".html": "text/html",
        ".ts": "text/plain",
    }
    types |= {".png": "image/png", ".webmanifest": "application/manifest+json"}
    types |= {".json": "application/json", ".md": "text/markdown"}
    async with (
        serving(Settings(http_port=0), {}) as address,
        httpx.AsyncClient(base_url=address, timeout=PATIENCE_S) as http,
    ):
        paths = {"/": ".html"} | {
            f"/static/{file.relative_to(page.WEB)}": file.suffix
            for file in page.WEB.rglob("*")
            if file.is_file()
        }
        for path, suffix in paths.items():
            answer = await http.get(path)
            assert answer.status_code == 200 and answer.headers["content-type"].startswith(
                types[suffix]
            ), path
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["cache-control"] == "no-cache"
        again = await http.get(
            "/static/app.js",
            headers={"If-None-Match": (await http.get("/static/app.js")).headers["etag"]},
        )
        assert again.status_code == 304
        for outside in ("/static/../gateway.py", "/static/%2e%2e/gateway.py", "/gateway.py"):
            assert (await http.get(outside)).status_code == 404
        facts = (await http.get("/config.json")).json()
    assert (
        facts["sample_rate"] == 24_000
        and facts["engines"]["asr"] == "faster-whisper"
        and facts["status"] == "starting"
    )


async def test_the_page_is_told_no_keys():
    servers = {f"{stage}_key": "sk-very-secret" for stage in ("asr", "llm", "tts")}
    servers |= {f"{stage}_url": "http://inner:1" for stage in ("asr", "llm", "tts")}
    settings = Settings(http_port=0, shared_secret=SECRET, **servers)
    async with (
        serving(settings, {}) as address,
        httpx.AsyncClient(base_url=address, timeout=PATIENCE_S) as http,
    ):
        text = (await http.get("/config.json", params={"token": SECRET})).text
    assert "sk-very-secret" not in text and "inner" not in text and SECRET not in text


# --- a process ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", ["inbox", "SIGTERM"])
async def test_as_a_process_it_reports_itself_takes_news_and_stops(ask):
    context = multiprocessing.get_context("spawn")
    inbox, outbox = context.Queue(), context.Queue()
    process = context.Process(
        target=gateway.run, args=(Settings(http_port=0), inbox, outbox), daemon=True
    )
    process.start()
    try:
        messages = [await asyncio.to_thread(outbox.get, timeout=PATIENCE_S)]
        while not isinstance(messages[-1], Ready):
            messages.append(await asyncio.to_thread(outbox.get, timeout=PATIENCE_S))
        ready = messages[-1]
        assert (ready.name, ready.engine) == ("gateway", "fastapi")
        for stage in READY.values():
            inbox.put(stage)
        async with httpx.AsyncClient(base_url=ready.device, timeout=PATIENCE_S) as http:
            while (await http.get("/health")).status_code != 200:
                assert process.is_alive()
        assert isinstance(await asyncio.to_thread(outbox.get, timeout=PATIENCE_S), Heartbeat)
        inbox.put(None) if ask == "inbox" else os.kill(process.pid, signal.SIGTERM)
        await asyncio.to_thread(process.join, PATIENCE_S)
        assert process.exitcode == 0
    finally:
        process.kill()


async def test_open_calls_do_not_hold_up_a_stop():
    async with fake_server() as server:
        async with serving(server.settings(), dict(READY)) as address:
            client = await connect(ws(address, "/audio?uid=x"))
            await server.until(lambda: server.calls)
        assert (await ending(client))[0] == 1012


def test_a_taken_port_is_told_in_words():
    with gateway.listen("127.0.0.1", 0) as taken:
        with pytest.raises(SettingsError, match="HTTP_PORT"):
            gateway.listen("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "upstream_host", "expected"),
    [
        ("127.0.0.1", "", "127.0.0.1"),
        ("0.0.0.0", "", "127.0.0.1"),
        ("::", "", "[::1]"),
        ("192.0.2.7", "", "192.0.2.7"),
        ("0.0.0.0", "gpu", "gpu"),
    ],
)
def test_where_the_inner_sockets_are(host, upstream_host, expected):
    assert gateway.upstream_host(Settings(host=host, upstream_host=upstream_host)) == expected
