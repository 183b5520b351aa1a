"""The speech detector and the end-of-turn model, of which no call depends: a detector that fails is
replaced by loudness, and without an end-of-turn model silence decides.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import entry_points

from whisperfusion.audio import Samples
from whisperfusion.engines import ENGINES, VAD, TurnModel, VADStream, load
from whisperfusion.engines.loudness import Loudness, LoudnessStream
from whisperfusion.errors import EngineError, ModelError, lost_for_good
from whisperfusion.models import store as models
from whisperfusion.settings import Settings

Notify = Callable[[str], object]  # gets sentences for callers

log = logging.getLogger("asr")


class Detector:
    """The speech detector of VAD_ENGINE, or loudness. Raises EngineError for one that is not
    known.
    """

    def __init__(self, settings: Settings, notify: Notify) -> None:
        self._notify, self._told = notify, False
        self._engine: VAD
        check_name("vad", settings.vad_engine)
        try:
            self._engine = load("vad", settings.vad_engine)
        except Exception as error:
            if lost_for_good(error):
                raise
            self.failed(error)
            self._engine = Loudness()

    def create_stream(self) -> VADStream:
        try:
            return _Guarded(self, self._engine.create_stream())
        except Exception as error:
            self.failed(error)
            return LoudnessStream()

    def failed(self, error: Exception) -> None:
        text = f"the speech detector failed ({error}); loudness decides instead"
        log.error(text)
        if not self._told:
            self._told = True
            self._notify(text)


class _Guarded:
    """One caller's; from its first failure on by loudness."""

    def __init__(self, detector: Detector, stream: VADStream) -> None:
        self._detector, self._stream = detector, stream
        self._loudness = LoudnessStream()
        self._failed = False

    def probability(self, window: Samples) -> float:
        if not self._failed:
            try:
                return self._stream.probability(window)
            except Exception as error:
                if lost_for_good(error):
                    raise
                by_loudness = self._loudness.probability(window)  # raises for another length
                self._failed = True
                self._detector.failed(error)
                return by_loudness
        return self._loudness.probability(window)

    def reset(self) -> None:
        self._loudness.reset()
        if not self._failed:
            self._stream.reset()


def load_turn_model(settings: Settings, notify: Notify) -> TurnModel | None:
    """None: there is none, by the settings or because it cannot be loaded. Raises EngineError for
    one that is not known.
    """
    if settings.turn_engine == "none":
        return None
    check_name("turn", settings.turn_engine)
    try:
        path = ""
        if settings.turn_engine == "smart-turn":
            wanted = models.resolve("smart-turn", "turn", settings)
            path = str(models.fetch(wanted, settings.cache, settings.sources))
        model: TurnModel = load("turn", settings.turn_engine, model=path)
        return model
    except (EngineError, ModelError, OSError) as error:
        text = f"the end-of-turn model cannot be used ({error}); silence decides"
        log.error(text)
        notify(text)
        return None


def check_name(kind: str, name: str) -> None:
    """A mistake in the settings is told at once."""
    added = {point.name for point in entry_points(group=f"whisperfusion.{kind}")}
    if name not in ENGINES[kind] and name not in added:
        load(kind, name)  # raises
