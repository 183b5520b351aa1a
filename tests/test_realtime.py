"""OpenAI Realtime over the real processes with scripted engines: the order of events, both
dialects, and what strangers send.
"""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import AsyncExitStack
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from whisperfusion.engines.scripted import read_tones, tone_speech
from whisperfusion.gateway.sound import companded, expanded
from whisperfusion.wire.realtime import ALAW, ULAW

PATIENCE_S = 40.0
FRAME = 2400  # samples: 0.1 s
UPPER = 24_000


def spoken(text: str, pause_s: float = 1.5) -> np.ndarray:
    """float32 [samples] at 24 kHz."""
    return np.concatenate(
        (
            np.zeros(7200, np.float32),
            tone_speech(text, UPPER),
            np.zeros(int(pause_s * UPPER), np.float32),
        )
    )


class Client:
    """A session, and all that it was told."""

    def __init__(self, server, path: str = "/v1/realtime?model=gpt-realtime", **connecting) -> None:
        self.url = server.http_url.replace("http", "ws", 1) + path
        self._connecting = connecting
        self.events: list[dict[str, Any]] = []
        self.closed = False
        self._news = asyncio.Condition()

    async def __aenter__(self) -> Client:
        self.socket = await connect(self.url, **self._connecting)
        self._task = asyncio.create_task(self._read())
        await self.until("session.created")
        return self

    async def __aexit__(self, *_) -> None:
        self._task.cancel()
        await self.socket.close()

    async def _read(self) -> None:
        try:
            async for frame in self.socket:
                async with self._news:
                    self.events.append(json.loads(frame))
                    self._news.notify_all()
        except ConnectionClosed:
            pass
        async with self._news:
            self.closed = True
            self._news.notify_all()

    async def send(self, type: str, **fields) -> None:
        await self.socket.send(json.dumps({"type": type, **fields}))

    async def until(self, kind: str, count: int = 1) -> dict[str, Any]:
        async with self._news:
            await asyncio.wait_for(
                self._news.wait_for(lambda: self.closed or len(self.of(kind)) >= count), PATIENCE_S
            )
        assert len(self.of(kind)) >= count, (
            f"{kind} did not come before the end; came: {self.kinds()}"
        )
        return self.of(kind)[count - 1]

    async def until_sounded(self, seconds: float) -> None:
        """So much of the answers' audio came."""
        async with self._news:
            await asyncio.wait_for(
                self._news.wait_for(lambda: self.closed or len(self.sound()) >= seconds * UPPER),
                PATIENCE_S,
            )

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

    def kinds(self) -> list[str]:
        """In order, repeated deltas once."""
        found: list[str] = []
        for event in self.events:
            if not found or found[-1] != event["type"]:
                found.append(event["type"])
        return found

    async def update(self, **session) -> None:
        count = len(self.of("session.updated"))
        await self.send("session.update", session={"type": "realtime", **session})
        await self.until("session.updated", count + 1)

    async def speak(self, pcm: np.ndarray, pace: float = 1.0) -> None:
        """As a microphone would."""
        for start in range(0, len(pcm), FRAME):
            frame = (pcm[start : start + FRAME] * 32767).astype("<i2").tobytes()
            await self.send("input_audio_buffer.append", audio=base64.b64encode(frame).decode())
            await asyncio.sleep(pace * FRAME / UPPER)

    def sound(self) -> np.ndarray:
        data = b"".join(
            base64.b64decode(event["delta"]) for event in self.of("response.output_audio.delta")
        )
        return np.frombuffer(data, "<i2").astype(np.float32) / 32768


# --- a conversation -----------------------------------------------------------------------------


