"""Field case E6: real Caddy and real nginx, with the examples of deploy/, in front of the server
under /voice/.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import httpx
import pytest
from chromium import browser_with, bubble, opened, type_line
from client import spoken
from playwright.async_api import expect
from running import ROOT, SCRIPTED, Server

from whisperfusion.client.timed_call import TimedCall
from whisperfusion.gateway.access.certificates.authority import make
from whisperfusion.gateway.access.certificates.identity import sign
from whisperfusion.gateway.access.certificates.names import Names
from whisperfusion.gateway.access.certificates.x509 import pem, private_pem
from whisperfusion.runtime.ports import free_ports

DEPLOY = ROOT / "deploy"
SECRET = "open-sesame"
NAME = "localhost"  # of the site, in the tests
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Site:
    """The server as a browser finds it: behind a proxy, with TLS where the example has it."""

    url: str
    authority: Path | None = None  # who signed its certificate

    @property
    def sockets(self) -> str:
        return self.url.replace("http", "ws", 1)


@pytest.fixture(scope="module")
def server():
    running = Server(
        *SCRIPTED, f"--shared-secret={SECRET}", "--root-path=/voice", "--trusted-proxies=127.0.0.1"
    )
    try:
        yield running.wait_ready()
    finally:
        running.stop()


def replaced(file: Path, *changes: tuple[str, str]) -> str:
    """The text of an example with other ports and files; all that is replaced has to be there."""
    text = file.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, f"{file.name} has no {old!r} any more"
        text = text.replace(old, new)
    return text


@contextmanager
def running(command: list[str], port: int, log: Path, **environment: str) -> Iterator[None]:
    """A proxy in the foreground, until the block ends."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, env={**os.environ, **environment}
        )
        try:
            deadline = time.monotonic() + PATIENCE_S
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                    time.sleep(0.05)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def caddy(server, tmp_path_factory) -> Iterator[Site]:
    assert shutil.which("caddy"), "this test needs the Debian package caddy"
    folder, (port, admin) = tmp_path_factory.mktemp("caddy"), free_ports(2)
    names = {
        "SITE": f"http://{NAME}:{port}",
        "UPSTREAM": f"127.0.0.1:{server.http_port}",
        "CADDY_ADMIN": f"localhost:{admin}",
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(DEPLOY / "Caddyfile")]
    with running(command, port, folder / "log", **names):
        yield Site(f"http://{NAME}:{port}")


def nginx_site(server: Server, folder: Path, cuts: bool) -> Iterator[Site]:
    """`cuts`: the proxy cuts the path off, as the example does; else it leaves it on."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    assert Path(program).exists(), "this test needs the Debian package nginx"
    (port,) = free_ports(1)
    now = datetime.now(timezone.utc)
    authority = make(NAME, [], now)
    certificate, key = sign(authority, Names((NAME,), ()), now)
    (folder / "authority.crt").write_bytes(pem(authority.certificate))
    (folder / "site.crt").write_bytes(pem(certificate))
    (folder / "site.key").write_bytes(private_pem(key))
    example = replaced(
        DEPLOY / "nginx.conf",
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("server_name voice.example.org;", f"server_name {NAME};"),
        ("/etc/ssl/voice.example.org.crt", str(folder / "site.crt")),
        ("/etc/ssl/voice.example.org.key", str(folder / "site.key")),
        ("http://127.0.0.1:8000/;", f"http://127.0.0.1:{server.http_port}{'/' if cuts else ''};"),
    )
    (folder / "site.conf").write_text(example)
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}include {folder}/site.conf;\n}}\n"
    )
    folder.chmod(0o755)
    command = [program, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    with running(command, port, folder / "log"):
        yield Site(f"https://{NAME}:{port}", folder / "authority.crt")


@pytest.fixture(scope="module")
def nginx(server, tmp_path_factory) -> Iterator[Site]:
    yield from nginx_site(server, tmp_path_factory.mktemp("nginx"), cuts=True)


@pytest.fixture(scope="module")
def nginx_that_leaves_the_path_on(server, tmp_path_factory) -> Iterator[Site]:
    yield from nginx_site(server, tmp_path_factory.mktemp("nginx"), cuts=False)


@pytest.mark.parametrize("name", ["caddy", "nginx", "nginx_that_leaves_the_path_on"])
async def test_e6_behind_a_proxy_under_a_path_page_docs_and_sockets_work(
    name, request, monkeypatch
):
    site: Site = request.getfixturevalue(name)
    if site.authority:
        monkeypatch.setenv(
            "SSL_CERT_FILE", str(site.authority)
        )  # as a user of Python would trust it
    key = {"Authorization": f"Bearer {SECRET}"}
    async with httpx.AsyncClient(
        base_url=site.url, verify=ssl.create_default_context(), timeout=PATIENCE_S
    ) as http:
        for path in (
            "",
            "docs",
            "dashboard",
            "static/docs.js",
            "static/app.js",
            "static/app.webmanifest",
        ):
            assert (await http.get(f"/voice/{path}")).status_code == 200, path
        assert (
            (await http.get("/voice", follow_redirects=False))
            .headers["location"]
            .endswith("/voice/")
        )
        assert (await http.get("/voice/config.json")).status_code == 401
        assert (await http.get("/voice/config.json", headers=key)).json()["status"] == "ok"
        schema = (await http.get("/voice/openapi.json", headers=key)).json()
        assert schema["servers"] == [{"url": "/voice"}] and "/v1/audio/speech" in schema["paths"]
        speech = await http.post(
            "/voice/v1/audio/speech", headers=key, json={"input": "hi", "response_format": "pcm"}
        )
        assert speech.status_code == 200 and len(speech.content) > 1000
    sockets = (f"{site.sockets}/voice/transcription", f"{site.sockets}/voice/audio")
    async with TimedCall(*sockets, key=SECRET) as call:
        told = await call.turn(spoken("alpha beta"))
    assert (told.transcript, told.reply) == ("alpha beta", "You said alpha beta. That is 2 words.")
    assert len(told.audio)


async def test_e6_relative_the_pages_work_in_a_browser_under_a_path(caddy):
    async with browser_with() as browser:
        async with opened(browser, f"{caddy.url}/voice/?token={SECRET}") as page:
            await page.goto(f"{caddy.url}/voice/docs?token={SECRET}")
            await expect(page.locator("#routes details").first).to_be_visible()
            await page.goto(f"{caddy.url}/voice/")
            await type_line(page, "alpha beta")
            await expect(bubble(page, "assistant").first).to_contain_text("You said alpha beta")
