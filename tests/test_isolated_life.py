"""Engines in another interpreter: whatever the other process does, a call ends and the next one
works; and nothing is left behind.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_checks import ENGLISH, eventually
from isolated_checks import ask, install_odd, kill, pid_of, reply, rest, usable
from running import ROOT, alive

from whisperfusion.engines import EngineError, load
from whisperfusion.engines.isolated import keeper
from whisperfusion.engines.isolated import process as isolated_process
from whisperfusion.engines.scripted import tone_speech
from whisperfusion.errors import Refused
from whisperfusion.wire.engine_pipe import WINDOW


@pytest.fixture(scope="module", autouse=True)
def odd_package(tmp_path_factory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("packages")
    install_odd(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        yield


@pytest.fixture
def odd() -> Iterator[Any]:
    engine = load("llm", "odd", python=sys.executable)
    yield engine
    engine.close()


# --- noise, bugs, deaths ------------------------------------------------------------------------


@pytest.fixture
def typed() -> Iterator[None]:
    """Something was typed for this process."""
    (reader, writer), before = os.pipe(), os.dup(0)
    os.write(writer, b"for the server alone")
    os.dup2(reader, 0)
    for descriptor in (reader, writer):
        os.close(descriptor)
    yield
    os.dup2(before, 0)
    os.close(before)


def test_what_libraries_print_and_ask_does_no_harm(capfd, typed):
    odd = load("llm", "odd", python=sys.executable)
    assert ask(odd, "noise") == "''"
    list(odd.prefill((("user", "hi"),)))
    out, err = capfd.readouterr()
    assert out == ""
    for text in ("from a child", "prepared", "WFE1" * 100):
        assert text in err
    odd.close()


def test_the_log_is_as_loud_there_as_here(capfd):
    logging.getLogger("chatty").setLevel(logging.ERROR)
    odd = load("llm", "odd", python=sys.executable)
    ask(odd, "log")
    odd.close()
    err = capfd.readouterr().err
    assert re.search(r"\d\d:\d\d:\d\d WARNING odd +worth knowing", err)
    assert "nobody wants" not in err


def test_a_librarys_exception_ends_its_call_and_not_the_process(capfd):
    odd = load("llm", "odd", python=sys.executable)
    before = pid_of(odd)
    asked = reply(odd, "bug")
    assert next(p for p in asked if p) == "so far so good"
    with pytest.raises(
        EngineError, match="the engine failed on this input: ValueError: an index is off by one"
    ):
        rest(asked)
    with pytest.raises(EngineError, match="the engine failed on this input: SystemExit"):
        ask(odd, "exit")
    assert "ValueError: an index is off by one" in capfd.readouterr().err
    with pytest.raises(Refused, match="^others keep it busy$"):  # in its own kind of error
        ask(odd, "full")
    assert ask(odd, "alpha") == "alpha" and pid_of(odd) == before
    odd.close()


def test_a_lost_gpu_ends_the_process_and_the_calls_in_it(capfd):
    odd = load("llm", "scripted", python=sys.executable)
    with pytest.raises(
        EngineError,
        match=(
            r"scripted in .*python.* ended \(exit code 70; the log says why\); it is being "
            r"started again"
        ),
    ):
        ask(odd, "lose the gpu")
    assert "CUDA error" in capfd.readouterr().err
    assert ask(odd, "alpha").startswith("You said alpha.")
    odd.close()


def test_odd_ends_are_ends(odd):
    with pytest.raises(EngineError, match="exit code 3"):
        ask(odd, "fork")
    assert ask(odd, "alpha") == "alpha"


def test_a_killed_child_ends_all_calls_at_once_and_the_next_are_served():
    llm = load("llm", "scripted", python=sys.executable)
    streams = [reply(llm, "forever") for _ in range(3)]
    assert all("on it goes" in next(p for p in stream if p) for stream in streams)
    kill(llm)
    for stream in streams:
        with pytest.raises(EngineError, match="killed by signal 9"):
            rest(stream)
    assert ask(llm, "alpha") == "You said alpha. That is 1 word."
    llm.close()


def test_an_utterance_dies_with_its_child_and_a_new_one_works():
    asr = load("asr", "scripted", python=sys.executable)
    utterance = asr.create_utterance(ENGLISH)
    assert utterance.accept_audio(np.pad(tone_speech("alpha"), (0, 8000))).text == "alpha"
    kill(asr)
    for method in (lambda: utterance.accept_audio(tone_speech("beta")), utterance.finish):
        with pytest.raises(EngineError, match="being started again"):
            method()
    fresh = asr.create_utterance(ENGLISH)  # perhaps before there is a child again
    assert fresh.accept_audio(np.pad(tone_speech("gamma"), (0, 8000))).text == "gamma"
    asr.close()


def test_what_cannot_be_started_again_is_tried_later_and_later(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(keeper, "GIVE_UP_S", 0.2)
    trouble = tmp_path / "trouble"
    engine = load("llm", "odd", python=sys.executable, trouble=str(trouble))
    trouble.write_text("raise EngineError('the card has fallen off the bus')")
    kill(engine)
    with caplog.at_level(logging.WARNING):
        eventually(lambda: len(re.findall("fallen off the bus", caplog.text)) >= 2)
    assert re.findall(r"starting it again in ([\d.]+) s", caplog.text)[:3] == ["0.2", "0.4", "0.8"]
    with pytest.raises(EngineError, match="is being started again; try again in a moment"):
        ask(engine, "alpha")
    trouble.unlink()
    eventually(lambda: usable(engine))
    engine.close()


# --- cancelling, and children that do not listen ------------------------------------------------


@pytest.mark.parametrize("word", ["many", "pulses"])
def test_closing_reaches_the_engine(odd, word):
    """This engine makes one reply at a time: the next can only be had when the one before has
    stopped.
    """
    pieces = reply(odd, word)
    if word == "pulses":
        assert [next(pieces) for _ in range(3)] == ["", "", ""]
    else:  # a busy machine may let empty pieces pass while the child is still on its way
        assert [next(p for p in pieces if p) for _ in range(3)] == ["0 ", "1 ", "2 "]
    pieces.close()
    assert list(pieces) == []
    assert ask(odd, "alpha") == "alpha"


def test_an_engine_is_not_far_ahead_of_its_listener(odd):
    pieces = reply(odd, "many")
    taken = [next(p for p in pieces if p)]
    eventually(lambda: int(ask(odd, "made")) >= WINDOW)
    assert [int(ask(odd, "made")) for _ in range(50)][-1] <= WINDOW + 1
    taken += islice((p for p in pieces if p), 5 * WINDOW)
    assert taken == [f"{n} " for n in range(5 * WINDOW + 1)]  # and none is lost
    pieces.close()


def test_a_stopped_child_stops_nobody():
    asr, llm = (
        load("asr", "scripted", python=sys.executable),
        load("llm", "scripted", python=sys.executable),
    )
    for engine in (asr, llm):
        os.kill(pid_of(engine), signal.SIGSTOP)
    pieces = reply(llm, "forever")
    assert next(pieces) == ""
    pieces.close()
    with ThreadPoolExecutor(1) as pool:
        first = asr.create_utterance(ENGLISH)
        # far more than a pipe holds
        pending = pool.submit(first.accept_audio, np.pad(tone_speech("alpha"), (0, 4_000_000)))
        fresh = [asr.create_utterance(ENGLISH) for _ in range(3)]
        assert not pending.done()
        os.kill(pid_of(asr), signal.SIGCONT)
        assert pending.result(30).text == "alpha"
    assert fresh[2].finish().text == ""
    os.kill(pid_of(llm), signal.SIGCONT)
    assert ask(llm, "alpha") == "You said alpha. That is 1 word."
    asr.close()
    llm.close()


def test_a_child_that_does_not_stop_is_replaced(odd, monkeypatch):
    pieces = reply(odd, "hang")
    assert next(pieces) == ""
    pieces.close()
    monkeypatch.setattr(isolated_process, "STUCK_S", 0.0)
    with pytest.raises(EngineError, match="did not stop within 0 s"):
        ask(odd, "alpha")
    assert ask(odd, "alpha") == "alpha"


# --- nothing is left behind ---------------------------------------------------------------------


HOST = """
import logging, sys, threading
from whisperfusion.engines import load
from whisperfusion.engines.isolated import process as isolated_process
if sys.argv[1] == "loading":
    born = isolated_process.Child.messages
    def messages(child):
        print(child.pid, flush=True)
        return born(child)
    isolated_process.Child.messages = messages
    load("llm", "odd", python=sys.executable, trouble=sys.argv[2])
