"""Speakers over Realtime: OpenAI's segment event, and a session that listens to known ones only."""

from __future__ import annotations

import numpy as np
import pytest
from test_realtime import UPPER, Client

from whisperfusion.engines.scripted import tone_speech
from whisperfusion.wire.realtime import RealtimeError, Session, as_dict
from whisperfusion.wire.realtime_options import speaker_options
from whisperfusion.wire.realtime_update import updated
from whisperfusion.wire.speakers import embedding_text

SEGMENT = "conversation.item.input_audio_transcription.segment"
COMPLETED = "conversation.item.input_audio_transcription.completed"
SILENCE = np.zeros(UPPER, np.float32)
TEXT = "alpha beta gamma delta epsilon"  # 1.2 s
LOUD, SOFT = 0.5, 0.2  # levels that the scripted encoder takes for two speakers


def sample(level: float) -> str:
    return embedding_text(np.eye(16, dtype=np.float32)[round(level * 10)].tolist())


def session_with(**audio_in) -> Session:
    return updated(Session(), {"type": "realtime", "audio": {"input": audio_in}}, ())


def test_what_a_session_asks_of_speakers():
    assert speaker_options(Session()) == {} and not Session().shows_speakers
    diarizing = session_with(transcription={"model": "gpt-4o-transcribe-diarize"})
    assert speaker_options(diarizing) == {"enable_diarization": True} and diarizing.shows_speakers
    known = [{"name": "Ann", "embedding": sample(LOUD)}]
    only = session_with(known_speakers=known, known_speakers_only=True)
    assert speaker_options(only) == {"known_speakers": known, "known_speakers_only": True}
    shown = as_dict(only, 0)["audio"]["input"]
    assert (shown["known_speakers"], shown["known_speakers_only"]) == ([{"name": "Ann"}], True)
    plain = as_dict(Session(), 0)["audio"]["input"]  # clients that do not ask are not told
    assert not {"known_speakers", "known_speakers_only"} & plain.keys()
    with pytest.raises(RealtimeError, match="known_speakers"):
        session_with(known_speakers=[{"name": "Ann"}])


async def test_only_a_known_speaker_is_answered(scripted_server):
    known = [{"name": "Ann", "embedding": sample(LOUD)}]
    asked = {"known_speakers": known, "known_speakers_only": True}
    async with Client(scripted_server) as client:
        await client.update(audio={"input": {"transcription": {"model": "whisper-1"}, **asked}})
        await client.speak(np.concatenate((tone_speech(TEXT, UPPER, SOFT), SILENCE)))
        other = await client.until(SEGMENT)
        await client.until("input_audio_buffer.speech_stopped")
        await client.speak(np.concatenate((tone_speech(TEXT, UPPER, LOUD), SILENCE)))
        await client.until("response.done")
        known = await client.until(SEGMENT, 2)
        await client.until(COMPLETED)
    assert (other["speaker"], other["ignored"], other["text"]) == ("A", True, TEXT)
    assert other["item_id"] == client.of("input_audio_buffer.speech_stopped")[0]["item_id"]
    assert known["speaker"] == "Ann" and "ignored" not in known and known["start"] < known["end"]
    assert len(client.of("input_audio_buffer.committed")) == len(client.of("response.done")) == 1
    assert client.of("input_audio_buffer.committed")[0]["item_id"] == known["item_id"]
