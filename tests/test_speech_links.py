"""What a link of ASR_CHAIN or TTS_CHAIN means, and which key it is given."""

from __future__ import annotations

from typing import Any

import pytest

from whisperfusion.engines import EngineError
from whisperfusion.engines.chain.links import parse
from whisperfusion.engines.chain.speech import LINK_TIMEOUT_S, settings_of
from whisperfusion.settings import Settings

ALL = Settings(
    asr_engine="openai",
    asr_url="http://elsewhere",
    asr_model="whisper-base",
    asr_key="asr-key",
    tts_key="tts-key",
    llm_key="openai-key",
    groq_api_key="groq-key",
    deepgram_api_key="deepgram-key",
    cartesia_api_key="cartesia-key",
    asr_option="beam_size=2",
)
LATE = f"timeout_s={LINK_TIMEOUT_S:g}"


def meant(text: str, kind: str = "asr", followed: bool = True) -> dict[str, Any]:
    (link,) = parse(text, "X_CHAIN", voices=kind == "tts")
    own = settings_of(link, kind, ALL, {"work": "work-key"}, followed=followed)
    assert getattr(own, f"{kind}_chain") == ""
    names = ("engine", "model", "url", "key", "option", *(("voice",) if kind == "tts" else ()))
    return {name: getattr(own, f"{kind}_{name}") for name in names}


@pytest.mark.parametrize(
    ("text", "engine", "model", "url", "key"),
    [
        ("deepgram/nova-3", "deepgram", "nova-3", "", "deepgram-key"),
        ("deepgram", "deepgram", "auto", "", "deepgram-key"),
        ("openai/whisper-1", "openai", "whisper-1", "https://api.openai.com/v1", "openai-key"),
        ("groq/w", "openai", "w", "https://api.groq.com/openai/v1", "groq-key"),
        ("openai@http://h:8000/w", "openai", "w", "http://h:8000", ""),
        ("openai@http://h:8000/w?key=ASR_KEY", "openai", "w", "http://h:8000", "asr-key"),
        ("groq@http://h/v1/w?key=work", "openai", "w", "http://h/v1", "work-key"),
    ],
)
def test_a_key_goes_to_the_provider_that_it_is_for(
    text: str, engine: str, model: str, url: str, key: str
) -> None:
    found = {"engine": engine, "model": model, "url": url, "key": key, "option": LATE}
    assert meant(text) == found


def test_the_embedded_link_has_the_settings_of_its_engine() -> None:
    assert meant("embedded") == {
        "engine": "faster-whisper",
        "model": "whisper-base",
        "url": "",
        "key": "",
        "option": "beam_size=2",
    }
    assert meant("embedded", "tts")["engine"] == "hibari"


def test_options_and_time_limits_are_a_links_own() -> None:
    assert meant("deepgram?smart_format=true&timeout_s=1")["option"] == (
        "smart_format=true,timeout_s=1"
    )
    assert meant("deepgram", followed=False)["option"] == ""  # the last one has no other behind it
    assert meant("faster-whisper/whisper-tiny.en")["option"] == ""
    cartesia = meant("cartesia/sonic-3:ann-1", "tts")
    assert (cartesia["model"], cartesia["voice"]) == ("sonic-3", "ann-1")
    assert (cartesia["key"], cartesia["option"]) == ("cartesia-key", LATE)


@pytest.mark.parametrize("text", ["wisper", "ollama/llama3", "deepgram?key=nobody"])
def test_what_is_not_known_is_told_with_what_is(text: str) -> None:
    with pytest.raises(EngineError, match="ASR_CHAIN"):
        meant(text)
