"""The decoder of Whisper in numpy, from the weights of a model in CTranslate2's form: greedy, and
with nothing around it, as TensorRT-LLM runs it.

CTranslate2's own `generate` holds the model to rules (the first token is a timestamp, timestamps
come in pairs, `<|notimestamps|>` is never written) that an engine without them has to do without.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from whisperfusion.models.whisper_weights import variables

Array = np.ndarray[Any, Any]


@cache
def weights(folder: str) -> dict[str, Array]:
    """The decoder's, float32 [outputs, inputs], by the names without "decoder/"."""
    found = variables(Path(folder) / "model.bin")
    return {
        name.removeprefix("decoder/"): values.astype(np.float32)
        for name, values in found.items()
        if name.startswith("decoder/")
    }


@dataclass
class BareDecoder:
    """`encoded` is the encoder's output of one piece, float32 [1500, hidden]."""

    folder: str
    encoded: Array
    read: int = 0  # tokens so far
    kept: dict[int, tuple[Array, Array]] = field(default_factory=dict)  # keys, values by layer

    def __post_init__(self) -> None:
        self._weights = weights(self.folder)
        self._heads = int(self._weights["num_heads"])
        self._layers = sum(name.endswith("ffn/linear_0/bias") for name in self._weights)
        self._heard = [
            self._apart(self._linear(self.encoded, f"layer_{layer}/attention/linear_1"), 2)
            for layer in range(self._layers)
        ]

    def generate(self, prompt: list[int], most: int, end: int) -> list[int]:
        """At most `most` tokens after `prompt`, up to `end`."""
        found: list[int] = []
        token = self._next(prompt)
        while token != end and len(found) < most:
            found.append(token)
            token = self._next([token])
        return found

    def _next(self, tokens: list[int]) -> int:
        """The likeliest token after `tokens`, and those before them."""
        places = self._weights["position_encodings/encodings"]
        vectors = self._weights["embeddings/weight"][tokens]
        x = vectors + places[self.read : self.read + len(tokens)]
        self.read += len(tokens)
        for layer in range(self._layers):
            x = self._layer(f"layer_{layer}", layer, x)
        last = self._norm(x[-1:], "layer_norm")
        return int((last @ self._weights["projection/weight"].T).argmax())

    def _layer(self, name: str, layer: int, x: Array) -> Array:
        own, other, last = (f"{name}/{part}" for part in ("self_attention", "attention", "ffn"))
        query, *new = self._apart(
            self._linear(self._norm(x, f"{own}/layer_norm"), f"{own}/linear_0"), 3
        )
        old = self.kept.get(layer)
        keys, values = (
            new if old is None else [np.concatenate(pair, 1) for pair in zip(old, new, strict=True)]
        )
        self.kept[layer] = keys, values
        later = np.triu(np.full((len(x), self.read), -1e9, np.float32), 1 + self.read - len(x))
        x = x + self._linear(attended(query, keys, values, later), f"{own}/linear_1")
        (query,) = self._apart(
            self._linear(self._norm(x, f"{other}/layer_norm"), f"{other}/linear_0"), 1
        )
        x = x + self._linear(attended(query, *self._heard[layer]), f"{other}/linear_2")
        wide = gelu(self._linear(self._norm(x, f"{last}/layer_norm"), f"{last}/linear_0"))
        return x + self._linear(wide, f"{last}/linear_1")

    def _apart(self, x: Array, parts: int) -> tuple[Array, ...]:
        """[rows, parts * hidden] as `parts` times [heads, rows, size]."""
        return tuple(
            part.reshape(len(x), self._heads, -1).transpose(1, 0, 2)
            for part in np.split(x, parts, axis=1)
        )

    def _linear(self, x: Array, name: str) -> Array:
        return x @ self._weights[f"{name}/weight"].T + self._weights[f"{name}/bias"]

    def _norm(self, x: Array, name: str) -> Array:
        centered = x - x.mean(-1, keepdims=True)
        scaled = centered / np.sqrt(np.square(centered).mean(-1, keepdims=True) + 1e-5)
        return scaled * self._weights[f"{name}/gamma"] + self._weights[f"{name}/beta"]


def attended(query: Array, keys: Array, values: Array, mask: Array | float = 0.0) -> Array:
    scores = query @ keys.transpose(0, 2, 1) / np.sqrt(query.shape[2]) + mask
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    found = shares / shares.sum(-1, keepdims=True) @ values
    return found.transpose(1, 0, 2).reshape(query.shape[1], -1).astype(np.float32)


def gelu(x: Array) -> Array:
    """With the error function of Abramowitz and Stegun, 7.1.26, exact to 1.5e-7."""
    z = np.abs(x) / np.sqrt(2.0)
    t = 1.0 / (1.0 + 0.3275911 * z)
    series = (((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t
    error = np.sign(x) * (1.0 - (series + 0.254829592) * t * np.exp(-z * z))
    return (0.5 * x * (1.0 + error)).astype(np.float32)
