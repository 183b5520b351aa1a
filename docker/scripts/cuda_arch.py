"""The GPU architecture that an engine is built for: `cuda_arch.py VALUE` prints one like 8.9.

An engine runs only on the architecture it was built on, so the installed GPU decides, and VALUE
(the setting CUDA_ARCH) must agree: "auto", one architecture as 8.9, 89, sm_89 or 89-real, or a list
of those that the GPU's has to be in. TensorRT-LLM 0.10.0 ships machine code for 7.x, 8.x and 9.x
and no PTX, so newer GPUs cannot run it at all.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys

MAJORS = (7, 8, 9)
VOLTA = (
    "7.0",
    "GPU architecture 7.0 (Volta): experimental in TensorRT-LLM 0.10.0, and drivers after R580 do "
    "not know it any more, so keep the host's driver at 580 or older",
)
INSTEAD = (
    "Use LLM_ENGINE=openai with trtllm-serve or vLLM (LLM_URL=http://host:8000/v1) and "
    "ASR_ENGINE=faster-whisper instead; "
    "TTS_ENGINE=whisperspeech needs a torch for that GPU, TTS_ENGINE=hibari none."
)


def normalise(text: str) -> str:
    """ "8.9" from 8.9, 89, sm_89, 89-real, 8.9+PTX. Anything else: SystemExit with a message."""
    match = re.fullmatch(r"(?:sm_?)?(\d+)\.?(\d)a?(?:-real|-virtual|\+ptx)?", text.strip().lower())
    if not match:
        raise SystemExit(f"CUDA_ARCH={text!r} is not an architecture; write auto, or one like 8.9")
    return f"{match.group(1)}.{match.group(2)}"


def check_machine(machine: str) -> None:
    if machine != "x86_64":
        raise SystemExit(
            f"this machine is {machine}: TensorRT-LLM 0.10.0 has no wheels but for x86_64 (Grace, "
            f"DGX Spark and Jetson are aarch64). {INSTEAD}"
        )


def check(arch: str) -> str:
    if int(arch.partition(".")[0]) not in MAJORS:
        raise SystemExit(
            f"GPU architecture {arch}: TensorRT-LLM 0.10.0 runs on 7.x (Volta, Turing), 8.x "
            "(Ampere, Ada) and 9.x (Hopper), "
            f"not on Blackwell and not on anything older. {INSTEAD}"
        )
    return arch


def of_gpu() -> str | None:
    """Architecture of the first GPU, or of the first that CUDA_VISIBLE_DEVICES leaves; None when
    nvidia-smi is missing or finds none.
    """
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip()
    if chosen.isdecimal() or chosen.startswith("GPU-"):  # nvidia-smi itself does not read it
        query.append(f"--id={chosen}")
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = [line.strip() for line in answer.stdout.splitlines() if line.strip()]
    return normalise(lines[0]) if answer.returncode == 0 and lines else None


def choose(value: str, gpu: str | None) -> str:
    """The architecture for CUDA_ARCH=`value` on a machine whose GPU is of architecture `gpu`
    (None: none found).
    """
    parts = [
        part for part in re.split(r"[;,\s]+", value.strip().lower()) if part not in ("", "auto")
    ]
    asked = [check(normalise(part)) for part in parts]
    if gpu is not None:
        check(gpu)
        if asked and gpu not in asked:
            raise SystemExit(
                f"CUDA_ARCH={value} but the GPU is {gpu}: an engine is built on the GPU that runs "
                "it; set CUDA_ARCH=auto"
            )
        return gpu
    if len(asked) == 1:
        return asked[0]
    raise SystemExit(
        "nvidia-smi sees no GPU. Start the container with one (docker run --gpus all, or docker "
        "compose --profile gpu up) on a host with NVIDIA's driver and NVIDIA's container toolkit; "
        "without a GPU use --profile cpu."
    )


if __name__ == "__main__":
    check_machine(platform.machine())
    found = choose(sys.argv[1] if len(sys.argv) > 1 else "auto", of_gpu())
    if found == VOLTA[0]:
        print(VOLTA[1], file=sys.stderr)
    print(found)