async def test_a_spoken_turn_comes_in_upstreams_order(scripted_server):
    async with Client(scripted_server) as client:
        await client.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
        await client.speak(spoken("alpha beta"))
        done = await client.until("response.done")
        await client.until("conversation.item.input_audio_transcription.completed")
    spine = [
        "session.created",
        "session.updated",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    seen = [
        kind
        for kind in client.kinds()
        if not kind.endswith(".delta") and "transcription" not in kind
    ]
    assert [kind for at, kind in enumerate(seen) if not at or seen[at - 1] != kind] == spine
    item = client.of("input_audio_buffer.committed")[0]["item_id"]
    assert {
        client.of(kind)[0]["item_id"]
        for kind in ("input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped")
    } == {item}
    assert (
        client.of("conversation.item.input_audio_transcription.completed")[0]["transcript"]
        == "alpha beta"
    )
    assert (
        done["response"]["status"] == "completed" and done["response"]["usage"]["total_tokens"] > 0
    )
    assert (
        done["response"]["output"][0]["content"][0]["transcript"]
        == "You said alpha beta. That is 2 words."
    )
    assert read_tones(client.sound(), UPPER) == "you said alpha beta.that is 2 words."
    assert len({event["event_id"] for event in client.events}) == len(client.events)


async def test_the_client_decides_when_there_is_no_turn_detection(scripted_server):
    async with Client(scripted_server) as client:
        await client.update(
            audio={"input": {"turn_detection": None, "transcription": {"model": "x"}}}
        )
        await client.speak(spoken("alpha", 0.2), pace=0.1)
        await client.send("input_audio_buffer.commit")
        await client.send("response.create")
        done = await client.until("response.done")
        assert (
            done["response"]["output"][0]["content"][0]["transcript"]
            == "You said alpha. That is 1 word."
        )
        assert (
            client.of("conversation.item.input_audio_transcription.completed")[0]["transcript"]
            == "alpha"
        )
        assert not client.of("input_audio_buffer.speech_started")
        await client.speak(spoken("beta", 0.2), pace=0.1)
        await client.send("input_audio_buffer.clear")
        await client.until("input_audio_buffer.cleared")
        await client.send("input_audio_buffer.commit")
        assert (await client.until("error"))["error"]["code"] == "input_audio_buffer_commit_empty"


async def test_typed_items_text_answers_and_a_changed_history(scripted_server):
    async with Client(scripted_server) as client:
        await client.update(output_modalities=["text"])
        await client.send(
            "conversation.item.create",
            item={
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "alpha beta"}],
            },
        )
        await client.until("conversation.item.done")
        await client.send("response.create", response={"metadata": {"topic": "one"}})
        done = await client.until("response.done")
        assert done["response"]["output"][0]["content"] == [
            {"type": "output_text", "text": "You said alpha beta. That is 2 words."}
        ]
        assert done["response"]["metadata"] == {"topic": "one"} and not client.of(
            "response.output_audio.delta"
        )
        answer = done["response"]["output"][0]["id"]
        await client.send("conversation.item.delete", item_id=answer)
        await client.send(
            "conversation.item.create",
            previous_item_id="root",
            item={
                "id": "mine",
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "Put in front."}],
            },
        )
        await client.send(
            "conversation.item.create",
            item={
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "recall"}],
            },
        )
        await client.send("response.create")
        done = await client.until("response.done", 2)
        assert done["response"]["output"][0]["content"][0]["text"] == "I said: Put in front."
        await client.send("conversation.item.retrieve", item_id="mine")
        assert (await client.until("conversation.item.retrieved"))["item"]["content"][0][
            "text"
        ] == "Put in front."


async def test_a_conversation_goes_on_in_another_connection(scripted_server):
    """Which has put in an item of its own before the earlier ones came."""
    async with Client(scripted_server) as client:
        await client.update(output_modalities=["text"])
        await typed(client, "alpha beta")
        conversation = (await client.until("response.done"))["response"]["conversation_id"]
    path = f"/v1/realtime?model=gpt-realtime&conversation={conversation}"
    async with Client(scripted_server, path) as client:
        await client.update(output_modalities=["text"])
        await typed(client, "recall")
        done = (await client.until("response.done"))["response"]
        said = done["output"][0]["content"][0]["text"]
        assert said == "I said: You said alpha beta. That is 2 words."
        assert done["conversation_id"] == conversation
        texts = [one["item"]["content"][0]["text"] for one in client.of("conversation.item.done")]
        assert texts == ["alpha beta", "You said alpha beta. That is 2 words.", "recall", said]


