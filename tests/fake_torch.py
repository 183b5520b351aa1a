"""The few words of torch that engines speak, on numpy, so that their code runs where torch is not
installed.

It is stricter than torch where a GPU would be: a tensor is on "cpu" or "cuda", `.numpy()` of a CUDA
tensor is a TypeError, and arithmetic between the two a RuntimeError. CUDA streams are per thread,
as in torch. Whatever is not here is an AttributeError: add it only as real torch 2.2 has it.
"""

from __future__ import annotations

import itertools
import threading
from contextlib import ContextDecorator, contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np


class dtype:
    def __init__(self, name: str, kind: Any) -> None:
        self.name, self.kind = name, np.dtype(kind)

    def __repr__(self) -> str:
        return f"torch.{self.name}"


DTYPES = {
    name: dtype(name, name)
    for name in (
        "float16",
        "float32",
        "float64",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "bool",
    )
}
BY_KIND = {one.kind: one for one in DTYPES.values()}
ALIASES = {
    "half": "float16",
    "float": "float32",
    "double": "float64",
    "int": "int32",
    "long": "int64",
    "short": "int16",
}


class device:
    def __init__(self, name: Any, index: int | None = None) -> None:
        text, _, number = str(name).partition(":")
        if text not in ("cpu", "cuda"):
            raise RuntimeError(
                f"Expected one of cpu, cuda device type at start of device string: {name}"
            )
        self.type, self.index = text, int(number) if number else index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"


class Size(tuple):
    def numel(self) -> int:
        return int(np.prod(self))


class Tensor:
    def __init__(self, array: np.ndarray, on: str = "cpu") -> None:
        self._array = array
        place = device(on)
        self.device = device("cuda", place.index or 0) if place.type == "cuda" else place

    # --- what it is
    @property
    def shape(self) -> Size:
        return Size(self._array.shape)

    @property
    def dtype(self) -> dtype:
        return BY_KIND[self._array.dtype]

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def ndim(self) -> int:
        return self._array.ndim

    def dim(self) -> int:
        return self._array.ndim

    def size(self, at: int | None = None) -> Any:
        return self.shape if at is None else self._array.shape[at]

    def numel(self) -> int:
        return self._array.size

    def element_size(self) -> int:
        return self._array.itemsize

    def is_contiguous(self) -> bool:
        return self._array.flags["C_CONTIGUOUS"]

    def data_ptr(self) -> int:
        return self._array.ctypes.data

    def __len__(self) -> int:
        return len(self._array)

    def __repr__(self) -> str:
        return f"tensor({self._array.tolist()}, device='{self.device}', dtype={self.dtype})"

    # --- elsewhere, otherwise
    def to(
        self, *targets: Any, device: Any = None, dtype: Any = None, non_blocking: bool = False
    ) -> Tensor:
        array, on = self._array, str(self.device)
        for target in (*targets, device, dtype):
            if isinstance(target, Tensor):
                array, on = array.astype(target._array.dtype), str(target.device)
            elif isinstance(target, globals()["dtype"]):
                array = array.astype(target.kind)
            elif target is not None and not isinstance(target, bool):
                on = str(target)
        return Tensor(array, on)

    def cuda(self, index: Any = None, non_blocking: bool = False) -> Tensor:
        return self.to("cuda")

    def cpu(self) -> Tensor:
        return self.to("cpu")

    def contiguous(self) -> Tensor:
        return Tensor(np.ascontiguousarray(self._array), str(self.device))

    def pin_memory(self) -> Tensor:
        return self

    def clone(self) -> Tensor:
        return Tensor(self._array.copy(), str(self.device))

    def detach(self) -> Tensor:
        return self

    def half(self) -> Tensor:
        return self.to(DTYPES["float16"])

    def float(self) -> Tensor:
        return self.to(DTYPES["float32"])

    def int(self) -> Tensor:
        return self.to(DTYPES["int32"])

    def long(self) -> Tensor:
        return self.to(DTYPES["int64"])

    def type(self, kind: Any) -> Tensor:
        return self.to(kind)

    def numpy(self) -> np.ndarray:
        if self.is_cuda:
            raise TypeError(
                "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the "
                "tensor to host memory first."
            )
        return self._array

    def tolist(self) -> Any:
        return self._array.tolist()

    def item(self) -> Any:
        return self._array.item()

    # --- shapes
    def _like(self, array: Any) -> Tensor:
        return Tensor(np.asarray(array), str(self.device))

    def __getitem__(self, at: Any) -> Tensor:
        return self._like(self._array[at._array if isinstance(at, Tensor) else at])

    def __setitem__(self, at: Any, value: Any) -> None:
        self._array[at] = value._array if isinstance(value, Tensor) else value

    def __iter__(self) -> Any:
        return (self._like(row) for row in self._array)

    def view(self, *shape: Any) -> Tensor:
        return self._like(
            self._array.reshape(shape[0] if isinstance(shape[0], (tuple, list)) else shape)
        )

    reshape = view

    def flatten(self) -> Tensor:
        return self._like(self._array.reshape(-1))

    def squeeze(self, at: Any = None) -> Tensor:
        return self._like(
            self._array.squeeze()
            if at is None
            else self._array.squeeze(at)
            if self._array.shape[at] == 1
            else self._array
        )

    def unsqueeze(self, at: Any) -> Tensor:
        return self._like(np.expand_dims(self._array, at))

    def repeat(self, *times: Any) -> Tensor:
        return self._like(np.tile(self._array, times))

    # --- arithmetic
    def _with(self, other: Any, operation: Any) -> Tensor:
        if isinstance(other, Tensor):
            if other.device != self.device and other._array.ndim:
                raise RuntimeError(
                    "Expected all tensors to be on the same device, but found at least two "
                    "devices, cuda:0 and cpu!"
                )
            other = other._array
        return self._like(operation(self._array, other))

    def __add__(self, other: Any) -> Tensor:
        return self._with(other, np.add)

    def __sub__(self, other: Any) -> Tensor:
        return self._with(other, np.subtract)

    def __mul__(self, other: Any) -> Tensor:
        return self._with(other, np.multiply)

    def __truediv__(self, other: Any) -> Tensor:
        return self._with(other, np.divide)

    def __eq__(self, other: object) -> Any:
        return self._with(other, np.equal)

    __hash__ = object.__hash__

    def max(self) -> Tensor:
        return self._like(self._array.max())

    def clamp(self, low: Any = None, high: Any = None) -> Tensor:
        return self._like(np.clip(self._array, low, high))


