"""HTTPS=auto: what the authority signs, who is let in, how a device gets its key and keeps it;
ROOT_PATH (field case E6).
"""

from __future__ import annotations

import asyncio
import json
import plistlib
import socket
import ssl
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import httpx
import pytest
from cryptography import x509
from fake_sockets import PATIENCE_S, READY, fake_server, serving
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from whisperfusion.errors import SettingsError
from whisperfusion.gateway.access.certificates.authority import Authority, make
from whisperfusion.gateway.access.certificates.identity import TlsIdentity, sign
from whisperfusion.gateway.access.certificates.names import Names
from whisperfusion.gateway.access.certificates.x509 import fingerprint, pem, private_pem
from whisperfusion.gateway.access.pairing import LIFE_S, USES, Pairing, printed
from whisperfusion.gateway.access.qr_codes import half_blocks, matrix
from whisperfusion.gateway.page import WEB
from whisperfusion.runtime.devices import MOST, Devices, Keys
from whisperfusion.runtime.private_files import write
from whisperfusion.settings import Settings, build, check_access

NOW = datetime(2026, 6, 1, tzinfo=timezone.utc)
ELSEWHERE = {
    "Host": "192.168.7.7:8000"
}  # a name that is not loopback: as far as the doors can tell, not this machine


@pytest.fixture
def chosen(tmp_path):
    return Settings(
        https="auto", http_port=0, model_cache_dir=str(tmp_path), allowed_hosts="192.168.7.7"
    )


def served(settings: Settings) -> x509.Certificate:
    return x509.load_pem_x509_certificate((settings.https_dir / "server.pem").read_bytes())


def names_in(certificate: x509.Certificate) -> set[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(one.value) for one in found}


def shakes_hands(settings: Settings, trusted: bytes, chain, name: str) -> None:
    """A TLS handshake in memory.

    Raises ssl.SSLCertVerificationError if a client that asks for `name` refuses.
    """
    server, client = (
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        ssl.create_default_context(cadata=trusted),
    )
    server.load_cert_chain(chain)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(down, up, server_hostname=name)
    far = server.wrap_bio(up, down, server_side=True)
    for _ in range(4):
        for side in (near, far):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue


# --- the authority ------------------------------------------------------------------------------


def test_the_certificate_is_one_that_browsers_and_phones_accept(chosen):
    identity = TlsIdentity(chosen)
    certificate, root = served(chosen), identity.authority.certificate
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc <= timedelta(days=397)
    assert {"localhost", "127.0.0.1", "::1", "192.168.7.7"} <= names_in(certificate)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [one.dotted_string for one in usage] == ["1.3.6.1.5.5.7.3.1"]
    limits = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert limits.critical and (limits.value.ca, limits.value.path_length) == (True, 0)
    for name in ("localhost", "127.0.0.1", "192.168.7.7"):
        shakes_hands(chosen, identity.authority.der, chosen.https_dir / "server.pem", name)


@pytest.mark.parametrize("name", ["bank.example", "8.8.8.8"])
def test_what_a_stolen_authority_signs_for_others_is_not_believed(chosen, tmp_path, name):
    root = TlsIdentity(chosen).authority
    names = Names((name,), ()) if name[0].isalpha() else Names((), (name,))
    certificate, key = sign(root, names, NOW)
    assert names_in(certificate) == set()  # we do not sign it; a thief would

    class Thief(Authority):
        def allows(self, name: str) -> bool:
            return True

    certificate, key = sign(Thief(root.certificate, root.key), names, datetime.now(timezone.utc))
    write(tmp_path / "forged.pem", pem(certificate) + private_pem(key))
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
        shakes_hands(chosen, root.der, tmp_path / "forged.pem", name)


def test_keys_are_for_this_user_only(chosen):
    TlsIdentity(chosen)
    assert chosen.https_dir.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in chosen.https_dir.iterdir()} == {0o600}


def test_the_authority_stays_and_the_certificate_follows_names_and_time(chosen):
    first = TlsIdentity(chosen)
    serial = served(chosen).serial_number
    assert not first.refresh() and served(chosen).serial_number == serial
    assert (
        first.refresh(datetime.now(timezone.utc) + timedelta(days=370))
        and served(chosen).serial_number != serial
    )
    other = TlsIdentity(replace(chosen, allowed_hosts="192.168.9.9"))  # the machine has moved
    assert "192.168.9.9" in names_in(served(chosen)) and other.authority.der == first.authority.der
    named = TlsIdentity(
        replace(chosen, allowed_hosts="voice.example.org")
    )  # a name that it could not sign for
    assert named.authority.der != first.authority.der and "voice.example.org" in names_in(
        served(chosen)
    )