async def test_a_conversation_that_is_not_known_starts_anew(scripted_server):
    path = "/v1/realtime?model=gpt-realtime&conversation=conv_123"
    async with Client(scripted_server, path) as client:
        told = (await client.until("error"))["error"]
        assert told["code"] == "conversation_not_found" and "conv_123" in told["message"]
        await client.update(output_modalities=["text"])
        await typed(client, "alpha")
        done = (await client.until("response.done"))["response"]
        assert done["conversation_id"] != "conv_123"


async def typed(client: Client, text: str) -> None:
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    await client.send("conversation.item.create", item=item)
    await client.send("response.create")


async def test_a_function_is_called_and_its_result_is_told(scripted_server):
    tool = {
        "type": "function",
        "name": "look_up",
        "description": "finds things",
        "parameters": {"type": "object", "properties": {"text": {"type": "string"}}},
    }
    async with Client(scripted_server) as client:
        await client.update(tools=[tool])
        await client.speak(spoken("use it"))
        call = (await client.until("response.done"))["response"]["output"][0]
        assert (call["type"], call["name"], json.loads(call["arguments"])) == (
            "function_call",
            "look_up",
            {"text": "use it"},
        )
        added = [event["item"] for event in client.of("response.output_item.added")]
        assert added[0]["status"] == "in_progress" and added[0]["call_id"] == call["call_id"]
        await client.send(
            "conversation.item.create",
            item={
                "type": "function_call_output",
                "call_id": call["call_id"],
                "output": "forty two",
            },
        )
        await client.send("response.create")
        done = await client.until("response.done", 2)
        assert (
            done["response"]["output"][0]["content"][0]["transcript"] == "The result is forty two."
        )


async def test_an_interruption_keeps_the_words_that_were_heard(scripted_server):
    async with Client(scripted_server) as client:
        await client.speak(spoken("one two three four five six seven eight"))
        await client.until_sounded(1.5)
        answer = client.of("response.output_item.added")[0]["item"]["id"]
        await client.speak(spoken("stop now please", 0.1))
        await client.until("input_audio_buffer.speech_started", 2)
        done = await client.until("response.done")
        assert (
            done["response"]["status"] == "cancelled"
            and done["response"]["status_details"]["reason"] == "turn_detected"
        )
        order = [event["type"] for event in client.events]
        second = [
            at for at, kind in enumerate(order) if kind == "input_audio_buffer.speech_started"
        ][1]
        assert second < order.index("response.output_audio.done")
        await client.send(
            "conversation.item.truncate", item_id=answer, content_index=0, audio_end_ms=700
        )
        assert (await client.until("conversation.item.truncated"))["audio_end_ms"] == 700
        await client.speak(np.zeros(2 * UPPER, np.float32))
        await client.until("response.done", 2)
        await client.send("conversation.item.retrieve", item_id=answer)
        remembered = (await client.until("conversation.item.retrieved"))["item"]["content"][0][
            "transcript"
        ]
        assert (
            remembered
            and "You said one two three four".startswith(remembered)
            and len(remembered) < 20
        )


async def test_what_is_not_interruptible_is_heard_to_its_end(scripted_server):
    async with Client(scripted_server) as client:
        await client.update(
            audio={
                "input": {
                    "turn_detection": {
                        "type": "server_vad",
                        "interrupt_response": False,
                        "silence_duration_ms": 400,
                    }
                }
            }
        )
        await client.speak(spoken("one two three four", 0.9))
        await client.until("response.output_audio.delta", 5)
        await client.speak(spoken("and this", 3.0))
        first, second = await client.until("response.done"), await client.until("response.done", 2)
        assert first["response"]["status"] == "completed"
        assert (
            second["response"]["output"][0]["content"][0]["transcript"]
            == "You said and this. That is 2 words."
        )


