"""The real pipeline with its default models and human speech: what it understands, what it
answers, what its voice says.
"""

from __future__ import annotations

import asyncio
import sys

import numpy as np
import pytest
from engine_checks import ENGLISH
from running import ROOT

from whisperfusion.cli.talk import read_audio
from whisperfusion.client import Flushed, Paused, ReplyAudio, ReplyInterrupted, Transcript, UserTurn
from whisperfusion.client.timed_call import TimedCall

sys.path.insert(0, str(ROOT))
from bench.accuracy import MARKUP, caption, word_errors

pytestmark = pytest.mark.live

SHORT = {"instructions": "You are a friendly voice assistant. Answer in one short plain sentence."}

TOGETHER = ("gcp-brooklyn.flac", "kyutai-dog-or-cat.flac")  # asked at the same moment


@pytest.fixture(scope="module")
def english(recordings):
    return {
        name: (entry, read_audio(str(entry["path"])))
        for name, entry in recordings.items()
        if entry["lang"] == "en"
    }


async def test_it_understands_the_recordings(pipeline, english):
    every_fourth = list(english.values())[::4]  # bench/accuracy.py takes them all
    pairs = [(entry["text"], await caption(pipeline.asr_url, pcm)) for entry, pcm in every_fourth]
    found = word_errors(pairs)
    assert found["words"] > 300 and found["wer"] <= 0.12, found


async def test_every_question_gets_an_answer_that_can_be_heard(pipeline, english, whisper):
    """Two callers speak at once, and neither is answered what the other asked."""
    questions = {
        name: pcm for name, (entry, pcm) in english.items() if "single-turn" in entry["tags"]
    }
    assert len(questions) >= 9
    replies = {}

    async def ask(names):
        for name in names:
            async with TimedCall(pipeline.asr_url, pipeline.tts_url, options=SHORT) as call:
                replies[name] = await call.turn(questions[name])

    names = sorted(questions, key=lambda name: name not in TOGETHER)
    await asyncio.gather(ask(names[::2]), ask(names[1::2]))
    pairs = []
    for name, result in replies.items():
        assert word_errors([(english[name][0]["text"], result.transcript)])["wer"] <= 0.5, (
            name,
            result.transcript,
        )
        assert (
            result.reply and not MARKUP.search(result.reply) and len(result.reply.split()) <= 80
        ), (name, result.reply)
        assert np.abs(result.audio).max() > 0.05, name
        at = np.arange(0, len(result.audio), 1.5)
        pcm = np.interp(at, np.arange(len(result.audio)), result.audio).astype(np.float32)
        pairs.append((result.reply, whisper.create_utterance(ENGLISH).accept_audio(pcm).text))
    found = word_errors(pairs)
    assert found["wer"] <= 0.25, found
    bridge, animal = (replies[name] for name in TOGETHER)
    assert "brooklyn" in bridge.transcript.lower() and "dog" in animal.transcript.lower()
    assert "brooklyn" not in animal.reply.lower() and "cat" not in bridge.reply.lower().split()


async def test_real_words_over_the_answer_stop_it(pipeline, english):
    over = english["rh3-what_time_is_it.flac"][1]
    async with TimedCall(pipeline.asr_url, pipeline.tts_url) as call:
        await call.call.say("Tell me a very long story about a lighthouse and its keeper.")
        await call.until(lambda: len(call.seen(ReplyAudio)) > 10, 60, "a story")
        call.speak(over)
        await call.until(lambda: bool(call.seen(ReplyInterrupted)), 60, "the interruption")
        await call.until(
            lambda: any("time" in one.event.text.lower() for one in call.seen(UserTurn)),
            60,
            "the words",
        )
        # these come by the other socket
        await call.until(lambda: bool(call.seen(Paused) and call.seen(Flushed)), 60, "silence")


@pytest.mark.parametrize(
    ("file", "language"), [("pv-de-cheetah.flac", "de"), ("pv-fr-cheetah.flac", "fr")]
)
async def test_other_languages_are_detected_and_understood(pipeline, recordings, file, language):
    pcm = read_audio(str(recordings[file]["path"]))
    async with TimedCall(
        pipeline.asr_url, pipeline.tts_url, options={"language": None, "reply": False}
    ) as call:
        call.speak(pcm)
        await call.until(lambda: bool(call.seen(UserTurn)), 60, "the words")
        final = [one.event for one in call.seen(Transcript) if one.event.final][-1]
    assert final.language == language
    said = set(recordings[file]["text"].lower().strip(".").split())
    assert len(said & set(final.text.lower().strip(".").split())) >= len(said) / 2, final.text
