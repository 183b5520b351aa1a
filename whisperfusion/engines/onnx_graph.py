"""Writes small ONNX models, without the package `onnx`: a network whose weights come from another
format runs in ONNX Runtime, which holds no interpreter lock while it computes.

A model is a protocol buffer (onnx.proto3 of the ONNX project, whose field numbers stand below);
only what our networks need can be written.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from whisperfusion.audio import Samples

IR_VERSION, OPSET = 8, 14
FLOAT, INT64 = 1, 7  # TensorProto.DataType
AN_INT, A_STRING = 2, 3  # AttributeProto.AttributeType


def model(nodes: Sequence[bytes], weights: Sequence[bytes], given: bytes, result: bytes) -> bytes:
    """The file. `given` and `result` are what `value` makes."""
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, b"network")
    graph += b"".join(_field(5, tensor) for tensor in weights)
    graph += _field(11, given) + _field(12, result)
    return _number(1, IR_VERSION) + _field(7, graph) + _field(8, _number(2, OPSET))


def node(
    kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: int | str
) -> bytes:
    """An operator, such as `LSTM`; an input or output "" is left out."""
    names = [_field(1, name.encode()) for name in inputs]
    names += [_field(2, name.encode()) for name in outputs]
    given = [_field(5, _attribute(name, value)) for name, value in attributes.items()]
    return b"".join(names) + _field(4, kind.encode()) + b"".join(given)


def floats(name: str, values: Samples) -> bytes:
    """Weights, float32 of any shape."""
    shape = b"".join(_number(1, size) for size in values.shape)
    raw = values.astype("<f4").tobytes()
    return shape + _number(2, FLOAT) + _field(8, name.encode()) + _field(9, raw)


def indices(name: str, values: Sequence[int]) -> bytes:
    """Such as axes, int64."""
    raw = struct.pack(f"<{len(values)}q", *values)
    return _number(1, len(values)) + _number(2, INT64) + _field(8, name.encode()) + _field(9, raw)


def value(name: str, shape: Sequence[int | str]) -> bytes:
    """What goes in or comes out: float32; a size that is not known has a name."""
    sizes = b"".join(
        _field(1, _number(1, size) if isinstance(size, int) else _field(2, size.encode()))
        for size in shape
    )
    tensor = _number(1, FLOAT) + _field(2, sizes)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))


def _attribute(name: str, given: int | str) -> bytes:
    if isinstance(given, int):
        return _field(1, name.encode()) + _number(3, given) + _number(20, AN_INT)
    return _field(1, name.encode()) + _field(4, given.encode()) + _number(20, A_STRING)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, given: int) -> bytes:
    return _varint(number << 3) + _varint(given)


def _varint(given: int) -> bytes:
    found = bytearray()
    while given > 0x7F:
        found.append(given & 0x7F | 0x80)
        given >>= 7
    found.append(given)
    return bytes(found)
