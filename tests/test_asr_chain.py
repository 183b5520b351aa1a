"""A chain of recognizers: no word is lost when a link fails, stalls or refuses, whatever the
moment; and the real server with such a chain.
"""

from __future__ import annotations

import asyncio
import re
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from client import Caller, spoken
from engine_checks import BAD_AUDIO, ENGLISH, SECOND, eventually
from fake_voice_server import FakeVoiceServer
from hypothesis import given, settings
from hypothesis import strategies as st
from running import Server

from whisperfusion.client import Failed, Notice
from whisperfusion.engines import (
    ASROptions,
    BatchASR,
    EngineError,
    LanguageDetectingASR,
    SharingASR,
    create_utterances,
    decode_batch,
    load,
)
from whisperfusion.engines.chain.asr import ASRChain
from whisperfusion.engines.chain.breaker import LONGEST_REST_S
from whisperfusion.engines.chain.recovery import Built, Links
from whisperfusion.engines.scripted import ScriptedASR, tone_speech
from whisperfusion.errors import EngineLost, GaveWay

WORDS = "alpha beta gamma delta".split()
SPOKEN = np.concatenate([np.pad(tone_speech(word), (0, 4000)) for word in WORDS])
KEY = "sesame-deepgram"


class Failing(ScriptedASR):
    """Fails at each job (counted from 0) that a test names, with `error`."""

    def __init__(self, fails: Any = (), error: Exception | None = None, **more: Any) -> None:
        super().__init__()
        self.fails, self.error = fails, error or EngineError("told to fail")
        self.jobs, self.given = 0, []
        for name, value in more.items():
            setattr(self, name, value)

    def check(self) -> None:
        self.jobs += 1
        if self.fails is True or (self.jobs - 1) in (self.fails or ()):
            raise self.error

    def create_utterance(self, options: ASROptions) -> Any:
        if self.languages and options.language not in self.languages:
            raise EngineError("this language is not known")
        utterance, engine = super().create_utterance(options), self

        class Utterance:
            def accept_audio(self, pcm: np.ndarray, final: bool = True) -> Any:
                engine.check()
                engine.given.append(len(pcm))
                return utterance.accept_audio(pcm, final)

            def finish(self) -> Any:
                engine.check()
                return utterance.finish()

        return Utterance()

    def transcribe(self, pcm: np.ndarray, options: ASROptions) -> Iterator[Any]:
        for segment in super().transcribe(pcm, options):
            self.check()
            yield segment


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def chain_of(
    *engines: Any, told: list[str] | None = None, clock: Any = None, remote: bool = True
) -> ASRChain:
    def built(engine: Any) -> Any:
        if isinstance(engine, Exception):
            raise engine
        return engine

    links = [Built(f"link{at}", lambda e=e: built(e), remote) for at, e in enumerate(engines)]
    notify = (told if told is not None else []).append
    return ASRChain(Links(links, "transcribes", notify, clock or Clock()))


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.tuples(st.integers(1, 40), st.booleans(), st.booleans()), max_size=8),
    first=st.sets(st.integers(0, 8)),
    second=st.sets(st.integers(0, 8)),
)
def test_no_word_is_lost_at_any_failure(
    cuts: list[tuple[int, bool, bool]], first: set[int], second: set[int]
) -> None:
    """Both passes, in any order, with pieces of any length, while two of three links fail."""
    chain = chain_of(Failing(first), Failing(second), ScriptedASR())
    passes = dict(zip((False, True), create_utterances(chain, ENGLISH), strict=True))
    given = {False: 0, True: 0}
    for length, which, final in cuts:
        end = given[which] + length * 1000
        passes[which].accept_audio(SPOKEN[given[which] : end], final)
        given[which] = min(end, len(SPOKEN))
    for which, one in passes.items():
        one.accept_audio(SPOKEN[given[which] :])
        assert one.finish().text == " ".join(WORDS)


def test_the_next_link_gets_all_of_the_utterance_and_callers_are_told_once() -> None:
    told: list[str] = []
    first, second = Failing({1}), Failing()
    chain = chain_of(first, second, told=told)
    utterance = chain.create_utterance(ENGLISH)
    utterance.accept_audio(SPOKEN[:SECOND])
    assert utterance.accept_audio(SPOKEN[SECOND:]).text == " ".join(WORDS)
    assert first.given == [SECOND] and second.given == [len(SPOKEN)]
    assert chain.create_utterance(ENGLISH).accept_audio(SPOKEN).text == " ".join(WORDS)
    assert told == ["link0 failed (told to fail); link1 transcribes instead"]
    assert chain.links.counted("asr") == [
        ("asr_link_answers_total", (("link", "link0"),), 1.0),
        ("asr_link_failures_total", (("link", "link0"),), 1.0),
        ("asr_link_open", (("link", "link0"),), 1.0),
        ("asr_link_answers_total", (("link", "link1"),), 2.0),
        ("asr_link_failures_total", (("link", "link1"),), 0.0),
        ("asr_link_open", (("link", "link1"),), 0.0),
    ]


