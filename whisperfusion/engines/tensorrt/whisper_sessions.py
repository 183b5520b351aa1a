"""Whisper's encoder and decoder as TensorRT engines of TensorRT-LLM 0.10.0, for several callers at
once.

The encoder of that release takes 30 s of audio, no less (its input is [pieces, n_mels, 3000]), so a
short utterance costs a whole window there. Pieces that are decoded together have one prompt, so
their rows are equally long, and each ends by itself. `Session.run` takes the shapes that
`infer_shapes` was last asked for. A decoder of this family is reported to return zeros for every
other row of a batch (NVIDIA/TensorRT-LLM issue 1847, T5, 0.7), so equal rows are compared at the
start, and where they differ the callers take turns.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.engines.tensorrt.folder import how_to_build, load_error, start_error
from whisperfusion.engines.whisper.log_mel import log_mel
from whisperfusion.errors import EngineError, gpu_is_lost

FRAMES = 3000  # of 10 ms: the encoder's window
POSITIONS = FRAMES // 2  # of the encoder's output
PRECISION = "float16"  # the only one that Whisper's build script of 0.10.0 knows
FILES = (
    "encoder_config.json",
    "decoder_config.json",
    f"whisper_encoder_{PRECISION}_tp1_rank0.engine",
    f"whisper_decoder_{PRECISION}_tp1_rank0.engine",
    "tokenizer.json",
)
# tokens of equal rows that have to be equal: later ones may differ by a last bit of half precision
COMPARED = 16
NEVER = "<|startoflm|>"  # a token that Whisper does not write

log = logging.getLogger(__name__)


def check(folder: Path) -> None:
    """`EngineError` unless everything is there that the build script makes."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise EngineError(
            f"there is no Whisper engine in {folder}: {missing[0]} is missing; "
            f"{how_to_build(folder)}"
        )


