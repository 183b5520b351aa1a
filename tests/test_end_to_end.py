"""The real pipeline with its default models and human speech: what it understands, what it answers, what its voice says."""

from __future__ import annotations

import asyncio
import sys

import numpy as np
import pytest
from running import ROOT

from fusion.client import Call
from fusion.engines import ASROptions, load
from fusion.models import fetch, resolve
from fusion.settings import Settings
from fusion.talk import read_audio

sys.path.insert(0, str(ROOT))
from bench.accuracy import MARKUP, caption, word_errors  # noqa: E402

SHORT = {"instructions": "You are a friendly voice assistant. Answer in one short plain sentence."}


@pytest.fixture(scope="module")
def english(recordings):
    return {name: (entry, read_audio(str(entry["path"]))) for name, entry in recordings.items() if entry["lang"] == "en"}


async def test_it_understands_the_recordings(pipeline, english):
    every_third = list(english.values())[::3]  # bench/accuracy.py takes them all
    pairs = [(entry["text"], await caption(pipeline.asr_url, pcm)) for entry, pcm in every_third]
    found = word_errors(pairs)
    assert found["words"] > 300 and found["wer"] <= 0.12, found


async def test_every_question_gets_an_answer_that_can_be_heard(pipeline, english):
    questions = {name: pcm for name, (entry, pcm) in english.items() if "single-turn" in entry["tags"]}
    assert len(questions) >= 9
    replies = {}

    async def ask(names):
        for name in names:
            async with Call(pipeline.asr_url, pipeline.tts_url, options=SHORT) as call:
                replies[name] = await call.turn(questions[name])

    names = list(questions)
    await asyncio.gather(ask(names[::2]), ask(names[1::2]))
    settings = Settings()
    folder = fetch(resolve(settings.asr_model, "asr", settings), settings.cache, settings.sources)
    reader = load("asr", "faster-whisper", model=str(folder))
    pairs = []
    for name, result in replies.items():
        assert word_errors([(english[name][0]["text"], result.caption)])["wer"] <= 0.5, (name, result.caption)
        assert result.reply and not MARKUP.search(result.reply) and len(result.reply.split()) <= 80, (name, result.reply)
        assert np.abs(result.audio).max() > 0.05, name
        at = np.arange(0, len(result.audio), 1.5)
        pcm = np.interp(at, np.arange(len(result.audio)), result.audio).astype(np.float32)
        pairs.append((result.reply, " ".join(s.text for s in reader.transcribe(pcm, ASROptions(language="en")))))
    found = word_errors(pairs)
    assert found["wer"] <= 0.25, found


async def test_real_words_over_the_answer_stop_it(pipeline, english):
    over = english["rh3-what_time_is_it.flac"][1]
    async with Call(pipeline.asr_url, pipeline.tts_url) as call:
        await call.say("Tell me a very long story about a lighthouse and its keeper.")
        await call.until(lambda: len(call.seen("sound")) > 10, 60, "a story")
        call.speak(over)
        await call.until(lambda: bool(call.seen("interrupted")), 60, "the interruption")
        await call.until(lambda: any("time" in event.fields["text"].lower() for event in call.seen("turn")), 60, "the words")
        assert call.seen("hold") and call.seen("clear")


@pytest.mark.parametrize(("file", "language"), [("pv-de-cheetah.flac", "de"), ("pv-fr-cheetah.flac", "fr")])
async def test_other_languages_are_detected_and_understood(pipeline, recordings, file, language):
    pcm = read_audio(str(recordings[file]["path"]))
    async with Call(pipeline.asr_url, pipeline.tts_url, options={"language": None, "reply": False}) as call:
        call.speak(pcm)
        await call.until(lambda: bool(call.seen("turn")), 60, "the words")
        final = [event.fields for event in call.seen("caption") if event.fields["final"]][-1]
    assert final["language"] == language
    said = set(recordings[file]["text"].lower().strip(".").split())
    assert len(said & set(final["text"].lower().strip(".").split())) >= len(said) / 2, final["text"]


async def test_two_callers_speak_at_once_and_are_not_confused(pipeline, english):
    async def ask(file, word):
        async with Call(pipeline.asr_url, pipeline.tts_url, options=SHORT) as call:
            result = await call.turn(english[file][1])
            assert word in result.caption.lower() and result.reply
            return result

    bridge, animal = await asyncio.gather(ask("gcp-brooklyn.flac", "brooklyn"), ask("kyutai-dog-or-cat.flac", "dog"))
    assert "brooklyn" not in animal.reply.lower() and "cat" not in bridge.reply.lower().split()
