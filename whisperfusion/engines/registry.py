"""Which engines there are, and what each can do, as values that are read without loading one.

An entry is a promise: `tests/test_engine_registry.py` compares every entry with its engine. Engines
of other packages come by entry points, and their abilities show when they are built.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

from whisperfusion.engines.kokoro.voices import GAINS_DB as KOKORO_GAINS_DB
from whisperfusion.engines.kokoro.voices import language_of as kokoro_language
from whisperfusion.engines.piper_names import language_of as piper_language
from whisperfusion.engines.xtts.voices import LANGUAGES as XTTS_LANGUAGES
from whisperfusion.engines.xtts.voices import language_of as xtts_language
from whisperfusion.errors import EngineError
from whisperfusion.paths import own_python

ROOT = "whisperfusion.engines"


@dataclass(frozen=True)
class Entry:
    """`target` is "module:class" below this package; `packages` are the distributions it needs.

    `languages` are ISO 639-1 codes, None where the model decides, empty where it makes no
    difference. `environment` names the interpreter of its own that `make NAME` installs (see
    `paths.own_python`); empty = it lives in the server's.
    """

    target: str
    packages: tuple[str, ...] = ()
    environment: str = ""
    # options of its later starts in another interpreter: callers wait for those
    restarted: tuple[tuple[str, Any], ...] = ()
    streaming: bool = False  # gives results before all of the input, or of the output, is there
    batch: bool = False  # `BatchASR`
    language_detection: bool = False
    tools: bool = False  # `ToolLLM`
    warm_up: bool = False  # `WarmLLM`
    constrained: bool = False  # `ConstrainedLLM`
    voices: tuple[str, ...] = ()  # that come without another file; empty where the model decides
    cloning: bool = False  # `CloningTTS`
    by_url: bool = False  # a server elsewhere, which a new process here does not mend
    end_of_turn: bool = False  # hypotheses have `end_of_turn`, of the models that have a head
    languages: tuple[str, ...] | None = None
    multilingual: bool = False  # `MultilingualTTS`
    # the language of a voice by its name, so that none has to be loaded for it; None = not known
    voice_language: Callable[[str], str | None] | None = None
    # what brings a voice, by its name, to the loudness of all (synthesis/leveling.py), measured by
    # bench/voice_loudness.py; 0 = it leaves as it is; one that is not here is measured as it speaks
    gains_db: Mapping[str, float] = field(default_factory=dict)

    @property
    def abilities(self) -> tuple[str, ...]:
        """In words, for a person."""
        named = {
            "streaming": self.streaming,
            "batches": self.batch,
            "language detection": self.language_detection,
            "tools": self.tools,
            "warm-up": self.warm_up,
            "JSON by a schema": self.constrained,
            "voice cloning": self.cloning,
            "voices of several languages": self.multilingual,
            "end of turn": self.end_of_turn,
            "by URL": self.by_url,
        }
        return tuple(name for name, able in named.items() if able)

    def load_class(self) -> Any:
        """The engine's class. Its library loads with the first instance."""
        module, _, name = self.target.partition(":")
        return getattr(import_module(f"{ROOT}.{module}"), name)


