"""The wire formats: what clients rely on, what is refused, and that nothing but the two named
errors ever comes out.
"""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisperfusion.messages import ChatMessage
from whisperfusion.tools import NO_TOOLS, from_chat_completions
from whisperfusion.wire import FrameError, WireError, asr_events, auth, pcm, tts_socket
from whisperfusion.wire import asr_socket as asr

TOOL = {
    "type": "function",
    "function": {"name": "look_up", "description": "finds", "parameters": {"type": "object"}},
}
RESULT = '{"id": "c1", "output": "none"}'
TOOLS = from_chat_completions({"tools": [TOOL], "tool_choice": "required"})
LANGUAGES = ("en", "de", "fr", "jw")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
HANDSHAKE_FIELDS = (
    "uid language task model multilingual use_vad audio_format send_last_n_segments initial_prompt "
    "hotwords word_timestamps events "
    "reply instructions voice speed turn_detection eagerness history max_clients"
).split()
CONTROL_FIELDS = (
    "text instructions voice speed language turn_detection eagerness turn seconds id "
    "uid events format"
).split()
ANY_TEXT = st.text(alphabet=st.characters(), max_size=40)


def handshake(**fields: object) -> asr.Handshake:
    return asr.parse_handshake(json.dumps({"uid": "u1", **fields}), LANGUAGES, "en")


# --- the handshake ------------------------------------------------------------------------------


def test_only_uid_is_required():
    assert asr.parse_handshake('{"uid": "u1"}') == asr.Handshake(
        "u1", asr.Dialect.WHISPER_LIVE, reply=False
    )


@pytest.mark.parametrize(
    ("fields", "dialect"),
    [
        (
            {"multilingual": False, "language": "en", "task": "transcribe"},
            asr.Dialect.WHISPER_FUSION,
        ),
        ({"multilingual": False, "model": "small"}, asr.Dialect.WHISPER_LIVE),
        ({"model": "small", "use_vad": True}, asr.Dialect.WHISPER_LIVE),
        ({"events": True, "multilingual": False}, asr.Dialect.EVENTS),
        ({"events": False}, asr.Dialect.WHISPER_LIVE),
    ],
)
def test_the_handshake_tells_the_dialects_apart(fields, dialect):
    assert handshake(**fields).dialect is dialect


def test_who_gets_replies():
    assert handshake(multilingual=False).reply
    assert not handshake(model="small").reply
    assert handshake(events=True).reply
    assert not handshake(events=True, reply=False).reply


def test_everything_that_a_conversation_can_ask_for():
    asked = handshake(
        events=True,
        language="de",
        audio_format="int16",
        instructions="Be brief.",
        voice="heart",
        speed=1.5,
        turn_detection="manual",
        history=[{"role": "user", "text": "Hello"}, {"role": "assistant", "text": "Hi!"}],
        initial_prompt="names",
        hotwords="a,b",
        word_timestamps=True,
        send_last_n_segments=3,
        use_vad=True,
        task="translate",
        eagerness=0.8,
    )
    assert asked == asr.Handshake(
        "u1",
        asr.Dialect.EVENTS,
        "de",
        "translate",
        "",
        "int16",
        3,
        True,
        True,
        "names",
        "a,b",
        True,
        "Be brief.",
        "heart",
        1.5,
        "manual",
        0.8,
        (ChatMessage("user", "Hello"), ChatMessage("assistant", "Hi!")),
    )


@pytest.mark.parametrize(
    ("fields", "language"),
    [
        ({}, "en"),
        ({"language": None}, None),
        ({"language": "auto"}, None),
        ({"language": "DE"}, "de"),
        ({"language": "fr-CA"}, "fr"),
        ({"language": "fr", "model": "small.en"}, "en"),
    ],
)
def test_language_absent_is_the_servers_and_null_means_detect(fields, language):
    assert handshake(**fields).language == language


