"""Processes and their life: a pause ends nothing, queues die with their process, what holds a
loop is named, waiting is told.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from types import SimpleNamespace

import psutil
import pytest
from client import Caller
from running import ROOT, SCRIPTED

import main
from whisperfusion.client import Failed, ReplyText, StageChanged, TurnAccepted, Waiting
from whisperfusion.errors import ModelError, SettingsError
from whisperfusion.messages import Heartbeat, Stage
from whisperfusion.runtime.channel import Channel
from whisperfusion.runtime.event_loop import STEP_S, Loop
from whisperfusion.runtime.heartbeats import (
    FIRST_DELAY_S,
    HEALTHY_S,
    LAST_DELAY_S,
    LOAD_S,
    SILENT_S,
    STUCK_S,
    Liveness,
    PausableClock,
)
from whisperfusion.runtime.ports import free_ports
from whisperfusion.runtime.process import run_queue_waits
from whisperfusion.settings import Settings
from whisperfusion.turns.wait_estimate import SOON_S, WaitEstimator

PATIENCE_S = 20.0  # bound of a test that fails
STAGES = ("asr", "llm", "tts", "gateway")


# --- A10: a pause is not death ------------------------------------------------------------------


def beats(liveness: Liveness, clock: PausableClock, seconds: range) -> None:
    for second in seconds:
        liveness.on_heartbeat(Heartbeat("asr", None), clock.at(float(second)))


def test_a10_a_pause_of_the_machine_kills_nobody():
    clock, liveness = PausableClock(1.0, 0.0), Liveness(0.0)
    liveness.on_ready(0.0)
    beats(liveness, clock, range(1, 10))
    liveness.on_heartbeat(Heartbeat("asr", 9.0), clock.at(9.5))  # a job is at work
    after = clock.at(9.5 + 10_000.0)
    assert after == pytest.approx(10.5) and liveness.failure(after) == ""
    for tick in range(1, 20 * int(SILENT_S) - 40):
        assert liveness.failure(clock.at(10_009.5 + tick / 20)) == ""
    liveness.on_heartbeat(Heartbeat("asr", 9.0), clock.at(10_023.0))
    # busy since before the pause, but not for that long
    assert liveness.failure(clock.at(10_023.5)) == ""


def test_a10_relative_one_process_that_is_stopped_is_killed():
    clock, liveness = PausableClock(1.0, 0.0), Liveness(0.0)
    liveness.on_ready(0.0)
    beats(liveness, clock, range(1, 10))
    ticks = [clock.at(9.0 + tick / 20) for tick in range(1, 20 * int(SILENT_S + 1) + 1)]
    assert liveness.failure(ticks[-30]) == "" and "no sign of life" in liveness.failure(ticks[-1])


def test_a10_relative_a_process_without_a_processor_is_not_killed_before_long():
    # a machine with too much to do: one of its threads waits nearly all the time
    clock, liveness = PausableClock(1.0, 0.0), Liveness(0.0)
    liveness.on_ready(0.0)
    beats(liveness, clock, range(1, 10))
    found = [
        second
        for second in range(10, 2 * int(STUCK_S))
        if liveness.failure(clock.at(float(second)), lambda at=second: {1: 0.0, 2: 0.9 * at})
    ]
    assert found[0] == 9 + STUCK_S + 1
    # it came back, and its next silence is another thing: its threads wait for nothing
    liveness.on_heartbeat(Heartbeat("asr", None), clock.at(300.0))
    assert liveness.failure(clock.at(301.0)) == ""
    at = [clock.at(302.0 + second) for second in range(20)]
    assert [bool(liveness.failure(now, lambda: {1: 0.0, 2: 250.0})) for now in at].index(True) < 16


def test_a10_relative_threads_that_share_the_cores_are_no_excuse():
    clock, liveness = PausableClock(1.0, 0.0), Liveness(0.0)
    liveness.on_ready(0.0)
    at = [clock.at(float(second)) for second in range(1, int(SILENT_S) + 3)]
    found = [liveness.failure(now, lambda now=now: {1: now / 2, 2: now / 2}) for now in at]
    assert "no sign of life" in found[-1] and not found[-3]


def test_a10_relative_the_system_counts_what_a_thread_waits_for_a_processor():
    waits = run_queue_waits(os.getpid())
    assert threading.get_native_id() in waits and all(value >= 0.0 for value in waits.values())
    assert run_queue_waits(2**22 + 1) == {}


def test_a10_relative_a_stuck_job_is_found_although_beats_come_and_a_pause_came_between():
    clock, liveness = PausableClock(1.0, 0.0), Liveness(0.0)
    liveness.on_ready(0.0)
    found = [
        second
        for second in range(1, 2 * int(STUCK_S))
        if _beat(liveness, clock, second + (500.0 if second > 30 else 0.0))
    ]
    assert STUCK_S < found[0] < STUCK_S + 5


def _beat(liveness: Liveness, clock: PausableClock, now: float) -> str:
    at = clock.at(now)
    liveness.on_heartbeat(Heartbeat("asr", 0.5), at)
    return liveness.failure(at)


def test_a10_relative_clocks_that_jump_back_or_a_pause_while_loading():
    clock = PausableClock(1.0, 100.0)
    assert clock.at(50.0) == 100.0 and clock.at(50.5) == 100.5
    liveness = Liveness(0.0)
    liveness.on_start(clock.at(51.0))
    assert liveness.failure(clock.at(51.0 + 2 * LOAD_S)) == ""
    for second in range(int(LOAD_S)):
        last = clock.at(51.0 + 2 * LOAD_S + second + 1)
    assert "was not ready" in liveness.failure(last)


def test_a10_relative_the_deadlines_of_turns_and_sockets_stand_still_in_a_pause():
    own = Loop()
    try:
        before, timer = own.time(), own.call_later(20.0, print)
        own._clock._last -= 3600.0  # as if the clock had been looked at an hour ago
        assert own.time() - before < STEP_S + PATIENCE_S / 10 and timer.when() > own.time() + 15.0
    finally:
        own.close()


def test_a_stage_that_served_starts_again_at_once():
    useless, useful, old = Liveness(0.0), Liveness(0.0), Liveness(0.0)
    delays = [useless.restart_delay_s(1.0) for _ in range(10)]
    assert delays[:3] == [0.2, 0.4, 0.8] and delays[-1] == LAST_DELAY_S
    for _ in range(10):
        useful.on_heartbeat(Heartbeat("asr", None, served=1), 0.5)
        assert useful.restart_delay_s(1.0) == FIRST_DELAY_S
        useful.on_start(1.0)
    assert useful.restart_delay_s(1.5) == 2 * FIRST_DELAY_S  # it served before this start only
    assert old.restart_delay_s(HEALTHY_S + 1) == FIRST_DELAY_S


async def test_a10_calls_go_on_after_all_processes_were_stopped_for_a_while(start_server):
    server = start_server(*SCRIPTED, "--llm-option=delay_s=0.3")
    pids = {name: server.pid(name) for name in STAGES}
    everyone = [server.process.pid, *pids.values()]
    async with Caller(server) as caller:
        await caller.send("say", text="one two three four five")
        await caller.until(lambda: caller.of(TurnAccepted))
        for pid in everyone:
            os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(4.0)  # the pause itself
        for pid in everyone:
            os.kill(pid, signal.SIGCONT)
        await caller.answered()
        assert caller.reply(
            1
        ) == "You said one two three four five. That is 5 words." and not caller.of(Failed)
    server.wait_for(lambda: "was paused for" in server.log, PATIENCE_S)
    assert {
        name: server.pid(name) for name in STAGES
    } == pids and "starting it again" not in server.log


# --- the switchboard ----------------------------------------------------------------------------


def test_an_unknown_message_costs_no_reader_its_life(caplog):
    supervisor = main.Supervisor(Settings())
    messages = [object(), Stage("llm", "ready"), EOFError()]

    class Outbox:
        def get(self) -> object:
            message = messages.pop(0)
            if isinstance(message, Exception):
                raise message
            return message

        def close(self) -> None:
            pass

    supervisor._read_outbox("llm", Outbox())
    assert messages == [] and "object of llm could not be handed on" in caplog.text
    assert supervisor.children["asr"].inbox.get(timeout=PATIENCE_S) == Stage("llm", "ready")


class Starting(main.Supervisor):
    """Starts nothing, and notes what it would start."""

    def _start(self, child: object) -> None:
        child.liveness.on_start(self.clock.seconds)
        child.process = SimpleNamespace(is_alive=lambda: True, pid=1)
        self.started = [*getattr(self, "started", []), child.name]

    def supervise(self) -> list[str]:
        for child in self.children.values():
            self._supervise(child)
        self._announce()
        return self.started

    def become(self, name: str, state: str) -> None:
        child = self.children[name]
        child.stage = Stage(name, state)
        child.liveness.on_ready(self.clock.seconds)


def test_tensorrt_llm_is_started_when_the_others_have_their_gpu_memory():
    supervisor = Starting(Settings(llm_engine="tensorrt-llm"))
    assert supervisor.supervise() == ["asr", "tts", "gateway"]
    supervisor.become("asr", "ready")
    assert supervisor.supervise() == ["asr", "tts", "gateway"]
    supervisor.become("tts", "ready")
    assert supervisor.supervise() == ["asr", "tts", "gateway", "llm"]
    for name in STAGES:
        supervisor.become(name, "ready")
    supervisor.supervise()  # all are ready, and the address is announced
    for name in ("tts", "llm"):
        supervisor.become(name, "down")
    # no voice keeps the language model from coming back
    assert supervisor.supervise()[-2:] == ["llm", "tts"]


def test_other_language_models_are_started_at_once():
    assert Starting(Settings()).supervise() == list(STAGES)


class Guarded:
    """An inbox that is only touched by those who hold the lock of all queues."""

    def __init__(self, lock: threading.Lock) -> None:
        self.lock, self.got, self.closed = lock, [], False

    def put(self, message: object) -> None:
        assert self.lock.locked() and not self.closed
        self.got.append(message)

    def close(self) -> None:
        assert self.lock.locked()
        self.closed = True


def test_nothing_is_put_into_a_queue_that_is_being_closed():
    supervisor = main.Supervisor(Settings())
    child = supervisor.children["asr"]
    child.process, child.stage = SimpleNamespace(join=lambda: None), Stage("asr", "ready")
    old = child.inbox = Guarded(supervisor._queues)
    supervisor.route(Stage("tts", "ready"), "tts")
    supervisor._on_exit(child, "was killed")
    assert old.closed and old.got == [Stage("tts", "ready")] and child.inbox is not old
    # what is sent from now on waits for the successor
    assert child.inbox.get(timeout=PATIENCE_S).state == "down"


class Unreadable:
    def __reduce__(self):
        return int, ("no number",)


def half_a_message(outbox: Channel) -> None:
    """The body of a process that is killed while it writes."""
    outbox.put(Unreadable())
    outbox.put("whole")
    time.sleep(0.2)
    os.write(outbox._writer.fileno(), b"\x00\x00\x10\x00half")  # 4096 bytes are promised
    os.kill(os.getpid(), signal.SIGKILL)


def test_half_a_message_of_a_killed_process_is_the_end_of_its_pipe():
    context = multiprocessing.get_context("spawn")
    outbox = Channel(context)
    process = context.Process(target=half_a_message, args=(outbox,))
    process.start()
    outbox.only_read()
    with pytest.raises(ValueError, match="no number"):
        outbox.get()
    assert outbox.get() == "whole"
    with pytest.raises((EOFError, OSError)):
        outbox.get()
    process.join()
    outbox.close()


def test_who_writes_to_a_dead_process_is_not_held():
    context = multiprocessing.get_context("spawn")
    inbox = Channel(context)
    inbox.only_write()  # no process has the other end
    inbox.put("x" * 1_000_000)  # more than a pipe takes
    inbox.close()
    inbox._thread.join(PATIENCE_S)
    assert not inbox._thread.is_alive()


def test_errors_have_a_tree_that_is_light_to_import():
    code = (
        "import sys; import whisperfusion.errors; print(sorted(set(sys.modules) & {'numpy', "
        "'asyncio', 'yaml', 'whisperfusion.models.store'}))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
        ).stdout.strip()
        == "[]"
    )
    assert main.main(["--asr-port=nonsense"]) == 2
    assert (
        issubclass(SettingsError, Exception)
        and issubclass(ModelError, Exception)
        and not issubclass(ModelError, SettingsError)
    )


async def test_a_log_that_nobody_reads_any_more_ends_no_process():
    asr, tts, http = free_ports(3)
    server = SimpleNamespace(asr_url=f"ws://127.0.0.1:{asr}", tts_url=f"ws://127.0.0.1:{tts}")
    ports = (f"--asr-port={asr}", f"--tts-port={tts}", f"--http-port={http}")
    running = subprocess.Popen(
        [sys.executable, "main.py", *ports, *SCRIPTED, "--log-level=debug"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
    )
    try:
        for line in running.stderr:
            if b"ready after" in line:
                break
        running.stderr.close()
        pids = {child.pid for child in psutil.Process(running.pid).children()}
        for _ in range(2):
            async with Caller(server) as caller:  # joins and leaves are logged
                await caller.send("say", text="alpha")
                await caller.answered()
        assert {child.pid for child in psutil.Process(running.pid).children()} == pids
    finally:
        running.terminate()
        assert await asyncio.to_thread(running.wait, PATIENCE_S) == 0


# --- what holds a loop --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hog", "place"),
    [
        ("backtrack", "tests/held_loop.py:{} in backtrack"),
        ("sleep", "tests/held_loop.py:{} in sleep"),
        ("thread", "other threads of this process"),
        ("nothing", ""),
    ],
)
def test_what_holds_a_loop_is_named_and_counted(hog, place):
    run = subprocess.run(
        [sys.executable, "tests/held_loop.py", hog],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    seen, lines = json.loads(run.stdout), (ROOT / "tests" / "held_loop.py").read_text().splitlines()
    if hog == "nothing":
        assert seen["event_loop_stalls_total"] == 0 and "blocked" not in run.stderr
        return
    assert seen["event_loop_stalls_total"] >= 1 and seen["event_loop_lag_seconds"] > 0.25
    line = {"backtrack": "re.match", "sleep": "time.sleep"}.get(hog)
    number = next((at for at, text in enumerate(lines, 1) if line and line in text), 0)
    assert f"by {place.format(number)}" in run.stderr


def test_every_process_tells_how_its_loop_is_held(scripted_server):
    wanted = {
        f'whisperfusion_{name}{{stage="{stage}"}}'
        for name in ("event_loop_lag_seconds", "event_loop_stalls_total")
        for stage in STAGES
    }

    def told() -> bool:
        with urllib.request.urlopen(f"{scripted_server.http_url}/metrics") as answer:
            return wanted <= {
                line.rsplit(" ", 1)[0] for line in answer.read().decode().splitlines()
            }

    scripted_server.wait_for(told, PATIENCE_S)


# --- waiting is told ----------------------------------------------------------------------------


def test_an_answer_that_comes_soon_is_not_announced():
    estimator, stages = WaitEstimator(), {name: Stage(name, "ready") for name in STAGES}
    assert (
        estimator.estimate({}, [], 0.0) is None
        and estimator.estimate(stages, [SOON_S / 2], 0.0) is None
    )
    estimator.reply_took(SOON_S / 2, 0.0)
    assert estimator.estimate(stages, [], 1.0) is None


def test_a_wait_is_told_with_its_reason_and_its_length():
    estimator, stages = WaitEstimator(), {name: Stage(name, "ready") for name in STAGES}
    for _ in range(3):
        estimator.reply_took(8.0, 10.0)
    slow = estimator.estimate(stages, [], 11.0)
    assert slow and slow.seconds == 8.0 and "8 seconds" in slow.reason
    assert estimator.estimate(stages, [], 60.0) is None  # that was long ago
    assert (
        estimator.estimate(stages, [9.0], 60.0).seconds == 9.0
    )  # what never ends is never measured
    down = estimator.estimate({**stages, "llm": Stage("llm", "down", load_s=4.0)}, [], 60.0)
    assert down.seconds == 4.0 and "language model" in down.reason


async def test_a_caller_who_asks_while_the_model_is_down_hears_so_at_once_and_is_answered_later(
    start_server,
):
    server = start_server(*SCRIPTED)
    async with Caller(server) as caller:
        os.kill(server.pid("llm"), signal.SIGKILL)
        await caller.until(
            lambda: [stage for stage in caller.of(StageChanged) if stage.state == "down"]
        )
        await caller.send("say", text="alpha")
        await caller.until(lambda: caller.of(Waiting))
        (waiting,) = caller.of(Waiting)
        assert waiting.turn == 1 and "language model" in waiting.reason and not caller.of(ReplyText)
        await caller.answered()
        assert caller.reply(1) == "You said alpha. That is 1 word." and not caller.of(Failed)