# kind -> name -> entry. Names are what users write in ASR_ENGINE and the like.
ENGINES: Mapping[str, Mapping[str, Entry]] = MappingProxyType(
    {
        "asr": {
            "faster-whisper": Entry(
                "whisper.faster_whisper:FasterWhisper",
                ("faster-whisper", "ctranslate2"),
                streaming=True,
                batch=True,
                language_detection=True,
                end_of_turn=True,
            ),
            "whisper": Entry(
                "whisper.openai_whisper:OpenAIWhisper",
                ("openai-whisper", "torch"),
                environment="whisper",
                streaming=True,
                language_detection=True,
                end_of_turn=True,
            ),
            "tensorrt-whisper": Entry(
                "tensorrt.tensorrt_whisper:TensorRTWhisper",
                ("tensorrt_llm", "torch", "faster-whisper"),
                streaming=True,
                batch=True,
                language_detection=True,
            ),
            "openai": Entry(
                "remote.openai_asr:OpenAIASR",
                ("httpx",),
                streaming=True,
                batch=True,
                language_detection=True,
                by_url=True,
            ),
            "deepgram": Entry(
                "remote.deepgram:Deepgram",
                ("httpx", "websockets"),
                streaming=True,
                batch=True,
                language_detection=True,
                by_url=True,
            ),
            "ray": Entry(
                "ray.engine:RayASR",
                ("httpx", "websockets"),
                streaming=True,
                batch=True,
                language_detection=True,
                end_of_turn=True,
                by_url=True,
            ),
            "scripted": Entry("scripted:ScriptedASR", streaming=True, languages=()),
        },
        "llm": {
            "llama.cpp": Entry(
                "llama.llama_cpp:LlamaCpp",
                ("xllamacpp",),
                streaming=True,
                tools=True,
                warm_up=True,
                constrained=True,
            ),
            "ollama": Entry(
                "remote.ollama:Ollama", ("httpx",), streaming=True, tools=True, by_url=True
            ),
            "openai": Entry(
                "remote.openai:OpenAI",
                ("httpx", "httpx-sse"),
                streaming=True,
                tools=True,
                by_url=True,
            ),
            "tensorrt-llm": Entry(
                "tensorrt.tensorrt_llm:TensorRTLLM", ("tensorrt_llm", "tokenizers"), streaming=True
            ),
            "ray": Entry(
                "ray.engine:RayLLM",
                ("httpx",),
                streaming=True,
                tools=True,
                warm_up=True,
                constrained=True,
                by_url=True,
            ),
            "scripted": Entry("scripted:ScriptedLLM", streaming=True, tools=True, languages=()),
        },
        "tts": {
            "hibari": Entry(
                "hibari:Hibari",
                ("hibari-tts",),
                streaming=True,
                voices=("heart",),
                languages=("en",),
                gains_db={"heart": 8.0},
            ),
            "piper": Entry(
                "piper:Piper",
                ("piper-tts",),
                streaming=True,
                multilingual=True,
                voice_language=piper_language,
                gains_db={"en_US-joe-medium": 8.3},
            ),
            "kokoro": Entry(
                "kokoro.engine:Kokoro",
                ("onnxruntime", "misaki", "phonemizer-fork", "espeakng-loader"),
                environment="kokoro",
                restarted=(("measure", False),),
                streaming=True,
                voices=("af_heart",),
                languages=("en", "es", "fr", "hi", "it", "ja", "pt", "zh"),
                multilingual=True,
                voice_language=kokoro_language,
                gains_db=KOKORO_GAINS_DB,
            ),
            "xtts": Entry(
                "xtts.engine:XTTS",
                ("coqui-tts", "torch", "torchaudio"),
                environment="xtts",
                restarted=(("measure", False),),
                streaming=True,
                cloning=True,
                languages=XTTS_LANGUAGES,
                multilingual=True,
                voice_language=xtts_language,
            ),
            "whisperspeech": Entry(
                "whisperspeech:WhisperSpeech",
                ("whisperspeech", "torch", "torchaudio", "webdataset"),
                streaming=True,
                voices=("default",),
                cloning=True,
                languages=("en", "pl"),
            ),
            "openai": Entry(
                "remote.openai_tts:OpenAITTS",
                ("httpx", "httpx-sse"),
                streaming=True,
                by_url=True,
            ),
            "cartesia": Entry(
                "remote.cartesia:Cartesia", ("httpx", "websockets"), streaming=True, by_url=True
            ),
            "ray": Entry(
                "ray.engine:RayTTS",
                ("httpx",),
                streaming=True,
                cloning=True,
                multilingual=True,
                by_url=True,
            ),
            "scripted": Entry(
                "scripted:ScriptedTTS",
                streaming=True,
                voices=("tone", "soft"),
                cloning=True,
                languages=(),
                multilingual=True,
                gains_db={"tone": 0.0, "soft": 0.0},
            ),
        },
        "vad": {
            "silero": Entry("silero:Silero", ("faster-whisper", "onnxruntime"), languages=()),
            "loudness": Entry("loudness:Loudness", languages=()),
            "scripted": Entry("scripted:ScriptedVAD", languages=()),
        },
        "turn": {
            "smart-turn": Entry("smart_turn:SmartTurn", ("onnxruntime",)),
            "scripted": Entry("scripted:ScriptedTurn", languages=()),
        },
        "speaker": {
            "resemblyzer": Entry("resemblyzer:Resemblyzer", ("onnxruntime",), languages=()),
            "scripted": Entry("scripted:ScriptedSpeaker", languages=()),
        },
    }
)


def interpreter_of(engine: str) -> str:
    """The interpreter of a speaking engine that runs in a process of its own."""
    entry = ENGINES["tts"].get(engine)
    return (own_python(entry.environment) if entry and entry.environment else "") or sys.executable


def language_of_voice(engine: str, voice: str) -> str | None:
    """ISO 639-1 code of what `voice` of a speaking engine speaks, as far as it can be told without
    loading it; None = not known.
    """
    entry = ENGINES["tts"].get(engine)
    if entry is None:
        return None
    if entry.voice_language is not None and (found := entry.voice_language(voice)):
        return found
    return entry.languages[0] if entry.languages and len(entry.languages) == 1 else None


def gains_of_voices(engine: str) -> Mapping[str, float]:
    """`Entry.gains_db` of a speaking engine; empty for those of other packages."""
    entry = ENGINES["tts"].get(engine)
    return entry.gains_db if entry else {}


def load(kind: str, name: str, *, python: str | None = None, **options: Any) -> Any:
    """Build the engine `name` of `kind` ("asr", "llm", "tts", "vad", "turn", "speaker").

    Looks in `ENGINES`, then in the entry-point group `whisperfusion.<kind>` of installed packages.
    `python` is the path of another interpreter, with libraries of its own, to run an engine of the
    first three kinds in; None = the engine's own environment, where it has one that is installed;
    "" = here.
    """
    entry = ENGINES[kind].get(name)
    if python is None and entry is not None and entry.environment:
        python = own_python(entry.environment)
    if python:
        from whisperfusion.engines.isolated.engine import isolated

        again = {**options, **dict(entry.restarted)} if entry is not None else options
        return isolated(kind, name, python, options, again)
    if entry is not None:
        return entry.load_class()(**options)
    for point in entry_points(group=f"whisperfusion.{kind}"):
        if point.name == name:
            return point.load()(**options)
    raise EngineError(
        f"no {kind} engine is called {name!r}; known: {', '.join(sorted(ENGINES[kind]))}"
    )
