"""Recordings with their speakers: the frames on 6006, the words of each, OpenAI's form."""

from __future__ import annotations

import base64
import io

import numpy as np
import openai
import pytest
import soundfile
from openai.types.audio import TranscriptionDiarized
from test_files import read

from whisperfusion.call.speakers import samples_of_wav
from whisperfusion.engines.scripted import tone_speech
from whisperfusion.errors import Refused
from whisperfusion.wire.asr_events import SpeakerTurn
from whisperfusion.wire.openai_rest import diarized
from whisperfusion.wire.speakers import SpokenCue, embedding_text, speaker_at, spoken_cues
from whisperfusion.wire.transcripts import Cue, SpokenWord

RATE = 16_000
PAUSE = np.zeros(RATE // 2, np.float32)
LOUD, SOFT = 0.5, 0.2  # levels that the scripted encoder takes for two speakers
TEXT = " ".join(["alpha beta gamma delta"] * 4)


def dialogue(*levels: float) -> np.ndarray:
    return np.concatenate(
        [part for level in levels for part in (tone_speech(TEXT, level=level), PAUSE)]
    )


def wav(pcm: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, pcm, RATE, format="WAV")
    return file.getvalue()


# --- whose words are whose ----------------------------------------------------------------------


def cue(text: str, *words: str, start: float = 0.0) -> Cue:
    """Each word takes a second."""
    spoken = tuple(SpokenWord(w, start + n, start + n + 1) for n, w in enumerate(words))
    return Cue(start, start + max(1, len(words)), text, spoken)


TURNS = [(0.0, 2.0, "A"), (2.1, 3.0, "B"), (5.5, 9.0, "A")]


def test_a_segment_is_divided_where_another_speaker_begins():
    spoken = cue(" Well, yes. No! I see.", " Well,", " yes.", " No!", " I", " see.")
    found = spoken_cues([spoken], TURNS)
    assert found == [
        SpokenCue(0.0, 2.0, "A", "Well, yes."),
        SpokenCue(2.0, 4.0, "B", "No! I"),
        SpokenCue(4.0, 5.0, "A", "see."),
    ]


def test_a_first_word_goes_with_the_rest_of_its_sentence():
    """Whisper begins it in the pause before; a word that is a sentence stays where it is."""
    late = [(0.0, 0.9, "A"), (1.0, 9.0, "B")]
    assert [one.speaker for one in spoken_cues([cue("I see.", "I", " see.")], late)] == ["B"]
    assert [one.text for one in spoken_cues([cue("No. I see.", "No.", " I", " see.")], late)] == [
        "No.",
        "I see.",
    ]


def test_words_of_languages_without_spaces_and_words_that_are_not_in_the_text():
    assert [one.text for one in spoken_cues([cue("はいいいえ", "はい", "x", "いいえ")], TURNS)] == [
        "はい",
        "いいえ",
    ]


def test_a_cue_without_words_goes_to_one_speaker_and_without_turns_to_a():
    assert spoken_cues([cue("hello", start=2.0), cue("  ")], TURNS) == [
        SpokenCue(2, 3, "B", "hello")
    ]
    assert spoken_cues([cue("hello")], [])[0].speaker == "A"
    assert [speaker_at(at, TURNS) for at in (4.0, 5.0, 20.0)] == ["B", "A", "A"]


def test_the_body_has_what_clients_require():
    turns = [SpeakerTurn(*one) for one in TURNS]
    body = diarized([cue("Yes. No.", "Yes.", " No.", start=1.0)], turns, 9.5)
    read_back = TranscriptionDiarized.model_validate(body, strict=True)
    assert (read_back.text, read_back.duration) == ("Yes. No.", 9.5)
    assert [(one.id, one.speaker, one.text) for one in read_back.segments] == [
        ("seg_1", "A", "Yes."),
        ("seg_2", "B", "No."),
    ]


# --- 6006 ---------------------------------------------------------------------------------------


async def test_a_recording_comes_with_who_spoke_when(scripted_server):
    pcm = dialogue(LOUD, SOFT, LOUD, SOFT)
    asked = {"language": "en", "enable_diarization": True}
    told = await read(scripted_server, asked, pcm)
    assert [one["type"] for one in told] == ["segment"] * 4 + ["speakers", "done"]
    assert [turn["speaker"] for turn in told[-2]["turns"]] == ["A", "B", "A", "B"]
    one = await read(scripted_server, {**asked, "max_speakers": 1}, pcm)
    assert {turn["speaker"] for turn in one[-2]["turns"]} == {"A"}
    silent = await read(scripted_server, asked, np.zeros(RATE, np.float32))
    assert silent[-2]["turns"] == []
    (sample,) = [
        one["embedding"]
        for one in await read(scripted_server, {"task": "embed"}, dialogue(SOFT))
        if one["type"] == "speaker_embedding"
    ]
    named = await read(
        scripted_server, {**asked, "known_speakers": [{"name": "Ann", "embedding": sample}]}, pcm
    )
    assert [turn["speaker"] for turn in named[-2]["turns"]] == ["A", "Ann", "A", "Ann"]


def knows(speakers: object) -> dict:
    return {"enable_diarization": True, "known_speakers": speakers}


def known(name: str = "Ann", embedding: str = "AACAPw==") -> dict:
    return {"name": name, "embedding": embedding}


@pytest.mark.parametrize(
    ("asked", "pcm", "says"),
    [
        ({"task": "embed"}, np.zeros(RATE, np.float32), "0.0 s of speech; at least 1 s"),
        ({"task": "embed"}, np.zeros(31 * RATE, np.float32), "longer than 30 s"),
        ({"enable_diarization": "yes"}, PAUSE, "enable_diarization"),
        ({"enable_diarization": True, "max_speakers": 0}, PAUSE, "max_speakers"),
        (knows("Ann"), PAUSE, "known_speakers"),
        (knows(["Ann"]), PAUSE, "known_speakers"),
        (knows([known(name="")]), PAUSE, "known_speakers"),
        (knows([known(), known()]), PAUSE, "known_speakers"),
        (knows([known(embedding="AADAfw==")]), PAUSE, "known_speakers"),  # NaN
        (knows([known(embedding="?")]), PAUSE, "known_speakers"),
        (knows([known()]), PAUSE, "has 1 values, those of peaks have 16"),
        (knows([{"name": "Ann", "audio_base64": "YWJj"}]), PAUSE, "'Ann': the sample cannot be"),
    ],
)
async def test_what_cannot_be_had_is_refused(scripted_server, asked, pcm, says):
    told = await read(scripted_server, {"language": "en", **asked}, pcm)
    assert told[-1]["status"] == "ERROR" and says in told[-1]["message"]


# --- OpenAI's form, by its own client -----------------------------------------------------------


def test_the_stock_client_gets_the_speakers(scripted_server):
    client = openai.OpenAI(base_url=f"{scripted_server.http_url}/v1", api_key="any", max_retries=0)
    url = "data:audio/wav;base64," + base64.b64encode(wav(dialogue(SOFT))).decode()
    asked = {
        "file": ("talk.wav", wav(dialogue(LOUD, SOFT, LOUD))),
        "model": "gpt-4o-transcribe-diarize",
        "response_format": "diarized_json",
        "chunking_strategy": "auto",
    }
    known = {"known_speaker_names": ["Ann"], "known_speaker_references": [url]}
    found = client.audio.transcriptions.create(**asked, extra_body=known)
    assert [(one.speaker, one.text) for one in found.segments] == [
        ("A", TEXT),
        ("Ann", TEXT),
        ("A", TEXT),
    ]
    assert found.text == " ".join([TEXT] * 3) and found.duration == pytest.approx(
        len(dialogue(LOUD, SOFT, LOUD)) / RATE, abs=0.01
    )
    known["known_speaker_references"] = ["data:audio/wav;base64,YWJj"]
    with pytest.raises(openai.APIStatusError, match="the reference of 'Ann'"):
        client.audio.transcriptions.create(**asked, extra_body=known)
    events = list(client.audio.transcriptions.create(**asked, stream=True))
    kinds = [event.type for event in events]
    assert kinds == ["transcript.text.delta"] * 3 + ["transcript.text.segment"] * 3 + [
        "transcript.text.done"
    ]
    assert [event.speaker for event in events[3:6]] == ["A", "B", "A"]


def test_embeddings_are_little_endian_floats():
    assert embedding_text([1.0]) == "AACAPw=="


def test_a_sample_may_have_any_rate_and_two_channels():
    pcm = dialogue(SOFT)
    times = np.arange(3 * len(pcm)) / 3
    upper = np.interp(times, np.arange(len(pcm)), pcm)
    file = io.BytesIO()
    soundfile.write(file, np.stack((upper, upper), axis=1), 3 * RATE, format="WAV")
    found = samples_of_wav(file.getvalue())
    assert len(found) == len(pcm) and np.abs(found[100:-100] - pcm[100:-100]).max() < 0.1
    assert np.abs(samples_of_wav(wav(pcm)) - pcm).max() < 1e-4
    soundfile.write(eight := io.BytesIO(), pcm, RATE, subtype="PCM_U8", format="WAV")
    with pytest.raises(Refused, match="8 bits at 16000 Hz"):
        samples_of_wav(eight.getvalue())
    with pytest.raises(Refused, match="longer than 30 s"):
        samples_of_wav(wav(np.zeros(31 * RATE, np.float32)))