def test_an_authority_whose_files_do_not_fit_is_made_anew(chosen):
    first, file = TlsIdentity(chosen).authority, chosen.https_dir / "authority.key"
    write(file, private_pem(make("other", [], datetime.now(timezone.utc)).key))
    assert TlsIdentity(chosen).authority.der != first.der
    file.write_text("no key")
    with pytest.raises(SettingsError, match="remove the folder"):
        TlsIdentity(chosen)


def test_a_certificate_of_ones_own_is_read_again_when_it_changes(chosen, tmp_path):
    TlsIdentity(chosen)
    own = tmp_path / "own.pem"
    own.write_bytes((chosen.https_dir / "server.pem").read_bytes())
    identity = TlsIdentity(Settings(tls_cert=str(own), tls_key=str(own)))
    assert identity.authority is None and not identity.refresh()
    own.write_text("nothing")
    with pytest.raises(SettingsError, match="TLS_CERT"):
        TlsIdentity(Settings(tls_cert=str(own), tls_key=str(own)))
    with pytest.raises(SettingsError, match="belong together"):
        build({"tls_cert": str(own)}, {}, {})


def test_an_unusable_folder_is_told(tmp_path):
    (tmp_path / "https").write_text("a file")
    for folder, advice in ((tmp_path, "remove the folder"), ("/proc/none", "MODEL_CACHE_DIR")):
        with pytest.raises(SettingsError, match=advice):
            TlsIdentity(Settings(https="auto", model_cache_dir=str(folder)))


# --- pairing ------------------------------------------------------------------------------------


def key_in(invitation) -> str:
    return invitation.url.partition("#pair=")[2]


def test_a_pairing_key_is_good_for_a_few_devices_and_ten_minutes(chosen):
    now = [0.0]
    pairing = Pairing(chosen, None, 8000, clock=lambda: now[0])
    key = key_in(pairing.invite())
    assert pairing.accept("wrong", "phone") is None and pairing.accept("", "phone") is None
    devices = {pairing.accept(key, f"phone {number}") for number in range(USES)}
    assert len(devices) == USES and None not in devices
    assert pairing.accept(key, "one too many") is None
    second = key_in(pairing.invite())
    now[0] = LIFE_S + 1
    assert pairing.accept(second, "late") is None


def test_devices_stay_over_restarts_until_their_entry_goes(chosen):
    pairing = Pairing(chosen, None, 8000)
    key = pairing.accept(key_in(pairing.invite()), "phone")
    file = chosen.https_dir / "devices.json"
    assert (
        key not in file.read_text()
        and json.loads(file.read_text())["devices"][0]["name"] == "phone"
    )
    keys = Keys(chosen)  # as another process, or a later start, has it
    number = keys.number(["other", key])
    assert number and keys.number(["other"]) is None and keys.number([]) is None
    file.write_text('{"devices": []}')
    assert keys.number([key]) is None
    file.write_text("{")  # edited wrongly: no device is admitted, and nothing breaks
    assert keys.number([key]) is None
    file.unlink()
    assert keys.number([key]) is None


def test_the_list_of_devices_has_an_end(tmp_path):
    devices = Devices(tmp_path)
    first = devices.add("first")
    for number in range(MOST):
        last = devices.add(str(number))
    assert len(devices) == MOST and not devices.known([first]) and devices.known([last])


def test_the_invitation_fits_a_terminal(chosen):
    root = TlsIdentity(chosen).authority
    invitation = Pairing(chosen, root, 8000).invite()
    lines = printed(invitation, 8000).splitlines()
    codes = [line for line in lines if "█" in line]
    assert max(map(len, codes)) <= 80 and len(codes) >= 16
    assert any(line.endswith("http://192.168.7.7:8000/install") for line in lines)
    assert any(fingerprint(root.der) in line for line in lines) and invitation.url in lines[-2]
    own = printed(Pairing(chosen, None, 8000).invite(), 8000)  # a certificate that phones trust
    assert "/install" not in own and "https://192.168.7.7:8000/#pair=" in own
    rows = matrix(invitation.url)
    assert len(rows) == len(rows[0]) and len(half_blocks(rows)) == (len(rows) + 1) // 2


