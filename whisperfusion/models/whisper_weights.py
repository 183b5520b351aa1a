"""Whisper's weights in CTranslate2's form, as the state of OpenAI's own implementation.

The store holds Whisper in the form that CTranslate2 runs (model.bin, config.json). It has the same
weights under other names: queries, keys and values are joined in one matrix, and small types come
with a scale for each row. Turned back, they are what the package openai-whisper loads, so a second
copy of each size from another place is not needed. A test goes both ways and compares every number.

The binary form is that of CTranslate2's converters (python/ctranslate2/specs/model_spec.py,
`ModelSpec._save`, binary version 6): numbers are little-endian, names end with a zero byte.
"""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whisperfusion.errors import ModelError

Array = npt.NDArray[Any]

BINARY_VERSIONS = (5, 6)
# types by CTranslate2's number; numpy has no bfloat16, which is the upper half of a float32
TYPES: dict[int, Any] = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2", 5: "<u2"}
BFLOAT16 = 5
SCALE = "_scale"  # after the name of integer weights: what they were multiplied by
SIDES = ("encoder", "decoder")
# parts of one layer: (OpenAI's name, CTranslate2's name, those joined in it)
ATTENTION = (
    ("attn", "self_attention", (("linear_0", ("query", "key", "value")), ("linear_1", ("out",)))),
    (
        "cross_attn",
        "attention",
        (("linear_0", ("query",)), ("linear_1", ("key", "value")), ("linear_2", ("out",))),
    ),
)
NORMS = {"weight": "gamma", "bias": "beta"}


@dataclass(frozen=True)
class Dimensions:
    """Of a model, by the names of `whisper.model.ModelDimensions`."""

    n_mels: int
    n_audio_ctx: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int


def state_of(folder: Path) -> tuple[Dimensions, dict[str, Array]]:
    """The model in `folder` for `whisper.model.Whisper`: dimensions, and arrays by parameter.

    Weights keep their type where numpy has it (float16 mostly); integers become float32. Raises
    `ModelError` for a file that is damaged or of another kind.
    """
    file = folder / "model.bin"
    try:
        found = variables(file)
        return _dimensions(found), dict(_renamed(found))
    except (struct.error, KeyError, ValueError, IndexError, OSError) as error:
        raise ModelError(
            f"{file} is not a Whisper model in CTranslate2 form, or it is damaged "
            f"({type(error).__name__}: {error}); delete its folder to have it fetched again"
        ) from error


def alignment_heads(folder: Path) -> list[tuple[int, int]]:
    """(layer, head) whose attention follows the sound, as config.json names them; else none."""
    try:
        heads = json.loads((folder / "config.json").read_text("utf-8")).get("alignment_heads", [])
        return [(int(layer), int(head)) for layer, head in heads]
    except (OSError, ValueError, TypeError, AttributeError):
        return []


# --- the file ------------------------------------------------------------------------------------


