"""Search servers that follow a script: Tavily's and SearXNG's JSON, and DuckDuckGo's page behind a
proxy, as the package ddgs asks for it.

`pages` are what is found, as (title, text, url). Words in the question make a server misbehave:

| word | what it does |
| --- | --- |
| silent | answers after the client has gone |
| busy | 429 |
| broken | not JSON |
| endless | more than anyone reads |
| nothing | finds nothing |
"""

from __future__ import annotations

import json
import ssl
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from whisperfusion.gateway.access.certificates.x509 import base_certificate, pem, private_pem

PAGES = [("Tall towers", "The tallest tower is 828 m tall.", "https://towers.example/tall")]


class FakeSearchServer:
    """`url` for Tavily and SearXNG; `proxy` for ddgs, with the certificate in `certificate`."""

    def __init__(self, folder: Path, pages=PAGES, key: str = "tvly-secret-key") -> None:
        self.pages, self.key = list(pages), key
        self.requests: list[tuple[str, Any]] = []
        self.released = threading.Event()
        self.context, self.certificate = made_certificate(folder)
        fake = self

        class Bound(Handler):
            script = fake

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self._server.daemon_threads = True
        self.url = self.proxy = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


class Handler(BaseHTTPRequestHandler):
    script: FakeSearchServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Tests print enough."""

    def do_CONNECT(self) -> None:
        self.send_response(200)
        self.end_headers()
        inner = self.script.context.wrap_socket(self.connection, server_side=True)
        self.connection = inner
        self.rfile, self.wfile = inner.makefile("rb"), inner.makefile("wb", 0)
        self.close_connection = False

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/search":
            given = json.loads(body)
            self.script.requests.append(("tavily", given))
            if self.headers["Authorization"] != f"Bearer {self.script.key}":
                self._send(401, {"detail": {"error": "Unauthorized: invalid API key."}})
            else:
                found = [
                    {"title": title, "content": text, "url": url, "score": 0.9}
                    for title, text, url in self._found(given["query"])
                ]
                self._answer(given["query"], {"answer": "About 828 m.", "results": found})
        elif self.path.startswith("/html"):
            query = parse_qs(body.decode())["q"][0]
            self.script.requests.append(("duckduckgo", query))
            found = "".join(
                f'<div class="result__body"><h2><a>{title}</a></h2><a href="{url}">{text}</a></div>'
                for title, text, url in self._found(query)
            )
            self._send(200, f"<html><body>{found}</body></html>")
        else:
            self._send(404, "")

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        self.script.requests.append(("searxng", query))
        if parts.path != "/search" or query.get("format") != ["json"]:
            self._send(403, "")
            return
        found = [
            {"title": title, "content": text, "url": url}
            for title, text, url in self._found(query["q"][0])
        ]
        self._answer(query["q"][0], {"answers": [], "infoboxes": [], "results": found})

    def _found(self, query: str) -> list[tuple[str, str, str]]:
        return [] if "nothing" in query else self.script.pages

    def _answer(self, query: str, body: Any) -> None:
        if "silent" in query:
            self.script.released.wait()
            return
        if "busy" in query:
            self._send(429, {})
        elif "broken" in query:
            self._send(200, "<html>")
        elif "endless" in query:
            self._send(200, "x" * 3_000_000)
        else:
            self._send(200, body)

    def _send(self, status: int, body: Any) -> None:
        sent = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        try:
            self.wfile.write(sent)
        except OSError:
            self.close_connection = True


def made_certificate(folder: Path) -> tuple[ssl.SSLContext, str]:
    """A context for DuckDuckGo's name, and the file with the authority that signed for it."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = signed("Test authority", authority_key, "Test authority", authority_key, ca=True)
    leaf = signed("html.duckduckgo.com", key, "Test authority", authority_key, ca=False)
    trusted, own = folder / "authority.pem", folder / "server.pem"
    trusted.write_bytes(pem(authority))
    own.write_bytes(private_pem(key) + pem(leaf))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    return context, str(trusted)


def signed(name: str, key: Any, issuer: str, issuer_key: Any, ca: bool) -> x509.Certificate:
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (name, issuer)]
    now = datetime.now(timezone.utc)
    builder = base_certificate(*names, key.public_key(), now, timedelta(days=30))
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )
    if not ca:
        alternative = x509.SubjectAlternativeName([x509.DNSName(name)])
        builder = builder.add_extension(alternative, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
