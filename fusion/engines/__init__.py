"""Engine protocols and `load()`.

An engine knows one thing: no ticket, queue, thread or setting. Its constructor takes plain keyword
options and does the heavy import; what is expensive to build is built once and shared by all calls.
To cancel is to close the generator. Audio is a float32 numpy array in -1..1, mono, shape [samples].
An engine raises `EngineError` for what ends a turn (or, from the constructor, the start), with a
message that tells a person what to do. Methods may be called from several threads unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

ASR_RATE = 16_000  # samples per second of everything that listens (ASR, VAD, end of turn)


class EngineError(Exception):
    """Ends a turn. Its text is shown to a person."""


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
    """What an utterance is believed to say so far. `text` is stripped; `language` an ISO 639-1 code."""

    text: str
    language: str = ""
    language_probability: float = 0.0
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True)
class ASROptions:
    """`language` None = detect. `task` is "transcribe" or "translate" (into English).

    `temperature` concerns whole files: 0 = the likeliest words, and others only where those are no good.
    """

    language: str | None = None
    task: str = "transcribe"
    initial_prompt: str = ""
    hotwords: str = ""
    word_timestamps: bool = False
    temperature: float = 0.0


class Utterance(Protocol):
    """One utterance being heard; used by one thread at a time. Cost per call is one decode."""

    def hear(self, pcm: np.ndarray, final: bool = True) -> Hypothesis:
        """Append 16 kHz audio and return the hypothesis of everything so far. Not `final`: more will come, so time may be saved."""

    def finish(self) -> Hypothesis:
        """The final hypothesis. Cheap when nothing was heard since the last `hear`."""


class ASR(Protocol):
    """May also have `hear_together(jobs)`, which gives for a list of (utterance, pcm, final), all of different utterances that it
    began, what `hear` of each would return or raise (`Hypothesis | EngineError`), and takes less time for it; and
    `transcribe_together(recordings)`, which gives (index, segment) for a list of (pcm, options); and `detect(pcm)`, which tells
    the language (ISO code) and its probability."""

    model: str
    device: str
    languages: tuple[str, ...]  # ISO codes that may be asked for; empty = any

    def begin(self, options: ASROptions) -> Utterance: ...

    def transcribe(self, pcm: np.ndarray, options: ASROptions) -> Iterator[Segment]:
        """A whole file at 16 kHz, segment by segment, best quality."""


def hear_together(asr: ASR, jobs: Sequence[tuple[Utterance, np.ndarray, bool]]) -> list[Hypothesis | EngineError]:
    """What `hear` of each utterance returns or raises for (utterance, pcm, final); at once where the engine can."""
    at_once = getattr(asr, "hear_together", None)
    if at_once is not None:
        found: list[Hypothesis | EngineError] = at_once(jobs)
        return found
    return [_heard(*job) for job in jobs]


def transcribe_together(asr: ASR, recordings: Sequence[tuple[np.ndarray, ASROptions]]) -> Iterator[tuple[int, Segment]]:
    """The segments of whole recordings, with the index of theirs; at the same time where the engine can. EngineError ends them all."""
    at_once = getattr(asr, "transcribe_together", None)
    if at_once is not None:
        yield from at_once(recordings)
        return
    for at, (pcm, options) in enumerate(recordings):
        for segment in asr.transcribe(pcm, options):
            yield at, segment


def detect_language(asr: ASR, pcm: np.ndarray) -> tuple[str, float]:
    """ISO code and probability of the language that is spoken in `pcm`; ("en", 1.0) of a recognizer that knows no other."""
    detect = getattr(asr, "detect", None)
    if detect is not None:
        found: tuple[str, float] = detect(pcm)
        return found
    heard = asr.begin(ASROptions()).hear(pcm)
    return heard.language or "en", heard.language_probability


def _heard(utterance: Utterance, pcm: np.ndarray, final: bool) -> Hypothesis | EngineError:
    try:
        return utterance.hear(pcm, final)
    except EngineError as error:
        return error


@dataclass(frozen=True)
class ToolCall:
    """The model wants a function to be run. `arguments` is a JSON object as text."""

    id: str
    name: str
    arguments: str


class LLM(Protocol):
    """One with `tools = True` also takes `tools` in `reply` and `prepare`: {"tools", "tool_choice"} as JSON in the form of chat
    completions. Its lines may then have the roles "call" and "result" (`messages.Line`), and its pieces may be `ToolCall`s."""

    model: str
    device: str
    parallel: int  # how many replies may run at once in threads of the caller

    def reply(self, lines: Sequence[tuple[str, str]], *, max_tokens: int, temperature: float) -> Iterator[str]:
        """Stream the answer to (role, text) lines as pieces of text. Closing the iterator stops the work.

        An empty piece says "nothing yet": a chance to close, some ten times a second while the model is silent.
        """

    def prepare(self, lines: Sequence[tuple[str, str]]) -> None:
        """Read lines that the next reply will start with into the prompt cache, where there is one.

        An engine may also have `warm(lines)`, which does so for everybody who is still to come; it may take seconds.
        """


class TTS(Protocol):
    model: str
    device: str
    sample_rate: int
    voices: tuple[str, ...]  # the first is the default

    def speak(self, text: str, voice: str, speed: float) -> Iterator[np.ndarray]:
        """Audio at `sample_rate`, in pieces as they are ready.

        An empty piece says "nothing yet": a chance to close, where a sentence takes long to make.
        """


class VADStream(Protocol):
    """One caller's speech detector; keeps state between windows. One thread at a time."""

    def probability(self, window: np.ndarray) -> float:
        """Speech probability of exactly 512 samples (32 ms at 16 kHz)."""

    def reset(self) -> None: ...


