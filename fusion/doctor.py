"""`main.py doctor`: what this machine can do, what would be used and why, and what stands in the way.

Each check returns findings; printing and the verdict are done in one place. Nothing is fetched or changed and no
model is loaded, so speeds are predictions: two short measurements here, scaled by what the same measurements
gave on the machine where the speeds in `REFERENCE` were taken.
"""

from __future__ import annotations

import errno
import importlib.metadata
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fusion import engines, machine, models, trt_engines
from fusion.model_table import Model
from fusion.settings import Settings, engine_options

LLM_SERVER_PATIENCE_S = 2.0
OTHER_MEMORY = 1_300_000_000  # bytes for everything beside the language model

# Package of each engine; who chose another engine needs another package.
ENGINE_PACKAGES = {"faster-whisper": ("faster-whisper", "ctranslate2"), "llama.cpp": ("xllamacpp",), "hibari": ("hibari-tts",),
                   "tensorrt-whisper": ("tensorrt_llm", "torch", "faster-whisper"), "tensorrt-llm": ("tensorrt_llm", "tokenizers"),
                   "whisperspeech": ("whisperspeech", "torch", "torchaudio", "webdataset"), "piper": ("piper-tts",),
                   "silero": ("faster-whisper", "onnxruntime"), "smart-turn": ("onnxruntime",)}
GPU_PACKAGES = ("tensorrt_llm", "torch", "torchaudio", "whisperspeech", "webdataset")  # their versions only fit together in the image
# Native libraries of the chosen engines: what is installed may still not load, for lack of a library of the system.
NATIVE = {"xllamacpp": "xllamacpp", "ctranslate2": "ctranslate2", "onnxruntime": "onnxruntime", "av": "av"}
COMMON_PACKAGES = ("websockets", "fastapi", "uvicorn", "httpx", "numpy", "av", "huggingface-hub", "filelock", "tqdm", "pip",
                   "prometheus-client")


@dataclass(frozen=True)
class Reference:
    """Speeds on 2 cores of an AMD EPYC with AVX-512 and nothing else running."""

    gflops: float = 210.0  # of `_gflops`
    gigabytes_s: float = 24.7  # of `_gigabytes_s`
    # Seconds of work for each second of speech. Computing bounds these three.
    hear_rtf: float = 0.047  # Whisper base, 280 ms for a sentence of 6 s
    hear_bytes: int = 147_882_941
    hibari_rtf: float = 0.012
    piper_rtf: float = 0.05
    # Reading the weights bounds this one: tokens a second and the size of the model that gave it.
    tokens_s: float = 26.0  # with one decoding thread, as the engine has on two cores
    llm_bytes: int = 491_400_064


REFERENCE = Reference()


@dataclass(frozen=True)
class Finding:
    """`level`: "good", "note" (works, but worth knowing) or "bad" (cannot run). `advice` tells what to do."""

    level: str
    text: str
    advice: str = ""


def good(text: str) -> Finding:
    return Finding("good", text)


# --- the machine ----------------------------------------------------------------------------------------


def check_machine(settings: Settings) -> Iterator[Finding]:
    count, memory = machine.cores(), machine.memory_bytes()
    yield good(f"{count} core{'s' * (count != 1)}, {memory / 1e9:.1f} GB of memory, {platform.system()} on {platform.machine()}")
    folder = next(place for place in (settings.cache, *settings.cache.absolute().parents) if place.exists())
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:.1f} GB free for models in {settings.cache}"
    if os.access(folder, os.W_OK):
        yield good(text)
    else:
        yield Finding("bad", f"{settings.cache} cannot be written", "name another folder with MODEL_CACHE_DIR")
    yield check_gpu(settings)


