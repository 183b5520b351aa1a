"""The balancer's configuration in a real HAProxy, and the command of Redis in a real Redis.

Debian's HAProxy is older than the chart's image, so `hash-key addr` is left out: it makes several
balancers choose alike, and here is one. Names come from a DNS server of the test's own.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from whisperfusion.runtime.ports import free_ports

pytest.importorskip("helm_python")

import redis
from chart_objects import objects, of_kind, one, pods

pytestmark = pytest.mark.waits
LIMIT_S = 20.0
ADDRESSES = ("127.0.1.1", "127.0.1.2", "127.0.1.3")
PORTS = (8000, 6006, 8888)
NUMBERS = itertools.count()


class DNS(threading.Thread):
    """Answers every question of the type A with `addresses`, all others with nothing."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.addresses = list(ADDRESSES)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]

    def run(self) -> None:
        while True:
            try:
                query, client = self.socket.recvfrom(4096)
            except OSError:  # closed
                return
            end = query.index(b"\0", 12) + 5
            is_a = query[end - 4 : end - 2] == b"\0\1"
            found = self.addresses if is_a else []
            records = b"".join(
                b"\xc0\x0c\0\1\0\1" + struct.pack("!IH", 1, 4) + socket.inet_aton(address)
                for address in found
            )
            head = query[:2] + struct.pack("!HHHHH", 0x8180, 1, len(found), 0, 0)
            self.socket.sendto(head + query[12:end] + records, client)


@dataclass
class Cell:
    """Three ports of one address; `ready` is what /ready says."""

    address: str
    ready: bool = True
    servers: list[ThreadingHTTPServer] = field(default_factory=list)

    def listen(self, ports: list[int]) -> None:
        cell = self

        class Handler(BaseHTTPRequestHandler):
            wbufsize = -1  # one write: HAProxy closes a check when it has read the status

            def do_GET(self) -> None:
                full = self.path == "/ready" and not cell.ready
                seen = {"cell": cell.address, "headers": dict(self.headers)}
                body = json.dumps(seen).encode()
                self.send_response(503 if full else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        for port in ports:
            server = ThreadingHTTPServer((self.address, port), Handler)
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            self.servers.append(server)

    def close(self) -> None:
        while self.servers:
            server = self.servers.pop()
            server.shutdown()
            server.server_close()


@dataclass
class Balanced:
    ports: dict[int, int]
    cells: dict[str, Cell]
    dns: DNS
    log: Path

    def ask(
        self, uid: str = "", port: int = 8000, path: str = "/audio", **headers: str
    ) -> dict[str, Any]:
        query = f"?uid={uid}&token=very-secret" if uid else ""
        url = f"http://127.0.0.1:{self.ports[port]}{path}{query}"
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            seen: dict[str, Any] = json.load(answer)
            return seen

    def cell_of(self, uid: str = "", port: int = 8000) -> str:
        return str(self.ask(uid, port)["cell"])

    def reached(self) -> set[str]:
        """The cells of sixty new callers and of twenty requests, where both reach the same; none
        while HAProxy has not found a cell yet.
        """
        try:
            calls = {self.cell_of(f"caller-{next(NUMBERS)}") for _ in range(60)}
            requests = {str(self.ask(path="/v1/models")["cell"]) for _ in range(20)}
            return calls if calls == requests else set()
        except OSError:
            return set()

    def until(self, cells: set[str]) -> None:
        """Waits until exactly these are chosen."""
        end = time.monotonic() + LIMIT_S
        while (found := self.reached()) != cells:
            assert time.monotonic() < end, f"{found} instead of {cells}"
            time.sleep(0.05)


def configuration(ports: dict[int, int], dns: DNS) -> str:
    config = one(objects("cells"), "ConfigMap", "whisperfusion-balancer")
    text: str = config["data"]["haproxy.cfg"]
    assert text.count("hash-key addr") == 3
    text = text.replace(" hash-key addr", "")
    text = re.sub(r"bind :(\d+)", lambda m: f"bind 127.0.0.1:{ports[int(m[1])]}", text)
    text = re.sub(r"(check port|dst_port) 8000", rf"\1 {ports[8000]}", text)
    return text.replace("parse-resolv-conf", f"nameserver own 127.0.0.1:{dns.port}")


@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balanced]:
    assert shutil.which("haproxy"), "install haproxy (CONTRIBUTING.md)"
    folder = tmp_path_factory.mktemp("haproxy")
    ports = dict(zip((*PORTS, 8404), free_ports(4), strict=True))
    dns = DNS()
    dns.start()
    cells = {address: Cell(address) for address in ADDRESSES}
    for cell in cells.values():
        cell.listen([ports[port] for port in PORTS])
    (folder / "haproxy.cfg").write_text(configuration(ports, dns), encoding="utf-8")
    with (folder / "log").open("wb") as log:
        program = subprocess.Popen(
            ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")],
            env={**os.environ, "CELLS": "cells.test.svc.cluster.local"},
            stdout=log,
            stderr=log,
        )
    try:
        yield Balanced(ports, cells, dns, folder / "log")
    finally:
        program.kill()
        program.wait(LIMIT_S)
        dns.socket.close()
        for cell in cells.values():
            cell.close()


