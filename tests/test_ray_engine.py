"""Engines on the servers of a cluster, as a cell sees them: what they can do, how calls end early,
and which go together. Lost replicas: test_ray_replicas.py. The contract that all engines keep is in
test_asr.py, test_llm.py and test_tts.py.

The servers are real, in threads of the test, with scripted engines.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from engine_checks import ENGLISH, eventually
from far_engines import ALPHA, BETA, AbleReply, Reply, Slow, asked, said, told

from cluster.decoding import Batches
from cluster.engines import Models
from whisperfusion.engines import (
    ASROptions,
    BatchASR,
    CloningTTS,
    ConstrainedLLM,
    EngineError,
    MultilingualTTS,
    Progress,
    Thought,
    ToolCall,
    ToolLLM,
    Truncated,
    WarmLLM,
    load,
)
from whisperfusion.engines.scripted import ScriptedTTS, read_tones
from whisperfusion.errors import GaveWay, Refused, Unsayable
from whisperfusion.runtime.ports import free_ports
from whisperfusion.tools import Function, Tools
from whisperfusion.wire.engine_pipe import WINDOW

# --- abilities ----------------------------------------------------------------------------------


def test_only_the_abilities_that_it_has_there_show(serve):
    plain = load("llm", "ray", url=serve("llm", Reply()).url, parallel=3)
    assert not isinstance(plain, (ToolLLM, WarmLLM, ConstrainedLLM))
    assert (plain.model, plain.device, plain.parallel) == ("fixed", "cpu", 3)
    engine = AbleReply(Thought(), Progress(), "yes", Truncated())
    able = load("llm", "ray", url=serve("llm", engine).url)
    assert isinstance(able, ToolLLM) and isinstance(able, WarmLLM) and able.small
    able.warm_up((("system", "be kind"), ("user", "hi")))
    assert engine.warmed == 2
    tools = Tools((Function("look", {"name": "look"}),), "required")
    found = told(asked(able, tools=tools))
    assert [type(piece) for piece in found] == [ToolCall, Thought, Progress, str, Truncated]
    assert found[0] == ToolCall("c1", "look", "required")
    written = able.stream_json((("user", "hi"),), {"type": "object"}, max_tokens=5)
    assert "".join(written) == "object 5"
    voice = load("tts", "ray", url=serve("tts", ScriptedTTS(languages="tone:en/soft:es")).url)
    assert isinstance(voice, MultilingualTTS) and isinstance(voice, CloningTTS)
    assert voice.voice_languages == {"tone": "en", "soft": "es"}
    assert isinstance(load("asr", "ray", url=serve("asr", load("asr", "scripted")).url), BatchASR)


def test_a_voice_is_chosen_or_cloned_from_a_file_of_the_cell(serve, tmp_path):
    url = serve("tts", ScriptedTTS()).url
    assert load("tts", "ray", url=url, voice="soft").voices == ("soft", "tone")
    with pytest.raises(EngineError, match="no voice 'deep' in the cluster; available: tone, soft"):
        load("tts", "ray", url=url, voice="deep")
    voice = load("tts", "ray", url=url, voice="soft")
    assert (
        np.abs(said(voice, "hello")).max() < 0.11 < np.abs(said(voice, "hello", voice="tone")).max()
    )
    sample = tmp_path / "ann.wav"
    write_wav(sample, np.full(2400, 0.7, np.float32))
    assert np.abs(said(voice, "hello", voice=str(sample))).max() == pytest.approx(0.7, abs=0.01)
    with pytest.raises(EngineError, match="no voice .*available: tone, soft"):
        said(load("tts", "ray", url=url), "hello", voice="deep")
    sample.write_bytes(bytes(9 << 20))
    with pytest.raises(EngineError, match="at most 8 MB"):
        said(voice, "hello", voice=str(sample))


def write_wav(path: Path, pcm: np.ndarray) -> None:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(24_000)
        out.writeframes((pcm * 32767).astype("<i2").tobytes())


@pytest.mark.parametrize("kind", [EngineError, Refused, GaveWay, Unsayable])
def test_an_error_arrives_in_its_kind_and_the_engine_goes_on(serve, kind):
    engine = Reply("so far", kind("it was told to fail"))
    llm = load("llm", "ray", url=serve("llm", engine).url)
    pieces = asked(llm)
    assert next(piece for piece in pieces if piece) == "so far"
    with pytest.raises(EngineError, match="^it was told to fail$") as raised:
        list(pieces)
    assert type(raised.value) is kind
    assert engine.begun == 1  # what the engine says is no loss of a replica


def test_recordings_go_in_pieces_and_are_not_read_further_than_wanted(serve):
    server = serve("asr", load("asr", "scripted"))
    asr = load("asr", "ray", url=server.url)
    long = np.concatenate((ALPHA, np.zeros(125 * 16_000, np.float32), BETA))
    found = list(asr.transcribe(long, ENGLISH))
    assert [one.text for one in found] == ["alpha", "beta"]
    assert found[1].start_s == pytest.approx(len(ALPHA) / 16_000 + 125, abs=0.1)
    both = asr.transcribe_batch([(ALPHA, ENGLISH), (BETA, ENGLISH)], lambda at: at == 1)
    assert [(at, one.text) for at, one in both] == [(1, "beta")]


# --- ends ---------------------------------------------------------------------------------------


def test_closing_frees_the_engine(serve):
    engine = Reply("one", None, "two")
    server = serve("llm", engine, at_once=1)
    llm = load("llm", "ray", url=server.url)
    streams = [asked(llm) for _ in range(3)]
    assert next(piece for piece in streams[0] if piece) == "one"
    assert [next(one) for one in streams[1:]] == ["", ""]  # they wait for the first one
    eventually(lambda: server.service.running == 3)
    streams[1].close()
    eventually(lambda: server.service.running == 2)
    assert (engine.begun, engine.open) == (1, 1)
    streams[0].close()
    assert next(piece for piece in streams[2] if piece) == "one"
    streams[2].close()
    eventually(lambda: (server.service.running, engine.open) == (0, 0))


HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend calls
  bind 127.0.0.1:{front}
  default_backend engines
backend engines
  server one 127.0.0.1:{back}
"""


