"""/ws: the voice assistant's protocol, over the real processes with scripted engines."""

from __future__ import annotations

import asyncio
import io
import json

import httpx
import numpy as np
import pytest
from test_rest import speech_of, wav, words_in
from websockets.asyncio.client import connect

from whisperfusion.client import (
    Closed,
    ConnectionLost,
    Event,
    Failed,
    PlayedText,
    Ready,
    Reconnected,
    ReplyAudio,
    ReplyDone,
    ReplyText,
    ToolUsed,
    UserTurn,
)
from whisperfusion.engines.scripted import read_tones, tone_speech
from whisperfusion.gateway.assistant.connection import Assistant
from whisperfusion.gateway.assistant.query import Query
from whisperfusion.gateway.assistant.reply import ALL_S, SpokenReply, TurnLost, reply_to, send_turn
from whisperfusion.messages import ChatMessage, PlaybackProgress, Sentence
from whisperfusion.settings import Settings
from whisperfusion.turns import events
from whisperfusion.turns.conversation import Conversation
from whisperfusion.wire.openai_rest import ApiError

PATIENCE_S = 40.0


def ws(server, query: str = "") -> str:
    return server.http_url.replace("http", "ws", 1) + "/ws" + query


async def answer(socket) -> tuple[dict, bytes, dict]:
    """metadata, sound, and the last text."""
    metadata, sound = {}, b""
    while True:
        frame = await asyncio.wait_for(socket.recv(), PATIENCE_S)
        if isinstance(frame, bytes):
            sound += frame
            continue
        told = json.loads(frame)
        if told["type"] in ("audio_complete", "error"):
            return metadata, sound, told
        metadata = told if told["type"] == "metadata" else metadata


def raw(pcm: np.ndarray) -> bytes:
    return (pcm * 32767).astype("<i2").tobytes()


@pytest.mark.parametrize("sent", [raw(speech_of("alpha beta")), wav(speech_of("alpha beta"))])
async def test_a_question_in_chunks_and_its_answer(scripted_server, sent):
    async with connect(ws(scripted_server)) as socket:
        for turn in range(2):
            for start in range(0, len(sent), 4000):
                await socket.send(sent[start : start + 4000])
            await socket.send(json.dumps({"type": "end_stream"}))
            metadata, sound, told = await answer(socket)
            assert metadata["audio_info"] == {
                "format": "wav",
                "sample_rate": 24000,
                "channels": 1,
                "sample_width": 2,
            }, turn
            assert metadata["transcript"] == told["transcript"] == "alpha beta"
            assert told["reply"] == "You said alpha beta. That is 2 words." and told["size"] == len(
                sound
            )
            assert words_in(sound) == "you said alpha beta.that is 2 words."


async def test_other_rates_and_bare_samples(scripted_server):
    pcm = np.repeat(raw_48(speech_of("alpha")), 2)  # two channels
    async with connect(
        ws(scripted_server, "?format=raw&sample_rate=48000&channels=2&output=pcm")
    ) as socket:
        await socket.send(pcm.astype("<i2").tobytes())
        await socket.send('{"type": "end_stream"}')
        _, sound, told = await answer(socket)
    assert told["transcript"] == "alpha" and read_tones(
        np.frombuffer(sound, "<i2").astype(np.float32) / 32768, 24_000
    ).startswith("you said alpha")


def raw_48(pcm: np.ndarray) -> np.ndarray:
    at = np.arange(len(pcm) * 3) / 3
    return (np.interp(at, np.arange(len(pcm)), pcm) * 32767).astype(np.int16)


async def test_silence_is_an_error_and_never_a_wait(scripted_server):
    async with connect(ws(scripted_server)) as socket:
        for sent in (raw(np.zeros(16_000, np.float32)), b""):
            await socket.send(sent)
            await socket.send('{"type": "end_stream"}')
            assert (await answer(socket))[2]["code"] == "no_speech"
        await socket.send('{"type": "ping"}')
        assert json.loads(await socket.recv()) == {"type": "pong"}
        await socket.send(raw(speech_of("alpha")))
        await socket.send('{"type": "end_stream"}')
        assert (await answer(socket))[2]["transcript"] == "alpha"


