"""What TensorRT-LLM 0.10.0, its example scripts and our engines import, imported together in the
versions of the image.

Resolvers compare numbers; half of the breaks that were met showed only on import. TensorRT,
TensorRT-LLM and mpi4py are not here.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from contents import name_of
from resolve import NEEDS_MPI, NOT_ON_PYPI, ROOT, asked_by_tensorrt_llm

# The module of each package that TensorRT-LLM asks for, where it is not called like the package.
MODULES = {
    "cuda-python": "cuda.cudart",
    "nvidia-modelopt": "modelopt.torch.quantization",
    "onnx": "onnx.checker",
    "transformers": "transformers",
}
OURS = (
    "torchaudio",
    "whisperspeech.pipeline",
    "speechbrain.pretrained",
    "vocos",
    "webdataset",
    "datasets",
    "faster_whisper",
    "ctranslate2",
    "av",
    "onnxruntime",
    "tokenizers",
    "huggingface_hub",
    "xllamacpp",
    "hibari",
    "fastapi",
    "websockets.asyncio.server",
    "httpx",
)
THEIRS = tuple(
    MODULES.get(name, name)
    for name in map(name_of, asked_by_tensorrt_llm())
    if name not in (*NOT_ON_PYPI, *NEEDS_MPI)
)


def run(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-c", program]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


def test_everything_imports_into_one_process_which_ends_cleanly() -> None:
    """One process, as in the image: their C++ libraries have to get on with each other until the
    end.
    """
    done = run("\n".join(f"import {module}" for module in (*THEIRS, *OURS)) + "\nprint('all')")
    assert (done.returncode, done.stdout.split()[-1:]) == (0, ["all"]), done.stderr


@pytest.mark.parametrize(
    ("reason", "program"),
    [
        ("cuda-python 13 has none", "from cuda import cudart; cudart.cudaError_t.cudaSuccess"),
        ("tensorrt_llm.profiler reads it", "import pynvml; assert pynvml.__version__ >= '11.5.0'"),
        ("datasets 2.14 uses it on import", "import pyarrow; pyarrow.PyExtensionType"),
        ("the build scripts and old sdists use it", "import pkg_resources"),
        (
            "the convert_checkpoint.py scripts; Phi-3 comes from the hub's own file",
            "import safetensors.torch, transformers.models as m; "
            "from transformers import AutoTokenizer, LlamaConfig, MistralForCausalLM, "
            "PhiForCausalLM; assert not hasattr(m, 'phi3')",
        ),
        (
            "the models are loaded with it",
            "from huggingface_hub import snapshot_download, hf_hub_download",
        ),
        (
            "PyAV decodes with its own FFmpeg",
            "import av; assert int(av.__version__.split('.')[0]) >= 12",
        ),
        (
            "its library opens no cuDNN: torch brings 8.9, it would want 9",
            "import ctranslate2, pathlib; "
            "site = pathlib.Path(ctranslate2.__file__).parent.parent; "
            "libs = [*site.glob('ctranslate2.libs/libctranslate2*')]; "
            "assert libs and not any(b'libcudnn' in lib.read_bytes() for lib in libs), libs",
        ),
        (
            "the release of June 2024",
            (
                "import torch; assert torch.__version__.startswith('2.2.2') and "
                "torch.version.cuda == '12.1'"
            ),
        ),
        (
            "numpy 1 for both",
            "import numpy, torch; assert numpy.__version__ == '1.26.4'; torch.zeros(1).numpy()",
        ),
    ],
)
def test_what_broke_before(reason: str, program: str) -> None:
    done = run(program)
    assert done.returncode == 0, f"{reason}: {done.stderr[-600:]}"


@pytest.mark.parametrize("command", ["hf", "huggingface-cli"])
def test_both_names_of_the_hub_tool_work(command: str) -> None:
    """`hf` is what the scripts use, the other is their second way; hub 1.0 has only the first."""
    tool = f"{sys.prefix}/bin/{command}"
    done = subprocess.run(
        [tool, "download", "--help"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0 and "--local-dir" in done.stdout, done.stderr
