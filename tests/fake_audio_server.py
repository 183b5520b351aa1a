"""A server with OpenAI's transcriptions and speech that follows a script, and nothing else fakes
anything: it reads and speaks in tones.

`how` is what it does from now on:

| how | audio/transcriptions | audio/speech |
| --- | --- | --- |
| "" | verbose_json, or json where that is asked for | raw samples in chunks, events with "sse" |
| plain | knows json only, and refuses what it does not know by name | the same for wav |
| key, model, fault | 401, 404, 500 | the same |
| moved | 307, to another address | the same |
| busy, full | 429: try again after 0.2 s, after 20 s | |
| stall | not a byte until the client goes | the same |
| halfway | the connection ends in the middle | the same; in events, without the last one |
| silent | | nothing more after the first piece |
| page | an HTML page | the same |
| events | | events, whatever was asked for |
| music | | compressed sound |
| hang up | each kept connection ends when it is used again | the same |
| held | answers when `release` is set, and `arrived` counts | |
| patient | "wait" is answered when `release` is set, and `arrived` counts | the same |
| nanoseconds | counts time in them | |
"""

from __future__ import annotations

import base64
import email
import email.policy
import io
import json
import select
import threading
import wave
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from whisperfusion.engines.scripted import read_tones, tone_speech

TRANSCRIPTION_FIELDS = {"file", "model", "language", "response_format"}
SPEECH_FIELDS = {"input", "model", "voice", "response_format"}
STATUS = {"moved": 307, "key": 401, "model": 404, "fault": 500, "busy": 429, "full": 429}
PAUSE = {"busy": "0.2", "full": "20"}  # Retry-After


class FakeAudioServer:
    def __init__(self) -> None:
        self.how = ""
        self.models: list[dict[str, str]] = [{"id": "ears"}]
        self.voices: Any = {"voices": ["ann", {"id": "bob"}]}
        self.requests: list[tuple[str, dict[str, Any]]] = []  # path, fields
        self.keys: list[str] = []  # Authorization of each
        self.connections: list[Any] = []  # the client's address of each
        self.gone = threading.Semaphore(0)  # clients that left while it stalled
        self.release, self.arrived = threading.Event(), threading.Semaphore(0)
        fake = self

        class Bound(Handler):
            script = fake

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()


