"""The voices in their order: the chosen one with the embedded one behind it, or the links of
TTS_CHAIN.

A voice that fails before the first sound of a sentence is replaced within the sentence, one that
fails later from the next sentence on, and every caller gets a notice when that begins and when it
ends. A voice of this process has none behind it, unless a chain says so: what it fails at is no
matter of being away. The embedded voice is loaded when it is first needed, and speaks English, so
it stands behind no voice of another language.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

from whisperfusion.engines import TTS
from whisperfusion.engines.chain.links import named, parse
from whisperfusion.engines.chain.speech import settings_of
from whisperfusion.errors import EngineError, Unsayable, lost_for_good
from whisperfusion.messages import Labelled, Notice
from whisperfusion.settings import Settings, named_keys
from whisperfusion.synthesis.voice import Voice
from whisperfusion.synthesis.voice_link import EMBEDDED, LANGUAGE, VoiceLink

REQUESTS = 8  # that a server gets at once
# at the first start no caller waits yet, and what the operator did wrong shows early: so long a
# start may fail for it
FIRST_PATIENCE_S = 15.0
PATIENCE_S = 2.0  # else: a small voice is there by then

log = logging.getLogger("tts")


class Voices:
    """Thread-safe. `post` gets a `Notice` when another voice begins to speak in place of the chosen
    one, the first, and when that is back.

    `loading` ends with the first try to load the chosen voice; its result is why that failed, None
    if it did not.
    """

    def __init__(
        self,
        settings: Settings,
        post: Callable[[Notice], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._post, self._clock = post, clock
        self._chained = bool(settings.tts_chain)
        self._links = _links(settings, clock)
        self._first = self._links[0]
        self.spoken_instead = 0  # jobs that another voice than the first was given
        self._changing = threading.Lock()
        # TensorRT-LLM is started behind the voice, and takes what that leaves of the GPU
        self._awaited = settings.llm_engine == "tensorrt-llm"
        self._away = ""  # why the chosen voice cannot be used, as callers were told
        # jobs: a request to a server waits for no other, and for none that stalls
        self.at_once = REQUESTS if self._first.by_url else 1
        for link in self._links:
            if link is self._first or link.elsewhere:
                link.start()

    # --- to be read ------------------------------------------------------------------------------

    @property
    def chosen(self) -> Voice | None:
        """None until it is loaded."""
        return self._first.voice

    @chosen.setter
    def chosen(self, voice: Voice) -> None:
        self._first.voice = voice

    @property
    def loading(self) -> Future[Exception | None]:
        return self._first.loading

    @property
    def active(self) -> Voice:
        """The voice that speaks now. Raises EngineError when there is none."""
        return self.speaker(None)

    def speaker(self, name: str | None) -> Voice:
        """The voice that speaks now where the voice `name` was asked for, None: the default one.
        Raises EngineError when there is none.
        """
        self.watch()
        voice = self._next_voice(self._behind(None, name))
        if voice is not None:
            return voice
        if self._first.voice is not None:  # the others are away, too
            return self._first.voice
        raise EngineError(self._first.why_away() or f"{self._first.name} cannot speak now")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the chosen voice; empty while they are not known."""
        return self.chosen.names if self.chosen is not None else ()

    @property
    def clone(self) -> bool:
        """Whether the chosen voice can be a recording."""
        return self.chosen is not None and self.chosen.clones

    def described(self) -> tuple[str, TTS]:
        """The name of an engine and the engine: the chosen one, or the one in its place until it is
        loaded. Raises EngineError.
        """
        for link in self._behind(None):
            voice = link.loaded()
            if voice is not None:
                return (EMBEDDED if link is self._embedded else link.name), voice.engine
        raise EngineError(self._first.failure)

    def patience_s(self, first_start: bool) -> float | None:
        """How long this process should wait for the chosen voice before another speaks; None: until
        it is there, or was refused.
        """
        if not self._backed or (first_start and self._awaited):
            return None
        return FIRST_PATIENCE_S if first_start else PATIENCE_S

    def is_required(self, first_start: bool) -> bool:
        """Whether the process ends when the first try to load the chosen voice fails."""
        return not self._backed or (first_start and not self._chained)

    def counted(self) -> tuple[Labelled, ...]:
        """What /metrics has of each link of TTS_CHAIN."""
        return tuple(
            Labelled(f"tts_link_{what}", (("link", link.name),), float(value))
            for link in (self._links if self._chained else ())
            for what, value in (
                ("answers_total", link.answers),
                ("failures_total", link.failures),
                ("open", bool(link.why_away()) or not link.breaker.closed),
            )
        )

    @property
    def _embedded(self) -> VoiceLink | None:
        """The one that is not of the operator's choice."""
        return None if self._chained else (*self._links[1:], None)[0]

    @property
    def _backed(self) -> bool:
        return len(self._behind(None)) > 1

    def _behind(self, link: VoiceLink | None, name: str | None = None) -> tuple[VoiceLink, ...]:
        """The links after `link`, None: all; without an embedded one that would read out another
        language, that of the voice `name`, by English rules.
        """
        language = self._first.language_of(name)
        strange = self._embedded is not None and language not in (None, LANGUAGE)
        links = self._links[:1] if strange else self._links
        return links[links.index(link) + 1 :] if link in links else links

    # --- voices come and go ----------------------------------------------------------------------

    def watch(self) -> bool:
        """Whether the chosen voice can be used now. Tells callers when that has changed, so it is
        asked once a second, too.
        """
        with self._changing:
            away = self._first.why_away() if self._backed else ""
            if away:
                self._leave(away)
            elif self._away and self._first.breaker.closed:
                self._away = self._first.failure = ""
                self._notify(f"{self._first.name} answers again")
            return not away

    def spoke(self, voice: Voice) -> None:
        """`voice` said all that it was asked for."""
        for link in self._links:
            if link.voice is voice:
                link.spoke()

    def fall_back(self, failed: Voice, error: Exception, name: str | None = None) -> Voice | None:
        """The voice that says instead what `failed` could not as `name`; None: there is none, or
        the text is to blame.
        """
        link = next((one for one in self._links if one.voice is failed), None)
        if link is None or isinstance(error, Unsayable) or lost_for_good(error):
            return None
        behind = self._behind(link, name)
        if not behind:
            return None
        with self._changing:
            why = link.failed(error)
            if link is self._first:
                self._leave(why)
            else:
                log.warning(why)
        return self._next_voice(behind)

    def probe(self) -> None:
        """A job that a sound engine does. A voice elsewhere is not mended by a new process here."""
        if not self._first.elsewhere:
            for _ in self.active.synthesize("Hello."):
                pass

    def _next_voice(self, links: tuple[VoiceLink, ...]) -> Voice | None:
        for link in links:
            alone = link is self._first and not self._backed  # whatever becomes of it
            if not alone and (link.why_away() or not link.breaker.admits()):
                continue
            try:
                voice = link.loaded()
            except EngineError as problem:
                log.error("%s cannot speak in place of another: %s", link.name, problem)
                continue
            if voice is not None:
                self.spoken_instead += link is not self._first
                return voice
        return None

    def _leave(self, why: str) -> None:
        if not self._away:
            self._away = why
            instead = next((one for one in self._links[1:] if not one.why_away()), None)
            name = "the embedded voice" if instead is self._embedded else instead and instead.name
            self._notify(f"{why}; {name} answers instead" if name else why)

    def _notify(self, text: str) -> None:
        log.warning(text)
        self._post(Notice("tts", text))


def _links(settings: Settings, clock: Callable[[], float]) -> tuple[VoiceLink, ...]:
    """Raises EngineError for a chain that cannot be read."""
    if settings.tts_chain:
        links, keys = parse(settings.tts_chain, "TTS_CHAIN", voices=True), settings.llm_keys
        found = []
        for name, link in zip(named(links), links, strict=True):
            followed = link is not links[-1]
            own = settings_of(link, "tts", settings, named_keys(keys), followed=followed)
            found.append(VoiceLink(name, own, clock))
        return tuple(found)
    chosen = VoiceLink(settings.tts_engine, settings, clock)
    if not chosen.elsewhere:
        return (chosen,)
    plain = replace(settings, tts_engine=EMBEDDED, tts_model="", tts_voice="", tts_option="")
    return (chosen, VoiceLink(EMBEDDED, plain, clock))