async def test_sound_in_the_middle_of_an_answer_interrupts_it(scripted_server):
    async with connect(ws(scripted_server)) as socket:
        await socket.send(raw(speech_of("forever")))
        await socket.send('{"type": "end_stream"}')
        while not isinstance(await asyncio.wait_for(socket.recv(), PATIENCE_S), bytes):
            continue
        await socket.send(raw(speech_of("alpha")))
        await socket.send('{"type": "end_stream"}')
        assert (await answer(socket))[2] == {"type": "audio_complete", "interrupted": True}
        told = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))
        # nothing of the first answer was heard, so the second question goes on with the first, and
        # so would its answer for ever
        assert (told["type"], told["transcript"]) == ("metadata", "alpha")


@pytest.mark.parametrize(
    "query", ["?format=mp7", "?sample_rate=5", "?channels=99", "?channels=x", "?output=opera"]
)
async def test_an_address_that_cannot_be_read(scripted_server, query):
    async with connect(ws(scripted_server, query)) as socket:
        await socket.send(b"\0\0")
        told = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))
        assert told["type"] == "error" and told["code"] == "invalid_value"


@pytest.mark.parametrize("frame", ["{", "[]", "5", '{"type": 5}', '{"type": "sing"}', "[" * 50_000])
async def test_text_that_means_nothing(scripted_server, frame):
    async with connect(ws(scripted_server)) as socket:
        await socket.send(frame)
        await socket.send('{"type": "ping"}')
        told = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))
        assert (
            told == {"type": "pong"}
            or told["type"] == "error"
            and json.loads(await socket.recv()) == {"type": "pong"}
        )


@pytest.mark.parametrize(
    "file", [b"RIFF" + b"\xff" * 300, b"OggS" + b"\0" * 300, b"ID3" + b"\xff" * 300, b"fLaC\0\0"]
)
async def test_a_broken_file(scripted_server, file):
    async with connect(ws(scripted_server)) as socket:
        await socket.send(file)
        await socket.send('{"type": "end_stream"}')
        told = (await answer(socket))[2]
        assert told["type"] == "error" and "audio file" in told["message"]


async def test_a_whisperlive_client_that_was_given_this_path(scripted_server):
    async with connect(ws(scripted_server)) as socket:
        await socket.send(
            json.dumps(
                {
                    "uid": "chrome",
                    "language": "en",
                    "task": "transcribe",
                    "model": "small",
                    "use_vad": True,
                }
            )
        )
        assert (
            json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))["message"]
            == "SERVER_READY"
        )
        await socket.send(speech_of("alpha beta").tobytes())
        await socket.send("END_OF_AUDIO")
        texts = [json.loads(frame)["segments"][-1]["text"].strip() async for frame in socket]
        assert texts[-1] == "alpha beta"


def test_a_wav_that_is_whole_has_its_sizes():
    import wave

    from whisperfusion.gateway.media import wav_header

    with wave.open(io.BytesIO(wav_header(24_000, 480) + bytes(480))) as file:
        assert (file.getnframes(), file.getframerate()) == (240, 24_000)


# --- which events are the answer's --------------------------------------------------------------


class Told:
    """A call with these events, and what it was sent."""

    def __init__(self, *events: Event, ready: Ready | None = None) -> None:
        self.events = list(events)
        self.ready = ready or Ready(session="s1")
        self.sent: list[object] = []
        self.answer: list[Event] = []  # to the turn
        self.is_open, self.uid = True, "first"

    @property
    def has_events(self) -> bool:
        return bool(self.events)

    async def receive(self) -> Event:
        while not self.events:
            await asyncio.sleep(0.001)
        event = self.events[0] if isinstance(self.events[0], Closed) else self.events.pop(0)
        if isinstance(event, Reconnected):
            self.uid += " again"
        return event

    async def send_audio(self, pcm: bytes) -> None:
        self.sent.append(pcm)

    async def send(self, kind: str, **fields: object) -> None:
        self.sent.append(kind)
        if kind == "commit":
            self.events += self.answer

    async def close(self) -> None:
        self.sent.append("closed")


async def test_the_rest_of_an_interrupted_answer_is_not_in_the_next_one():
    old = [ReplyAudio(1, b"old"), ReplyText(1, 0, "Old.", True), ReplyDone(1)]
    own = [UserTurn(2, "alpha"), ReplyAudio(2, b"a"), ReplyText(2, 0, "You said alpha.", True)]
    call, found = Told(*old, *own, *old, ReplyAudio(2, b"b"), ReplyDone(2)), SpokenReply(after=1)
    audio = b"".join([part async for part in found.audio(call)])
    assert audio == b"ab" and found.transcript == "alpha" and found.text == "You said alpha."


