"""A copy of a GGUF model in the form that processors read fastest.

K-quants need rows of a multiple of 256 weights. Models with shorter rows (Qwen2.5 of 0.5 billion
parameters: 896) have Q5_0 in their place, and their output matrix is Q8_0; for neither does ggml
have the kernels that read eight rows at once. Q4_0 has them. On 2 cores of an AMD EPYC with
AVX-512:

| Qwen2.5-Coder 0.5B | Q4_K_M as it comes | its Q5_0 and output as Q4_0 |
| --- | --- | --- |
| one reply; four at once | 27; 40 tokens/s | 48; 94 tokens/s |
| reading a prompt | 128 tokens/s | 204 tokens/s |
| processor time of 250 tokens read and 48 written | 5.8 s | 3.6 s |
| cross-entropy of 741 tokens of speech | 5.37 | 5.42 |
| 100 plain questions answered right | 70 | 77 |

So quantized again it loses little: ggml weighs each scale by the squares of its weights. By the
`gguf` package's own quantizer (plain rounding) the cross-entropy is 5.51, and with IQ4_NL 5.39,
which takes two minutes to make. A person's own files are used as they are.
"""

from __future__ import annotations

import ctypes
import logging
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whisperfusion.models.model import Model
from whisperfusion.models.sources import progress_bar
from whisperfusion.paths import run_module

# numpy is imported where a file is read: main and the language model's process import this module,
# and need it for nothing else
if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SLOW = ("Q5_0", "Q5_1")  # where rows are too short for K-quants
FAST = "Q4_0"
OUTPUT = "output.weight"  # a third of each step's time as Q8_0; its loss is the smallest
LOOKED_UP = "token_embd.weight"  # rows are copied, never multiplied
WORTH = 0.25  # of the file's bytes in slow forms; below, the copy is not worth its space
SPARE_BYTES = 100_000_000  # of the disk are left free

log = logging.getLogger("models")


def fastest(model: Model, path: Path) -> Path:
    """The copy of `path` that is read fastest, made if need be; `path` where there is none.

    Takes 20 s on 2 cores, once. What keeps it from being made is a line in the log.
    """
    if model.path is not None or path.suffix != ".gguf":
        return path
    copy = path.parent / "repacked" / path.name
    if copy.exists():
        return copy if copy.stat().st_size else path
    if shutil.disk_usage(path.parent).free < path.stat().st_size + SPARE_BYTES:
        log.info("%s stays as it is: the disk lacks the space for a copy that is read faster", path)
        return path
    made = subprocess.run(
        run_module(sys.executable, __name__, str(path), str(copy)),
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if made.returncode or not copy.exists():
        log.warning("%s could not be repacked; it is used as it is, and is slower", path)
        return path
    return copy if copy.stat().st_size else path


def repack(source: Path, copy: Path) -> None:
    """Write `copy`, whole or not at all; empty where it would not be faster."""
    import gguf

    copy.parent.mkdir(exist_ok=True)  # first: a folder that is read-only ends this at once
    reader = gguf.GGUFReader(source)
    slow = [tensor for tensor in reader.tensors if _is_slow(tensor)]
    staged = copy.with_name(f"{copy.name}.{os.getpid()}")
    try:
        if sum(int(tensor.n_bytes) for tensor in slow) < WORTH * source.stat().st_size:
            staged.touch()
        else:
            total = sum(int(tensor.n_bytes) for tensor in reader.tensors)
            with progress_bar("preparing the model", total, progress=True) as bar:
                _write(reader, staged, {tensor.name for tensor in slow}, bar)
        os.replace(staged, copy)
    finally:
        staged.unlink(missing_ok=True)


def _is_slow(tensor: Any) -> bool:
    form = tensor.tensor_type.name
    if tensor.name == OUTPUT:
        return form in (*SLOW, "Q8_0")
    return form in SLOW and tensor.name != LOOKED_UP and len(tensor.shape) == 2


def _write(reader: Any, path: Path, slow: set[str], bar: Any) -> None:
    import gguf

    ggml, fast = Ggml(), gguf.GGMLQuantizationType[FAST]
    writer = gguf.GGUFWriter(path, reader.fields["general.architecture"].contents())
    for field in reader.fields.values():
        if field.name == "general.architecture" or field.name.startswith("GGUF."):
            continue
        kind, inner = field.types[0], field.types[-1]
        array = kind == gguf.GGUFValueType.ARRAY
        writer.add_key_value(field.name, field.contents(), kind, sub_type=inner if array else None)
    for tensor in reader.tensors:
        shape, form = tensor.data.shape, tensor.tensor_type
        if tensor.name in slow:
            rows, form = int(shape[0]), fast
            shape = (rows, ggml.row_bytes(fast, int(tensor.shape[0])))
        size = math.prod(map(int, shape)) * tensor.data.dtype.itemsize
        writer.add_tensor_info(tensor.name, shape, tensor.data.dtype, size, form)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in reader.tensors:
        data = tensor.data
        if tensor.name in slow:
            weights = gguf.quants.dequantize(data, tensor.tensor_type)
            data = ggml.quantize(weights, fast)
        writer.write_tensor_data(data)
        bar.update(int(tensor.n_bytes))
    writer.close()


class Ggml:
    """The quantizers of ggml (`ggml_quantize_chunk` in ggml.h), out of xllamacpp's library.

    Raises AttributeError where that library keeps them to itself.
    """

    def __init__(self) -> None:
        import xllamacpp.xllamacpp as library

        handle = ctypes.CDLL(library.__file__)
        self._quantize, self._row_size = handle.ggml_quantize_chunk, handle.ggml_row_size
        self._quantize.restype = self._row_size.restype = ctypes.c_size_t
        self._row_size.argtypes = (ctypes.c_int, ctypes.c_int64)
        self._quantize.argtypes = (
            ctypes.c_int,
            ctypes.c_void_p,
            ctypes.c_void_p,
            *(ctypes.c_int64,) * 3,
            ctypes.c_void_p,
        )

    def row_bytes(self, form: int, weights: int) -> int:
        return int(self._row_size(form, weights))

    def quantize(self, weights: npt.NDArray[np.float32], form: int) -> npt.NDArray[np.uint8]:
        """float32 [rows, columns] -> uint8 [rows, bytes of a row].

        All columns count alike; given so, ggml fits each scale instead of rounding to the largest
        weight.
        """
        import numpy as np

        weights = np.ascontiguousarray(weights, np.float32)
        rows, columns = weights.shape
        importance = np.ones(columns, np.float32)
        packed = np.empty((rows, self.row_bytes(form, columns)), np.uint8)
        written = self._quantize(
            form,
            weights.ctypes.data,
            packed.ctypes.data,
            0,
            rows,
            columns,
            importance.ctypes.data,
        )
        if written != packed.nbytes:
            raise ValueError(f"ggml wrote {written} bytes of {packed.nbytes}")
        return packed


if __name__ == "__main__":
    repack(Path(sys.argv[1]), Path(sys.argv[2]))
