"""Engines for a server: built as the settings say, and several models of one engine side by side.

The settings are those of a cell (docs/settings.md), read from the environment, with the flags of
`serve_engine` above them; models come from the same store.
"""

from __future__ import annotations

import asyncio
import logging
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from cluster.app import UnknownModel
from whisperfusion.call.recognizers import load_one
from whisperfusion.engines import load
from whisperfusion.generation.llm_links import load_chosen
from whisperfusion.models import machine
from whisperfusion.settings import Settings, build
from whisperfusion.synthesis.voice_link import options_of

KINDS = ("asr", "llm", "tts")
NICE = {"llm": 2}  # llm_service.NICE; the niceness of the others is 0 in a cell, too
log = logging.getLogger("engine")


def settings_of(kind: str, engine: str = "", option: str = "", **more: str) -> Settings:
    """The settings of the environment, with `engine` and its options ("name=value,name=value").

    `more` are settings by their names. Raises SettingsError.
    """
    flags = {f"{kind}_engine": engine, f"{kind}_option": option, f"{kind}_chain": "", **more}
    return build({name: text for name, text in flags.items() if text}, os.environ, {})


def load_engine(kind: str, settings: Settings, model: str = "") -> Any:
    """The engine of `settings` with `model` ("" = that of the settings); downloads it if need be.

    Raises EngineError and ModelError.
    """
    if model and kind == "tts":
        settings = replace(settings, tts_model=model, tts_voice="")
    elif model:
        named: dict[str, Any] = {f"{kind}_model": model}
        settings = replace(settings, **named)
    match kind:
        case "asr":
            return load_one(settings, machine.cores())
        case "llm":
            return load_chosen(settings, log.warning)
        case _:
            return load("tts", settings.tts_engine, **options_of(settings, apart=False))


class Models:
    """At most `most` engines at once, one for each of the names in `allowed`; the one that was not
    used for longest goes. The first name is the usual one.

    An engine that goes ends when its last call has ended.
    """

    def __init__(self, load: Callable[[str], Any], allowed: Sequence[str], most: int) -> None:
        self._load, self._allowed, self._most = load, tuple(allowed), most
        self._engines: dict[str, Any] = {}  # the newest used one last
        self._loading = asyncio.Lock()

    @property
    def loaded(self) -> Mapping[str, Any]:
        return self._engines

    async def get(self, model: str) -> Any:
        """Blocks nothing but its caller while it loads."""
        name = model or self._allowed[0]
        if name not in self._allowed:
            raise UnknownModel(model, self._allowed)
        async with self._loading:
            engine = self._engines.pop(name, None)
            if engine is None:
                while len(self._engines) >= self._most:
                    self._engines.pop(next(iter(self._engines)))
                engine = await asyncio.to_thread(self._load, name)
                close_with(engine)
            self._engines[name] = engine
        return engine


def lower_priority(kind: str) -> None:
    """Of this whole process, as a cell does: where cores are few, transcripts go before replies."""
    nice = NICE.get(kind, 0) + os.getpriority(os.PRIO_PROCESS, 0)
    for thread in os.listdir("/proc/self/task") if nice else ():  # each has its own in Linux
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, int(thread), min(nice, 19))


def close_with(engine: Any) -> None:
    """An engine in an interpreter of its own ends that with itself."""
    close = getattr(engine, "close", None)
    if close is not None and getattr(close, "__self__", engine) is not engine:
        weakref.finalize(engine, close)
