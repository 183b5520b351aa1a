"""What tool.py does: one recording stand-in for every program that docker/scripts run.

It writes each call to $STUB_LOG, a Python literal a line, and leaves behind what the real program
would: packages' metadata, downloaded files, checkpoints, engines. Commands of ours
(docker/scripts/*.py) are run for real, on a Python that sees only the packages "installed".

A build calls a dozen of these, so nothing is imported before it is needed, not even json and
pathlib.

STUB_FAIL and STUB_HANG: "name:text": the call of `name` whose arguments hold `text` fails, or says
HANGING and waits for a signal. STUB_ARCH: what nvidia-smi answers. STUB_VERSIONS: "torch=2.4.0,..."
instead of the pins. STUB_MACHINE: what uname says. STUB_CHANGE_AV: faster-whisper brings that av.
"""

from __future__ import annotations

import os
import sys

NAME, ARGUMENTS = sys.argv[1], sys.argv[2:]
TOOL = os.path.join(os.path.dirname(__file__), "tool.py")
SITE = os.path.join(os.environ.get("VENV", "/nowhere"), "site")
MODULES = {
    "cuda-python": ("cuda/__init__.py", "cuda/cudart.py"),
    "whisperspeech": ("whisperspeech/__init__.py", "whisperspeech/pipeline.py"),
    **{name: (f"{name}.py",) for name in ("webdataset", "torch", "av", "tokenizers")},
}
SOURCE_FILES = (
    "model-00001-of-00001.safetensors",
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "modeling_phi3.py",
)


def record(**more: object) -> None:
    more["cuda"] = {name: value for name, value in os.environ.items() if name.startswith("CUDA_")}
    with open(os.environ["STUB_LOG"], "a", encoding="utf-8") as log:
        log.write(f"{ {'tool': NAME, 'args': ARGUMENTS, 'pid': os.getpid(), **more}!r}\n")


def asked(variable: str, text: str) -> bool:
    name, colon, part = os.environ.get(variable, "").partition(":")
    return bool(colon) and name == NAME and part in text


def wait_for_signal() -> None:
    import signal

    def on_term(signum: int, frame: object) -> None:
        record(ended_by=int(signum))
        sys.exit(0 if ARGUMENTS[:1] == ["main.py"] else 128 + signum)

    signal.signal(signal.SIGTERM, on_term)
    print("HANGING", flush=True)
    while True:
        signal.pause()


def read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def write(path: str, text: str = "x\n") -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def after(option: str) -> str:
    return ARGUMENTS[ARGUMENTS.index(option) + 1]


def install_package(name: str, version: str) -> None:
    plain = name.replace("-", "_").replace(".", "_")
    for old in os.listdir(SITE) if os.path.isdir(SITE) else ():
        if old.startswith(f"{plain}-") and old.endswith(".dist-info"):
            os.unlink(f"{SITE}/{old}/METADATA")
            os.rmdir(f"{SITE}/{old}")
    write(
        f"{SITE}/{plain}-{version}.dist-info/METADATA",
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
    )
    for module in MODULES.get(name, ()):
        write(f"{SITE}/{module}", "Pipeline = cudart = object\n")
    for program in {
        "tensorrt-llm": ["trtllm-build"],
        "huggingface-hub": ["hf", "huggingface-cli"],
    }.get(name, []):
        stand_in(f"{os.path.dirname(SITE)}/bin/{program}", program)


def stand_in(path: str, name: str) -> None:
    write(path, f"#!/bin/sh\nexec '{sys.executable}' -S '{TOOL}' {name} \"$@\"\n")
    os.chmod(path, 0o755)


def uv() -> None:
    import re

    if ARGUMENTS == ["--version"]:
        print("uv 0.0 (stub)")
    elif ARGUMENTS[0] == "venv":
        stand_in(f"{ARGUMENTS[-1]}/bin/python", "python")
    elif ARGUMENTS[:2] == ["pip", "install"]:
        pins = dict(re.findall(r"^([\w.-]+)==(\S+)", read(after("--constraints")), re.MULTILINE))
        pins |= dict(
            pair.split("=") for pair in os.environ.get("STUB_VERSIONS", "").split(",") if pair
        )
        for line in read(after("--requirements")).splitlines():
            if match := re.match(r"[A-Za-z][\w.-]*", line):
                for name in [
                    match.group(),
                    *{"tensorrt-llm": ["transformers"]}.get(match.group(), []),
                ]:
                    install_package(name, pins[name])
                if match.group() == "faster-whisper" and "STUB_CHANGE_AV" in os.environ:
                    install_package("av", os.environ["STUB_CHANGE_AV"])


