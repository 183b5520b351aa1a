"""What the HTTP interfaces cost on top of the engines: files, speech, Realtime, and connections
that only wait.

    python bench/interfaces.py                        # all parts
    python bench/interfaces.py --only file,speech

Each figure is a pair, measured in turns on the same machine: the engine alone, and the same through
the server. bench/README.md has the method. Results are written to bench/out/.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import statistics
import sys
import time
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import common, people
from bench.common import ROOT, Recording, Server, say, server, utterances
from bench.loudspeaker import played
from bench.people import end_of
from bench.verdicts import audio_of_last_turn
from whisperfusion.audio import MICROPHONE_RATE, Samples

PARTS = ("file", "speech", "realtime", "idle")
FILE_S, PAIRS = 180.0, 3  # of recordings, one after the other; how often both ways
TEXTS = (
    "It works.",
    "The light in the kitchen is on, and the door is closed.",
    "Good morning. Today will be sunny, with some clouds in the evening.",
    "I have found three trains to the coast. The first one leaves at nine.",
    "Sorry, I did not find that.",
)
IDLE = 200
FRAME = 960  # samples at 24 kHz: 40 ms


def wav(pcm: Samples, rate: int = MICROPHONE_RATE) -> bytes:
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(pcm, -1, 1) * 32767).astype("<i2").tobytes())
    return held.getvalue()


def long_recording() -> Samples:
    parts: list[Samples] = []
    for recording in common.recordings():
        parts += [recording.pcm, np.zeros(MICROPHONE_RATE // 2, np.float32)]
        if sum(map(len, parts)) >= FILE_S * MICROPHONE_RATE:
            break
    return np.concatenate(parts)


# --- files --------------------------------------------------------------------------------------


def file(running: Server) -> dict[str, Any]:
    """faster-whisper alone, in this process, with its own defaults and all cores; and the same
    file through the server.
    """
    import httpx
    from faster_whisper import WhisperModel

    from whisperfusion.models import machine
    from whisperfusion.models import store as models
    from whisperfusion.settings import Settings

    settings = Settings()
    path = models.fetch(
        models.resolve(settings.asr_model, "asr", settings), settings.cache, settings.sources
    )
    alone = WhisperModel(str(path), device="cpu", compute_type="int8", cpu_threads=machine.cores())
    pcm = long_recording()
    data = wav(pcm)

    def through(client: httpx.Client) -> float:
        began = time.monotonic()
        answer = client.post(
            "/v1/audio/transcriptions", files={"file": data}, data={"language": "en"}
        )
        answer.raise_for_status()
        return time.monotonic() - began

    def bare() -> float:
        began = time.monotonic()
        segments, _ = alone.transcribe(pcm, language="en", vad_filter=True)
        for _ in segments:
            pass
        return time.monotonic() - began

    with httpx.Client(base_url=running.http_url, timeout=900) as client:
        # loads the model for files
        client.post(
            "/v1/audio/transcriptions",
            files={"file": wav(pcm[: 5 * MICROPHONE_RATE])},
            data={"language": "en"},
        )
        pairs = [(bare(), through(client)) for _ in range(PAIRS)]
        began = time.monotonic()
        together = asyncio.run(_several(running, data, 3))
    found = {
        "audio_s": len(pcm) / MICROPHONE_RATE,
        "alone_s": statistics.median(one for one, _ in pairs),
        "server_s": statistics.median(two for _, two in pairs),
        "ratio": statistics.median(two / one for one, two in pairs),
        "pairs": pairs,
        "three_at_once_s": together,
        "took_s": time.monotonic() - began,
    }
    say(
        f"  {found['audio_s']:.0f} s of speech: alone {found['alone_s']:.1f} s, server "
        f"{found['server_s']:.1f} s, ratio {found['ratio']:.2f}; three at once {together:.1f} s"
    )
    return found


async def _several(running: Server, data: bytes, count: int) -> float:
    import httpx

    began = time.monotonic()
    async with httpx.AsyncClient(base_url=running.http_url, timeout=1800) as client:
        answers = [
            client.post("/v1/audio/transcriptions", files={"file": data}, data={"language": "en"})
            for _ in range(count)
        ]
        for answer in await asyncio.gather(*answers):
            answer.raise_for_status()
    return time.monotonic() - began


# --- speech -------------------------------------------------------------------------------------


def speech(running: Server) -> dict[str, Any]:
    """The engine's own first piece of the first sentence, and the first bytes of the body."""
    import httpx

    from whisperfusion.engines import load

    engine = load("tts", "hibari")
    pairs = []
    with httpx.Client(base_url=running.http_url, timeout=60) as client:
        for _ in range(PAIRS):
            for text in TEXTS:
                began = time.monotonic()
                next(iter(engine.synthesize(text, "", 1.0)))
                own = time.monotonic() - began
                began = time.monotonic()
                with client.stream(
                    "POST", "/v1/audio/speech", json={"input": text, "response_format": "wav"}
                ) as answer:
                    parts = answer.iter_raw()
                    size = 0
                    while size <= 44:  # the header alone has no audio
                        size += len(next(parts))
                    pairs.append((own, time.monotonic() - began))
                    for _ in parts:
                        pass
    found = {
        "own_ms": statistics.median(one for one, _ in pairs) * 1000,
        "first_byte_ms": statistics.median(two for _, two in pairs) * 1000,
        "ratio": statistics.median(two / one for one, two in pairs),
        "pairs": pairs,
    }
    say(
        f"  engine {found['own_ms']:.0f} ms, first byte {found['first_byte_ms']:.0f} ms, ratio "
        f"{found['ratio']:.2f}"
    )
    return found


