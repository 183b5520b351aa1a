"""Speech to text, language models, text to speech, VAD, turn models and speaker encoders: one
adapter per library.

`protocols` says what an engine is, `registry` which there are and what each can do; `load` builds
one.
"""

from __future__ import annotations

from whisperfusion.engines.batching import (
    create_utterances,
    decode_batch,
    detect_language,
    transcribe_batch,
)
from whisperfusion.engines.protocols import (
    ASR,
    LLM,
    TTS,
    VAD,
    Answering,
    ASROptions,
    BatchASR,
    Calling,
    ChatHistory,
    ConstrainedLLM,
    Hypothesis,
    Interrupted,
    Job,
    LanguageDetectingASR,
    MultilingualTTS,
    Prediction,
    Progress,
    Recording,
    RestartedTTS,
    Segment,
    SharingASR,
    SpeakerEncoder,
    Thought,
    ToolCall,
    ToolLLM,
    Truncated,
    TurnModel,
    Utterance,
    VADStream,
    WarmLLM,
    Word,
)
from whisperfusion.engines.registry import ENGINES, Entry, interpreter_of, language_of_voice, load
from whisperfusion.errors import EngineError

__all__ = [
    "ASR",
    "ENGINES",
    "LLM",
    "TTS",
    "VAD",
    "ASROptions",
    "Answering",
    "BatchASR",
    "Calling",
    "ChatHistory",
    "ConstrainedLLM",
    "EngineError",
    "Entry",
    "Hypothesis",
    "Interrupted",
    "Job",
    "LanguageDetectingASR",
    "MultilingualTTS",
    "Prediction",
    "Progress",
    "Recording",
    "RestartedTTS",
    "Segment",
    "SharingASR",
    "SpeakerEncoder",
    "Thought",
    "ToolCall",
    "ToolLLM",
    "Truncated",
    "TurnModel",
    "Utterance",
    "VADStream",
    "WarmLLM",
    "Word",
    "create_utterances",
    "decode_batch",
    "detect_language",
    "interpreter_of",
    "language_of_voice",
    "load",
    "transcribe_batch",
]
