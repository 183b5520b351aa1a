"""The quieter beginning of a reply: SOFT_START_DB."""

from __future__ import annotations

import numpy as np
import pytest

from whisperfusion.audio import SPEECH_RATE
from whisperfusion.messages import Ticket
from whisperfusion.output.chunks import Chunk
from whisperfusion.output.playout import FILLER, Playout
from whisperfusion.synthesis.soft_start import RISE_S, softened

TICKET = Ticket("a", 1)
RISE = round(RISE_S * SPEECH_RATE)


def leaving(*sentences: int, ticket: Ticket = TICKET, index: int = 0) -> list[Chunk]:
    """The chunks of a reply whose sentences have so many samples, all of them 0.5."""
    playout: Playout = Playout(SPEECH_RATE, lead_s=60.0)
    playout.commit(ticket)
    for at, count in enumerate(sentences, index):
        playout.put(ticket, at, np.full(count, 0.5, np.float32))
        playout.end(ticket, at, at == len(sentences) - 1)
    return playout.release(0.0)


def loudness(chunks: list[Chunk], quieter_db: float) -> np.ndarray:
    return np.concatenate([softened(chunk, quieter_db) for chunk in chunks])


def test_off_nothing_is_touched():
    chunks = leaving(3000, 30_000)
    assert all(softened(chunk, 0.0) is chunk.audio for chunk in chunks)


@pytest.mark.parametrize("sentences", [(30_000,), (100, 200, 3000, 30_000)])
def test_loudness_rises_once_however_the_reply_is_cut(sentences):
    sound = loudness(leaving(*sentences), 12.0)
    assert sound.dtype == np.float32 and len(sound) == sum(sentences)
    assert sound[0] == pytest.approx(0.5 * 10 ** (-12 / 20), rel=1e-3)
    assert sound[RISE // 2] == pytest.approx(0.5 * 10 ** (-6 / 20), rel=1e-3)
    assert np.all(np.diff(sound[:RISE]) > 0)
    assert np.all(sound[RISE:] == 0.5)


def test_what_follows_a_filler_is_no_beginning():
    chunks = leaving(30_000, 3000, index=FILLER)
    assert [chunk.index for chunk in chunks][-1] == 0 and np.all(chunks[-1].audio == 0.5)
    assert softened(chunks[-1], 12.0) is chunks[-1].audio


def test_the_next_reply_begins_anew():
    playout: Playout = Playout(SPEECH_RATE, lead_s=60.0)
    for ticket in (TICKET, Ticket("a", 2)):
        playout.commit(ticket)
        playout.put(ticket, 0, np.full(9000, 0.5, np.float32))
        first = playout.release(0.0)[0]
        assert first.ticket == ticket and softened(first, 6.0)[0] < 0.3
