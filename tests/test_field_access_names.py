"""Who may call us by which name, and who hears whom: cases of the field."""

from __future__ import annotations

import asyncio
import json

import pytest
from client import PATIENCE_S
from raw_http import asked, opened, upgraded
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from whisperfusion.client.timed_call import TimedCall
from whisperfusion.errors import SettingsError
from whisperfusion.messages import CallStarted
from whisperfusion.runtime.peers import client_address, gateway_token, is_gateway_token, networks
from whisperfusion.settings import Settings, build, may_call
from whisperfusion.synthesis.calls import Call as Call8888
from whisperfusion.synthesis.listeners import Listener as Listener8888
from whisperfusion.synthesis.pairing import pair
from whisperfusion.wire.tts_socket import Name

# --- B1: names


STRANGE = (
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "192.168.1.5",
    "[",
    "localhost@evil.example",
)
OURS = ("localhost:8000", "LOCALHOST.", "127.0.0.1", "127.0.0.2:1", "[::1]:8000", "page.localhost")


async def test_b1_without_a_key_only_names_of_this_machine_are_answered(scripted_server):
    server = scripted_server
    for host in STRANGE:
        for path in ("/", "/config.json", "/health", "/v1/models"):
            status, body = await asked(
                server.http_port, path, f"Host: {host}", f"Origin: http://{host}"
            )
            assert status in (403, 400) and (status == 400 or "ALLOWED_HOSTS" in body), (host, path)
        for port, path in (
            (server.http_port, "/transcription"),
            (server.asr_port, "/"),
            (server.tts_port, "/"),
        ):
            assert await upgraded(port, path, f"Host: {host}", f"Origin: http://{host}") in (
                403,
                400,
            ), (host, port)
    for host in OURS:
        assert (await asked(server.http_port, "/config.json", f"Host: {host}"))[0] == 200, host
        for port, path in (
            (server.http_port, "/audio"),
            (server.asr_port, "/"),
            (server.tts_port, "/"),
        ):
            assert await upgraded(port, path, f"Host: {host}") == 101, (host, port)
    reader, writer = await opened(server.http_port, b"GET /config.json HTTP/1.0\r\n\r\n")
    assert b" 200 " in await reader.readline()  # a program without any name is not a browser
    writer.close()


async def test_b1_relative_two_host_headers_are_both_looked_at(scripted_server):
    for port in (scripted_server.http_port, scripted_server.asr_port):
        for both in (
            ("Host: localhost", "Host: evil.example"),
            ("Host: evil.example", "Host: localhost"),
        ):
            assert await upgraded(port, "/transcription", *both) in (400, 403)


@pytest.mark.parametrize(
    ("fields", "host", "answered"),
    [
        ({"allowed_hosts": "voice.example.org"}, "voice.example.org:443", True),
        ({"allowed_hosts": "https://voice.example.org:8443"}, "voice.example.org", True),
        ({"allowed_hosts": "*.example.org"}, "voice.example.org", True),
        ({"allowed_hosts": "*.example.org"}, "example.org", False),
        ({"allowed_hosts": "*.example.org"}, "evilexample.org", False),
        ({"allowed_hosts": "*"}, "anything.example", True),
        ({"allowed_hosts": "fd00::1, 10.0.0.5"}, "[FD00:0::1]:8000", True),
        ({"host": "192.0.2.7"}, "192.0.2.7:8000", True),
        ({"host": "voice"}, "voice:8000", True),
        ({"host": "0.0.0.0", "allow_open": True}, "192.168.1.5:8000", True),
        ({"host": "0.0.0.0", "allow_open": True}, "localhost:8000", True),
        ({"host": "0.0.0.0", "allow_open": True}, "evil.example", False),
        ({"shared_secret": "k"}, "evil.example", True),  # the key keeps its page out
        ({"shared_secret": "k", "allowed_hosts": "voice.example.org"}, "evil.example", False),
        ({"shared_secret": "k", "allowed_hosts": "voice.example.org"}, "localhost", True),
    ],
)
def test_b1_relative_what_the_settings_allow(fields, host, answered):
    assert may_call(Settings(**fields), [host]) is answered


