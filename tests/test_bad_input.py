"""What strangers send: each gets a clear answer in the protocol's own form, and no other client
notices.
"""

from __future__ import annotations

import asyncio
import json
import uuid

import numpy as np
import pytest
from client import PATIENCE_S, Caller, spoken
from running import SCRIPTED
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from whisperfusion.client import Closed, Failed, ReplyDone, SpeechStarted, UserTurn
from whisperfusion.engines.scripted import tone_speech


async def frames_until_close(socket) -> tuple[list[dict], int]:
    found = []
    try:
        while True:
            found.append(json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S)))
    except ConnectionClosed:
        return found, socket.close_code


@pytest.fixture
async def bystander(scripted_server):
    """A conversation that goes on while another client misbehaves."""
    async with Caller(scripted_server) as caller:
        yield caller
        await caller.speak(spoken("still here"))
        await caller.until(lambda: any(event.text == "still here" for event in caller.of(UserTurn)))
        assert not caller.of(Failed) and not caller.of(Closed)


@pytest.mark.parametrize(
    ("first", "says"),
    [
        ("this is not JSON", "JSON"),
        ("[]", "object"),
        ("{}", "uid"),
        ('{"uid": 7}', "uid"),
        ('{"uid": "x", "events": true, "task": "sing"}', "translate"),
        ('{"uid": "x", "model": "nonsense-huge"}', "nonsense-huge"),
        ('{"uid": "x", "events": true, "voice": "donald"}', "soft"),
        (b"\x00\x01", "text frame"),
    ],
)
async def test_a_bad_handshake_is_refused_with_its_reason(scripted_server, bystander, first, says):
    async with connect(scripted_server.asr_url) as socket:
        await socket.send(first)
        told, code = await frames_until_close(socket)
    assert (
        len(told) == 1
        and told[0]["status"] == "ERROR"
        and says in told[0]["message"]
        and code == 1008
    )


@pytest.mark.parametrize(
    "frame",
    [
        "{",
        "[1]",
        '{"type": 5}',
        '{"type": "say"}',
        '{"type": "say", "text": ""}',
        '{"type": "update", "voice": "donald"}',
        '{"type": "commit"}',
        '{"type": "heard", "turn": "x"}',
    ],
)
async def test_a_bad_control_frame_is_refused_and_the_call_goes_on(
    scripted_server, bystander, frame
):
    async with Caller(scripted_server) as caller:
        await caller.asr_socket.send(frame)
        await caller.until(lambda: caller.of(Failed))
        assert caller.of(Failed)[0].code and caller.of(Failed)[0].message
        await caller.send("unknown", with_="fields")  # ignored
        await caller.send("say", text="go on")
        await caller.answered()


async def test_text_that_nobody_asked_for_is_answered_in_the_clients_own_dialect(
    scripted_server, bystander
):
    async with connect(scripted_server.asr_url) as socket:
        await socket.send(
            json.dumps({"uid": "stock", "language": "en", "task": "transcribe", "model": "small"})
        )
        await socket.recv()
        await socket.send("hello?")
        assert json.loads(await socket.recv())["status"] == "WARNING"
        await socket.send(spoken("alpha").tobytes())
        await socket.send("END_OF_AUDIO")
        told, code = await frames_until_close(socket)
    assert told[-1]["segments"][-1]["text"].strip() == "alpha" and code == 1000


async def test_odd_sizes_and_numbers_that_are_none(scripted_server, bystander):
    pcm = spoken("alpha beta")
    pcm[:100] = np.nan
    pcm[100:200] = np.inf
    data = pcm.tobytes()
    async with Caller(scripted_server) as caller:
        for at in range(0, len(data), 1237):
            await caller.asr_socket.send(data[at : at + 1237])
        await caller.until(lambda: caller.of(UserTurn))
        assert caller.of(UserTurn)[0].text == "alpha beta"


