"""How many get in, and from where: cases of the field, with the right values."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import resource
import socket

import pytest
from client import PATIENCE_S, Caller
from raw_http import asked, opened
from running import SCRIPTED
from websockets.asyncio.client import connect

import main
from tts_service import Service
from whisperfusion.errors import SettingsError
from whisperfusion.messages import CallStarted
from whisperfusion.runtime.listener import Listener, listen_on, url_host
from whisperfusion.runtime.rate_limits import Cost, Limits, Quota, TooMany, names_of
from whisperfusion.settings import Settings
from whisperfusion.synthesis.calls import Call as Call8888
from whisperfusion.synthesis.listeners import Listener as Listener8888
from whisperfusion.wire.tts_socket import Name

# --- totals for each key, address and server


def test_totals_one_address_gets_its_share_and_another_goes_on():
    limits, cost = Limits(0, 0), Cost("responses", most=8, each=2)
    loud, other = (
        Quota(limits, names_of(None, "203.0.113.1")),
        Quota(limits, names_of(None, "203.0.113.2")),
    )
    with loud.hold(cost), loud.hold(cost):
        with pytest.raises(TooMany, match="2 responses at once") as refused, loud.hold(cost):
            pass
        assert refused.value.retry_after_s > 0
        with other.hold(cost):
            pass
    with loud.hold(cost):  # what ended makes room
        pass
    assert not limits._held


def test_totals_a_key_and_this_machine_get_more_but_never_all():
    limits, cost = Limits(0, 0), Cost("files", most=8, each=2)
    for names in (names_of(0, ""), names_of(None, "127.0.0.1"), names_of(None, "::1")):
        assert cost.share(names[0]) == 6
    held = [limits.hold(cost, names_of(None, f"203.0.113.{number // 2}")) for number in range(8)]
    for one in held:
        one.__enter__()
    with (
        pytest.raises(TooMany, match="all 8 files"),
        limits.hold(cost, names_of(None, "198.51.100.1")),
    ):
        pass
    for one in held:
        one.__exit__(None, None, None)
    assert not limits._held


def test_totals_relative_ipv6_is_counted_by_network_and_mapped_ipv4_as_ipv4():
    assert (
        names_of(None, "2001:db8::1")
        == names_of(None, "2001:db8::ffff:2")
        != names_of(None, "2001:db8:0:1::1")
    )
    assert names_of(2, "::ffff:192.0.2.1") == ("key 2", "address 192.0.2.1")


async def test_totals_one_address_cannot_take_every_line(start_server):
    """The test is its own trusted proxy, so that it can come from anywhere."""
    server = start_server(*SCRIPTED, "--max-callers=4", "--trusted-proxies=127.0.0.1/32")

    async def call(number: int, address: str):
        client = await connect(server.asr_url, additional_headers={"X-Forwarded-For": address})
        await client.send(json.dumps({"uid": f"line-{number}", "events": True, "reply": False}))
        return client, json.loads(await asyncio.wait_for(client.recv(), PATIENCE_S))

    calls = [await call(number, "203.0.113.7") for number in range(4)]
    assert [greeting.get("message") for _, greeting in calls[:3]] == ["SERVER_READY"] * 3
    assert calls[3][1]["status"] == "WAIT"  # the fourth place is another client's
    await calls[3][0].wait_closed()
    assert calls[3][0].close_code == 1013 and "3 calls" in calls[3][0].close_reason
    calls.append(await call(5, "203.0.113.8"))
    assert calls[4][1]["message"] == "SERVER_READY"
    calls.append(await call(6, "127.0.0.1"))
    assert calls[5][1]["status"] == "WAIT" and calls[5][1]["message"] == 5.0
    await calls[0][0].close()
    while calls[-1][1]["message"] != "SERVER_READY":  # what ended makes room, in a moment
        calls.append(await call(len(calls) + 1, "203.0.113.7"))
    for client, _ in calls:
        await client.close()


# --- A7: idle and many connections


async def test_a7_connections_without_a_whole_head_are_closed_and_others_served(scripted_server):
    server, partial = scripted_server, b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
    ports = (server.http_port, server.asr_port, server.tts_port)
    idle = [
        await opened(port, echoed) for port in ports for echoed in (b"", partial) for _ in range(50)
    ]
    # The second request of a connection is timed like the first.
    second = await opened(server.http_port, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b"200 OK" in await second[0].readline()
    second[1].write(partial)
    assert (await asked(server.http_port, "/health"))[0] == 200
    async with Caller(server) as caller:
        await caller.send("say", text="alpha")
        await caller.answered()
    for reader, _ in [*idle, second]:
        await asyncio.wait_for(reader.read(), PATIENCE_S)  # to the end of the stream
    for _, writer in [*idle, second]:
        writer.close()


async def echo_lines(listener: Listener) -> asyncio.Server:
    """A server whose head is one line, which it echoes."""

    async def serve(reader, writer) -> None:
        peer = writer.get_extra_info("peername")
        while line := await reader.readline():
            listener.head_received(peer, from_gateway=line == b"inner\n")
            writer.write(b"crowded\n" if listener.over_capacity(peer) else line)
        writer.close()

    return await asyncio.start_server(serve, sock=listener)


async def echoed(connection, line: bytes = b"hi\n") -> bytes:
    reader, writer = connection
    writer.write(line)
    return await asyncio.wait_for(reader.readline(), PATIENCE_S)


async def test_a7_one_address_fills_its_share_and_neither_others_nor_our_own_are_shut_out():
    listener = listen_on("127.0.0.1", 0, "HTTP_PORT", most=16)
    port = listener.getsockname()[1]
    async with await echo_lines(listener):
        held = [await opened(port) for _ in range(12)]  # of this machine, which has three quarters
        assert [await echoed(one) for one in held] == [b"hi\n"] * 12
        extra = [await opened(port) for _ in range(2)]
        assert await echoed(extra[0]) == b"crowded\n"  # told, once its head is known
        assert await echoed(extra[1], b"inner\n") == b"inner\n"
        held += extra
        idle = [
            await opened(port) for _ in range(30)
        ]  # beyond the limit each takes the place of an idle one
        newest = await opened(port)
        assert await echoed(newest, b"inner\n") == b"inner\n"
        for one in (*held, *idle, newest):
            one[1].close()


async def test_a7_relative_another_address_has_a_smaller_share_and_its_excess_is_its_own():
    listener = listen_on("127.0.0.1", 0, "HTTP_PORT", most=16)
    listener._stands_for_many = lambda address: False  # type: ignore[method-assign]  # from afar
    port = listener.getsockname()[1]
    async with await echo_lines(listener):
        held = [await opened(port, source="127.0.0.2") for _ in range(4)]
        assert [await echoed(one) for one in held] == [b"hi\n"] * 4
        refused = await opened(port, source="127.0.0.2")
        assert await refused[0].read() == b""
        other = await opened(port, source="127.0.0.3")
        assert await echoed(other) == b"hi\n"
        held[0][1].close()
        await asyncio.wait_for(held[0][0].read(), PATIENCE_S)
        again = await opened(port, source="127.0.0.2")
        assert await echoed(again) == b"hi\n"
        for one in (*held, refused, other, again):
            one[1].close()


async def test_a7_relative_missing_descriptors_write_one_line_and_end(caplog):
    listener = listen_on("127.0.0.1", 0, "HTTP_PORT", most=16)
    port = listener.getsockname()[1]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(name) for name in os.listdir("/proc/self/fd"))
    async with await echo_lines(listener):
        clients = [socket.socket() for _ in range(3)]
        for client in clients:
            client.setblocking(False)
        lowest = sorted(set(range(used + 8)) - {int(name) for name in os.listdir("/proc/self/fd")})[
            0
        ]
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
        try:
            for client in clients:
                await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
            for _ in range(100):
                await asyncio.sleep(0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for client in clients:
            await asyncio.get_running_loop().sock_sendall(client, b"hi\n")
            assert (
                await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 3), PATIENCE_S)
                == b"hi\n"
            )
            client.close()
    lines = [record.getMessage() for record in caplog.records if "accept" in record.getMessage()]
    assert len(lines) == 1 and "Too many open files" in lines[0]
    assert listener._log._left_out < 10  # once a second, not as often as the backlog is long


async def test_a7_relative_listeners_without_a_call_or_a_text_are_closed():
    class Out:
        closed_with = ()

        def close(self, *why) -> None:
            self.closed_with = why

    service = Service(Settings(tts_engine="scripted"), queue.Queue())
    idle, hearing, saying = (Listener8888(name, Out(), Name(name), "1.1.1.1") for name in "abc")
    service.listeners.open += [idle, hearing, saying]
    saying.texts.append(None)
    service.calls["b"] = Call8888(CallStarted("b", "b", "1.1.1.1", False, "", 1.0))
    service.calls["b"].listener = hearing
    for now in (0.0, 590.0, 1200.0):
        assert not idle.out.closed_with
        service.listeners.close_idle(now)
    assert idle.out.closed_with[0] == 1000 and "600 s" in idle.out.closed_with[1]
    assert not hearing.out.closed_with and not saying.out.closed_with
    del service.calls["b"]  # time counts from its end
    service.listeners.close_idle(1790.0)
    assert not hearing.out.closed_with
    service.listeners.close_idle(1801.0)
    assert hearing.out.closed_with


# --- E4, E5: addresses and quotes


async def test_e4_all_ports_listen_on_both_families(keyed_server):
    """The server of this fixture has HOST=::."""
    server = keyed_server
    for host in ("127.0.0.1", "::1"):
        assert (await asked(server.http_port, "/health", host=host))[0] == 200
        for port in (server.asr_port, server.tts_port):
            async with connect(
                f"ws://{url_host(host)}:{port}/?uid=e4",
                additional_headers={"X-API-Key": "sesame-one"},
            ) as client:
                assert client.protocol.state.name == "OPEN"
    assert "http://localhost:" in server.log and "http://::" not in server.log


async def test_e4_relative_ipv4_over_ipv6_is_counted_and_known_as_ipv4():
    listener = listen_on("::", 0, "HTTP_PORT", most=16)
    _reader, writer = await opened(listener.getsockname()[1])
    accepted, peer = await asyncio.get_running_loop().sock_accept(listener)
    assert accepted.getpeername() == peer and peer[:2] == writer.get_extra_info("sockname")[:2]
    listener.head_received(peer)
    assert accepted.headed
    writer.close()
    accepted.close()
    assert not listener._open and not listener._counts and not listener._headed
    listener.close()


def test_e4_relative_addresses_are_written_with_brackets_and_the_check_agrees():
    with listen_on("::1", 0, "ASR_PORT", 16) as taken:
        port = taken.getsockname()[1]
        chosen = Settings(host="::1", asr_port=port, tts_port=0, http_port=0)
        with pytest.raises(SettingsError, match=rf"\[::1\]:{port} .*ASR_PORT"):
            main.check_ports(chosen)
        with pytest.raises(SettingsError, match=rf"\[::1\]:{port} .*TTS_PORT"):
            listen_on("::1", port, "TTS_PORT", 16)
        main.check_ports(Settings(host="127.0.0.1", asr_port=0, tts_port=0, http_port=0))
    with (
        listen_on("127.0.0.1", 0, "ASR_PORT", 16) as taken,
        pytest.raises(SettingsError, match=r"\[::\]:"),
    ):
        main.check_ports(
            Settings(host="::", asr_port=taken.getsockname()[1], tts_port=0, http_port=0)
        )  # IPv4 is ours there, too
