"""Transcriptions and speech by URL, against a server that follows a script; the contract that all
engines keep is in test_asr.py and test_tts.py.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from engine_checks import ENGLISH, SECOND
from fake_audio_server import FakeAudioServer

from whisperfusion.engines import ASROptions, EngineError, decode_batch, detect_language, load
from whisperfusion.engines.remote.recordings import as_wav
from whisperfusion.engines.remote.sound import Resampler, SoundReader
from whisperfusion.engines.remote.transcripts import transcript
from whisperfusion.engines.scripted import read_tones, tone_speech
from whisperfusion.errors import GaveWay

SPOKEN = tone_speech("alpha beta")
PAUSE = np.zeros(SECOND // 2, np.float32)


@pytest.fixture
def server() -> Iterator[FakeAudioServer]:
    running = FakeAudioServer()
    yield running
    running.stop()


@pytest.fixture
def asr(server) -> Any:
    return load("asr", "openai", url=server.url, key="sesame")


@pytest.fixture
def tts(server) -> Any:
    return load("tts", "openai", url=server.url, key="sesame")


def heard(asr: Any, pcm: np.ndarray = SPOKEN, options: ASROptions = ENGLISH) -> Any:
    return asr.create_utterance(options).accept_audio(pcm)


def said(tts: Any, text: str = "alpha beta", **options: Any) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.float32), *tts.synthesize(text, **options)])


# --- transcriptions -----------------------------------------------------------------------------


def test_what_is_sent_and_what_comes_back(server, asr):
    options = ASROptions("en", initial_prompt="Ann.", hotwords="Bob", word_timestamps=True)
    found = heard(asr, np.concatenate((SPOKEN, PAUSE)), options)
    path, fields = server.requests[-1]
    assert (path, server.keys[-1]) == ("/v1/audio/transcriptions", "Bearer sesame")
    assert {name: value for name, value in fields.items() if name != "file"} == {
        "model": "ears",
        "language": "en",
        "prompt": "Ann. Bob",
        "response_format": "verbose_json",
        "timestamp_granularities[]": ["segment", "word"],
    }
    assert (found.text, found.language, found.end_of_turn) == ("alpha beta", "en", None)
    assert [word.text for word in found.segments[0].words] == ["alpha", "beta"]
    heard(asr, SPOKEN, ASROptions("de", task="translate"))
    assert server.requests[-1][0] == "/v1/audio/translations"


def test_a_language_is_told_where_the_server_tells_it_and_not_invented(server, asr):
    assert heard(asr, SPOKEN, ASROptions()).language == "en"
    assert detect_language(asr, SPOKEN) == ("en", 0.0)
    server.how = "plain"
    assert heard(asr, SPOKEN, ASROptions()).language == ""
    assert detect_language(asr, SPOKEN) == ("", 0.0)


def test_what_the_server_refuses_is_left_out_from_then_on(server, asr):
    server.how = "plain"
    asked = ASROptions("en", initial_prompt="Ann.", word_timestamps=True, temperature=0.5)
    assert [heard(asr, SPOKEN, asked).text for _ in range(2)] == ["alpha beta"] * 2
    *_, before, last = [fields for _, fields in server.requests]
    assert set(last) == set(before) == {"model", "file", "language", "response_format"}
    assert last["response_format"] == "json"
    # the probe, four refusals, two answers
    assert len(server.requests) == 7


def test_times_that_cannot_be_are_not_believed(server, asr):
    server.how = "nanoseconds"
    (segment,) = heard(asr).segments
    assert (segment.start_s, segment.end_s) == (0.0, len(SPOKEN) / SECOND)
    with pytest.raises(EngineError, match="ASR_URL"):
        transcript(["no"], 1.0)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("key", "refused .401.*ASR_KEY"),
        ("model", "refused .404.*ASR_MODEL"),
        ("fault", "refused .500.*no: fault"),
        ("moved", "it is at https://elsewhere.example.*ASR_URL"),
        ("full", "refused .429"),
        ("halfway", "broke off in the middle"),
        ("page", "without a text.*ASR_URL"),
    ],
)
def test_a_server_that_fails_is_told_in_words(server, asr, how, words):
    server.how = how
    with pytest.raises(EngineError, match=words):
        heard(asr)
    server.how = ""
    assert heard(asr).text == "alpha beta"


def test_a_server_that_stalls_ends_the_pass_in_time(server):
    asr = load("asr", "openai", url=server.url, timeout_s=0.3)
    server.how = "stall"
    with pytest.raises(EngineError, match="did not answer in time"):
        heard(asr)
    assert server.gone.acquire(timeout=10)


def test_a_busy_server_is_asked_again_for_a_final_pass_and_spared_interim_ones(server, asr):
    server.how = "busy"
    count = len(server.requests)
    assert heard(asr).text == "alpha beta"
    assert len(server.requests) == count + 2
    server.how = "full"
    with pytest.raises(GaveWay):
        asr.create_utterance(ENGLISH).accept_audio(SPOKEN, False)
    server.how = ""
    with pytest.raises(GaveWay, match="fewer requests"):
        asr.create_utterance(ENGLISH).accept_audio(SPOKEN, False)
    assert len(server.requests) == count + 3 and heard(asr).text == "alpha beta"


def test_a_final_pass_goes_first_and_an_interim_one_gives_way(server, asr):
    server.how = "held"
    interim, final = asr.create_utterance(ENGLISH), asr.create_utterance(ENGLISH)
    with ThreadPoolExecutor(3) as pool:
        under_way = pool.submit(interim.accept_audio, SPOKEN, False)
        assert server.arrived.acquire(timeout=10)
        last = pool.submit(final.accept_audio, SPOKEN, True)
        with pytest.raises(GaveWay):
            under_way.result(10)
        assert server.arrived.acquire(timeout=10)
        later = pool.submit(interim.accept_audio, PAUSE, False)  # it waits
        assert not server.arrived.acquire(timeout=0.3)
        server.release.set()
        assert last.result(10).text == "alpha beta"
        # what the pass that gave way had is not lost
        assert later.result(10).text == "alpha beta"


def test_callers_are_asked_for_at_once_and_fail_alone(server, asr):
    server.how = "held"
    utterances = [asr.create_utterance(ENGLISH) for _ in range(3)]
    bad = np.full(100, np.nan, np.float32)
    jobs = [(one, pcm, True) for one, pcm in zip(utterances, (SPOKEN, bad, SPOKEN), strict=True)]
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(decode_batch, asr, jobs)
        assert server.arrived.acquire(timeout=10) and server.arrived.acquire(timeout=10)
        server.release.set()
        one, two, three = found.result(10)
    assert (one.text, three.text) == ("alpha beta", "alpha beta") and isinstance(two, EngineError)


def test_silence_is_not_sent(server, asr):
    count = len(server.requests)
    assert heard(asr, np.zeros(SECOND, np.float32)).text == ""
    assert len(server.requests) == count


def test_a_long_recording_goes_in_pieces_that_are_no_longer_sent_when_nobody_wants_them(
    server, asr
):
    stretch = np.pad(SPOKEN, (0, 30 * SECOND))
    pcm = np.concatenate([stretch] * 5)
    found = list(asr.transcribe(pcm, ENGLISH))
    assert " ".join(segment.text for segment in found) == " ".join(["alpha beta"] * 5)
    assert [segment.start_s > 100 for segment in found] == [False, True]
    assert len(server.requests) == 3  # the probe, two pieces
    count = len(server.requests)
    assert list(asr.transcribe_batch([(pcm, ENGLISH)], lambda at: False)) == []
    assert len(server.requests) == count


# --- speech -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream_format", ["audio", "sse"])
def test_speech_comes_as_it_is_made(server, stream_format):
    tts = load("tts", "openai", url=f"{server.url}/v1/", stream_format=stream_format)
    assert (tts.model, tts.voices, tts.sample_rate) == ("ears", ("ann", "bob"), 24_000)
    pieces = [pcm for pcm in tts.synthesize("alpha beta", "bob") if len(pcm)]
    assert len(pieces) > 2 and read_tones(np.concatenate(pieces), 24_000) == "alpha beta"
    path, fields = server.requests[-1]
    assert path == "/v1/audio/speech" and fields == {
        "model": "ears",
        "input": "alpha beta",
        "voice": "bob",
        "response_format": "pcm",
        "stream_format": stream_format,
        "stream": True,
        "sample_rate": 24_000,
    }


def test_events_are_read_whatever_was_asked_for(server, tts):
    server.how = "events"
    assert read_tones(said(tts), 24_000) == "alpha beta"


def test_wav_is_played_where_raw_samples_are_refused_and_options_are_left_out(server, tts):
    server.how = "plain"
    for _ in range(2):
        pcm = said(tts, speed=1.0)
        assert read_tones(pcm, 24_000) == "alpha beta"  # at 22,050 Hz and two channels there
    # the probe, a refusal for each of four, two answers
    assert len(server.requests) == 7
    assert set(server.requests[-1][1]) == {"input", "model", "voice", "response_format"}
    said(tts, speed=1.5)
    assert [("speed" in fields) for _, fields in server.requests[-2:]] == [True, False]


def test_raw_samples_of_another_rate_are_asked_for_and_played(server):
    tts = load("tts", "openai", url=server.url, sample_rate=16_000)
    assert server.requests[-1][1]["sample_rate"] == 16_000
    assert read_tones(said(tts), 24_000) == "alpha beta"


@pytest.mark.parametrize("stream_format", ["audio", "sse"])
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("key", "refused .401.*TTS_KEY"),
        ("model", "refused .404.*TTS_MODEL"),
        ("fault", "refused .500"),
        ("moved", "it is at https://elsewhere.example.*TTS_URL"),
        ("halfway", "broke off in the middle"),
        ("page", "text/html.*TTS_URL"),
        ("music", "compressed"),
    ],
)
def test_a_voice_that_fails_is_told_in_words(server, stream_format, how, words):
    tts = load("tts", "openai", url=server.url, stream_format=stream_format)
    server.how = how
    with pytest.raises(EngineError, match=words):
        said(tts)
    server.how = ""
    assert read_tones(said(tts), 24_000) == "alpha beta"


@pytest.mark.parametrize(
    ("how", "words"),
    [("stall", "did not answer in time"), ("silent", "stopped sending in the middle")],
)
def test_a_voice_that_stalls_ends_in_time(server, how, words):
    tts = load("tts", "openai", url=server.url, timeout_s=0.3)
    server.how = how
    with pytest.raises(EngineError, match=words):
        said(tts)
    assert server.gone.acquire(timeout=10)


@pytest.mark.parametrize("how", ["stall", "silent"])
def test_closing_ends_the_request(server, tts, how):
    server.how = how
    count, pieces = len(server.requests), tts.synthesize("alpha beta")
    next(pcm for pcm in pieces if len(pcm) or (how == "stall" and len(server.requests) > count))
    pieces.close()
    assert server.gone.acquire(timeout=10)
    server.how = ""
    assert read_tones(said(tts), 24_000) == "alpha beta"


def test_lists_of_voices_in_any_form_and_none(server):
    for listed, voices in (
        ({"data": [{"voice_id": "x"}, {"name": "y"}]}, ("x", "y")),
        (["z", "z", 5], ("z",)),
        (None, ("alloy",)),
        ("nonsense", ("alloy",)),
    ):
        server.voices = listed
        assert load("tts", "openai", url=server.url).voices == voices
    assert load("tts", "openai", url=server.url, voice="ann+bob").voices == ("ann+bob",)


def test_resampled_pieces_have_no_seams():
    for rate in (22_050, 44_100, 8_000):
        at = np.arange(rate) / rate
        whole = np.sin(2 * np.pi * 440 * at).astype(np.float32)
        resampler = Resampler(rate)
        made = [resampler.feed(piece) for piece in np.array_split(whole, 37)]
        out = np.concatenate([*made, resampler.rest()])
        assert abs(len(out) - 24_000) <= 2
        true = np.sin(2 * np.pi * 440 * np.arange(len(out)) / 24_000)
        assert np.abs(out - true)[200:-200].max() < 2e-3


def test_a_header_may_come_in_crumbs():
    reader, wav = SoundReader(24_000), as_wav(SPOKEN)
    parts = [reader.feed(wav[at : at + 1]) for at in range(len(wav))]
    pcm = np.concatenate([*parts, reader.rest()])
    assert read_tones(pcm, 24_000) == "alpha beta"
    with pytest.raises(EngineError, match="16-bit"):
        SoundReader(24_000).feed(wav[:34] + b"\x08\x00" + wav[36:])
    reader.feed(b"\x01")
    with pytest.raises(EngineError, match="middle of a sample"):
        reader.rest()


# --- both ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["asr", "tts"])
def test_connections_are_kept_and_a_lost_one_is_replaced_once(server, kind):
    engine = load(kind, "openai", url=server.url)
    use = heard if kind == "asr" else said
    use(engine)
    use(engine)
    assert len(set(server.connections)) == 1
    server.how = "hang up"
    use(engine)
    assert len(set(server.connections)) == 2


@pytest.mark.parametrize("kind", ["asr", "tts"])
def test_wrong_settings_end_the_start(server, kind, caplog):
    setting = kind.upper()
    with pytest.raises(EngineError, match=rf"does not answer.*{setting}_URL"):
        load(kind, "openai", url="http://127.0.0.1:1")
    server.how = "key"
    with pytest.raises(EngineError, match=rf"401.*{setting}_KEY"):
        load(kind, "openai", url=server.url)
    server.how, server.models = "", [{"id": "one"}, {"id": "two"}]
    with pytest.raises(EngineError, match=rf"{setting}_MODEL.*one, two"):
        load(kind, "openai", url=server.url)
    with caplog.at_level(logging.WARNING):
        assert load(kind, "openai", url=server.url, model="three").model == "three"
    assert "three" in caplog.text and "one, two" in caplog.text


def test_the_model_of_the_task_is_chosen(server):
    server.models = [
        {"id": "talker", "task": "text-to-speech"},
        {"id": "listener", "task": "automatic-speech-recognition"},
    ]
    assert load("asr", "openai", url=server.url).model == "listener"
    assert load("tts", "openai", url=server.url).model == "talker"
    server.models = [{"id": "tts-1"}, {"id": "whisper-1"}]
    assert load("asr", "openai", url=server.url).model == "whisper-1"
    assert load("tts", "openai", url=server.url).model == "tts-1"