def check_gpu(settings: Settings) -> Finding:
    if shutil.which("nvidia-smi"):
        try:
            asked = subprocess.run(["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"], capture_output=True,
                                   text=True, timeout=10, check=False)
        except subprocess.TimeoutExpired:
            return Finding("note", "nvidia-smi does not answer", "the driver may hang; a restart of the machine often helps")
        if asked.returncode == 0 and asked.stdout.strip():
            return good(f"GPU: {'; '.join(asked.stdout.strip().splitlines())}")
        return Finding("note", f"nvidia-smi finds no GPU: {(asked.stdout + asked.stderr).strip()[:200]}", "look at the NVIDIA driver")
    if any(Path("/dev").glob("nvidia[0-9]*")):
        return Finding("note", "a GPU device is there but not nvidia-smi", "install the driver's tools, or start the container with --gpus")
    if settings.asr_device == "cuda":
        return Finding("bad", "ASR_DEVICE=cuda, but no NVIDIA GPU is to be seen", "set ASR_DEVICE=auto")
    return good("no NVIDIA GPU: everything runs on the CPU")


def check_python(settings: Settings) -> Iterator[Finding]:
    yield good(f"Python {platform.python_version()} ({sys.executable})")
    engines_of = [(getattr(settings, f"{kind}_engine"), getattr(settings, f"{kind}_option")) for kind in ("asr", "llm", "tts")]
    # With the option `python` an engine has an interpreter of its own, whose packages are not seen from here.
    chosen = [engine for engine, options in engines_of if "python" not in engine_options(options)]
    chosen += [settings.vad_engine, settings.turn_engine]
    wanted = dict.fromkeys((*COMMON_PACKAGES, *(name for engine in chosen for name in ENGINE_PACKAGES.get(engine, ()))))
    found: list[str] = []
    for name in wanted:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
            yield from check_loads(name)
        except importlib.metadata.PackageNotFoundError:
            advice = "run the GPU image: docs/gpu.md" if name in GPU_PACKAGES else f"{sys.executable} -m pip install {name}"
            yield Finding("bad", f"the package {name} is not installed", advice)
    yield good(", ".join(found))


def check_loads(package: str) -> Iterator[Finding]:
    """Tried in a process of its own: a native library that does not fit can end it."""
    if package not in NATIVE:
        return
    tried = subprocess.run([sys.executable, "-c", f"import {NATIVE[package]}"], capture_output=True, text=True, timeout=60, check=False)
    if tried.returncode:
        why = (tried.stderr.strip().splitlines() or [f"exit status {tried.returncode}"])[-1]
        advice = "apt-get install libgomp1" if "libgomp" in why else f"{sys.executable} -m pip install --force-reinstall {package}"
        yield Finding("bad", f"the package {package} is installed and does not load ({why})", advice)


# --- ports ----------------------------------------------------------------------------------------------


def check_ports(settings: Settings) -> Iterator[Finding]:
    for name in ("asr_port", "tts_port", "http_port"):
        port = getattr(settings, name)
        yield check_port(settings.host, port, name.upper()) if port else good(f"{name.upper()}: any free port")


