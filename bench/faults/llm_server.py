"""A language model server that says back what it is asked, and can be made to fail as a whole.

OpenAI's chat completions, streamed, as `LLM_CHAIN=openai@http://…` asks for them. `mood`:
"answers"; "fails" with 500; "hangs" before the first token; "breaks off" after the first word. A
server that is gone refuses connections: `stop` and `start` again, on the same port.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from whisperfusion.engines.scripted import ScriptedLLM
from whisperfusion.runtime.ports import free_ports

HANG_S = 30.0


class EchoServer:
    def __init__(self) -> None:
        (self.port,) = free_ports(1)
        self.mood = "answers"
        self.asked = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def link(self) -> str:
        """Of a chain."""
        return f"openai@http://127.0.0.1:{self.port}/v1/echo"

    def start(self) -> None:
        owner = self

        class Bound(_Handler):
            echo = owner

        self._server = _Server(("127.0.0.1", self.port), Bound)
        threading.Thread(target=self._server.serve_forever, name="echo", daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, address: Any) -> None:
        """Clients leave in the middle of answers; that is their right."""


class _Handler(BaseHTTPRequestHandler):
    echo: EchoServer
    protocol_version = "HTTP/1.0"  # a stream ends with the connection

    def log_message(self, *_: Any) -> None:
        """The report has what matters."""

    def do_GET(self) -> None:
        models = [{"id": "echo", "object": "model", "created": 1, "owned_by": "bench"}]
        self._json(200, {"object": "list", "data": models})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.echo.asked += 1
        mood = self.echo.mood
        if mood == "fails":
            self._json(500, {"error": {"message": "told to fail", "type": "server_error"}})
            return
        if mood == "hangs":
            self._wait()
            return
        self._stream(body, breaks_off=mood == "breaks off")

    def _wait(self) -> None:
        """Until the fault is healed, or long enough."""
        until = time.monotonic() + HANG_S
        while self.echo.mood == "hangs" and time.monotonic() < until:
            time.sleep(0.1)

    def _stream(self, body: dict[str, Any], breaks_off: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        history = [(one["role"], one.get("content") or "") for one in body["messages"]]
        pieces = ScriptedLLM().stream_chat(
            history, max_tokens=int(body.get("max_tokens", 256)), temperature=0.0
        )
        for piece in pieces:
            self._event({"choices": [{"index": 0, "delta": {"content": piece}}]})
            if breaks_off:
                return
        self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, chunk: dict[str, Any]) -> None:
        common = {"id": "echo", "object": "chat.completion.chunk", "created": 1, "model": "echo"}
        self.wfile.write(f"data: {json.dumps({**common, **chunk})}\n\n".encode())
        self.wfile.flush()

    def _json(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