def test_pieces_that_a_later_one_makes_void_are_not_in_the_answer():
    found = SpokenReply()
    for event in (
        UserTurn(1, "hi"),
        ReplyText(1, 0, "Hm,", False),
        ReplyText(1, 1, "Hi!", True, afresh=True),
    ):
        found.receive(event)
    assert found.text == "Hi!"


def test_a_turn_that_fails_before_its_words_are_known_ends_the_answer():
    found = SpokenReply(after=1)
    found.receive(Failed("asr_failed", "the recognizer failed", 1))  # of the one before
    with pytest.raises(ApiError, match="the recognizer failed"):
        found.receive(Failed("asr_failed", "the recognizer failed", 2))


async def test_interact_answers_a_blip_of_a_tenth_of_a_second(scripted_server):
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        blip = wav(tone_speech("ab")[:1566])
        answer = await client.post(
            f"{scripted_server.http_url}/interact", files={"file": ("a.wav", blip)}
        )
    assert answer.status_code in (200, 400)


# --- a call that was cut off --------------------------------------------------------------------

LOST = [ConnectionLost(), Reconnected(resumed=True, messages=1)]
PENDING = Ready(session="s1", resumed=True, pending=True)
SORRY = [ReplyText(1, 0, "Sorry.", True, announced=True), ReplyAudio(1, b"s"), ReplyDone(1)]


def reply(turn: int, pcm: bytes) -> list[Event]:
    return [ReplyText(turn, 0, "You said alpha.", True), ReplyAudio(turn, pcm), ReplyDone(turn)]


async def test_an_answer_that_is_cut_off_goes_on_with_the_one_that_is_given_again():
    begun = [UserTurn(3, "alpha"), ReplyText(3, 0, "You", False), ReplyAudio(3, b"a")]
    call, found = Told(*begun, *LOST, *SORRY, *reply(2, b"b"), ready=PENDING), SpokenReply(after=2)
    assert b"".join([part async for part in found.audio(call)]) == b"asb"
    assert (found.transcript, found.text, found.turn) == ("alpha", "You said alpha.", 2)


async def test_a_turn_that_is_lost_before_its_answer_may_be_sent_again_and_later_it_fails():
    for begun, problem in (([], TurnLost), ([UserTurn(3, "alpha")], ApiError)):
        found = SpokenReply(after=2)
        with pytest.raises(ApiError, match="starting or down") as raised:
            _ = [part async for part in found.audio(Told(*begun, *LOST))]
        assert raised.type is problem and found.turn == 0


async def a_turn():
    yield b"turn"


async def test_a_recording_is_sent_once_again_and_the_answer_has_nothing_that_was_cut_off():
    answered = [UserTurn(1, "alpha"), *reply(1, b"b"), PlayedText(1, "You said alpha.")]
    call = Told(*LOST, *answered)
    assert await reply_to(call, SpokenReply(), a_turn) == b"b"
    assert call.sent == [b"turn", "commit"] * 2 + ["heard", "interrupt"]
    begun = [UserTurn(1, "alpha"), ReplyText(1, 0, "You", False), ReplyAudio(1, b"a")]
    call = Told(*begun, *LOST, *SORRY, *reply(2, b"b"), PlayedText(2, ""), ready=PENDING)
    assert await reply_to(call, SpokenReply(), a_turn) == b"b"
    with pytest.raises(TurnLost):  # what kills a process must not do so for ever
        await reply_to(Told(*LOST, *LOST), SpokenReply(), a_turn)


class Socket:
    """The client of /ws: each frame is sent when the answers before it have come."""

    def __init__(self, *frames: dict) -> None:
        self.client, self._frames, self.got = None, list(frames), []
        self._done = asyncio.Semaphore(0)

    async def receive(self) -> dict:
        frame = self._frames.pop(0) if self._frames else {"type": "websocket.disconnect"}
        if frame.pop("waits", False):
            await asyncio.wait_for(self._done.acquire(), PATIENCE_S)
        return {"type": "websocket.receive", **frame}

    async def send_json(self, told: dict) -> None:
        self.got.append(told)
        if told["type"] in ("audio_complete", "error"):
            self._done.release()

    async def send_bytes(self, pcm: bytes) -> None:
        self.got.append(pcm)


