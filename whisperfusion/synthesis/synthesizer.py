"""The engine thread: makes sentences of replies, texts of clients and fillers into audio.

What it makes it reports piece by piece, as events of the speaking process. Jobs of stale tickets
are never started, and one that becomes stale ends at its next piece. An exception ends one job;
`runtime.worker` knows when the engine itself is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from whisperfusion.audio import Samples
from whisperfusion.errors import EngineError, Unsayable, lost_for_good, without_words
from whisperfusion.messages import SpeechOmitted, Ticket
from whisperfusion.output.events import (
    AudioMade,
    SentenceMade,
    SentenceRestarted,
    SynthesisFailed,
    Synthesize,
)
from whisperfusion.runtime.worker import Worker
from whisperfusion.synthesis.audio_cache import AudioCache
from whisperfusion.synthesis.fillers import FillerJob
from whisperfusion.synthesis.texts import TextAudio, TextFailed, TextJob, TextPartEnded
from whisperfusion.synthesis.voice import Voice
from whisperfusion.synthesis.voice_link import VoiceLink
from whisperfusion.synthesis.voices import Voices
from whisperfusion.text.normalization import spoken
from whisperfusion.text.reply_pieces import spoken_text
from whisperfusion.text.scripts import has_words

FILLERS = Ticket("fillers", 0)  # they belong to no call

log = logging.getLogger("tts")


@dataclass(frozen=True)
class SentenceJob:
    request: Synthesize
    voice: str | None
    speed: float
    link: VoiceLink | None = None  # whose voice says it; None = the default one


@dataclass(frozen=True)
class FillerEnded:
    """All audio of a filler; empty if it cannot be made."""

    job: FillerJob
    audio: Samples


@dataclass(frozen=True)
class AudioLost:
    """So many samples at 24 kHz were made for a ticket that is stale."""

    samples: int


Report = (
    AudioMade[Samples]
    | SentenceMade
    | SentenceRestarted
    | SynthesisFailed
    | SpeechOmitted
    | TextAudio
    | TextPartEnded
    | TextFailed
    | FillerEnded
    | AudioLost
)
Job = SentenceJob | TextJob | FillerJob


class Synthesizer:
    """`report` is called in the engine thread."""

    def __init__(
        self, voices: Voices, report: Callable[[Report], object], kept_sentences: int = 0
    ) -> None:
        self._voices, self._report = voices, report
        self.cache = AudioCache(kept_sentences)
        self.worker: Worker[Job] = Worker(
            "tts", self._work, voices.at_once, failed=self._failed, probe=voices.probe
        )

    # --- jobs ------------------------------------------------------------------------------------

    def put_sentence(
        self,
        request: Synthesize,
        voice: str | None,
        speed: float,
        link: VoiceLink | None = None,
    ) -> None:
        job = SentenceJob(request, voice, speed, link)
        self.worker.put(request.ticket, job, replace=request.index, urgent=request.urgent)

    def put_text(self, job: TextJob) -> None:
        self.worker.put(Ticket(job.listener.id, 0), job)

    def put_filler(self, job: FillerJob) -> None:
        self.worker.put(FILLERS, job)

    # --- the engine thread -----------------------------------------------------------------------

    def _work(self, ticket: Ticket, job: Job) -> bool:
        match job:
            case SentenceJob():
                return self._make_sentence(ticket, job)
            case TextJob():
                return self._make_text(ticket, job)
            case FillerJob():
                return self._make_filler(job)

    def _spoken(self, job: Job, say: Callable[[Voice], bool], again: Callable[[], bool]) -> bool:
        """What `say` returns of the voice of the job's link, or (None) of the default one as far as
        that speaks now. If that fails, the one behind it says all of it, unless `again` returns
        False: some of it has left, and nothing is said twice.
        """
        link = job.link
        of_link = None if link is None else _loaded(link)
        voice: Voice | None = of_link or self._voices.speaker(job.voice)
        while voice is not None:
            try:
                done = say(voice)
                if link is not None and voice is of_link:
                    link.spoke()
                else:
                    self._voices.spoke(voice)
                return done
            except Exception as error:
                if link is not None and voice is of_link:
                    instead = self._instead_of(link, error)
                else:
                    instead = self._voices.fall_back(voice, error, job.voice)
                if instead is None:
                    raise
            voice = instead if again() else None
        return False

    def _instead_of(self, link: VoiceLink, error: Exception) -> Voice | None:
        """The default voice, where the one of a language failed; None: the text is to blame."""
        if isinstance(error, Unsayable) or lost_for_good(error):
            return None
        log.warning(link.failed(error))
        return self._voices.active

    def _make_sentence(self, ticket: Ticket, job: SentenceJob) -> bool:
        def restart() -> bool:  # who plays it knows whether some has left
            self._report(SentenceRestarted(ticket, job.request.index))
            return True

        return self._spoken(job, lambda voice: self._say_sentence(voice, ticket, job), restart)

    def _say_sentence(self, voice: Voice, ticket: Ticket, job: SentenceJob) -> bool:
        text, unknown = voice.readable(job.request.text, job.voice)
        index = job.request.index
        pieces = self._make(
            voice, ticket, text, job, lambda audio: self._report(AudioMade(ticket, index, audio))
        )
        if pieces is None:
            return True
        if unknown or (has_words(text) and not pieces):
            reason = voice.cannot(job.voice, unknown or text[:20])
            self._report(SpeechOmitted(ticket, reason))
        self._report(SentenceMade(ticket, index, job.request.last))
        return has_words(text)

    def _make_text(self, ticket: Ticket, job: TextJob) -> bool:
        """Its first part; a part that the voice cannot say is left out of several."""
        left: list[TextJob] = []

        def again() -> bool:
            if left:
                self._report(TextPartEnded(left[0]))
            return not left

        return self._spoken(job, lambda voice: self._say_part(voice, ticket, job, left), again)

    def _say_part(self, voice: Voice, ticket: Ticket, job: TextJob, left: list[TextJob]) -> bool:
        """`left` gets the job for each piece that was made."""
        if job.parts is None:
            job = replace(job, parts=voice.parts(job.text, job.voice))
        parts = job.parts or ("",)
        text, _ = voice.readable(parts[0], job.voice)

        def made(audio: Samples) -> None:
            left.append(job)
            self._report(TextAudio(job, audio))

        try:
            if self._make(voice, ticket, text, job, made) is None:
                return True
        except Unsayable as error:
            if len(parts) == 1:
                raise
            log.warning("a part of a text is left out: %s", without_words(error))
        self._report(TextPartEnded(job))
        return has_words(text)

    def _make_filler(self, job: FillerJob) -> bool:
        return self._spoken(job, lambda voice: self._say_filler(voice, job), lambda: True)

    def _say_filler(self, voice: Voice, job: FillerJob) -> bool:
        text = spoken(spoken_text(job.text), voice.language_of(job.voice))
        parts = list(voice.synthesize(text, job.voice, job.speed))
        self._report(FillerEnded(job, np.concatenate([np.zeros(0, np.float32), *parts])))
        return True

    def _make(
        self,
        voice: Voice,
        ticket: Ticket,
        text: str,
        job: SentenceJob | TextJob,
        made: Callable[[Samples], object],
    ) -> int | None:
        """Calls `made` with each piece, float32 [samples] at 24 kHz.

        Returns how many there were; None: the ticket became stale before the last.
        """
        count = 0
        make = voice.synthesize
        if isinstance(job, SentenceJob):
            make = partial(self.cache.synthesize, voice)
        for pcm in make(text, job.voice, job.speed) if has_words(text) else ():
            if self.worker.stale(ticket):
                self._report(AudioLost(len(pcm)))
                return None
            if len(pcm):  # else the engine only asks whether it should go on
                count += 1
                made(pcm)
        return count

    def _failed(self, ticket: Ticket, job: Job, error: EngineError) -> None:
        unsayable = isinstance(error, Unsayable)
        match job:
            case FillerJob():  # the reply itself will come
                self._report(FillerEnded(job, np.zeros(0, np.float32)))
            case SentenceJob() if unsayable:  # the reply goes on behind it
                self._report(SpeechOmitted(ticket, str(error)))
                self._report(SentenceMade(ticket, job.request.index, job.request.last))
            case SentenceJob():
                self._report(SynthesisFailed(ticket, str(error)))
            case TextJob():
                code = "unsayable" if unsayable else "tts_failed"
                self._report(TextFailed(job, code, str(error)))


def _loaded(link: VoiceLink) -> Voice | None:
    """Its voice; None where that cannot be had now."""
    try:
        return link.loaded()
    except EngineError as problem:
        log.error("%s cannot speak: %s", link.name, problem)
        return None
