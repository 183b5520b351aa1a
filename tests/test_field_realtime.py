"""Field cases of the conversational protocols (Realtime, /ws, Wyoming), each with its right value,
and relatives of them.

What hangs up or is cancelled is in `test_cancellation.py` (A8).
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from test_realtime import Client

from whisperfusion.gateway.realtime.items import SESSION_BYTES, Budget, Items
from whisperfusion.gateway.realtime.reading import Reading
from whisperfusion.wire.asr_events import Segment
from whisperfusion.wire.realtime import ULAW, RealtimeError, Session
from whisperfusion.wire.realtime_fields import parsed_event
from whisperfusion.wire.realtime_history import history
from whisperfusion.wire.realtime_items import item_of

PATIENCE_S = 30.0


def user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def audio_item(sound: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": sound}]}


async def created(client: Client, item: dict[str, Any]) -> dict[str, Any]:
    count = len(client.of("conversation.item.done"))
    await client.send("conversation.item.create", item=item)
    return (await client.until("conversation.item.done", count + 1))["item"]


async def refused(client: Client, **event) -> dict[str, Any]:
    count = len(client.of("error"))
    await client.send(**event)
    return (await client.until("error", count + 1))["error"]


async def answered(client: Client, **response) -> str:
    """The text of the next answer."""
    count = len(client.of("response.done"))
    await client.send("response.create", response=response)
    done = (await client.until("response.done", count + 1))["response"]
    assert done["status"] == "completed", done
    (part,) = done["output"][0]["content"]
    return part.get("text") or part["transcript"]


async def retrieved(client: Client, id: str) -> dict[str, Any]:
    count = len(client.of("conversation.item.retrieved"))
    await client.send("conversation.item.retrieve", item_id=id)
    return (await client.until("conversation.item.retrieved", count + 1))["item"]


# --- A5: what would break a process is refused at the door --------------------------------------

CALL = {"type": "function_call", "call_id": "c", "name": "look_up"}
BAD_ITEMS = [
    {**CALL, "arguments": "not json"},
    {**CALL, "arguments": "[1]"},
    {**CALL, "arguments": "5"},
    {**CALL, "arguments": "[" * 5000},
    {**CALL, "arguments": {"text": "a"}},
    {**CALL, "call_id": "", "arguments": "{}"},
    {**CALL, "name": "", "arguments": "{}"},
    {**CALL, "name": "x" * 300, "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": {"found": 1}},
    {"type": "function_call_output", "call_id": "c", "output": ["a"]},
    {"type": "function_call_output", "call_id": 5, "output": "a"},
    {"type": "function_call_output", "call_id": "x" * 5000, "output": "a"},
]
BAD_PARAMETERS = [
    {"type": "object", "properties": {"a": {"$ref": "#/$defs/missing"}}},
    {"type": "object", "properties": {"a": {"$ref": "https://example.com/schema.json"}}},
    {"type": "object", "properties": {"a": {"type": 5}}},
    {"type": "object", "properties": {"a": {"enum": []}}},
    {"type": "object", "properties": {"a": {"type": "string", "pattern": "(["}}},
    json.loads('{"items":' * 200 + "{}" + "}" * 200),
]


async def test_a5_items_and_tools_that_no_engine_can_read_are_refused(scripted_server):
    async with Client(scripted_server) as client:
        await client.update(output_modalities=["text"])
        for item in BAD_ITEMS:
            told = await refused(client, type="conversation.item.create", item=item)
            assert told["type"] == "invalid_request_error" and told["param"].startswith("item."), (
                item
            )
        for parameters in BAD_PARAMETERS:
            tools = [{"type": "function", "name": "a", "parameters": parameters}]
            told = await refused(
                client, type="session.update", session={"type": "realtime", "tools": tools}
            )
            assert (told["type"], told["param"]) == ("invalid_request_error", "session.tools"), (
                parameters
            )
            told = await refused(client, type="response.create", response={"tools": tools})
            assert told["param"] == "response.tools"
        await created(client, user("alpha"))
        assert await answered(client) == "You said alpha. That is 1 word."


async def test_a5_relative_tools_that_are_too_long_together(scripted_server):
    """The call takes 32,000 characters; a session that was told more would have no call any
    more."""
    tools = [
        {"type": "function", "name": f"tool_{at}", "description": "x" * 1000} for at in range(40)
    ]
    async with Client(scripted_server) as client:
        told = await refused(
            client, type="session.update", session={"type": "realtime", "tools": tools}
        )
        assert told["param"] == "session.tools" and "32000" in told["message"]
        await client.update(tools=tools[:20], output_modalities=["text"])
        await created(client, user("alpha"))
        assert await answered(client) == "You said alpha. That is 1 word."


async def test_a5_relative_an_item_beside_the_conversation(scripted_server):
    async with Client(scripted_server) as client:
        asked = {"conversation": "none", "input": [{**CALL, "arguments": "not json"}]}
        assert (await refused(client, type="response.create", response=asked))[
            "param"
        ] == "item.arguments"


# --- A9: a few responses at once ----------------------------------------------------------------


async def test_a9_a_session_has_a_few_responses_at_once(scripted_server):
    aside = {"conversation": "none", "output_modalities": ["text"], "input": [user("forever")]}
    async with Client(scripted_server) as client:
        for _ in range(400):
            await client.send("response.create", response=aside)
        await client.until("error", 396)
        assert {told["error"]["code"] for told in client.of("error")} == {"rate_limit_exceeded"}
        ids = [event["response"]["id"] for event in client.of("response.created")]
        assert len(ids) == 4
        await client.send(
            "response.cancel", response_id=ids[0]
        )  # which ends one of them, and makes room
        done = (await client.until("response.done"))["response"]
        assert done["id"] == ids[0] and done["status_details"]["reason"] == "client_cancelled"
        await client.send("response.create", response={**aside, "input": [user("alpha")]})
        assert (await client.until("response.done", 2))["response"]["status"] == "completed"
        async with Client(scripted_server) as other:  # from whom nothing was taken
            await other.update(output_modalities=["text"])
            await created(other, user("alpha"))
            assert await answered(other) == "You said alpha. That is 1 word."


async def test_a9_relative_several_sessions_of_one_client_share_a_limit(scripted_server):
    """This machine may have three quarters of the server's twelve."""
    aside = {"conversation": "none", "output_modalities": ["text"], "input": [user("forever")]}
    async with (
        Client(scripted_server) as one,
        Client(scripted_server) as two,
        Client(scripted_server) as three,
    ):
        for client in (one, two, three):
            for _ in range(4):
                await client.send("response.create", response=aside)
            if client is not three:
                await client.until("response.created", 4)
        await three.until("error", 3)
        assert (
            len(three.of("response.created")) == 1
            and "at once" in three.of("error")[0]["error"]["message"]
        )


