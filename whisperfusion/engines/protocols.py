"""What an engine is: the protocols, their values, and the abilities that only some engines have.

An engine knows one thing: no ticket, queue, thread or setting. Its constructor takes plain keyword
options and does the heavy import; what is expensive to build is built once and shared by all calls.
To cancel is to close the generator. Audio is a float32 numpy array in -1..1, mono, shape [samples].
An engine raises `EngineError` for what ends a turn (or, from the constructor, the start), with a
message that tells a person what to do. Methods may be called from several threads unless said
otherwise.

The processes build engines with these arguments, None for what the operator did not set, and those
of ASR_OPTION and its like: a recognizer with model, device, compute_type and threads (openai:
model, url and key); a language model with model, url and key (llama.cpp: model and threads); a
voice with model and voice (openai: also url and key); a turn model with model.

An ability is a protocol of its own, asked for with `isinstance`, and declared in the registry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from whisperfusion.audio import Samples
from whisperfusion.tools import NO_TOOLS, Tools

# --- speech to text -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Word:
    start_s: float
    end_s: float
    text: str
    probability: float


@dataclass(frozen=True)
class Segment:
    """A stretch of speech; times in seconds from the start of what was given to the engine."""

    start_s: float
    end_s: float
    text: str
    words: tuple[Word, ...] = ()
    avg_logprob: float = 0.0
    no_speech_prob: float = 0.0


@dataclass(frozen=True)
class Hypothesis:
    """The transcript of an utterance so far.

    `text` is stripped; `language` is an ISO 639-1 code, "" while the engine has none.
    `end_of_turn` is the probability that the speaker has finished, where the engine can tell it
    from what it computed anyway: of a final decode, by the sound that the audio ends with.
    `language_assumed`: it could not be detected, and the default one is meant. `likeliest`: the
    language of the sound, where that was not enough to leave the expected one; "" = the same.
    """

    text: str
    language: str = ""
    language_probability: float = 0.0
    segments: tuple[Segment, ...] = ()
    end_of_turn: float | None = None
    language_assumed: bool = False
    likeliest: str = ""


@dataclass(frozen=True)
class ASROptions:
    """`language` None = detect. `task` is "transcribe" or "translate" (into English).

    `temperature` concerns whole files: 0 = the likeliest words, and others only where those are no
    good. `default_language` is assumed where detection fails.

    Of live utterances: `languages` are the ISO codes to detect among (empty = all), `expected` is
    the one that the speaker has used so far ("" = not known), which only a clear sound leaves, and
    `suspected` one that the utterance before pointed to.
    """

    language: str | None = None
    task: str = "transcribe"
    initial_prompt: str = ""
    hotwords: str = ""
    word_timestamps: bool = False
    temperature: float = 0.0
    default_language: str = "en"
    languages: tuple[str, ...] = ()
    expected: str = ""
    suspected: str = ""


class Utterance(Protocol):
    """One utterance that is still growing; used by one thread at a time."""

    def accept_audio(self, pcm: Samples, final: bool = True) -> Hypothesis:
        """Append 16 kHz audio, decode, and return the transcript of everything so far.

        Costs one decode. Not `final`: more will come, so time may be saved.
        """

    def finish(self) -> Hypothesis:
        """The final transcript. Cheap when no audio came since the last `accept_audio`."""


class ASR(Protocol):
    model: str
    device: str
    languages: tuple[str, ...]  # ISO codes that may be asked for; empty = any

    def create_utterance(self, options: ASROptions) -> Utterance: ...

    def transcribe(self, pcm: Samples, options: ASROptions) -> Iterator[Segment]:
        """A whole file at 16 kHz, segment by segment, best quality."""


Job = tuple[Any, Samples, bool]  # an utterance of the engine, and the arguments of `accept_audio`
Recording = tuple[Samples, ASROptions]


@runtime_checkable
class BatchASR(Protocol):
    """Decodes several utterances, or recordings, in less time than one after the other."""

    def decode_batch(self, jobs: Sequence[Job]) -> list[Hypothesis | Exception]:
        """What `accept_audio` of each would return or raise; the utterances are different ones."""

    def transcribe_batch(
        self, recordings: Sequence[Recording], wanted: Callable[[int], bool]
    ) -> Iterator[tuple[int, Segment]]:
        """(index of the recording, segment) as they are found.

        Reading a recording stops once `wanted(index)` is false.
        """


@runtime_checkable
class SharingASR(Protocol):
    """Takes an utterance in once for both of its passes: sending it twice to a server that counts
    seconds would cost twice.
    """

    def create_utterances(self, options: ASROptions) -> tuple[Utterance, Utterance]:
        """For interim passes and for final ones. Both are given the same audio, and may be used by
        two threads at the same time.
        """


@runtime_checkable
class LanguageDetectingASR(Protocol):
    def detect_language(self, pcm: Samples) -> tuple[str, float]:
        """ISO code and probability of the language that is spoken in `pcm`."""


# --- language model -----------------------------------------------------------------------------

ChatHistory = Sequence[tuple[str, str]]  # (role, text), oldest first; see `messages.ChatMessage`


@dataclass(frozen=True)
class ToolCall:
    """The model wants a function to be run. `arguments` is a JSON object as text."""

    id: str
    name: str
    arguments: str


class Thought(str):
    """An empty piece: the model thinks, and its server keeps the thoughts apart from the answer."""


class Progress(str):
    """An empty piece: nothing can be said yet, but the prompt is being read, or its turn comes."""


class Truncated(str):
    """An empty piece, the last one: the server ended the answer for its length."""


class Calling(Progress):
    """An empty piece: the model writes a tool call, which is given when it is whole."""


class Answering(str):
    """An empty piece of a chain: `link` writes what follows. `skipped`: the links before it, each
    with the reason in a word.
    """

    link: Any
    skipped: tuple[tuple[str, str], ...] = ()


class Interrupted(str):
    """An empty piece of a chain: the link that wrote until here has failed, and another goes on.

    The reader sets `said` to what stands of the answer; None = every piece that it got. It cuts off
    what of that the next link repeats.
    """

    said: str | None = None


class LLM(Protocol):
    model: str
    device: str
    parallel: int  # how many replies may run at once in threads of the caller

    def stream_chat(
        self, history: ChatHistory, *, max_tokens: int, temperature: float
    ) -> Iterator[str | ToolCall]:
        """Stream the answer to the chat history as pieces of text.

        Closing the iterator stops the work.

        An empty piece says "nothing yet": a chance to close, some ten times a second while the
        model is silent; `Thought()` that it thinks, `Progress()` that the answer comes later. An
        engine behind a URL ends an answer that had `max_tokens` with `Truncated()`; the pieces of
        others are counted.
        Thoughts that are marked in the text are taken out by the reader.
        """

    def prefill(self, history: ChatHistory) -> Iterator[str]:
        """Read what the next answer will start with into the prompt cache, where there is one.

        Work is done while the iterator is read; it gives empty pieces, each a chance to close.
        """


@runtime_checkable
class ToolLLM(LLM, Protocol):
    """One whose model may call functions: its pieces may be `ToolCall`s, and its history may have
    the roles "call" and "result".
    """

    accepts_tools: bool  # True; what tells this protocol from `LLM` at run time

    def stream_chat(
        self,
        history: ChatHistory,
        *,
        max_tokens: int,
        temperature: float,
        tools: Tools = NO_TOOLS,
    ) -> Iterator[str | ToolCall]: ...

    def prefill(self, history: ChatHistory, tools: Tools = NO_TOOLS) -> Iterator[str]: ...


@runtime_checkable
class ConstrainedLLM(Protocol):
    """One that can be held to a grammar. `small`: its model is too small to be trusted with calling
    functions unasked (tools/router/ chooses for it).
    """

    small: bool

    def stream_json(
        self, history: ChatHistory, schema: Mapping[str, Any], *, max_tokens: int
    ) -> Iterator[str]:
        """Stream the likeliest answer that is JSON of `schema`, as pieces of text.

        As `LLM.stream_chat` otherwise. One that `max_tokens` cut short is not whole.
        """


@runtime_checkable
class WarmLLM(Protocol):
    def warm_up(self, history: ChatHistory) -> None:
        """Prefill what every dialogue begins with, before the first caller. May take seconds."""


# --- text to speech -----------------------------------------------------------------------------


class TTS(Protocol):
    """One with a `language` is given numbers and signs in words where they are known
    (whisperfusion/text), and only what is written in a script of that language; any other gets
    texts as they stand.
    """

    model: str
    device: str
    sample_rate: int
    voices: tuple[str, ...]  # the first is the default
    language: str | None  # ISO 639-1; None = it reads any

    def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> Iterator[Samples]:
        """Audio at `sample_rate`, in pieces as they are ready. `voice` None = the default.

        An empty piece says "nothing yet": a chance to close, where a sentence takes long to make.
        """


@runtime_checkable
class MultilingualTTS(Protocol):
    """One whose voices speak different languages. Its `language` is that of the first voice, and a
    text is written out, and divided by script, in the language of the voice that says it.
    """

    voice_languages: Mapping[str, str]  # of each of `voices`: ISO 639-1


@runtime_checkable
class CloningTTS(Protocol):
    """One that speaks as a person of whom there is a recording: the `voice` of `synthesize` may be
    the path of one, WAV of one person.

    It keeps what it makes of a recording for as long as the file is there, and no longer. Raises
    EngineError where no voice can be made of it.
    """

    clones: bool  # True; what tells this protocol from `TTS` at run time


@runtime_checkable
class RestartedTTS(Protocol):
    """One in a process of its own, which is started again when it dies."""

    up: bool  # False: it cannot speak now


# --- speech in sound, and the end of a turn ------------------------------------------------------


class VADStream(Protocol):
    """One caller's voice activity detection; keeps state between windows. One thread at a time."""

    def probability(self, window: Samples) -> float:
        """Speech probability of exactly `VAD_WINDOW` samples."""

    def reset(self) -> None: ...


class VAD(Protocol):
    model: str

    def create_stream(self) -> VADStream: ...


@dataclass(frozen=True)
class Prediction:
    """Probabilities that the speaker has finished.

    `score` is the model's own. `by_states` is that of a head which was fitted to its hidden states
    of English with 0.2 s of pause; None where there is none for the model.
    """

    score: float
    by_states: float | None = None


class TurnModel(Protocol):
    model: str

    def predict_end_of_turn(self, pcm: Samples) -> Prediction:
        """From the turn's audio so far (16 kHz, pause included)."""


# --- who is speaking ----------------------------------------------------------------------------


class SpeakerEncoder(Protocol):
    """Two clips are of one speaker where the cosine of their embeddings is about `same_speaker` or
    more.
    """

    model: str
    same_speaker: float

    def embed(self, clips: Sequence[Samples]) -> Samples:
        """Unit vectors, float32 [clips, size]. A clip is speech of one speaker, at least 0.1 s."""