# --- Realtime -----------------------------------------------------------------------------------


def realtime(running: Server) -> dict[str, Any]:
    """The same utterances in turns over the two sockets and over Realtime: from the true end of
    speech to the first audible sample.
    """
    said = utterances()[:10]
    pairs = []
    for recording in said:
        pairs.append(
            (
                asyncio.run(_on_the_pair(running, recording)),
                asyncio.run(_over_realtime(running, recording)),
            )
        )
    both = [(one, two) for one, two in pairs if one is not None and two is not None]
    found = {
        "pair_ms": statistics.median(one for one, _ in both),
        "realtime_ms": statistics.median(two for _, two in both),
        "difference_ms": statistics.median(two - one for one, two in both),
        "pairs": pairs,
    }
    say(
        f"  pair {found['pair_ms']:.0f} ms, Realtime {found['realtime_ms']:.0f} ms, "
        f"median difference {found['difference_ms']:.0f} ms of {len(both)}"
    )
    return found


async def _on_the_pair(running: Server, recording: Recording) -> float | None:
    async with people.call(running) as open_call:
        result = await open_call.turn(recording.pcm, timeout_s=40)
    heard = played(audio_of_last_turn(result.log)).first_audible()
    return None if heard is None else (heard - end_of(recording, result.began)) * 1000