class VAD(Protocol):
    def begin(self) -> VADStream: ...


class TurnModel(Protocol):
    def score(self, pcm: np.ndarray) -> float:
        """Probability that the speaker has finished, from the turn's audio so far (16 kHz, pause included)."""


# kind -> name -> "module:class". Names are what users write in ASR_ENGINE and the like.
TABLE: dict[str, dict[str, str]] = {
    "asr": {
        "faster-whisper": "fusion.engines.faster_whisper:FasterWhisper",
        "tensorrt-whisper": "fusion.engines.tensorrt_whisper:TensorRTWhisper",
        "scripted": "fusion.engines.scripted:ScriptedASR",
    },
    "llm": {
        "llama.cpp": "fusion.engines.llama_cpp:LlamaCpp",
        "ollama": "fusion.engines.ollama:Ollama",
        "openai": "fusion.engines.openai:OpenAI",
        "tensorrt-llm": "fusion.engines.tensorrt_llm:TensorRTLLM",
        "scripted": "fusion.engines.scripted:ScriptedLLM",
    },
    "tts": {
        "hibari": "fusion.engines.hibari:Hibari",
        "piper": "fusion.engines.piper:Piper",
        "whisperspeech": "fusion.engines.whisperspeech:WhisperSpeech",
        "scripted": "fusion.engines.scripted:ScriptedTTS",
    },
    "vad": {
        "silero": "fusion.engines.silero:Silero",
        "scripted": "fusion.engines.scripted:ScriptedVAD",
    },
    "turn": {
        "smart-turn": "fusion.engines.smart_turn:SmartTurn",
        "scripted": "fusion.engines.scripted:ScriptedTurn",
    },
}


def load(kind: str, name: str, *, python: str = "", **options: Any) -> Any:
    """Build the engine `name` of `kind` ("asr", "llm", "tts", "vad", "turn").

    Looks in `TABLE`, then in the entry-point group `whisperfusion.<kind>` of installed packages. `python` is the path
    of another interpreter, with libraries of its own, to run an engine of the first three kinds in.
    """
    if python:
        from fusion.engines.isolated import isolated

        return isolated(kind, name, python, options)
    target = TABLE[kind].get(name)
    if target is not None:
        module, _, attribute = target.partition(":")
        return getattr(import_module(module), attribute)(**options)
    for point in entry_points(group=f"whisperfusion.{kind}"):
        if point.name == name:
            return point.load()(**options)
    raise EngineError(f"no {kind} engine is called {name!r}; known: {', '.join(sorted(TABLE[kind]))}")
