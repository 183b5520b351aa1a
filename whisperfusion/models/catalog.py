"""The models that we know by name, and the spellings by which people ask for them."""

from __future__ import annotations

import re

from whisperfusion.models.model import File, Hub, Model, Wheel
from whisperfusion.models.weights.language_models import LANGUAGE_MODELS
from whisperfusion.models.weights.speakers import SPEAKER_ENCODERS
from whisperfusion.models.weights.speech_to_text import SPEECH_TO_TEXT
from whisperfusion.models.weights.text_language import TEXT_LANGUAGES
from whisperfusion.models.weights.voices import TURN_MODELS, VOICES

__all__ = [
    "ALIASES",
    "MODELS",
    "OPENAI_SIZES",
    "OTHER_WHISPERS",
    "WHISPER_FILES",
    "WHISPER_SIZES",
    "File",
    "Hub",
    "Model",
    "Wheel",
    "is_whisper_name",
]

# The files of a Whisper model in CTranslate2 form, as glob patterns, for repositories that we do
# not know.
WHISPER_FILES = (
    "config.json",
    "preprocessor_config.json",
    "model.bin",
    "tokenizer.json",
    "vocabulary.*",
)

MODELS: dict[str, Model] = {
    model.id: model
    for model in (
        *SPEECH_TO_TEXT,
        *LANGUAGE_MODELS,
        *TURN_MODELS,
        *SPEAKER_ENCODERS,
        *VOICES,
        *TEXT_LANGUAGES,
    )
}

# Spellings that people already have in their configuration.
ALIASES: dict[str, str] = {
    "turbo": "whisper-large-v3-turbo",
    "whisper-turbo": "whisper-large-v3-turbo",
    "openai/whisper-turbo": "whisper-large-v3-turbo",
    "smart-turn": "smart-turn-v3.2",
    "lid.176.ftz": "lid-176",
    "joe": "piper-joe",
    "en_us-joe-medium": "piper-joe",
    "smollm2": "smollm2-135m",
    "kokoro": "kokoro-v1.0",
    "kokoro-82m": "kokoro-v1.0",
    "hexgrad/kokoro-82m": "kokoro-v1.0",
    "xtts": "xtts-v2",
    "xtts_v2": "xtts-v2",
    "coqui/xtts-v2": "xtts-v2",
    "tts_models/multilingual/multi-dataset/xtts_v2": "xtts-v2",
}
for _model in MODELS.values():
    if _model.kind == "asr":
        _size = _model.id.removeprefix("whisper-")
        ALIASES |= {
            prefix + _size: _model.id
            for prefix in ("", "faster-whisper-", "systran/faster-whisper-", "openai/whisper-")
        }
    if _model.hub and _model.kind != "tts":  # the repositories of voices hold more than one voice
        ALIASES[_model.hub.repo.lower()] = _model.id

# Sizes of Whisper that we hold no sums of; the hub has them in CTranslate2 form.
OTHER_WHISPERS: dict[str, str] = {
    **{
        size: f"Systran/faster-whisper-{size}"
        for size in ("tiny", "base.en", "medium.en", "large-v1", "large-v2", "large-v3")
    },
    "large": "Systran/faster-whisper-large-v3",
    **{
        f"distil-{size}": f"Systran/faster-distil-whisper-{size}"
        for size in ("small.en", "medium.en", "large-v2", "large-v3")
    },
}

# What openai-whisper downloads from OpenAI by name (`whisper.available_models`).
OPENAI_SIZES = (
    *("tiny.en", "tiny", "base.en", "base", "small.en", "small", "medium.en", "medium"),
    *("large-v1", "large-v2", "large-v3", "large", "large-v3-turbo", "turbo"),
)

REPOSITORY = re.compile(r"^[\w.-]+/[\w.-]+")
WHISPER_SIZES = tuple(
    model.id.removeprefix("whisper-") for model in MODELS.values() if model.kind == "asr"
) + tuple(OTHER_WHISPERS)


def is_whisper_name(name: str) -> bool:
    """Whether `name` can be that of a Whisper model: a known size, or a repository.

    Nothing is looked for on the disk.
    """
    known = name.lower()
    return (
        known in MODELS
        or known in ALIASES
        or known in OTHER_WHISPERS
        or REPOSITORY.fullmatch(name) is not None
    )
