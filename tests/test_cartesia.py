"""Cartesia's socket, against a server that speaks as theirs does; the contract that all voices
keep is in test_tts.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from engine_checks import eventually
from fake_voice_server import FakeVoiceServer

from whisperfusion.engines import EngineError, load
from whisperfusion.engines.scripted import read_tones

KEY = "sesame-cartesia"


@pytest.fixture
def server() -> Iterator[FakeVoiceServer]:
    running = FakeVoiceServer()
    yield running
    running.release.set()
    running.stop()


@pytest.fixture
def tts(server) -> Any:
    return load("tts", "cartesia", url=server.url, key=KEY)


def said(tts: Any, text: str = "alpha beta", **options: Any) -> str:
    pieces = [np.zeros(0, np.float32), *tts.synthesize(text, **options)]
    return read_tones(np.concatenate(pieces), tts.sample_rate)


def test_what_is_sent_and_what_comes_back(server, tts):
    assert (tts.model, tts.voices, tts.language) == ("sonic-3", ("ann-1", "bob-2"), "en")
    pieces = [pcm for pcm in tts.synthesize("alpha beta", "bob-2") if len(pcm)]
    assert len(pieces) > 1 and read_tones(np.concatenate(pieces), 24_000) == "alpha beta"
    request = dict(server.asked[-1])
    assert request.pop("context_id") != server.asked[0]["context_id"]
    assert request == {
        "model_id": "sonic-3",
        "transcript": "alpha beta",
        "voice": {"mode": "id", "id": "bob-2"},
        "language": "en",
        "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24_000},
        "continue": False,
    }
    list(tts.synthesize("alpha", speed=2.0))
    assert server.asked[-1]["generation_config"] == {"speed": 1.5}  # its fastest
    # the list of voices, and one connection for all sentences
    assert server.keys == [f"Bearer {KEY}"] * 2


def test_voices_and_models_of_ones_own(server):
    tts = load("tts", "cartesia", url=server.url, model="sonic-9", voice="my-clone", language="de")
    assert (tts.model, tts.voices[0], tts.language) == ("sonic-9", "my-clone", "de")
    server.voices = []
    assert load("tts", "cartesia", url=server.url, voice="my-clone").voices == ("my-clone",)
    with pytest.raises(EngineError, match="TTS_VOICE"):
        load("tts", "cartesia", url=server.url)
    with pytest.raises(EngineError, match="CARTESIA_API_KEY"):
        load("tts", "cartesia")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("key", "refused .401.: Bad key.*CARTESIA_API_KEY"),
        ("credit", "refused .402.: No credits"),
        ("busy", "refused .429.: Busy"),
        ("model", "refused .400.: No.*TTS_MODEL"),
        ("error", "refused .500.: no"),
        ("late", "refused .500.: no"),
        ("cut", "closed the connection .1011 internal error"),
        ("nonsense", "not JSON"),
    ],
)
def test_a_failure_is_told_in_words_and_the_next_sentence_is_said(server, tts, how, words):
    server.how = how
    if how in ("key", "credit"):  # they are told when a connection is opened
        with pytest.raises(EngineError, match=words) as refusal:
            load("tts", "cartesia", url=server.url, key=KEY)
        assert KEY not in str(refusal.value)
        return
    with pytest.raises(EngineError, match=words):
        said(tts)
    server.how = ""
    assert said(tts) == "alpha beta"


@pytest.mark.parametrize(
    ("how", "words"),
    [("stall", "did not answer in time"), ("silent", "stopped sending in the middle")],
)
def test_a_stall_ends_in_time_and_is_cancelled(server, how, words):
    tts = load("tts", "cartesia", url=server.url, timeout_s=0.3)
    server.how = how
    with pytest.raises(EngineError, match=words):
        said(tts)
    context = server.asked[-1]["context_id"]
    eventually(lambda: server.cancelled == [context])


@pytest.mark.parametrize("how", ["stall", "silent"])
def test_closing_cancels_the_context_and_no_other(server, tts, how):
    server.how = how
    count, pieces = len(server.asked), tts.synthesize("alpha beta")
    next(pcm for pcm in pieces if len(pcm) or (how == "stall" and len(server.asked) > count))
    server.how = ""
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(said, tts, "gamma delta epsilon")
        pieces.close()
        assert other.result(20) == "gamma delta epsilon"
    eventually(lambda: server.cancelled == [server.asked[count]["context_id"]])


def test_a_connection_that_was_closed_while_idle_is_opened_again(server, tts):
    server.how = "cut"
    with pytest.raises(EngineError):
        said(tts)
    server.how, connections = "", len(server.keys)
    assert [said(tts), said(tts)] == ["alpha beta"] * 2
    assert len(server.keys) == connections + 1