def test_fields_that_old_clients_send_are_never_refused():
    strange = {
        key: ["odd"]
        for key in "model_size max_clients max_connection_time no_speech_thresh clip_audio "
        "same_output_threshold enable_translation target_language "
        "vad_parameters diarization_threshold hf_token something_new".split()
    }
    assert handshake(**strange).uid == "u1"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"language": "xx"}, "de, en, fr, jw"),
        ({"language": 3}, "language"),
        ({"task": "sing"}, "transcribe, translate"),
        ({"audio_format": "mp3"}, "float32, int16, uint8"),
        ({"send_last_n_segments": 0}, "send_last_n_segments"),
        ({"send_last_n_segments": "5"}, "'5'"),
        ({"word_timestamps": "yes"}, "true, false"),
        ({"events": 1}, "events"),
        ({"speed": 3}, "0.5 to 2.0"),
        ({"events": True, "reply": "no"}, "reply"),
        ({"instructions": "x" * 8001}, "8000"),
        ({"turn_detection": "never"}, "auto, manual"),
        ({"eagerness": 1.5}, "0.0 to 1.0"),
        ({"eagerness": "very"}, "'very'"),
        ({"history": "hi"}, "history"),
        ({"history": [{"role": "king", "text": "hi"}]}, "user"),
        ({"history": [{"text": "hi"}] * 201}, "200"),
    ],
)
def test_a_wrong_field_names_itself_its_value_and_what_is_allowed(fields, named):
    with pytest.raises(WireError) as refused:
        handshake(**fields)
    assert (
        next(iter(set(fields) - {"events"} or {"events"})) in refused.value.message
        and named in refused.value.message
    )
    assert refused.value.uid == "u1"  # the answer must carry it, or the client drops the message


@pytest.mark.parametrize(
    "frame",
    [
        b'{"uid": "u1"}',
        "",
        "hello",
        "[]",
        "7",
        "null",
        '{"uid": ""}',
        '{"uid": 5}',
        "{}",
        '{"uid": "\\ud800"}',
        json.dumps({"uid": "x" * 201}),
        "[" * 200_000,
        "1" * 10_000,
    ],
)
def test_what_is_no_handshake_ends_the_connection(frame):
    with pytest.raises(WireError) as refused:
        asr.parse_handshake(frame)
    assert len(refused.value.message) < 400


@given(st.text(max_size=30) | st.binary(max_size=30) | JSON.map(json.dumps))
def test_any_first_frame_is_a_handshake_or_a_wire_error(frame):
    try:
        assert asr.parse_handshake(frame, LANGUAGES).uid
    except WireError as refused:
        assert refused.message


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from(HANDSHAKE_FIELDS), JSON))
def test_any_values_of_known_fields_are_read_or_refused(values):
    try:
        asked = asr.parse_handshake(json.dumps({"uid": "u1", **values}), LANGUAGES)
    except WireError:
        return
    assert (
        asked.language in (None, *LANGUAGES)
        and asked.audio_format in pcm.MICROPHONE_FORMATS
        and 1 <= asked.send_last_n_segments <= 1000
    )
    assert asked.speed is None or 0.5 <= asked.speed <= 2.0


# --- control frames -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "control"),
    [
        ({"type": "say", "text": " Hello. "}, asr.Say("Hello.")),
        ({"type": "interrupt"}, asr.Interrupt()),
        ({"type": "commit"}, asr.CommitTurn()),
        ({"type": "update", "voice": "heart", "speed": 2}, asr.Update(voice="heart", speed=2.0)),
        ({"type": "update", "language": None}, asr.Update(language="auto")),
        (
            {"type": "update", "language": "de", "turn_detection": "manual", "instructions": ""},
            asr.Update("", None, None, "de", "manual"),
        ),
        ({"type": "update", "eagerness": 0}, asr.Update(eagerness=0.0)),
        ({"type": "heard", "turn": 3, "seconds": 1.2}, asr.HeardUpTo(3, 1.2)),
        (
            {"type": "update", "silence": 0.5, "answers": "asked"},
            asr.Update(silence=0.5, answers="asked"),
        ),
        ({"type": "update", "interruptible": False}, asr.Update(interruptible=False)),
        (
            {"type": "update", "vad_threshold": 0.7, "prefix_padding": 0},
            asr.Update(vad_threshold=0.7, prefix_padding=0.0),
        ),
        (
            {"type": "update", "silence": None, "tools": []},
            asr.Update(silence="auto", tools=NO_TOOLS),
        ),
        ({"type": "update", "tools": [TOOL], "tool_choice": "required"}, asr.Update(tools=TOOLS)),
        (
            {"type": "update", "tools": [TOOL], "tool_choice": "none"},
            asr.Update(tools=NO_TOOLS),
        ),
        ({"type": "respond"}, asr.Respond()),
        ({"type": "respond", "max_tokens": None}, asr.Respond(max_tokens=asr.MOST_TOKENS)),
        ({"type": "update", "max_tokens": None}, asr.Update(max_tokens=asr.MOST_TOKENS)),
        (
            {
                "type": "respond",
                "instructions": "Be brief.",
                "tools": [],
                "id": "r1",
                "max_tokens": 9,
            },
            asr.Respond("Be brief.", NO_TOOLS, "r1", 9),
        ),
        ({"type": "clear"}, asr.Clear()),
        ({"type": "result", "id": "c1", "output": "42"}, asr.Result("c1", "42")),
        (
            {"type": "history", "lines": [{"role": "result", "text": RESULT}]},
            asr.History((ChatMessage("result", RESULT),)),
        ),
        ({"type": "dance"}, None),
    ],
)
def test_control_frames(frame, control):
    assert asr.parse_control(json.dumps(frame), LANGUAGES) == control