async def test_a_response_is_cancelled_by_the_client_and_only_one_is_active(scripted_server):
    async with Client(scripted_server) as client:
        await client.speak(spoken("forever"))
        await client.until("response.output_audio.delta", 3)
        await client.send("response.create", event_id="mine")
        refused = await client.until("error")
        assert (
            refused["error"]["code"] == "conversation_already_has_active_response"
            and refused["error"]["event_id"] == "mine"
        )
        await client.send("response.cancel")
        done = await client.until("response.done")
        assert done["response"]["status_details"] == {
            "type": "cancelled",
            "reason": "client_cancelled",
        }
        await client.send("response.cancel")
        assert (await client.until("error", 2))["error"]["code"] == "response_cancel_not_active"


async def test_every_response_has_an_end(scripted_server):
    """One that the call refuses, and one whose words are still on their way when it is asked for
    and given up.
    """
    async with Client(scripted_server) as client:
        await client.send("response.create", response={"instructions": "x" * 9000})
        done = await client.until("response.done")
        assert (
            done["response"]["status"] == "failed"
            and "8000" in done["response"]["status_details"]["error"]["message"]
        )
        await client.update(audio={"input": {"turn_detection": None}})
        await client.speak(spoken("alpha beta", 0.3), pace=0.3)
        await client.send("input_audio_buffer.commit")
        await client.send("response.create")
        await client.send("response.cancel")
        assert (await client.until("response.done", 2))["response"]["status"] == "cancelled"
        item = {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "gamma"}],
        }
        await client.send("conversation.item.create", item=item)
        await client.send("response.create", response={"output_modalities": ["text"]})
        done = await client.until("response.done", 3)
        assert (
            done["response"]["status"] == "completed"
            and "gamma" in done["response"]["output"][0]["content"][0]["text"]
        )


async def test_a_response_has_its_greatest_length(scripted_server):
    async with Client(scripted_server) as client:
        await client.update(output_modalities=["text"], max_output_tokens=4)
        item = {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "one two three"}],
        }
        await client.send("conversation.item.create", item=item)
        for count, asked, text, status in (
            (1, {}, "You said one two", "incomplete"),
            (
                2,
                {"max_output_tokens": "inf"},
                "You said one two three. That is 3 words.",
                "completed",
            ),
            (
                3,
                {"conversation": "none", "max_output_tokens": 2, "input": [item]},
                "You said",
                "incomplete",
            ),
        ):
            await client.send("response.create", response=asked)
            done = (await client.until("response.done", count))["response"]
            assert done["output"][0]["content"][0]["text"] == text and done["status"] == status
            assert (done["status_details"] or {}).get("reason") == (
                None if status == "completed" else "max_output_tokens"
            )
        await client.send("response.create", response={"max_output_tokens": 0})
        assert "max_output_tokens" in (await client.until("error"))["error"]["message"]


async def test_a_response_beside_the_conversation(scripted_server):
    async with Client(scripted_server) as client:
        item = {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "gamma"}],
        }
        await client.send(
            "response.create",
            response={"conversation": "none", "output_modalities": ["text"], "input": [item]},
        )
        done = await client.until("response.done")
        assert (
            done["response"]["conversation_id"] is None
            and done["response"]["output"][0]["content"][0]["text"]
            == "You said gamma. That is 1 word."
        )
        assert not client.of("conversation.item.added")


async def test_a_failed_answer_is_told_and_the_session_goes_on(scripted_server):
    async with Client(scripted_server) as client:
        await client.update(output_modalities=["text"])
        for text, status in (("explode", "failed"), ("alpha", "completed")):
            await client.send(
                "conversation.item.create",
                item={
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_text", "text": text}],
                },
            )
            await client.send("response.create")
            done = await client.until("response.done", 1 if text == "explode" else 2)
            assert done["response"]["status"] == status, done
            await client.send(
                "conversation.item.delete",
                item_id=client.of("conversation.item.added")[0]["item"]["id"],
            )
    assert client.of("response.done")[0]["response"]["status_details"]["error"]["message"]


