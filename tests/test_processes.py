"""The real processes with scripted engines: a conversation, eight at once, and every process
killed on purpose.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from client import Caller, spoken
from engine_checks import eventually
from running import ROOT, SCRIPTED, Server, alive

from whisperfusion.client import (
    Failed,
    Flushed,
    Latency,
    Paused,
    ReplyAudio,
    ReplyDone,
    ReplyInterrupted,
    ReplyText,
    Resumed,
    Transcript,
    TurnAccepted,
    UserTurn,
)
from whisperfusion.engines.scripted import read_tones
from whisperfusion.runtime.ports import free_ports


def words_in(pcm: np.ndarray) -> str:
    # no silence divides two sentences of tones
    return " ".join(read_tones(pcm, 24_000).replace(".", ". ").split())


async def test_a_spoken_question_is_answered_in_text_and_audio(scripted_server):
    async with Caller(scripted_server) as caller:
        await caller.speak(spoken("alpha beta gamma"))
        await caller.answered()
        assert [event.text for event in caller.of(UserTurn)] == ["alpha beta gamma"]
        assert caller.reply(1) == "You said alpha beta gamma. That is 3 words."
        assert words_in(caller.audio(1)) == "you said alpha beta gamma. that is 3 words."
        (latency,) = caller.of(Latency)
        assert 0 <= latency.words <= latency.decided <= latency.first_sound and latency.turn == 1
        assert [event.turn for event in caller.of(TurnAccepted)] == [1]


async def test_three_questions_get_three_answers(scripted_server):
    """Each waits for the answer before it: over the beginning of an answer it would be the rest of
    what was said, and on a busy machine the beginning is late.
    """
    async with Caller(scripted_server) as caller:
        for turn, question in enumerate(("one", "two four", "six seven eight"), 1):
            await caller.speak(spoken(question))
            await caller.answered(turn)
        assert [caller.reply(turn) for turn in (1, 2, 3)] == [
            "You said one. That is 1 word.",
            "You said two four. That is 2 words.",
            "You said six seven eight. That is 3 words.",
        ]


async def test_a_typed_line_is_answered_and_remembered(scripted_server):
    async with Caller(
        scripted_server,
        history=[{"role": "user", "text": "hi"}, {"role": "assistant", "text": "Good day."}],
    ) as caller:
        await caller.send("say", text="recall")
        await caller.answered()
        assert caller.reply(1) == "I said: Good day."
        await caller.send("say", text="recall")
        await caller.answered(2)
        assert caller.reply(2) == "I said: Good day. I said: Good day."


async def test_speaking_over_the_answer_stops_it_and_memory_keeps_what_was_heard(scripted_server):
    async with Caller(scripted_server) as caller:
        await caller.send("say", text="forever")
        await caller.until(lambda: len(caller.of(ReplyAudio)) > 10)
        await caller.speak(spoken("stop it please"), live=True)
        await caller.until(lambda: caller.of(ReplyInterrupted))
        await caller.until(lambda: caller.of(Flushed))
        assert caller.of(Paused) and not caller.of(Resumed)
        played = caller.of(ReplyInterrupted)[0].played_text
        assert played and words_in(caller.audio(1)).startswith(played.lower()[:20])
        await caller.answered()
        assert caller.reply(2) == "You said stop it please. That is 3 words."


async def test_a_client_that_caught_up_is_a_microphone_again(scripted_server):
    """After a lost connection it says again what was not heard, as fast as it can; its next
    words over an answer count.
    """
    async with Caller(scripted_server) as caller:
        await caller.speak(np.zeros(5 * 16_000, np.float32))
        await caller.speak(np.zeros(24_000, np.float32), live=True)
        await caller.send("say", text="forever")
        await caller.until(lambda: len(caller.of(ReplyAudio)) > 10)
        await caller.speak(spoken("stop it please"), live=True)
        await caller.until(lambda: caller.of(ReplyInterrupted))


async def test_a_cough_only_holds_the_answer(scripted_server):
    async with Caller(scripted_server) as caller:
        await caller.send("say", text="alpha " * 12)
        await caller.until(lambda: len(caller.of(ReplyAudio)) > 5)
        noise = np.zeros(24000, np.float32)
        # below the alphabet: a sound without words
        noise[8000:12000] = 0.3 * np.sin(np.arange(4000) * 0.02)
        await caller.speak(noise, live=True)
        await caller.answered()
        kinds = (Paused, Resumed, Flushed, ReplyDone)
        assert [type(one) for one in caller.events if isinstance(one, kinds)] == [
            Paused,
            Resumed,
            ReplyDone,
        ]
        assert words_in(caller.audio(1)).endswith("that is 12 words.")


async def test_push_to_talk_ends_turns_only_by_commit(scripted_server):
    async with Caller(scripted_server, turn_detection="manual") as caller:
        await caller.speak(spoken("alpha"), live=True)
        await caller.speak(spoken("beta"), live=True)
        await caller.until(
            lambda: any(event.text == "alpha beta" for event in caller.of(Transcript))
        )
        assert not caller.of(UserTurn)
        await caller.send("commit")
        await caller.answered()
        assert [event.text for event in caller.of(UserTurn)] == ["alpha beta"]


async def test_an_update_holds_from_the_next_turn(scripted_server):
    async with Caller(scripted_server) as caller:
        await caller.send("say", text="alpha")
        await caller.answered()
        await caller.send("update", voice="soft", turn_detection="manual")
        await caller.send("say", text="alpha")
        await caller.answered(2)
        assert np.abs(caller.audio(2)).max() < np.abs(caller.audio(1)).max() / 2
        await caller.speak(spoken("beta"))
        await caller.send("commit")
        await caller.answered(3)
        assert caller.reply(3) == "You said beta. That is 1 word."


async def test_what_the_client_says_was_heard_is_remembered(scripted_server):
    async with Caller(scripted_server) as caller:
        await caller.send("say", text="forever")
        await caller.until(lambda: len(caller.of(ReplyAudio)) > 30)
        await caller.send("heard", turn=1, seconds=0.5)
        await caller.send("interrupt")
        await caller.until(lambda: caller.of(ReplyInterrupted))
        played_words = caller.of(ReplyInterrupted)[0].played_text
        await caller.send("say", text="recall")
        await caller.answered()
        assert (
            len(played_words.split()) <= 4 and caller.reply(2) == f"I said: {played_words}".strip()
        )


async def test_captions_alone_get_no_answer(scripted_server):
    async with Caller(scripted_server, reply=False) as caller:
        await caller.speak(spoken("alpha beta"))
        await caller.call.end_audio()
        await caller.closed()
        assert [event.text for event in caller.of(UserTurn)] == ["alpha beta"] and not caller.of(
            ReplyText
        )


async def test_eight_callers_hear_only_their_own_answers(scripted_server):
    names = ["ann", "bob", "cat", "dan", "eve", "fay", "gus", "hal"]

    async def call(name: str) -> None:
        async with Caller(scripted_server) as caller:
            for turn in (1, 2):
                await caller.speak(spoken(f"my name is {name} {turn}"))
                await caller.answered(turn)
                assert (
                    words_in(caller.audio(turn))
                    == f"you said my name is {name} {turn}. that is 5 words."
                )
            others = set(names) - {name}
            assert not others & set(
                " ".join(getattr(event, "text", "") for event in caller.events)
                .replace(".", "")
                .split()
            )

    await asyncio.gather(*(call(name) for name in names))


@pytest.fixture(scope="module")
def killed_server():
    """One for all who kill one of its processes."""
    running = Server(*SCRIPTED)
    try:
        yield running.wait_ready()
    finally:
        running.stop()


@pytest.mark.parametrize("stage", ["asr", "llm", "tts", "gateway"])
async def test_a_killed_process_comes_back_and_the_others_go_on(killed_server, stage):
    server = killed_server
    first = server.pid(stage)
    others = {name: server.pid(name) for name in ("asr", "llm", "tts", "gateway") if name != stage}
    # a client of both sockets ends its call when one of them dies; on 6006 alone it goes on
    audio = stage != "tts"
    async with Caller(server, audio=audio) as busy, Caller(server, audio=audio) as idle:
        await idle.send("say", text="before")
        await idle.answered()
        await busy.send("say", text="forever")
        await busy.until(lambda: len(busy.of(ReplyAudio if audio else ReplyText)) > 3)
        os.kill(first, signal.SIGKILL)
        await asyncio.to_thread(
            server.wait_for, lambda: server.pid(stage) != first and server.health()[0] == 200
        )
        assert {name: server.pid(name) for name in others} == others
        # it held their calls: both are told by the close of the socket, and call again
        if stage == "asr":
            await busy.closed()
            await idle.closed()
            lines = [
                {"role": "user", "text": "before"},
                {"role": "assistant", "text": idle.reply(1)},
            ]
            async with Caller(server, history=lines) as again:
                await again.send("say", text="recall")
                await again.answered()
                assert again.reply(1) == f"I said: {idle.reply(1)}"
            return
        if stage == "gateway":
            assert not busy.of(Failed)
        else:
            await busy.until(lambda: [e for e in busy.of(Failed) if stage in e.message])
        await idle.send("say", text="after")
        await idle.answered(2)
        assert idle.reply(2) == "You said after. That is 1 word."
        assert stage == "tts" or words_in(idle.audio(2)) == "you said after. that is 1 word."


def test_no_orphan_when_main_itself_is_killed(killed_server):
    """The last of that server's tests."""
    pids = [killed_server.pid(name) for name in ("asr", "llm", "tts", "gateway")]
    killed_server.process.kill()
    killed_server.process.wait()
    eventually(lambda: not any(map(alive, pids)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_leaves_nothing_behind(start_server, number):
    server = start_server(*SCRIPTED)
    pids = [server.pid(name) for name in ("asr", "llm", "tts", "gateway")]
    async with Caller(server) as caller:
        await caller.send("say", text="forever")
        await caller.until(lambda: len(caller.of(ReplyAudio)) > 3)
        assert server.stop(number) == 0
    assert not [pid for pid in pids if alive(pid)], server.log
    assert "killed" not in server.log


@pytest.mark.parametrize(("word", "stage"), [("explode", "llm"), ("unspeakable", "tts")])
async def test_a_failing_engine_ends_only_its_turn(scripted_server, word, stage):
    async with Caller(scripted_server) as caller:
        await caller.send("say", text=word)
        await caller.until(lambda: caller.of(Failed))
        assert (
            caller.of(Failed)[0].code == f"{stage}_failed"
            and "told to fail" in caller.of(Failed)[0].message
        )
        await caller.send("interrupt")
        await caller.send("say", text="still there")
        await caller.until(
            lambda: any("You said still there." in event.text for event in caller.of(ReplyText))
        )


def test_a_busy_port_is_told_before_anything_is_loaded():
    (port,) = free_ports(1)
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        command = [sys.executable, "main.py", f"--asr-port={port}", *SCRIPTED]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (
        run.returncode == 1
        and str(port) in run.stderr
        and "ASR_PORT" in run.stderr
        and "Traceback" not in run.stderr
    )


def test_an_engine_that_cannot_start_stops_the_server_with_its_reason():
    server = Server(*SCRIPTED[:-1], "--tts-engine=nonsense")
    assert server.process.wait(30) == 1
    server.stop()
    assert "nonsense" in server.log and "hibari" in server.log and "Traceback" not in server.log
