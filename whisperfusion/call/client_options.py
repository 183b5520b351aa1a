"""The options of a conversation and of its recognizer, from what the client of 6006 asks for in
its handshake and in `update`.

A field that has the same name and the same values on the wire and in `Options` is passed on by its
name, so a new one needs no line here.
"""

from __future__ import annotations

import logging
from dataclasses import fields, replace
from typing import Any

from whisperfusion.agents import Agent
from whisperfusion.engines import ASROptions, EngineError
from whisperfusion.messages import Stage
from whisperfusion.models.catalog import WHISPER_SIZES, is_whisper_name
from whisperfusion.settings import Settings
from whisperfusion.settings.tools import server_tools
from whisperfusion.turns.options import Options
from whisperfusion.turns.turn_detection import max_silence_s
from whisperfusion.wire import asr_socket as wire
from whisperfusion.wire.languages import UnknownLanguage, code_of, spoken_languages
from whisperfusion.wire.voices import UnknownVoice, voice_named

log = logging.getLogger("asr")

_OTHER_VALUES = {"instructions", "language"}  # empty or "auto" means the default there
_SHARED = tuple(
    sorted(
        {one.name for one in fields(Options)}
        & {one.name for one in fields(wire.Handshake)} - _OTHER_VALUES
    )
)


def shared(source: wire.Handshake | wire.Update) -> dict[str, Any]:
    """Options that the client named; what is None was left to the server, or as it is."""
    values = {name: getattr(source, name, None) for name in _SHARED}
    return {name: value for name, value in values.items() if value is not None}


def first_options(
    handshake: wire.Handshake, settings: Settings, turn_detector: bool, agent: Agent | None = None
) -> Options:
    """`settings` are those of the call's agent (`Agent.settings`)."""
    own = handshake.instructions
    chosen: dict[str, Any] = {"eagerness": settings.eagerness, **shared(handshake)}
    chosen["server_tools"] = server_tools(settings)
    if agent is not None:
        chosen["chain"] = agent.chain
        if agent.tools is not None:
            chosen["server_tools"] = agent.tools
    return Options(
        **chosen,
        instructions=settings.instructions if own is None else own,
        language=handshake.language,
        filler=settings.filler or None,
        replies=handshake.reply,
        automatic_turns=handshake.turn_detection == "auto",
        automatic_replies=handshake.answers == "auto",
        turn_detector=turn_detector,
        silence_s=handshake.silence,
        max_silence_s=max_silence_s(handshake.reply, chosen["eagerness"]),
    )


def asr_options(handshake: wire.Handshake, settings: Settings) -> ASROptions:
    return ASROptions(
        handshake.language,
        handshake.task,
        handshake.initial_prompt,
        handshake.hotwords,
        handshake.word_timestamps,
        default_language=default_language(settings),
    )


def default_language(settings: Settings) -> str:
    """ISO code of the language that is assumed where detection fails."""
    return code_of(settings.asr_language.partition(",")[0]) or "en"


def languages_of(settings: Settings, known: tuple[str, ...] | None) -> tuple[str, ...]:
    """ISO codes that callers' languages are detected among; () = all that the recognizer knows."""
    try:
        found = spoken_languages(settings.asr_language, known)
    except UnknownLanguage:  # one that the recognizer refuses
        found = ()
    return found if len(found) > 1 else ()


def check_languages(settings: Settings, known: tuple[str, ...] | None) -> None:
    """Raises EngineError for a list in ASR_LANGUAGE with what the recognizer does not know; a
    single language is its own to refuse.
    """
    if "," not in settings.asr_language:
        return
    try:
        spoken_languages(settings.asr_language, known)
    except UnknownLanguage as problem:
        raise EngineError(f"ASR_LANGUAGE={settings.asr_language!r}: {problem}") from None


def detects_speech(handshake: wire.Handshake, settings: Settings) -> bool:
    """False: all audio of the call counts as speech. A call with replies needs the detector."""
    return bool(handshake.reply or handshake.use_vad or settings.vad_filter)


def changed_options(update: wire.Update, settings: Settings) -> dict[str, Any]:
    """Those of the fields of `Options` that get another value."""
    changed = shared(update)
    if update.instructions is not None:
        changed["instructions"] = update.instructions or settings.instructions
    if update.turn_detection is not None:
        changed["automatic_turns"] = update.turn_detection == "auto"
    if update.answers is not None:
        changed["automatic_replies"] = update.answers == "auto"
    if update.language is not None:
        changed["language"] = None if update.language == "auto" else update.language
    if update.silence is not None:
        changed["silence_s"] = None if update.silence == "auto" else update.silence
    return changed


def with_agents_speakers(handshake: wire.Handshake, agent: Agent | None) -> wire.Handshake:
    """With the known speakers of its agent, where the client names none."""
    if agent is None:
        return handshake
    known, only = handshake.known_speakers, handshake.known_speakers_only
    if not known and agent.known_speakers:
        known = agent.known_speakers
        handshake = replace(handshake, known_speakers=known, enable_diarization=True)
    if only is None and agent.known_speakers_only:
        handshake = replace(handshake, known_speakers_only=True)
    return handshake


def usable(
    agent: Agent, settings: Settings, stages: dict[str, Stage], custom: tuple[str, ...] = ()
) -> Agent:
    """`agent`, without a voice that the speaking process does not have, which its caller did not
    choose. Of a list that is its default voice. `custom` are the voices that it can clone, of any
    client: the operator has chosen one.
    """
    try:
        check_voice(agent.default_voice(settings), stages, custom)
    except wire.FrameError as problem:
        log.warning("agent %s: %s; the default voice speaks", agent.name, problem)
        return replace(agent, voice=None)
    return agent


def check_voice(voice: str | None, stages: dict[str, Stage], custom: tuple[str, ...] = ()) -> None:
    """Raises FrameError for a voice that the speaking process does not have; `custom` are those of
    the client that it can clone.
    """
    voices = stages["tts"].voices if "tts" in stages else ()
    try:
        if voices:
            voice_named(voice, (*voices, *filter(None, custom)))
    except UnknownVoice as problem:
        raise wire.FrameError("unknown_voice", str(problem)) from None


def clones(stages: dict[str, Stage]) -> bool:
    """Whether the speaking process has an engine that can clone voices."""
    return "tts" in stages and stages["tts"].clones


def check_model(handshake: wire.Handshake, served: str) -> None:
    """WhisperLive clients name a model.

    One model, `served`, serves all callers, so another known name changes nothing; nonsense is
    refused, with WireError.
    """
    name = handshake.model
    if handshake.dialect is not wire.Dialect.WHISPER_LIVE or not name:
        return
    if not is_whisper_name(name):
        raise wire.WireError(
            f"model {name!r} is not known; leave it out, or use one of {', '.join(WHISPER_SIZES)}",
            handshake.uid,
        )
    log.debug("%s asked for the model %s and gets %s", handshake.uid, name, served)