class Calls:
    """The server behind the gateway, with these calls."""

    def __init__(self, *calls: Told) -> None:
        self._calls, self.asked = list(calls), []

    async def open_call(self, options: dict, **others: object) -> Told:
        self.asked.append(options)
        return self._calls.pop(0)


async def talk(
    socket: Socket, *calls: Told, idle_s: float = 120.0, **query: str
) -> tuple[list, list[dict]]:
    behind = Calls(*calls)
    asking = Query({"output": "pcm", "format": "raw", **query})
    assistant = Assistant(socket, behind, None, asking, Settings(), idle_s)
    await assistant.serve(None if "session" in query else await socket.receive())
    kinds = [one if isinstance(one, bytes) else one.get("code", one["type"]) for one in socket.got]
    return kinds, behind.asked


@pytest.mark.parametrize("lost", ["away", "opened again"])
async def test_a_call_that_is_opened_again_does_not_take_the_rest_of_a_turn_for_one(lost):
    call = Told()

    async def pieces():
        yield b"\1\0"
        if lost == "away":
            call.is_open = False
        else:
            call.uid = "second"
        yield b"\2\0"

    await send_turn(call, pieces())
    assert call.sent == [b"\1\0"]


END = {"text": '{"type": "end_stream"}'}
SAMPLES = {"bytes": b"\1\0"}
WAITS = {"text": '{"type": "ping"}', "waits": True}
ANSWERED, SAID = ["metadata", b"b", "audio_complete"], ["metadata", b"t", "audio_complete"]


async def test_samples_of_a_turn_whose_call_was_opened_again_are_sent_again():
    call = Told()

    class Cut(Socket):
        async def receive(self) -> dict:
            if len(self._frames) == 3:  # behind the first samples
                call.events += LOST
                call.uid, call.answer = "second", [UserTurn(1, "alpha"), *reply(1, b"b")]
            return await super().receive()

    kinds, asked = await talk(Cut(SAMPLES, SAMPLES, dict(END), dict(WAITS)), call)
    assert kinds == [*ANSWERED, "pong"] and len(asked) == 1
    again = call.sent[call.sent.index("clear") + 1 :]
    assert b"".join(again[: again.index("commit")]) == b"\1\0\1\0"


async def test_a_call_that_ended_between_two_turns_is_opened_with_its_session():
    first = Told(UserTurn(1, "alpha"), *reply(1, b"b"), Closed("idle"))
    second = Told(UserTurn(1, "beta"), *reply(1, b"b"), ready=Ready(session="s1", resumed=True))
    socket = Socket(SAMPLES, dict(END), {**SAMPLES, "waits": True}, dict(END), dict(WAITS))
    kinds, asked = await talk(socket, first, second)
    assert kinds == [*ANSWERED, *ANSWERED, "pong"]
    assert [one["session"] for one in asked] == ["", "s1"] and first.sent[-1] == "closed"
    assert [line["text"] for line in asked[1]["history"]] == ["alpha", "You said alpha."]


async def test_a_client_that_comes_back_gets_the_answer_that_was_cut_off():
    call = Told(*SORRY, *reply(2, b"b"), ready=PENDING)
    kinds, asked = await talk(Socket(dict(WAITS)), call, session="s1")
    assert kinds == ["metadata", b"s", b"b", "audio_complete", "pong"]
    assert asked[0]["session"] == "s1"
    unknown = Told(ready=Ready(session="s2", resumed=False))
    kinds, _ = await talk(Socket(dict(WAITS)), unknown, session="s1")
    assert kinds == ["session_not_found", "pong"]


def announcement(turn: int, *rest: Event) -> list[Event]:
    return [ReplyText(turn, 0, "Tea!", True, announced=True), ReplyAudio(turn, b"t"), *rest]


def timer(turn: int) -> Event:
    return ToolUsed(turn, "t", "set_timer", "{}", "The timer is set.")


