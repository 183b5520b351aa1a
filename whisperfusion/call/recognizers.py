"""The recognizer that the settings lead to: one engine, or the chain of ASR_CHAIN.

An engine here whose model cannot be loaded is replaced by a smaller model that is in the cache:
worse captions are better than a server that does not start.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import cast

from whisperfusion.engines import ASR, ENGINES, load
from whisperfusion.engines.chain.asr import ASRChain
from whisperfusion.engines.chain.links import named, parse
from whisperfusion.engines.chain.recovery import Built, Links
from whisperfusion.engines.chain.speech import LOCAL, settings_of
from whisperfusion.errors import EngineError, ModelError, lost_for_good
from whisperfusion.models import store as models
from whisperfusion.models import tensorrt_folders
from whisperfusion.models.catalog import OPENAI_SIZES
from whisperfusion.settings import Settings, engine_options, named_keys

DEEPGRAM = "deepgram"
OPENAI_WHISPER = "whisper"

log = logging.getLogger("asr")


def load_asr(settings: Settings, threads: int, notify: Callable[[str], object]) -> ASR:
    """`notify` gets sentences for callers. Raises EngineError and ModelError."""
    if not settings.asr_chain:
        return _load_or_smaller(settings, threads, notify)
    built = [
        Built(name, partial(load_one, one, threads), by_url(one)) for name, one in _links(settings)
    ]
    return ASRChain(Links(built, "transcribes", notify))


def asks_server(settings: Settings) -> bool:
    """Whether utterances go to a server first, so that their requests need not wait in a row."""
    if not settings.asr_chain:
        return by_url(settings)
    return by_url(_links(settings)[0][1])


def _links(settings: Settings) -> list[tuple[str, Settings]]:
    """Name, and settings as if each link were the only recognizer. Raises EngineError."""
    links, keys = parse(settings.asr_chain, "ASR_CHAIN"), named_keys(settings.llm_keys)
    return [
        (name, settings_of(link, "asr", settings, keys, followed=link is not links[-1]))
        for name, link in zip(named(links), links, strict=True)
    ]


def engine_name(settings: Settings) -> str:
    return "chain" if settings.asr_chain else settings.asr_engine


def by_url(settings: Settings) -> bool:
    entry = ENGINES["asr"].get(settings.asr_engine)
    return entry is not None and entry.by_url


def load_one(settings: Settings, threads: int) -> ASR:
    """The engine of ASR_ENGINE."""
    options = engine_options(settings.asr_option)
    if by_url(settings):
        model = None if settings.asr_model == "auto" else settings.asr_model
        key = settings.asr_key
        if settings.asr_engine == DEEPGRAM:
            key = key or settings.deepgram_api_key
        options |= {"url": settings.asr_url or None, "key": key or None}
        return cast(ASR, load("asr", settings.asr_engine, model=model, **options))
    path = ""
    if settings.asr_engine == "tensorrt-whisper":
        path = str(tensorrt_folders.folder("asr", settings))
    elif settings.asr_engine == OPENAI_WHISPER:
        path = _openai_whisper(settings)
        options = {"download_root": str(settings.cache / "openai-whisper"), **options}
    elif settings.asr_engine != "scripted":
        chosen = models.resolve(settings.asr_model, "asr", settings)
        path = str(models.fetch(chosen, settings.cache, settings.sources))
    options |= {"device": settings.asr_device, "compute_type": settings.asr_compute_type}
    return cast(ASR, load("asr", settings.asr_engine, model=path, threads=threads, **options))


def _openai_whisper(settings: Settings) -> str:
    """The weights that ASR_MODEL means for openai-whisper: a path, or the name of a size that
    OpenAI's own address has, where the store cannot get it.
    """
    try:
        chosen = models.resolve(settings.asr_model, "asr", settings)
        return str(models.fetch(chosen, settings.cache, settings.sources))
    except ModelError as error:
        size = settings.asr_model.lower().removeprefix("openai/").removeprefix("whisper-")
        if size not in OPENAI_SIZES or "hub" not in settings.sources:
            raise
        log.warning("%s OpenAI's own address is asked for %s.", error, size)
        return size


def load_small(settings: Settings, device: str, threads: int) -> ASR | None:
    """The recognizer for times of high load; None, without waiting, where its model is not
    there.
    """
    path = models.fetch_small_asr(settings)
    if path is None:
        return None
    options = engine_options(settings.asr_option)
    # where its library is
    elsewhere = {"python": options["python"]} if "python" in options else {}
    try:
        small: ASR = load(
            "asr",
            settings.asr_engine,
            model=str(path),
            device=device,
            compute_type=settings.asr_compute_type,
            threads=threads,
            **elsewhere,
        )
    except EngineError as error:
        log.warning("no smaller recognizer is available for overload: %s", error)
        return None
    return small


# --- a model that cannot be loaded --------------------------------------------------------------


def _load_or_smaller(settings: Settings, threads: int, notify: Callable[[str], object]) -> ASR:
    try:
        return load_one(settings, threads)
    except Exception as error:
        if settings.asr_engine != LOCAL["asr"] or lost_for_good(error):
            raise
        for name in models.smaller_asrs(settings):
            try:
                found = load_one(replace(settings, asr_model=name), threads)
            except (EngineError, ModelError) as problem:
                log.warning("%s cannot be used either: %s", name, problem)
                continue
            why = f"the recognizer's model cannot be used ({error}); {name} transcribes instead"
            log.error(why)
            notify(why)
            return found
        raise