# --- who is let in ------------------------------------------------------------------------------


@asynccontextmanager
async def gateway(settings: Settings):
    """The gateway and a client that trusts its authority."""
    async with fake_server() as server:
        ports = {"asr_port": server.ports[0], "tts_port": server.ports[1]}
        async with serving(replace(settings, **ports), dict(READY)) as address:
            trust = ssl.create_default_context(cafile=str(settings.https_dir / "authority.crt"))
            async with httpx.AsyncClient(
                base_url=address, verify=trust, timeout=PATIENCE_S
            ) as http:
                yield http, address.removeprefix("https://"), trust


def test_a_server_with_https_starts_on_a_network_without_a_secret():
    check_access(Settings(host="0.0.0.0", https="auto"))
    with pytest.raises(SettingsError, match="HTTPS=auto"):
        check_access(Settings(host="0.0.0.0"))


async def test_this_machine_needs_no_key_over_either_and_other_names_need_one(chosen):
    async with gateway(replace(chosen, allow_open=True)) as (
        http,
        place,
        trust,
    ):  # ALLOW_OPEN opens no server with HTTPS
        for address in (f"https://{place}", f"http://{place}"):
            assert (await http.get(f"{address}/config.json")).status_code == 200
            assert (await http.get(f"{address}/health")).status_code == 200
        for path in ("/config.json", "/health", "/metrics", "/v1/models"):
            answer = await http.get(path, headers=ELSEWHERE)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "not_paired"), path
        assert (
            await http.get("/config.json", headers={"X-Forwarded-For": "192.168.7.9"})
        ).status_code == 401  # a proxy asks
        for path in ("/", "/install", "/static/app.js"):
            assert (await http.get(path, headers=ELSEWHERE)).status_code == 200
        with pytest.raises(InvalidStatus, match="401"):
            await connect(
                f"wss://{place}/transcription",
                ssl=trust,
                additional_headers={"X-Forwarded-For": "192.168.7.9"},
            )


async def test_with_a_secret_this_machine_needs_it_too_but_not_for_its_health(chosen):
    async with gateway(replace(chosen, shared_secret="sesame")) as (http, place, _):
        assert (await http.get(f"http://{place}/health")).status_code == 200
        assert (await http.get("/health", headers=ELSEWHERE)).status_code == 401
        for name in ({}, ELSEWHERE):
            assert (await http.get("/config.json", headers=name)).status_code == 401
            key = {**name, "Authorization": "Bearer sesame"}
            assert (await http.get("/config.json", headers=key)).status_code == 200


async def test_without_tls_others_get_the_authority_and_the_way_to_https(chosen):
    async with gateway(chosen) as (http, place, _):
        answer = await http.get(f"http://{place}/dashboard?a=1", headers=ELSEWHERE)
        assert (answer.status_code, answer.headers["location"]) == (
            307,
            "https://192.168.7.7:8000/dashboard?a=1",
        )
        answer = await http.post(f"http://{place}/pair", json={"key": "a"}, headers=ELSEWHERE)
        assert answer.status_code == 403 and "https://192.168.7.7:8000" in answer.text
        der = (await http.get(f"http://{place}/authority.crt", headers=ELSEWHERE)).content
        profile = plistlib.loads(
            (await http.get(f"http://{place}/authority.mobileconfig", headers=ELSEWHERE)).content
        )
        facts = (await http.get(f"http://{place}/authority.json", headers=ELSEWHERE)).json()
        assert profile["PayloadContent"][0]["PayloadContent"] == der and facts[
            "sha256"
        ] == fingerprint(der)
        assert profile["PayloadContent"][0]["PayloadType"] == "com.apple.security.root"