async def test_what_the_server_says_between_two_turns_is_sent_when_it_comes():
    call = Told()
    call.answer = [UserTurn(1, "alpha"), timer(1), *reply(1, b"b")]
    call.answer += [ReplyText(1, 1, "Late.", True), *announcement(2, ReplyDone(2))]
    twice = [dict(WAITS), dict(WAITS)]
    socket = Socket(SAMPLES, dict(END), *twice)
    kinds, _ = await talk(socket, call)
    assert [one for one in kinds if one != "pong"] == [*ANSWERED, *SAID]
    (said,) = [one for one in socket.got if isinstance(one, dict) and one.get("size") == 1][1:]
    assert (said["reply"], said["transcript"]) == ("Tea!", "")
    assert call.sent[-5:] == ["heard", "interrupt", "heard", "interrupt", "closed"]


@pytest.mark.parametrize("sets_timer", [True, False])
async def test_a_call_that_has_a_timer_is_not_closed_when_its_client_is_silent(sets_timer):
    call = Told()
    call.answer = [UserTurn(1, "alpha"), *([timer(1)] if sets_timer else []), *reply(1, b"b")]

    class Silent(Socket):
        async def receive(self) -> dict:
            if len(self._frames) == 1:
                while "audio_complete" not in str(self.got):
                    await asyncio.sleep(0.001)
                await asyncio.sleep(0.2)
                self.closed = "closed" in call.sent
            return await super().receive()

    socket = Silent(SAMPLES, dict(END), dict(WAITS))
    await talk(socket, call, idle_s=0.02)
    assert socket.closed is not sets_timer


async def test_a_turn_that_is_abandoned_or_empty_does_not_silence_a_timer():
    call = Told()
    call.answer = [UserTurn(1, "alpha"), timer(1), *reply(1, b"b")]

    class Silent(Socket):
        async def receive(self) -> dict:
            if "timeout" in str(self.got) and "no_speech" in str(self.got) and not call.events:
                call.events += announcement(2, ReplyDone(2))
            return await super().receive()

    waits = {**SAMPLES, "waits": True}
    frames = SAMPLES, dict(END), waits, {**END, "waits": True}, dict(WAITS), dict(WAITS)
    kinds, asked = await talk(Silent(*frames), call, idle_s=0.02)
    assert [one for one in kinds if one != "pong"] == [*ANSWERED, "timeout", "no_speech", *SAID]
    assert len(asked) == 1


async def test_an_announcement_that_a_death_cuts_off_is_said_again():
    call = Told(ready=Ready(session="s1", resumed=True))
    call.events = [*announcement(1, *LOST), *announcement(1, ReplyDone(1))]
    kinds, _ = await talk(Socket(dict(WAITS), dict(WAITS)), call, session="s1")
    assert [one for one in kinds if one != "pong"] == [*SAID, *SAID]


async def test_sound_in_the_middle_of_an_announcement_interrupts_it_and_is_a_turn():
    call = Told(ready=Ready(session="s1", resumed=True))
    call.events, call.answer = announcement(1), [UserTurn(2, "alpha"), *reply(2, b"b")]

    class Speaks(Socket):
        async def receive(self) -> dict:
            while b"t" not in self.got:
                await asyncio.sleep(0.001)
            return await super().receive()

    frames = (SAMPLES, dict(END), dict(WAITS), dict(WAITS))
    kinds, _ = await talk(Speaks(*frames), call, session="s1")
    assert [one for one in kinds if one != "pong"] == [*SAID, *ANSWERED]
    assert call.sent[:2] == ["interrupt", "clear"]


def test_the_memory_of_a_call_has_all_of_an_answer_that_counts_as_played():
    """In a voice that is faster than the pace which is assumed for what the server has not played:
    with the exact position, the end of the answer would be missing.
    """
    said = ["It opened in the year 1889.", "It was built for a world fair.", "Many people visit."]

    def remembered(seconds: float) -> tuple[ChatMessage, ...]:
        call = Conversation("c")
        call.receive(events.TextTyped("When did it open?"), 0.0)
        ticket = call.reply_ticket
        assert ticket is not None
        for index, text in enumerate(said):
            call.receive(Sentence(ticket, index, text, last=index == 2), 1.0)
        call.receive(PlaybackProgress(ticket, 0, 0.0, 1.2), 1.0)
        call.receive(events.PlaybackPosition(1, seconds), 1.1)
        call.receive(events.InterruptReply(), 1.1)
        return call.history[1:]

    assert remembered(ALL_S) == (ChatMessage("assistant", " ".join(said)),)
    assert remembered(3.2) != remembered(ALL_S)