class Together(Failing):
    """Both passes are in it when it fails."""

    both = threading.Barrier(2)

    def check(self) -> None:
        self.both.wait(20)
        raise self.error


def test_a_failure_that_both_passes_see_costs_one_link() -> None:
    second, third = Failing(), Failing()
    chain = chain_of(Together(), second, third)
    with ThreadPoolExecutor(2) as pool:
        passes = chain.create_utterances(ENGLISH)
        found = [pool.submit(one.accept_audio, SPOKEN, True) for one in passes]
        assert [one.result(30).text for one in found] == [" ".join(WORDS)] * 2
    assert (second.jobs, third.jobs) == (2, 0)


def test_the_first_link_is_asked_again_after_its_rest_by_one_utterance() -> None:
    told: list[str] = []
    clock, first, second = Clock(), Failing({0}), Failing()
    chain = chain_of(first, second, told=told, clock=clock)

    def heard() -> str:
        return chain.create_utterance(ENGLISH).accept_audio(SPOKEN).text

    assert [heard(), heard()] == [" ".join(WORDS)] * 2 and first.jobs == 1
    clock.now += LONGEST_REST_S
    trial, other = chain.create_utterance(ENGLISH), chain.create_utterance(ENGLISH)
    assert other.accept_audio(SPOKEN).text == " ".join(WORDS) and first.jobs == 1
    trial.accept_audio(SPOKEN, False)
    assert len(told) == 1  # what a server knew before it failed proves nothing
    trial.accept_audio(SPOKEN[:0])
    assert told[1:] == ["link0 answers again"]
    assert heard() == " ".join(WORDS) and first.jobs == 4


def test_what_no_link_mends_is_raised() -> None:
    with pytest.raises(EngineError, match="no way"):
        chain = chain_of(Failing(True), Failing(True, EngineError("no way")))
        chain.create_utterance(ENGLISH).accept_audio(SPOKEN)
    # the process is to blame, and a new one helps
    chain = chain_of(Failing(True, EngineLost("the GPU")), Failing(), remote=False)
    with pytest.raises(EngineLost):
        chain.create_utterance(ENGLISH).accept_audio(SPOKEN)
    for bad in BAD_AUDIO.values():
        chain = chain_of(Failing(), Failing())
        with pytest.raises(EngineError):
            chain.create_utterance(ENGLISH).accept_audio(bad)
        assert chain.links.failures == [0, 0]
    with pytest.raises(EngineError, match="link0: a; link1: b"):
        chain_of(EngineError("a"), EngineError("b"))


def test_a_link_that_gives_way_has_the_audio_and_is_no_failure() -> None:
    told: list[str] = []
    chain = chain_of(Failing({0}, GaveWay("a final one goes first")), Failing(), told=told)
    interim, _ = chain.create_utterances(ENGLISH)
    with pytest.raises(GaveWay):
        interim.accept_audio(SPOKEN, False)
    assert interim._fed == len(SPOKEN) and not told


def test_a_language_that_a_link_does_not_know_is_the_next_links() -> None:
    told: list[str] = []
    german = ASROptions("de")
    chain = chain_of(Failing(languages=("en",)), Failing(languages=("de",)), told=told)
    assert chain.languages == ("en", "de")
    assert chain.create_utterance(german).accept_audio(SPOKEN).text == " ".join(WORDS)
    assert not told and chain.links.failures == [0, 0]
    with pytest.raises(EngineError, match="language is not known"):
        chain.create_utterance(ASROptions("fr"))
    assert chain_of(Failing(languages=("en",)), Failing()).languages == ()  # any


def test_a_recording_goes_on_where_the_link_failed() -> None:
    gap = np.zeros(SECOND, np.float32)
    pcm = np.concatenate([np.concatenate((tone_speech(word), gap)) for word in WORDS])
    chain = chain_of(Failing({2}), Failing())
    found = list(chain.transcribe(pcm, ENGLISH))
    assert [one.text for one in found] == WORDS
    assert [round(one.start_s) for one in found] == sorted(round(one.start_s) for one in found)
    assert found[-1].end_s == pytest.approx(len(pcm) / SECOND - 1, abs=0.1)
    both = list(chain.transcribe_batch([(pcm, ENGLISH), (pcm, ENGLISH)]))
    assert [at for at, _ in both].count(0) == [at for at, _ in both].count(1) == len(WORDS)
    assert chain.detect_language(pcm) == ("en", 1.0)


def test_the_abilities_of_the_links_are_passed_on() -> None:
    chain = chain_of(Failing(), Failing())
    assert isinstance(chain, BatchASR)
    assert isinstance(chain, SharingASR) and isinstance(chain, LanguageDetectingASR)


