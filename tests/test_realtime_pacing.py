"""How far ahead of its playback a Realtime client is sent audio: little on a fast line, more on one
that is slow or unknown, and nothing while the call has paused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisperfusion.gateway.realtime.pacing import BYTES_PER_S, LEAD_S, MOST_S, Line, Pacing


def sound(seconds: float) -> bytes:
    return bytes(round(seconds * BYTES_PER_S / 2) * 2)


def on_a_fast_line() -> Pacing:
    pacing = Pacing()
    for number in range(200):
        pacing.line.received(0.04, 0.04 * number)
    return pacing


def played(pacing: Pacing, now: float, until: float) -> list[tuple[float, float]]:
    """(when a piece left, its seconds) up to `until`, by a timer that is always right."""
    left = []
    while (due := pacing.due(now)) is not None and due <= until:
        now = due
        piece = pacing.next_piece(now)
        assert piece
        left.append((now, len(piece) / BYTES_PER_S))
    return left


@pytest.mark.parametrize(("pacing", "lead_s"), [(Pacing(), MOST_S), (on_a_fast_line(), LEAD_S)])
def test_a_client_is_ahead_by_its_lines_lead(pacing, lead_s):
    pacing.put(sound(3.0))
    left = played(pacing, 10.0, 12.0)
    assert sum(seconds for _, seconds in left) == pytest.approx(2.0 + lead_s, abs=lead_s / 2)
    assert lead_s / 2 <= pacing.ahead_s(12.0) + 1e-6 and pacing.ahead_s(12.0) <= lead_s + 1e-3


def test_a_jittery_line_has_the_longest_lead_and_pauses_of_the_microphone_are_no_jitter():
    line = Line()
    for number in range(200):
        line.received(0.04, 0.04 * number + (0.05 if number % 3 else 0.0))
    assert Pacing().lead_s == MOST_S and line.jitter_s > LEAD_S / 4
    steady, now = Line(), 0.0
    for number in range(200):
        now += 5.0 if number % 50 == 49 else 0.04
        steady.received(0.04, now)
    assert steady.jitter_s < 0.001


def test_audio_that_came_late_makes_the_lead_longer_and_what_was_not_there_does_not():
    pacing = on_a_fast_line()
    pacing.put(sound(0.5))
    played(pacing, 10.0, 10.2)
    assert pacing.next_piece(10.5) and pacing.lead_s == pytest.approx(1.5 * LEAD_S, abs=0.002)
    pacing = on_a_fast_line()
    pacing.put(sound(0.05))
    played(pacing, 10.0, 11.0)
    pacing.put(sound(0.05))
    assert pacing.next_piece(20.0) and pacing.lead_s == pytest.approx(LEAD_S, abs=0.002)


def test_a_pause_keeps_what_has_not_left_and_is_no_lateness():
    pacing = on_a_fast_line()
    pacing.put(sound(1.0))
    before = sum(seconds for _, seconds in played(pacing, 10.0, 10.3))
    pacing.pause()
    assert pacing.due(10.3) is None and not pacing.next_piece(11.0)
    pacing.resume()
    after = sum(seconds for _, seconds in played(pacing, 11.0, 20.0))
    assert before + after == pytest.approx(1.0)
    assert pacing.lead_s == pytest.approx(LEAD_S, abs=0.002)


@given(st.lists(st.integers(0, 9000).map(lambda n: 2 * n), max_size=8), st.booleans())
def test_nothing_is_lost_or_repeated(lengths, cleared):
    pacing, whole = Pacing(), b""
    for number, length in enumerate(lengths):
        part = bytes([number + 1]) * length
        whole += part
        pacing.put(part)
    left, now = b"", 5.0
    while (due := pacing.due(now)) is not None and not (cleared and len(left) > len(whole) // 2):
        now = due
        left += pacing.next_piece(now)
    assert left + pacing.clear() == whole and pacing.due(now) is None
