"""The load generator: what its callers say, what they count, and a few of them at a real server."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import asynccontextmanager

import numpy as np
import pytest
from fake_sockets import FakeServer, fake_server
from running import ROOT
from websockets.frames import Frame
from websockets.streams import StreamReader

from whisperfusion.engines.scripted import read_tones, tone_speech

sys.path.insert(0, str(ROOT))
from bench import load
from bench.load_call import Call, Pattern
from bench.load_cells import Cells, cells
from bench.load_cost import costs
from bench.load_sounds import MARK, heard_mark, mark_of, other_mark, silence, voice_of

QUICK = Pattern(frame_ms=20, speech_s=0.9, pause_s=0.01, call_s=1e6)
SECRET = {"listen_secret": "s", "session": "kept"}
PATIENCE_S = 150.0  # bound of a test that fails; a full machine once took a minute


def answer_of(words: str) -> str:
    return f"You said {words} That is 4 words."


def spoken(text: str) -> bytes:
    return np.round(tone_speech(text, 24_000) * 32767).astype("<i2").tobytes()


def test_every_caller_has_a_mark_and_the_recognizer_reads_its_sentence():
    marks = [mark_of(number) for number in range(5000)]
    assert len(set(marks)) == len(marks) and all(map(MARK.fullmatch, marks))
    for number in (0, 417, 4999):
        voice = voice_of(number, 2.5, 50)
        assert voice.mark in voice.words and other_mark(voice.words, voice.mark) == ""
        assert read_tones(tone_speech(voice.words)) == voice.words


def test_frames_are_masked_and_hold_the_sentence():
    voice, payload = voice_of(7, 2.5, 50), b""
    for frame in (*voice.frames, silence(50)):
        reader = StreamReader()
        reader.feed_data(frame)
        parsed = Frame.parse(reader.read_exact, mask=True)
        with pytest.raises(StopIteration) as done:
            next(parsed)
        assert len(done.value.value.data) == 1600
        payload += done.value.value.data
    pcm = np.frombuffer(payload, "<i2").astype(np.float32) / 32768
    assert read_tones(pcm) == voice.words


def test_the_mark_is_heard_in_the_callers_own_answer_only():
    own, other = voice_of(1, 2.5, 50), voice_of(2, 2.5, 50)
    assert heard_mark(spoken(answer_of(own.words)), own.mark)
    assert heard_mark(bytes(9600) + spoken(answer_of(own.words)), own.mark)
    assert not heard_mark(spoken(answer_of(other.words)), own.mark)
    assert not heard_mark(b"", own.mark)
    assert other_mark(answer_of(other.words), own.mark) == other.mark


@asynccontextmanager
async def calling(server: FakeServer, pattern: Pattern = QUICK):
    """A caller that is driven until the end."""
    server.ready_fields = SECRET
    asr, tts = server.ports
    urls = (f"ws://127.0.0.1:{asr}", f"ws://127.0.0.1:{tts}")
    voice = voice_of(1, pattern.speech_s, pattern.frame_ms)
    call = Call(voice, pattern, urls, silence(pattern.frame_ms), 1)
    drives = asyncio.create_task(load.drive([call], pattern.frame_ms / 1000, load.Seen()))
    try:
        yield call
    finally:
        drives.cancel()
        call.close(0.0)


async def until(fact) -> None:
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while not fact():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)


async def answer(one, words: str, sound: str) -> None:
    await one.event("turn", turn=1, text=words.capitalize())
    await one.event("reply", turn=1, index=0, text=answer_of(words), last=True)
    await one.tts.send(spoken(sound))
    await one.order("end", turn=1)
    await one.event("spoken", turn=1, seconds=1.0, last=True)


async def whole_turn(server: FakeServer, call: Call, number: int = 0):
    one = await server.call(number)
    await server.until(lambda: len(one.audio) > len(call.voice.frames))
    return one


async def test_a_turn_that_is_answered_is_timed():
    async with fake_server() as server, calling(server) as call:
        one = await whole_turn(server, call)
        words = call.voice.words
        await answer(one, words, answer_of(words))
        await until(lambda: call.tally.answered == 1)
        seen = call.collect()
        assert (seen.turns, seen.foreign, seen.wrong, seen.unheard) == (1, 0, 0, 0)
        assert len(seen.first_sound_s) == 1 and seen.sent > 0 and seen.received > 0
        assert one.told("listen_secret") == [] and one.said[0]["listen_secret"] == "s"


async def test_another_callers_words_answers_and_sounds_are_counted():
    other = voice_of(2, QUICK.speech_s, 20).words
    async with fake_server() as server, calling(server) as call:
        one = await whole_turn(server, call)
        await answer(one, other, answer_of(other))
        await until(lambda: call.tally.foreign == 2)  # the turn and the answer
        assert call.tally.answered == 0
    async with fake_server() as server, calling(server) as call:
        one = await whole_turn(server, call)
        await answer(one, call.voice.words, answer_of(other))
        await until(lambda: call.tally.unheard == 1)
        await one.asr.send(json.dumps({"uid": "another", "type": "notice", "text": ""}))
        await until(lambda: call.tally.foreign == 1)


async def test_a_lost_connection_is_followed_by_one_that_goes_on():
    async with fake_server() as server, calling(server) as call:
        one = await whole_turn(server, call)
        await one.event("turn", turn=1, text=call.voice.words)
        await until(lambda: call._settled)
        server.ready_fields = {**SECRET, "resumed": True, "pending": False}
        await one.die()
        again = await server.call(1)
        assert again.handshake["session"] == "kept" and again.uid != one.uid
        await until(lambda: call.tally.resumed == 1)
        assert (call.tally.lost, call.tally.lost_in_turn, call.tally.forgotten) == (1, 1, 1)


async def test_a_turn_that_is_taken_up_again_is_not_forgotten():
    async with fake_server() as server, calling(server) as call:
        one = await whole_turn(server, call)
        await one.event("turn", turn=1, text=call.voice.words)
        await until(lambda: call._settled)
        server.ready_fields = {**SECRET, "resumed": True, "pending": True}
        await one.die()
        again = await server.call(1)
        await until(lambda: call.tally.resumed == 1)
        await answer(again, call.voice.words, answer_of(call.voice.words))
        await until(lambda: call.tally.answered == 1)
        assert call.tally.forgotten == 0


async def test_a_full_server_is_tried_again_when_it_said():
    async with fake_server() as server, calling(server) as call:
        server.greeting = {"status": "WAIT", "message": 0.001}
        await until(lambda: call.tally.refused >= 1)
        server.greeting = None
        await until(lambda: call.busy)
        assert (call.tally.errors, call.tally.lost) == (0, 0)


async def test_push_to_talk_sends_speech_alone_and_ends_the_turn():
    held = Pattern(**{**vars(QUICK), "push_to_talk": True})
    async with fake_server() as server, calling(server, held) as call:
        one = await server.call()
        await server.until(lambda: one.told("commit"))
        assert one.handshake["turn_detection"] == "manual"
        assert len(one.audio) == len(call.voice.frames) + 8  # and 150 ms, as the page does


def test_a_few_callers_at_a_server(scripted_server):
    cells = ((scripted_server.asr_url, scripted_server.tts_url),)
    generator = load.Generator(load.Plan(4, cells, Pattern(speech_s=0.9, pause_s=0.2), processes=2))
    generator.start()
    total, deadline = load.Seen(), time.monotonic() + PATIENCE_S
    while total.tally.answered < 4:
        assert time.monotonic() < deadline, total
        time.sleep(0.1)
        total.add(generator.collect())
    used = costs([scripted_server.process.pid])
    last = generator.stop()
    total.add(last)
    row = json.loads(json.dumps(load.row_of(last, 1.0, used, {})))
    assert total.tally.turns == total.tally.answered == len(total.tally.first_sound_s), total
    assert (total.tally.foreign, total.tally.stuck, row["phases"]) == (0, 0, {"closed": 4})
    assert set(row["server"]) >= {"main", "asr", "llm", "tts", "gateway"}
    assert row["server"]["asr"]["descriptors"] > 0 and "4 calls" not in load.line_of(row)


def test_a_run_ends_with_a_line_of_what_was_seen(scripted_server, tmp_path):
    plan = load.Plan(1, ((scripted_server.asr_url, scripted_server.tts_url),))
    out = tmp_path / "load.jsonl"
    total = load.run(plan, 0.1, out, Cells((), (scripted_server.process.pid,)), 60.0)
    (line,) = out.read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["answered"] == total.answered


@pytest.mark.sites
def test_cells_of_its_own_behind_a_balancer():
    with cells(2, 8, balanced=True) as started:
        plan = load.Plan(8, started.sockets, Pattern(speech_s=0.9, pause_s=0.2))
        generator = load.Generator(plan)
        generator.start()
        total, deadline = load.Seen(), time.monotonic() + PATIENCE_S
        while total.tally.answered < 8:
            assert time.monotonic() < deadline, total
            time.sleep(0.1)
            total.add(generator.collect())
        used = costs(started.pids, started.balancer)
        total.add(generator.stop())
    assert (total.tally.foreign, total.tally.stuck, total.tally.errors) == (0, 0, 0), total
    # 6006 and 8888 of each caller reach the same cell, or no answer would have been heard
    assert total.tally.unheard == 0 and used["haproxy"].descriptors > 8, total
