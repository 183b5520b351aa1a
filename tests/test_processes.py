"""The real processes with scripted engines: a conversation, eight at once, and every process killed on purpose."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from client import Caller, spoken
from running import ROOT, SCRIPTED, Server, alive, free_ports

from fusion.engines.scripted import read_tones


def heard(pcm: np.ndarray) -> str:
    return " ".join(read_tones(pcm, 24_000).replace(".", ". ").split())  # no silence divides two sentences of tones


async def test_a_spoken_question_is_answered_in_text_and_audio(scripted_server):
    async with Caller(scripted_server) as caller:
        await caller.speak(spoken("alpha beta gamma"))
        await caller.answered()
        assert [event["text"] for event in caller.of("turn")] == ["alpha beta gamma"]
        assert caller.reply(1) == "You said alpha beta gamma. That is 3 words."
        assert heard(caller.audio(1)) == "you said alpha beta gamma. that is 3 words."
        await caller.until(lambda: len(caller.sound_events) >= 2)  # the two sockets are not in step
        assert [event["type"] for event in caller.sound_events] == ["start", "end"]
        (latency,) = caller.of("latency")
        assert 0 <= latency["words"] <= latency["decided"] <= latency["first_sound"] and latency["turn"] == 1
        assert {"stopped", "first_token", "first_clause", "reused"} <= set(latency)
        assert [event["turn"] for event in caller.of("heard_you")] == [1]


async def test_a_file_of_three_questions_gets_three_answers(scripted_server):
    async with Caller(scripted_server) as caller:
        await caller.speak(np.concatenate([spoken("one"), spoken("two four"), spoken("six seven eight")]))
        await caller.answered(3)
        assert [caller.reply(turn) for turn in (1, 2, 3)] == [
            "You said one. That is 1 word.", "You said two four. That is 2 words.", "You said six seven eight. That is 3 words."
        ]


async def test_a_typed_line_is_answered_and_remembered(scripted_server):
    async with Caller(scripted_server, history=[{"role": "user", "text": "hi"}, {"role": "assistant", "text": "Good day."}]) as caller:
        await caller.send(type="say", text="recall")
        await caller.answered()
        assert caller.reply(1) == "I said: Good day."
        await caller.send(type="say", text="recall")
        await caller.answered(2)
        assert caller.reply(2) == "I said: Good day. I said: Good day."


async def test_speaking_over_the_answer_stops_it_and_memory_keeps_what_was_heard(scripted_server):
    async with Caller(scripted_server) as caller:
        await caller.send(type="say", text="forever")
        await caller.until(lambda: len(caller.sound) > 10)
        await caller.speak(spoken("stop it please"), live=True)
        await caller.until(lambda: caller.of("interrupted"))
        kinds = [event["type"] for event in caller.sound_events]
        assert kinds[:3] == ["start", "hold", "clear"]
        said = caller.of("interrupted")[0]["heard"]
        assert said and heard(caller.audio(1)).startswith(said.lower()[:20])
        await caller.answered()
        assert caller.reply(2) == "You said stop it please. That is 3 words."


async def test_a_client_that_caught_up_is_a_microphone_again(scripted_server):
    """After a lost connection it says again what was not heard, as fast as it can; its next words over an answer count."""
    async with Caller(scripted_server) as caller:
        await caller.speak(np.zeros(5 * 16_000, np.float32))
        await caller.speak(np.zeros(24_000, np.float32), live=True)
        await caller.send(type="say", text="forever")
        await caller.until(lambda: len(caller.sound) > 10)
        await caller.speak(spoken("stop it please"), live=True)
        await caller.until(lambda: caller.of("interrupted"))


async def test_a_cough_only_holds_the_answer(scripted_server):
    async with Caller(scripted_server) as caller:
        await caller.send(type="say", text="alpha " * 12)
        await caller.until(lambda: len(caller.sound) > 5)
        noise = np.zeros(24000, np.float32)
        noise[8000:12000] = 0.3 * np.sin(np.arange(4000) * 0.02)  # below the alphabet: a sound without words
        await caller.speak(noise, live=True)
        await caller.answered()
        await caller.until(lambda: len(caller.sound_events) >= 4)
        assert [event["type"] for event in caller.sound_events] == ["start", "hold", "resume", "end"]
        assert heard(caller.audio(1)).endswith("that is 12 words.")


async def test_push_to_talk_ends_turns_only_by_commit(scripted_server):
    async with Caller(scripted_server, turn_detection="manual") as caller:
        await caller.speak(spoken("alpha"), live=True)
        await caller.speak(spoken("beta"), live=True)
        await caller.until(lambda: any(event["text"] == "alpha beta" for event in caller.of("caption")))
        assert not caller.of("turn")
        await caller.send(type="commit")
        await caller.answered()
        assert [event["text"] for event in caller.of("turn")] == ["alpha beta"]


async def test_an_update_holds_from_the_next_turn(scripted_server):
    async with Caller(scripted_server) as caller:
        await caller.send(type="say", text="alpha")
        await caller.answered()
        await caller.send(type="update", voice="soft", turn_detection="manual")
        await caller.send(type="say", text="alpha")
        await caller.answered(2)
        assert np.abs(caller.audio(2)).max() < np.abs(caller.audio(1)).max() / 2
        await caller.speak(spoken("beta"))
        await caller.send(type="commit")
        await caller.answered(3)
        assert caller.reply(3) == "You said beta. That is 1 word."


async def test_what_the_client_says_was_heard_is_remembered(scripted_server):
    async with Caller(scripted_server) as caller:
        await caller.send(type="say", text="forever")
        await caller.until(lambda: len(caller.sound) > 30)
        await caller.send(type="heard", turn=1, seconds=0.5)
        await caller.send(type="interrupt")
        await caller.until(lambda: caller.of("interrupted"))
        heard_words = caller.of("interrupted")[0]["heard"]
        await caller.send(type="say", text="recall")
        await caller.answered()
        assert len(heard_words.split()) <= 4 and caller.reply(2) == f"I said: {heard_words}".strip()


async def test_captions_alone_get_no_answer(scripted_server):
    async with Caller(scripted_server, reply=False) as caller:
        await caller.speak(spoken("alpha beta"))
        await caller.mouth.send("END_OF_AUDIO")
        await caller.until(lambda: caller.of("closed"))
        assert [event["text"] for event in caller.of("turn")] == ["alpha beta"] and not caller.of("reply")


async def test_eight_callers_hear_only_their_own_answers(scripted_server):
    names = ["ann", "bob", "cat", "dan", "eve", "fay", "gus", "hal"]

    async def call(name: str) -> None:
        async with Caller(scripted_server) as caller:
            for turn in (1, 2):
                await caller.speak(spoken(f"my name is {name} {turn}"))
                await caller.answered(turn)
                assert heard(caller.audio(turn)) == f"you said my name is {name} {turn}. that is 5 words."
            others = set(names) - {name}
            assert not others & set(" ".join(event.get("text", "") for event in caller.events).replace(".", "").split())

    await asyncio.gather(*(call(name) for name in names))


@pytest.mark.parametrize("stage", ["asr", "llm", "tts", "gateway"])
async def test_a_killed_process_comes_back_and_the_others_go_on(start_server, stage):
    server = start_server(*SCRIPTED)
    first = server.pid(stage)
    others = {name: server.pid(name) for name in ("asr", "llm", "tts", "gateway") if name != stage}
    async with Caller(server) as busy, Caller(server) as idle:
        await idle.send(type="say", text="before")
        await idle.answered()
        await busy.send(type="say", text="forever")
        await busy.until(lambda: len(busy.sound) > 3)
        os.kill(first, signal.SIGKILL)
        await asyncio.to_thread(server.wait_for, lambda: server.pid(stage) != first and server.health()[0] == 200, 20.0)
        assert {name: server.pid(name) for name in others} == others
        if stage == "asr":  # it held their calls: both are told by the close of the socket, and call again
            await busy.until(lambda: busy.of("closed"))
            await idle.until(lambda: idle.of("closed"))
            lines = [{"role": "user", "text": "before"}, {"role": "assistant", "text": idle.reply(1)}]
            async with Caller(server, history=lines) as again:
                await again.send(type="say", text="recall")
                await again.answered()
                assert again.reply(1) == f"I said: {idle.reply(1)}"
            return
        if stage == "tts":
            await busy.until(lambda: [e for e in busy.of("error") if "tts" in e["message"]])
            await idle.ears.wait_closed()
            await idle.send(type="say", text="after")
            await idle.until(lambda: any(event["last"] for event in idle.of("reply") if event["turn"] == 2))
        else:
            if stage == "gateway":
                assert not busy.of("error")
            else:
                await busy.until(lambda: [e for e in busy.of("error") if "llm" in e["message"]])
            await idle.send(type="say", text="after")
            await idle.answered(2)
            assert heard(idle.audio(2)) == "you said after. that is 1 word."
        assert idle.reply(2) == "You said after. That is 1 word."


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_leaves_nothing_behind(start_server, number):
    server = start_server(*SCRIPTED)
    pids = [server.pid(name) for name in ("asr", "llm", "tts", "gateway")]
    async with Caller(server) as caller:
        await caller.send(type="say", text="forever")
        await caller.until(lambda: len(caller.sound) > 3)
        assert server.stop(number) == 0
    assert not [pid for pid in pids if alive(pid)], server.log
    assert "killed" not in server.log


async def test_no_orphan_when_main_itself_is_killed(start_server):
    server = start_server(*SCRIPTED)
    pids = [server.pid(name) for name in ("asr", "llm", "tts", "gateway")]
    server.process.kill()
    server.process.wait(10)
    deadline = time.monotonic() + 10
    while any(map(alive, pids)) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    assert not [pid for pid in pids if alive(pid)]


@pytest.mark.parametrize(("word", "stage"), [("explode", "llm"), ("unspeakable", "tts")])
async def test_a_failing_engine_ends_only_its_turn(scripted_server, word, stage):
    async with Caller(scripted_server) as caller:
        await caller.send(type="say", text=word)
        await caller.until(lambda: caller.of("error"))
        assert caller.of("error")[0]["code"] == f"{stage}_failed" and "told to fail" in caller.of("error")[0]["message"]
        await caller.send(type="interrupt")
        await caller.send(type="say", text="still there")
        await caller.until(lambda: any("You said still there." in event["text"] for event in caller.of("reply")))


def test_a_busy_port_is_told_before_anything_is_loaded():
    (port,) = free_ports(1)
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        command = [sys.executable, "main.py", f"--asr-port={port}", *SCRIPTED]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert run.returncode == 1 and str(port) in run.stderr and "ASR_PORT" in run.stderr and "Traceback" not in run.stderr


def test_an_engine_that_cannot_start_stops_the_server_with_its_reason():
    server = Server(*SCRIPTED[:-1], "--tts-engine=nonsense")
    assert server.process.wait(30) == 1
    server.stop()
    assert "nonsense" in server.log and "hibari" in server.log and "Traceback" not in server.log
