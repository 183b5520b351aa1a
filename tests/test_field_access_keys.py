"""Keys, and quotes around them: cases of the field."""

from __future__ import annotations

import asyncio
import io
import json
import logging

import httpx
import pytest
from client import PATIENCE_S
from raw_http import asked, upgraded
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from whisperfusion.runtime.failed_keys import FailedKeyThrottle
from whisperfusion.runtime.redaction import Redacting, keep_keys_out_of_logs
from whisperfusion.settings import Settings, build

# --- B3, B5: keys


WAYS = [
    ("", "Authorization: Bearer sesame-two"),
    ("", "X-API-Key: sesame-two"),
    ("", "api-key: sesame-two"),
    ("token=sesame-two", ""),
    ("api_key=sesame-two", ""),
    ("key=sesame-two", ""),
    ("", "Sec-WebSocket-Protocol: bearer, sesame-two"),
    ("", "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sesame-two"),
]


@pytest.mark.parametrize(("query", "header"), WAYS)
async def test_b3_every_documented_way_works_at_both_proxies(keyed_server, query, header):
    for path in ("transcription", "audio"):
        headers = dict([header.split(": ", 1)]) if header and "Protocol" not in header else {}
        protocols = header.split(": ", 1)[1].split(", ") if "Protocol" in header else None
        url = f"ws://127.0.0.1:{keyed_server.http_port}/{path}?{query}"
        async with connect(url, additional_headers=headers, subprotocols=protocols) as client:
            if path == "transcription":
                await client.send(json.dumps({"uid": "b3", "events": True}))
                assert (
                    json.loads(await asyncio.wait_for(client.recv(), PATIENCE_S))["message"]
                    == "SERVER_READY"
                )
            else:
                await client.send(json.dumps({"type": "say", "text": "alpha"}))
                assert isinstance(await asyncio.wait_for(client.recv(), PATIENCE_S), bytes)


def test_b5_wrong_keys_are_slowed_for_their_address_alone():
    wrong, now = FailedKeyThrottle(), 100.0
    delays = [wrong.delay_s("192.0.2.1", now) for _ in range(12)]
    assert (
        delays[:3] == [0.0] * 3 and delays == sorted(delays) and delays[3] > 0 and delays[-1] == 5.0
    )
    assert wrong.delay_s("192.0.2.2", now) == 0.0
    assert wrong.delay_s("192.0.2.1", now + 1000.0) == 0.0  # mistakes are forgotten
    assert [wrong.delay_s(f"2001:db8::{number}", now) for number in range(4)][
        -1
    ] > 0  # one network, one guesser


def test_b5_relative_the_memory_of_wrong_keys_is_bounded():
    wrong = FailedKeyThrottle()
    for number in range(11_000):
        wrong.delay_s(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0)
    assert len(wrong._tries) <= 10_000


async def test_b5_a_right_key_does_not_wait_for_wrong_ones(keyed_server):
    """Wrong ones still wait when the right one was answered: order is all that is looked at."""
    port = keyed_server.http_port
    guesses = [
        asyncio.create_task(asked(port, f"/config.json?token=guess-{number}"))
        for number in range(9)
    ]
    _done, _ = await asyncio.wait(guesses, return_when=asyncio.FIRST_COMPLETED)
    assert (await asked(port, "/config.json", "Authorization: Bearer sesame-one"))[0] == 200
    assert not all(guess.done() for guess in guesses)
    assert [status for status, _ in await asyncio.gather(*guesses)] == [401] * 9


async def test_b5_a_client_secret_is_good_for_one_session(keyed_server):
    server = keyed_server
    async with httpx.AsyncClient(
        base_url=server.http_url, headers={"X-API-Key": "sesame-one"}, timeout=PATIENCE_S
    ) as http:
        secrets = [
            (await http.post("/v1/realtime/client_secrets", json={})).json()["value"]
            for _ in range(2)
        ]
    url = f"ws://127.0.0.1:{server.http_port}/v1/realtime"
    for secret, way in zip(
        secrets,
        (
            {"additional_headers": {"Authorization": f"Bearer {secrets[0]}"}},
            {"subprotocols": ["realtime", f"openai-insecure-api-key.{secrets[1]}"]},
        ),
        strict=True,
    ):
        async with connect(url, **way) as first:
            assert json.loads(await first.recv())["type"] == "session.created"
            with pytest.raises(InvalidStatus) as refused:  # while the first goes on
                await connect(url, **way)
        assert (
            refused.value.response.status_code == 401
            and b"one session" in refused.value.response.body
        )
        with pytest.raises(InvalidStatus):  # and after it
            await connect(f"{url}?token={secret}")


