"""Chains as operators write them."""

from __future__ import annotations

import pytest

from whisperfusion.engines import EngineError
from whisperfusion.engines.chain.links import Link, named, parse


def test_links_are_read_in_their_order() -> None:
    chain = "deepgram/nova-3, openai@http://host:8000/whisper,embedded"
    assert parse(chain, "ASR_CHAIN") == (
        Link("deepgram", "nova-3"),
        Link("openai", "whisper", "http://host:8000"),
        Link("embedded"),
    )
    assert [link.name for link in parse("Groq/llama-3.3-70b, ollama/llama3:8b", "LLM_CHAIN")] == [
        "groq/llama-3.3-70b",
        "ollama/llama3:8b",
    ]


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("cartesia/sonic-3:a0e9-84", Link("cartesia", "sonic-3", "", "a0e9-84")),
        ("hibari:heart", Link("hibari", "", "", "heart")),
        ("openai@http://h:8000", Link("openai", "", "http://h:8000")),
        ("openai@http://h:8000:ann", Link("openai", "", "http://h:8000", "ann")),
        ("openai@http://h:8000/tts:ann", Link("openai", "tts", "http://h:8000", "ann")),
        ("openai@https://h/a/v1/org/tts", Link("openai", "org/tts", "https://h/a/v1")),
    ],
)
def test_a_voice_follows_the_last_colon_and_a_model_the_version(text: str, link: Link) -> None:
    assert parse(text, "TTS_CHAIN", voices=True) == (link,)


def test_options_follow_a_question_mark() -> None:
    (link,) = parse("openai@http://h:8000/v1/qwen?first_token_s=0.5&key=work", "LLM_CHAIN")
    assert link.options == (("first_token_s", "0.5"), ("key", "work"))
    assert (link.name, link.url) == ("openai/qwen", "http://h:8000/v1")


@pytest.mark.parametrize(
    "text",
    [
        *("", " , ", "/model", "openai@host:8000/whisper", "a b/c", "a/b, a/b", "@http://h/v1"),
        *("a/b?slow", "a/b?=1", "a/b?x=", "openai@http://name:secret@host/v1/model"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(EngineError, match="ASR_CHAIN"):
        parse(text, "ASR_CHAIN")


def test_links_of_one_name_are_told_apart() -> None:
    links = parse("openai@http://a:1/x, openai@http://b:2/x, embedded", "ASR_CHAIN")
    assert named(links) == ("openai/x@a:1", "openai/x@b:2", "embedded")