def check_port(host: str, port: int, variable: str) -> Finding:
    """Whether a server could listen there now; tried by doing it."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a port that just closed is free
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return Finding("bad", f"port {port} is in use by {owner_of(port)}", f"stop it, or choose another port with {variable}")
        return Finding("bad", f"cannot listen on {host}:{port} ({error.strerror})", f"choose another HOST or {variable}")
    return good(f"port {port} is free")


def owner_of(port: int, proc: Path = Path("/proc")) -> str:
    """The program that listens on `port`, as far as this user may see."""
    inodes = set()
    for table in (proc / "net/tcp", proc / "net/tcp6"):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            columns = line.split()
            if columns[3] == "0A" and int(columns[1].rpartition(":")[2], 16) == port:  # 0A = listening
                inodes.add(f"socket:[{columns[9]}]")
    for handle in proc.glob("[0-9]*/fd/*") if inodes else ():
        try:
            if os.readlink(handle) in inodes:
                process = handle.parent.parent
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return f"process {process.name} ({command[:80]})"
        except OSError:  # another user's process, or one that has just ended
            continue
    return "another program"


# --- what would be used ----------------------------------------------------------------------------------


def check_engines(settings: Settings) -> Iterator[Finding]:
    rows = (("asr", settings.asr_engine, settings.asr_model), ("vad", settings.vad_engine, ""), ("turn", settings.turn_engine, ""),
            ("llm", settings.llm_engine, settings.llm_model), ("tts", settings.tts_engine, settings.tts_voice or "its default voice"))
    for kind, name, model in rows:
        added = {point.name for point in importlib.metadata.entry_points(group=f"whisperfusion.{kind}")}
        known = {*engines.TABLE[kind], *added, *(("none",) if kind == "turn" else ())}
        if name not in known:
            yield Finding("bad", f"there is no {kind} engine {name!r}", f"set {kind.upper()}_ENGINE to one of: {', '.join(sorted(known))}")
            continue
        why = f": {models.default_llm(machine.cores(), machine.memory_bytes())[1]}" if (name, model) == ("llama.cpp", "auto") else ""
        yield good(f"{kind}: {name}" + (f", {model}" if model else "") + why)
    small = models.small_asr(settings)
    if small is not None:
        here = "" if models.path_of(small, settings.cache) else "; it is not here yet: main.py models fetch"
        yield good(f"asr when too many talk at once: {small.id}{here}")


def check_tensorrt(settings: Settings) -> Iterator[Finding]:
    """Whether the engines are built; whether they load shows only on their GPU."""
    for kind, engine in (("asr", settings.asr_engine), ("llm", settings.llm_engine)):
        if engine.startswith("tensorrt-"):
            folder = trt_engines.folder(kind, settings)
            if any(folder.glob("*.engine")):
                yield good(f"{kind}: TensorRT engine in {folder}")
            else:
                yield Finding("bad", f"{kind}: there is no TensorRT engine in {folder}",
                              "docker/scripts/build-models.sh builds what the settings ask for; the container does it at its start")


def check_models(settings: Settings) -> Iterator[Finding]:
    yield from check_tensorrt(settings)
    try:
        wanted = models.needed(settings)
    except models.ModelError as error:
        yield Finding("bad", str(error), "correct ASR_MODEL, LLM_MODEL or TTS_MODEL")
        return
    missing = [model for model in wanted if models.path_of(model, settings.cache) is None]
    for model in wanted:
        size = f"{model.bytes / 1e6:,.0f} MB" if model.bytes else "size not known"
        if model not in missing:
            yield good(f"{model.id} is here ({size}), {model.licence}" if model.path is None else f"{model.path} is here")
        elif set(model.sources) & set(settings.sources):
            yield Finding("note", f"{model.id} is not here yet ({size})", "main.py models fetch, or just start: it is fetched then")
        else:
            yield Finding("bad", f"{model.id} is not here and MODEL_SOURCES={settings.model_sources} does not have it",
                          f"add {', '.join(model.sources) or 'the file itself'}, or choose another model (main.py models)")
    total = sum(model.bytes for model in missing)
    folder = next(place for place in (settings.cache, *settings.cache.absolute().parents) if place.exists())
    if total > shutil.disk_usage(folder).free:
        yield Finding("bad", f"the missing models need {total / 1e9:.1f} GB", "make room, or name another folder with MODEL_CACHE_DIR")
    language = sum(model.bytes for model in wanted if model.kind == "llm") * 1.2  # weights, cache and buffers
    if wanted and language + OTHER_MEMORY > machine.memory_bytes():
        yield Finding("note", f"about {(language + OTHER_MEMORY) / 1e9:.1f} GB of memory will be needed",
                      f"choose a smaller LLM_MODEL, such as {machine.LLM_TINY}")


def check_llm_server(settings: Settings) -> Iterator[Finding]:
    """Reachability only; whether the model is there is the engine's to say."""
    if settings.llm_engine not in ("ollama", "openai"):
        return
    import httpx

    default = "http://127.0.0.1:11434" if settings.llm_engine == "ollama" else "https://api.openai.com/v1"
    base = (settings.llm_url or default).rstrip("/")
    address = base + ("/api/tags" if settings.llm_engine == "ollama" else "/models")
    fall_back = models.fallback_llm(settings).id
    try:
        headers = {"Authorization": f"Bearer {settings.llm_key}"} if settings.llm_key else {}
        status = httpx.get(address, headers=headers, timeout=LLM_SERVER_PATIENCE_S).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        yield Finding("note", f"the LLM server {base} cannot be reached ({error or type(error).__name__})",
                      f"start it or correct LLM_URL; until then {fall_back} answers in its place")
        return
    if status in (401, 403):
        yield Finding("note", f"the LLM server {base} refuses the key ({status})", "correct LLM_KEY")
    else:
        yield good(f"the LLM server {base} answers (status {status})")


