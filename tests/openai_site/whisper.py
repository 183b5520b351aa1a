"""As much of openai-whisper 20250625 as the engine touches; faster-whisper recognizes behind it.

The arguments and fields are the package's own. Its arithmetic is that of the CTranslate2 model in
the folder that FAKE_WHISPER names; a network only checks that it got every weight.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

NAMES = [
    *("tiny.en", "tiny", "base.en", "base", "small.en", "small", "medium.en", "medium"),
    *("large-v1", "large-v2", "large-v3", "large", "large-v3-turbo", "turbo"),
]

ASKED: list[Any] = []  # the options of each decode


@cache
def engine() -> Any:
    from faster_whisper import WhisperModel

    return WhisperModel(
        os.environ["FAKE_WHISPER"], device="cpu", compute_type="int8", cpu_threads=1
    )


def storage(states: torch.Tensor) -> Any:
    from ctranslate2 import StorageView

    assert states.values.ndim == 3, "the decoder takes [pieces, time, size]"
    return StorageView.from_array(np.ascontiguousarray(states.values))


# --- whisper.model -------------------------------------------------------------------------------


@dataclass
class ModelDimensions:
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


def names_of(dims: ModelDimensions) -> set[str]:
    """Of all parameters of the package's network, as `state_dict` of the real one lists them."""
    both = ("weight", "bias")
    found = {f"encoder.{n}.{k}" for n in ("conv1", "conv2", "ln_post") for k in both}
    found |= {f"decoder.ln.{k}" for k in both}
    found |= {"encoder.positional_embedding", "decoder.positional_embedding"}
    found.add("decoder.token_embedding.weight")
    sides = (("encoder", dims.n_audio_layer, ("attn",)),)
    sides += (("decoder", dims.n_text_layer, ("attn", "cross_attn")),)
    for side, layers, attentions in sides:
        for block in (f"{side}.blocks.{at}" for at in range(layers)):
            parts = ["mlp.0", "mlp.2", "mlp_ln", *(f"{one}_ln" for one in attentions)]
            parts += [f"{one}.{part}" for one in attentions for part in ("query", "value", "out")]
            found |= {f"{block}.{part}.{k}" for part in parts for k in both}
            found |= {f"{block}.{one}.key.weight" for one in attentions}
    return found


class Whisper:
    def __init__(self, dims: ModelDimensions) -> None:
        self.dims, self.device = dims, "cpu"
        self.is_multilingual = dims.n_vocab >= 51865
        self.num_languages = dims.n_vocab - 51765 - int(self.is_multilingual)
        same = lambda x: x  # noqa: E731
        self.encoder = SimpleNamespace(
            conv1=same,
            conv2=lambda x: x.permute(0, 2, 1),  # which is turned back
            positional_embedding=torch.zeros(dims.n_audio_ctx, 1, dtype=torch.float32),
            blocks=[encoded],
            ln_post=same,
        )

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        if missing := names_of(self.dims) ^ set(state):
            raise RuntimeError(f"Error(s) in loading state_dict for Whisper: {missing}")
        assert all(one.dtype == np.float32 for one in state.values())

    def register_buffer(self, name: str, values: torch.Tensor, persistent: bool = True) -> None:
        assert (name, persistent) == ("alignment_heads", False) and values.values.any()

    def parameters(self) -> list[Any]:
        return []

    buffers = parameters

    def to(self, device: str) -> Whisper:
        return self

    def eval(self) -> Whisper:
        return self


def encoded(mel: torch.Tensor) -> torch.Tensor:
    from ctranslate2 import StorageView

    assert mel.values.dtype == np.float32 and mel.values.shape[1] == 80
    view = StorageView.from_array(np.ascontiguousarray(mel.values))
    return torch.Tensor(np.array(engine().model.encode(view)))


def available_models() -> list[str]:
    return NAMES


def load_model(name: str, device: str, download_root: str | None) -> Whisper:
    assert device == "cpu"
    raise OSError(f"<urlopen error no network for {name}>")


# --- whisper.audio, whisper.tokenizer ------------------------------------------------------------


def mel_filters(device: str, n_mels: int) -> torch.Tensor:
    return torch.Tensor(engine().feature_extractor.mel_filters)


def get_tokenizer(
    multilingual: bool, *, num_languages: int = 99, language: str | None, task: str | None
) -> Any:
    from faster_whisper.tokenizer import _LANGUAGE_CODES, Tokenizer

    made = Tokenizer(engine().hf_tokenizer, multilingual, task, language)
    codes = _LANGUAGE_CODES[:num_languages]
    made.all_language_codes = tuple(codes)
    made.all_language_tokens = tuple(made.tokenizer.token_to_id(f"<|{one}|>") for one in codes)
    return made


