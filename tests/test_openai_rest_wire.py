"""What the REST routes read from strangers, and what they answer: one line for each way of
getting it wrong.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisperfusion.wire import openai_rest as rest
from whisperfusion.wire.languages import NAMES, code_of, name_of
from whisperfusion.wire.openai_rest import ApiError, SpeechRequest, TranscriptionRequest
from whisperfusion.wire.transcripts import Cue, SpokenWord


def asked(
    *fields: tuple[str, str], task: str = "transcribe", languages=("en", "de")
) -> TranscriptionRequest:
    return rest.transcription(fields, task, languages)


def request(**fields) -> SpeechRequest:
    return rest.speech(json.dumps(fields).encode(), ("heart", "emma"))


def test_defaults():
    assert asked() == TranscriptionRequest()
    assert request(input="Hello.") == SpeechRequest("Hello.")


def test_lists_come_in_both_spellings():
    for name in ("timestamp_granularities[]", "timestamp_granularities"):
        found = asked((name, "word"), (name, "segment"), ("response_format", "verbose_json"))
        assert found.words and found.segments
    only = asked(("timestamp_granularities[]", "word"), ("response_format", "verbose_json"))
    assert only.words and not only.segments
    assert (
        asked(("keywords[]", "Kubernetes"), ("keywords[]", "Ray"), ("hotwords", "vLLM")).hotwords
        == "vLLM, Kubernetes, Ray"
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [("de", "de"), ("German", "de"), ("en-US", "en"), ("auto", None), ("", None), (" EN ", "en")],
)
def test_languages_in_all_their_spellings(text, code):
    assert asked(("language", text)).language == code


def test_what_is_not_used_is_no_error():
    assert (
        asked(
            ("include[]", "logprobs"),
            ("chunking_strategy", "auto"),
            ("model", "whisper-1"),
            ("user", "me"),
        ).model
        == "whisper-1"
    )


SPEAKERS = ("response_format", "diarized_json")
NAMED = ("known_speaker_names[]", "Ann")
REFERENCE = ("known_speaker_references[]", "data:audio/wav;base64,YWJj")


def test_known_speakers_come_as_data_urls():
    bare = ("known_speaker_references[]", "ZGVm")
    found = asked(SPEAKERS, ("known_speaker_names[]", '["Ann", "Ben"]'), REFERENCE, bare)
    assert found.diarized and found.words and found.speakers == (("Ann", b"abc"), ("Ben", b"def"))
    assert not asked(("response_format", "json")).diarized


def test_only_transcriptions_have_speakers():
    with pytest.raises(ApiError, match="diarized_json is for transcriptions"):
        rest.transcription([SPEAKERS], "translate", None)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ([("response_format", "docx")], "response_format"),
        ([("response_format", "json"), ("response_format", "text")], "response_format"),
        ([("timestamp_granularities[]", "word")], "timestamp_granularities"),
        (
            [("timestamp_granularities[]", "letter"), ("response_format", "verbose_json")],
            "timestamp_granularities",
        ),
        ([("temperature", "hot")], "temperature"),
        ([("live", "soon")], "live"),
        ([("temperature", "nan")], "temperature"),
        ([("temperature", "2")], "temperature"),
        ([("temperature", "-0.1")], "temperature"),
        ([("language", "klingon")], "language"),
        ([("language", "fr")], "language"),
        ([("stream", "maybe")], "stream"),
        ([("known_speaker_names[]", "Ann")], "known_speaker_names"),
        ([SPEAKERS, NAMED], "known_speaker_names"),
        ([SPEAKERS, *[NAMED, REFERENCE] * 2], "known_speaker_names"),
        ([SPEAKERS, (NAMED[0], "A,B,C,D,E"), *[REFERENCE] * 5], "known_speaker_names"),
        ([SPEAKERS, (NAMED[0], "A\nB"), REFERENCE], "known_speaker_names"),
        ([SPEAKERS, NAMED, (REFERENCE[0], "data:,abc")], "known_speaker_references"),
        ([SPEAKERS, NAMED, (REFERENCE[0], "what?")], "known_speaker_references"),
        ([("a", "b")] * 65, None),
    ],
)
def test_wrong_fields_are_told_by_name(fields, param):
    with pytest.raises(ApiError) as problem:
        asked(*fields)
    body = problem.value.body()["error"]
    assert (
        problem.value.status == 400
        and body["param"] == param
        and body["type"] == "invalid_request_error"
        and body["message"]
    )


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "JSON"),
        (b"[1]", "object"),
        (b"{", "JSON"),
        (b"\xff\xfe", "JSON"),
        (b"{}", "input"),
        (b'{"input": "  "}', "input"),
        (b'{"input": 5}', "input"),
        (b'{"input": "a", "voice": "zoe"}', "voice"),
        (b'{"input": "a", "voice": 7}', "voice"),
        (b'{"input": "a", "voice": {"id": 7}}', "voice"),
        (b'{"input": "a", "response_format": "ogg"}', "response_format"),
        (b'{"input": "a", "speed": 9}', "speed"),
        (b'{"input": "a", "speed": "fast"}', "speed"),
        (b'{"input": "a", "speed": NaN}', "speed"),
        (b'{"input": "a", "stream_format": "xml"}', "stream_format"),
        (b'{"input": "a", "sample_rate": 1}', "sample_rate"),
        (json.dumps({"input": "a" * 4097}).encode(), "input"),
        (b'{"input": "a", "instructions": []}', "instructions"),
    ],
)
def test_wrong_speech_requests_say_what_is_allowed(body, word):
    with pytest.raises(ApiError, match=word) as problem:
        rest.speech(body, ("heart",))
    assert problem.value.status == 400


def test_upstreams_voices_are_our_first():
    assert (
        request(input="a", voice="alloy").voice is None
        and request(input="a", voice={"id": "emma"}).voice == "emma"
    )


@pytest.mark.parametrize(
    ("status", "kind", "headers"),
    [
        (400, "invalid_request_error", {}),
        (401, "invalid_request_error", {}),
        (429, "rate_limit_error", {"Retry-After": "3"}),
        (500, "server_error", {"x-should-retry": "false"}),
    ],
)
def test_errors_have_the_shape_that_clients_read(status, kind, headers):
    error = ApiError(status, "no", retry_after_s=2.5 if status == 429 else None)
    assert (
        error.body() == {"error": {"message": "no", "type": kind, "param": None, "code": None}}
        and error.headers() == headers
    )


def test_bodies():
    cue = Cue(0.0, 1.0, "Hello there.", (SpokenWord("Hello", 0.0, 0.4),))
    assert rest.transcript(TranscriptionRequest(), [cue], "en", 1.2) == {
        "text": "Hello there.",
        "usage": {"type": "duration", "seconds": 2},
    }
    verbose = asked(
        ("response_format", "verbose_json"), ("timestamp_granularities", "word,segment")
    )
    body = rest.transcript(verbose, [cue], "de", 1.2)
    assert (
        body["language"] == "german"
        and len(body["segments"]) == 1
        and body["words"] == [{"word": "Hello", "start": 0.0, "end": 0.4}]
    )
    translated = asked(("response_format", "verbose_json"), task="translate")
    assert rest.transcript(translated, [], "de", 0.0)["language"] == "english"
    assert (
        rest.sse(rest.delta("a"))
        == b'data: {"type": "transcript.text.delta", "delta": "a"}\r\n\r\n'
        and rest.sse("[DONE]") == b"data: [DONE]\r\n\r\n"
    )


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=10))
def test_any_form_is_read_or_refused(fields):
    try:
        rest.transcription(fields, "transcribe", None)
    except ApiError as problem:
        assert problem.status == 400


@given(st.binary(max_size=60))
def test_any_body_is_read_or_refused(body):
    try:
        rest.speech(body, ())
    except ApiError as problem:
        assert problem.status == 400


def test_each_language_has_one_code_and_one_name():
    assert len(NAMES) == 100 and all(
        code_of(name) == code and code_of(code) == code and name_of(code) == name
        for code, name in NAMES.items()
    )
    assert code_of("klingon") is None and name_of("xx") == "xx"
