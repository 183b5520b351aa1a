"""Two "TensorRT engines" of Whisper behind the recorded signatures, whose arithmetic is the real
model: its encoder in CTranslate2, its decoder in numpy (bare_whisper.py).

So the engine's own code (spectrogram, prompts, token limits, what is cut where) is heard to work on
human speech, and each call that it makes is bound to the signature of TensorRT-LLM 0.10.0 and
checked for types, shapes, stream and order.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from bare_whisper import BareDecoder
from tokenizers import Tokenizer

HEARING = {"precision": "float16", "n_mels": 80, "num_languages": 99}
LIMITS = {"max_batch_size": 4, "max_beam_width": 1, "max_input_len": 228, "max_output_len": 220}


def folder(path: Path, stored: str, **limits: int) -> Path:
    """What build-whisper.sh leaves, with `stored` as the name inside the engines."""
    path.mkdir(parents=True, exist_ok=True)
    decoder = {
        "precision": "float16",
        "num_heads": 8,
        "hidden_size": 512,
        "vocab_size": 51865,
        "num_layers": 6,
        "cross_attention": True,
        "has_position_embedding": True,
        "has_token_type_embedding": False,
        **LIMITS,
        **limits,
    }
    plugins = {"gpt_attention_plugin": "float16", "remove_input_padding": False}
    (path / "encoder_config.json").write_text(
        json.dumps({"builder_config": HEARING, "plugin_config": plugins})
    )
    (path / "decoder_config.json").write_text(
        json.dumps({"builder_config": decoder, "plugin_config": plugins})
    )
    for part in ("encoder", "decoder"):
        (path / f"whisper_{part}_float16_tp1_rank0.engine").write_text(stored)
    shutil.copy(Path(stored) / "tokenizer.json", path)
    return path


WIDTHS: dict[str, int] = {}  # of the encoder's output, by model


@cache
def arithmetic(name: str) -> tuple[Any, Tokenizer]:
    """The real model, loaded once for all tests, and its vocabulary."""
    import ctranslate2

    model = ctranslate2.models.Whisper(name, device="cpu", compute_type="int8", intra_threads=1)
    return model, Tokenizer.from_file(f"{name}/tokenizer.json")


# what the models made of an input: the tests give them the same few clips again and again
MADE: dict[tuple[Any, ...], Any] = {}
MOST_MADE = 100  # of 1 MB each


def made_once(make: Callable[[], Any], array: np.ndarray, *rest: Any) -> Any:
    """What `make` returns for `array` and `rest`; the arithmetic is done once for each process."""
    key = (hashlib.sha256(np.ascontiguousarray(array)).hexdigest(), array.shape, *rest)
    if key not in MADE:
        if len(MADE) == MOST_MADE:
            MADE.pop(next(iter(MADE)), None)
        MADE[key] = make()
    return MADE[key]


class Behaviour:
    """Give a `fake_gpu.Fake` what the two engines do. `broken` makes the decoder fail; with
    `zeros`, every other row of a batch is zeros; `answer` are the tokens of each row, instead of
    what the model hears.

    A decode that nothing the model writes can end is the engine's warm-up, which ends with one
    piece: it is checked like any other, and answered without arithmetic.
    """

    def __init__(self, gpu: Any) -> None:
        self.broken, self.zeros, self.warm = "", False, False
        self.answer: list[int] = []
        self.model: Any = None
        self.batch = 0  # that the engines are built for
        self._gpu = gpu
        types = {"float16": "trt.float16", "int32": "trt.int32"}
        gpu.on("tensorrt_llm.mpi_rank")(lambda: 0)
        gpu.on("tensorrt_llm._utils.str_dtype_to_trt")(lambda dtype: types[dtype])
        gpu.on("tensorrt_llm._utils.trt_dtype_to_torch")(
            lambda dtype: getattr(sys.modules["torch"], dtype.removeprefix("trt."))
        )
        gpu.on("tensorrt_llm.runtime.TensorInfo")(self._describe)
        gpu.on("tensorrt_llm.runtime.Session.from_serialized_engine")(self._load)
        gpu.on("tensorrt_llm.runtime.Session.infer_shapes")(self._shapes)
        gpu.on("tensorrt_llm.runtime.Session.run")(self._encode)
        gpu.on("tensorrt_llm.runtime.GenerationSession")(self._session)
        gpu.on("tensorrt_llm.runtime.GenerationSession.setup")(self._setup)
        gpu.on("tensorrt_llm.runtime.GenerationSession.decode")(self._decode)

    @staticmethod
    def _describe(info: Any, name: str, dtype: Any, shape: tuple[int, ...]) -> None:
        info.name, info.dtype, info.shape = name, dtype, shape

    def _load(self, engine: bytes) -> Any:
        if not Path(engine.decode()).is_dir():
            raise AssertionError("the engine plan file is generated on an incompatible device")
        self.name, self.warm = engine.decode(), False
        self.model, self.vocabulary = arithmetic(self.name)
        return self._gpu.new("tensorrt_llm.runtime.Session")

    def _shapes(self, session: Any, inputs: list[Any], context: Any) -> list[Any]:
        asked = {info.name: (info.dtype, tuple(info.shape)) for info in inputs}
        pieces = asked["x"][1][0]
        assert 1 <= pieces <= self.batch
        assert asked == {
            "x": ("trt.float16", (pieces, 80, 3000)),
            "input_lengths": ("trt.int32", (pieces,)),
        }
        session.pieces = pieces  # `run` takes the shapes that were set last
        if self.name not in WIDTHS:
            WIDTHS[self.name] = self._encoded(np.zeros((1, 80, 3000), np.float32)).shape[2]
        width = WIDTHS[self.name]
        return [
            self._gpu.new(
                "tensorrt_llm.runtime.TensorInfo",
                name="output",
                dtype="trt.float16",
                shape=(pieces, 1500, width),
            )
        ]

    def _encoded(self, mel: np.ndarray) -> np.ndarray:
        import ctranslate2

        return np.array(
            self.model.encode(
                ctranslate2.StorageView.from_array(np.ascontiguousarray(mel)), to_cpu=True
            )
        )

    def _encode(
        self,
        session: Any,
        inputs: dict[str, Any],
        outputs: dict[str, Any],
        stream: int,
        context: Any,
    ) -> bool:
        torch, pieces = sys.modules["torch"], session.pieces
        assert isinstance(stream, int)
        assert (inputs["x"].dtype, tuple(inputs["x"].shape)) == (torch.float16, (pieces, 80, 3000))
        assert (inputs["input_lengths"].dtype, inputs["input_lengths"].tolist()) == (
            torch.int32,
            [1500] * pieces,
        )
        if not self.warm:
            return True
        mel = inputs["x"].cpu().numpy().astype(np.float32)
        encoded = made_once(lambda: self._encoded(mel).astype(np.float16), mel, self.name)
        outputs["output"][:] = torch.from_numpy(encoded)
        return True

    def _session(self, session: Any, **arguments: Any) -> None:
        config = arguments["model_config"]
        built = self._gpu.arguments("tensorrt_llm.runtime.ModelConfig")[-1]
        assert built["num_kv_heads"] == 8, config
        self.batch = built["max_batch_size"]
        assert arguments["stream"] is not None

    def _setup(self, session: Any, **arguments: Any) -> None:
        assert 1 <= arguments["batch_size"] <= self.batch
        assert arguments["max_context_length"] <= LIMITS["max_input_len"]
        assert arguments["max_new_tokens"] <= LIMITS["max_output_len"]
        session.sizes = arguments

    def _decode(self, session: Any, **arguments: Any) -> dict[str, Any]:
        torch = sys.modules["torch"]
        if self.broken:
            raise RuntimeError(self.broken)
        prompts, most = arguments["input_ids"].tolist(), session.sizes["max_new_tokens"]
        pieces, prompt = session.sizes["batch_size"], prompts[0]
        assert prompts == [prompt] * pieces
        assert (
            arguments["context_lengths"].tolist()
            == [session.sizes["max_context_length"]] * pieces
            == [len(prompt)] * pieces
        )
        assert tuple(arguments["cross_attention_mask"].shape) == (pieces, 1, 1500)
        assert (
            arguments["encoder_input_lengths"].tolist()
            == [1500] * pieces
            == [session.sizes["encoder_max_input_length"]] * pieces
        )
        end = self._gpu.arguments("tensorrt_llm.runtime.SamplingConfig")[-1]["end_id"]
        encoded = arguments["encoder_output"].cpu().numpy().astype(np.float32)
        assert len(encoded) == pieces
        if self.answer:
            found = [self.answer[:most] for _ in encoded]
        elif end == self.vocabulary.token_to_id("<|endoftext|>"):
            found = [self._tokens(one[None], prompt, most, end) for one in encoded]
        else:
            found = [[100 + at for at in range(most)] for _ in encoded]
            self.warm = pieces == 1
        if self.zeros and pieces > 1:
            found[::2] = [[0] * most for _ in found[::2]]
        return {
            "output_ids": torch.tensor(
                [[[*prompt, *row, *[end] * (most - len(row))]] for row in found], dtype=torch.int32
            ),
            "sequence_lengths": torch.tensor(
                [[len(prompt) + len(row) + (len(row) < most)] for row in found], dtype=torch.int32
            ),
        }

    def _tokens(self, encoded: np.ndarray, prompt: list[int], most: int, end: int) -> list[int]:
        return made_once(
            lambda: BareDecoder(self.name, encoded[0]).generate(prompt, most, end),
            encoded,
            *(self.name, tuple(prompt), most, end),
        )
