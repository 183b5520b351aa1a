"""Whole recordings: where they are cut, what is read together, and whose segment is whose."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from difflib import SequenceMatcher

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from whisperfusion.call.connection import MOST_FILES
from whisperfusion.call.file_transcription import SEARCH_S, quiet_cut
from whisperfusion.engines import ASROptions, transcribe_batch
from whisperfusion.engines.scripted import ScriptedASR, tone_speech
from whisperfusion.engines.whisper import files as whisper_files
from whisperfusion.engines.whisper.files import interleaved, joined
from whisperfusion.text.segmentation import words

RATE = 16_000


def test_a_stretch_ends_where_it_is_quietest():
    loud = np.random.default_rng(1).normal(0, 0.1, 120 * RATE).astype(np.float32)
    loud[110 * RATE : int(110.5 * RATE)] *= 0.01
    assert 110.1 * RATE < quiet_cut(loud) < 110.4 * RATE
    loud[50 * RATE : 52 * RATE] = 0  # too early to be looked at
    assert quiet_cut(loud) > (120 - SEARCH_S) * RATE
    assert quiet_cut(loud[:1000]) == 1000


@given(st.lists(st.tuples(st.integers(1, 500_000), st.integers(1, 400_000)), max_size=40))
def test_windows_hold_all_speech_in_order_and_none_is_too_long(lengths):
    parts, at = [], 0
    for gap, length in lengths:
        parts.append((at + gap, at + gap + length))
        at += gap + length
    found = joined(parts, 448_000, 48_000)
    assert all(end - start <= 448_000 for start, end in found) and found == sorted(found)
    assert all(any(start <= a and b <= end for start, end in found) for a, b in parts)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 1000), st.integers(1001, 2000)), max_size=30
    )
)
def test_recordings_take_turns_and_each_keeps_its_order(spans):
    spans = [(whose, at, end) for at, (whose, _, end) in enumerate(spans)]
    found = interleaved(spans)
    assert sorted(found) == sorted(spans)
    for whose in {span[0] for span in spans}:
        assert [span for span in found if span[0] == whose] == [
            span for span in spans if span[0] == whose
        ]


def test_an_engine_that_cannot_read_together_reads_one_after_the_other():
    recordings = [(tone_speech(text), ASROptions("en")) for text in ("alpha", "beta gamma")]
    assert [(at, segment.text) for at, segment in transcribe_batch(ScriptedASR(), recordings)] == [
        (0, "alpha"),
        (1, "beta gamma"),
    ]


def test_recordings_that_are_read_together_keep_their_own_words(whisper, recordings, sound):
    names = [name for name, entry in recordings.items() if 3 < entry["duration_s"] < 12][:3]
    texts = ["" for _ in names]
    for at, segment in transcribe_batch(
        whisper, [(sound(name), ASROptions("en")) for name in names]
    ):
        texts[at] += " " + segment.text
    for name, text in zip(names, texts, strict=True):
        assert SequenceMatcher(None, words(recordings[name]["text"]), words(text)).ratio() > 0.7, (
            name,
            text,
        )


def test_recordings_that_nobody_wants_any_more_are_read_no_further(
    whisper, recordings, sound, monkeypatch
):
    """In batches of two windows: of the first recording one window is read."""
    monkeypatch.setattr(whisper_files, "AT_ONCE", 2)
    name = min(
        (name for name, entry in recordings.items() if entry["duration_s"] > 2),
        key=lambda name: recordings[name]["duration_s"],
    )
    one = np.pad(sound(name), (0, 4 * RATE))  # a pause that divides windows
    left: set[int] = set()
    both = [(np.tile(one, 3), ASROptions("en")), (np.tile(one, 2), ASROptions("en"))]
    ends: dict[int, float] = {}
    for at, segment in transcribe_batch(whisper, both, lambda at: at not in left):
        ends[at] = segment.end_s
        if at == 1:
            left.add(0)
    assert ends[0] < len(one) / RATE < ends[1]
    other = transcribe_batch(
        ScriptedASR(), [(tone_speech("alpha"), ASROptions("en"))], lambda at: False
    )
    assert not list(other)


# --- the dialect on 6006 ------------------------------------------------------------------------


async def read(server, handshake: dict, pcm: np.ndarray, end: bool = True) -> list[dict]:
    """Everything that a recording is answered with, the greeting left out."""
    async with connect(server.asr_url) as socket:
        await socket.send(json.dumps({"uid": "film", "file": True, **handshake}))
        if len(pcm):
            await socket.send(pcm.astype("<f4").tobytes())
        if end:
            await socket.send("END_OF_AUDIO")
        found: list[dict] = []
        try:
            async for frame in socket:
                found.append(json.loads(frame))
        except ConnectionClosed:  # after an error or a refusal
            pass
        return [told for told in found if told.get("message") != "SERVER_READY"]


async def test_a_recording_comes_back_as_segments_and_an_end(scripted_server):
    pcm = np.concatenate(
        (
            tone_speech("alpha beta"),
            np.zeros(RATE, np.float32),
            tone_speech("gamma"),
            np.zeros(RATE, np.float32),
        )
    )
    told = await read(scripted_server, {"language": "en", "word_timestamps": True}, pcm)
    assert [one["text"] for one in told[:-1]] == ["alpha beta", "gamma"]
    assert [word["word"] for word in told[0]["words"]] == ["alpha", "beta"]
    assert (
        told[-1]["type"] == "done"
        and told[-1]["duration"] == round(len(pcm) / RATE, 3)
        and all(one["uid"] == "film" for one in told)
    )
    told = await read(scripted_server, {"language": None}, pcm)
    assert (told[0]["type"], told[0]["language"]) == ("language", "en") and told[-1][
        "type"
    ] == "done"
    told = await read(scripted_server, {"language": None, "task": "detect"}, pcm)
    assert [one["type"] for one in told] == ["language", "done"]
    assert [one["type"] for one in await read(scripted_server, {}, np.zeros(0))] == ["done"]


async def test_a_recording_that_cannot_be_read_ends_with_a_reason(scripted_server):
    for handshake, pcm, says in (
        ({"task": "sing"}, np.zeros(0), "task"),
        ({"temperature": 5}, np.zeros(0), "temperature"),
        ({"language": "en"}, tone_speech("garble"), "told to fail"),
    ):
        told = await read(scripted_server, handshake, pcm)
        assert told[-1]["status"] == "ERROR" and says in told[-1]["message"]
    assert (await read(scripted_server, {"language": "en"}, tone_speech("alpha")))[-1][
        "type"
    ] == "done"


async def test_so_many_recordings_at_once_and_no_more(scripted_server):
    async with AsyncExitStack() as open_calls:
        for number in range(MOST_FILES):
            socket = await open_calls.enter_async_context(connect(scripted_server.asr_url))
            await socket.send(json.dumps({"uid": f"film {number}", "file": True}))
            assert json.loads(await socket.recv())["message"] == "SERVER_READY"
        assert (await read(scripted_server, {}, np.zeros(0)))[0]["status"] == "WAIT"
    assert (await read(scripted_server, {}, np.zeros(0)))[0]["type"] == "done"