@pytest.fixture
def balanced(tmp_path):
    """The address of an HAProxy in front of a server."""
    running = []

    def start(server) -> str:
        assert shutil.which("haproxy"), "this test needs the Debian package haproxy"
        (front,) = free_ports(1)
        config = tmp_path / "haproxy.cfg"
        config.write_text(HAPROXY.format(front=front, back=server.port))
        running.append(subprocess.Popen(["haproxy", "-db", "-f", str(config)]))
        url = f"http://127.0.0.1:{front}"
        eventually(lambda: answers(url))
        return url

    yield start
    for one in running:
        one.kill()
        one.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.HTTPError:
        return False


def test_closing_frees_an_engine_that_is_silent_behind_a_balancer(serve, balanced):
    engine = Reply(None)
    server = serve("llm", engine)
    pieces = asked(load("llm", "ray", url=balanced(server)))
    assert next(pieces) == ""
    eventually(lambda: engine.open)
    threading.Event().wait(0.5)  # HAProxy has passed the head of the answer on
    pieces.close()
    eventually(lambda: (server.service.running, engine.open) == (0, 0))


def test_a_call_that_was_given_up_ends_before_the_next_one_begins(serve):
    # closing is only noticed at the next pulse, and the next call does not wait for that
    engine = Reply(None)
    server = serve("llm", engine)
    jobs, llm = server.service.jobs, load("llm", "ray", url=server.url)
    for _ in range(5):
        pieces = asked(llm)
        assert next(pieces) == ""
        eventually(lambda: engine.open)
        pieces.close()
    assert (engine.begun, engine.most) == (5, 1)
    eventually(lambda: not jobs._named)  # nothing is kept of calls that are over


