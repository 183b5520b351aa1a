"""Whisper by TensorRT-LLM 0.10.0 on an NVIDIA GPU: live utterances, several callers in one decode,
and whole files.

Only the speech is transformed to a spectrogram, and the decoder makes no more tokens than so much
speech can have. The probability of silence and temperatures to fall back on do not exist in this
decoder: loudness and the speech detector guard against invented words, and words carry no times.
All is decoded without timestamps, because without Whisper's rules for them this decoder writes
none: `<|notimestamps|>` is its likeliest first token, and after `<|0.00|>` it goes on to the end of
the window. So a segment is as long as its audio, and files are cut by the speech detector into
pieces of the length of a caption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.engines.pcm import checked, loudest
from whisperfusion.engines.protocols import ASROptions, Hypothesis, Segment
from whisperfusion.engines.tensorrt.whisper_sessions import PRECISION, WhisperSessions, check
from whisperfusion.engines.whisper import loop_guard as guard
from whisperfusion.engines.whisper.decode import SILENCE_RMS
from whisperfusion.engines.whisper.files import interleaved, windows
from whisperfusion.engines.whisper.parts import (
    TOKENS_PER_S,
    TOKENS_SPARE,
    shortened,
    split,
    text_of,
)
from whisperfusion.engines.whisper.prompt import text_before
from whisperfusion.engines.whisper.utterance import (
    Decoded,
    Job,
    WhisperUtterance,
    decode_batch,
    fitting,
    known_languages,
    moved,
    quietest,
)
from whisperfusion.errors import EngineError

UNSURE = 0.5  # for a language without a probability: kept once there are five seconds of it
HALVED_FROM_S = 2.0  # of speech in which a loop hides more than it made up
DETECT_S = 29  # seconds that tell the language
# of a file: windows of 8, 10, 14 and 20 s gave Whisper base 16, 15, 18 and 13 word errors in 263
CAPTION_S = 10.0


class TensorRTWhisper:
    """`model` is a folder made by docker/scripts/build-whisper.sh: two engines, their
    configurations, tokenizer.json.

    English-only and multilingual sizes. One pair of engines serves all callers: up to as many as
    the engines were built for are decoded at once, the others take turns.
    """

    place = "cuda"  # for tensors

    def __init__(
        self, *, model: str, device: str = "auto", compute_type: str = "auto", threads: int = 1
    ) -> None:
        folder = Path(model)
        check(folder)
        if device == "cpu" or compute_type not in ("auto", PRECISION):
            raise EngineError(
                f"TensorRT runs on a GPU in {PRECISION}: leave ASR_DEVICE and ASR_COMPUTE_TYPE at "
                "auto, or choose ASR_ENGINE=faster-whisper"
            )
        self.model, self.device = folder.name, self.place
        self._decoder = Pieces(WhisperSessions(folder, self.place))
        self.languages: tuple[str, ...] = self._decoder.languages

    def create_utterance(self, options: ASROptions) -> WhisperUtterance:
        return WhisperUtterance(self._decoder, self._fitting(options))

    def decode_batch(self, jobs: Sequence[Job]) -> list[Hypothesis | Exception]:
        return decode_batch(jobs)

    def transcribe(self, pcm: Samples, options: ASROptions) -> Iterator[Segment]:
        for _, segment in self.transcribe_batch([(pcm, options)]):
            yield segment

    def transcribe_batch(
        self,
        recordings: Sequence[tuple[Samples, ASROptions]],
        wanted: Callable[[int], bool] = lambda at: True,
    ) -> Iterator[tuple[int, Segment]]:
        """(index of the recording, segment) as they are found, the recordings in turns.

        `wanted` is asked before each window.
        """
        sounds = [checked(pcm) for pcm, _ in recordings]
        alike: dict[ASROptions, list[int]] = {}
        for at, (_, asked) in enumerate(recordings):
            options = self._fitting(asked)
            if options.language is None:
                options = replace(options, language=self.detect_language(sounds[at])[0])
            alike.setdefault(options, []).append(at)
        for options, members in alike.items():
            spans = interleaved(
                [(at, *span) for at in members for span in windows(sounds[at], CAPTION_S)]
            )
            while spans := [span for span in spans if wanted(span[0])]:
                batch, spans = spans[: self._decoder.batch], spans[self._decoder.batch :]
                pieces = [sounds[at][begin:end] for at, begin, end in batch]
                found = self._decoder.segments(pieces, options)
                for (at, begin, _), segments in zip(batch, found, strict=True):
                    yield from (
                        (at, moved(one, begin / MICROPHONE_RATE)) for one in segments if wanted(at)
                    )

    def detect_language(self, pcm: Samples) -> tuple[str, float]:
        if not self._decoder.multilingual:
            return "en", 1.0
        return self._decoder.language(
            self._decoder.encode(checked(pcm)[: DETECT_S * MICROPHONE_RATE])
        )

    def _fitting(self, options: ASROptions) -> ASROptions:
        return fitting(options, self.languages, self._decoder.multilingual)


@dataclass
class Pieces:
    """Pieces of sound to text: a `whisper.utterance.BatchDecoder`. Safe in several threads."""

    sessions: WhisperSessions
    multilingual: bool = field(init=False)
    languages: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._tokenizers: dict[tuple[str, str], Any] = {}
        # an English-only vocabulary is one token shorter
        self.multilingual = self.sessions.token("<|endoftext|>") != 50256
        self.languages = known_languages(self.sessions.tokenizer.token_to_id, self.multilingual)

    @property
    def batch(self) -> int:
        return self.sessions.batch

    def encode(self, pcm: Samples) -> Any:
        """Encoder output [1, 1500, hidden] of at most 30 s."""
        return self.sessions.encode([pcm])

    def language(self, encoded: Any) -> tuple[str, float]:
        """The token that the decoder puts after the start. It comes without a probability."""
        if not self.multilingual:
            return "en", 1.0
        [tokens] = self.sessions.generate(
            encoded, [self.sessions.token("<|startoftranscript|>")], 1
        )
        code = (self.sessions.tokenizer.id_to_token(tokens[0]) or "")[2:-2] if tokens else ""
        return (code, UNSURE) if code in self.languages else ("en", 0.0)

    def language_probabilities(self, encoded: Any) -> dict[str, float]:
        return dict([self.language(encoded)])

    def decode(self, encoded: Any, pcm: Samples, language: str, options: ASROptions) -> Decoded:
        if loudest(pcm) < SILENCE_RMS:
            return Decoded()
        [found] = self._decode(encoded, [pcm], replace(options, language=language))
        return Decoded(tuple(found))

    def decode_batch(
        self, pieces: Sequence[Samples], language: str, options: ASROptions
    ) -> list[Decoded]:
        """The texts of pieces of at most 29 s."""
        found = self.segments(pieces, replace(options, language=language))
        return [Decoded(tuple(segments)) for segments in found]

    def segments(
        self,
        pieces: Sequence[Samples],
        options: ASROptions,
        whole: bool = True,
    ) -> list[list[Segment]]:
        """Of pieces of at most 29 s, decoded together as far as the engines can. Of `whole`
        pieces that hide a loop both halves are read again.
        """
        found: list[list[Segment]] = [[] for _ in pieces]
        heard = [at for at, pcm in enumerate(pieces) if loudest(pcm) >= SILENCE_RMS]
        for begin in range(0, len(heard), self.batch):
            group = heard[begin : begin + self.batch]
            sounds = [pieces[at] for at in group]
            decoded = self._decode(self.sessions.encode(sounds), sounds, options, whole)
            for at, one in zip(group, decoded, strict=True):
                found[at] = one
        return found

    def _decode(
        self,
        encoded: Any,
        pieces: Sequence[Samples],
        options: ASROptions,
        whole: bool = True,
    ) -> list[list[Segment]]:
        prompt = self._prompt(options)
        bounds = [
            min(
                int(TOKENS_PER_S * len(pcm) / MICROPHONE_RATE) + TOKENS_SPARE,
                self.sessions.most_tokens,
            )
            for pcm in pieces
        ]
        rows = self.sessions.generate(encoded, prompt, max(bounds))
        return [
            self._guarded(tokens[:most], pcm, most, options, whole)
            for tokens, pcm, most in zip(rows, pieces, bounds, strict=True)
        ]

    def _guarded(
        self,
        tokens: list[int],
        pcm: Samples,
        most: int,
        options: ASROptions,
        whole: bool,
    ) -> list[Segment]:
        """The segments of the `tokens` of one piece, of which there could be `most`. This decoder
        cannot tell where in the sound a loop began.
        """
        duration, tokenizer = len(pcm) / MICROPHONE_RATE, self._tokenizer(options)
        parts, _ = split(tokens, tokenizer, duration)
        found = text_of(parts)
        copied = guard.first_copy(found)
        looped = copied is not None and (
            len(tokens) >= most or guard.too_fast(tokenizer.decode(found), pcm)
        )
        # more was said than the engine has tokens for
        cut_off = len(tokens) >= self.sessions.most_tokens
        if (looped or cut_off) and whole and duration >= HALVED_FROM_S:
            half = int(quietest(pcm, duration / 3, 2 * duration / 3) * MICROPHONE_RATE)
            one, two = self.segments([pcm[:half], pcm[half:]], options, whole=False)
            return [*one, *(moved(segment, half / MICROPHONE_RATE) for segment in two)]
        if looped and copied is not None:
            parts = shortened(parts, copied, duration)
        texts = ((start, end, tokenizer.decode(part).strip()) for start, end, part in parts)
        return [Segment(start, end, text) for start, end, text in texts if text]

    def _prompt(self, options: ASROptions) -> list[int]:
        tokenizer = self._tokenizer(options)
        opening = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        room = self.sessions.longest_prompt - len(opening) - 1
        return [*text_before(tokenizer, options, room), *opening]

    def _tokenizer(self, options: ASROptions) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        key = (options.language or "en", options.task)
        if key not in self._tokenizers:
            self._tokenizers[key] = Tokenizer(
                self.sessions.tokenizer, self.multilingual, options.task, key[0]
            )
        return self._tokenizers[key]
