"""When main stops: at once, or when the calls that it had have ended."""

from __future__ import annotations

from signal import SIGINT, SIGTERM

import pytest

from whisperfusion.runtime.shutdown import ADMITTING, LAST_S, Shutdown

DRAIN_S = 600.0


def draining() -> Shutdown:
    shutdown = Shutdown(DRAIN_S)
    assert not shutdown.is_due([], ADMITTING, 0.0)
    assert shutdown.drains([SIGTERM], True, 100.0)
    return shutdown


@pytest.mark.parametrize(
    ("drain_s", "signals", "serving"),
    [
        (0.0, [SIGTERM], True),
        (DRAIN_S, [SIGINT], True),
        (DRAIN_S, [SIGTERM, SIGTERM], True),
        (DRAIN_S, [SIGTERM], False),  # a server that was never ready has no calls
    ],
)
def test_without_a_time_for_it_nothing_is_drained(drain_s, signals, serving):
    shutdown = Shutdown(drain_s)
    assert not shutdown.drains(signals, serving, 0.0) and shutdown.is_due(signals, ADMITTING, 0.0)


def test_main_stops_when_every_process_that_admits_work_has_finished():
    shutdown = draining()
    assert shutdown.draining and not shutdown.drains([SIGTERM], True, 100.1)  # once
    assert not shutdown.is_due([SIGTERM], ADMITTING, 101.0)
    shutdown.finished("asr")
    assert not shutdown.is_due([SIGTERM], ADMITTING, 102.0)
    shutdown.finished("gateway")
    assert shutdown.is_due([SIGTERM], ADMITTING, 103.0)


def test_a_process_that_died_has_nothing_to_finish():
    shutdown = draining()
    shutdown.finished("gateway")
    assert shutdown.is_due([SIGTERM], ["gateway", "llm", "tts"], 103.0)


@pytest.mark.parametrize("second", [SIGTERM, SIGINT])
def test_a_second_signal_stops_at_once(second):
    assert draining().is_due([SIGTERM, second], ADMITTING, 100.2)


def test_what_never_finishes_is_not_waited_for_longer_than_promised():
    shutdown = draining()
    assert shutdown.left_s(400.0) == 300.0
    assert not shutdown.is_due([SIGTERM], ADMITTING, 100.0 + DRAIN_S + LAST_S - 0.1)
    assert shutdown.is_due([SIGTERM], ADMITTING, 100.0 + DRAIN_S + LAST_S)
    assert shutdown.left_s(100.0 + DRAIN_S + LAST_S) == 0.0
