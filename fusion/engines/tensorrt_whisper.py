"""Whisper as two TensorRT engines (encoder, decoder) of TensorRT-LLM 0.10.0, on an NVIDIA GPU.

The encoder of that release takes 30 s of audio, no less (its input is [1, n_mels, 3000]), so a short utterance costs
a whole window there. What can be saved is saved: only the speech is transformed to a spectrogram, the rest is filled
in, and the decoder makes no more tokens than so much speech can have. Timestamps, the probability of silence and
temperatures to fall back on do not exist in this decoder: a segment is as long as what was heard, loudness and the
speech detector guard against invented words, and words carry no times.
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

from fusion.engines import ASR_RATE, ASROptions, EngineError, Segment
from fusion.engines.gpu import gpu_is_lost
from fusion.engines.pcm import checked, loudest
from fusion.engines.trt_folder import how_to_build, load_error, start_error
from fusion.engines.whisper_decode import SILENCE_RMS, TOKENS_PER_S, TOKENS_SPARE, split, text_before
from fusion.engines.whisper_utterance import BUFFER_S, Decoded, WhisperUtterance, fitting, moved, quietest

FRAMES = 3000  # of 10 ms: the encoder's window
PRECISION = "float16"  # the only one that Whisper's build script of 0.10.0 knows
HOP, WINDOW = 160, 400  # samples of the spectrogram, as Whisper was trained
UNSURE = 0.5  # for a language without a probability: kept once there are five seconds of it
PIECE_FROM_S = 15.0  # whole files are cut at the quietest place after this
FILES = ("encoder_config.json", "decoder_config.json", f"whisper_encoder_{PRECISION}_tp1_rank0.engine",
         f"whisper_decoder_{PRECISION}_tp1_rank0.engine", "tokenizer.json")

log = logging.getLogger(__name__)


class TensorRTWhisper:
    """`model` is a folder made by docker/scripts/build-whisper.sh: two engines, their configurations, tokenizer.json.

    English-only and multilingual sizes. One pair of engines serves all callers: their decodes take turns.
    """

    place = "cuda"  # for tensors

    def __init__(self, *, model: str, device: str = "auto", compute_type: str = "auto", threads: int = 1) -> None:
        folder = Path(model)
        check(folder)
        if device == "cpu" or compute_type not in ("auto", PRECISION):
            raise EngineError(f"TensorRT runs on a GPU in {PRECISION}: leave ASR_DEVICE and ASR_COMPUTE_TYPE at auto, "
                              "or choose ASR_ENGINE=faster-whisper")
        self.model, self.device = folder.name, self.place
        self._decoder = Sessions(folder, self.place)
        self.languages: tuple[str, ...] = self._decoder.languages

    def begin(self, options: ASROptions) -> WhisperUtterance:
        return WhisperUtterance(self._decoder, fitting(options, self.languages, self._decoder.multilingual))

    def transcribe(self, pcm: np.ndarray, options: ASROptions) -> Iterator[Segment]:
        pcm, at_s = checked(pcm), 0.0
        while len(pcm):
            end_s = len(pcm) / ASR_RATE if len(pcm) <= BUFFER_S * ASR_RATE else quietest(pcm, PIECE_FROM_S, BUFFER_S)
            utterance = self.begin(options)
            found = utterance.hear(pcm[: int(end_s * ASR_RATE)])
            yield from (moved(segment, at_s) for segment in found.segments)
            pcm, at_s = pcm[int(end_s * ASR_RATE) :], at_s + end_s


def check(folder: Path) -> None:
    """`EngineError` unless everything is there that the build script makes."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise EngineError(f"there is no Whisper engine in {folder}: {missing[0]} is missing; {how_to_build(folder)}")


