"""As much of torch as `engines/whisper/torch_whisper.py` touches, on numpy."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np

__version__ = "2.10.0"
float16, float32, bool = np.float16, np.float32, np.bool_
cuda = SimpleNamespace(is_available=lambda: False)
nn = SimpleNamespace(functional=SimpleNamespace(gelu=lambda x: x))
no_grad = nullcontext


class Tensor:
    def __init__(self, values: Any) -> None:
        self.values, self.dtype = values, values.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def __getitem__(self, at: Any) -> Tensor:
        return Tensor(self.values[at])

    def __setitem__(self, at: Any, value: Any) -> None:
        self.values[at] = value

    def __add__(self, other: Tensor) -> Tensor:
        return self

    def permute(self, *axes: int) -> Tensor:
        return Tensor(self.values.transpose(axes))

    def to(self, *kinds: Any) -> Tensor:
        assert set(kinds) <= {"cpu", np.float32, np.dtype(np.float32)}, kinds
        return self

    def numpy(self) -> Any:
        return self.values

    float = cpu = to_sparse = to


def set_num_threads(count: int) -> None:
    assert count >= 1


def from_numpy(values: Any) -> Tensor:
    return Tensor(values)


def zeros(*shape: int, dtype: Any) -> Tensor:
    return Tensor(np.zeros(shape, dtype))