async def test_a_transcription_session_only_listens(scripted_server):
    async with Client(scripted_server, "/v1/realtime?intent=transcription") as client:
        await client.send(
            "session.update",
            session={
                "type": "transcription",
                "audio": {
                    "input": {
                        "transcription": {"model": "whisper-1", "language": "en"},
                        "turn_detection": {"type": "server_vad", "silence_duration_ms": 300},
                    }
                },
            },
        )
        await client.speak(spoken("alpha beta", 1.0))
        await client.until("conversation.item.input_audio_transcription.completed")
        assert (
            client.of("conversation.item.input_audio_transcription.completed")[0]["transcript"]
            == "alpha beta"
        )
        await client.send("response.create")
        await client.until("error")
    assert (
        not client.of("response.created")
        and client.of("session.updated")[0]["session"]["type"] == "transcription"
    )


async def heard_from(client: Client, **detection: float) -> int | None:
    """Where speech begins for a session with this `server_vad`; None: none is found."""
    given = {"type": "server_vad", "silence_duration_ms": 300, **detection}
    await client.update(audio={"input": {"turn_detection": given}})
    before = len(client.of("input_audio_buffer.speech_started"))
    await client.speak(np.concatenate((np.zeros(24_000, np.float32), spoken("alpha", 1.0))))
    await client.send("input_audio_buffer.clear")
    await client.until("input_audio_buffer.cleared")
    found = client.of("input_audio_buffer.speech_started")[before:]
    return found[0]["audio_start_ms"] if found else None


async def test_server_vad_takes_its_threshold_and_its_padding(scripted_server):
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(scripted_server)) for _ in range(3)]
        padded, bare, unsure = await asyncio.gather(
            heard_from(clients[0], prefix_padding_ms=500),
            heard_from(clients[1], prefix_padding_ms=0),
            heard_from(clients[2], threshold=1.0),  # the scripted detector is never that sure
        )
    assert bare - padded == 500 and unsure is None


@pytest.mark.parametrize("kind", [ULAW, ALAW])
async def test_telephone_sound_both_ways(scripted_server, kind):
    async with Client(scripted_server) as client:
        await client.update(
            audio={"input": {"format": {"type": kind}}, "output": {"format": {"type": kind}}}
        )
        pcm = np.concatenate(
            (
                np.zeros(2400, np.float32),
                tone_speech("alpha beta", 8000),
                np.zeros(12_000, np.float32),
            )
        )
        data = companded((pcm * 32767).astype("<i2").tobytes(), kind)
        for start in range(0, len(data), 800):
            await client.send(
                "input_audio_buffer.append",
                audio=base64.b64encode(data[start : start + 800]).decode(),
            )
            await asyncio.sleep(0.1)
        done = await client.until("response.done")
        answer = b"".join(
            base64.b64decode(event["delta"]) for event in client.of("response.output_audio.delta")
        )
    assert (
        done["response"]["output"][0]["content"][0]["transcript"]
        == "You said alpha beta. That is 2 words."
    )
    spoken_back = np.frombuffer(expanded(answer, kind), "<i2").astype(np.float32) / 32768
    assert read_tones(spoken_back, 8000) == "you said alpha beta.that is 2 words."