@dataclass
class Sessions:
    """Both engines and the tokenizer: a `whisper_utterance.Decoder`. Safe in several threads, which take turns."""

    folder: Path
    place: str
    multilingual: bool = field(init=False)
    languages: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._tokenizers: dict[tuple[str, str], Any] = {}
        encoder, decoder = (json.loads((self.folder / f"{name}_config.json").read_text()) for name in ("encoder", "decoder"))
        if decoder["plugin_config"].get("remove_input_padding"):
            raise EngineError(f"the decoder in {self.folder} was built with --remove_input_padding, which this engine does not feed; "
                              "delete the folder and run docker/scripts/build-whisper.sh again")
        limits = decoder["builder_config"]
        # What build.py of 0.10.0 assumes when it is not told.
        self._longest_prompt, self._most_tokens = limits.get("max_input_len", 14), limits.get("max_output_len", 100)
        try:
            import tensorrt_llm  # noqa: F401 - what fails here is no engine's fault
            import torch
            from faster_whisper.feature_extractor import FeatureExtractor
            from tokenizers import Tokenizer
        except (ImportError, OSError, RuntimeError) as error:  # missing, not fitting, no driver
            raise EngineError(f"the engine tensorrt-whisper needs tensorrt_llm 0.10.0 and torch, which cannot be imported ({error}): they "
                              "are in the GPU image, with a driver for the GPU; see docs/gpu.md. Without a GPU choose "
                              "ASR_ENGINE=faster-whisper") from error
        self._torch = torch
        try:
            self._hf_tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
            self._features = FeatureExtractor(feature_size=encoder["builder_config"]["n_mels"])
            self._load(decoder)
            self._know_languages()
        except Exception as error:  # each layer below raises kinds of its own, down to bare assertions
            raise load_error(self.folder, error) from error
        self._warm_up()

    def _load(self, decoder: dict[str, Any]) -> None:
        import tensorrt_llm
        from tensorrt_llm._utils import str_dtype_to_trt, trt_dtype_to_torch
        from tensorrt_llm.runtime import GenerationSession, ModelConfig, Session, TensorInfo

        torch, built = self._torch, decoder["builder_config"]
        self._stream = torch.cuda.Stream()
        encoder_file, decoder_file = FILES[2], FILES[3]
        self._encoder = Session.from_serialized_engine((self.folder / encoder_file).read_bytes())
        shape = (1, self._features.mel_filters.shape[0], FRAMES)
        outputs = self._encoder.infer_shapes([  # the shapes never change, so they are asked for once
            TensorInfo("x", str_dtype_to_trt(PRECISION), shape), TensorInfo("input_lengths", str_dtype_to_trt("int32"), (1,))])
        self._encoded = [(info.name, tuple(info.shape), trt_dtype_to_torch(info.dtype)) for info in outputs]
        config = ModelConfig(
            max_batch_size=built["max_batch_size"], max_beam_width=built["max_beam_width"], vocab_size=built["vocab_size"],
            num_layers=built["num_layers"], num_heads=built["num_heads"], num_kv_heads=built["num_heads"],
            hidden_size=built["hidden_size"], gpt_attention_plugin=decoder["plugin_config"]["gpt_attention_plugin"],
            remove_input_padding=False, cross_attention=built["cross_attention"],
            has_position_embedding=built["has_position_embedding"], has_token_type_embedding=built["has_token_type_embedding"],
        )
        mapping = tensorrt_llm.Mapping(1, tensorrt_llm.mpi_rank())
        # Both engines on one stream, which `_turn` makes the current one: a session of its own would wait for nobody else's work.
        self._generation = GenerationSession(config, (self.folder / decoder_file).read_bytes(), mapping, stream=self._stream)
        log.info("Loaded Whisper TensorRT Engine")

    def _know_languages(self) -> None:
        from faster_whisper.tokenizer import _LANGUAGE_CODES, Tokenizer

        # An English-only vocabulary is one token shorter, and has the tokens of the languages all the same.
        end = self._hf_tokenizer.token_to_id("<|endoftext|>")
        self.multilingual = end is not None and end != 50256
        known = [code for code in _LANGUAGE_CODES if self._hf_tokenizer.token_to_id(f"<|{code}|>") is not None]
        self.languages = tuple(known) if self.multilingual else ("en",)
        self._tokenizer_class = Tokenizer

    def _warm_up(self) -> None:
        """The longest decode that there can be: no caller waits for kernels to load, and too little memory ends the start."""
        silence = np.zeros(ASR_RATE, np.float32)
        prompt = self._prompt(self._tokenizer("en", "transcribe"), ASROptions(initial_prompt="so it goes " * 100))
        try:
            self._generate(self.encode(silence), prompt, self._most_tokens)
        except EngineError as error:
            raise start_error(self.folder, error) from error

    # --- what an utterance asks for ---------------------------------------------------------------------

    def encode(self, pcm: np.ndarray) -> Any:
        """Encoder output [1, 1500, hidden] of at most 30 s."""
        torch = self._torch
        mel = torch.from_numpy(log_mel(self._features, pcm)[None])
        with self._turn():
            inputs = {"x": mel.to(device=self.place, dtype=torch.float16),
                      "input_lengths": torch.tensor([FRAMES // 2], dtype=torch.int32, device=self.place)}
            outputs = {name: torch.empty(shape, dtype=dtype, device=self.place) for name, shape, dtype in self._encoded}
            done = self._encoder.run(inputs, outputs, self._stream.cuda_stream)
            self._stream.synchronize()
        if not done:
            raise EngineError("the Whisper encoder could not run on the GPU; the lines above in the log may say why")
        return outputs["output"]

    def language(self, encoded: Any) -> tuple[str, float]:
        """The token that the decoder puts after the start. It comes without a probability."""
        start = self._hf_tokenizer.token_to_id("<|startoftranscript|>")
        if not self.multilingual:
            return "en", 1.0
        tokens = self._generate(encoded, [start], 1)
        code = (self._hf_tokenizer.id_to_token(tokens[0]) or "")[2:-2] if tokens else ""
        return (code, UNSURE) if code in self.languages else ("en", 0.0)

    def decode(self, encoded: Any, pcm: np.ndarray, language: str, options: ASROptions) -> Decoded:
        duration = len(pcm) / ASR_RATE
        if loudest(pcm) < SILENCE_RMS:
            return Decoded()
        tokenizer = self._tokenizer(language, options.task)
        most = min(int(TOKENS_PER_S * duration) + TOKENS_SPARE, self._most_tokens)
        tokens = self._generate(encoded, self._prompt(tokenizer, options), most)
        parts, _ = split(tokens, tokenizer.timestamp_begin, tokenizer.eot, duration)
        return Decoded(tuple(Segment(start, end, tokenizer.decode(part).strip()) for start, end, part in parts))

    def _prompt(self, tokenizer: Any, options: ASROptions) -> list[int]:
        opening = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        return [*text_before(tokenizer, options, self._longest_prompt - len(opening) - 1), *opening]

    # --- the decoder ------------------------------------------------------------------------------------

    def _generate(self, encoded: Any, prompt: Sequence[int], most: int) -> list[int]:
        """At most `most` greedy tokens after `prompt`, cut where the session says that they end: what follows is padding."""
        from tensorrt_llm.runtime import SamplingConfig

        torch, end = self._torch, self._hf_tokenizer.token_to_id("<|endoftext|>")
        numbers = {"dtype": torch.int32, "device": self.place}
        positions = encoded.shape[1]
        with self._turn():
            self._generation.setup(1, len(prompt), most, beam_width=1, encoder_max_input_length=positions)
            found = self._generation.decode(
                torch.tensor([list(prompt)], **numbers), torch.tensor([len(prompt)], **numbers),
                SamplingConfig(end_id=end, pad_id=end, num_beams=1), encoder_output=encoded,
                encoder_input_lengths=torch.tensor([positions], **numbers),
                cross_attention_mask=torch.ones((1, 1, positions), **numbers), return_dict=True, output_sequence_lengths=True,
            )
            self._stream.synchronize()
            ids, length = found["output_ids"][0][0].tolist(), found["sequence_lengths"][0][0].item()
        return [token for token in ids[len(prompt) : length] if token != end]

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One thread at a time, on the engines' own stream. What the libraries below raise becomes an `EngineError`, but for
        CUDA's own errors: those stay until the process ends, and only a new one can hear again."""
        with self._lock, self._torch.cuda.stream(self._stream):
            try:
                yield
            except (RuntimeError, ValueError, AssertionError) as error:
                if gpu_is_lost(error):
                    raise
                raise EngineError(f"the recognizer failed on the GPU ({type(error).__name__}: {error}); say it again") from error

    def _tokenizer(self, language: str, task: str) -> Any:
        key = (language, task)
        if key not in self._tokenizers:
            self._tokenizers[key] = self._tokenizer_class(self._hf_tokenizer, self.multilingual, task, language)
        return self._tokenizers[key]


def log_mel(features: Any, pcm: np.ndarray) -> np.ndarray:
    """Log-mel spectrogram, float32 [n_mels, 3000], of `pcm` followed by silence up to 30 s.

    The same numbers as from 30 s of samples, for the price of the speech: frames of nothing but zeros all have the
    floor's value, which is 1e-10 or eight decades under the loudest, in Whisper's scale (x + 4) / 4.
    """
    pcm = pcm[: FRAMES * HOP]
    if len(pcm) > FRAMES * HOP - 2 * WINDOW:
        return np.ascontiguousarray(features(np.pad(pcm, (0, FRAMES * HOP - len(pcm))), padding=0)[:, :FRAMES], dtype=np.float32)
    spectrum = features(np.pad(pcm, (0, 2 * WINDOW)), padding=0)
    full = np.full((spectrum.shape[0], FRAMES), max(-1.5, float(spectrum.max()) - 2.0), np.float32)
    full[:, : spectrum.shape[1]] = spectrum
    return full
