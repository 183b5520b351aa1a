"""One recording stand-in for every program that docker/scripts run: `tool.py NAME ARGUMENTS...`.

It writes each call to $STUB_LOG as a JSON line and leaves behind what the real program would: packages' metadata, downloaded files,
checkpoints, engines. Commands of ours (docker/scripts/*.py) are run for real, on a Python that sees only the packages "installed".

STUB_FAIL and STUB_HANG: "name:text": the call of `name` whose arguments hold `text` fails, or says HANGING and waits for a signal.
STUB_ARCH: what nvidia-smi answers. STUB_VERSIONS: "torch=2.4.0,..." instead of the pins. STUB_CHANGE_AV: faster-whisper brings that av.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import signal
import sys
from pathlib import Path

NAME, ARGUMENTS = sys.argv[1], sys.argv[2:]
SITE = Path(os.environ.get("VENV", "/nowhere")) / "site"
MODULES = {"cuda-python": ("cuda/__init__.py", "cuda/cudart.py"),
           "whisperspeech": ("whisperspeech/__init__.py", "whisperspeech/pipeline.py"),
           **{name: (f"{name}.py",) for name in ("webdataset", "torch", "av", "tokenizers")}}
SOURCE_FILES = ("model-00001-of-00001.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "modeling_phi3.py")


def record(**more: object) -> None:
    with open(os.environ["STUB_LOG"], "a", encoding="utf-8") as log:
        log.write(json.dumps({"tool": NAME, "args": ARGUMENTS, "pid": os.getpid(), **more}) + "\n")


def asked(variable: str, text: str) -> bool:
    name, colon, part = os.environ.get(variable, "").partition(":")
    return bool(colon) and name == NAME and part in text


def wait_for_signal() -> None:
    def on_term(signum: int, frame: object) -> None:
        record(ended_by=signum)
        sys.exit(0 if ARGUMENTS[:1] == ["main.py"] else 128 + signum)

    signal.signal(signal.SIGTERM, on_term)
    print("HANGING", flush=True)
    while True:
        signal.pause()


def write(path: Path, text: str = "x\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def install_package(name: str, version: str) -> None:
    plain = re.sub(r"[-_.]+", "_", name)
    for old in SITE.glob(f"{plain}-*.dist-info"):
        (old / "METADATA").unlink()
        old.rmdir()
    write(SITE / f"{plain}-{version}.dist-info" / "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    for module in MODULES.get(name, ()):
        write(SITE / module, "Pipeline = cudart = object\n")
    for program in {"tensorrt-llm": ["trtllm-build"], "huggingface-hub": ["hf", "huggingface-cli"]}.get(name, []):
        stand_in(SITE.parent / "bin" / program, program)


def stand_in(path: Path, name: str) -> None:
    write(path, f"#!/bin/sh\nexec '{sys.executable}' -S '{__file__}' {name} \"$@\"\n")
    path.chmod(0o755)


def uv() -> None:
    if ARGUMENTS == ["--version"]:
        print("uv 0.0 (stub)")
    elif ARGUMENTS[0] == "venv":
        stand_in(Path(ARGUMENTS[-1]) / "bin" / "python", "python")
    elif ARGUMENTS[:2] == ["pip", "install"]:
        pins = dict(re.findall(r"^([\w.-]+)==(\S+)", Path(ARGUMENTS[ARGUMENTS.index("--constraints") + 1]).read_text(), re.MULTILINE))
        pins |= dict(pair.split("=") for pair in os.environ.get("STUB_VERSIONS", "").split(",") if pair)
        for line in Path(ARGUMENTS[ARGUMENTS.index("--requirements") + 1]).read_text().splitlines():
            if match := re.match(r"[A-Za-z][\w.-]*", line):
                for name in [match.group(), *{"tensorrt-llm": ["transformers"]}.get(match.group(), [])]:
                    install_package(name, pins[name])
                if match.group() == "faster-whisper" and "STUB_CHANGE_AV" in os.environ:
                    install_package("av", os.environ["STUB_CHANGE_AV"])


def hub() -> None:
    parser = argparse.ArgumentParser()  # as `hf download` of huggingface-hub 0.36.2
    parser.add_argument("command", choices=["download"])
    parser.add_argument("repository")
    parser.add_argument("filenames", nargs="*")
    parser.add_argument("--revision", required=True)
    parser.add_argument("--include", nargs="*")
    parser.add_argument("--local-dir")
    asked_for = parser.parse_args(ARGUMENTS)
    cache = Path(os.environ.get("HF_HOME", "/nowhere")) / "hub" / f"models--{asked_for.repository.replace('/', '--')}" / "snapshots" / "abc"
    without = os.environ.get("STUB_WITHOUT", "")
    for file in asked_for.filenames or SOURCE_FILES:
        if file != without:
            write(Path(asked_for.local_dir or cache) / file)


def curl() -> None:
    url, target = ARGUMENTS[-1], Path(ARGUMENTS[ARGUMENTS.index("--output") + 1])
    found = re.search(r"[0-9a-f]{64}", url) or re.search(r"[0-9a-f]{8}", url)
    write(target, "damaged" if os.environ.get("STUB_DAMAGED") else f"sum:{found.group() if found else ''}\n")


def sha256sum() -> None:
    """The real sum, but for files that `curl` above says have the sum they were asked for."""
    data = Path(ARGUMENTS[-1]).read_bytes() if ARGUMENTS else sys.stdin.buffer.read()
    print(data[4:].decode().strip() if data.startswith(b"sum:") else hashlib.sha256(data).hexdigest(), " -")


def python() -> None:
    script = Path(ARGUMENTS[0]).name if ARGUMENTS else ""
    if script == "main.py":
        if not {"--help", "talk", "models", "doctor"} & set(ARGUMENTS):
            wait_for_signal()
    elif script == "convert_checkpoint.py":
        folder = Path(ARGUMENTS[ARGUMENTS.index("--output_dir") + 1])
        for file in ("config.json", "rank0.safetensors"):
            write(folder / file)
    elif script == "build.py":
        folder = Path(ARGUMENTS[ARGUMENTS.index("--output_dir") + 1])
        for part in ("encoder", "decoder"):
            write(folder / f"{part}_config.json")
            write(folder / f"whisper_{part}_float16_tp1_rank0.engine")
        write(folder / "decoder_model.cache")
    elif script == "fast_tokenizer.py":
        write(Path(ARGUMENTS[2]) / "tokenizer.json")
    else:
        os.environ["PYTHONPATH"] = str(SITE)
        os.execv(sys.executable, [sys.executable, "-S", *ARGUMENTS])


def trtllm_build() -> None:
    folder = Path(ARGUMENTS[ARGUMENTS.index("--output_dir") + 1])
    for file in ("config.json", "rank0.engine"):
        write(folder / file)
    write(Path(ARGUMENTS[ARGUMENTS.index("--output_timing_cache") + 1]))


def nvidia_smi() -> None:
    arch = os.environ.get("STUB_ARCH", "8.9")
    if arch == "none":
        sys.exit("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.")
    print(arch)


def df() -> None:
    free = int(os.environ.get("STUB_FREE_GB", "500")) * 1048576
    print(f"Filesystem 1024-blocks Used Available Capacity Mounted on\nstub 1 1 {free} 1% /")


def main() -> None:
    text = " ".join(ARGUMENTS)
    if "--requirements" in ARGUMENTS:  # what was installed, since the list is a temporary file
        text += "\n" + Path(ARGUMENTS[ARGUMENTS.index("--requirements") + 1]).read_text()
        record(lines=text.splitlines()[1:])
    else:
        record()
    if asked("STUB_FAIL", text):
        print(f"{NAME}: broken on purpose", file=sys.stderr)
        sys.exit(3)
    if asked("STUB_HANG", text):
        wait_for_signal()
    emulate = {"uv": uv, "hf": hub, "huggingface-cli": hub, "curl": curl, "sha256sum": sha256sum, "python": python, "df": df,
               "trtllm-build": trtllm_build, "nvidia-smi": nvidia_smi}.get(NAME)
    if emulate is not None:
        emulate()


if __name__ == "__main__":
    main()