async def _over_realtime(running: Server, recording: Recording) -> float | None:
    from websockets.asyncio.client import connect

    at = np.arange(len(recording.pcm) * 3 // 2) / 1.5
    pcm = np.interp(at, np.arange(len(recording.pcm)), recording.pcm).astype(np.float32)
    async with connect(
        running.http_url.replace("http", "ws", 1) + "/v1/realtime", max_size=None
    ) as socket:
        await socket.recv()
        began = time.monotonic()
        talking = asyncio.create_task(_talk(socket, pcm, began))
        sounds: list[tuple[float, Samples]] = []
        try:
            await asyncio.wait_for(_answer(socket, sounds), 40)
        except asyncio.TimeoutError:
            return None
        finally:
            talking.cancel()
            await asyncio.gather(talking, return_exceptions=True)
    playing = 0.0
    for came, sound in sounds:
        begins = max(came, playing)
        loud = np.flatnonzero(np.abs(sound) > 0.01)
        if len(loud):
            return float(begins + loud[0] / 24_000 - end_of(recording, began)) * 1000
        playing = begins + len(sound) / 24_000
    return None


async def _answer(socket: Any, sounds: list[tuple[float, Samples]]) -> None:
    """Until the last response is complete; `sounds` are its own."""
    async for frame in socket:
        told = json.loads(frame)
        if told["type"] == "response.output_audio.delta":
            pcm = np.frombuffer(base64.b64decode(told["delta"]), "<i2").astype(np.float32)
            sounds.append((time.monotonic(), pcm / np.float32(32768)))
        elif told["type"] == "response.created":
            sounds.clear()
        elif told["type"] == "response.done" and told["response"]["status"] == "completed":
            return


async def _talk(socket: Any, pcm: Samples, began: float) -> None:
    sent = 0
    while True:
        await asyncio.sleep(max(0.0, began + (sent + FRAME) / 24_000 - time.monotonic()))
        frame = np.pad(pcm[sent : sent + FRAME], (0, max(0, FRAME - len(pcm[sent : sent + FRAME]))))
        await socket.send(
            json.dumps(
                {
                    "type": "input_audio_buffer.append",
                    "audio": base64.b64encode((frame * 32767).astype("<i2").tobytes()).decode(),
                }
            )
        )
        sent += FRAME


# --- connections that wait ----------------------------------------------------------------------


def idle(running: Server) -> dict[str, Any]:
    """200 connections of each kind that only wait: memory of all processes for each, and what an
    active caller notices.
    """
    found = asyncio.run(_idle(running))
    say(
        f"  {IDLE} waiting: Realtime {found['realtime_mb']:.2f} MB each, 6006 "
        f"{found['sockets_mb']:.2f} MB each; active caller "
        f"{found['before_ms']:.0f} ms before, {found['meanwhile_ms']:.0f} ms meanwhile"
    )
    return found


async def _idle(running: Server) -> dict[str, Any]:
    from websockets.asyncio.client import connect

    said = utterances()[:6]

    async def active() -> float:
        times = [await _on_the_pair(running, recording) for recording in said]
        return statistics.median(one for one in times if one is not None)

    before_ms, empty = await active(), memory_mb()
    realtimes = [
        await connect(running.http_url.replace("http", "ws", 1) + "/v1/realtime")
        for _ in range(IDLE)
    ]
    await asyncio.sleep(1)
    with_realtime = memory_mb()
    sockets = []
    for number in range(IDLE):
        socket = await connect(running.asr_url)
        await socket.send(json.dumps({"uid": f"idle-{number}", "events": True, "reply": False}))
        await socket.recv()
        sockets.append(socket)
    await asyncio.sleep(1)
    with_both = memory_mb()
    meanwhile_ms = await active()
    for socket in (*realtimes, *sockets):
        await socket.close()
    return {
        "realtime_mb": (with_realtime - empty) / IDLE,
        "sockets_mb": (with_both - with_realtime) / IDLE,
        "before_ms": before_ms,
        "meanwhile_ms": meanwhile_ms,
    }


def memory_mb() -> float:
    """Proportional set size of all processes that this one started."""
    import psutil

    children = psutil.Process().children(recursive=True)
    return float(sum(child.memory_full_info().pss for child in children)) / 1e6


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=list(PARTS),
        help=f"of {','.join(PARTS)} [all]",
    )
    chosen = parser.parse_args(arguments)
    common.recordings()
    measures = {"file": file, "speech": speech, "realtime": realtime, "idle": idle}
    result: dict[str, Any] = {"machine": common.machine(), "version": common.version(ROOT)}
    for part in PARTS:
        if part in chosen.only:
            say(part)
            with server(ROOT, ("--max-callers=400",)) as running:
                result[part] = measures[part](running)
    path = common.OUT / f"interfaces-{time.strftime('%Y%m%d-%H%M%S')}.json"
    common.write(path, result)
    print(f"\nwritten to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