async def test_a_gigantic_frame_ends_its_connection_only(scripted_server, bystander):
    socket = await connect(scripted_server.asr_url)
    await socket.send(json.dumps({"uid": uuid.uuid4().hex}))
    sending = asyncio.create_task(socket.send(b"\0" * (17 * 1024 * 1024)))
    told, code = await frames_until_close(socket)
    # "message too big"
    assert [frame.get("message") for frame in told] == ["SERVER_READY"] and code == 1009
    await asyncio.gather(sending, return_exceptions=True)


async def test_an_hour_of_silence_is_no_turn(scripted_server, bystander):
    async with Caller(scripted_server, audio_format="uint8") as caller:
        for _ in range(60):
            await caller.asr_socket.send(b"\x80" * (60 * 16000))
        await caller.asr_socket.send(
            (tone_speech("after the hour") * 127 + 128).astype(np.uint8).tobytes() + b"\x80" * 32000
        )
        await caller.until(lambda: caller.of(UserTurn))
        assert [event.text for event in caller.of(UserTurn)] == ["after the hour"]
        assert caller.of(SpeechStarted)[0].at == pytest.approx(3600, abs=0.5)


async def test_a_client_that_does_not_read_waits_for_itself(scripted_server):
    async with (
        Caller(scripted_server) as other,
        connect(scripted_server.tts_url, max_queue=1) as deaf,
    ):
        text = "a long story without an end " * 140
        for id in range(30):  # some 20 minutes of audio that no client reads
            await deaf.send(json.dumps({"type": "say", "id": id, "text": text}))
        await other.send("say", text="are you there")
        await other.answered()
        told: list[dict] = []
        # now it reads: what was held back goes on
        while not any(one["type"] == "said" for one in told):
            frame = await asyncio.wait_for(deaf.recv(), PATIENCE_S)
            told += [json.loads(frame)] if isinstance(frame, str) else []
        busy = [one["id"] for one in told if one["type"] == "error"]
        assert (
            busy
            and all(one["code"] == "busy" for one in told if one["type"] == "error")
            and min(busy) > 10
        )
        assert told[-1]["id"] == 0 and told[-1]["seconds"] > 30
        deaf.transport.abort()


async def test_one_that_vanishes_in_the_middle_of_a_word_is_forgotten(scripted_server, bystander):
    gone = Caller(scripted_server)
    async with gone:
        await gone.speak(spoken("alpha beta")[:9000])
        gone.asr_socket.transport.abort()
        gone.tts_socket.transport.abort()

    async def again() -> bool:
        async with Caller(scripted_server, uid=gone.uid) as caller:
            await caller.send("say", text="back")
            await caller.until(lambda: caller.of(ReplyDone) or caller.of(Closed))
            return bool(caller.of(ReplyDone))

    async def free() -> None:
        while not await again():  # 8888 has not noticed yet that the listener is gone
            pass

    await asyncio.wait_for(free(), PATIENCE_S)


async def test_one_that_hangs_up_before_the_answer_is_over_frees_its_line(start_server):
    # a word: it thinks for a minute
    server = start_server(
        *SCRIPTED, "--max-callers=1", "--log-level=debug", "--llm-option=delay_s=4"
    )
    for _ in range(2):
        async with Caller(server) as caller:  # raises when the line is still busy
            # so much at once that what follows the question waits for the answer
            quiet = np.zeros(4 * 16000, np.float32)
            await caller.speak(np.concatenate((quiet, spoken("alpha beta gamma delta"), quiet)))
            await caller.until(lambda: caller.of(UserTurn))
        await asyncio.to_thread(
            server.wait_for,
            lambda: "left" in server.log.splitlines()[-1],
            60.0,
            "to let the caller go",
        )