def test_both_sockets_of_a_caller_reach_one_cell(balanced: Balanced) -> None:
    balanced.until(set(ADDRESSES))
    for number in range(40):
        uid = f"{number}-uid"
        assert len({balanced.cell_of(uid, port) for port in PORTS}) == 1
    assert len({balanced.cell_of("", port) for port in PORTS}) == 1, "by address without a uid"


def test_a_cell_that_is_full_gets_no_new_call_but_the_second_socket_of_its_last(
    balanced: Balanced,
) -> None:
    balanced.until(set(ADDRESSES))
    first = {uid: balanced.cell_of(uid, 6006) for uid in map(str, range(60))}
    full, *rest = ADDRESSES
    balanced.cells[full].ready = False
    balanced.until(set(rest))
    assert full in first.values()
    assert {uid: balanced.cell_of(uid, 8888) for uid in first} == first
    balanced.cells[full].ready = True
    balanced.until(set(ADDRESSES))


def test_a_cell_that_is_gone_leaves_its_callers_to_the_others(balanced: Balanced) -> None:
    """Also a caller that is known to belong to it."""
    balanced.until(set(ADDRESSES))
    uid = next(uid for uid in map(str, range(1000)) if balanced.cell_of(uid) == ADDRESSES[0])
    balanced.cells[ADDRESSES[0]].close()
    assert balanced.cell_of(uid) in ADDRESSES[1:]
    balanced.cells[ADDRESSES[0]].listen([balanced.ports[port] for port in PORTS])
    balanced.until(set(ADDRESSES))


def test_when_every_cell_is_full_one_of_them_answers(balanced: Balanced) -> None:
    """So that a client hears from it how long to wait."""
    balanced.until(set(ADDRESSES))
    for cell in balanced.cells.values():
        cell.ready = False
    end = time.monotonic() + LIMIT_S
    while "waiting/" not in balanced.log.read_text(encoding="utf-8"):
        assert balanced.cell_of(f"someone-{next(NUMBERS)}") in ADDRESSES
        assert time.monotonic() < end, "no call reached the backend `waiting`"
        time.sleep(0.05)
    for cell in balanced.cells.values():
        cell.ready = True
    balanced.until(set(ADDRESSES))


def test_cells_come_and_go_with_the_answers_of_the_dns(balanced: Balanced) -> None:
    balanced.dns.addresses = list(ADDRESSES[1:])
    balanced.until(set(ADDRESSES[1:]))
    balanced.dns.addresses = list(ADDRESSES)
    balanced.until(set(ADDRESSES))


def test_addresses_are_passed_on_and_keys_are_not_logged(balanced: Balanced) -> None:
    balanced.until(set(ADDRESSES))
    headers = balanced.ask("u", **{"X-Forwarded-For": "203.0.113.7"})["headers"]
    assert headers["x-forwarded-for"] == "127.0.0.1", "a client's own word is not believed"
    text = balanced.log.read_text(encoding="utf-8")
    assert "/audio" in text and "very-secret" not in text


def test_redis_asks_for_its_password_and_ends_at_once(tmp_path: Path) -> None:
    (pod,) = [pod for pod in pods(objects("cells")) if pod.component == "redis"]
    (container,) = pod.containers
    (port,) = free_ports(1)
    password = 'with "quotes" and $signs'
    text = container["args"][0].replace("/data", f"{tmp_path} --bind 127.0.0.1 --port {port}")
    program = subprocess.Popen(
        [*container["command"], text],
        env={**os.environ, "REDIS_PASSWORD": password.replace('"', "")},
        stdout=subprocess.DEVNULL,
    )
    try:
        client = redis.Redis(port=port, password=password.replace('"', ""))
        end = time.monotonic() + LIMIT_S
        while True:
            try:
                assert client.ping()
                break
            except redis.ConnectionError:
                assert time.monotonic() < end and program.poll() is None
                time.sleep(0.02)
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=port).ping()
        arguments = Path(f"/proc/{program.pid}/cmdline").read_bytes()
        assert arguments.startswith(b"redis-server") and b"signs" not in arguments
        program.send_signal(signal.SIGTERM)
        assert program.wait(LIMIT_S) == 0
    finally:
        program.kill()
        program.wait(LIMIT_S)
    assert of_kind(objects("cells"), "StatefulSet")