def variables(file: Path) -> dict[str, Array]:
    """All that is in a model.bin, by CTranslate2's names. Weights with a scale are multiplied out.

    The arrays of other weights are views of the file, which is mapped and not read.
    """
    with file.open("rb") as opened:
        reader = _Reader(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
    if (version := reader.number("I")) not in BINARY_VERSIONS:
        raise ValueError(f"binary version {version}; known: {BINARY_VERSIONS}")
    if (kind := reader.name()) != "WhisperSpec":
        raise ValueError(f"a model of the kind {kind!r}")
    reader.number("I")  # its revision
    stored = dict([reader.variable() for _ in reader.counted()])
    for alias, name in [(reader.name(), reader.name()) for _ in reader.counted()]:
        stored[alias] = stored[name]
        if name + SCALE in stored:
            stored[alias + SCALE] = stored[name + SCALE]
    return {
        name: _scaled(array, stored.get(name + SCALE))
        for name, array in stored.items()
        if not name.endswith(SCALE)
    }


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._at = data, 0

    def number(self, form: str) -> int:
        (value,) = struct.unpack_from(f"<{form}", self._data, self._at)
        self._at += struct.calcsize(f"<{form}")
        return int(value)

    def counted(self) -> range:
        return range(self.number("I"))

    def name(self) -> str:
        length = self.number("H")
        self._at += length
        return self._data[self._at - length : self._at - 1].decode()

    def variable(self) -> tuple[str, Array]:
        name, shape = self.name(), [self.number("I") for _ in range(self.number("B"))]
        number, size = self.number("B"), self.number("I")
        kind = np.dtype(TYPES[number])
        values = np.frombuffer(self._data, kind, size // kind.itemsize, self._at).reshape(shape)
        self._at += size
        return name, _from_bfloat16(values) if number == BFLOAT16 else values


def _from_bfloat16(values: Array) -> Array:
    return (values.astype(np.uint32) << 16).view(np.float32)


def _scaled(values: Array, scale: Array | None) -> Array:
    """Integers as the float32 that they stand for: a scale for each row (int8), or one (int16)."""
    if scale is None or values.dtype.kind != "i":
        return values
    rows = scale.astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
    return (values / rows).astype(np.float32)


# --- names ---------------------------------------------------------------------------------------


def _dimensions(found: Mapping[str, Array]) -> Dimensions:
    places, states = found["encoder/position_encodings/encodings"].shape
    text_places, text_states = found["decoder/position_encodings/encodings"].shape
    return Dimensions(
        n_mels=found["encoder/conv1/weight"].shape[1],
        n_audio_ctx=places,
        n_audio_state=states,
        n_audio_head=int(found["encoder/num_heads"]),
        n_audio_layer=_layers(found, "encoder"),
        n_vocab=found["decoder/embeddings/weight"].shape[0],
        n_text_ctx=text_places,
        n_text_state=text_states,
        n_text_head=int(found["decoder/num_heads"]),
        n_text_layer=_layers(found, "decoder"),
    )


def _layers(found: Mapping[str, Array], side: str) -> int:
    return sum(name.startswith(f"{side}/") and name.endswith("ffn/linear_0/bias") for name in found)


def _renamed(found: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    for side in SIDES:
        yield f"{side}.positional_embedding", found[f"{side}/position_encodings/encodings"]
        for mine, theirs in plain_names(side, _layers(found, side)):
            yield mine, found[theirs]
        for prefix, theirs, joined in joined_names(side, _layers(found, side)):
            for kind in ("weight", "bias"):
                parts = np.split(found[f"{theirs}/{kind}"], len(joined))
                for part, values in zip(joined, parts, strict=True):
                    if (part, kind) != ("key", "bias"):  # Whisper has none; it is zero there
                        yield f"{prefix}.{part}.{kind}", values
    yield "decoder.token_embedding.weight", found["decoder/embeddings/weight"]


def plain_names(side: str, layers: int) -> Iterator[tuple[str, str]]:
    """(OpenAI's name, CTranslate2's name) of all that is the same array in both."""
    norms = [("encoder.ln_post" if side == "encoder" else "decoder.ln", f"{side}/layer_norm")]
    plain = [(f"encoder.{n}", f"encoder/{n}") for n in ("conv1", "conv2") if side == "encoder"]
    for at in range(layers):
        mine, theirs = f"{side}.blocks.{at}", f"{side}/layer_{at}"
        norms += [
            (f"{mine}.{name}_ln", f"{theirs}/{part}/layer_norm")
            for name, part, _ in _attentions(side)
        ]
        norms.append((f"{mine}.mlp_ln", f"{theirs}/ffn/layer_norm"))
        plain += [(f"{mine}.mlp.{2 * n}", f"{theirs}/ffn/linear_{n}") for n in (0, 1)]
    for mine, theirs in norms:
        yield from ((f"{mine}.{kind}", f"{theirs}/{name}") for kind, name in NORMS.items())
    for mine, theirs in plain:
        yield from ((f"{mine}.{kind}", f"{theirs}/{kind}") for kind in ("weight", "bias"))


def joined_names(side: str, layers: int) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """(OpenAI's prefix, CTranslate2's prefix, OpenAI's parts that stand there one after the
    other) of the matrices of attention.
    """
    for at in range(layers):
        for name, part, linears in _attentions(side):
            for linear, joined in linears:
                prefix = f"{side}.blocks.{at}.{name}"
                yield prefix, f"{side}/layer_{at}/{part}/{linear}", joined


def _attentions(side: str) -> Any:
    return ATTENTION if side == "decoder" else ATTENTION[:1]
