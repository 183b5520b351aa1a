"""NVIDIA's libraries, loaded from where pip puts them, and what an engine lacks to use a GPU.

CTranslate2 opens cuBLAS by its name when it first multiplies; the CUDA build of xllamacpp is linked
to cuBLAS and to the CUDA runtime. The system does not search the folders of their wheels. A library
that is already loaded is found by its name, so they are loaded here before they are asked for.

As a program (`python -m whisperfusion.engines.cuda`) it prints what each engine lacks, as JSON: in
a process of its own, since a library that does not fit can end the process that loads it.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from whisperfusion.errors import EngineError

CUBLAS = "libcublas.so.12"
# wheel's folder and library, each after what it needs
LIBRARIES = (
    ("cuda_runtime", "libcudart.so.12"),
    ("cublas", "libcublasLt.so.12"),
    ("cublas", CUBLAS),
)
LLAMA_INDEX = "https://xorbitsai.github.io/xllamacpp/whl/cu128"
WHEELS = "pip install 'nvidia-cublas-cu12<13' 'nvidia-cuda-runtime-cu12<13'"
# what CTranslate2 computes with on a GPU, the best first: Pascal has no fast float16
COMPUTE_TYPES = ("float16", "int8_float32", "float32")
TELL_S = 10.0  # between two lines about a load that is not done yet

log = logging.getLogger(__name__)


def preload() -> bool:
    """Load what is installed; whether cuBLAS is. Raises OSError if one cannot be loaded."""
    nvidia = find_spec("nvidia")
    folders = [Path(one) for one in (nvidia and nvidia.submodule_search_locations) or ()]
    loaded = ""
    for wheel, name in LIBRARIES:
        for library in (folder / wheel / "lib" / name for folder in folders):
            if library.is_file():
                ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
                loaded = name
                break
    return loaded == CUBLAS


def whisper_lacks() -> str:
    """Why CTranslate2 cannot use a GPU, and what to do; empty = it can."""
    import ctranslate2

    try:
        preload()
        if not ctranslate2.get_cuda_device_count():
            return "CTranslate2 finds no GPU that it can use; it needs NVIDIA's driver 570 or newer"
        ctypes.CDLL(CUBLAS)
    except (OSError, RuntimeError) as error:
        return f"cuBLAS of CUDA 12 is missing ({error}): {WHEELS}"
    return ""


def compute_type() -> str:
    """The fastest one of CTranslate2 that the GPU has. Raises RuntimeError without one."""
    import ctranslate2

    supported = ctranslate2.get_supported_compute_types("cuda")
    return next((one for one in COMPUTE_TYPES if one in supported), COMPUTE_TYPES[-1])


def import_llama() -> Any:
    """The module xllamacpp, of whichever build. Raises EngineError if it cannot be loaded."""
    try:
        import xllamacpp
    except ImportError:
        try:  # the CUDA build, whose libraries are not loaded yet
            preload()
            import xllamacpp
        except (ImportError, OSError) as error:
            raise EngineError(
                f"xllamacpp cannot be loaded ({error}){_build_advice(error)}"
            ) from error
    return xllamacpp


def _build_advice(error: BaseException) -> str:
    text = str(error)
    if "libcuda.so" in text:
        return (
            ": this is its CUDA build, which needs NVIDIA's driver; install it, start the "
            "container with the GPU, or take the CPU build: pip install --force-reinstall "
            "--no-deps xllamacpp"
        )
    return f": {WHEELS}" if "libcu" in text else ""


def llama_lacks() -> str:
    """Why llama.cpp cannot use a GPU, and what to do; empty = it can. Raises EngineError."""
    found = [str(device["name"]) for device in gpus(import_llama().get_device_info())]
    if found:
        return ""
    return f"the installed xllamacpp knows no GPU, as PyPI's CPU build: {llama_command()}"


def gpus(devices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of `xllamacpp.get_device_info()` that are GPUs."""
    return [device for device in devices if "GPU" in str(device.get("type", ""))]


def llama_command() -> str:
    """Installs the CUDA build of the version that is installed."""
    try:
        pin = f"=={version('xllamacpp')}"
    except PackageNotFoundError:
        pin = ""
    return f"pip install --force-reinstall --no-deps --index-url {LLAMA_INDEX} xllamacpp{pin}"


def code_cache() -> Path:
    """Where the driver keeps what it compiled."""
    kept = os.environ.get("CUDA_CACHE_PATH", "")
    return Path(kept) if kept else Path.home() / ".nv" / "ComputeCache"


def first_start() -> str:
    return (
        "The first start on a GPU that the library has no machine code for compiles it, which can "
        f"take minutes; the result is kept in {code_cache()}"
    )


@contextmanager
def wait_told(what: str, every_s: float = TELL_S) -> Iterator[None]:
    """Says every few seconds that `what` still loads on the GPU, and why that can take minutes."""
    done = threading.Event()

    def log_progress() -> None:
        waited = every_s
        while not done.wait(every_s):
            log.info("%s is still loading on the GPU after %.0f s. %s", what, waited, first_start())
            waited += every_s

    thread = threading.Thread(target=log_progress, name="wait", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def main() -> int:
    lacks: dict[str, str] = {}
    # llama.cpp first: afterwards the libraries are there, whoever needs them
    for stage, ask in (("llm", llama_lacks), ("asr", whisper_lacks)):
        try:
            lacks[stage] = ask()
        except (EngineError, ImportError) as error:
            lacks[stage] = str(error)
    print(json.dumps(lacks))
    return 0


if __name__ == "__main__":
    sys.exit(main())
