"""Tensors out of a file that `torch.save` wrote, without torch and without running what is in it.

Such a file is a pickle, which may call any function when it is read as usual. Here a name that is
not one of the three that tensors of float32 need is refused, and those three make plain values. The
older form of the file (before torch 1.6): a magic number, a version, facts on the machine, the
object, the keys of its storages, and then each storage as its length and its values
(`torch.serialization._legacy_save`).
"""

from __future__ import annotations

import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from whisperfusion.audio import Samples
from whisperfusion.errors import EngineError

MAGIC = 0x1950A86A20F9469CFC6C
MOST_VALUES = 1 << 28  # of one storage: 1 GiB


def read_state(path: Path, name: str) -> dict[str, Samples]:
    """The tensors of the dictionary `name` in the file, by their names. Raises EngineError."""
    try:
        with open(path, "rb") as file:
            magic, _, facts = (_Plain(file).load() for _ in range(3))
            if magic != MAGIC or not facts.get("little_endian"):
                raise ValueError("it is of another form")
            state, keys = _Plain(file).load()[name], _Plain(file).load()
            storages = {str(key): _storage(file) for key in keys}
        return {str(key): _tensor(found, storages) for key, found in state.items()}
    except OSError as error:
        raise EngineError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a pickle that was changed raises any
        raise EngineError(
            f"{path} holds no weights that can be used ({error}); delete it and start again"
        ) from error


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        allowed: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch", "FloatStorage"): "float32",
            ("torch._utils", "_rebuild_tensor_v2"): _described,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return allowed[module, name]

    def persistent_load(self, pid: Any) -> str:
        """("storage", type, key, device, length, ...) to the key."""
        if pid[:2] != ("storage", "float32"):
            raise pickle.UnpicklingError("it has values other than float32")
        return str(pid[2])


def _described(storage: str, offset: int, shape: Any, stride: Any, *_: Any) -> tuple[Any, ...]:
    return storage, int(offset), tuple(map(int, shape)), tuple(map(int, stride))


def _storage(file: BinaryIO) -> Samples:
    (length,) = struct.unpack("<q", file.read(8))
    if not 0 <= length <= MOST_VALUES:
        raise ValueError(f"a storage has {length} values")
    return np.frombuffer(file.read(4 * length), "<f4", length)


def _tensor(described: Any, storages: dict[str, Samples]) -> Samples:
    """A copy, so that the rest of the storage (here the state of an optimizer) can go."""
    key, offset, shape, stride = described
    size = 1
    expected: list[int] = []
    for side in reversed(shape):
        expected.insert(0, size)
        size *= side
    if tuple(expected) != stride or min(offset, size) < 0:
        raise ValueError("a tensor is not stored row by row")
    found: Samples = storages[key][offset : offset + size].reshape(shape).copy()
    return found
