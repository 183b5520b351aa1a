"""The card itself: what the driver says about it, how much of its memory is taken, and how to take
all of it. No library but the driver's own, so that this works with whatever is installed.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

FIELDS = ("name", "driver_version", "compute_cap", "memory.total", "memory.used")
MB = 2**20
SMALLEST_MB = 4


def told() -> dict[str, str]:
    """What nvidia-smi says about the first card; {} where there is none."""
    try:
        line = subprocess.run(
            ["nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        ).stdout.splitlines()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return {}
    return dict(zip(FIELDS, (value.strip() for value in line.split(",")), strict=True))


def used_mb() -> float | None:
    """Of all processes together; None without a card."""
    used = told().get("memory.used", "")
    return float(used) if used.isdigit() else None


def machine() -> dict[str, Any]:
    """What each library sees, and lacks."""
    import ctranslate2

    from whisperfusion.engines import cuda

    llama = cuda.import_llama()  # it loads NVIDIA's libraries for both, where it needs them
    lacks = {"Whisper": cuda.whisper_lacks(), "llama.cpp": cuda.llama_lacks()}
    count = ctranslate2.get_cuda_device_count()
    return {
        "card": told() or "none",
        "cores": os.cpu_count(),
        "ctranslate2": ctranslate2.__version__,
        "cards that ctranslate2 sees": count,
        "its types": sorted(ctranslate2.get_supported_compute_types("cuda")) if count else [],
        "xllamacpp": llama.__version__,
        "llama.cpp runs on": [each["name"] for each in llama.get_device_info()],
        "lacks": {name: text or "nothing" for name, text in lacks.items()},
    }


@contextmanager
def filled(leave_mb: int, driver: Any = None) -> Iterator[int]:
    """All memory of the first card but `leave_mb` is taken; gives how many MB. 0 without a card."""
    if driver is None and not told():
        yield 0
        return
    cuda = driver or ctypes.CDLL("libcuda.so.1")
    context, device = ctypes.c_void_p(), ctypes.c_int()
    _call(cuda.cuInit(0))
    _call(cuda.cuDeviceGet(ctypes.byref(device), 0))
    _call(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device))
    _call(cuda.cuCtxPushCurrent_v2(context))
    blocks: list[tuple[ctypes.c_uint64, int]] = []
    try:
        blocks += _blocks(cuda, leave_mb)
        yield sum(size for _, size in blocks) // MB
    finally:
        for block, _ in blocks:
            cuda.cuMemFree_v2(block)
        cuda.cuCtxPopCurrent_v2(ctypes.byref(context))
        cuda.cuDevicePrimaryCtxRelease_v2(device)


def _blocks(cuda: Any, leave_mb: int) -> Iterator[tuple[ctypes.c_uint64, int]]:
    """Blocks of the free memory with their sizes, smaller ones where no larger one is left."""
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    _call(cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)))
    size, wanted = 1024 * MB, free.value - leave_mb * MB
    while size >= SMALLEST_MB * MB:
        block = ctypes.c_uint64()
        if wanted < size or cuda.cuMemAlloc_v2(ctypes.byref(block), ctypes.c_size_t(size)):
            size //= 2
            continue
        wanted -= size
        yield block, size


def _call(status: int) -> None:
    if status:
        raise OSError(f"the CUDA driver answered {status}")