def as_array(data: Any) -> np.ndarray:
    array = data._array if isinstance(data, Tensor) else np.asarray(data)
    plain = not isinstance(data, (np.ndarray, np.generic, Tensor))
    return array.astype(np.float32) if plain and array.dtype == np.float64 else array


def tensor(data: Any, *, dtype: Any = None, device: Any = "cpu") -> Tensor:
    array = as_array(data).copy()
    return Tensor(array.astype(dtype.kind) if dtype else array, str(device or "cpu"))


def from_numpy(array: np.ndarray) -> Tensor:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(array).__name__})")
    return Tensor(array)


def filled(value: float) -> Any:
    def make(*shape: Any, dtype: Any = None, device: Any = "cpu") -> Tensor:
        size = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        return Tensor(np.full(size, value, (dtype or DTYPES["float32"]).kind), str(device or "cpu"))

    return make


def full(size: Any, value: Any, *, dtype: Any = None, device: Any = "cpu") -> Tensor:
    return tensor(np.full(size, value), dtype=dtype, device=device)


def cat(tensors: Any, dim: int = 0) -> Tensor:
    return tensors[0]._like(np.concatenate([one._array for one in tensors], dim))


class Mode(ContextDecorator):
    """inference_mode and no_grad: a context, a decorator, and both also called."""

    def __init__(self, mode: bool = True) -> None:
        pass

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: Any) -> None:
        return None


# --- torch.cuda

_handles = itertools.count(1)
_thread = threading.local()


class Stream:
    def __init__(self, *_: Any, **__: Any) -> None:
        self.cuda_stream = next(_handles)

    def synchronize(self) -> None: ...

    def wait_stream(self, other: Stream) -> None: ...


_default_stream = Stream()


def current_stream(*_: Any) -> Stream:
    return getattr(_thread, "stream", _default_stream)


def set_stream(stream: Stream) -> None:
    _thread.stream = stream


@contextmanager
def in_stream(stream: Stream) -> Any:
    before = current_stream()
    set_stream(stream)
    try:
        yield
    finally:
        set_stream(before)


class Fake(ModuleType):
    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self.__name__}.{name} is not in the fake torch")


def modules() -> dict[str, ModuleType]:
    """torch and torch.cuda, made anew."""
    torch, cuda = Fake("torch"), Fake("torch.cuda")
    torch.__path__ = []
    for module in (torch, cuda):
        module.__spec__ = ModuleSpec(module.__name__, None, is_package=module is torch)
    vars(torch).update(
        DTYPES | {alias: DTYPES[name] for alias, name in ALIASES.items()},
        __version__="2.2.2+fake",
        dtype=dtype,
        device=device,
        Tensor=Tensor,
        Size=Size,
        tensor=tensor,
        as_tensor=tensor,
        from_numpy=from_numpy,
        zeros=filled(0),
        ones=filled(1),
        empty=filled(0),
        full=full,
        cat=cat,
        inference_mode=Mode,
        no_grad=Mode,
        cuda=cuda,
    )
    vars(cuda).update(
        Stream=Stream,
        stream=in_stream,
        current_stream=current_stream,
        set_stream=set_stream,
        synchronize=lambda *_: None,
        is_available=lambda: True,
        device_count=lambda: 1,
        current_device=lambda: 0,
        set_device=lambda _: None,
        empty_cache=lambda: None,
        get_device_name=lambda *_: "Fake GPU",
        get_device_capability=lambda *_: (8, 9),
        mem_get_info=lambda *_: (20 << 30, 24 << 30),
        OutOfMemoryError=type("OutOfMemoryError", (RuntimeError,), {}),
    )
    return {"torch": torch, "torch.cuda": cuda}
