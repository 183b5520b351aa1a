"""What the two sockets send to clients with events: bytes as docs/wire.md has them, and back."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisperfusion.wire import WireError, asr_events, tts_events

ASR, TTS = get_args(asr_events.AsrEvent), get_args(tts_events.TtsEvent)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def built(kind: type) -> st.SearchStrategy:
    """Any event of a kind; JSON has no NaN."""
    hints = get_type_hints(kind)
    given = {name: NUMBERS for name, hint in hints.items() if hint is float}
    if "words" in hints and kind is asr_events.Segment:
        given["words"] = st.lists(built(asr_events.SegmentWord), max_size=2).map(tuple)
    if kind is asr_events.Speakers:
        given["turns"] = st.lists(built(asr_events.SpeakerTurn), max_size=2).map(tuple)
    return st.builds(kind, **given)


any_asr_event, any_tts_event = st.one_of(map(built, ASR)), st.one_of(map(built, TTS))


@given(st.text(), any_asr_event)
def test_an_event_of_6006_survives_the_wire_and_carries_the_uid(uid, event):
    frame = asr_events.to_json(uid, event)
    assert asr_events.parse(frame) == event
    assert json.loads(frame)["uid"] == uid


@given(any_tts_event)
def test_an_event_of_8888_survives_the_wire(event):
    assert tts_events.parse(tts_events.to_json(event)) == event


@pytest.mark.parametrize(
    ("event", "frame"),
    [
        (
            asr_events.Ready(),
            '{"uid": "u", "message": "SERVER_READY", "backend": "faster_whisper"}',
        ),
        (
            asr_events.Ready(
                sample_rate=24000,
                stages={"tts": asr_events.StageState("ready", "piper", "amy", ("a", "b"), "")},
                listen_secret="s",
            ),
            '{"uid": "u", "message": "SERVER_READY", "backend": "faster_whisper", '
            '"sample_rate": 24000, "stages": {"tts": {"state": "ready", "engine": "piper", '
            '"model": "amy", "voices": ["a", "b"], "note": ""}}, "listen_secret": "s"}',
        ),
        (
            asr_events.Ready(
                session="s",
                resumed=True,
                messages=1,
                history=(asr_events.HistoryLine("user", "a"),),
            ),
            '{"uid": "u", "message": "SERVER_READY", "backend": "faster_whisper", "session": "s", '
            '"resumed": true, "messages": 1, "history": [{"role": "user", "text": "a"}]}',
        ),
        (asr_events.ServerFull(2.5), '{"uid": "u", "status": "WAIT", "message": 2.5}'),
        (asr_events.TimeLimit(), '{"uid": "u", "message": "DISCONNECT"}'),
        (asr_events.Refused("no"), '{"uid": "u", "status": "ERROR", "message": "no"}'),
        (asr_events.Warned("hm"), '{"uid": "u", "status": "WARNING", "message": "hm"}'),
        (
            asr_events.Failed("llm_failed", "why", 3),
            '{"uid": "u", "type": "error", "code": "llm_failed", "message": "why", "turn": 3}',
        ),
        (
            asr_events.ReplyText(1, 0, "Hi!", True, cut=True),
            '{"uid": "u", "type": "reply", "turn": 1, "index": 0, "text": "Hi!", "last": true, '
            '"cut": true}',
        ),
        (
            asr_events.ToolUsed(2, "c1", "look", "{}"),
            '{"uid": "u", "type": "tool", "turn": 2, "id": "c1", "name": "look", '
            '"arguments": "{}"}',
        ),
        (
            asr_events.ToolUsed(2, "c1", "look", "{}", output="rain"),
            '{"uid": "u", "type": "tool", "turn": 2, "id": "c1", "name": "look", '
            '"arguments": "{}", "output": "rain"}',
        ),
        (
            asr_events.ToolUsed(2, "c1", "look", "{}", error="late"),
            '{"uid": "u", "type": "tool", "turn": 2, "id": "c1", "name": "look", '
            '"arguments": "{}", "error": "late"}',
        ),
        (
            asr_events.Latency(1, 2, 3, 4, 5, 6, 7, True, "groq"),
            '{"uid": "u", "type": "latency", "turn": 1, "stopped": 2, "words": 3, "decided": 4, '
            '"first_token": 5, "first_clause": 6, "first_sound": 7, "reused": true, '
            '"model": "groq"}',
        ),
        (
            asr_events.CallEnded("bye", 3),
            '{"uid": "u", "type": "ended", "reason": "bye", "turn": 3}',
        ),
        (asr_events.CallEnded("bye"), '{"uid": "u", "type": "ended", "reason": "bye"}'),
        (
            asr_events.ReplyInterrupted(2, "so far"),
            '{"uid": "u", "type": "interrupted", "turn": 2, "heard": "so far"}',
        ),
    ],
)
def test_frames_of_6006_are_written_in_the_order_of_their_fields(event, frame):
    assert asr_events.to_json("u", event) == frame
    assert asr_events.parse(frame) == event


@pytest.mark.parametrize(
    ("event", "frame"),
    [
        (tts_events.AudioStarted(1), '{"type": "start", "turn": 1}'),
        (tts_events.Paused(), '{"type": "hold"}'),
        (tts_events.Resumed(), '{"type": "resume"}'),
        (tts_events.Flushed(1), '{"type": "clear", "turn": 1}'),
        (tts_events.AudioEnded(1), '{"type": "end", "turn": 1}'),
        (tts_events.TextSpoken("a", 1.235), '{"type": "said", "id": "a", "seconds": 1.235}'),
        (
            tts_events.Rejected(None, "busy", "later"),
            '{"type": "error", "id": null, "code": "busy", "message": "later"}',
        ),
    ],
)
def test_frames_of_8888_are_written_in_the_order_of_their_fields(event, frame):
    assert tts_events.to_json(event) == frame


def test_what_a_newer_server_adds_is_ignored():
    assert asr_events.parse('{"uid": "u", "type": "weather", "text": "rain"}') is None
    assert tts_events.parse('{"type": "notice", "weather": "rain"}') is None
    newer = '{"uid": "u", "type": "turn", "turn": 1, "text": "hi", "mood": "good"}'
    assert asr_events.parse(newer) == asr_events.UserTurn(1, "hi")


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "[]",
        "no JSON",
        '{"type": "turn", "text": "of no number"}',
        '{"type": "turn", "turn": "1", "text": "hi"}',
        '{"type": "turn", "turn": true, "text": "hi"}',
        '{"type": "reply", "turn": 1, "index": 0, "text": null, "last": true}',
        '{"type": "stage", "name": "tts", "voices": "a"}',
        '{"message": "SERVER_READY", "stages": {"tts": 1}}',
    ],
)
def test_a_frame_that_is_not_of_the_protocol_is_a_wire_error(frame):
    with pytest.raises(WireError, match=r"docs/wire\.md"):
        asr_events.parse(frame)


def test_every_kind_of_the_document_is_one_event():
    kinds = [asr_events.kind(kind(**_filled(kind))) for kind in ASR]
    assert len(kinds) == len(set(kinds))
    assert {tts_events.kind(kind(**_filled(kind))) for kind in TTS} == {
        "start", "hold", "resume", "clear", "sent", "end", "said", "error"
    }  # fmt: skip


def _filled(kind: type) -> dict[str, int]:
    return {one.name: 0 for one in fields(kind)}