async def test_the_older_dialect(scripted_server):
    async with Client(scripted_server, additional_headers={"OpenAI-Beta": "realtime=v1"}) as client:
        assert client.of("session.created")[0]["session"]["input_audio_format"] == "pcm16"
        await client.send(
            "session.update",
            session={
                "modalities": ["text", "audio"],
                "turn_detection": {"type": "server_vad"},
                "voice": "soft",
            },
        )
        updated = (await client.until("session.updated"))["session"]
        assert (
            updated["voice"] == "soft"
            and updated["turn_detection"]["type"] == "server_vad"
            and "type" not in updated
        )
        await client.speak(spoken("alpha"))
        done = await client.until("response.done")
    assert done["response"]["output"][0]["content"][0] == {
        "type": "audio",
        "transcript": "You said alpha. That is 1 word.",
    }
    assert (
        client.of("response.audio.delta")
        and client.of("conversation.item.created")
        and not client.of("conversation.item.added")
    )


async def test_a_browser_comes_with_a_short_lived_key(keyed_server):
    server = keyed_server
    async with httpx.AsyncClient(
        base_url=server.http_url,
        headers={"Authorization": "Bearer sesame-one"},
        timeout=PATIENCE_S,
    ) as http:
        made = (
            await http.post(
                "/v1/realtime/client_secrets",
                json={"session": {"type": "realtime", "instructions": "Be brief."}},
            )
        ).json()
        old = (
            await http.post("/v1/realtime/sessions", json={"model": "x", "voice": "soft"})
        ).json()
        assert old["client_secret"]["value"].startswith("ek_") and old["voice"] == "soft"
        for bad in (
            {"expires_after": {"seconds": 1}},
            {"session": {"type": "opera"}},
            {"session": []},
            {"session": {"type": "realtime", "tools": 5}},
        ):
            assert (await http.post("/v1/realtime/client_secrets", json=bad)).status_code == 400
        # for one door only
        assert (
            await http.get("/v1/models", headers={"Authorization": f"Bearer {made['value']}"})
        ).status_code == 401
    async with Client(
        server, subprotocols=["realtime", f"openai-insecure-api-key.{made['value']}"]
    ) as client:
        assert (
            client.socket.subprotocol == "realtime"
            and client.of("session.created")[0]["session"]["instructions"] == "Be brief."
        )
    with pytest.raises(InvalidStatus):
        await connect(client.url, subprotocols=["realtime", "openai-insecure-api-key.ek_wrong"])


# --- what strangers send ------------------------------------------------------------------------