class Handler(BaseHTTPRequestHandler):
    script: FakeAudioServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Tests print enough."""

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._json(200, {"object": "list", "data": self.script.models})
        elif self.path == "/v1/audio/voices" and self.script.voices is not None:
            self._json(200, self.script.voices)
        else:
            self._json(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        script, data = self.script, self.rfile.read(int(self.headers["Content-Length"]))
        used = self.client_address in script.connections
        script.keys.append(self.headers.get("Authorization", ""))
        script.connections.append(self.client_address)
        if script.how == "hang up" and used:
            self.close_connection = True
            return
        speech = self.path.endswith("/speech")
        fields = json.loads(data) if speech else form(self.headers["Content-Type"], data)
        script.requests.append((self.path, fields))
        if script.how == "held":
            script.arrived.release()
            script.release.wait(30)
        if script.how == "plain" and (refusal := self._refusal(fields, speech)):
            self._json(400, {"error": {"message": refusal, "type": "invalid_request_error"}})
        elif script.how in STATUS:
            self._json(STATUS[script.how], {"error": {"message": f"no: {script.how}"}})
        elif script.how == "stall":
            self._stall()
        elif script.how == "page":
            self._whole(200, "text/html", b"<html>hello</html>")
        elif speech:
            self._speak(fields)
        else:
            self._transcribe(fields)

    def _refusal(self, fields: dict[str, Any], speech: bool) -> str:
        known = SPEECH_FIELDS if speech else TRANSCRIPTION_FIELDS
        wanted = "wav" if speech else "json"
        unknown = next((name for name in fields if name not in known), "")
        if unknown:
            return f"Unknown parameter: '{unknown}'."
        if fields["response_format"] != wanted:
            return f"response_format must be one of [{wanted}]"
        return ""

    def _transcribe(self, fields: dict[str, Any]) -> None:
        pcm = samples_in(fields["file"])
        text = read_tones(pcm)
        self._wait_for(text)
        seconds = len(pcm) / 16_000 * (1e9 if self.script.how == "nanoseconds" else 1)
        body: dict[str, Any] = {"text": text}
        if fields["response_format"] == "verbose_json":
            body |= {"language": "english", "duration": str(seconds)}
            body["segments"] = [{"start": 0, "end": seconds, "text": f" {text}"}] if text else []
            if "word" in fields.get("timestamp_granularities[]", ()):
                step = seconds / max(1, len(text.split()))
                body["words"] = [
                    {"word": word, "start": at * step, "end": (at + 1) * step}
                    for at, word in enumerate(text.split())
                ]
        data = json.dumps(body).encode()
        if self.script.how == "halfway":
            self._cut("application/json", data)
            return
        self._whole(200, "application/json", data)

    def _speak(self, fields: dict[str, Any]) -> None:
        self._wait_for(fields["input"])
        how, rate = self.script.how, fields.get("sample_rate", 24_000)
        if how == "music":
            self._whole(200, "audio/mpeg", b"ID3\x04" + bytes(400))
            return
        sound = (tone_speech(fields["input"], rate) * 32767).astype("<i2").tobytes()
        if fields["response_format"] == "wav":
            sound = as_wav(sound, 22_050, fields["input"])
        events = how == "events" or fields.get("stream_format") == "sse"
        if how == "halfway" and not events:
            self._cut("audio/pcm", sound)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream" if events else "audio/pcm")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(sound), 4001):  # samples are cut in two
            piece = sound[at : at + 4001]
            self._chunk(event("speech.audio.delta", audio=encoded(piece)) if events else piece)
            if how == "silent":
                self._stall()
                return
        if events and how != "halfway":
            self._chunk(event("speech.audio.done"))
        self._chunk(b"")

    def _wait_for(self, text: str) -> None:
        if self.script.how == "patient" and "wait" in text:
            self.script.arrived.release()
            self.script.release.wait(120)

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _cut(self, kind: str, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2])
        self.close_connection = True

    def _stall(self) -> None:
        select.select([self.connection], [], [], 60)  # readable when the client closes
        self.script.gone.release()
        self.close_connection = True

    def _json(self, status: int, value: Any) -> None:
        self._whole(status, "application/json", json.dumps(value).encode())

    def _whole(self, status: int, kind: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if status == 307:
            self.send_header("Location", "https://elsewhere.example/v1")
        if status == 429:
            self.send_header("Retry-After", PAUSE[self.script.how])
            self.script.how = "" if self.script.how == "busy" else self.script.how
        self.end_headers()
        self.wfile.write(data)


def form(kind: str, data: bytes) -> dict[str, Any]:
    """The fields of multipart/form-data: text, a list of texts for `name[]`, bytes of the file."""
    head = f"Content-Type: {kind}\r\n\r\n".encode()
    message = email.message_from_bytes(head + data, policy=email.policy.HTTP)
    fields: dict[str, Any] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="Content-Disposition")
        value = part.get_payload(decode=True)
        if name.endswith("[]"):
            fields.setdefault(name, []).append(value.decode())
        else:
            fields[name] = value if name == "file" else value.decode()
    return fields


def samples_in(data: bytes) -> np.ndarray:
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768


def as_wav(samples: bytes, rate: int, text: str) -> bytes:
    """`text` at another rate, behind a header of a stream: without a length, two channels."""
    pcm = (tone_speech(text, rate) * 32767).astype("<i2")
    both = np.repeat(pcm, 2).tobytes()
    head = io.BytesIO()
    with wave.open(head, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(rate)
    return head.getvalue()[:40] + b"\xff\xff\xff\xff" + both


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
