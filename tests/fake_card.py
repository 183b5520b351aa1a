"""A machine with NVIDIA GPUs, as far as this project asks one: nvidia-smi; CTranslate2 and
xllamacpp for a child process; a library that has the name of cuBLAS.
"""

from __future__ import annotations

import os
from pathlib import Path

import ctranslate2

ADA = "NVIDIA GeForce RTX 4070, GPU-11, 12282, 575.57.08, 8.9"
BLACKWELL = "NVIDIA GeForce RTX 5090, GPU-22, 32607, 580.95, 12.0"
SMALL = "NVIDIA GeForce GTX 1050, GPU-33, 4096, 550.54.15, 6.1"

CTRANSLATE2 = """
def get_cuda_device_count(): return {count}
def get_supported_compute_types(device, index=0): return {types!r}
"""
LLAMA = """
def get_device_info(): return [{{"name": name, "type": type}} for name, type in {devices!r}]
"""
CPU_BUILD = [("CPU", "GGML_BACKEND_DEVICE_TYPE_CPU")]
CUDA_BUILD = [("CUDA0", "GGML_BACKEND_DEVICE_TYPE_GPU"), *CPU_BUILD]


class Machine:
    """Its parts lie in `folder`, which `environment` points at."""

    def __init__(self, folder: Path, *cards: str) -> None:
        self.bin, self.site = folder / "bin", folder / "site"
        self.bin.mkdir(parents=True)
        self.site.mkdir()
        self.environment = {
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.site),
        }
        self.nvidia_smi(*(f"echo '{card}'" for card in cards))
        self.libraries()

    def nvidia_smi(self, *lines: str) -> None:
        program = self.bin / "nvidia-smi"
        program.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        program.chmod(0o755)

    def libraries(
        self,
        count: int = 1,
        types: tuple[str, ...] = ("float16", "float32"),
        devices: list[tuple[str, str]] | None = None,
    ) -> None:
        """What the two libraries tell; by default both can use a GPU, but for cuBLAS."""
        told = CUDA_BUILD if devices is None else devices
        (self.site / "ctranslate2.py").write_text(CTRANSLATE2.format(count=count, types=set(types)))
        (self.site / "xllamacpp.py").write_text(LLAMA.format(devices=told))

    def install_cublas(self) -> None:
        """Where pip puts it: a library with its SONAME, made of another one."""
        target = self.site / "nvidia" / "cublas" / "lib" / "libcublas.so.12"
        target.parent.mkdir(parents=True)
        target.write_bytes(renamed(b"libcublas.so.12"))


def renamed(soname: bytes) -> bytes:
    """The libgomp that CTranslate2's wheel brings, under another SONAME."""
    libraries = Path(ctranslate2.__file__).parents[1] / "ctranslate2.libs"
    (library,) = libraries.glob("libgomp-*.so.*")
    own = library.name.encode()
    content = library.read_bytes()
    assert content.count(own + b"\0") == 1, "it has no SONAME of its own"
    return content.replace(own + b"\0", soname.ljust(len(own), b"\0") + b"\0")
