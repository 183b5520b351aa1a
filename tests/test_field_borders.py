"""The border of the engines: a failure belongs to its request, and the process ends only for
what is lost for good.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import subprocess
import sys
import threading
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from client import Caller, spoken
from running import ROOT
from websockets.asyncio.client import connect

from whisperfusion.call.caller import Caller as CallerOf6006
from whisperfusion.call.file_transcription import Reading, Stretch
from whisperfusion.client import Failed, UserTurn
from whisperfusion.engines import ASROptions, EngineError, Segment
from whisperfusion.engines.whisper.utterance import decode_batch
from whisperfusion.errors import EngineLost, lost_for_good
from whisperfusion.messages import Ticket
from whisperfusion.runtime.failure_streak import IN_A_ROW, FailureStreak
from whisperfusion.runtime.worker import ENGINE_LOST, Worker

PATIENCE_S = 20.0  # bound of a test that fails
STAGES = ("asr", "llm", "tts", "gateway")


class Bench:
    """A worker around `work`, and what became of its jobs."""

    def __init__(self, work, probe=None) -> None:
        self.told: queue.Queue[tuple[str, str]] = queue.Queue()
        self.probes = 0

        def tried() -> None:
            self.probes += 1
            if probe is not None:
                probe()

        def worked(ticket: Ticket, job: str) -> None:
            work(self.worker, ticket, job)
            self.told.put((job, "done"))

        self.worker: Worker[str] = Worker(
            "engine",
            worked,
            failed=lambda ticket, job, error: self.told.put((job, str(error))),
            probe=tried,
        )
        self.worker.start()

    def do(self, *jobs: str) -> list[tuple[str, str]]:
        """Each job of a call of its own."""
        for number, job in enumerate(jobs):
            self.worker.put(Ticket(f"call-{number}", 1), job)
        return [self.told.get(timeout=PATIENCE_S) for _ in jobs]


def fragile(worker: Worker[str], ticket: Ticket, job: str) -> None:
    if job == "panic":
        raise BaseException("a panic of a Rust library")
    if job != "good":
        raise ValueError(f"what is {job}?\nmore")


def test_a_librarys_exception_fails_its_job_and_the_thread_goes_on(caplog):
    bench = Bench(fragile)
    (_, bad), (_, panic), good = bench.do("bad", "panic", "good")
    assert (
        bad == "the engine (engine) failed on this input: ValueError: what is bad?"
        and "BaseException: a panic" in panic
    )
    assert (
        good == ("good", "done") and bench.worker.served == 1 and bench.worker.busy_since() is None
    )
    assert bench.do("bad", "good")[1] == ("good", "done")
    traces = [record for record in caplog.records if record.exc_info]
    # of each place once, however often it fails
    assert len(traces) == 2 and "fragile" in caplog.text
    bench.worker.stop()


def test_bad_input_from_many_callers_is_not_a_broken_engine():
    bench = Bench(fragile)
    assert [job for job, _ in bench.do(*["bad"] * 2 * IN_A_ROW, "good")] == [
        "bad"
    ] * 2 * IN_A_ROW + ["good"]
    assert bench.probes == 2  # a job that is known to be good succeeded
    bench.worker.stop()


def test_one_caller_alone_cannot_make_an_engine_suspected():
    faults = FailureStreak()
    assert not any(faults.failed("one") for _ in range(10 * IN_A_ROW))
    faults.succeeded()
    assert [faults.failed(call) for call in "abc"] == [False, False, True]
    assert [faults.failed(call) for call in "ab"] == [False, False]
    faults.succeeded()
    assert not faults.failed("c")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("memory", "the process is out of memory (MemoryError: Unable to allocate 3 GiB)"),
        ("gpu", "the GPU is lost to this process (RuntimeError: CUDA failed"),
        (
            "broken",
            (
                "3 jobs of different calls failed in a row, and so did a job that is known to be "
                "good: ValueError: invalid session"
            ),
        ),
        ("unproven", "3 jobs of different calls failed in a row (ValueError: invalid session)"),
    ],
)
def test_the_process_ends_for_what_is_lost_for_good_and_says_why(kind, reason):
    run = subprocess.run(
        [sys.executable, "tests/lost_engine.py", kind],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert run.returncode == ENGINE_LOST and reason in run.stderr and "Traceback" in run.stderr


@pytest.mark.parametrize(
    "error",
    [
        EngineLost("the engine hangs"),
        MemoryError(),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("[ONNXRuntimeError] CUDA failure 700: an illegal memory access"),
        RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED"),
    ],
)
def test_what_is_lost_for_good(error):
    assert lost_for_good(error)


@pytest.mark.parametrize(
    "error",
    [
        EngineError("CUDA error, says a caller"),
        ValueError("bad"),
        RuntimeError("CUDA failed with error out of memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 20 MiB"),
    ],
)
def test_what_another_job_may_survive(error):
    assert not lost_for_good(error)


class Decoded:
    segments, closed = (Segment(0.0, 1.0, "words"),), 1


class FragileUtterance:
    """As `decode_batch` uses it: decoding 7.0 fails, alone or with others."""

    def __init__(self, value: float) -> None:
        self.buffer = np.full(4, value, np.float32)

    def alike(self, final: bool) -> str:
        return "alike"

    def add(self, pcm: np.ndarray, final: bool) -> bool:
        return True

    def finish(self) -> str:
        return ""

    def decode_with(self, others: list[np.ndarray], final: bool) -> list[Decoded]:
        if any(buffer[0] == 7.0 for buffer in (self.buffer, *others)):
            raise ValueError("the library met a 7")
        return [Decoded() for _ in range(1 + len(others))]

    def update(self, decoded: Decoded) -> str:
        return f"heard {self.buffer[0]:.0f}"


def test_of_callers_heard_together_only_the_guilty_one_fails():
    jobs = [(FragileUtterance(value), np.zeros(4, np.float32), True) for value in (1.0, 7.0, 3.0)]
    found = decode_batch(jobs)
    assert found[0] == "heard 1" and found[2] == "heard 3" and isinstance(found[1], ValueError)


class FragileFiles:
    """A recording of n samples has a segment for each of its seconds; a negative sample cannot
    be read.
    """

    def decode_batch(self, jobs):
        return []

    def transcribe_batch(self, recordings, wanted):
        for second in range(3):
            for at, (pcm, _) in enumerate(recordings):
                part = pcm[second * 16_000 : (second + 1) * 16_000]
                if len(part) and part[0] < 0:
                    raise ValueError("the library met a negative sample")
                if len(part):
                    yield at, Segment(float(second), second + 1.0, f"{part[0]:.0f}")


def test_of_recordings_read_together_only_the_guilty_one_fails_and_the_others_go_on():
    reading, found, ended = Reading(FragileFiles()), {}, {}
    finished = threading.Semaphore(0)

    def done(call: str, result: object) -> None:
        ended[call] = result
        finished.release()

    for call, values in (("a", (1, 2, 3)), ("b", (4, -1, 5)), ("c", (6, 7, 8))):
        pcm = np.repeat(np.array(values, np.float32), 16_000)
        segments = found.setdefault(call, [])
        job = Stretch(
            pcm, ASROptions("en"), segments.append, lambda result, call=call: done(call, result)
        )
        reading.worker.put(Ticket(call, 0), job)
    reading.worker.start()
    assert all(finished.acquire(timeout=PATIENCE_S) for _ in range(3))
    assert ended["a"] is None and ended["c"] is None and isinstance(ended["b"], EngineError)
    # none lost, none twice
    assert [(s.start_s, s.text) for s in found["a"]] == [(0.0, "1"), (1.0, "2"), (2.0, "3")]
    assert [s.text for s in found["c"]] == ["6", "7", "8"] and [s.text for s in found["b"]] == ["4"]
    reading.worker.stop()


async def test_a_librarys_exception_is_told_in_the_form_of_each_door_and_no_process_ends(
    scripted_server,
):
    before = {name: scripted_server.pid(name) for name in STAGES}
    for _ in range(2 * IN_A_ROW):  # of different calls
        async with Caller(scripted_server) as caller:
            await caller.send("say", text="shatter")
            await caller.until(lambda: caller.of(Failed))
            assert (
                caller.of(Failed)[0].code == "llm_failed"
                and "ValueError" in caller.of(Failed)[0].message
            )
    async with Caller(scripted_server) as caller:
        await caller.speak(spoken("shatter"))
        await caller.until(lambda: caller.of(Failed))
        assert caller.of(Failed)[0].code == "asr_failed"
        await caller.speak(spoken("still there"))
        await caller.until(
            lambda: [turn for turn in caller.of(UserTurn) if turn.text == "still there"]
        )
    async with connect(f"{scripted_server.tts_url}/?uid=shatter&events=1") as voice:
        await voice.send(json.dumps({"type": "say", "text": "shatter", "id": 1}))
        answer = json.loads(await asyncio.wait_for(voice.recv(), PATIENCE_S))
        assert (answer["type"], answer["code"], answer["id"]) == ("error", "tts_failed", 1)
    assert {
        name: scripted_server.pid(name) for name in STAGES
    } == before and "killed" not in scripted_server.log


def test_an_exception_on_the_loop_ends_its_call_and_is_logged(caplog):
    told: list[Exception] = []
    call = SimpleNamespace(call="a", _over=False, on_broken=told.append, log_scope=nullcontext)
    CallerOf6006.guarded(call, int, "no number")
    CallerOf6006.guarded(call, int, "7")
    assert [type(error) for error in told] == [ValueError] and "no number" in caplog.text
