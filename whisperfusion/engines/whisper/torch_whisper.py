"""OpenAI's Whisper (PyTorch) as `decode` uses a model: see `library`.

The arithmetic is the package's own: its modules, its `DecodingTask` with its rules for timestamps,
its alignment. Two things stand between. Its encoder insists on windows of 30 s, although its layers
take any length; so it is run layer by layer here, and the package's functions get a model whose
encoder has run already (`Encoded`). And a decode leaves keys and values in hooks on the modules, so
a model serves one decode at a time: a lock for each, and `twin` for another model of the same
weights.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import numpy as np

from whisperfusion.audio import Samples
from whisperfusion.engines.whisper.library import CLOSING, OPENING

# the package turns off a faster kind of attention for all models while it aligns, and on again
ALIGNING = threading.Lock()


class Encoded:
    """`model`, whose functions take the encoder's output where they expect a spectrogram."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, states: Any, tokens: Any) -> Any:
        return self._model.decoder(tokens, states)

    def encoder(self, states: Any) -> Any:
        return states


class TorchWhisper:
    """A `whisper.model.Whisper`. `half`: in half precision, which CPUs have no fast arithmetic for.

    Safe in several threads, which take turns.
    """

    def __init__(self, network: Any, half: bool) -> None:
        import torch
        import whisper

        self._torch, self._whisper = torch, whisper
        self.network, self.half, self.lock = network, half, threading.Lock()
        bands = network.dims.n_mels
        self.feature_extractor = SimpleNamespace(
            mel_filters=whisper.audio.mel_filters("cpu", bands).numpy()
        )
        self._tokenizer = self.tokenizer("en", "transcribe")
        self._languages = {
            token: code
            for code, token in zip(
                self._tokenizer.all_language_codes, self._tokenizer.all_language_tokens, strict=True
            )
        }

    @property
    def model(self) -> TorchWhisper:
        return self

    @property
    def is_multilingual(self) -> bool:
        return bool(self.network.is_multilingual)

    @property
    def languages(self) -> tuple[str, ...]:
        """The ISO codes that this size has a token for; an English-only one knows one."""
        return tuple(self._languages.values()) if self.is_multilingual else ("en",)

    def twin(self) -> TorchWhisper:
        """Another one with the same weights in memory."""
        shared = [*self.network.parameters(), *self.network.buffers()]
        network = copy.deepcopy(self.network, {id(one): one for one in shared})
        return TorchWhisper(network, self.half)

    def tokenizer(self, language: str, task: str) -> Any:
        return self._whisper.tokenizer.get_tokenizer(
            self.is_multilingual,
            num_languages=self.network.num_languages,
            language=language,
            task=task,
        )

    def encode(self, mel: Samples) -> Any:
        """[pieces, frames / 2, size] of float32 [pieces, bands, frames]: what
        `whisper.model.AudioEncoder.forward` does, for any even number of frames.
        """
        torch, encoder = self._torch, self.network.encoder
        gelu = torch.nn.functional.gelu
        with torch.no_grad():
            kind = torch.float16 if self.half else torch.float32
            x = torch.from_numpy(mel).to(self.network.device, kind)
            x = gelu(encoder.conv2(gelu(encoder.conv1(x)))).permute(0, 2, 1)
            x = (x + encoder.positional_embedding[: x.shape[1]]).to(x.dtype)
            for block in encoder.blocks:
                x = block(x)
            return encoder.ln_post(x)

    def detect_language(self, encoded: Any) -> list[list[tuple[str, float]]]:
        """Languages as tokens and their probabilities, the likeliest first, for each piece."""
        with self.lock:
            _, found = self._whisper.decoding.detect_language(
                Encoded(self.network), encoded, self._tokenizer
            )
        return [
            sorted(((f"<|{code}|>", p) for code, p in one.items()), key=lambda pair: -pair[1])
            for one in found
        ]

    def generate(
        self,
        encoded: Any,
        prompts: Sequence[Sequence[int]],
        *,
        beam_size: int = 1,
        max_length: int = 448,
        **_: Any,
    ) -> list[SimpleNamespace]:
        """The tokens after a prompt that is the same for all pieces, as CTranslate2 gives them."""
        prompt, tokenizer = list(prompts[0]), self._tokenizer
        start = prompt.index(tokenizer.sot)
        control = prompt[start + 1 :]
        options = self._whisper.DecodingOptions(
            task="translate" if tokenizer.translate in control else "transcribe",
            language=next((self._languages[t] for t in control if t in self._languages), "en"),
            beam_size=beam_size if beam_size > 1 else None,
            prompt=prompt[1:start] or None,  # without the token that opens it
            # as CTranslate2 counts it
            sample_len=max(1, min(max_length // 2, max_length - len(prompt))),
            fp16=self.half,
        )
        with self.lock:
            task = self._whisper.decoding.DecodingTask(Encoded(self.network), options)
            results = task.run(encoded)
        return [
            SimpleNamespace(
                sequences_ids=[list(one.tokens)],
                scores=[one.avg_logprob],
                no_speech_prob=one.no_speech_prob,
            )
            for one in results
        ]

    def align(
        self, tokenizer: Any, encoded: Any, tokens: Sequence[int], duration: float
    ) -> list[Any]:
        """The package's word timings of one piece, of the words that `tokenizer` makes."""
        with ALIGNING, self.lock:
            return list(
                self._whisper.timing.find_alignment(
                    Encoded(self.network), tokenizer, list(tokens), encoded, int(duration * 100)
                )
            )


class OneByOne:
    """A tokenizer for which each token is a word."""

    def __init__(self, tokenizer: Any) -> None:
        self.sot_sequence, self.eot = tokenizer.sot_sequence, tokenizer.eot
        self.no_timestamps = tokenizer.no_timestamps

    def split_to_word_tokens(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        return [str(token) for token in tokens], [[token] for token in tokens]


class Torch:
    """A `library.Library`; `whisper` is a `TorchWhisper`."""

    def encode(self, whisper: Any, mel: Samples) -> Any:
        return whisper.encode(mel)

    def apart(self, encoded: Any, at: int) -> Any:
        return encoded[at : at + 1]

    def states(self, encoded: Any) -> Any:
        return encoded.float().cpu().numpy()

    def tokenizer(self, whisper: Any, language: str, task: str) -> Any:
        return whisper.tokenizer(language, task)

    def token_starts(
        self, whisper: Any, tokenizer: Any, encoded: Any, tokens: Sequence[int], duration: float
    ) -> tuple[list[float], list[float]]:
        found = whisper.align(OneByOne(tokenizer), encoded[0], tokens, duration)
        starts = [min(float(one.start), duration) for one in found]
        starts += [duration] * (len(tokens) + 1 - len(starts))
        return starts, [float(np.float64(one.probability)) for one in found]

    def timed_words(
        self, whisper: Any, tokenizer: Any, encoded: Any, tokens: Sequence[int], duration: float
    ) -> Sequence[Mapping[str, Any]]:
        from whisper.timing import merge_punctuations

        found = whisper.align(tokenizer, encoded[0], tokens, duration)
        merge_punctuations(found, OPENING, CLOSING)
        return [asdict(one) for one in found]