async def test_a9_relative_sound_in_items_is_limited_too():
    """What is being read has a total for the session, and comes two at a time; its end gives back
    everything."""
    reading, budget, opened = asyncio.Event(), Budget(2**30), []

    class Slow:
        async def transcribe(self, *_: Any) -> AsyncIterator[Segment]:
            opened.append(1)
            await reading.wait()
            yield Segment(0.0, 1.0, "alpha", (), 0.0, 0.0)

    async def told(event: dict[str, Any]) -> None:
        raise AssertionError(event)

    given = audio_item(base64.b64encode(bytes(4 * 2**20)).decode())
    items = Reading(Slow(), "", budget, told)  # type: ignore[arg-type]
    tasks = [await items.start(item_of(given), given, Session()) for _ in range(3)]
    with pytest.raises(RealtimeError) as refused:
        await items.start(item_of(given), given, Session())
    assert refused.value.code == "rate_limit_exceeded"
    await asyncio.sleep(0)
    assert len(opened) == 2 and budget.held == 12 * 2**20
    reading.set()
    assert [(await task)["content"][0]["transcript"] for task in tasks if task] == ["alpha"] * 3
    await items.close()
    assert budget.held == 0


# --- B7, B8: bytes ------------------------------------------------------------------------------


def test_b7_items_have_a_total_for_a_session_and_for_all():
    budget = Budget(3 * SESSION_BYTES)
    items = Items(budget)
    for _ in range(250):
        items.insert({"item": user("x" * 8000)})
    assert items.size <= SESSION_BYTES and budget.held == items.size and len(items.all()) > 200
    others = [Items(budget) for _ in range(4)]
    with pytest.raises(RealtimeError) as told:
        for one in others:
            for _ in range(SESSION_BYTES // 8000):
                one.insert({"item": user("x" * 8000)})
    assert told.value.code == "rate_limit_exceeded" and budget.held <= 3 * SESSION_BYTES
    for one in (items, *others):
        one.close()
    assert budget.held == 0


async def test_b7_items_of_512_kilobytes_are_refused(scripted_server):
    parts = [{"type": "input_text", "text": "x" * 8000}] * 64
    async with Client(scripted_server) as client:
        for count in range(1, 20):
            await client.send(
                "conversation.item.create",
                item={"type": "message", "role": "user", "content": parts},
            )
            told = (await client.until("error", count))["error"]
            assert told["code"] == "string_above_max_length" and "8000" in told["message"]


async def test_b7_relative_what_is_only_told_back_is_short(scripted_server):
    async with Client(scripted_server) as client:
        for session in (
            {"tracing": {"metadata": "x" * 100_000}},
            {"prompt": ["x" * 100_000]},
            {"audio": {"input": {"noise_reduction": {"type": "x" * 100_000}}}},
            {
                "audio": {
                    "input": {
                        "turn_detection": {"type": "server_vad", "idle_timeout_ms": "x" * 100_000}
                    }
                }
            },
        ):
            await refused(client, type="session.update", session={"type": "realtime", **session})
        for metadata in (
            {"a": "x" * 600},
            {"x" * 70: "a"},
            {str(at): "" for at in range(17)},
            ["a"],
            "a",
            {"a": 5},
        ):
            told = await refused(client, type="response.create", response={"metadata": metadata})
            assert told["param"] == "response.metadata"


async def test_b7_relative_a_buffer_that_is_never_committed_has_an_end(scripted_server):
    """Ten minutes of G.711, which 6006 takes as fast as it comes."""
    minute = base64.b64encode(bytes([255]) * 8000 * 60).decode()
    async with Client(scripted_server) as client:
        await client.update(audio={"input": {"turn_detection": None, "format": {"type": ULAW}}})
        for _ in range(11):
            await client.send("input_audio_buffer.append", audio=minute)
        assert (await client.until("error"))["error"]["code"] == "input_audio_buffer_full"
        await client.send("input_audio_buffer.clear")
        await client.until("input_audio_buffer.cleared")
        await client.send("input_audio_buffer.append", audio=minute)
        await client.send("input_audio_buffer.clear")
        await client.until("input_audio_buffer.cleared", 2)
        assert len(client.of("error")) == 1


async def test_b8_both_doors_have_the_same_limit_and_the_session_goes_on(scripted_server):
    async with Client(scripted_server) as client:
        await client.update(output_modalities=["text"])
        for item in (
            user("x" * 8001),
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "x" * 5000}] * 2,
            },
            {**CALL, "arguments": json.dumps({"a": "x" * 7990})},
            {"type": "function_call_output", "call_id": "c", "output": '"' * 7000},
        ):
            told = await refused(client, type="conversation.item.create", item=item)
            assert told["code"] == "string_above_max_length" and "8000" in told["message"], item[
                "type"
            ]
        await created(client, user("x" * 8000))
        await created(
            client,
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "Good."}],
            },
        )
        await created(
            client, {**CALL, "arguments": json.dumps({"a": "ü" * 7900}, ensure_ascii=False)}
        )
        await created(
            client, {"type": "function_call_output", "call_id": "c", "output": "ü" * 7900}
        )
        assert (await answered(client)).startswith("The result is")
        await created(client, user("alpha"))
        assert await answered(client) == "You said alpha. That is 1 word."


