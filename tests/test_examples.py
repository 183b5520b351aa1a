"""Every program of examples/, run as its docstring says, against the running server with scripted
engines.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from chromium import PATIENCE_S, browser_with
from playwright.async_api import expect
from running import ROOT, SCRIPTED, Server
from test_rest import speech_of, wav, words_in

from whisperfusion.runtime.ports import free_ports

EXAMPLES = ROOT / "examples"
PROGRAMS = sorted(path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*.py"))
LONGEST = 60  # lines


@pytest.fixture(scope="module")
def site() -> int:
    """The port at which the embedded page is served."""
    return free_ports(1)[0]


@pytest.fixture(scope="module")
def server(site):
    (wyoming,) = free_ports(1)
    origin = f"--cors-origins=http://localhost:{site}"
    running = Server(*SCRIPTED, f"--wyoming-port={wyoming}", origin)
    running.wyoming_url = f"tcp://127.0.0.1:{wyoming}"
    try:
        yield running.wait_ready()
    finally:
        running.stop()


@pytest.fixture
def run(server, tmp_path) -> Callable[..., str]:
    """Run an example in a folder with recordings; returns what it printed."""
    pcm = speech_of("alpha beta")
    upper = np.interp(np.arange(len(pcm) * 3 // 2) / 1.5, np.arange(len(pcm)), pcm)
    (tmp_path / "question.wav").write_bytes(wav(pcm))
    (tmp_path / "question-24k.wav").write_bytes(wav(upper, 24_000))

    def run_one(name: str, *arguments: str, stdin: bytes = b"") -> str:
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / name), *arguments],
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            timeout=90,
            env=environment(server),
        )
        assert done.returncode == 0, (done.stdout[-500:], done.stderr.decode()[-2000:])
        return done.stdout.decode()

    return run_one


def environment(server: Server) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "NO_PROXY": "*",
        "WHISPERFUSION_URL": server.http_url,
    }


# --- the programs ------------------------------------------------------------------------------


def test_captions(run):
    lines = run("captions.py", "question.wav").splitlines()
    assert re.search(r"0\.\d\d - +\d\.\d\d  alpha beta", lines[-1]), lines


def test_subtitles(run, tmp_path):
    assert "1 subtitles" in run("subtitles.py", "question.wav")
    assert "alpha beta" in (tmp_path / "question.srt").read_text()


def test_realtime(run, tmp_path):
    printed = run("realtime.py", "question-24k.wav", "answer.wav")
    assert "You said alpha beta. That is 2 words." in printed
    spoken = (tmp_path / "answer.wav").read_bytes()
    assert words_in(spoken) == "you said alpha beta.that is 2 words."


def test_conversation(run, tmp_path):
    printed = run("conversation.py", "hello there", "recall")
    assert "You said hello there. That is 2 words. \nYou: recall\nI said: You said" in printed
    assert words_in((tmp_path / "conversation.wav").read_bytes()).startswith(
        "you said hello there."
    )


def test_push_to_talk(run):
    microphone = (speech_of("alpha beta") * 32767).astype("<i2").tobytes()
    printed = run("push_to_talk.py", stdin=microphone)
    assert "You: alpha beta\nYou said alpha beta. That is 2 words." in printed


def test_tool(run):
    printed = run("tool.py", "use dentist")
    assert 'The result is ["dentist on monday at nine"]' in printed


def test_home_assistant(run, server):
    printed = run("home_assistant.py", server.wyoming_url)
    assert "understood: turn on the light" in printed


def test_open_webui(run, server, tmp_path):
    settings = (EXAMPLES / "open_webui.py").read_text()
    (tmp_path / "open_webui.env").write_text(
        settings.replace("http://host.docker.internal:8000", server.http_url)
    )
    assert "speech to text: it works" in run("open_webui.py", "open_webui.env")


async def test_embedded_page(server, site):
    command = [sys.executable, str(EXAMPLES / "embedded_page.py")]
    with subprocess.Popen(command, env={**environment(server), "PORT": str(site)}) as serving:
        try:
            async with browser_with() as browser:
                page = await browser.new_page()
                page.set_default_timeout(PATIENCE_S * 1000)
                await asyncio.wait_for(reached(f"http://localhost:{site}"), PATIENCE_S)
                await page.goto(f"http://localhost:{site}")
                await page.fill("#line", "alpha beta")
                await page.press("#line", "Enter")
                answer = page.locator("#lines li").last
                await expect(answer).to_have_text(
                    "assistant: You said alpha beta. That is 2 words.", timeout=PATIENCE_S * 1000
                )
        finally:
            serving.terminate()


async def reached(address: str) -> None:
    """Until the program serves."""
    async with httpx.AsyncClient() as http:
        while True:
            try:
                await http.get(address)
                return
            except httpx.ConnectError:
                await asyncio.sleep(0.05)


def test_custom_engine(start_server, tmp_path):
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    where = ["--no-deps", "--no-build-isolation", "--target", str(tmp_path)]
    subprocess.run([*install, *where, str(EXAMPLES / "custom_engine")], check=True)
    others = [flag for flag in SCRIPTED if "llm" not in flag]
    path = os.pathsep.join((str(tmp_path), str(ROOT)))
    server = start_server(
        *others, "--llm-engine=doctor", "--llm-option=patient=Ada", PYTHONPATH=path
    )
    question = {"file": ("question.wav", wav(speech_of("i feel like my dog")), "audio/wav")}
    answer = httpx.post(f"{server.http_url}/interact", files=question, timeout=60)
    assert answer.headers["x-reply"] == "Ada%2C%20Why%20do%20you%20feel%20like%20your%20dog%3F"


# --- the folder --------------------------------------------------------------------------------


def test_every_example_is_run_here():
    """By a test of its name."""
    tests = Path(__file__).read_text(encoding="utf-8")
    names = {Path(name).parts[0].removesuffix(".py") for name in PROGRAMS}
    assert names == set(
        re.findall(r"^(?:async )?def test_(\w+)\([^)]*\b(?:run|site|start_server)\b", tests, re.M)
    )


def test_every_example_is_in_the_list():
    table = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    linked = re.findall(r"^\| \[[^]]+\]\(([^)]+)\)", table, re.M)
    assert sorted(linked) == PROGRAMS


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_example_is_short_and_says_how_to_run_it(name):
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST
    docstring = text.split('"""')[1]
    assert re.search(r"python \S*(examples/|main\.py)", docstring)
