"""The speakers of a call: turn by turn, in the frames of each dialect, and when they come late."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import soundfile
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from whisperfusion.call import turn_speakers
from whisperfusion.call.turn_speakers import TurnSpeakers
from whisperfusion.engines import load
from whisperfusion.engines.scripted import tone_speech
from whisperfusion.speakers.call_speakers import CallSpeakers, embed_turn
from whisperfusion.wire.asr_handshake import parse_handshake
from whisperfusion.wire.speakers import embedding_text

RATE = 16_000
TEXT = "alpha beta gamma delta epsilon"  # 1.2 s
LOUD, SOFT = 0.5, 0.2  # levels that the scripted encoder takes for two speakers


def axis(number: int) -> np.ndarray:
    return np.eye(16, dtype=np.float32)[number]


# --- nearest speaker, or a new one --------------------------------------------------------------


def test_turns_get_the_nearest_speaker_or_a_new_one():
    speakers = CallSpeakers(0.6)
    assert speakers.speaker_of(axis(1), 2.0) == "A"
    assert speakers.speaker_of(axis(2), 2.0) == "B"
    near = (axis(1) * 0.9 + axis(2) * 0.436).astype(np.float32)
    assert speakers.speaker_of(near, 2.0) == "A"
    assert speakers.speaker_of(axis(3), 0.5) == "A"  # too short to make one
    assert speakers.speaker_of(axis(3), 1.0) == "C"
    full = CallSpeakers(0.6, most=1)
    assert [full.speaker_of(axis(number), 2.0) for number in (1, 2)] == ["A", "A"]
    assert CallSpeakers(0.6).speaker_of(axis(3), 0.2) == "A"  # somebody it must be


def test_known_speakers_keep_their_names():
    speakers = CallSpeakers(0.6, {"Ann": axis(1), "A": axis(4)})
    found = [speakers.speaker_of(axis(number), 2.0) for number in (1, 2, 4, 2)]
    assert found == ["Ann", "B", "A", "B"]


def test_a_known_person_is_told_from_another_by_voice(stored, recordings, sound):
    """Real embeddings: of two people, each as the known one, by one recording as a sample."""
    encoder = load("speaker", "resemblyzer", model=stored("resemblyzer", "speaker"))
    vad, heard = load("vad", "silero"), {}
    for person in ("libri-1688-M", "libri-1998-F"):
        names = [name for name, entry in recordings.items() if entry["speaker"] == person][:3]
        heard[person] = [
            embed_turn(sound(name)[: 4 * RATE], encoder, vad.create_stream()) for name in names
        ]
    for person, said in heard.items():
        speakers = CallSpeakers(encoder.same_speaker, {person: said[0][0]})
        assert [speakers.known_speaker(*one) for one in said] == [person] * 3
        others = [one for name, turns in heard.items() if name != person for one in turns]
        assert [speakers.known_speaker(*one) for one in others] == [""] * 3


def test_a_turn_without_speech_has_no_speaker():
    encoder, vad = load("speaker", "scripted"), load("vad", "scripted")
    assert embed_turn(np.zeros(RATE, np.float32), encoder, vad.create_stream()) is None
    vector, seconds = embed_turn(tone_speech(TEXT, level=LOUD), encoder, vad.create_stream()) or ()
    assert vector[5] == pytest.approx(1.0) and seconds > 0.5


def test_a_known_voice_is_told_from_all_others():
    speakers = CallSpeakers(0.6, {"Ann": axis(1)})
    near = (axis(1) * 0.64 + axis(2) * 0.7684).astype(np.float32)  # less than speaker_of needs
    assert speakers.speaker_of(near, 2.0) == "A"
    assert speakers.known_speaker(near, 2.0) == "Ann"  # although it is more alike to A
    assert (
        speakers.known_speaker(axis(2), 2.0) == "" and speakers.known_speaker(axis(1), 0.5) is None
    )
    assert speakers.known_speaker((near + axis(2)) / 2, 2.0) == ""


# --- what waits for whom ------------------------------------------------------------------------


class Service:
    """An encoder whose answers come when the test says so."""

    def __init__(self) -> None:
        self.encoder, self.create_detector = load("speaker", "scripted"), lambda: None
        self.jobs: list[Any] = []
        self.calls = self

    def put(self, ticket: Any, job: Any, **how: Any) -> None:
        self.jobs.append(job)

    def forget(self, call: str) -> None:
        self.jobs.clear()


def listening(
    known: dict[str, np.ndarray] | None = None, **asked: Any
) -> tuple[Service, TurnSpeakers, list[str]]:
    service = Service()
    fields = {"uid": "u", "events": True, "enable_diarization": True, **asked}
    hello = parse_handshake(json.dumps(fields))
    turns = TurnSpeakers("c", service, hello, known or {}, lambda run, *given: run(*given))
    return service, turns, []


async def until_quiet() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_transcript_waits_for_its_speaker():
    service, turns, told = listening()
    turns.listen(np.zeros(1, np.float32))
    turns.end_turn(told.append)
    assert told == []
    service.jobs[0].done((axis(1), 2.0))
    await asyncio.wait_for(turns.settled(), 5)
    assert told == ["A"]
    turns.listen(np.zeros(1, np.float32))
    service.jobs[1].done((axis(2), 2.0))
    await until_quiet()
    turns.end_turn(told.append)  # known before
    assert told == ["A", "B"]


async def test_no_transcript_waits_long(monkeypatch):
    monkeypatch.setattr(turn_speakers, "LATE_S", 0.01)
    service, turns, told = listening()
    turns.listen(np.zeros(1, np.float32))
    turns.end_turn(told.append)
    await asyncio.wait_for(turns.settled(), 5)
    assert told == [""]
    service.jobs[0].done((axis(1), 2.0))  # too late, and no word on the next turn
    await until_quiet()
    turns.end_turn(told.append)
    assert told == ["", ""]


async def test_only_the_newest_answer_of_a_turn_counts():
    service, turns, told = listening()
    turns.listen(np.zeros(1, np.float32))
    turns.listen(np.zeros(2, np.float32))
    turns.end_turn(told.append)
    service.jobs[0].done((axis(1), 2.0))
    await until_quiet()
    assert told == []
    service.jobs[1].done(RuntimeError("lost"))  # then that of the first half will do
    await asyncio.wait_for(turns.settled(), 5)
    assert told == ["A"]
    turns.listen(np.zeros(1, np.float32))
    turns.end_turn(told.append)
    turns.listen(np.zeros(1, np.float32))  # the next turn has begun, and waits for its own
    turns.end_turn(told.append)
    service.jobs[3].done((axis(1), 2.0))
    service.jobs[2].done((axis(2), 2.0))
    await asyncio.wait_for(turns.settled(), 5)
    assert told == ["A", "A", "B"]
    turns.hang_up()


async def test_whether_a_voice_is_a_known_one_is_told_at_once():
    service, turns, names = listening({"Ann": axis(1)}, known_speakers_only=True)
    told: list[bool | None] = []
    found = [(axis(1), 2.0), (axis(2), 2.0), (axis(1), 0.5), None, RuntimeError("lost")]
    for number, one in enumerate(found):
        turns.listen(np.zeros(1, np.float32), told.append)
        service.jobs[number].done(one)
        await until_quiet()
    assert told == [True, False, None, None, None]
    turns.end_turn(names.append)
    assert names == [""]  # the newest that was heard is too short, so its name would be a guess


# --- the frames ---------------------------------------------------------------------------------


def speech(*levels: float, text: str = TEXT) -> bytes:
    silence = np.zeros(2 * RATE, np.float32)
    parts = [part for level in levels for part in (tone_speech(text, level=level), silence)]
    return np.concatenate(parts).astype("<f4").tobytes()


async def heard(server: Any, handshake: dict[str, Any], pcm: bytes) -> list[dict[str, Any]]:
    async with connect(server.asr_url) as socket:
        await socket.send(json.dumps({"uid": "u", "language": "en", **handshake}))
        await socket.send(pcm)
        await socket.send("END_OF_AUDIO")
        found = []
        with suppress(ConnectionClosedError):  # after a refusal
            async for frame in socket:
                found.append(json.loads(frame))
        return found


async def test_captions_have_their_speaker(scripted_server):
    asked = {"events": True, "reply": False, "enable_diarization": True}
    sample = [{"name": "Ann", "embedding": embedding_text(axis(2).tolist())}]
    frames = await heard(
        scripted_server, {**asked, "known_speakers": sample}, speech(LOUD, SOFT, LOUD)
    )
    finals = [one for one in frames if one.get("final") and one["text"]]
    assert [one["speaker"] for one in finals] == ["A", "Ann", "A"]
    assert all("speaker" not in one for one in frames if one.get("final") is False)
    frames = await heard(scripted_server, {**asked, "enable_diarization": False}, speech(LOUD))
    assert all("speaker" not in one for one in frames)


async def test_only_known_speakers_are_answered(scripted_server):
    """Between two turns of a known speaker another one speaks."""
    sample = [{"name": "Ann", "embedding": embedding_text(axis(5).tolist())}]
    asked = {"events": True, "known_speakers": sample, "known_speakers_only": True}
    frames = await heard(scripted_server, asked, speech(LOUD, SOFT, LOUD))
    finals = [one for one in frames if one.get("final") and one["text"]]
    told = [(one.get("speaker"), one.get("ignored", False)) for one in finals]
    assert told == [("Ann", False), ("A", True), ("Ann", False)]
    assert [one["turn"] for one in frames if one.get("type") == "turn"] == [1, 2]
    assert {one["turn"] for one in frames if one.get("type") == "reply"} == {1, 2}
    assert not [one for one in frames if one.get("type") == "interrupted"]


async def test_the_language_of_an_ignored_voice_is_not_that_of_the_call(scripted_server):
    sample = [{"name": "Ann", "embedding": embedding_text(axis(5).tolist())}]
    hello = {"events": True, "known_speakers": sample, "known_speakers_only": True}
    replies = []
    async with connect(scripted_server.asr_url) as socket:
        await socket.send(json.dumps({"uid": "u", "language": "auto", **hello}))
        await socket.send(speech(SOFT, text=f"spanish {TEXT}"))
        async for frame in socket:
            told = json.loads(frame)
            if told.get("ignored"):
                assert told["text"].startswith("spanish")
                await socket.send(json.dumps({"type": "say", "text": "hello"}))
            if told.get("type") == "reply":
                replies.append(told["text"])
                if told.get("last"):
                    break
    assert "".join(replies).startswith("You said hello") and "español" not in replies[-1]


async def test_listening_to_known_speakers_needs_some(scripted_server):
    asked = {"events": True, "known_speakers_only": True}
    frames = await heard(scripted_server, asked, speech(LOUD))
    assert frames[-1]["status"] == "ERROR"
    assert "known_speakers_only needs known_speakers" in frames[-1]["message"]


async def test_whisper_live_segments_have_their_speaker(scripted_server):
    """With a known speaker in the form of its own client."""
    soundfile.write(file := io.BytesIO(), tone_speech(TEXT, level=LOUD), RATE, format="WAV")
    sample = {"name": "Ann", "audio_base64": base64.b64encode(file.getvalue()).decode()}
    asked = {"model": "small", "use_vad": True, "max_speakers": 10, "known_speakers": [sample]}
    frames = await heard(scripted_server, asked, speech(SOFT, LOUD))
    last = [one for one in frames if "segments" in one][-1]["segments"]
    assert [one.get("speaker") for one in last] == ["SPEAKER_00", "Ann"], frames
    asked |= {"known_speakers": [], "enable_diarization": False}  # what it sends without
    frames = await heard(scripted_server, asked, speech(SOFT))
    assert all("speaker" not in one for one in frames[-1]["segments"])


async def test_embeddings_of_another_encoder_are_refused(scripted_server):
    known = [{"name": "Ann", "embedding": "AACAPw=="}]
    frames = await heard(scripted_server, {"events": True, "known_speakers": known}, speech(LOUD))
    assert frames[-1]["status"] == "ERROR" and "has 1 values" in frames[-1]["message"]