async def test_one_name_is_one_caller(scripted_server, bystander):
    async with connect(scripted_server.asr_url) as socket:
        await socket.send(json.dumps({"uid": bystander.uid}))
        told, code = await frames_until_close(socket)
        assert told[0]["status"] == "ERROR" and "in use" in told[0]["message"] and code == 1008
    async with connect(f"{scripted_server.tts_url}/?uid={bystander.uid}") as socket:
        told, code = await frames_until_close(socket)
        assert told[0]["type"] == "error" and "listener" in told[0]["message"] and code == 1008


async def test_the_time_limit_disconnects_with_1000(start_server):
    server = start_server(*SCRIPTED, "--max-call-s=1")
    async with connect(server.asr_url) as socket:
        await socket.send(json.dumps({"uid": "u"}))
        told, code = await frames_until_close(socket)
    assert told[0]["message"] == "SERVER_READY" and code == 1000
    assert told[1:] == [{"uid": "u", "message": "DISCONNECT"}]


async def test_a_page_of_another_site_may_not_listen(scripted_server):
    for url in (scripted_server.asr_url, scripted_server.tts_url):
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, origin="https://evil.example")
        assert refused.value.response.status_code == 403


async def test_text_can_be_said_on_8888(scripted_server):
    from whisperfusion.engines.scripted import read_tones

    async with connect(scripted_server.tts_url) as socket:
        await socket.send(
            json.dumps({"type": "say", "id": "a", "text": "hello there. how are you?"})
        )
        await socket.send(json.dumps({"type": "say", "id": "b", "text": "second"}))
        await socket.send(json.dumps({"type": "say", "id": "c", "text": "x", "voice": "donald"}))
        audio, answers = {}, []
        current = b""
        while len(answers) < 3:
            frame = await asyncio.wait_for(socket.recv(), PATIENCE_S)
            if isinstance(frame, bytes):
                current += frame
                continue
            answers.append(json.loads(frame))
            if answers[-1]["type"] == "said":
                audio[answers[-1]["id"]] = np.frombuffer(current, np.float32)
                assert answers[-1]["seconds"] == pytest.approx(
                    len(audio[answers[-1]["id"]]) / 24000, abs=0.01
                )
                current = b""
    assert {answer["id"]: answer["type"] for answer in answers} == {
        "a": "said",
        "b": "said",
        "c": "error",
    }
    assert (
        "hello there" in read_tones(audio["a"], 24_000)
        and read_tones(audio["b"], 24_000) == "second"
    )


async def test_the_whisperfusion_page_gets_one_message_per_reply(scripted_server):
    """A page names no caller on 8888, opens that socket first, and breaks on text and on frames
    that follow too soon.
    """
    from whisperfusion.engines.scripted import read_tones

    async with connect(scripted_server.tts_url) as ears, connect(scripted_server.asr_url) as mouth:
        await mouth.send(
            json.dumps(
                {
                    "uid": uuid.uuid4().hex,
                    "multilingual": False,
                    "language": "en",
                    "task": "transcribe",
                }
            )
        )
        assert json.loads(await mouth.recv())["message"] == "SERVER_READY"
        pcm = spoken("alpha beta", pause_s=3.0)
        for at in range(0, len(pcm), 4096):
            await mouth.send(pcm[at : at + 4096].tobytes())
        told = []
        while not any("llm_output" in frame for frame in told):
            told.append(json.loads(await asyncio.wait_for(mouth.recv(), PATIENCE_S)))
        assert (
            told[-1]["llm_output"] == ["You said alpha beta. That is 2 words."]
            and told[-1]["eos"] is True
        )
        segments = [frame for frame in told if "segments" in frame]
        assert (
            all(len(frame["segments"]) == 1 for frame in segments)
            and [frame["eos"] for frame in segments][-1] is True
        )
        frame = await asyncio.wait_for(ears.recv(), PATIENCE_S)
        assert isinstance(frame, bytes) and len(frame) % 4 == 0
        assert "alpha beta" in read_tones(np.frombuffer(frame, np.float32), 24_000)