engine = load("llm", "odd", python=sys.executable)
pieces = engine.stream_chat([("user", sys.argv[1])], max_tokens=9, temperature=0.0)
next(pieces)
print(engine._way.child_now().pid, flush=True)
if sys.argv[2] != "leave":
    threading.Event().wait()
"""


ENDS = [
    *((state, end) for state in ("alpha", "many", "hang", "hold") for end in ("kill", "leave")),
    ("loading", "kill"),
]


@pytest.mark.parametrize(("state", "end"), ENDS)
def test_no_child_outlives_its_host(tmp_path, state, end):
    """ "hold": a library hangs with the interpreter's lock, so that no Python can run there."""
    trouble = tmp_path / "trouble"
    trouble.write_text("threading.Event().wait()")
    path = f"{ROOT}{os.pathsep}{os.environ['PYTHONPATH']}"
    with subprocess.Popen(
        [sys.executable, "-c", HOST, state, str(trouble) if state == "loading" else end],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as host:
        assert host.stdout
        child = int(host.stdout.readline())
        assert alive(child) or end == "leave"
        if end == "kill":
            host.kill()
        host.wait(30)
    eventually(lambda: not alive(child))


def test_ctrl_c_and_closing(odd):
    assert os.getpgid(pid_of(odd)) != os.getpgid(0)  # a terminal interrupts a whole group
    child = pid_of(odd)
    pieces = reply(odd, "many")
    next(pieces)
    odd.close()
    assert not alive(child)
    with pytest.raises(EngineError, match="exit code 0"):  # it saw the end of its pipe
        rest(pieces)


def resources() -> tuple[int, int]:
    return threading.active_count(), len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts what is in /proc")
def test_calls_deaths_and_closing_leave_no_thread_and_no_file():
    start = resources()
    engine = load("llm", "odd", python=sys.executable)
    loaded = start[0] + 2, start[1] + 2  # a thread and a pipe end for each direction
    eventually(lambda: resources() == loaded)
    child = pid_of(engine)

    def theirs() -> tuple[int, int]:
        return len(os.listdir(f"/proc/{child}/task")), len(os.listdir(f"/proc/{child}/fd"))

    ask(engine, "alpha")
    at_first = theirs()
    for _ in range(25):
        assert ask(engine, "alpha") == "alpha"
        pieces = reply(engine, "many")
        next(pieces)
        pieces.close()
    assert ask(engine, "alpha") == "alpha"
    eventually(lambda: all(now <= then for now, then in zip(theirs(), at_first, strict=True)))
    assert resources() == loaded
    for _ in range(2):
        kill(engine)
        eventually(lambda: usable(engine))
    eventually(lambda: resources() == loaded)
    engine.close()
    with pytest.raises(EngineError):
        load("llm", "nonsuch", python=sys.executable)
    eventually(lambda: resources() == start)
