"""The wheel: built, installed in an environment of its own outside the checkout, and used there.

Its libraries are those of the interpreter that runs the tests, by a line in a .pth file: what is
tried is this project's own part, its files and its names.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
import urllib.request
import venv
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from running import ROOT, SCRIPTED, Server
from test_requirements_gpu import pins
from test_talk import recording, write_wav

from whisperfusion import __version__

PROGRAMS = ("main", "whisper_server", "llm_service", "tts_service", "gateway")
NOT_SERVED = {"package.json", "README.md"}  # of web/: for npm


def fetched(server: Server, path: str) -> bytes:
    with urllib.request.urlopen(server.http_url + path, timeout=30) as answer:
        return answer.read()


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files(folder: Path) -> set[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in found if path.suffix != ".pyc"}


@pytest.fixture(scope="session")
def installed(tmp_path_factory) -> Path:
    """The folder of the environment: bin/ has the command."""
    folder = tmp_path_factory.mktemp("wheel")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    python = folder / "env" / "bin" / "python"
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", *options, "--wheel-dir", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("whisperfusion-*.whl")
    run(*pip, "--python", python, "install", *options[:3], wheel, cwd=folder)
    libraries = folder / "env" / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    (libraries / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "env"


@pytest.fixture(scope="session")
def package(installed) -> Path:
    return next(installed.glob("lib/*/site-packages/whisperfusion"))


@pytest.fixture(scope="session")
def metadata(package) -> Distribution:
    return PathDistribution(package.parent / f"whisperfusion-{__version__}.dist-info")


@pytest.fixture(scope="module")
def server(installed, tmp_path_factory):
    class Installed(Server):
        command = (str(installed / "bin" / "whisperfusion"),)
        folder = tmp_path_factory.mktemp("elsewhere")

    running = Installed(*SCRIPTED, PYTHONPATH="")
    try:
        yield running.wait_ready()
    finally:
        running.stop()


def test_it_holds_the_package_the_programs_and_the_page_and_nothing_else(package):
    expected = {f"programs/{name}.py" for name in PROGRAMS} | files(ROOT / "whisperfusion")
    expected |= {f"web/{name}" for name in files(ROOT / "web") - NOT_SERVED}
    expected |= {f"example_agents/{name}" for name in files(ROOT / "agents")}
    assert files(package) == expected and "py.typed" in expected
    for name in PROGRAMS:
        same = (package / "programs" / f"{name}.py").read_bytes()
        assert same == (ROOT / f"{name}.py").read_bytes()


def test_the_command_says_its_version_and_its_name(installed, tmp_path):
    command = installed / "bin" / "whisperfusion"
    assert run(command, "--version", cwd=tmp_path) == f"whisperfusion {__version__}\n"
    told = run(command, "--help", cwd=tmp_path)
    assert told.startswith("usage: whisperfusion ") and "main.py" not in told
    same = run(installed / "bin" / "python", "-m", "whisperfusion", "--version", cwd=tmp_path)
    assert same == f"whisperfusion {__version__}\n"
    assert "whisper-base" in run(command, "--model-cache-dir=.", "models", cwd=tmp_path)


def test_it_serves_its_page_and_its_version(server, package):
    for name, file in (("", "index.html"), ("static/whisperfusion.js", "whisperfusion.js")):
        assert fetched(server, f"/{name}") == (package / "web" / file).read_bytes()
    assert server.health()[1]["version"] == __version__
    assert json.loads(fetched(server, "/openapi.json"))["info"]["version"] == __version__
    agents = json.loads(fetched(server, "/config.json"))["agents"]
    assert [one["name"] for one in agents] == ["receptionist", "tutor"]
    wanted = f'whisperfusion_build_info{{version="{__version__}"}} 1.0'
    assert wanted in fetched(server, "/metrics").decode()


def test_a_spoken_call_is_answered(installed, server, tmp_path):
    """By the other command, `whisperfusion talk`, over both sockets."""
    file = write_wav(tmp_path / "spoken.wav", recording("alpha beta"))
    ports = (f"--asr-port={server.asr_port}", f"--tts-port={server.tts_port}")
    told = run(installed / "bin" / "whisperfusion", *ports, "talk", file, cwd=tmp_path)
    assert "You said alpha beta. That is 2 words." in told


async def test_an_upload_is_decoded_by_a_child_process(server, tmp_path):
    file = write_wav(tmp_path / "spoken.wav", recording("alpha beta"))
    async with httpx.AsyncClient(base_url=server.http_url, timeout=30) as http:
        files = {"file": Path(file).read_bytes()}
        answer = await http.post("/v1/audio/transcriptions", files=files)
    assert answer.json()["text"] == "alpha beta"


def test_a_checkout_that_is_installed_in_place_has_the_same_programs(tmp_path):
    """`pip install -e .`: the package finds the programs at the root."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import whisperfusion.programs.main as m"
    code += "; print(m.__file__, m.STAGES['asr'])"
    told = run(sys.executable, "-c", code, ROOT, cwd=tmp_path)
    assert told.split() == [str(ROOT / "main.py"), "whisperfusion.programs.whisper_server"]


def test_the_tested_set_fits_the_ranges(metadata):
    """requirements.txt is made from the list in pyproject.toml, so every range has its pin."""
    pinned = {canonicalize_name(name): pin for name, pin in pins("requirements.txt").items()}
    pinned |= {canonicalize_name(name): pin for name, pin in pins("requirements-dev.txt").items()}
    extras = set(metadata.metadata.get_all("Provides-Extra"))
    assert extras == {"debug", "gpu", "mcp", "mic", "piper", "redis", "search", "tracing"}
    for line in metadata.requires:
        requirement = Requirement(line)
        if re.search(r"extra == .(gpu|mic)", line):  # no test needs these
            continue
        assert requirement.specifier.contains(pinned[requirement.name]), line
    assert not {Requirement(line).name for line in metadata.requires} & {"torch", "tensorrt-llm"}


def test_a_release_that_lacks_what_is_called_is_outside_the_ranges(metadata):
    """PyAV 19, which exists for Python 3.12 and later: every upload failed with it."""
    (decoder,) = [Requirement(line) for line in metadata.requires if line.startswith("av")]
    assert decoder.specifier.contains("18.1.0") and not decoder.specifier.contains("19.0.2")


def test_the_web_client_has_the_same_version():
    assert json.loads((ROOT / "web" / "package.json").read_text())["version"] == __version__
