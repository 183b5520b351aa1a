"""Where TensorRT engines lie: a folder for each model under ENGINES_DIR, made by
docker/scripts/build-*.sh.

Engines cannot be downloaded: one fits exactly one model, one version of TensorRT and one GPU
architecture, so it is built where it runs. What is asked for by name is looked up here; what is
asked for by path is taken as it is.
"""

from __future__ import annotations

import os
from pathlib import Path

from whisperfusion.models.machine import ASR_CPU
from whisperfusion.settings import Settings

DEFAULT_LLM = "phi-3-mini-4k-instruct"

# Spellings that people already have in their configuration -> folder.
LLMS: dict[str, str] = {
    "auto": DEFAULT_LLM,
    "phi-3": DEFAULT_LLM,
    "phi-3-mini": DEFAULT_LLM,
    "microsoft/phi-3-mini-4k-instruct": DEFAULT_LLM,
    "phi": "phi-2",
    "microsoft/phi-2": "phi-2",
    "dolphin": "dolphin-2_6-phi-2",
    "cognitivecomputations/dolphin-2_6-phi-2": "dolphin-2_6-phi-2",
    "mistral": "openhermes-2.5-mistral-7b",
    "openhermes": "openhermes-2.5-mistral-7b",
    "teknium/openhermes-2.5-mistral-7b": "openhermes-2.5-mistral-7b",
    "mistralai/mistral-7b-instruct-v0.2": "mistral-7b-instruct-v0.2",
    "mistral-7b-instruct": "mistral-7b-instruct-v0.2",
}


def folder(kind: str, settings: Settings) -> Path:
    """The engine folder that ASR_MODEL ("asr") or LLM_MODEL ("llm") means; whether it is there
    is the engine's to say.
    """
    name = settings.asr_model if kind == "asr" else settings.llm_model
    if os.sep in name and Path(name).expanduser().is_dir():
        return Path(name).expanduser().absolute()
    lowered = name.lower()
    if kind == "asr" and lowered == "auto":
        lowered = ASR_CPU
    if kind == "asr":
        return settings.engines / f"whisper-{lowered.removeprefix('whisper-')}"
    return settings.engines / LLMS.get(lowered, lowered.rpartition("/")[2])