async def test_a_pairing_key_becomes_a_key_and_guesses_are_counted(chosen):
    async with gateway(chosen) as (http, _, _):
        assert (await http.post("/pairing", headers=ELSEWHERE)).status_code == 401
        assert (
            await http.post("/pairing", headers={"Origin": "https://evil.example"})
        ).status_code == 403
        made = (await http.post("/pairing")).json()
        assert made["url"].startswith("https://192.168.7.7:") and len(made["qr"]) == len(
            made["qr"][0]
        )
        key = made["url"].partition("#pair=")[2]
        device = (await http.post("/pair", json={"key": key}, headers=ELSEWHERE)).json()["key"]
        let_in = await http.get(
            "/config.json", headers={**ELSEWHERE, "Authorization": f"Bearer {device}"}
        )
        assert let_in.status_code == 200 and let_in.json()["pairing"] is True
        assert (
            await http.post("/pairing", headers={**ELSEWHERE, "X-API-Key": device})
        ).status_code == 200
        for body in (b"", b"[]", b'{"key": 1}', b'{"key": ' + b"[" * 500):
            assert (await http.post("/pair", content=body)).status_code == 400
        assert (await http.post("/pair", content=b"x" * 2000)).status_code == 413
        told = [
            (await http.post("/pair", json={"key": f"guess {number}"})).status_code
            for number in range(8)
        ]
        assert told[0] == 403 and told[-1] == 429


async def test_a_broken_handshake_and_a_silent_client_harm_nobody(chosen):
    async with gateway(chosen) as (http, place, _):
        name, _, port = place.rpartition(":")
        with (
            socket.create_connection((name, int(port))) as silent,
            socket.create_connection((name, int(port))) as broken,
        ):
            broken.sendall(b"\x16\x03\x01\x00\x05hello")
            assert silent and (await http.get("/health")).status_code == 200
            assert (await http.get(f"http://{place}/health")).status_code == 200


def goodbye(place: str, trust: ssl.SSLContext) -> ssl.SSLSocket:
    """A WebSocket that said goodbye, got the answer, and reads no further: TLS has not ended."""
    name, _, port = place.rpartition(":")
    line = trust.wrap_socket(socket.create_connection((name, int(port))), server_hostname=name)
    line.settimeout(10)
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    line.sendall(f"GET /transcription HTTP/1.1\r\nHost: {place}\r\n{upgrade}{key}\r\n".encode())
    while not line.recv(4096).endswith(b"\r\n\r\n"):
        pass
    line.sendall(b"\x88\x82\x00\x00\x00\x00\x03\xe8")  # close, code 1000
    assert line.recv(1) == b"\x88"
    return line


async def test_a_client_that_said_goodbye_does_not_disturb_a_stop(chosen):
    async with gateway(chosen) as (_, place, trust):
        line = await asyncio.to_thread(goodbye, place, trust)
    line.close()


# --- under a path -------------------------------------------------------------------------------


async def test_e6_everything_works_under_a_path_that_a_proxy_leaves_on_or_cuts_off():
    async with (
        fake_server() as server,
        serving(server.settings(root_path="/voice"), dict(READY)) as address,
    ):
        async with httpx.AsyncClient(base_url=address, timeout=PATIENCE_S) as http:
            for path in (
                "/",
                "/docs",
                "/dashboard",
                "/static/app.js",
                "/static/app.webmanifest",
                "/health",
                "/config.json",
            ):
                for prefix in ("", "/voice"):
                    assert (await http.get(prefix + path)).status_code == 200, prefix + path
            assert (await http.get("/voice/openapi.json")).json()["servers"] == [{"url": "/voice"}]
            moved = await http.get("/voice?a=1")
            assert (moved.status_code, moved.headers["location"]) == (307, "/voice/?a=1")
            assert (await http.get("/voicemail/")).status_code == 404
        async with connect(f"{address.replace('http', 'ws')}/voice/transcription") as line:
            await line.send(json.dumps({"uid": "a"}))
            assert json.loads(await line.recv())["message"] == "SERVER_READY"


async def test_e6_relative_pages_name_no_address_that_begins_at_the_root():
    for file in (*WEB.glob("*.html"), *WEB.glob("*.js"), *WEB.glob("*.webmanifest")):
        text = file.read_text()
        for wrong in ('="/', 'fetch("/', "fetch(`/", 'from "/', '": "/'):
            assert wrong not in text, (file.name, wrong)


@pytest.mark.parametrize("wrong", ["voice", "/voice/", "/a b"])
def test_e6_relative_a_root_path_that_is_no_path_is_refused(wrong):
    with pytest.raises(SettingsError, match="ROOT_PATH"):
        build({"root_path": wrong}, {}, {})
