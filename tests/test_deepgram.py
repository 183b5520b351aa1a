"""Deepgram's two ways, against a server that speaks as theirs does; the contract that all engines
keep is in test_asr.py.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from engine_checks import ENGLISH, SECOND, eventually
from fake_voice_server import FakeVoiceServer

from whisperfusion.engines import ASROptions, EngineError, decode_batch, load
from whisperfusion.engines.remote import deepgram_stream
from whisperfusion.engines.scripted import tone_speech

SPOKEN = tone_speech("alpha beta")
PAUSE = np.zeros(SECOND // 2, np.float32)
KEY = "sesame-deepgram"


@pytest.fixture
def server() -> Iterator[FakeVoiceServer]:
    running = FakeVoiceServer()
    yield running
    running.stop()


@pytest.fixture
def asr(server) -> Any:
    return load("asr", "deepgram", url=server.url, key=KEY)


def heard(asr: Any, pcm: np.ndarray = SPOKEN, options: ASROptions = ENGLISH) -> Any:
    return asr.create_utterance(options).accept_audio(pcm)


def test_an_utterance_is_sent_once_for_both_passes(server, asr):
    interim, final = asr.create_utterances(ASROptions("en", word_timestamps=True))
    pcm = np.concatenate((SPOKEN, PAUSE, tone_speech("gamma"), PAUSE))
    for piece in np.array_split(pcm, 10):
        interim.accept_audio(piece, False)
    eventually(lambda: interim.accept_audio(PAUSE[:0], False).text == "alpha beta gamma")
    found = final.accept_audio(pcm, True)
    assert (found.text, found.language, found.end_of_turn) == ("alpha beta gamma", "en", None)
    words = [word for segment in found.segments for word in segment.words]
    assert [word.text for word in words] == ["alpha", "beta", "gamma"]
    assert words[2].start_s == pytest.approx((len(SPOKEN) + len(PAUSE)) / SECOND, abs=0.01)
    assert server.heard == [pytest.approx(len(pcm) / SECOND)]
    assert server.keys == [f"Token {KEY}"]
    assert server.queries[0] == {
        "model": "nova-3",
        "language": "en",
        "punctuate": "true",
        "encoding": "linear16",
        "sample_rate": "16000",
        "channels": "1",
        "interim_results": "true",
        "endpointing": "100",
    }


def test_what_is_asked_for_is_in_the_query_and_what_cannot_be_is_refused(server):
    asr = load("asr", "deepgram", model="nova-2", url=server.url, smart_format=True)
    heard(asr, SPOKEN, ASROptions("de", hotwords="Ann Lee, Bob"))
    query = server.queries[-1]
    assert (query["model"], query["language"], query["smart_format"]) == ("nova-2", "de", "true")
    assert query["keywords"] == ["Ann Lee", "Bob"] and server.keys[-1] == ""
    with pytest.raises(EngineError, match="does not translate"):
        asr.create_utterance(ASROptions("de", task="translate"))
    with pytest.raises(EngineError, match="DEEPGRAM_API_KEY"):
        load("asr", "deepgram")


def test_a_language_is_detected(server, asr):
    assert heard(asr, SPOKEN, ASROptions()).language == "en"
    assert server.queries[-1]["language"] == "multi"
    assert asr.detect_language(SPOKEN) == ("en", 0.97)


def test_a_connection_serves_one_utterance_after_the_other(server, asr):
    for text in ("alpha beta", "gamma", "delta"):
        utterance = asr.create_utterance(ENGLISH)
        assert utterance.accept_audio(tone_speech(text)).text == text
        assert utterance.accept_audio(PAUSE).text == text  # and goes on after a final transcript
        assert utterance.finish().text == text
        del utterance
    assert len(server.queries) == 1
    # what is not finalized would be heard in the next utterance
    utterance = asr.create_utterance(ENGLISH)
    utterance.accept_audio(tone_speech("left behind"), False)
    del utterance
    assert heard(asr).text == "alpha beta" and len(server.queries) == 2


def test_a_pause_without_audio_is_kept_alive(server, asr):
    utterance = asr.create_utterance(ENGLISH)
    utterance.accept_audio(SPOKEN, False)
    eventually(lambda: "KeepAlive" in server.controls)
    assert utterance.accept_audio(PAUSE).text == "alpha beta"


@pytest.mark.parametrize("how", ["cut", "idle"])
def test_a_lost_connection_costs_no_word(server, asr, how):
    utterance = asr.create_utterance(ENGLISH)
    utterance.accept_audio(np.concatenate((SPOKEN, PAUSE)), False)
    server.how = "cut"
    if how == "idle":  # between audio and Finalize
        utterance.accept_audio(PAUSE, False)
        server.how = ""
    assert utterance.accept_audio(tone_speech("gamma")).text == "alpha beta gamma"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("key", "refused .401.: Invalid credentials.*DEEPGRAM_API_KEY"),
        ("credit", "refused .402.: Not enough credits"),
        ("busy", "refused .429.: Too many requests"),
        ("model", "refused .400.: No such model.*ASR_MODEL"),
    ],
)
def test_a_refusal_is_told_in_words(server, asr, how, words):
    heard(asr)
    server.how = how
    with pytest.raises(EngineError, match=words) as refusal:
        heard(asr, SPOKEN, ASROptions("de"))  # on a connection of its own
    assert refusal.value.retry_after_s == (7.0 if how == "busy" else 0.0)
    with pytest.raises(EngineError, match=words):
        list(asr.transcribe(SPOKEN, ENGLISH))
    with pytest.raises(EngineError, match=words) as refusal:
        load("asr", "deepgram", url=server.url, key=KEY)
    assert KEY not in str(refusal.value)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("stall", "final transcript in 0.5 s"),
        ("error", "the model is on fire"),
        ("nonsense", "not JSON"),
        ("idle", "1011 NET-000[01]"),
    ],
)
def test_a_server_that_fails_in_an_utterance_is_told_in_words(server, how, words):
    asr = load("asr", "deepgram", url=server.url, timeout_s=0.5)
    utterance = asr.create_utterance(ENGLISH)
    utterance.accept_audio(SPOKEN, False)
    server.how = how
    with pytest.raises(EngineError, match=words):
        utterance.accept_audio(tone_speech("gamma"))
    server.how = ""
    assert heard(load("asr", "deepgram", url=server.url)).text == "alpha beta"


def test_a_stall_is_seen_while_the_user_speaks(server):
    asr = load("asr", "deepgram", url=server.url, timeout_s=0.3)
    utterance = asr.create_utterance(ENGLISH)
    utterance.accept_audio(SPOKEN)
    server.how = "stall"

    def stalls() -> bool:
        try:
            utterance.accept_audio(PAUSE[:1600], False)
        except EngineError as error:
            return "no results for 0.3 s" in str(error)
        return False

    eventually(stalls)


def test_callers_are_served_at_once_and_fail_alone(server, asr):
    utterances = [asr.create_utterance(ENGLISH) for _ in range(3)]
    bad = np.full(100, np.nan, np.float32)
    jobs = [(one, pcm, True) for one, pcm in zip(utterances, (SPOKEN, bad, SPOKEN), strict=True)]
    one, two, three = decode_batch(asr, jobs)
    assert (one.text, three.text) == ("alpha beta", "alpha beta") and isinstance(two, EngineError)


def test_both_passes_may_ask_at_the_same_time(server, asr):
    pcm = np.concatenate((SPOKEN, PAUSE, tone_speech("gamma"), PAUSE))
    for _ in range(10):
        interim, final = asr.create_utterances(ENGLISH)
        start = threading.Barrier(2)

        def feed(one: Any, last: bool, start: Any = start) -> str:
            start.wait(10)
            cuts = [len(SPOKEN) + len(PAUSE) // 2] if last else 7  # no tone is cut in two
            for piece in np.array_split(pcm, cuts):
                found = one.accept_audio(piece, last)
            return found.text

        with ThreadPoolExecutor(2) as pool:
            results = [pool.submit(feed, interim, False), pool.submit(feed, final, True)]
            assert results[1].result(20) == "alpha beta gamma"
            results[0].result(20)
        del interim, final, results
    assert sum(server.heard) == pytest.approx(10 * len(pcm) / SECOND, abs=0.1)


def test_recordings_go_by_rest(server, asr):
    options = ASROptions("en", hotwords="Ann")
    (segment,) = asr.transcribe(np.concatenate((SPOKEN, PAUSE)), options)
    assert (segment.text, [word.text for word in segment.words]) == (
        "alpha beta",
        ["alpha", "beta"],
    )
    assert segment.end_s == pytest.approx((len(SPOKEN) + len(PAUSE)) / SECOND)
    assert server.recordings[-1] == {
        "model": "nova-3",
        "language": "en",
        "punctuate": "true",
        "keyterm": "Ann",
        "utterances": "true",
    }
    count = len(server.recordings)
    assert list(asr.transcribe(np.zeros(SECOND, np.float32), options)) == []
    assert len(server.recordings) == count  # silence is not sent
    server.how = "nonsense"
    with pytest.raises(EngineError, match="without results"):
        list(asr.transcribe(SPOKEN, options))


def test_little_audio_may_be_finalized_without_an_answer(server, asr):
    """As the server does where it holds nothing back."""
    stream = asr.http.run(asr.pool.acquire("language=en"))
    asr.http.run(stream.send(bytes(2 * SECOND)))
    asr.http.run(stream.finalize(10.0))
    stream._final_to_s = stream._finalized_to_s = 0.5  # as if the rest was never told
    asr.http.run(stream.finalize(10.0))
    assert stream.clean and deepgram_stream.QUIET_S < 10.0
