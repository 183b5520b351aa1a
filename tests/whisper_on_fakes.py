"""Two "TensorRT engines" of Whisper behind the recorded signatures, whose arithmetic is the real model in CTranslate2.

So the engine's own code (spectrogram, prompts, token limits, what is cut where) is heard to work on human speech, and
each call that it makes is bound to the signature of TensorRT-LLM 0.10.0 and checked for types, shapes, stream and order.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

HEARING = {"precision": "float16", "n_mels": 80, "num_languages": 99}
LIMITS = {"max_batch_size": 1, "max_beam_width": 1, "max_input_len": 228, "max_output_len": 220}


def folder(path: Path, stored: str, **limits: int) -> Path:
    """What build-whisper.sh leaves, with `stored` as the name inside the engines."""
    path.mkdir(parents=True, exist_ok=True)
    decoder = {"precision": "float16", "num_heads": 8, "hidden_size": 512, "vocab_size": 51865, "num_layers": 6, "cross_attention": True,
               "has_position_embedding": True, "has_token_type_embedding": False, **LIMITS, **limits}
    plugins = {"gpt_attention_plugin": "float16", "remove_input_padding": False}
    (path / "encoder_config.json").write_text(json.dumps({"builder_config": HEARING, "plugin_config": plugins}))
    (path / "decoder_config.json").write_text(json.dumps({"builder_config": decoder, "plugin_config": plugins}))
    for part in ("encoder", "decoder"):
        (path / f"whisper_{part}_float16_tp1_rank0.engine").write_text(stored)
    shutil.copy(Path(stored) / "tokenizer.json", path)
    return path


WIDTHS: dict[str, int] = {}  # of the encoder's output, by model


class Behaviour:
    """Give a `fake_gpu.Fake` what the two engines do. `broken` makes the decoder fail.

    The first decode after loading is the engine's warm-up: it is checked like any other, and answered without arithmetic.
    """

    def __init__(self, gpu: Any) -> None:
        self.broken, self.warm = "", False
        self.model: Any = None
        self._gpu = gpu
        types = {"float16": "trt.float16", "int32": "trt.int32"}
        gpu.on("tensorrt_llm.mpi_rank")(lambda: 0)
        gpu.on("tensorrt_llm._utils.str_dtype_to_trt")(lambda dtype: types[dtype])
        gpu.on("tensorrt_llm._utils.trt_dtype_to_torch")(lambda dtype: getattr(sys.modules["torch"], dtype.removeprefix("trt.")))
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
        import ctranslate2

        if not Path(engine.decode()).is_dir():
            raise AssertionError("the engine plan file is generated on an incompatible device")
        self.model = ctranslate2.models.Whisper(engine.decode(), device="cpu", compute_type="int8", intra_threads=2)
        self.name, self.warm = engine.decode(), False
        self.vocabulary = Tokenizer.from_file(f"{engine.decode()}/tokenizer.json")
        return self._gpu.new("tensorrt_llm.runtime.Session")

    def _shapes(self, session: Any, inputs: list[Any], context: Any) -> list[Any]:
        asked = {info.name: (info.dtype, tuple(info.shape)) for info in inputs}
        assert asked == {"x": ("trt.float16", (1, 80, 3000)), "input_lengths": ("trt.int32", (1,))}
        if self.name not in WIDTHS:
            WIDTHS[self.name] = self._encoded(np.zeros((1, 80, 3000), np.float32)).shape[2]
        width = WIDTHS[self.name]
        return [self._gpu.new("tensorrt_llm.runtime.TensorInfo", name="output", dtype="trt.float16", shape=(1, 1500, width))]

    def _encoded(self, mel: np.ndarray) -> np.ndarray:
        import ctranslate2

        return np.array(self.model.encode(ctranslate2.StorageView.from_array(np.ascontiguousarray(mel)), to_cpu=True))

    def _encode(self, session: Any, inputs: dict[str, Any], outputs: dict[str, Any], stream: int, context: Any) -> bool:
        torch = sys.modules["torch"]
        assert isinstance(stream, int)
        assert (inputs["x"].dtype, tuple(inputs["x"].shape)) == (torch.float16, (1, 80, 3000))
        assert (inputs["input_lengths"].dtype, inputs["input_lengths"].tolist()) == (torch.int32, [1500])
        if not self.warm:
            return True
        outputs["output"][:] = torch.from_numpy(self._encoded(inputs["x"].cpu().numpy().astype(np.float32)).astype(np.float16))
        return True

    def _session(self, session: Any, **arguments: Any) -> None:
        config = arguments["model_config"]
        assert self._gpu.arguments("tensorrt_llm.runtime.ModelConfig")[-1]["num_kv_heads"] == 8, config
        assert arguments["stream"] is not None

    def _setup(self, session: Any, **arguments: Any) -> None:
        assert arguments["max_context_length"] <= LIMITS["max_input_len"]
        assert arguments["max_new_tokens"] <= LIMITS["max_output_len"]
        session.sizes = arguments

    def _decode(self, session: Any, **arguments: Any) -> dict[str, Any]:
        torch = sys.modules["torch"]
        if self.broken:
            raise RuntimeError(self.broken)
        prompt, most = arguments["input_ids"][0].tolist(), session.sizes["max_new_tokens"]
        assert arguments["context_lengths"].tolist() == [session.sizes["max_context_length"]] == [len(prompt)]
        assert tuple(arguments["cross_attention_mask"].shape) == (1, 1, 1500)
        assert arguments["encoder_input_lengths"].tolist() == [1500] == [session.sizes["encoder_max_input_length"]]
        end = self._gpu.arguments("tensorrt_llm.runtime.SamplingConfig")[-1]["end_id"]
        encoded = arguments["encoder_output"].cpu().numpy().astype(np.float32)
        found = self._tokens(encoded, prompt, most, end) if self.warm else []
        self.warm = True
        ended = len(found) < most
        ids = [*prompt, *found, *[end] * (most - len(found))]
        length = len(prompt) + len(found) + ended
        return {"output_ids": torch.tensor([[ids]], dtype=torch.int32), "sequence_lengths": torch.tensor([[length]], dtype=torch.int32)}

    def _tokens(self, encoded: np.ndarray, prompt: list[int], most: int, end: int) -> list[int]:
        import ctranslate2

        features = ctranslate2.StorageView.from_array(np.ascontiguousarray(encoded))
        if len(prompt) == 1:  # what follows the start is the language
            return [self.vocabulary.token_to_id(self.model.detect_language(features)[0][0][0])]
        result = self.model.generate(
            features, [prompt], beam_size=1, max_length=len(prompt) + most, suppress_blank=False, suppress_tokens=[])
        return list(result[0].sequences_ids[0])[:most]
