"""Chains as operators write them."""

from __future__ import annotations

import pytest

from whisperfusion.cli.doctor.speech_chains import speech_links
from whisperfusion.engines import EngineError
from whisperfusion.engines.chain.links import Link, named, parse
from whisperfusion.generation import llm_links
from whisperfusion.settings import build


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
        ("ray@http://h:8100/tts", Link("ray", "", "http://h:8100/tts")),
        ("ray@http://h:8100/tts/?model=es", Link("ray", "es", "http://h:8100/tts")),
        ("ray@http://h:8100/a/v1/tts:ann", Link("ray", "", "http://h:8100/a/v1/tts", "ann")),
        ("ray@http://h:8100", Link("ray", "", "http://h:8100")),
        ("ray@http://h:8100:ann", Link("ray", "", "http://h:8100", "ann")),
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
        *("ray", "ray/asr", "ray@h:8100/asr", "ray@http://h/a?model"),
        *("a/b?slow", "a/b?=1", "a/b?x=", "openai@http://name:secret@host/v1/model"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(EngineError, match="ASR_CHAIN"):
        parse(text, "ASR_CHAIN")


def test_links_of_one_name_are_told_apart() -> None:
    links = parse("openai@http://a:1/x, openai@http://b:2/x, embedded", "ASR_CHAIN")
    assert named(links) == ("openai/x@a:1", "openai/x@b:2", "embedded")


def test_a_cluster_is_a_link_of_all_three_chains() -> None:
    settings = build(
        {
            "asr_chain": "ray@http://h:8100/asr?key=ASR_KEY, embedded",
            "asr_key": "sesame",
            "tts_chain": "ray@http://h:8100/tts:ann?model=es, embedded",
        },
        {},
        {},
    )
    (_, asr), (_, local) = speech_links(settings, "asr")
    assert (asr.asr_engine, asr.asr_url, asr.asr_key) == ("ray", "http://h:8100/asr", "sesame")
    assert (asr.asr_model, asr.asr_option) == ("auto", "timeout_s=3")
    assert local.asr_engine == "faster-whisper"
    (_, tts), _ = speech_links(settings, "tts")
    assert (tts.tts_engine, tts.tts_url, tts.tts_voice) == ("ray", "http://h:8100/tts", "ann")
    assert (tts.tts_model, tts.tts_key) == ("es", "")
    link, _ = llm_links.parse("ray@http://h:8100/llm?parallel=4&key=LLM_KEY, embedded")
    assert (link.url, llm_links.first_token_s_of(link)) == ("http://h:8100/llm", 5.0)
    keyed = build({"llm_key": "sesame"}, {}, {})
    assert llm_links.key_of(link, keyed) == "sesame"
    made = llm_links.made(link, "ray", keyed, print, lambda link, error: None)
    assert made.remote and made.loads_at_once
