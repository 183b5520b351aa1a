"""A language model server that follows a script: Ollama's protocol and OpenAI's on one port,
nothing faked inside our code.

It answers "alpha beta" with "You said alpha beta." word by word. Words in the newest line make it
misbehave:

| word | what it does |
| --- | --- |
| explode | refuses with 500 |
| halfway | an error object under status 200, after the first word |
| cut | the stream ends without saying so |
| silent | sends nothing until the client goes |
| forever | sends words until the client goes |
| hang | sends the first word, and then nothing until the client goes |
| comments | sends only comments until the client goes, as OpenRouter does while it waits |
| use it | calls the first of the functions that it was offered, with {"text": what was asked} |
| fussy | refuses `max_tokens` and `temperature`, as newer models of OpenAI do |

It thinks before each answer where `thoughts` says how: "marked" (`<think>…</think>` in the text),
"preopened" (only `</think>`), or the name of the field that they have of their own; in pieces of
`size` characters. "endless" in the newest line: it thinks until `max_tokens`. `refuse` may give the
status and the error of a body, or status, whole body and headers. `mood` is a word of the table
that counts for every question but the first that servers are asked; `answer` gives the whole answer
to a body. `cut_at` is the number of the piece behind which "halfway", "cut" and "hang" happen.

`gone` counts the clients that left while it was silent or talking; `requests` holds the bodies.
"""

from __future__ import annotations

import json
import re
import select
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HANG = bytes(bytearray(b": hangs\n"))  # told by what it is, not by what is in it
MODELS = ("echo:latest", "small")
# It does not sound like one: nothing but its place tells that it is a thought.
THOUGHT = "Secret towns are old. They have a secret tower. A town is a secret place. "