def hub() -> None:
    import argparse

    parser = argparse.ArgumentParser()  # as `hf download` of huggingface-hub 0.36.2
    parser.add_argument("command", choices=["download"])
    parser.add_argument("repository")
    parser.add_argument("filenames", nargs="*")
    parser.add_argument("--revision", required=True)
    parser.add_argument("--include", nargs="*")
    parser.add_argument("--local-dir")
    asked_for = parser.parse_args(ARGUMENTS)
    repository = f"models--{asked_for.repository.replace('/', '--')}"
    cache = f"{os.environ.get('HF_HOME', '/nowhere')}/hub/{repository}/snapshots/abc"
    without = os.environ.get("STUB_WITHOUT", "")
    for file in asked_for.filenames or SOURCE_FILES:
        if file != without:
            write(f"{asked_for.local_dir or cache}/{file}")


def curl() -> None:
    import re

    url = ARGUMENTS[-1]
    found = re.search(r"[0-9a-f]{64}", url) or re.search(r"[0-9a-f]{8}", url)
    write(
        after("--output"),
        "damaged" if os.environ.get("STUB_DAMAGED") else f"sum:{found.group() if found else ''}\n",
    )


def sha256sum() -> None:
    """The real sum, but for files that `curl` above says have the sum they were asked for."""
    with open(ARGUMENTS[-1] if ARGUMENTS else 0, "rb") as file:
        data = file.read()
    if data.startswith(b"sum:"):
        print(data[4:].decode().strip(), " -")
        return
    import hashlib

    print(hashlib.sha256(data).hexdigest(), " -")


def python() -> None:
    script = os.path.basename(ARGUMENTS[0]) if ARGUMENTS else ""
    if script == "main.py":
        if not {"--help", "talk", "models", "doctor"} & set(ARGUMENTS):
            wait_for_signal()
    elif script == "convert_checkpoint.py":
        for file in ("config.json", "rank0.safetensors"):
            write(f"{after('--output_dir')}/{file}")
    elif script == "build.py":
        folder = after("--output_dir")
        for part in ("encoder", "decoder"):
            write(f"{folder}/{part}_config.json")
            write(f"{folder}/whisper_{part}_float16_tp1_rank0.engine")
        write(f"{folder}/decoder_model.cache")
    elif script == "fast_tokenizer.py":
        write(f"{ARGUMENTS[2]}/tokenizer.json")
    elif script.endswith(".py") and os.path.isfile(ARGUMENTS[0]):
        run(read(ARGUMENTS[0]), ARGUMENTS, os.path.dirname(ARGUMENTS[0]))
    elif ARGUMENTS[:1] == ["-c"]:
        run(ARGUMENTS[1], ["-c", *ARGUMENTS[2:]], "")
    else:
        os.environ["PYTHONPATH"] = SITE
        os.execv(sys.executable, [sys.executable, "-S", *ARGUMENTS])


def run(code: str, arguments: list[str], folder: str) -> None:
    """Here, as a Python that sees only `SITE` would: the start of another one takes longer than
    what our scripts do.
    """
    sys.argv[:] = arguments
    sys.path[:1] = [folder, SITE]
    place = arguments[0] if folder else "<string>"
    exec(compile(code, place, "exec"), {"__name__": "__main__", "__file__": place})


def trtllm_build() -> None:
    for file in ("config.json", "rank0.engine"):
        write(f"{after('--output_dir')}/{file}")
    write(after("--output_timing_cache"))


def nvidia_smi() -> None:
    arch = os.environ.get("STUB_ARCH", "8.9")
    for option in ARGUMENTS:  # STUB_ARCHS: of each GPU, where a test has several
        if option.startswith("--id="):
            arch = os.environ.get("STUB_ARCHS", arch).split(",")[int(option.removeprefix("--id="))]
    if arch == "none":
        sys.exit("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.")
    print(arch)


def uname() -> None:
    print(os.environ.get("STUB_MACHINE", "x86_64"))


def df() -> None:
    free = int(os.environ.get("STUB_FREE_GB", "500")) * 1048576
    print(f"Filesystem 1024-blocks Used Available Capacity Mounted on\nstub 1 1 {free} 1% /")


def main() -> None:
    text = " ".join(ARGUMENTS)
    if "--requirements" in ARGUMENTS:  # what was installed, since the list is a temporary file
        text += "\n" + read(after("--requirements"))
        record(lines=text.splitlines()[1:])
    else:
        record()
    if asked("STUB_FAIL", text):
        print(f"{NAME}: broken on purpose", file=sys.stderr)
        sys.exit(3)
    if asked("STUB_HANG", text):
        wait_for_signal()
    emulate = {
        "uv": uv,
        "hf": hub,
        "huggingface-cli": hub,
        "curl": curl,
        "sha256sum": sha256sum,
        "python": python,
        "df": df,
        "trtllm-build": trtllm_build,
        "nvidia-smi": nvidia_smi,
        "uname": uname,
    }.get(NAME)
    if emulate is not None:
        emulate()