# --- B2: whose listener it is, and whose address


def call_of(
    uid: str,
    *,
    address: str = "1.1.1.1",
    whole: bool = False,
    key: int = -1,
    secret: str = "s3cret",
) -> Call8888:
    return Call8888(CallStarted(uid, uid, address, whole, "", 1.0, True, key, secret))


def listener_of(
    uid: str = "", *, address: str = "1.1.1.1", key: int = -1, secret: str = ""
) -> Listener8888:
    return Listener8888(uid, None, Name(uid, listen_secret=secret), address, key)  # type: ignore[arg-type]


def test_b2_another_key_does_not_hear_a_caller():
    ann, eve, own = (
        call_of("ann", key=0),
        listener_of("ann", key=1),
        listener_of("ann", key=0, address="9.9.9.9"),
    )
    refused = pair([ann], [eve, own])
    assert (
        ann.listener is own
        and [one for one, _ in refused] == [eve]
        and "another key" in refused[0][1]
    )


def test_b2_the_nameless_do_not_hear_a_caller_that_has_a_listener_of_its_own():
    for own in (
        listener_of("ann"),
        listener_of("ann", secret="s3cret"),
        listener_of(secret="s3cret", address="9.9.9.9"),
    ):
        ann, nameless = call_of("ann", whole=True), listener_of()
        assert pair([ann], [nameless]) == [] and ann.listener is nameless  # a stock page alone
        assert pair([ann], [nameless, own]) == [] and ann.listener is own
        ann.listener = None  # it hung up
        assert pair([ann], [nameless]) == [] and ann.listener is None


def test_b2_relative_a_listen_secret_beats_a_uid_and_a_wrong_one_is_refused():
    ann, squatter, own, wrong = (
        call_of("ann"),
        listener_of("ann"),
        listener_of("ann", secret="s3cret"),
        listener_of("ann", secret="x"),
    )
    pair([ann], [squatter])
    assert ann.listener is squatter  # the only plausible one, as ever
    refused = pair([ann], [squatter, own, wrong])
    assert ann.listener is own and {id(one) for one, _ in refused} == {id(squatter), id(wrong)}
    assert [one for one, _ in pair([ann], [own, squatter])] == [squatter]  # also later
    cat, known = call_of("cat"), listener_of("cat")
    pair([cat], [known])
    known.name = Name("cat", listen_secret="s3cret")  # the same connection shows more
    late = listener_of("cat")
    assert [one for one, _ in pair([cat], [known, late])] == [late]


def test_b2_relative_a_freed_nameless_listener_serves_the_next_page():
    ann, ben, nameless = call_of("ann", whole=True), call_of("ben", whole=True), listener_of()
    pair([ann], [nameless])
    pair([ann, ben], [nameless, listener_of("ann", secret="s3cret")])
    assert ben.listener is nameless


def test_a_listener_is_looked_at_for_its_own_call_only():
    """With each of 250 looked at for every call, a process was held for 15 s, and killed."""
    looked = 0

    class Watched(Listener8888):
        @property
        def address(self) -> str:
            nonlocal looked
            looked += 1
            return "1.1.1.1"

        @address.setter
        def address(self, value: str) -> None:
            return

    count = 250
    calls = [call_of(f"u{at}", secret=f"s{at}") for at in range(count)]
    own = [
        Watched(f"u{at}", None, Name(f"u{at}", listen_secret=f"s{at}" if at % 2 else ""), "", -1)  # type: ignore[arg-type]
        for at in range(count)
    ]
    assert pair(calls, own[::-1]) == []
    assert [call.listener for call in calls] == own
    assert count <= 2 * looked <= 4 * count