class Batching(Failing):
    """Reads several utterances at once, and fails at the one with a word."""

    def decode_batch(self, jobs: Any) -> list[Any]:
        self.batches = [*getattr(self, "batches", []), len(jobs)]
        found = []
        for utterance, pcm, final in jobs:
            try:
                found.append(utterance.accept_audio(pcm, final))
            except Exception as error:
                found.append(error)
        return found

    def transcribe_batch(self, recordings: Any, wanted: Any) -> Any:
        yield from ()


def test_utterances_of_one_engine_are_read_together_and_fail_alone() -> None:
    first = Batching({1})
    chain = chain_of(first, Failing(), remote=False)
    jobs = [(chain.create_utterance(ENGLISH), SPOKEN, True) for _ in range(3)]
    bad = (chain.create_utterance(ENGLISH), BAD_AUDIO["nan"], True)
    found = decode_batch(chain, [*jobs[:2], bad, jobs[2]])
    assert [one.text for at, one in enumerate(found) if at != 2] == [" ".join(WORDS)] * 3
    assert isinstance(found[2], EngineError) and first.batches == [3]
    assert chain.links.failures == [1, 0]


def test_a_link_that_cannot_be_loaded_is_loaded_later() -> None:
    told: list[str] = []
    there = threading.Event()

    def build() -> Any:
        if not there.is_set():
            raise EngineError("not yet")
        return Failing()

    links = Links(
        [Built("late", build, True), Built("embedded", ScriptedASR)],
        "transcribes",
        told.append,
    )
    chain = ASRChain(links)
    assert told == ["late cannot be used (not yet); embedded transcribes instead"]
    assert chain.create_utterance(ENGLISH).accept_audio(SPOKEN).text == " ".join(WORDS)
    assert chain.links.answers == [0, 1]
    there.set()
    eventually(lambda: told[1:] == ["late answers again"])
    chain.create_utterance(ENGLISH).accept_audio(SPOKEN)
    assert chain.links.answers == [1, 1]


# --- with the real server -----------------------------------------------------------------------


@pytest.fixture
def deepgram() -> Iterator[FakeVoiceServer]:
    server = FakeVoiceServer()
    yield server
    server.stop()


def flags(deepgram: FakeVoiceServer, chain: str) -> list[str]:
    others = [f"--{stage}-engine=scripted" for stage in ("vad", "turn", "llm", "tts")]
    first = f"deepgram@{deepgram.url}/v1/nova-3?key=DEEPGRAM_API_KEY"
    return [*others, f"--asr-chain={first}{chain}", f"--deepgram-api-key={KEY}"]


async def test_a_call_goes_on_whatever_becomes_of_the_first_link(start_server, deepgram):
    server = start_server(*flags(deepgram, "&timeout_s=1, scripted"))
    stage = server.health()[1]["stages"]["asr"]
    assert (stage["engine"], stage["model"]) == ("chain", "deepgram/nova-3, scripted")
    async with Caller(server) as caller:
        await caller.speak(spoken("alpha beta gamma"), live=True)
        await caller.answered()
        assert caller.reply(1) == "You said alpha beta gamma. That is 3 words."
        await asyncio.to_thread(server.wait_for, lambda: deepgram.heard and deepgram.heard[0] > 1)
        deepgram.how = "stall"
        await caller.speak(spoken("delta epsilon"), live=True)
        await caller.answered(2)
        assert caller.reply(2) == "You said delta epsilon. That is 2 words."
        (told,) = [one.text for one in caller.of(Notice) if "transcribes instead" in one.text]
        assert told.startswith("deepgram/nova-3 failed (") and "; scripted transcribes" in told
        assert not caller.of(Failed)
    counted = re.compile(r'asr_link_answers_total\{.*link="scripted".*\} [1-9]')
    await asyncio.to_thread(server.wait_for, lambda: counted.search(read_metrics(server)))
    assert KEY not in server.log and deepgram.keys == [f"Token {KEY}"] * len(deepgram.keys)


async def test_a_start_without_the_first_link_is_told_and_serves(start_server, deepgram):
    deepgram.how = "credit"
    server = start_server(*flags(deepgram, ", scripted"))
    async with Caller(server) as caller:
        await caller.speak(spoken("alpha beta"))
        await caller.answered()
        assert caller.reply(1) == "You said alpha beta. That is 2 words."
    note = server.health()[1]["stages"]["asr"]["note"]
    assert "refused (402): Not enough credits" in note and "scripted transcribes instead" in note


def test_a_chain_that_cannot_be_read_ends_the_start(deepgram):
    server = Server(*flags(deepgram, ", wisper"))
    assert server.process.wait(timeout=60) == 1
    server.stop()
    assert "ASR_CHAIN names 'wisper'" in server.log and "faster-whisper" in server.log


def test_a_chain_of_one_is_its_engine(deepgram):
    asr = load("asr", "deepgram", url=deepgram.url)
    assert chain_of(asr).create_utterance(ENGLISH).accept_audio(SPOKEN).text == " ".join(WORDS)


def read_metrics(server: Server) -> str:
    with urllib.request.urlopen(f"{server.http_url}/metrics", timeout=10) as answer:
        return str(answer.read().decode())
