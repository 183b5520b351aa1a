"""Texts that clients of 8888 want as audio, beside all calls.

They are made one after the other, no more of them than `TEXTS` and the characters below allow, and
no faster than they are read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from whisperfusion.audio import SPEECH_RATE, Samples
from whisperfusion.custom_voices import Usable
from whisperfusion.settings import Settings
from whisperfusion.synthesis.language_voices import LanguageVoices
from whisperfusion.synthesis.listeners import Listener, Listeners
from whisperfusion.synthesis.voice_link import VoiceLink
from whisperfusion.wire import FrameError
from whisperfusion.wire import tts_socket as wire
from whisperfusion.wire.tts_events import Rejected, TextSpoken, TtsEvent
from whisperfusion.wire.voices import UnknownVoice, voice_named
from whisperfusion.written_language import WrittenLanguage

TEXTS = 100  # that may wait on one connection
CHARACTERS, ALL_CHARACTERS = 64_000, 512_000  # of them, and of those of all connections
# bytes of a text's audio that may wait for a client that reads slowly: then no more of it is made
AHEAD = 2 * 1024 * 1024
FRAME = SPEECH_RATE // 10  # samples in one frame


@dataclass(frozen=True)
class TextJob:
    """One text: made sentence by sentence, so that callers need not wait for its end."""

    listener: Listener
    id: str | int | None
    text: str
    voice: str | None
    speed: float
    # what is left to be made; None: the text is still to be divided
    parts: tuple[str, ...] | None = None
    link: VoiceLink | None = None  # whose voice says it; None = the default one


@dataclass(frozen=True)
class TextAudio:
    """Audio of the first part: float32 [samples] at 24 kHz."""

    job: TextJob
    audio: Samples


@dataclass(frozen=True)
class TextPartEnded:
    """All audio of the first part was made."""

    job: TextJob


@dataclass(frozen=True)
class TextFailed:
    """`code`: of the error frame."""

    job: TextJob
    code: str
    reason: str


class Texts:
    """`put` gives a text to the engine; `receive` takes what was made of it."""

    def __init__(
        self,
        settings: Settings,
        voices: LanguageVoices,
        listeners: Listeners,
        put: Callable[[TextJob], object],
    ) -> None:
        self._settings, self._voices, self._listeners, self._put = settings, voices, listeners, put
        self._custom = Usable(settings)
        self._written = WrittenLanguage(settings)
        if voices.several:
            self._written.start()
        self.made = 0  # samples, of all texts

    def add(self, listener: Listener, request: wire.Say) -> None:
        """Raises FrameError: the voice is not known, or too much waits."""
        names = self._voices.names
        if names:
            names += self._custom.of(self._voices.clone, listener.key)
        try:
            voice = voice_named(request.voice, names) if names else request.voice
        except UnknownVoice as problem:
            raise FrameError("unknown_voice", str(problem), request.id) from None
        everywhere = sum(one.characters for one in self._listeners.open)
        if (
            len(listener.texts) >= TEXTS
            or listener.characters > CHARACTERS
            or everywhere > ALL_CHARACTERS
        ):
            most = (
                f"{TEXTS} texts or {CHARACTERS} characters on one connection, "
                f"{ALL_CHARACTERS} on all"
            )
            raise FrameError(
                "busy",
                f"too much waits to be said; allowed: {most}. Send more when some are done",
                request.id,
            )
        language = ""
        if voice is None and self._voices.several:
            language = self._written.of(request.text, self._voices.languages)
        chosen = self._voices.choose(language, voice or self._settings.default_voice or None)
        speed = request.speed or self._settings.tts_speed
        job = TextJob(listener, request.id, request.text, chosen.name, speed, link=chosen.link)
        listener.texts.append(job)
        if len(listener.texts) == 1:
            self._put(listener.texts[0])

    def receive(self, made: TextAudio | TextPartEnded | TextFailed) -> None:
        job, listener = made.job, made.job.listener
        match made:
            case TextAudio():
                listener.samples += len(made.audio)
                self.made += len(made.audio)
                for start in range(0, len(made.audio), FRAME):
                    listener.audio(made.audio[start : start + FRAME])
            case TextPartEnded() if job.parts and len(job.parts) > 1:
                listener.postponed = replace(job, parts=job.parts[1:])
                self.sent(listener)
            case TextPartEnded():
                seconds = round(listener.samples / SPEECH_RATE, 3)
                self._over(listener, TextSpoken(job.id, seconds))
            case TextFailed():
                self._over(listener, Rejected(job.id, made.code, made.reason))

    def sent(self, listener: Listener) -> None:
        """Audio has left: if a text was postponed because too much of it waited, it goes on."""
        if listener.postponed is not None and listener.out.size <= AHEAD:
            job, listener.postponed = listener.postponed, None
            self._put(job)

    def _over(self, listener: Listener, answer: TtsEvent) -> None:
        """The text at hand is over: the client gets `answer`, and the next one begins."""
        listener.samples = 0
        listener.answer(answer)
        listener.texts.popleft()
        if listener.texts:
            self._put(listener.texts[0])
