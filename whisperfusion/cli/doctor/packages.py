"""Python packages: whether those of the chosen engines are installed and load."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterator

from whisperfusion.cli.doctor.finding import Finding, good
from whisperfusion.cli.doctor.speech_chains import speech_links
from whisperfusion.engines import ENGINES, Entry
from whisperfusion.errors import EngineError
from whisperfusion.models import cards
from whisperfusion.paths import own_python
from whisperfusion.settings import Settings, engine_options

# their versions only fit together in the image
GPU_PACKAGES = ("tensorrt_llm", "torch", "torchaudio", "whisperspeech", "webdataset")
# Modules with native code: an installed package may still fail to load when a system library is
# missing.
# Its CUDA build needs libraries that only this loads.
LLAMA = "from whisperfusion.engines.cuda import import_llama; import_llama()"
NATIVE = {
    "xllamacpp": LLAMA,
    "ctranslate2": "import ctranslate2",
    "onnxruntime": "import onnxruntime",
    "av": "import av",
}
COMMON_PACKAGES = (
    "websockets",
    "fastapi",
    "uvicorn",
    "httpx",
    "numpy",
    "av",
    "huggingface-hub",
    "filelock",
    "tqdm",
    "pip",
    "prometheus-client",
)
SECURE_PACKAGES = ("cryptography", "ifaddr", "segno")


def _speech(settings: Settings, kind: str) -> list[tuple[str, str, str]]:
    """Kind, engine and options of each link, or of the only engine."""
    try:
        links = [one for _, one in speech_links(settings, kind)] or [settings]
    except EngineError:  # told by the check of engines
        links = []
    engine, option = f"{kind}_engine", f"{kind}_option"
    return [(kind, getattr(one, engine), getattr(one, option)) for one in links]


def check_python(settings: Settings) -> Iterator[Finding]:
    yield good(f"Python {platform.python_version()} ({sys.executable})")
    chosen = [
        *_speech(settings, "asr"),
        ("llm", settings.llm_engine, settings.llm_option),
        *_speech(settings, "tts"),
        ("vad", settings.vad_engine, ""),
        ("turn", settings.turn_engine, ""),
        ("speaker", settings.speaker_engine, ""),
    ]
    # With the option `python` an engine runs in another interpreter, whose packages are unknown
    # here.
    here = [
        (name, ENGINES[kind].get(name))
        for kind, name, options in chosen
        if "python" not in engine_options(options)
    ]
    apart = {name: entry for name, entry in here if entry is not None and entry.environment}
    for name, entry in apart.items():
        yield own_interpreter(name, entry)
    entries = [entry for name, entry in here if name not in apart]
    secure = SECURE_PACKAGES if settings.secure else ()
    wanted = dict.fromkeys(
        (
            *COMMON_PACKAGES,
            *secure,
            *(name for entry in entries if entry is not None for name in entry.packages),
        )
    )
    found: list[str] = []
    for name in wanted:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
            yield from check_loads(name)
        except importlib.metadata.PackageNotFoundError:
            advice = (
                "run the GPU image: docs/gpu.md"
                if name in GPU_PACKAGES
                else f"{sys.executable} -m pip install {name}"
            )
            yield Finding("bad", f"the package {name} is not installed", advice)
    yield good(", ".join(found))


def own_interpreter(name: str, entry: Entry) -> Finding:
    """Whether the environment of an engine that does not live in ours has its packages."""
    program = own_python(entry.environment)
    install = f"make {entry.environment}"
    if program is None:
        return Finding(
            "bad",
            f"{name} runs in an interpreter of its own, which is not installed",
            f"{install}, or name one that has {', '.join(entry.packages)}: *_OPTION=python=PATH",
        )
    asked = "import sys; from importlib.metadata import version as v; print(*map(v, sys.argv[1:]))"
    tried = subprocess.run(
        [program, "-c", asked, *entry.packages],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if tried.returncode:
        why = (tried.stderr.strip().splitlines() or [f"exit status {tried.returncode}"])[-1]
        return Finding("bad", f"{name} cannot run in {program} ({why})", f"{install} again")
    versions = zip(entry.packages, tried.stdout.split(), strict=False)
    return good(f"{name} in {program}: {', '.join(' '.join(pair) for pair in versions)}")


def check_loads(package: str) -> Iterator[Finding]:
    """Imports it in a child process: an incompatible native library can crash the interpreter."""
    if package not in NATIVE:
        return
    tried = subprocess.run(
        [sys.executable, "-c", NATIVE[package]],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": cards.python_path()},
    )
    if tried.returncode:
        why = (tried.stderr.strip().splitlines() or [f"exit status {tried.returncode}"])[-1]
        advice = (
            "apt-get install libgomp1"
            if "libgomp" in why
            else f"{sys.executable} -m pip install --force-reinstall {package}"
        )
        yield Finding(
            "bad", f"the package {package} is installed and does not load ({why})", advice
        )
