"""`make check-links` against a server of this machine: what is there, gone, moved, and behind a
token; and what it takes from the project's files.
"""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Iterator

import check_links
import pytest
from check_links import Link

from whisperfusion.models.catalog import MODELS

TAG = "/v2/nvidia/cuda/manifests/12.4.1"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body, headers = self._answer()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def _answer(self) -> tuple[int, bytes, dict[str, str]]:
        path, _, query = self.path.partition("?")
        realm = f"http://{self.headers['Host']}/token"
        match path:
            case "/file":
                return 200, b"", {}
            case "/moved":
                return 302, b"", {"Location": "http://127.0.0.1:9/elsewhere"}
            case "/simple/some-package/":
                return 200, b'<a href="some_package-1.2.3-cp312-cp312-linux_x86_64.whl">', {}
            case "/token":
                right = query == "service=registry&scope=pull"
                return 200, json.dumps({"token": "right" if right else "wrong"}).encode(), {}
            case _ if path == TAG and "oci.image.index" not in self.headers["Accept"]:
                return 404, b"", {}
            case _ if path == TAG and self.headers["Authorization"] == "Bearer right":
                return 200, b"", {}
            case _ if path == TAG:
                asks = f'Bearer realm="{realm}",service="registry",scope="pull"'
                return 401, b"", {"WWW-Authenticate": asks}
            case "/gated":
                return 401, b"", {"WWW-Authenticate": 'Bearer realm="Authentication required"'}
        return 404, b"", {}

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def url() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def package(url: str, version: str, platform: str = "linux_x86_64") -> Link:
    return check_links.listed(f"{url}/simple", "some-package", version, platform)


def test_what_is_there_is_good(url, capsys) -> None:
    found = [
        Link("model", "a file", f"{url}/file"),
        Link("model", "a file of a CDN", f"{url}/moved"),
        Link("image", "nvidia/cuda:12.4.1", url + TAG),
        package(url, "1.2.3"),
    ]
    assert check_links.report(found) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "4 checked, 0 not good"


def test_what_is_not_there_is_told_with_its_address(url, capsys) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/file"
        found = [
            Link("model", "a file", f"{url}/file"),
            Link("model", "gone", f"{url}/none"),
            Link("model", "gated", f"{url}/gated"),
            Link("model", "nobody", nobody),
            package(url, "1.2.4"),
            package(url, "1.2.3", "linux_aarch64"),
        ]
        assert check_links.report(found) == 1
    told = capsys.readouterr().out
    assert f"gone (404)\n    {url}/none" in told and "refused (401)" in told
    assert "no answer: ConnectError" in told and nobody in told
    assert told.count("the index does not list it") == 2
    assert told.splitlines()[-1] == "6 checked, 5 not good"


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("python:3.12", "https://registry-1.docker.io/v2/library/python/manifests/3.12"),
        ("nvidia/cuda:12", "https://registry-1.docker.io/v2/nvidia/cuda/manifests/12"),
        ("ghcr.io/astral-sh/uv:1", "https://ghcr.io/v2/astral-sh/uv/manifests/1"),
    ],
)
def test_an_image_is_asked_of_its_registry(name, address) -> None:
    assert check_links.manifest(name) == address


def test_all_that_an_installation_fetches_is_checked() -> None:
    found = check_links.links()
    kinds = {link.kind for link in found}
    assert kinds == {"image", "package", "model", "checkpoint"}
    named = {link.what.rpartition(":")[0] for link in found if link.kind == "image"}
    assert named == {"python", "nvidia/cuda", "ghcr.io/astral-sh/uv", "haproxy", "redis"}
    addresses = "\n".join(link.address for link in found)
    for model in MODELS.values():
        assert model.hub is None or f"/{model.hub.repo}/resolve/" in addresses
        for wheel in model.wheels:
            assert f"/{wheel.project}/" in addresses
    for part in ("/cu128/xllamacpp/", "/nvidia-cublas-cu12/", "pypi.nvidia.com/tensorrt-llm/"):
        assert part in addresses
    assert sum(link.kind == "checkpoint" for link in found) == 20
    assert len(found) == len(set(found))
