"""A phone in the same room: Chromium in another network speaks by microphone over HTTPS=auto.
Without a key nothing answers.

The certificate authority is fetched over plain HTTP and installed as a person would, and the
address is the printed one.
"""

from __future__ import annotations

import json
import re
import shutil
import ssl
import sys
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile
from chromium import FLAGS, bubble, chromium
from netns import other_machine
from playwright.async_api import async_playwright, expect
from running import SCRIPTED, Server

from whisperfusion.engines.scripted import tone_speech

PATIENCE_MS = 40_000
RATE = 48_000
# Runs on the other machine: the input is a list of [address, headers]; the answer is what came.
ATTEMPTS = """
import asyncio, json, ssl, sys
import httpx
from websockets.asyncio.client import connect

tls = ssl.create_default_context(cafile=sys.argv[1])

async def attempt(address, headers):
    try:
        if address.startswith("ws"):
            context = tls if address.startswith("wss") else None
            async with connect(address, additional_headers=headers, ssl=context, proxy=None):
                return "open"
        async with httpx.AsyncClient(verify=tls, trust_env=False, timeout=40) as http:
            method = "POST" if "speech" in address else "GET"
            return (await http.request(method, address, headers=headers)).status_code
    except Exception as error:
        response = getattr(error, "response", None)
        return response.status_code if response else type(error).__name__

async def main():
    print(json.dumps([await attempt(*one) for one in json.load(sys.stdin)]))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = Server(
        *SCRIPTED,
        "--host=0.0.0.0",
        "--https=auto",
        f"--model-cache-dir={tmp_path_factory.mktemp('cache')}",
    )
    try:
        running.wait_ready()
        running.wait_for(lambda: "  then: https://" in running.log, what="to print an invitation")
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def phone():
    with other_machine() as machine:
        yield machine


@pytest.fixture(scope="module")
def invitation(server) -> str:
    return re.search(r"then: (https://\S+#pair=\S+)", server.log)[1]


@pytest.fixture(scope="module")
def place(invitation) -> str:
    """The printed name of the server and its port."""
    return urlsplit(invitation).netloc


@pytest.fixture(scope="module")
def authority(phone, place, tmp_path_factory):
    """As a phone gets it: over plain HTTP, for nothing can be trusted yet."""
    der, pem = (
        tmp_path_factory.mktemp("authority") / name
        for name in ("whisperfusion.crt", "authority.pem")
    )
    phone.run("curl", "-sSf", "-o", str(der), f"http://{place}/authority.crt")
    pem.write_text(ssl.DER_cert_to_PEM_cert(der.read_bytes()))
    return pem


def attempts(phone, authority, tries):
    return json.loads(
        phone.run(sys.executable, "-c", ATTEMPTS, str(authority), input=json.dumps(tries))
    )


def test_without_a_key_nothing_answers_another_machine(server, phone, place, authority):
    name = place.rpartition(":")[0]
    hear, speak = f"{name}:{server.asr_port}", f"{name}:{server.tts_port}"
    pretended = {"X-Forwarded-For": "127.0.0.1"}  # and, of the programs that can, another name
    secure = [
        f"https://{place}/{path}"
        for path in (
            "config.json",
            "health",
            "metrics",
            "events",
            "openapi.json",
            "v1/models",
            "v1/audio/speech",
        )
    ]
    sockets = [
        f"wss://{place}/{path}"
        for path in ("transcription", "audio", "v1/realtime", "ws", "transcription?token=wrong")
    ]
    inner = [
        f"ws://{hear}",
        f"ws://{speak}?uid=a",
        f"ws://{hear}?token=wrong",
        f"ws://{speak}?token=wrong",
    ]
    asked = [
        (address, headers) for address in (*secure, *sockets, *inner) for headers in ({}, pretended)
    ]
    asked += [(address, {"Host": "localhost"}) for address in secure]
    told = attempts(phone, authority, asked)
    assert [one for one in zip(asked, told, strict=True) if one[1] != 401] == []

    plain = [
        f"http://{place}/config.json",
        f"http://{place}/",
        f"ws://{place}/transcription",
        f"ws://{place}/audio",
    ]
    assert attempts(phone, authority, [(address, {}) for address in plain]) == [307, 307, 403, 403]
    assert attempts(phone, authority, [(address, pretended) for address in plain]) == [
        307,
        307,
        403,
        403,
    ]
    assert attempts(
        phone, authority, [(address, {"Host": "localhost"}) for address in plain[:2]]
    ) == [307, 307]
    closed = [f"https://{hear}/", f"https://{speak}/", f"wss://{hear}", f"wss://{speak}"]
    assert not set(attempts(phone, authority, [(address, {}) for address in closed])) & {
        200,
        101,
        "open",
    }


async def test_chromium_elsewhere_speaks_by_microphone_with_the_installed_authority(
    server, phone, invitation, authority, tmp_path
):
    question_text, home = "alpha beta gamma", tmp_path / "home"
    nss = home / ".pki" / "nssdb"
    nss.mkdir(parents=True)
    assert shutil.which("certutil"), "this test needs the Debian package libnss3-tools"
    phone.run("certutil", "-d", f"sql:{nss}", "-N", "--empty-password")
    phone.run(
        "certutil",
        "-d",
        f"sql:{nss}",
        "-A",
        "-n",
        "WhisperFusion",
        "-t",
        "C,,",
        "-i",
        str(authority),
    )
    recording = tmp_path / "microphone.wav"
    quiet = np.zeros(4 * RATE, np.float32)  # it is said again and again
    soundfile.write(
        recording, np.concatenate((quiet, tone_speech(question_text, RATE), quiet)), RATE
    )
    async with async_playwright() as play:
        browser = await play.chromium.launch(
            executable_path=phone.launcher(chromium(), tmp_path),
            args=[*FLAGS, f"--use-file-for-fake-audio-capture={recording}"],
            env={"HOME": str(home), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
        try:
            page = await (await browser.new_context()).new_page()
            await page.goto(invitation)  # a certificate that is not trusted would raise here
            await page.wait_for_selector("body[data-loaded]", timeout=PATIENCE_MS)
            assert "pair=" not in page.url and await page.evaluate("isSecureContext")
            await page.click("#talk")
            question, answer = bubble(page, "user").first, bubble(page, "assistant").first
            await expect(question).to_have_attribute("data-state", "final", timeout=PATIENCE_MS)
            shown_text = await question.locator(".text").text_content()
            await expect(answer.locator(".latency")).to_be_visible(timeout=PATIENCE_MS)
            # Chromium's microphone of a file halts on a busy machine, which cuts tones and turns
            assert shown_text.startswith(question_text[:4])
            assert f"You said {shown_text}" in await answer.locator(".text").text_content()
            key = await page.evaluate("localStorage['whisperfusion-device']")
            await page.reload()  # the key is kept
            await page.wait_for_selector("body[data-loaded]", timeout=PATIENCE_MS)
        finally:
            await browser.close()
    opened = [
        f"wss://{urlsplit(invitation).netloc}/transcription?token={key}",
        f"ws://{urlsplit(invitation).hostname}:{server.asr_port}?token={key}",
    ]
    assert attempts(phone, authority, [(address, {}) for address in opened]) == ["open", "open"]