@dataclass
class WhisperSessions:
    """Both engines of a `folder`, loaded and warm. Safe in several threads, which take turns.

    `batch` pieces may be decoded at once; prompts may have `longest_prompt` tokens, answers
    `most_tokens`.
    """

    folder: Path
    place: str  # for tensors
    batch: int = field(init=False)
    longest_prompt: int = field(init=False)
    most_tokens: int = field(init=False)
    tokenizer: Any = field(init=False)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        encoder, decoder = (
            json.loads((self.folder / f"{name}_config.json").read_text())
            for name in ("encoder", "decoder")
        )
        if decoder["plugin_config"].get("remove_input_padding"):
            raise EngineError(
                f"the decoder in {self.folder} was built with --remove_input_padding, which this "
                "does not feed; "
                "delete the folder and run docker/scripts/build-whisper.sh again"
            )
        limits = decoder["builder_config"]
        self.batch = limits["max_batch_size"]
        # What build.py of 0.10.0 assumes without an argument.
        self.longest_prompt, self.most_tokens = (
            limits.get("max_input_len", 14),
            limits.get("max_output_len", 100),
        )
        try:
            import tensorrt_llm  # noqa: F401 - what fails here is not the fault of the engine
            import torch
            from faster_whisper.feature_extractor import FeatureExtractor
            from tokenizers import Tokenizer
        except (ImportError, OSError, RuntimeError) as error:  # missing, not fitting, no driver
            raise EngineError(
                "the engine tensorrt-whisper needs tensorrt_llm 0.10.0 and torch, which cannot "
                f"be imported ({error}): they are in the GPU image, with a driver for the GPU; "
                "see docs/gpu.md. Without a GPU choose ASR_ENGINE=faster-whisper"
            ) from error
        self._torch = torch
        try:
            self.tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
            bands = encoder["builder_config"]["n_mels"]
            self._filters = FeatureExtractor(feature_size=bands).mel_filters
            self._load(decoder)
        # each layer below raises kinds of its own, down to bare assertions
        except Exception as error:
            raise load_error(self.folder, error) from error
        self._warm_up()

    def _load(self, decoder: dict[str, Any]) -> None:
        import tensorrt_llm
        from tensorrt_llm.runtime import GenerationSession, ModelConfig, Session

        built = decoder["builder_config"]
        self._stream = self._torch.cuda.Stream()
        encoder_file, decoder_file = FILES[2], FILES[3]
        self._encoder = Session.from_serialized_engine((self.folder / encoder_file).read_bytes())
        config = ModelConfig(
            max_batch_size=built["max_batch_size"],
            max_beam_width=built["max_beam_width"],
            vocab_size=built["vocab_size"],
            num_layers=built["num_layers"],
            num_heads=built["num_heads"],
            num_kv_heads=built["num_heads"],
            hidden_size=built["hidden_size"],
            gpt_attention_plugin=decoder["plugin_config"]["gpt_attention_plugin"],
            remove_input_padding=False,
            cross_attention=built["cross_attention"],
            has_position_embedding=built["has_position_embedding"],
            has_token_type_embedding=built["has_token_type_embedding"],
        )
        mapping = tensorrt_llm.Mapping(1, tensorrt_llm.mpi_rank())
        # Both engines on one stream, which `_turn` makes the current one: a session of its own
        # would not wait for the work of others.
        self._generation = GenerationSession(
            config, (self.folder / decoder_file).read_bytes(), mapping, stream=self._stream
        )
        log.info("Loaded Whisper TensorRT Engine")

    def _warm_up(self) -> None:
        """The longest decodes that there can be, so that no caller waits for kernels to load and
        too little memory ends the start. Several pieces at once only if equal ones give equal
        tokens.
        """
        noise: Samples = np.random.default_rng(0).standard_normal(MICROPHONE_RATE, np.float32)
        noise *= 0.1
        text = self.tokenizer.encode("so it goes " * 100, add_special_tokens=False).ids
        prompt = [*text[: self.longest_prompt - 1], self.token("<|startoftranscript|>")]
        try:
            for pieces in sorted({1, self.batch}, reverse=True):
                encoded = self.encode([noise] * pieces)
                found = self.generate(encoded, prompt, self.most_tokens, end=self.token(NEVER))
                if any(row[:COMPARED] != found[0][:COMPARED] for row in found):
                    log.warning(
                        "the Whisper engine in %s does not decode %d equal pieces alike: it will "
                        "decode one caller at a time. If building it again does not help, "
                        "ASR_ENGINE=faster-whisper decodes several on this GPU",
                        self.folder,
                        pieces,
                    )
                    self.batch = 1
        except EngineError as error:
            raise start_error(self.folder, error) from error

    def token(self, name: str) -> int:
        found: int | None = self.tokenizer.token_to_id(name)
        assert found is not None, f"every vocabulary of Whisper has {name}"
        return found

    def encode(self, pieces: Sequence[Samples]) -> Any:
        """Encoder output [pieces, 1500, hidden] of pieces of at most 30 s."""
        torch = self._torch
        mel = torch.from_numpy(np.stack([log_mel(one, self._filters, FRAMES) for one in pieces]))
        with self._turn():
            inputs = {
                "x": mel.to(device=self.place, dtype=torch.float16),
                "input_lengths": torch.tensor(
                    [POSITIONS] * len(pieces), dtype=torch.int32, device=self.place
                ),
            }
            outputs = self._room_for(inputs)
            done = self._encoder.run(inputs, outputs, self._stream.cuda_stream)
            self._stream.synchronize()
        if not done:
            raise EngineError(
                "the Whisper encoder could not run on the GPU; the lines above in the log may say "
                "why"
            )
        return outputs["output"]

    def _room_for(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Tells the encoder the shapes of `inputs`, and makes tensors for its outputs."""
        from tensorrt_llm._utils import str_dtype_to_trt, trt_dtype_to_torch
        from tensorrt_llm.runtime import TensorInfo

        kinds = {"x": PRECISION, "input_lengths": "int32"}
        infos = self._encoder.infer_shapes(
            [
                TensorInfo(name, str_dtype_to_trt(kinds[name]), tuple(one.shape))
                for name, one in inputs.items()
            ]
        )
        return {
            info.name: self._torch.empty(
                tuple(info.shape), dtype=trt_dtype_to_torch(info.dtype), device=self.place
            )
            for info in infos
        }

    def generate(
        self, encoded: Any, prompt: Sequence[int], most: int, end: int | None = None
    ) -> list[list[int]]:
        """At most `most` greedy tokens after `prompt`, of each of the `encoded` pieces; cut where
        the session says that they end: what follows is padding. `end` is the token that ends them.
        """
        from tensorrt_llm.runtime import SamplingConfig

        torch, pieces = self._torch, encoded.shape[0]
        end = self.token("<|endoftext|>") if end is None else end
        numbers = {"dtype": torch.int32, "device": self.place}
        with self._turn():
            self._generation.setup(
                pieces, len(prompt), most, beam_width=1, encoder_max_input_length=POSITIONS
            )
            found = self._generation.decode(
                torch.tensor([list(prompt)] * pieces, **numbers),
                torch.tensor([len(prompt)] * pieces, **numbers),
                SamplingConfig(end_id=end, pad_id=end, num_beams=1),
                encoder_output=encoded,
                encoder_input_lengths=torch.tensor([POSITIONS] * pieces, **numbers),
                cross_attention_mask=torch.ones((pieces, 1, POSITIONS), **numbers),
                return_dict=True,
                output_sequence_lengths=True,
            )
            self._stream.synchronize()
            rows, lengths = found["output_ids"].tolist(), found["sequence_lengths"].tolist()
        return [
            [token for token in beams[0][len(prompt) : length[0]] if token != end]
            for beams, length in zip(rows, lengths, strict=True)
        ]

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One thread at a time, on the engines' own stream.

        What the libraries below raise becomes an `EngineError`, but for CUDA's own errors: those
        stay until the process ends, and only a new one can decode again.
        """
        with self._lock, self._torch.cuda.stream(self._stream):
            try:
                yield
            except (RuntimeError, ValueError, AssertionError) as error:
                if gpu_is_lost(error):
                    raise
                raise EngineError(
                    f"the recognizer failed on the GPU ({type(error).__name__}: {error}); say it "
                    "again"
                ) from error