SESSIONS = [
    {},
    {"type": "opera"},
    {"type": 5},
    {"type": "realtime", "output_modalities": ["audio", "text"]},
    {"type": "realtime", "output_modalities": "audio"},
    {"type": "realtime", "instructions": 5},
    {"type": "realtime", "instructions": "x" * 9000},
    {"type": "realtime", "audio": 5},
    {"type": "realtime", "audio": {"input": []}},
    {"type": "realtime", "audio": {"input": {"format": {"type": "audio/mp3"}}}},
    {"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcm", "rate": 48000}}}},
    {"type": "realtime", "audio": {"output": {"format": 5}}},
    {"type": "realtime", "audio": {"output": {"voice": 5}}},
    {"type": "realtime", "audio": {"output": {"speed": 9}}},
    {"type": "realtime", "audio": {"output": {"speed": "fast"}}},
    {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "psychic"}}}},
    {"type": "realtime", "audio": {"input": {"turn_detection": 5}}},
    {
        "type": "realtime",
        "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 5}}},
    },
    {
        "type": "realtime",
        "audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": -5}}},
    },
    {
        "type": "realtime",
        "audio": {"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "wild"}}},
    },
    {"type": "realtime", "audio": {"input": {"turn_detection": {"create_response": "yes"}}}},
    {"type": "realtime", "audio": {"input": {"transcription": 5}}},
    {"type": "realtime", "audio": {"input": {"transcription": {"language": "xx"}}}},
    {"type": "realtime", "tools": {}},
    {"type": "realtime", "tools": [5]},
    {"type": "realtime", "tools": [{"type": "mcp"}]},
    {"type": "realtime", "tools": [{"type": "function"}]},
    {"type": "realtime", "tools": [{"type": "function", "name": "a", "parameters": 5}]},
    {"type": "realtime", "tool_choice": "perhaps"},
    {"type": "realtime", "max_output_tokens": 0},
    {"type": "realtime", "max_output_tokens": "many"},
]
FRAMES = [
    "",
    "{",
    "[]",
    "5",
    "null",
    '"text"',
    "[" * 50_000,
    "{}",
    '{"type": 5}',
    '{"type": "session.destroy"}',
    '{"type": "session.update"}',
    '{"type": "session.update", "session": []}',
    *(json.dumps({"type": "session.update", "session": session}) for session in SESSIONS),
    '{"type": "input_audio_buffer.append"}',
    '{"type": "input_audio_buffer.append", "audio": 5}',
    '{"type": "input_audio_buffer.append", "audio": "***"}',
    '{"type": "input_audio_buffer.commit"}',
    '{"type": "conversation.item.create"}',
    '{"type": "conversation.item.create", "item": 5}',
    '{"type": "conversation.item.create", "item": {"type": "opera"}}',
    '{"type": "conversation.item.create", "item": {"type": "message"}}',
    (
        '{"type": "conversation.item.create", "item": {"type": "message", "role": "king", '
        '"content": '
        "[]}}"
    ),
    (
        '{"type": "conversation.item.create", "item": {"type": "message", "role": "user", '
        '"content": '
        "5}}"
    ),
    (
        '{"type": "conversation.item.create", "item": {"type": "message", "role": "user", '
        '"content": '
        "[5]}}"
    ),
    (
        '{"type": "conversation.item.create", "item": {"type": "message", "role": "user", '
        '"content": [{"type": "output_text", "text": "a"}]}}'
    ),
    (
        '{"type": "conversation.item.create", "item": {"type": "message", "role": "user", '
        '"content": [{"type": "input_text", "text": 5}]}}'
    ),
    (
        '{"type": "conversation.item.create", "item": {"type": "message", "role": "user", '
        '"content": [{"type": "input_audio", "audio": "A"}]}}'
    ),
    (
        '{"type": "conversation.item.create", "item": {"id": 5, "type": "message", "role": "user", '
        '"content": []}}'
    ),
    (
        '{"type": "conversation.item.create", "previous_item_id": "nobody", "item": {"type": '
        '"message", "role": "user", "content": []}}'
    ),
    '{"type": "conversation.item.create", "item": {"type": "function_call_output"}}',
    '{"type": "conversation.item.create", "item": {"type": "function_call", "name": 5}}',
    '{"type": "conversation.item.retrieve", "item_id": "nobody"}',
    '{"type": "conversation.item.retrieve"}',
    '{"type": "conversation.item.delete", "item_id": []}',
    (
        '{"type": "conversation.item.truncate", "item_id": "nobody", "content_index": 0, '
        '"audio_end_ms": 5}'
    ),
    '{"type": "response.create", "response": 5}',
    '{"type": "response.create", "response": {"instructions": 5}}',
    '{"type": "response.create", "response": {"output_modalities": ["smell"]}}',
    '{"type": "response.create", "response": {"tools": 5}}',
    '{"type": "response.create", "response": {"conversation": "none", "input": [5]}}',
    '{"type": "response.cancel"}',
]


async def test_every_bad_event_is_an_error_and_the_session_goes_on(scripted_server):
    async with Client(scripted_server) as client:
        for count, frame in enumerate(FRAMES, 1):
            await client.socket.send(frame)
            told = (await client.until("error", count))["error"]
            assert (
                told["type"] == "invalid_request_error"
                and told["code"]
                and told["message"]
                and "Traceback" not in told["message"]
            ), frame[:80]
        await client.socket.send(b"\0\1\2")
        await client.until("error", len(FRAMES) + 1)
        await client.update(output_modalities=["text"])
        await client.send(
            "conversation.item.create",
            item={
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "still here"}],
            },
        )
        await client.send("response.create")
        assert (await client.until("response.done"))["response"]["status"] == "completed"
