"""Which language a text is in, for processes that get texts: the model is fetched and loaded in a
thread when it is first needed, and until then, or where it cannot be had, no text has a language.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from whisperfusion.engines.text_language import TextLanguage
from whisperfusion.models import store
from whisperfusion.models.catalog import MODELS
from whisperfusion.settings import Settings

LONGEST = 1000  # characters that are looked at

log = logging.getLogger("language")


class WrittenLanguage:
    """Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine: TextLanguage | None = None
        self._once = threading.Lock()
        self._loader: threading.Thread | None = None

    def start(self) -> threading.Thread:
        """Load it, in a thread; once."""
        with self._once:
            if self._loader is None:
                self._loader = threading.Thread(target=self._load, name="language", daemon=True)
                self._loader.start()
            return self._loader

    def of(self, text: str, languages: Sequence[str] = ()) -> str:
        """ISO code of the one of `languages` (empty = any) that `text` is in; "" = not known."""
        if self._engine is None:
            self.start()
            return ""
        return self._engine.language(text[:LONGEST], languages)

    def _load(self) -> None:
        try:
            model = MODELS["lid-176"]
            path = store.fetch(model, self._settings.cache, self._settings.sources, progress=False)
            self._engine = TextLanguage(model=str(path))
        except Exception as error:  # no network, no package: texts go without
            log.warning("the language of texts cannot be told: %s", error)