@pytest.mark.parametrize(
    "frame",
    [
        "hello",
        "[]",
        "{}",
        '{"type": 3}',
        '{"type": "say"}',
        '{"type": "say", "text": " "}',
        json.dumps({"type": "say", "text": "x" * 4097}),
        json.dumps({"type": "update", "instructions": "x" * 8001}),
        '{"type": "update", "language": "xx"}',
        '{"type": "update", "speed": NaN}',
        '{"type": "heard", "turn": 1}',
        '{"type": "heard", "turn": -1, "seconds": 1}',
        '{"type": "heard", "turn": 1.5, "seconds": 1}',
        '{"type": "heard", "turn": 1, "seconds": 1e999}',
        '{"type": "update", "silence": -1}',
        '{"type": "update", "answers": "never"}',
        '{"type": "update", "tools": 5}',
        '{"type": "update", "tools": [{}]}',
        '{"type": "update", "tools": [], "tool_choice": "perhaps"}',
        json.dumps(
            {
                "type": "update",
                "tools": [
                    {"type": "function", "function": {"name": "a", "description": "x" * 40_000}}
                ],
            }
        ),
        '{"type": "respond", "instructions": 5}',
        '{"type": "result", "output": "x"}',
        '{"type": "history", "lines": 5}',
        '{"type": "history", "lines": [{"role": "king", "text": "a"}]}',
    ],
)
def test_a_bad_control_frame_is_refused_and_says_why(frame):
    with pytest.raises(FrameError) as refused:
        asr.parse_control(frame, LANGUAGES)
    assert refused.value.code == "bad_frame" and refused.value.message


@settings(max_examples=150)
@given(
    st.sampled_from(["say", "interrupt", "commit", "update", "heard", "other"]),
    st.dictionaries(st.sampled_from(CONTROL_FIELDS), JSON),
)
def test_any_control_frame_is_read_refused_or_ignored(kind, values):
    frame = json.dumps({"type": kind, **values})
    for read in (asr.parse_control, tts_socket.parse_frame):
        try:
            control = read(frame)
        except FrameError:
            continue
        assert control is not None or kind not in ("say",)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text):
    for read in (asr.parse_control, tts_socket.parse_frame):
        try:
            read(text)
        except FrameError as refused:
            assert refused.message
    try:
        tts_socket.parse_address(text)
    except WireError as refused:
        assert refused.message


def test_end_of_audio_is_text_or_binary():
    assert asr.is_end_of_audio("END_OF_AUDIO") and asr.is_end_of_audio(b"END_OF_AUDIO")
    assert (
        not asr.is_end_of_audio(b"\0" * 12)
        and not asr.is_end_of_audio("end")
        and not asr.is_end_of_audio(b"")
    )


# --- server messages (what clients rely on) -----------------------------------------------------


@given(ANY_TEXT)
def test_every_message_carries_the_uid_unchanged(uid):
    segments = asr.SegmentHistory(1).finish(0, 1, "word")
    for message in (
        asr.language(uid, "en", 0.9),
        asr.whisper_live_segments(uid, segments),
        asr.whisper_fusion_segment(uid, "x", False, 0.1),
        asr.whisper_fusion_reply(uid, "x", 0.1),
    ):
        assert json.loads(message.encode("utf-8"))["uid"] == uid


