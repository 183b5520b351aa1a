"""Field cases of Realtime: what stays of an answer, and what clients of other dialects send, each
with its right value."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace

import numpy as np
import pytest
from fake_sockets import READY, fake_server, serving
from test_field_realtime import answered, audio_item, created, refused, retrieved, user
from test_realtime import Client, spoken
from websockets.asyncio.client import connect

from whisperfusion.engines.scripted import tone_speech
from whisperfusion.gateway.sound import companded
from whisperfusion.wire.realtime import ALAW, ULAW, RealtimeError, Session, as_dict
from whisperfusion.wire.realtime_beta import session_in, session_out
from whisperfusion.wire.realtime_options import transcription_options
from whisperfusion.wire.realtime_update import updated

# --- E1: what was heard of an answer -------------------------------------------------------------


async def begun(client: Client, seconds: float) -> str:
    """A long answer of which so much came: the id of its item."""
    more = "nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen"  # a busy
    # machine must not have played all of it before the client says what it heard
    await client.speak(spoken(f"one two three four five six seven eight {more}"))
    await client.until_sounded(seconds)
    return client.of("response.output_item.added")[0]["item"]["id"]


async def test_e1_truncate_comes_before_cancel(scripted_server):
    """As the Agents SDK for Python does it."""
    async with Client(scripted_server) as client:
        answer = await begun(client, 1.2)
        await client.send(
            "conversation.item.truncate", item_id=answer, content_index=0, audio_end_ms=700
        )
        await client.send("response.cancel")
        assert (await client.until("conversation.item.truncated"))["audio_end_ms"] == 700
        done = (await client.until("response.done"))["response"]
        assert (done["status"], done["status_details"]["reason"]) == (
            "cancelled",
            "client_cancelled",
        )
        await client.update(output_modalities=["text"])
        remembered = await recalled(client)
        assert not client.of("error")
        text = (await retrieved(client, answer))["content"][0]["transcript"]
        assert text and "You said one two three four".startswith(text) and len(text) < 25
        assert remembered == f"I said: {text}"


async def recalled(client: Client) -> str:
    """What the model remembers of what it said."""
    await created(client, user("recall"))
    return await answered(client)


async def test_e1_cancel_alone_keeps_what_was_sent(scripted_server):
    async with Client(scripted_server) as client:
        answer = await begun(client, 1.5)
        await client.send("response.cancel")
        await client.until("response.done")
        await client.update(output_modalities=["text"])
        remembered = await recalled(client)
        text = (await retrieved(client, answer))["content"][0]["transcript"]
        assert text.startswith("You said one") and "eighteen" not in text
        assert remembered == f"I said: {text}"


async def test_e1_relative_truncate_of_an_answer_that_goes_on(scripted_server):
    """The answer ends by itself; memory still holds what the client says was heard."""
    async with Client(scripted_server) as client:
        await client.speak(spoken("one two three four"))
        await client.until_sounded(1.2)
        answer = client.of("response.output_item.added")[0]["item"]["id"]
        await client.send(
            "conversation.item.truncate", item_id=answer, content_index=0, audio_end_ms=700
        )
        assert (await client.until("response.done"))["response"]["status"] == "completed"
        await client.update(output_modalities=["text"])
        text = "4 words."
        while "4 words." in text:  # the call is told again when its own clock has played the answer
            text = (await retrieved(client, answer))["content"][0]["transcript"]
        assert text and "You said one two".startswith(text)
        assert await recalled(client) == f"I said: {text}"


async def test_e1_relative_truncate_of_an_answer_beside_the_conversation(scripted_server):
    """It has a call of its own, which is over: its words are counted out."""
    async with Client(scripted_server) as client:
        assert (
            await answered(client, input=[user("one two three four")])
            == "You said one two three four. That is 4 words."
        )
        id = client.of("response.output_item.added")[0]["item"]["id"]
        await client.send(
            "conversation.item.truncate", item_id=id, content_index=0, audio_end_ms=700
        )
        await client.until("conversation.item.truncated")
        text = (await retrieved(client, id))["content"][0]["transcript"]
        assert text and "You said one two".startswith(text)


async def test_e1_relative_truncate_of_nothing_is_an_error(scripted_server):
    async with Client(scripted_server) as client:
        told = await refused(
            client,
            type="conversation.item.truncate",
            item_id="nobody",
            content_index=0,
            audio_end_ms=5,
        )
        assert told["code"] == "item_truncate_invalid_item_id"
        answer = await begun(client, 0.3)
        for fields in (
            {"audio_end_ms": -1},
            {"audio_end_ms": "x"},
            {"audio_end_ms": 5, "content_index": 7},
        ):
            await refused(client, type="conversation.item.truncate", item_id=answer, **fields)
        await client.send("response.cancel")
        await client.until("response.done")


# --- E2, E3: dialects ---------------------------------------------------------------------------


async def test_e2_flat_fields_on_a_ga_socket_are_understood(scripted_server):
    async with Client(scripted_server) as client:
        await client.update(
            input_audio_format="g711_ulaw",
            output_audio_format="g711_alaw",
            voice="soft",
            modalities=["text", "audio"],
            input_audio_transcription={"model": "whisper-1"},
            turn_detection=None,
            max_response_output_tokens=50,
            temperature=0.8,
            audio={"output": {"speed": 1.2}},
        )
        session = client.of("session.updated")[0]["session"]
        audio_in, spoken_back = session["audio"]["input"], session["audio"]["output"]
        assert (audio_in["format"]["type"], spoken_back["format"]["type"]) == (ULAW, ALAW)
        assert (spoken_back["voice"], spoken_back["speed"], audio_in["turn_detection"]) == (
            "soft",
            1.2,
            None,
        )
        assert (
            audio_in["transcription"] == {"model": "whisper-1"}
            and session["max_output_tokens"] == 50
        )
        pcm = np.concatenate(
            (np.zeros(2400, np.float32), tone_speech("alpha", 8000), np.zeros(1200, np.float32))
        )
        data = companded((pcm * 32767).astype("<i2").tobytes(), ULAW)
        await client.send("input_audio_buffer.append", audio=base64.b64encode(data).decode())
        await client.send("input_audio_buffer.commit")
        told = await client.until("conversation.item.input_audio_transcription.completed")
        assert told["transcript"] == "alpha"


async def test_e2_relative_flat_fields_of_a_response_and_wrong_ones(scripted_server):
    async with Client(scripted_server) as client:
        await created(client, user("alpha"))
        await client.send("response.create", response={"modalities": ["text"]})
        done = (await client.until("response.done"))["response"]
        assert done["output_modalities"] == ["text"] and done["output"][0]["content"][0][
            "text"
        ].startswith("You said alpha")
        told = await refused(
            client, type="session.update", session={"type": "realtime", "input_audio_format": "mp3"}
        )
        assert told["type"] == "invalid_request_error" and "mp3" in told["message"]


async def test_e2_relative_nested_fields_win_and_azures_spellings_are_known(scripted_server):
    async with Client(scripted_server) as client:
        await client.update(
            input_audio_format="g711_ulaw",
            audio={"input": {"format": {"type": ALAW}}},
            turn_detection={"type": "none"},
        )
        audio_in = client.of("session.updated")[0]["session"]["audio"]["input"]
        assert audio_in["format"]["type"] == ALAW and audio_in["turn_detection"] is None
        await client.update(
            turn_detection={
                "type": "azure_semantic_vad",
                "threshold": 0.3,
                "remove_filler_words": True,
            }
        )
        assert (
            client.of("session.updated")[1]["session"]["audio"]["input"]["turn_detection"]["type"]
            == "semantic_vad"
        )


async def test_e3_sound_in_an_item_is_heard(scripted_server):
    sound = base64.b64encode((spoken("alpha beta", 0.3) * 32767).astype("<i2").tobytes()).decode()
    async with Client(scripted_server) as client:
        await client.update(output_modalities=["text"])
        item = await created(client, audio_item(sound))
        assert item["content"] == [{"type": "input_audio", "transcript": None}]
        assert await answered(client) == "You said alpha beta. That is 2 words."
        assert (await retrieved(client, item["id"]))["content"] == [
            {"type": "input_audio", "transcript": "alpha beta"}
        ]
        assert (
            await answered(client, conversation="none", input=[audio_item(sound)])
            == "You said alpha beta. That is 2 words."
        )


async def test_e3_relative_an_answer_that_waits_for_sound_can_be_cancelled(scripted_server):
    sound = base64.b64encode(bytes(4_800_000)).decode()
    async with Client(scripted_server) as client:
        await client.send("conversation.item.create", item=audio_item(sound))
        await client.send("response.create")
        await client.send("response.cancel")
        assert (await client.until("response.done"))["response"]["status"] == "cancelled"
        for content in (
            [{"type": "input_audio", "audio": "***"}],
            [{"type": "input_audio"}],
            [{"type": "input_audio", "audio": 5}],
        ):
            told = await refused(
                client,
                type="conversation.item.create",
                item={"type": "message", "role": "user", "content": content},
            )
            assert told["param"].startswith("item.content")


async def test_e3_developers_plain_text_and_references(scripted_server):
    async with Client(scripted_server) as client:
        await client.update(output_modalities=["text"])
        item = await created(
            client, {"type": "message", "role": "developer", "content": "Be kind."}
        )
        assert item["role"] == "system" and item["content"] == [
            {"type": "input_text", "text": "Be kind."}
        ]
        item = await created(
            client, {"type": "message", "role": "assistant", "content": "Put in front."}
        )
        assert item["content"] == [{"type": "output_text", "text": "Put in front."}]
        await created(client, {"type": "message", "role": "user", "content": "recall"})
        assert await answered(client) == "I said: Put in front."
        asked = {
            "conversation": "none",
            "input": [{"type": "item_reference", "id": item["id"]}, user("recall")],
        }
        assert await answered(client, **asked) == "I said: Put in front."


async def test_e3_relative_an_item_before_a_spoken_turn_is_known_to_its_answer(scripted_server):
    async with Client(scripted_server) as client:
        await client.update(output_modalities=["text"])
        await client.speak(spoken("alpha", 0.8))
        await client.until("response.done")
        await created(client, {"type": "message", "role": "assistant", "content": "Put behind."})
        await client.speak(spoken("recall", 0.8))
        done = (await client.until("response.done", 2))["response"]
        assert done["output"][0]["content"][0]["text"].endswith("Put behind.")


@pytest.mark.parametrize(
    ("language", "shown", "asked"),
    [
        ("auto", "auto", None),
        ("", "auto", None),
        ("und", "auto", None),
        ("deu", "de", "de"),
        ("nb", "no", "no"),
        ("pt-BR", "pt", "pt"),
    ],
)
def test_e3_languages_are_understood(language, shown, asked):
    audio_in = {"input": {"transcription": {"model": "whisper-1", "language": language}}}
    session = updated(Session(), {"type": "realtime", "audio": audio_in}, ())
    assert session.transcription is not None and session.transcription["language"] == shown
    assert transcription_options(session)["language"] == asked


@pytest.mark.parametrize("wanted", [{"type": "near_field"}, {"type": "far_field"}, None])
def test_noise_reduction_is_accepted_and_shown_again_in_both_dialects(wanted):
    """Without effect (docs/performance.md)."""
    before = Session(noise_reduction={"type": "before"})
    flat = session_in({"input_audio_noise_reduction": wanted}, False)
    for given in ({"audio": {"input": {"noise_reduction": wanted}}}, flat):
        shown = as_dict(updated(before, {"type": "realtime", **given}, ()), 0)
        assert shown["audio"]["input"]["noise_reduction"] == wanted
        assert session_out(shown)["input_audio_noise_reduction"] == wanted


def test_e3_relative_no_language_is_the_servers_and_an_unknown_one_an_error():
    audio_in = {"input": {"transcription": {"model": "whisper-1", "language": None}}}
    assert "language" not in transcription_options(
        updated(Session(), {"type": "realtime", "audio": audio_in}, ())
    )
    audio_in = {"input": {"transcription": {"language": "klingon"}}}
    with pytest.raises(RealtimeError) as told:
        updated(Session(), {"type": "realtime", "audio": audio_in}, ())
    assert (
        told.value.param == "session.audio.input.transcription.language"
        and "klingon" in told.value.message
    )


# --- answers that began too early ----------------------------------------------------------------


@pytest.mark.parametrize(("played_ms", "kept"), [(300, False), (2000, True)])
async def test_an_answer_that_began_too_early_is_told_to_no_model(played_ms, kept):
    """Not in the history that follows a change by the client either, where one was heard: then the
    model sees one message of the user.
    """
    async with fake_server() as server, serving(server.settings(), READY) as address:
        async with Client(SimpleNamespace(http_url=address)) as client:
            await client.speak(np.zeros(480, np.float32))
            call = await server.call()
            await call.event("turn", turn=1, text="What is the weather")
            await call.event("reply", turn=1, index=0, text="Sure, it is fine.", last=True)
            await call.order("start", turn=1)
            await call.sound(440.0, 3.0)
            await client.until_sounded(played_ms / 1000)
            answer = client.of("response.output_item.added")[0]["item"]["id"]
            await client.send(
                "conversation.item.truncate",
                item_id=answer,
                content_index=0,
                audio_end_ms=played_ms,
            )
            await client.until("conversation.item.truncated")
            await call.event("interrupted", turn=1, heard="Sure,")
            await client.until("response.done")
            await call.event("turn", turn=2, text="in Rome?")
            await client.until("response.created", 2)
            await call.event("reply", turn=2, index=0, text="Rainy.", last=True)
            await call.order("start", turn=2)
            await call.order("end", turn=2)
            await call.event("spoken", turn=2, seconds=1.0, last=True)
            await client.until("response.done", 2)
            await client.send("conversation.item.create", item=user("and tomorrow"))
            await client.send("response.create")
            await server.until(lambda: call.told("history"))
    lines = [(one["role"], one["text"]) for one in call.told("history")[-1]["lines"]]
    assert lines == [
        ("user", "What is the weather"),
        *([("assistant", "Sure,")] if kept else []),
        ("user", "in Rome?"),
        ("assistant", "Rainy."),
        ("user", "and tomorrow"),
    ]


# --- sound that comes at once -------------------------------------------------------------------


async def test_a_recording_that_comes_at_once_reaches_the_call_as_such():
    """6006 knows by its long frames that it is not a microphone, and answers all questions."""
    sound = base64.b64encode(bytes(5 * 48_000)).decode()
    async with fake_server() as server, serving(server.settings(), READY) as address:
        async with connect(address.replace("http", "ws", 1) + "/v1/realtime") as socket:
            await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": sound}))
            call = await server.call()
            await server.until(lambda: call.audio)
            assert len(call.audio[0]) > 4.9 * 32_000
