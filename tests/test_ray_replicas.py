"""A replica of a cluster is lost, at every stage of a call: the call goes on at another one, or
fails so that the chain of engines goes on.

One address leads to one of two real servers (in threads of the test) and then to the other one,
while all connections of before break. Real processes that are killed: test_cluster_processes.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from engine_checks import ENGLISH, eventually
from engine_server import EngineServer, Front
from far_engines import ALPHA, BETA, Reply, Slow, asked, said, told

from whisperfusion.engines import EngineError, Interrupted, load
from whisperfusion.engines.chain.asr import ASRChain
from whisperfusion.engines.chain.llm import ChainLLM
from whisperfusion.engines.chain.llm_link import Link
from whisperfusion.engines.chain.recovery import Built, Links
from whisperfusion.engines.remote.http_stream import BrokeOff
from whisperfusion.engines.scripted import ScriptedTTS, read_tones
from whisperfusion.runtime.ports import free_ports

SENTENCE = "the birch canoe slid on the smooth planks"


@pytest.fixture
def front() -> Iterator[Callable[[EngineServer], Front]]:
    made: list[Front] = []

    def start(server: EngineServer) -> Front:
        made.append(Front(server.port))
        return made[-1]

    yield start
    for one in made:
        one.stop()


class Voice(ScriptedTTS):
    """Waits after each piece while it is `held`. `noise`: no two of its sentences are the same.

    Its pieces have `size` samples.
    """

    def __init__(self, noise: float = 0.0, size: int = 4800) -> None:
        super().__init__()
        self.noise, self.chance = noise, np.random.default_rng(1)
        self.held, self.size = False, size

    def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> Iterator:
        whole = np.concatenate([np.zeros(0, np.float32), *super().synthesize(text, voice, speed)])
        for at in range(0, len(whole), self.size):
            piece = whole[at : at + self.size]
            yield piece + self.noise * self.chance.standard_normal(len(piece)).astype(np.float32)
            while self.held:
                yield piece[:0]


# --- language models ----------------------------------------------------------------------------


def test_a_reply_without_a_piece_is_asked_for_again(serve, front):
    lost, other = Reply(None), Reply("from", " another")
    address = front(serve("llm", lost))
    llm = load("llm", "ray", url=address.url)
    pieces = asked(llm)
    assert next(pieces) == "" and not eventually(lambda: lost.begun == 1)
    address.goes_to(serve("llm", other).port)
    assert "".join(pieces) == "from another"
    assert other.begun == 1


def test_a_reply_that_broke_off_is_gone_on_with_by_the_next_link(serve, front):
    lost, other = Reply("Once upon", None), Reply(" a time.")
    address = front(serve("llm", lost))
    changed: list[str] = []
    chain = ChainLLM(
        [
            Link(
                "ray",
                lambda: load("llm", "ray", url=address.url),
                remote=True,
                changed=lambda link, error: changed.append(link.name),
            ),
            Link("embedded", lambda: other),
        ]
    )
    pieces = asked(chain)
    assert next(piece for piece in pieces if piece) == "Once upon"
    address.goes_to(free_ports(1)[0])
    found = told(pieces)
    assert type(found[0]) is Interrupted and found[-1] == " a time."
    assert (lost.begun, other.begun, changed) == (1, 1, ["ray"])


def test_a_reply_that_broke_off_by_itself_fails(serve, front):
    address = front(serve("llm", Reply("Once upon", None)))
    pieces = asked(load("llm", "ray", url=address.url))
    assert next(piece for piece in pieces if piece) == "Once upon"
    address.goes_to(serve("llm", Reply("never asked")).port)
    with pytest.raises(BrokeOff, match="broke off in the middle"):
        list(pieces)


def test_it_is_sent_again_twice_and_no_more(serve):
    server = serve("llm", Reply("yes"))
    llm = load("llm", "ray", url=server.url)
    server.service.health.lost = "its GPU is gone"
    with pytest.raises(EngineError, match="503.*its GPU is gone"):
        list(asked(llm))
    assert server.service.denied == 3
    server.service.health.lost = ""
    assert "".join(asked(llm)) == "yes"


def test_an_engine_that_is_lost_is_asked_elsewhere(serve, front):
    broken, sound = Reply(RuntimeError("CUDA error: an illegal memory access")), Reply("sound")
    first = serve("llm", broken)
    address = front(first)
    llm = load("llm", "ray", url=address.url)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(lambda: "".join(asked(llm)))
        eventually(lambda: bool(first.service.health.lost))  # its health fails
        address.goes_to(serve("llm", sound).port)  # so that it gets no more requests
        assert answer.result(30) == "sound"


# --- voices -------------------------------------------------------------------------------------


def test_a_sentence_is_finished_by_another_replica_where_both_say_the_same(serve, front):
    lost, other = Voice(), Voice(size=3700)
    address = front(serve("tts", lost))
    tts = load("tts", "ray", url=address.url)
    lost.held, whole = True, said(other, SENTENCE)
    pieces = tts.synthesize(SENTENCE)
    begun = next(piece for piece in pieces if len(piece))
    address.goes_to(serve("tts", other).port)
    lost.held = False
    np.testing.assert_array_equal(np.concatenate([begun, *pieces]), whole)
    assert read_tones(whole, tts.sample_rate) == SENTENCE


def test_a_sentence_is_not_glued_together_from_two_readings(serve, front):
    lost, other = Voice(0.01), Voice(0.01)
    address = front(serve("tts", lost))
    tts = load("tts", "ray", url=address.url)
    lost.held = True
    pieces = tts.synthesize(SENTENCE)
    assert len(next(piece for piece in pieces if len(piece)))
    address.goes_to(serve("tts", other).port)
    lost.held = False
    with pytest.raises(EngineError, match="broke off in the middle"):
        list(pieces)
    assert len(said(tts, SENTENCE))  # and the next one is said


def test_a_voice_of_another_rate_is_not_played(serve, front):
    class Higher(ScriptedTTS):
        sample_rate = 48_000

    address = front(serve("tts", ScriptedTTS()))
    tts = load("tts", "ray", url=address.url)
    address.goes_to(serve("tts", Higher()).port)
    with pytest.raises(EngineError, match="48000 Hz now and spoke at 24000 Hz before"):
        said(tts, SENTENCE)


# --- speech to text -----------------------------------------------------------------------------


def test_an_utterance_goes_on_at_another_replica_with_all_of_its_audio(serve, front):
    address = front(serve("asr", load("asr", "scripted")))
    asr = load("asr", "ray", url=address.url)
    interim, final = asr.create_utterances(ENGLISH)
    assert interim.accept_audio(ALPHA, False).text == "alpha"
    address.goes_to(serve("asr", load("asr", "scripted")).port)
    assert final.accept_audio(ALPHA).text == "alpha"
    assert interim.accept_audio(BETA, False).text == "alpha beta"
    address.goes_to(serve("asr", load("asr", "scripted")).port)
    assert final.accept_audio(BETA).text == "alpha beta"
    address.goes_to(serve("asr", load("asr", "scripted")).port)
    assert final.finish().text == "alpha beta"  # which has nothing new to send


def test_a_replica_is_lost_while_it_decodes(serve, front):
    slow, other = Slow(), Slow()
    other.go.set()
    address = front(serve("asr", slow))
    asr = load("asr", "ray", url=address.url)
    interim, final = asr.create_utterances(ENGLISH)
    with ThreadPoolExecutor(2) as pool:
        texts = [pool.submit(interim.accept_audio, ALPHA, False)]
        texts.append(pool.submit(final.accept_audio, np.concatenate((ALPHA, BETA))))
        for _ in texts:
            slow.waiting.acquire()
        address.goes_to(serve("asr", other).port)
        found = [one.result(30).text for one in texts]
    assert found == [f"{len(ALPHA)} False", f"{len(ALPHA) + len(BETA)} True"]
    assert other.created == 2  # both passes, once
    slow.go.set()


def test_a_replica_that_ends_hands_over_utterances_that_pause(serve, front):
    first = serve("asr", load("asr", "scripted"))
    address = front(first)
    utterance = load("asr", "ray", url=address.url).create_utterance(ENGLISH)
    assert utterance.accept_audio(ALPHA).text == "alpha"
    second = serve("asr", load("asr", "scripted"))
    address._forwarder.port = second.port  # what is open stays
    first.drain()
    eventually(lambda: first.service.utterances == 0)
    assert utterance.accept_audio(BETA).text == "alpha beta"
    assert second.service.utterances == 1


def test_a_recording_goes_on_at_another_replica(serve, front):
    first = serve("asr", load("asr", "scripted"))
    address = front(first)
    asr = load("asr", "ray", url=address.url)
    pieces = [ALPHA, np.zeros(125 * 16_000, np.float32), BETA]
    first.service.health.lost = "its GPU is gone"
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(lambda: list(asr.transcribe(np.concatenate(pieces), ENGLISH)))
        eventually(lambda: first.service.denied > 0)
        address.goes_to(serve("asr", load("asr", "scripted")).port)
        assert [one.text for one in found.result(30)] == ["alpha", "beta"]


# --- the local engine behind the cluster --------------------------------------------------------


def test_a_cell_starts_without_its_cluster_and_uses_it_when_it_is_there():
    (port,) = free_ports(1)
    now, notices = [0.0], list[str]()
    chain = ASRChain(
        Links(
            [
                Built("ray", lambda: load("asr", "ray", url=f"http://127.0.0.1:{port}"), True),
                Built("embedded", lambda: load("asr", "scripted")),
            ],
            "transcribes",
            notices.append,
            lambda: now[0],
        )
    )
    assert chain.create_utterance(ENGLISH).accept_audio(ALPHA).text == "alpha"
    assert (chain.links.answers, len(notices)) == ([0, 1], 1) and "embedded transcribes" in notices[
        0
    ]
    server = EngineServer("asr", load("asr", "scripted"), port=port)
    now[0] += 1000.0  # the rest is over, when it is next asked
    with suppress(EngineError):
        eventually(lambda: chain.links.closed(0))
    assert chain.create_utterance(ENGLISH).accept_audio(ALPHA).text == "alpha"
    assert chain.links.answers == [1, 1] and notices[1] == "ray answers again"
    utterance = chain.create_utterance(ENGLISH)
    assert utterance.accept_audio(ALPHA).text == "alpha"
    server.stop()
    assert utterance.accept_audio(BETA).text == "alpha beta"  # by the engine here
    assert chain.links.answers == [2, 2] and "embedded transcribes instead" in notices[2]