def test_a_segments_message_has_no_key_that_clients_test_first():
    live = json.loads(asr.whisper_live_segments("u1", asr.SegmentHistory(1).finish(0, 1, "word")))
    fusion = json.loads(asr.whisper_fusion_segment("u1", "word", True, 0.2))
    for message in (live, fusion):
        assert not {"message", "status", "language"} & set(message)
    assert fusion == {"uid": "u1", "segments": [{"text": "word"}], "eos": True, "latency": 0.2}


def test_other_messages_have_the_shapes_of_the_reference():
    assert json.loads(asr.language("u1", "de", 0.75)) == {
        "uid": "u1",
        "language": "de",
        "language_prob": 0.75,
    }
    assert json.loads(asr.whisper_fusion_reply("u1", "Hi!", 0.5)) == {
        "uid": "u1",
        "llm_output": ["Hi!"],
        "eos": True,
        "latency": 0.5,
    }


def test_a_number_that_json_cannot_hold_never_reaches_a_client():
    with pytest.raises(ValueError):
        asr_events.to_json("u1", asr_events.SpeechStarted(math.nan))


def test_an_empty_segments_message_cannot_be_made():
    with pytest.raises(ValueError):
        asr.whisper_live_segments("u1", ())


def test_times_are_text_with_three_decimals_and_words_too():
    segments = asr.SegmentHistory(5).finish(
        0.5, 1.23456, "hello", [asr.LiveWord(" hello", 0.5, 1.2, 0.9)]
    )
    assert json.loads(asr.whisper_live_segments("u1", segments))["segments"] == [
        {
            "start": "0.500",
            "end": "1.235",
            "text": " hello",
            "completed": True,
            "words": [{"word": " hello", "start": "0.500", "end": "1.200", "probability": 0.9}],
        },
    ]


SECONDS = st.floats(0, 100)
UTTERANCES = st.lists(
    st.tuples(st.booleans(), SECONDS, SECONDS, st.sampled_from(["", " ", "one", "two words"])),
    max_size=20,
)


@given(st.integers(1, 5), UTTERANCES)
def test_whatever_is_recognised_the_history_keeps_its_promises(last_n, utterances):
    history, finished = asr.SegmentHistory(last_n), []
    for final, start, end, text in utterances:
        shown = (history.finish if final else history.partial)(start, end, text)
        done = [segment for segment in shown if segment.completed]
        finished += [segment for segment in done if all(segment is not known for known in finished)]
        assert done == finished[-last_n:]  # the last n, and none that was shown before has changed
        assert [segment.completed for segment in shown[:-1]] == [True] * (
            len(shown) - 1 if shown else 0
        )
        assert all(later.start_ms >= earlier.end_ms for earlier, later in itertools.pairwise(shown))
        assert all(segment.end_ms > segment.start_ms and segment.text for segment in shown)


# --- sound --------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1, 1, width=32), max_size=50), st.lists(st.integers(0, 200), max_size=6))
def test_audio_survives_any_cut_into_frames(samples, cuts):
    data = np.array(samples, dtype="<f4").tobytes()
    edges = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    decoder = pcm.AudioDecoder("float32")
    decoded = [decoder.feed(data[a:b]) for a, b in itertools.pairwise(edges)]
    assert np.array_equal(
        np.concatenate([*decoded, np.zeros(0, np.float32)]), np.array(samples, dtype=np.float32)
    )


@given(st.sampled_from(pcm.MICROPHONE_FORMATS), st.lists(st.binary(max_size=40), max_size=5))
def test_any_bytes_become_finite_samples_in_range(audio_format, frames):
    decoder = pcm.AudioDecoder(audio_format)
    decoded = np.concatenate([decoder.feed(frame) for frame in frames] or [np.zeros(0, np.float32)])
    assert (
        decoded.dtype == np.float32 and np.isfinite(decoded).all() and (np.abs(decoded) <= 1).all()
    )
    assert decoded.size == len(b"".join(frames)) // pcm.DTYPES[audio_format].itemsize