async def test_b5_keys_are_in_no_line_of_the_log(keyed_server):
    server, key = keyed_server, "sesame-one"
    tries = []  # at once, for wrong keys are slowed
    for path in ("/transcription", "/audio", "/v1/models", "/v1/realtime", "/no-such"):
        for query in (
            f"token={key}#x",
            f"token=x&key={key}",
            f"token={key}%00",
            f"uid=%ff&api_key={key}#",
        ):
            tries += [
                upgraded(server.http_port, f"{path}?{query}"),
                asked(server.http_port, f"{path}?{query}"),
            ]
    for port in (server.asr_port, server.tts_port):
        for query in (
            f"/?token={key}#x",
            f"/?token={key} HTTP/9.9",
            f"/?token={key}&events=perhaps",
        ):
            tries.append(upgraded(port, query, "Host: x", f"Authorization: Bearer {key}"))
    await asyncio.gather(*tries, return_exceptions=True)  # broken first lines get no answer
    assert "sesame" not in server.log and "DEBUG" in server.log


def test_the_keys_of_every_server_stay_out_of_the_log():
    chosen = Settings(
        shared_secret="own-key", asr_key="asr-key", llm_key="llm-key", tts_key="tts-key"
    )
    root, handler = logging.getLogger(), logging.StreamHandler(text := io.StringIO())
    before = [(one, one.formatter) for one in root.handlers]
    root.addHandler(handler)
    try:
        keep_keys_out_of_logs(chosen)
        root.warning("asked with own-key, asr-key, llm-key and tts-key")
    finally:
        root.removeHandler(handler)
        for one, formatter in before:
            one.setFormatter(formatter)
    assert text.getvalue() == "asked with ***, ***, *** and ***\n"


def test_b5_relative_what_a_library_says_is_written_without_keys():
    formatter = Redacting(logging.Formatter("%(message)s"), ["pass/word", ""])
    for text in (
        "GET /?token=pass%2Fword#a",
        "Bearer pass/word",
        "?api_key=other-key&x=1",
        "openai-insecure-api-key.other-key",
        "ek_" + "a" * 43,
    ):
        written = formatter.format(logging.makeLogRecord({"msg": text}))
        assert (
            "word" not in written
            and "other" not in written
            and "aaa" not in written
            and "***" in written
        )
    assert (
        formatter.format(logging.makeLogRecord({"msg": "a monkey=1 and no secret"}))
        == "a monkey=1 and no secret"
    )


# --- E5: quotes


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("SHARED_SECRET", '"sesame"', "keys", ("sesame",)),
        ("SHARED_SECRET", "'a','b'", "keys", ("a", "b")),
        ("ASR_PORT", '"7000"', "asr_port", 7000),
        ("ALLOW_OPEN", "'true'", "allow_open", True),
        ("ASR_DEVICE", '"CPU"', "asr_device", "cpu"),
        ("HOST", '""', "host", "127.0.0.1"),
        ("OLLAMA_URL", '"http://o:1"', "llm_url", "http://o:1"),
        ("FILLER", '"Hm"', "filler", "Hm"),
        ("FILLER", '"Hm" or "well"', "filler", '"Hm" or "well"'),
        ("FILLER", "it's", "filler", "it's"),
        ("FILLER", '"', "filler", '"'),
    ],
)
def test_e5_quotes_around_values_are_no_part_of_them(name, text, field, value):
    assert getattr(build({}, {name: text}, {}), field) == value
    assert getattr(build({}, {}, {name: text}), field) == value


def test_e5_a_notice_says_so_without_the_value(caplog):
    build({}, {"SHARED_SECRET": '"sesame"', "FILLER": "Hm"}, {})
    (line,) = [record.getMessage() for record in caplog.records]
    assert "SHARED_SECRET" in line and "quotes" in line and "sesame" not in line
