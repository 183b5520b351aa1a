"""Which model is meant: by a name that a person wrote, and by the settings as a whole."""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from whisperfusion.errors import ModelError
from whisperfusion.models import cards, hub
from whisperfusion.models.cache import path_of
from whisperfusion.models.catalog import ALIASES, MODELS, OTHER_WHISPERS, WHISPER_FILES
from whisperfusion.models.machine import ASR_CPU, cores, default_llm, general_llm, memory_bytes
from whisperfusion.models.model import File, Hub, Model
from whisperfusion.models.weights.voices import piper_name, piper_voice
from whisperfusion.models.weights.xtts import XTTS
from whisperfusion.paths import COMMAND
from whisperfusion.settings import Settings
from whisperfusion.settings.voices import settings_of_voice, voice_entries

SERVERS = ("openai", "deepgram", "ray")  # recognizers elsewhere
WHISPERS = ("faster-whisper", "whisper")  # engines whose weights come from the store

log = logging.getLogger("models")


def resolve(name: str, kind: str, settings: Settings) -> Model:
    """The model that a person means by `name`, for `kind` "asr", "llm", "tts", "turn",
    "speaker" or "language".

    Takes our ids, older spellings ("base", "Systran/faster-whisper-base"), a file or folder, "auto"
    for an asr or llm, and on the hub `org/name` for an asr in CTranslate2 form or
    `org/name/file.gguf` for an llm.
    """
    if name == "auto" and kind in ("asr", "llm"):
        name, _ = default(kind, settings)
    lowered = name.lower()
    model = MODELS.get(ALIASES.get(lowered, lowered))
    if model is not None and model.kind == kind:
        return model
    if os.path.exists(os.path.expanduser(name)):
        return Model(name, kind, path=Path(name).expanduser().absolute())
    if kind == "tts" and piper_name(name):
        return piper_voice(name)
    parts = OTHER_WHISPERS.get(lowered, name).split("/")
    if all(parts) and ".." not in parts:
        if kind == "asr" and len(parts) == 2:
            return Model("--".join(parts), "asr", hub=Hub("/".join(parts), "main", WHISPER_FILES))
        if kind == "llm" and len(parts) >= 3 and lowered.endswith(".gguf"):
            hub = Hub("/".join(parts[:2]), "main", ("/".join(parts[2:]),))
            return Model(
                "--".join((*parts[:2], parts[-1])), "llm", files=(File(parts[-1]),), hub=hub
            )
    raise ModelError(_unknown(name, kind))


def default(kind: str, settings: Settings) -> tuple[str, str]:
    """The "asr" or "llm" that fits this machine, and the reason as a sentence for the log; empty
    where there is nothing to say.
    """
    return cards.model_for(kind, settings) or default_on_cpu(kind, settings)


def default_on_cpu(kind: str, settings: Settings) -> tuple[str, str]:
    """For general talk a model of the hub is better than those of the packages, so it is chosen
    where MODEL_SOURCES names the hub first and the hub can be reached.

    What is in the cache wins without asking, so the choice stays the same from start to start.
    """
    packaged = from_packages(kind)
    general = general_llm(cores(), memory_bytes()) if kind == "llm" else None
    if general is None or settings.sources[0] != "hub":
        return packaged
    if path_of(MODELS[general[0]], settings.cache):
        return general
    if path_of(MODELS[packaged[0]], settings.cache):
        better = f"{COMMAND} models fetch {general[0]}"
        return packaged[0], f"{packaged[1]} It is here already; `{better}` gets a better one."
    if why := hub.lacks():
        return packaged[0], f"{packaged[1]} {general[0]} of the hub would be better, but {why}."
    return general


def from_packages(kind: str) -> tuple[str, str]:
    """The default for a CPU that needs no hub."""
    return (ASR_CPU, "") if kind == "asr" else default_llm(cores(), memory_bytes())


def reasons(settings: Settings) -> list[tuple[str, str]]:
    """(kind, why this model) of each that "auto" chose, where there is something to say."""
    automatic = (
        ("asr", settings.asr_engine == "faster-whisper" and settings.asr_model == "auto"),
        ("llm", embedded_llm(settings) == "auto"),
    )
    found = [(kind, default(kind, settings)[1]) for kind, auto in automatic if auto]
    return [(kind, why) for kind, why in found if why]


def with_names(settings: Settings, choose: Callable[[str], tuple[str, str]]) -> Settings:
    """`settings`, each "auto" replaced by the name that `choose` has for "asr" or "llm"."""
    names: dict[str, Any] = {}
    if settings.asr_model == "auto" and settings.asr_engine not in SERVERS:  # they choose
        names["asr_model"] = choose("asr")[0]
    if settings.llm_model == "auto" and settings.llm_engine == "llama.cpp":
        names["llm_model"] = choose("llm")[0]
    return replace(settings, **names)