async def test_b2_another_key_on_8888_is_refused_and_the_caller_is_heard(keyed_server):
    server = keyed_server
    ours, theirs = {"Authorization": "Bearer sesame-one"}, {"X-API-Key": "sesame-two"}
    async with connect(server.asr_url, additional_headers=ours) as asr:
        await asr.send(json.dumps({"uid": "b2-ann", "events": True}))
        ready = json.loads(await asr.recv())
        assert len(ready["listen_secret"]) >= 16
        for extra in ("", f"&listen_secret={ready['listen_secret']}"):
            async with connect(
                f"{server.tts_url}/?uid=b2-ann{extra}", additional_headers=theirs
            ) as eve:
                refused = json.loads(await eve.recv())
                assert refused["code"] == "refused"
                with pytest.raises(ConnectionClosed):
                    await eve.recv()
                assert eve.close_code == 1008
        async with connect(f"{server.tts_url}/?uid=b2-ann", additional_headers=ours) as own:
            await asr.send(json.dumps({"type": "say", "text": "alpha"}))
            assert isinstance(await asyncio.wait_for(own.recv(), PATIENCE_S), bytes)


async def test_b2_relative_the_secret_takes_the_place_of_a_uid_on_a_running_server(scripted_server):
    server = scripted_server
    async with connect(f"{server.tts_url}/?uid=b2-bob") as squatter, connect(server.asr_url) as asr:
        await asr.send(json.dumps({"uid": "b2-bob", "events": True}))
        secret = json.loads(await asr.recv())["listen_secret"]
        async with connect(server.tts_url) as own:
            await own.send(json.dumps({"uid": "b2-bob", "listen_secret": secret, "events": True}))
            assert (
                json.loads(await asyncio.wait_for(squatter.recv(), PATIENCE_S))["code"] == "refused"
            )
            await asr.send(json.dumps({"type": "say", "text": "alpha"}))
            assert json.loads(await asyncio.wait_for(own.recv(), PATIENCE_S))["type"] == "start"


async def test_b2_our_client_shows_the_secret(scripted_server):
    async with TimedCall(scripted_server.asr_url, scripted_server.tts_url) as call:
        async with connect(
            f"{scripted_server.tts_url}/?uid={call.call.uid}&x=1", local_addr=("127.0.0.2", 0)
        ) as eve:
            assert json.loads(await asyncio.wait_for(eve.recv(), PATIENCE_S))["code"] == "refused"
        result = await call.typed("alpha")
        assert len(result.audio)


def test_b2_an_address_is_believed_from_trusted_proxies_only():
    proxies = networks("10.0.0.0/8, fd00::/8")
    assert client_address("127.0.0.1", ["6.6.6.6"], proxies) == "127.0.0.1"
    assert client_address("192.0.2.1", ["6.6.6.6"], proxies) == "192.0.2.1"
    assert (
        client_address("10.0.0.1", ["9.9.9.9, 6.6.6.6"], proxies) == "6.6.6.6"
    )  # what the client wrote itself stands before
    assert client_address("::ffff:10.0.0.1", ["6.6.6.6", "10.2.2.2"], proxies) == "6.6.6.6"
    assert (
        client_address("10.0.0.1", [], proxies)
        == client_address("10.0.0.1", ["nonsense"], proxies)
        == "10.0.0.1"
    )
    assert client_address("127.0.0.1", ["::ffff:6.6.6.6"], (), from_gateway=True) == "6.6.6.6"


def test_b2_relative_the_gateway_is_known_by_a_token_that_headers_cannot_guess():
    assert is_gateway_token(gateway_token()) and len(gateway_token()) >= 64
    for wrong in (None, "", gateway_token()[:-1], "é"):
        assert not is_gateway_token(wrong)
    with pytest.raises(SettingsError, match="TRUSTED_PROXIES.*10.0.0.5"):
        build({}, {"TRUSTED_PROXIES": "my-proxy"}, {})