# --- whisper.decoding ----------------------------------------------------------------------------


@dataclass(frozen=True)
class DecodingOptions:
    task: str = "transcribe"
    language: str | None = None
    temperature: float = 0.0
    sample_len: int | None = None
    best_of: int | None = None
    beam_size: int | None = None
    patience: float | None = None
    length_penalty: float | None = None
    prompt: Any = None
    prefix: Any = None
    suppress_tokens: Any = "-1"
    suppress_blank: bool = True
    without_timestamps: bool = False
    max_initial_timestamp: float | None = 1.0
    fp16: bool = True


@dataclass(frozen=True)
class DecodingResult:
    tokens: list[int]
    avg_logprob: float
    no_speech_prob: float


class DecodingTask:
    def __init__(self, model: Any, options: DecodingOptions) -> None:
        self.model, self.options = model, options
        ASKED.append(options)
        assert not options.fp16, "on a CPU"

    def run(self, mel: Any) -> list[DecodingResult]:
        states = self.model.encoder(mel)
        options, most = self.options, self.options.sample_len
        made = get_tokenizer(
            self.model.is_multilingual, language=options.language, task=options.task
        )
        before = [made.sot_prev, *options.prompt] if options.prompt else []
        prompt = [*before, *made.sot_sequence]
        found = engine().model.generate(
            storage(states),
            [prompt] * states.shape[0],
            beam_size=options.beam_size or 1,
            max_length=min(max(2 * most, len(prompt) + most), 448),
            return_scores=True,
            return_no_speech_prob=True,
        )
        return [
            DecodingResult(one.sequences_ids[0], one.scores[0], one.no_speech_prob) for one in found
        ]


def detect_language(model: Any, mel: Any, tokenizer: Any) -> tuple[Any, list[dict[str, float]]]:
    found = engine().model.detect_language(storage(model.encoder(mel)))
    return None, [{token[2:-2]: p for token, p in one} for one in found]


# --- whisper.timing, whisper.transcribe ----------------------------------------------------------


@dataclass
class WordTiming:
    word: str
    tokens: list[int]
    start: float
    end: float
    probability: float


def find_alignment(
    model: Any, tokenizer: Any, text_tokens: list[int], mel: torch.Tensor, num_frames: int
) -> list[WordTiming]:
    assert mel.values.ndim == 2, "a spectrogram of one piece, without a batch"
    states = torch.Tensor(model.encoder(mel).values[None])
    found = engine().find_alignment(tokenizer, [text_tokens], storage(states), num_frames)[0]
    names = {one.name for one in fields(WordTiming)}
    return [WordTiming(**{k: v for k, v in one.items() if k in names}) for one in found]


def merge_punctuations(alignment: list[WordTiming], prepended: str, appended: str) -> None:
    from faster_whisper.transcribe import merge_punctuations as merge

    dictionaries = [vars(one) for one in alignment]
    merge(dictionaries, prepended, appended)


def transcribe(
    model: Whisper,
    audio: Any,
    *,
    temperature: float | Sequence[float],
    condition_on_previous_text: bool,
    initial_prompt: str | None,
    word_timestamps: bool,
    **decode_options: Any,
) -> dict[str, Any]:
    assert set(decode_options) <= {one.name for one in fields(DecodingOptions)}
    found, _ = engine().transcribe(
        audio,
        language=decode_options["language"],
        task=decode_options["task"],
        beam_size=decode_options["beam_size"],
        temperature=temperature,
        initial_prompt=initial_prompt,
        word_timestamps=word_timestamps,
        condition_on_previous_text=condition_on_previous_text,
    )
    return {"segments": [segment(one) for one in found]}


def segment(one: Any) -> dict[str, Any]:
    kept = ("start", "end", "text", "avg_logprob", "no_speech_prob")
    words = {"words": [vars(word) for word in one.words]} if one.words else {}
    return {**{name: getattr(one, name) for name in kept}, **words}


# a module that has submodules
audio = SimpleNamespace(mel_filters=mel_filters)
tokenizer = SimpleNamespace(get_tokenizer=get_tokenizer)
decoding = SimpleNamespace(DecodingTask=DecodingTask, detect_language=detect_language)
model = SimpleNamespace(Whisper=Whisper, ModelDimensions=ModelDimensions)
timing = SimpleNamespace(find_alignment=find_alignment, merge_punctuations=merge_punctuations)
for _name in ("audio", "tokenizer", "decoding", "model", "timing"):
    sys.modules[f"{__name__}.{_name}"] = globals()[_name]