# --- how fast --------------------------------------------------------------------------------------------


def check_speed(settings: Settings) -> Iterator[Finding]:
    """Predicted seconds of work for each second of speech (real-time factor), and words a second."""
    compute, reading = _gflops() / REFERENCE.gflops, _gigabytes_s() / REFERENCE.gigabytes_s
    yield good(f"computing {compute:.2f} times, memory {reading:.2f} times the reference machine; what follows is a prediction")
    chosen = {model.kind: model for model in _needed_or_none(settings)}
    if "asr" in chosen and chosen["asr"].bytes:
        factor = REFERENCE.hear_rtf * chosen["asr"].bytes / REFERENCE.hear_bytes / compute
        yield _paced(f"hearing ({chosen['asr'].id}): real-time factor about {factor:.2f} on the CPU", factor, 0.3, "a smaller ASR_MODEL")
    if "llm" in chosen and chosen["llm"].bytes:
        tokens = REFERENCE.tokens_s * REFERENCE.llm_bytes / chosen["llm"].bytes * min(compute, reading)
        # People speak 2.5 words a second, which is about 4 tokens.
        text = f"thinking ({chosen['llm'].id}): about {tokens:.0f} tokens a second on the CPU"
        yield _paced(text, 4 / tokens, 0.5, "a smaller LLM_MODEL")
    if settings.tts_engine in ("hibari", "piper"):
        factor = (REFERENCE.hibari_rtf if settings.tts_engine == "hibari" else REFERENCE.piper_rtf) / compute
        yield _paced(f"speaking ({settings.tts_engine}): real-time factor about {factor:.3f}", factor, 0.5, "TTS_ENGINE=hibari")


def _paced(text: str, factor: float, limit: float, advice: str) -> Finding:
    return good(text) if factor < limit else Finding("note", f"{text}: slow", f"try {advice}, or close other programs")


def _needed_or_none(settings: Settings) -> list[Model]:
    try:
        return models.needed(settings)
    except models.ModelError:  # check_models says it
        return []


def _best_s(work: Callable[[], object], budget_s: float) -> float:
    """The fastest run of `work` within the budget: other programs only ever make it slower."""
    best, end = float("inf"), time.perf_counter() + budget_s
    while time.perf_counter() < end:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def _gflops() -> float:
    import numpy as np

    side = 768
    matrix = np.ones((side, side), np.float32)
    return float(2 * side**3 / _best_s(lambda: matrix @ matrix, 0.3) / 1e9)


def _gigabytes_s() -> float:
    import numpy as np

    block = np.ones(16_000_000, np.float32)  # 64 MB, more than the caches hold
    return float(block.nbytes / _best_s(block.sum, 0.2) / 1e9)


# --- verdict ---------------------------------------------------------------------------------------------

SECTIONS: tuple[tuple[str, Callable[[Settings], Iterator[Finding]]], ...] = (
    ("Machine", check_machine), ("Python", check_python), ("Ports", check_ports), ("Engines", check_engines),
    ("Models", check_models), ("LLM server", check_llm_server), ("Speed", check_speed),
)
MARKS = {"good": "  ok  ", "note": "  !   ", "bad": "  X   "}


def run(settings: Settings) -> int:
    """Print everything and a verdict; 0 when the server can run."""
    found: list[Finding] = []
    for title, check in SECTIONS:
        findings = list(check(settings))
        if findings:
            print(f"\n{title}")
        for finding in findings:
            print(MARKS[finding.level] + finding.text)
        found += findings
    bad = [finding for finding in found if finding.level == "bad"]
    notes = [finding for finding in found if finding.level == "note"]
    print(f"\nVerdict: {'this cannot run yet' if bad else 'this can run'}.")
    for finding in (*bad, *notes):
        print(f"  {'must' if finding in bad else 'may'}: {finding.text}. To do: {finding.advice}.")
    return 1 if bad else 0