def test_the_three_formats_agree_on_what_is_loud_and_what_is_silent():
    assert pcm.AudioDecoder("uint8").feed(bytes([0, 128, 192])).tolist() == [-1.0, 0.0, 0.5]
    assert pcm.AudioDecoder("int16").feed(
        np.array([-32768, 0, 16384], "<i2").tobytes()
    ).tolist() == [-1.0, 0.0, 0.5]
    odd = np.array([np.nan, np.inf, -np.inf, 3.0], "<f4").tobytes()
    assert pcm.AudioDecoder("float32").feed(odd).tolist() == [0.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize("audio_format", pcm.SPOKEN_FORMATS)
def test_what_is_encoded_is_what_is_decoded(audio_format):
    spoken = np.array([0.0, 0.25, -0.5, 2.0, -2.0], np.float32)
    assert np.allclose(
        pcm.decode(pcm.encode(spoken, audio_format), audio_format),
        np.clip(spoken, -1, 1),
        atol=1e-4,
    )


# --- port 8888 ----------------------------------------------------------------------------------


def test_an_address_names_a_caller_or_is_the_page():
    assert tts_socket.parse_address("/audio") == tts_socket.Name()
    assert tts_socket.parse_address("/?uid=u%201&events=1&format=int16") == tts_socket.Name(
        "u 1", "int16", True
    )
    for address in ("/?events=maybe", "/?format=mp3", "/?uid=" + "x" * 201):
        with pytest.raises(WireError):
            tts_socket.parse_address(address)


def test_frames_on_the_sound_socket():
    assert tts_socket.parse_frame('{"uid": "u1"}') == tts_socket.Name("u1")
    assert tts_socket.parse_frame(
        '{"uid": "u1", "format": "int16", "events": true}'
    ) == tts_socket.Name("u1", "int16", True)
    parsed = tts_socket.parse_frame(
        '{"type": "say", "text": "Hi!", "voice": "heart", "speed": 1.5, "id": "a1"}'
    )
    assert parsed == tts_socket.Say("Hi!", "heart", 1.5, "a1")
    assert tts_socket.parse_frame('{"type": "pause"}') is None


def test_a_refused_say_keeps_its_id():
    with pytest.raises(FrameError) as refused:
        tts_socket.parse_frame('{"type": "say", "id": 7}')
    assert refused.value.id == 7


# --- who may connect ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "query", "welcome"),
    [
        ([("Authorization", "Bearer s3cret")], "", True),
        ([("authorization", "bearer  s3cret ")], "", True),
        ([("Authorization", "Basic s3cret")], "", False),
        ([("Authorization", "Bearer s3cre")], "", False),
        ([], "token=s3cret", True),
        ([], "uid=x&token=wrong", False),
        ([], "token=", False),
        ([], "", False),
        ([("Sec-WebSocket-Protocol", "bearer, s3cret")], "", True),
        ([("Sec-WebSocket-Protocol", "s3cret")], "", False),
        ([("sec-websocket-protocol", "bearer"), ("sec-websocket-protocol", "s3cret")], "", True),
        ([("X-API-Key", "s3cret")], "", True),
        ([("api-key", " s3cret ")], "", True),
        ([], "api_key=s3cret", True),
        ([], "key=s3cret", True),
        ([("sec-websocket-protocol", "realtime, openai-insecure-api-key.s3cret")], "", True),
        ([("X-API-Key", "s3cre")], "", False),
    ],
)
def test_the_secret_is_found_wherever_a_client_may_put_it(headers, query, welcome):
    assert auth.authorized(["other", "s3cret"], headers, query) is welcome
    assert auth.authorized([], headers, query) and not auth.authorized(["other"], headers, query)


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_no_header_breaks_the_check(secret, value, query):
    welcome = auth.authorized(
        [secret], [("Authorization", value), ("Sec-WebSocket-Protocol", value)], query
    )
    assert welcome in (True, False)
    assert auth.origin_allowed(value, query, ()) in (True, False)


@pytest.mark.parametrize(
    ("origin", "host", "origins", "allowed"),
    [
        (None, "127.0.0.1:6006", (), True),
        ("", "h", (), True),
        ("http://127.0.0.1:8000", "127.0.0.1:6006", (), True),
        ("https://Home.example", "home.example", (), True),
        ("https://evil.example", "home.example:6006", (), False),
        ("https://home.example.evil.example", "home.example", (), False),
        ("null", "home.example", (), False),
        ("https://app.example", "home.example", ("https://app.example/",), True),
        ("https://evil.example", "h", ("*",), True),
        ("https://evil.example", "h", ("https://app.example",), False),
        ("chrome-extension://abcdef", "127.0.0.1:6006", (), True),
        ("http://[::1", "[::1]:6006", (), False),
        ("http://[::1]:8000", "[::1]:6006", (), True),
    ],
)
def test_which_pages_may_connect(origin, host, origins, allowed):
    assert auth.origin_allowed(origin, host, origins) is allowed
