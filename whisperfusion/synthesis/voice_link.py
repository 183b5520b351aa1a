"""One link of the chain of voices: loaded at the start or when it is needed, up or away.

A voice elsewhere, in a process of its own or on a server, may be away (it warms up for minutes, it
dies and is started again, its server does not answer) while this process stays.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from whisperfusion.custom_voices import voices_of
from whisperfusion.engines import (
    ENGINES,
    CloningTTS,
    RestartedTTS,
    gains_of_voices,
    interpreter_of,
    language_of_voice,
    load,
)
from whisperfusion.engines.chain.breaker import Breaker
from whisperfusion.errors import EngineError
from whisperfusion.models import store as models
from whisperfusion.settings import Settings, engine_options
from whisperfusion.synthesis.voice import Voice

EMBEDDED, LANGUAGE = "hibari", "en"
HERE = (EMBEDDED, "scripted")  # voices that run in this process, unless python= says otherwise
# between two tries to load a voice: at first, and at most
FIRST_DELAY_S, LAST_DELAY_S = 10.0, 600.0

log = logging.getLogger("tts")


class VoiceLink:
    """Thread-safe. `settings` are those of this voice alone; `name` is for people and metrics.

    `loading` ends with the first try to load it; its result is why that failed, None if it did not.
    """

    def __init__(self, name: str, settings: Settings, clock: Callable[[], float]) -> None:
        self.name, self._settings = name, settings
        self.voice: Voice | None = None
        self.loading: Future[Exception | None] = Future()
        self.breaker = Breaker(clock)
        self.answers = self.failures = 0
        self.failure = f"{name} is being loaded"
        self._ended = f"{name} ended and is being started again"
        self._once = threading.Lock()
        options = engine_options(settings.tts_option)
        engine = settings.tts_engine
        self.by_url = is_by_url(engine)
        self.elsewhere = self.by_url or "python" in options or _apart(engine, options)
        self._language = options.get("language", LANGUAGE)  # until the engine itself tells

    def language_of(self, name: str | None) -> str | None:
        """ISO code of what its voice `name` speaks, None: of its default one; also before it is
        loaded, as far as the name tells.
        """
        if self.voice is not None:
            return self.voice.language_of(name)
        settings = self._settings
        asked = name or settings.tts_voice or settings.tts_model
        return language_of_voice(settings.tts_engine, asked) or self._language

    def start(self) -> None:
        """Load it: in a thread of its own, until it is there, where it runs elsewhere. Raises what
        a voice of this process raises.
        """
        options = options_of(self._settings)
        if self.elsewhere:
            threading.Thread(target=self._load, args=(options,), name="voice", daemon=True).start()
        else:
            self.voice = _voice(self._settings, options)
            self.loading.set_result(None)

    def loaded(self) -> Voice | None:
        """The voice; one of this process is loaded when it is first needed. Raises EngineError."""
        if self.voice is None and not self.elsewhere:
            with self._once:
                if self.voice is None:
                    try:
                        self.start()
                    except ImportError as error:
                        raise EngineError(f"{self.name} cannot be had: {error}") from error
        return self.voice

    def why_away(self) -> str:
        """Why it cannot be used now; empty: it can, or would have to be loaded first."""
        if self.voice is None:
            return self.failure if self.elsewhere else ""
        if self.breaker.resting:
            return self.failure
        return "" if self.is_up else self._ended

    @property
    def is_up(self) -> bool:
        engine = self.voice.engine if self.voice is not None else None
        return engine.up if isinstance(engine, RestartedTTS) else True

    def spoke(self) -> None:
        """It said all that it was asked for."""
        self.answers += 1
        self.breaker.succeeded()
        log.debug("%s spoke", self.name)

    def failed(self, error: Exception) -> str:
        """Why it is left alone for a while, or is away."""
        self.failures += 1
        if not self.is_up:
            return self._ended
        self.failure = f"{self.name} failed ({error})"
        self.breaker.failed(error)
        return self.failure

    def _load(self, options: dict[str, Any]) -> None:
        """In a thread of its own, until it is there."""
        delay, began = FIRST_DELAY_S, time.monotonic()
        while self.voice is None:
            try:
                self.voice = _voice(self._settings, options)
                self.failure = ""
                log.info("%s was loaded in %.1f s", self.name, time.monotonic() - began)
            except Exception as error:
                self.failure = f"{self.name} is not usable ({error})"
                log.error("%s; trying again in %.0f s", self.failure, delay)
                if not self.loading.done():
                    self.loading.set_result(error)
                time.sleep(delay)
                delay = min(2 * delay, LAST_DELAY_S)
        if not self.loading.done():
            self.loading.set_result(None)


def _voice(settings: Settings, options: dict[str, Any]) -> Voice:
    """Loaded. Raises EngineError, for a custom voice in TTS_VOICE too that it cannot speak with."""
    stored = voices_of(settings)
    custom = settings.tts_voice if stored.is_id(settings.tts_voice) else ""
    if custom and stored.sample(custom) is None:
        raise EngineError(
            f"TTS_VOICE names the custom voice {custom}, which is not stored here; GET "
            f"{settings.api_prefix}/audio/voices lists those that are"
        )
    engine = load("tts", settings.tts_engine, **options)
    if custom and not isinstance(engine, CloningTTS):
        raise EngineError(
            f"TTS_VOICE names the custom voice {custom}, and {settings.tts_engine} cannot clone "
            f"voices; TTS_ENGINE can be {', '.join(_cloning())}"
        )
    return Voice(engine, gains_of_voices(settings.tts_engine), stored.sample, custom)


def _cloning() -> list[str]:
    return [name for name, entry in ENGINES["tts"].items() if entry.cloning and name != "scripted"]


def is_by_url(engine: str) -> bool:
    entry = ENGINES["tts"].get(engine)
    return entry is not None and entry.by_url


def _apart(engine: str, options: dict[str, Any]) -> bool:
    """Whether it gets a process of its own: one that speaks another language has no voice behind
    it, and is seen to be down with this process.
    """
    return engine not in HERE and options.get("language", LANGUAGE) == LANGUAGE


def options_of(settings: Settings, apart: bool = True) -> dict[str, Any]:
    """What the engine is built with; `apart`: in a process of its own, where it is one for that.

    Raises ModelError for a model that cannot be had.
    """
    engine, options = settings.tts_engine, engine_options(settings.tts_option)
    # they know their own names and files
    named = engine == "whisperspeech" or is_by_url(engine)
    paths = [settings.tts_model] if named and settings.tts_model else []
    for model in models.needed(settings):
        if model.kind == "tts":
            paths.append(str(models.fetch(model, settings.cache, settings.sources)))
    path = ",".join(paths) or None
    if is_by_url(engine):
        key = settings.tts_key
        if engine == "cartesia":
            key = key or settings.cartesia_api_key
        options |= {"url": settings.tts_url or None, "key": key or None}
    elif apart and _apart(engine, options):
        options.setdefault("python", interpreter_of(engine))
    custom = voices_of(settings).is_id(settings.tts_voice)  # which the engine gets when it speaks
    return {"model": path, "voice": None if custom else settings.tts_voice or None, **options}
