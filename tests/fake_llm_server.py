"""A language model server that follows a script: Ollama's protocol and OpenAI's on one port, nothing faked inside our code.

It answers "alpha beta" with "You said alpha beta." word by word. Words in the newest line make it misbehave:

| word | what it does |
| --- | --- |
| explode | refuses with 500 |
| halfway | an error object under status 200, after the first word |
| cut | the stream ends without saying so |
| silent | sends nothing until the client goes |
| forever | sends words until the client goes |
| use it | calls the first of the functions that it was offered, with {"text": what was asked} |
| fussy | refuses `max_tokens` and `temperature`, as newer models of OpenAI do |

`gone` counts the clients that left while it was silent or talking; `requests` holds the bodies.
"""

from __future__ import annotations

import json
import re
import select
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODELS = ("echo:latest", "small")


class FakeLLMServer:
    def __init__(self, models: tuple[str, ...] = MODELS) -> None:
        self.models = models
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []  # Authorization of each
        self.gone = threading.Semaphore(0)
        fake = self

        class Bound(Handler):
            server_script = fake

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, name="fake-llm-server", daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Handler(BaseHTTPRequestHandler):
    server_script: FakeLLMServer
    protocol_version = "HTTP/1.0"  # a stream ends with the connection

    def log_message(self, *args: Any) -> None:
        """Tests print enough."""

    def do_GET(self) -> None:
        if self.path == "/api/tags":
            self._json(200, {"models": [{"name": name} for name in self.server_script.models]})
        elif self.path == "/v1/models":
            data = [{"id": name, "object": "model", "created": 1, "owned_by": "vllm", "root": name, "max_model_len": 4096}
                    for name in self.server_script.models]
            self._json(200, {"object": "list", "data": data})
        else:
            self._json(404, {"error": "no such path"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server_script.requests.append(body)
        self.server_script.keys.append(self.headers.get("Authorization", ""))
        messages = body.get("messages") or []
        asked = messages[-1]["content"] if messages else ""
        if self.path == "/api/chat" and not body.get("stream", True):
            self._json(200, {"model": body["model"], "message": {"role": "assistant", "content": "You"}, "done": True})
        elif not messages:
            self._json(200, {"model": body["model"], "done": True, "done_reason": "load"})
        elif "explode" in asked:
            self._json(500, {"error": {"message": "the model is on fire", "type": "server_error"}})
        elif "fussy" in asked and "max_tokens" in body:
            self._json(400, {"error": {"message": "'max_tokens' is not supported; use 'max_completion_tokens' instead"}})
        elif "fussy" in asked and "temperature" in body:
            self._json(400, {"error": {"message": "'temperature' does not support 0.0 with this model"}})
        else:
            used = body["tools"][0]["function"]["name"] if "use it" in asked and body.get("tools") else ""
            self._stream(asked, ollama_chunks if self.path == "/api/chat" else openai_chunks, used)

    def _stream(self, asked: str, framed: Any, used: str) -> None:
        if "silent" in asked:
            select.select([self.connection], [], [], 30)  # readable when the client closes
            self.server_script.gone.release()
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson" if framed is ollama_chunks else "text/event-stream")
        self.end_headers()
        try:
            for chunk in framed(words(asked) if not used else iter(()), asked, used):
                self.wfile.write(chunk)
                self.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            self.server_script.gone.release()

    def _json(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def words(asked: str) -> Iterator[str]:
    yield "You"
    while "forever" in asked:
        yield " and on"
    for word in f"said {asked}.".split(" "):
        yield " " + word


def ollama_chunks(pieces: Iterator[str], asked: str, used: str) -> Iterator[bytes]:
    if used:  # arguments as an object, the call whole, and done_reason stays "stop"
        call = {"function": {"index": 0, "name": used, "arguments": {"text": asked}}}
        yield json.dumps({"message": {"role": "assistant", "content": "", "tool_calls": [call]}, "done": False}).encode() + b"\n"
    for index, piece in enumerate(pieces):
        yield json.dumps({"message": {"role": "assistant", "content": piece}, "done": False}).encode() + b"\n"
        if index == 0 and "cut" in asked:
            return
        if index == 0 and "halfway" in asked:
            yield b'{"error": "the runner went away"}\n'
            return
    yield b'{"message": {"role": "assistant", "content": ""}, "done": true, "done_reason": "stop"}\n'


def openai_chunks(pieces: Iterator[str], asked: str, used: str) -> Iterator[bytes]:
    def event(value: Any) -> bytes:
        return b"data: " + json.dumps(value).encode() + b"\r\n\r\n"

    yield b": a comment\n\n" + event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": None}}]})
    for index, piece in enumerate(pieces):
        yield event({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
        if index == 0 and "cut" in asked:
            return
        if index == 0 and "halfway" in asked:
            yield event({"error": {"message": "the runner went away"}})
            return
    if used:
        first = {"index": 0, "id": "call_abc", "type": "function", "function": {"name": used, "arguments": ""}}
        yield event({"choices": [{"index": 0, "delta": {"tool_calls": [first]}, "finish_reason": None}]})
        for part in re.findall(".{1,5}", json.dumps({"text": asked})):
            yield event({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": part}}]}}]})
    yield event({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls" if used else "stop"}]})
    yield event({"choices": [], "usage": {"total_tokens": 3}}) + b"data: [DONE]\n\n"