def test_an_engine_is_not_far_ahead_of_its_reader(serve):
    big = "x" * 100_000
    engine = Reply(*[big] * 2000)
    llm = load("llm", "ray", url=serve("llm", engine).url)
    pieces = asked(llm)
    assert next(piece for piece in pieces if piece) == big
    before = -1
    while before != engine.made:  # until it waits
        before = engine.made
        threading.Event().wait(0.3)
    assert engine.made < 2 * WINDOW + 300  # two windows, and what the network holds
    pieces.close()
    eventually(lambda: not engine.open)


def test_deadlines_are_told(serve):
    engine = Reply(None)
    llm = load("llm", "ray", url=serve("llm", engine).url, timeout_s=0.3)
    with pytest.raises(EngineError, match="cluster at http://.* stopped sending in the middle"):
        list(asked(llm))
    assert engine.begun == 1  # a deadline that passed is not tried again
    slow = Slow()
    asr = load("asr", "ray", url=serve("asr", slow).url, timeout_s=0.3)
    with pytest.raises(EngineError, match="no transcript within 0.3 s"):
        asr.create_utterance(ENGLISH).accept_audio(ALPHA)
    slow.go.set()


# --- utterances ---------------------------------------------------------------------------------


def test_both_passes_share_one_socket_and_one_copy_of_the_audio(serve):
    server = serve("asr", load("asr", "scripted"))
    asr = load("asr", "ray", url=server.url)
    interim, final = asr.create_utterances(ENGLISH)
    eventually(lambda: server.service.utterances == 1)  # opened before it is asked
    assert interim.accept_audio(ALPHA, False).text == "alpha"
    assert final.accept_audio(np.concatenate((ALPHA, BETA))).text == "alpha beta"
    assert interim.accept_audio(BETA, False).text == "alpha beta"
    assert final.finish().text == "alpha beta"
    assert interim._spoken._lines.present.sent == len(ALPHA) + len(BETA)
    assert server.service.utterances == 1
    del interim, final
    eventually(lambda: server.service.utterances == 0)


def test_an_utterance_that_is_only_tried_opens_nothing(serve):
    engine = Slow()
    engine.go.set()
    server = serve("asr", engine)
    asr = load("asr", "ray", url=server.url)
    for _ in range(20):
        asr.create_utterance(ENGLISH)
    assert asr.detect_language(ALPHA)[0] == "en"  # which comes after what was begun before
    assert server.service.utterances <= 1


def test_options_are_refused_by_the_engine(serve):
    asr = load("asr", "ray", url=serve("asr", Slow()).url)
    utterance = asr.create_utterance(ASROptions(task="dance"))
    for method in (lambda: utterance.accept_audio(ALPHA), utterance.finish):
        with pytest.raises(EngineError, match="it does not dance"):
            method()


def test_utterances_of_two_cells_that_wait_are_decoded_together(serve):
    engine, batches = Slow(), Batches()
    url = serve("asr", engine, decode=batches.decode).url
    cells = [load("asr", "ray", url=url) for _ in range(2)]
    utterances = [cells[at % 2].create_utterance(ENGLISH) for at in range(5)]
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(utterances[0].accept_audio, ALPHA)
        engine.waiting.acquire()  # it is being decoded
        others = [pool.submit(one.accept_audio, ALPHA) for one in utterances[1:]]
        eventually(lambda: batches.waiting == 4)
        engine.go.set()
        texts = [one.result(30).text for one in (first, *others)]
    assert (engine.batches, texts) == ([1, 4], [f"{len(ALPHA)} True"] * 5)


