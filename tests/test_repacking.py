"""GGUF models in the form that processors read fastest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Form

from whisperfusion.models import repacking
from whisperfusion.models.catalog import MODELS

MODEL = MODELS["qwen2.5-coder-0.5b"]
FORMS = {
    "token_embd.weight": Form.Q5_0,
    "blk.0.attn_q.weight": Form.Q5_0,
    "blk.0.ffn_down.weight": Form.Q8_0,
    "output.weight": Form.Q8_0,
}
WORDS = ["a", "ü", "<|end|>"]


def written(path: Path, forms: dict[str, Form]) -> dict[str, np.ndarray]:
    """A model file of random weights; the weights as the file has them."""
    random, held = np.random.default_rng(1), {}
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_uint32("qwen2.block_count", 1)
    writer.add_float32("qwen2.rope.freq_base", 1e6)
    writer.add_array("tokenizer.ggml.tokens", WORDS)
    writer.add_array("tokenizer.ggml.token_type", [1, 1, 3])
    writer.add_tensor("blk.0.attn_norm.weight", random.normal(size=96).astype(np.float32))
    for name, form in forms.items():
        packed = gguf.quants.quantize(random.normal(size=(64, 96)).astype(np.float32), form)
        held[name] = gguf.quants.dequantize(packed, form)
        writer.add_tensor(name, packed, raw_dtype=form)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return held


def form_of(tensor: gguf.ReaderTensor) -> Form:
    return Form(tensor.tensor_type)


def described(reader: gguf.GGUFReader) -> dict[str, object]:
    """All that a file says of its model, without the numbers of the file's own form."""
    fields = reader.fields.values()
    return {f.name: f.contents() for f in fields if not f.name.startswith("GGUF.")}


def test_slow_forms_become_fast_and_all_else_stays(tmp_path):
    path = tmp_path / "model.gguf"
    held = written(path, FORMS)
    copy = repacking.fastest(MODEL, path)
    assert copy.name == path.name  # the name that callers are told
    before, after = gguf.GGUFReader(path), gguf.GGUFReader(copy)
    assert {tensor.name: form_of(tensor) for tensor in after.tensors} == {
        "blk.0.attn_norm.weight": Form.F32,
        "token_embd.weight": Form.Q5_0,
        "blk.0.attn_q.weight": Form.Q4_0,
        "blk.0.ffn_down.weight": Form.Q8_0,
        "output.weight": Form.Q4_0,
    }
    for old, new in zip(before.tensors, after.tensors, strict=True):
        if form_of(new) is Form.Q4_0:
            weights = gguf.quants.dequantize(new.data, new.tensor_type)
            error = np.sqrt(np.mean((weights - held[new.name]) ** 2))
            assert 0 < error < 0.1  # of weights of size 1; 16 steps over twice their largest
        else:
            np.testing.assert_array_equal(old.data, new.data)
    assert described(after) == described(before)
    assert [file.name for file in copy.parent.iterdir()] == [copy.name]


def test_the_copy_is_made_once(tmp_path):
    path = tmp_path / "model.gguf"
    written(path, FORMS)
    copy = repacking.fastest(MODEL, path)
    made = copy.stat().st_mtime_ns
    assert repacking.fastest(MODEL, path) == copy
    assert copy.stat().st_mtime_ns == made


def test_a_model_that_would_not_gain_stays_and_is_read_once(tmp_path):
    path = tmp_path / "model.gguf"
    written(path, dict.fromkeys(FORMS, Form.Q4_1))
    assert repacking.fastest(MODEL, path) == path
    path.write_bytes(b"")  # would fail, were it read again
    assert repacking.fastest(MODEL, path) == path


def test_own_files_and_folders_are_left_alone(tmp_path):
    path = tmp_path / "model.gguf"
    written(path, FORMS)
    assert repacking.fastest(replace(MODEL, path=path), path) == path
    assert repacking.fastest(MODEL, tmp_path) == tmp_path
    assert [file.name for file in tmp_path.iterdir()] == ["model.gguf"]


@pytest.mark.parametrize("content", [b"", b"GGUF", b"no model at all" * 100])
def test_a_file_that_cannot_be_read_is_used_as_it_is(tmp_path, content, caplog):
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    assert repacking.fastest(MODEL, path) == path
    assert "could not be repacked" in caplog.text
    assert not list((tmp_path / "repacked").glob("*"))