def _unknown(name: str, kind: str) -> str:
    known = [model.id for model in MODELS.values() if model.kind == kind]
    spellings = [
        *known,
        *(alias for alias, id in ALIASES.items() if id in known and "/" not in alias),
    ]
    near = difflib.get_close_matches(name.lower(), spellings, n=1, cutoff=0.6)
    guess = f" Did you mean {ALIASES.get(near[0], near[0])}?" if near else ""
    also = {
        "asr": "a folder, or org/name on the hub (CTranslate2 form)",
        "llm": "a .gguf file, or org/name/file.gguf on the hub",
        "tts": "a file, a folder, or a Piper voice of the hub such as de_DE-thorsten-medium",
    }
    known.append(also.get(kind, "a file"))
    return (
        f"there is no {kind} model {name!r}, neither by that name nor as a file.{guess} Known: "
        f"{', '.join(known)}."
    )


def fallback_llm(settings: Settings) -> Model:
    """The model to run in process when the configured LLM server does not answer."""
    return resolve(default_on_cpu("llm", settings)[0], "llm", settings)


def piper_voices(settings: Settings) -> tuple[str, ...]:
    """Names, files or folders: those of TTS_MODEL, else the voice of the hub that TTS_VOICE is."""
    named = tuple(filter(None, (one.strip() for one in settings.tts_model.split(","))))
    if not named and piper_name(settings.tts_voice):
        return (settings.tts_voice,)
    return named or ("piper-joe",)


def has_link(chain: str, name: str, otherwise: bool) -> bool:
    """Whether `chain` has the link `name`; `otherwise` where there is no chain."""
    if not chain:
        return otherwise
    return name in {link.partition("?")[0].strip().lower() for link in chain.split(",")}


def embedded_llm(settings: Settings) -> str:
    """The model that llama.cpp has to have before the start; "" = none. Behind a server or another
    link of LLM_CHAIN it is fetched when it is needed.
    """
    own = settings.llm_engine == "llama.cpp"
    if not settings.llm_chain:
        return settings.llm_model if own else ""
    first = settings.llm_chain.partition(",")[0].partition("?")[0].strip()
    provider, _, model = first.partition("/")
    usual = settings.llm_model if own else default_on_cpu("llm", settings)[0]
    return (model or usual) if provider.lower() == "embedded" else ""


def needed(settings: Settings) -> list[Model]:
    """The models that the chosen engines need before they can start; none for scripted engines
    and LLM servers.
    """
    wanted: list[Model] = []
    if has_link(settings.asr_chain, "embedded", settings.asr_engine in WHISPERS):
        wanted.append(resolve(settings.asr_model, "asr", settings))
    if name := embedded_llm(settings):
        wanted.append(resolve(name, "llm", settings))
    if settings.turn_engine == "smart-turn":
        wanted.append(resolve("smart-turn", "turn", settings))
    if "," in settings.asr_language or len(settings.voices) > 1:
        wanted.append(MODELS["lid-176"])
    if settings.speaker_engine == "resemblyzer":
        wanted.append(resolve("resemblyzer", "speaker", settings))
    return [*wanted, *_models_of_voice(settings.with_default_voice)]


def further_voices(settings: Settings, lists: Sequence[str] = ()) -> list[Model]:
    """The models of the other voices of TTS_VOICE, and of `lists` in its form, those of agents. No
    start waits for them: the processes of these voices fetch what they miss, while the default
    voice speaks.
    """
    default = _models_of_voice(settings.with_default_voice)
    entries = (*settings.voices, *(entry for one in lists for entry in voice_entries(one)))
    own = [settings_of_voice(settings, entry) for entry in entries]
    found = {model.id: model for one in own for model in _models_of_voice(one)}
    return [model for model in found.values() if model not in default]


def _models_of_voice(settings: Settings) -> list[Model]:
    """`settings` are those of one voice."""
    match settings.tts_engine:
        case "piper":
            return [resolve(name, "tts", settings) for name in piper_voices(settings)]
        case "kokoro":
            return [resolve(settings.tts_model or "kokoro", "tts", settings)]
        # a folder of one's own is made of the published model, and under its licence
        case "xtts":
            own = resolve(settings.tts_model or XTTS.id, "tts", settings)
            own = replace(own, licence=XTTS.licence, licence_url=XTTS.licence_url)
            return [replace(own, terms=XTTS.terms)]
        # "heart" is part of the package; another name is the engine's to refuse
        case "hibari" if f"hibari-{settings.tts_voice}" in MODELS:
            return [MODELS[f"hibari-{settings.tts_voice}"]]
    return []