def test_an_interim_transcript_gives_way_and_keeps_its_audio(serve):
    engine, batches = Slow(), Batches()
    asr = load("asr", "ray", url=serve("asr", engine, decode=batches.decode).url)
    other = asr.create_utterance(ENGLISH)
    interim, final = asr.create_utterances(ENGLISH)
    with ThreadPoolExecutor(3) as pool:
        pool.submit(other.accept_audio, BETA, False)
        engine.waiting.acquire()  # another interim one occupies the engine
        late = pool.submit(interim.accept_audio, ALPHA, False)
        eventually(lambda: batches.waiting == 1)
        decoded = pool.submit(final.accept_audio, ALPHA)
        engine.waiting.acquire()  # final ones have a thread of their own
        engine.go.set()
        assert decoded.result(30).text == f"{len(ALPHA)} True"
        with pytest.raises(GaveWay):
            late.result(30)
    assert interim.accept_audio(BETA, False).text == f"{len(ALPHA) + len(BETA)} False"


def test_jobs_of_a_batch_go_out_side_by_side(serve):
    engine, batches = Slow(), Batches()
    asr = load("asr", "ray", url=serve("asr", engine, decode=batches.decode).url)
    jobs = [(asr.create_utterance(ENGLISH), ALPHA, True) for _ in range(3)]
    with ThreadPoolExecutor(1) as pool:
        decoded = pool.submit(asr.decode_batch, jobs)
        engine.waiting.acquire()
        eventually(lambda: batches.waiting == 2)
        engine.go.set()
        assert [one.text for one in decoded.result(30)] == [f"{len(ALPHA)} True"] * 3


# --- models and keys ----------------------------------------------------------------------------


def test_each_model_is_an_engine_of_its_own(serve):
    made: list[str] = []

    def voice(name: str) -> ScriptedTTS:
        made.append(name)
        return ScriptedTTS(model=name, voice="soft" if name == "es" else "tone")

    models = Models(voice, ["en", "es", "fr"], most=2)
    url = serve("tts", engines=models.get).url
    english, spanish = (load("tts", "ray", url=url, model=name) for name in (None, "es"))
    assert (english.model, english.voices[0]) == ("en", "tone")
    assert (spanish.model, spanish.voices[0]) == ("es", "soft")
    assert np.abs(said(english, "hello")).max() > 0.2 > np.abs(said(spanish, "hello")).max()
    assert load("tts", "ray", url=url, model="fr").model == "fr"
    assert (made, list(models.loaded)) == (["en", "es", "fr"], ["es", "fr"])
    assert read_tones(said(english, "hello"), 24_000) == "hello"  # it is loaded again
    with pytest.raises(EngineError, match="'de' is not here; allowed: en, es, fr.*TTS_MODEL"):
        load("tts", "ray", url=url, model="de")


def test_the_key_is_asked_for(serve):
    engine = load("asr", "scripted")
    url = serve("asr", engine, key="sesame").url
    for key in (None, "wrong"):
        with pytest.raises(EngineError, match="401.*Check ASR_URL, ASR_KEY"):
            load("asr", "ray", url=url, key=key)
    asr = load("asr", "ray", url=url, key="sesame")
    assert asr.create_utterance(ENGLISH).accept_audio(ALPHA).text == "alpha"
    asr._way.headers["Authorization"] = "Bearer old"
    with pytest.raises(EngineError, match="401"):
        asr.create_utterance(ENGLISH).accept_audio(ALPHA)


@pytest.mark.parametrize("kind", ["asr", "llm", "tts"])
def test_addresses_that_lead_elsewhere_are_told(serve, kind):
    setting = f"{kind.upper()}_URL"
    with pytest.raises(EngineError, match=f"{setting} is not set.*http://.*:8100/{kind}"):
        load(kind, "ray")
    (port,) = free_ports(1)
    with pytest.raises(EngineError, match=f"does not answer at http://.*Check {setting}"):
        load(kind, "ray", url=f"http://127.0.0.1:{port}")
    other = "llm" if kind == "asr" else "asr"
    url = serve(other, load(other, "scripted")).url
    with pytest.raises(EngineError, match=f"serves '{other}', and '{kind}' is needed"):
        load(kind, "ray", url=url)
    with pytest.raises(EngineError, match=f"404.*Check {setting}"):
        load(kind, "ray", url=f"{url}/nothing")
