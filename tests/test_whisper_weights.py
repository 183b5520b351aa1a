"""Whisper's weights, from CTranslate2's form to that of OpenAI's package, and back."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whisperfusion.errors import ModelError
from whisperfusion.models import whisper_weights as weights

Array = np.ndarray[Any, Any]
NUMBERS = {"<f4": 0, "<i1": 1, "<i2": 2, "<i4": 3, "<f2": 4, "<u2": 5}
# of another model than the arithmetic: what CTranslate2 notes about how to run it
NOTES = ("num_heads", "alignment_", "alibi", "activation", "pre_norm", "scale_emb", "start_from")


def back(state: dict[str, Array], dims: weights.Dimensions) -> dict[str, Array]:
    """OpenAI's state by CTranslate2's names: the inverse of `weights.state_of`."""
    found = {"decoder/embeddings/weight": state["decoder.token_embedding.weight"]}
    for side, layers in (("encoder", dims.n_audio_layer), ("decoder", dims.n_text_layer)):
        found[f"{side}/position_encodings/encodings"] = state[f"{side}.positional_embedding"]
        for mine, theirs in weights.plain_names(side, layers):
            found[theirs] = state[mine]
        for prefix, theirs, parts in weights.joined_names(side, layers):
            for kind in ("weight", "bias"):
                size = state[f"{prefix}.{parts[0]}.weight"].shape[0]
                none = np.zeros(size, np.float16)  # keys have no bias
                joined = [state.get(f"{prefix}.{part}.{kind}", none) for part in parts]
                found[f"{theirs}/{kind}"] = np.concatenate(joined)
    found["decoder/projection/weight"] = found["decoder/embeddings/weight"]
    return found


@pytest.mark.parametrize("name", ["whisper-base", "whisper-tiny.en"])
def test_every_number_of_a_model_goes_there_and_back(stored, name) -> None:
    folder = Path(stored(name, "asr"))
    dims, state = weights.state_of(folder)
    there = weights.variables(folder / "model.bin")
    again = back(state, dims)
    noted = {one for one in there if any(note in one for note in NOTES)}
    assert set(again) == set(there) - noted
    for one, values in again.items():
        assert np.array_equal(values, there[one]), one
    assert (dims.n_mels, dims.n_audio_ctx, dims.n_text_ctx) == (80, 1500, 448)
    assert dims.n_audio_head == dims.n_audio_state // 64  # in all sizes
    heads = weights.alignment_heads(folder)
    assert heads and all(layer < dims.n_text_layer for layer, _ in heads)


# --- small files of other types ------------------------------------------------------------------


def text(name: str) -> bytes:
    return struct.pack("<H", len(name) + 1) + name.encode() + b"\0"


def stored_as(name: str, values: Array, bfloat16: bool = False) -> bytes:
    kind = values.dtype.str.replace("|", "<")
    shape = b"".join(struct.pack("<I", size) for size in values.shape)
    number = 5 if bfloat16 else NUMBERS[kind]
    head = text(name) + struct.pack("<B", values.ndim) + shape
    return head + struct.pack("<BI", number, values.nbytes) + values.tobytes()


def model_bin(variables: list[bytes], kind: str = "WhisperSpec", version: int = 6) -> bytes:
    aliases = struct.pack("<I", 1) + text("decoder/projection/weight") + text("rows")
    head = struct.pack("<I", version) + text(kind) + struct.pack("<II", 3, len(variables))
    return head + b"".join(variables) + aliases


@pytest.fixture
def read(tmp_path):
    def read(*variables: bytes, **more: Any) -> dict[str, Array]:
        (tmp_path / "model.bin").write_bytes(model_bin(list(variables), **more))
        return weights.variables(tmp_path / "model.bin")

    return read


def test_integers_are_multiplied_out_row_by_row(read) -> None:
    rows = np.array([[127, -64, 0], [10, 20, 30]], np.int8)
    scales = np.array([127.0, 10.0], np.float32)
    found = read(stored_as("rows", rows), stored_as("rows_scale", scales))
    expected = [[1.0, -64 / 127, 0.0], [1.0, 2.0, 3.0]]
    assert set(found) == {"rows", "decoder/projection/weight"}
    for values in found.values():  # under the name that shares it, too
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_one_scale_for_all_and_kernels_of_convolutions(read) -> None:
    kernels = np.arange(12, dtype=np.int8).reshape(2, 2, 3)
    found = read(
        stored_as("rows", np.array([[1000, -500]], np.int16)),
        stored_as("rows_scale", np.array(1000.0, np.float32)),
        stored_as("kernel", kernels),
        stored_as("kernel_scale", np.array([1.0, 2.0], np.float32)),
    )
    np.testing.assert_allclose(found["rows"], [[1.0, -0.5]])
    np.testing.assert_allclose(found["kernel"], kernels / np.array([1.0, 2.0])[:, None, None])


def test_bfloat16_is_the_upper_half_of_a_float(read) -> None:
    halves = (np.array([1.0, -2.5, 0.0], np.float32).view(np.uint32) >> 16).astype(np.uint16)
    found = read(stored_as("rows", halves, bfloat16=True))
    np.testing.assert_array_equal(found["rows"], [1.0, -2.5, 0.0])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF" * 10,
        model_bin([], kind="TransformerSpec"),
        model_bin([], version=99),
        model_bin([stored_as("rows", np.zeros((2, 2), np.float16))]),  # no Whisper in it
        model_bin([stored_as("rows", np.zeros((2, 2), np.float16))])[:70],
    ],
    ids=["empty", "another file", "another model", "of the future", "without parts", "cut off"],
)
def test_what_is_no_whisper_model_is_told_in_words(tmp_path, content) -> None:
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(ModelError, match="is not a Whisper model in CTranslate2 form"):
        weights.state_of(tmp_path)


@pytest.mark.parametrize("config", ["", "[1]", '{"alignment_heads": 3}', "{}"])
def test_a_configuration_without_heads_has_none(tmp_path, config) -> None:
    (tmp_path / "config.json").write_text(config)
    assert weights.alignment_heads(tmp_path) == []