def test_b8_relative_an_answer_that_is_longer_is_told_in_several_lines():
    long = " ".join(["word"] * 5000)
    lines = history(
        [
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": long}],
            }
        ]
    )
    assert [line["role"] for line in lines] == ["assistant"] * 4 and max(
        len(line["text"]) for line in lines
    ) <= 8000
    assert " ".join(line["text"] for line in lines) == long
    lines = history([item_of(user("x" * 8000)) for _ in range(1000)])
    assert sum(len(line["text"]) for line in lines) <= 100_000


def test_b8_relative_a_call_that_is_longer_is_remembered_without_its_arguments():
    call = {
        "type": "function_call",
        "call_id": "c",
        "name": "a",
        "arguments": json.dumps({"a": "x" * 9000}),
    }
    (line,) = history([call])
    assert json.loads(line["text"]) == {"id": "c", "name": "a", "arguments": "{}"}


def test_a6_relative_an_event_of_a_million_values_is_not_read():
    for text in (
        "[" * 10**6,
        '{"item": [' + '{"a": 1},' * 10**6,
        '{"type": "x", "a": ' + "[" * 10**6 + "]" * 10**6 + "}",
    ):
        with pytest.raises(RealtimeError) as told:
            parsed_event(text)
        assert "20000 values" in told.value.message
    assert parsed_event(
        json.dumps({"type": "input_audio_buffer.append", "audio": "A" * 15 * 2**20})
    )["audio"]