class FakeLLMServer:
    def __init__(
        self,
        models: tuple[str, ...] = MODELS,
        thoughts: str = "",
        size: int = 5,
        refuse: Callable[[dict[str, Any]], tuple[Any, ...] | None] = lambda body: None,
        mood: str = "",
        answer: Callable[[dict[str, Any]], str] | None = None,
        cut_at: int = 0,
    ) -> None:
        self.mood, self.answer, self.cut_at = mood, answer, cut_at
        self.models, self.thoughts, self.size, self.refuse = models, thoughts, size, refuse
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []  # Authorization of each
        self.gone = threading.Semaphore(0)
        fake = self

        class Bound(Handler):
            server_script = fake

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(
            target=self._server.serve_forever, name="fake-llm-server", daemon=True
        ).start()

    def thinking(self, asked: str, answer: Iterator[str]) -> Iterator[str | dict[str, str]]:
        """`answer` after a thought, as text or as deltas; none after an endless one."""
        endless = "endless" in asked
        text = THOUGHT * 40 if endless else THOUGHT
        if self.thoughts in ("marked", "preopened"):
            text = f"{'<think>' if self.thoughts == 'marked' else ''}{text}"
            text += "" if endless else "</think>\n\n"
        pieces = [text[at : at + self.size] for at in range(0, len(text), self.size)]
        if self.thoughts in ("marked", "preopened"):
            yield from pieces
        elif self.thoughts:
            yield from ({self.thoughts: piece, "content": ""} for piece in pieces)
        if not (self.thoughts and endless):
            yield from answer

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
            data = [
                {
                    "id": name,
                    "object": "model",
                    "created": 1,
                    "owned_by": "vllm",
                    "root": name,
                    "max_model_len": 4096,
                }
                for name in self.server_script.models
            ]
            self._json(200, {"object": "list", "data": data})
        else:
            self._json(404, {"error": "no such path"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server_script.requests.append(body)
        self.server_script.keys.append(self.headers.get("Authorization", ""))
        messages = body.get("messages") or []
        asked = messages[-1]["content"] if messages else ""
        refused = self.server_script.refuse(body)
        first = "Say hello" in asked
        asked = asked if first else f"{asked} {self.server_script.mood}".strip()
        if refused is not None and len(refused) == 3:
            self._json(*refused)
        elif refused is not None:
            self._json(refused[0], {"error": refused[1]})
        elif self.path == "/api/chat" and not body.get("stream", True):
            self._json(
                200,
                {
                    "model": body["model"],
                    "message": {"role": "assistant", "content": "You"},
                    "done": True,
                },
            )
        elif not messages:
            self._json(200, {"model": body["model"], "done": True, "done_reason": "load"})
        elif "explode" in asked:
            self._json(500, {"error": {"message": "the model is on fire", "type": "server_error"}})
        elif "fussy" in asked and "max_tokens" in body:
            self._json(
                400,
                {
                    "error": {
                        "message": (
                            "'max_tokens' is not supported; use 'max_completion_tokens' instead"
                        )
                    }
                },
            )
        elif "fussy" in asked and "temperature" in body:
            self._json(
                400, {"error": {"message": "'temperature' does not support 0.0 with this model"}}
            )
        else:
            used = (
                body["tools"][0]["function"]["name"]
                if "use it" in asked and body.get("tools")
                else ""
            )
            framed = ollama_chunks if self.path == "/api/chat" else openai_chunks
            given = self.server_script.answer
            self._stream(asked, framed, used, given(body) if given and not first else "")

    def _stream(self, asked: str, framed: Any, used: str, answer: str) -> None:
        if "silent" in asked:
            select.select([self.connection], [], [], 30)  # readable when the client closes
            self.server_script.gone.release()
            return
        self.send_response(200)
        self.send_header(
            "Content-Type",
            "application/x-ndjson" if framed is ollama_chunks else "text/event-stream",
        )
        self.end_headers()
        try:
            if "comments" in asked:
                while True:
                    self.wfile.write(b": OPENROUTER PROCESSING\n\n")
                    self.wfile.flush()
                    if select.select([self.connection], [], [], 0.05)[0]:
                        raise BrokenPipeError
            pieces = words(asked) if not used else iter(())
            if answer:
                pieces = (word for word in re.findall(r"\S+\s*", answer))
            if framed is openai_chunks:
                pieces = self.server_script.thinking(asked, pieces)
            for chunk in framed(pieces, asked, used, self.server_script.cut_at):
                self.wfile.write(chunk)
                self.wfile.flush()
                if chunk is HANG:
                    select.select([self.connection], [], [], 30)
                    raise BrokenPipeError
        except (BrokenPipeError, ConnectionResetError):
            self.server_script.gone.release()

    def _json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)


def words(asked: str) -> Iterator[str]:
    yield "You"
    while "forever" in asked:
        yield " and on"
    for word in f"said {asked}.".split(" "):
        yield " " + word


def ollama_chunks(pieces: Iterator[str], asked: str, used: str, cut_at: int) -> Iterator[bytes]:
    if used:  # arguments as an object, the call whole, and done_reason stays "stop"
        call = {"function": {"index": 0, "name": used, "arguments": {"text": asked}}}
        yield (
            json.dumps(
                {
                    "message": {"role": "assistant", "content": "", "tool_calls": [call]},
                    "done": False,
                }
            ).encode()
            + b"\n"
        )
    for index, piece in enumerate(pieces):
        yield (
            json.dumps({"message": {"role": "assistant", "content": piece}, "done": False}).encode()
            + b"\n"
        )
        if index == cut_at and "cut" in asked:
            return
        if index == cut_at and "hang" in asked:
            yield HANG
        if index == cut_at and "halfway" in asked:
            yield b'{"error": "the runner went away"}\n'
            return
    yield (
        b'{"message": {"role": "assistant", "content": ""}, "done": true, "done_reason": "stop"}\n'
    )


def openai_chunks(
    pieces: Iterator[str | dict[str, str]], asked: str, used: str, cut_at: int
) -> Iterator[bytes]:
    def event(value: Any) -> bytes:
        return b"data: " + json.dumps(value).encode() + b"\r\n\r\n"

    yield b": a comment\n\n" + event(
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": None}}]}
    )
    for index, piece in enumerate(pieces):
        delta = {"content": piece} if isinstance(piece, str) else piece
        yield event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        if index == cut_at and "cut" in asked:
            return
        if index == cut_at and "hang" in asked:
            yield HANG
        if index == cut_at and "halfway" in asked:
            yield event({"error": {"message": "the runner went away"}})
            return
    if used:
        first = {
            "index": 0,
            "id": "call_abc",
            "type": "function",
            "function": {"name": used, "arguments": ""},
        }
        yield event(
            {"choices": [{"index": 0, "delta": {"tool_calls": [first]}, "finish_reason": None}]}
        )
        for part in re.findall(".{1,5}", json.dumps({"text": asked})):
            yield event(
                {
                    "choices": [
                        {
                            "index": 0,
                            "delta": {
                                "tool_calls": [{"index": 0, "function": {"arguments": part}}]
                            },
                        }
                    ]
                }
            )
    ended = "tool_calls" if used else "length" if "endless" in asked else "stop"
    yield event({"choices": [{"index": 0, "delta": {}, "finish_reason": ended}]})
    yield event({"choices": [], "usage": {"total_tokens": 3}}) + b"data: [DONE]\n\n"
