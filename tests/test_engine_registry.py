"""Every engine keeps its protocol, and every entry of the registry tells the truth."""

from __future__ import annotations

import inspect

import pytest
from engine_checks import accepts, own_methods

from docs import engines_reference
from whisperfusion.engines import ENGINES, Entry, language_of_voice, load, protocols

PROTOCOLS = {
    "asr": protocols.ASR,
    "llm": protocols.LLM,
    "tts": protocols.TTS,
    "vad": protocols.VAD,
    "turn": protocols.TurnModel,
    "speaker": protocols.SpeakerEncoder,
}
ABILITIES = {
    "batch": protocols.BatchASR,
    "language_detection": protocols.LanguageDetectingASR,
    "tools": protocols.ToolLLM,
    "warm_up": protocols.WarmLLM,
    "constrained": protocols.ConstrainedLLM,
}
OF_VOICES = "voice_languages"  # `MultilingualTTS` is an attribute alone
ALL = [
    pytest.param(kind, entry, id=f"{kind} {name}")
    for kind, entries in ENGINES.items()
    for name, entry in entries.items()
]


@pytest.mark.parametrize(("kind", "entry"), ALL)
def test_an_engine_has_the_methods_of_its_protocol(kind: str, entry: Entry) -> None:
    made = entry.load_class()
    for name, promised in own_methods(PROTOCOLS[kind]).items():
        assert accepts(getattr(made, name), promised), name


@pytest.mark.parametrize(("kind", "entry"), ALL)
def test_an_entry_has_the_abilities_of_its_engine(kind: str, entry: Entry) -> None:
    made = entry.load_class()
    for ability, protocol in ABILITIES.items():
        promised = own_methods(protocol)
        able = all(
            hasattr(made, name) and accepts(getattr(made, name), one)
            for name, one in promised.items()
        )
        assert getattr(entry, ability) is able, ability
    assert getattr(made, "accepts_tools", False) is entry.tools
    assert getattr(made, "clones", False) is entry.cloning
    assert (OF_VOICES in inspect.get_annotations(made)) is entry.multilingual


def test_the_language_of_a_voice_is_told_without_loading_it() -> None:
    assert language_of_voice("hibari", "emma") == "en"
    assert language_of_voice("kokoro", "zf_xiaobei") == "zh"
    assert language_of_voice("kokoro", "bm_lewis") == "en"
    for engine in (
        "scripted",
        "whisperspeech",
        "kokoro",
        "of another package",
    ):  # of several, any, unknown
        assert language_of_voice(engine, "") is None


@pytest.mark.parametrize("name", ["scripted", "hibari"])
def test_an_entry_has_the_voices_and_languages_of_its_engine(name: str) -> None:
    entry, engine = ENGINES["tts"][name], load("tts", name)
    assert engine.voices == entry.voices
    assert entry.languages == ((engine.language,) if engine.language else ())


def test_what_an_engine_can_is_said_in_words() -> None:
    assert ENGINES["llm"]["llama.cpp"].abilities == (
        "streaming",
        "tools",
        "warm-up",
        "JSON by a schema",
    )
    assert ENGINES["tts"]["whisperspeech"].abilities == ("streaming", "voice cloning")
    assert ENGINES["vad"]["silero"].abilities == ()


def test_the_page_of_engines_is_the_registrys() -> None:
    written = (engines_reference.ROOT / "docs" / "engines.md").read_text(encoding="utf-8")
    assert written == engines_reference.page(), "run make docs"
