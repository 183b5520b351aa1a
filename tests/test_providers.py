"""The presets of LLM_CHAIN against servers that speak each provider's dialect."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fake_llm_server import FakeLLMServer
from fake_providers import STRICT, busy
from hypothesis import given
from hypothesis import strategies as st

from whisperfusion.engines import Calling, ToolCall, load
from whisperfusion.engines.chain.breaker import FIRST_REST_S
from whisperfusion.engines.chain.providers import PROVIDERS
from whisperfusion.engines.remote.chat import Calls
from whisperfusion.engines.remote.dialects import GO_ON, UNSIGNED, adapted
from whisperfusion.engines.remote.rate_limits import LONGEST_S, retry_after_s
from whisperfusion.generation.language_model import LanguageModel
from whisperfusion.messages import ChatMessage, Generate, Ticket
from whisperfusion.settings import Settings
from whisperfusion.tools import NO_TOOLS, Function, Tools

HOSTED = [name for name, one in PROVIDERS.items() if one.engine == "openai"]
LONG_S = 60.0
LAMP = Tools((Function("lamp", {"name": "lamp", "parameters": {"type": "object"}}),))


@pytest.fixture
def serving() -> Iterator[Callable[..., FakeLLMServer]]:
    started: list[FakeLLMServer] = []

    def start(**options: Any) -> FakeLLMServer:
        started.append(FakeLLMServer(("small",), **options))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def asked(model: LanguageModel, *lines: tuple[str, str], tools: Tools = NO_TOOLS) -> list[Any]:
    history = tuple(ChatMessage(*line) for line in lines or (("user", "alpha"),))
    return list(model.stream_chat(Generate(Ticket("a", 1), history, tools=tools)))


def text(pieces: list[Any]) -> str:
    return "".join(piece for piece in pieces if isinstance(piece, str))


def chain_of(provider: str, server: FakeLLMServer) -> LanguageModel:
    chain = f"{provider}@{server.url}/v1/small?key=mine"
    told = Settings(llm_chain=chain, llm_keys="mine=sk-mine")
    return LanguageModel(told, lambda notice: None)


def test_there_is_a_dialect_for_each_provider():
    assert set(STRICT) == set(HOSTED)


@pytest.mark.parametrize("provider", HOSTED)
def test_a_provider_is_asked_in_its_own_dialect(serving, provider):
    """What it refuses is left out, and learned by the first question."""
    server = serving(refuse=STRICT[provider])
    model = chain_of(provider, server)
    (link,) = model.chain.links
    assert model.habits.get_to_know(link) is None
    count = len(server.requests)
    assert text(asked(model)) == "You said alpha." and len(server.requests) == count + 1
    assert server.keys[-1] == "Bearer sk-mine"


@pytest.mark.parametrize("provider", HOSTED)
def test_a_provider_goes_on_with_an_answer_and_takes_the_calls_of_others(serving, provider):
    server = serving(refuse=STRICT[provider])
    model = chain_of(provider, server)
    call = json.dumps({"id": "call_of_another", "name": "lamp", "arguments": "{}"})
    result = json.dumps({"id": "call_of_another", "output": "done"})
    asked(
        model,
        ("user", "alpha"),
        ("call", call),
        ("result", result),
        ("user", "and?"),
        ("assistant", "Paris is old,"),
        tools=LAMP,
    )
    *_, before, last = server.requests[-1]["messages"]
    if provider == "mistral":
        assert last == {"role": "assistant", "content": "Paris is old,", "prefix": True}
    elif provider == "groq":
        assert last == {"role": "assistant", "content": "Paris is old,"}
    else:
        assert last == {"role": "user", "content": GO_ON}
        assert before == {"role": "assistant", "content": "Paris is old,"}
    (made,) = [one["tool_calls"] for one in server.requests[-1]["messages"] if "tool_calls" in one]
    told = [one for one in server.requests[-1]["messages"] if one["role"] == "tool"]
    assert told[0]["tool_call_id"] == made[0]["id"]


@pytest.mark.parametrize(
    ("provider", "answer", "reason", "rest_s"),
    [pytest.param(*one, id=f"{one[0]} {one[2]} {one[1][0]}") for one in busy()],
)
def test_a_provider_that_is_busy_is_left_alone_for_as_long_as_it_says(
    serving, provider, answer, reason, rest_s
):
    first, second = serving(refuse=lambda body: answer), serving()
    chain = f"{provider}@{first.url}/v1/small, openai@{second.url}/v1/small"
    model, began = LanguageModel(Settings(llm_chain=chain), lambda notice: None), time.monotonic()
    assert text(asked(model)) == "You said alpha."
    link = model.chain.links[0]
    assert dict(link.failures) == {reason: 1}
    assert link.breaker._rests_until >= began + (rest_s or FIRST_REST_S / 2)


@pytest.mark.parametrize("mood", ["silent", "comments"])
def test_a_provider_that_stalls_is_closed(serving, mood):
    first, second = serving(mood=mood), serving()
    chain = f"openrouter@{first.url}/v1/small?first_token_s=0.2, openai@{second.url}/v1/small"
    model = LanguageModel(Settings(llm_chain=chain), lambda notice: None)
    assert text(asked(model)) == "You said alpha."
    assert first.gone.acquire(timeout=LONG_S)


@pytest.mark.parametrize("mood", ["halfway", "cut"])
@pytest.mark.parametrize("provider", ["openrouter", "ollama"])
def test_a_provider_that_breaks_off_is_gone_on_for(serving, provider, mood):
    first = FakeLLMServer(("small:latest",), mood=mood, answer=lambda body: "One two, three.")
    second = serving(answer=lambda body: "four.")
    own = "v1/small" if provider == "openrouter" else "small"
    chain = f"{provider}@{first.url}/{own}, openai@{second.url}/v1/small"
    model = LanguageModel(Settings(llm_chain=chain), lambda notice: None)
    try:
        assert text(asked(model)) == "One four."
    finally:
        first.stop()
    assert dict(model.chain.links[0].failures) == {"broke off": 1}
    assert second.requests[-1]["messages"][-2] == {"role": "assistant", "content": "One "}


def test_a_call_that_is_being_written_is_a_sign_of_life(serving):
    server = serving()
    engine = load("llm", "openai", model="small", url=server.url)
    asked = engine.stream_chat((("user", "use it"),), max_tokens=50, temperature=0.0, tools=LAMP)
    kinds = [type(piece) for piece in asked]
    assert kinds.count(Calling) > 1 and kinds[-1] is ToolCall


@pytest.mark.parametrize(
    ("model", "signed"), [("gemini-2.5-flash", False), ("models/gemini-3-flash", True)]
)
def test_newer_models_of_gemini_are_told_that_a_call_has_no_signature(model, signed):
    call = {"id": "a", "type": "function", "function": {"name": "lamp", "arguments": "{}"}}
    lines = [{"role": "assistant", "content": "", "tool_calls": [call]}, {"role": "tool"}]
    host = "https://generativelanguage.googleapis.com/v1beta/openai"
    made = adapted(lines, host, model)[0]["tool_calls"][0]
    assert made == ({**call, "extra_content": UNSIGNED} if signed else call)
    assert adapted(lines, "https://api.groq.com/openai/v1", model) == lines


def test_calls_of_gemini_have_one_index_and_ids_of_their_own():
    calls = Calls()
    for id, where in (("a", "{}"), ("b", '{"x": 1}')):
        function = {"name": f"tool_{id}", "arguments": where}
        calls.feed([{"index": 0, "id": id, "function": function}])
    assert calls.whole() == [ToolCall("a", "tool_a", "{}"), ToolCall("b", "tool_b", '{"x": 1}')]


# --- how long a server asks to be left alone ----------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({}, None, 0),
        ({"Retry-After": "7"}, None, 7),
        ({"Retry-After": "0.5"}, None, 0.5),
        ({"Retry-After": "Thu, 01 Jan 1970 00:17:00 GMT"}, None, 20),
        ({"retry-after-ms": "1500", "retry-after": "9"}, None, 1.5),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m2s"}, None, 62),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "120ms"}, None, 0.12),
        ({"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "8h"}, None, 0),
        ({"x-ratelimit-reset": "3"}, None, 3),
        ({"Retry-After": "99999999"}, None, LONGEST_S),
        ({"Retry-After": "soon"}, {"error": "busy"}, 0),
    ],
)
def test_the_time_that_a_server_tells(headers, body, seconds):
    assert retry_after_s(headers, body, now=1000.0) == pytest.approx(seconds)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("error", "details", "retryDelay", "metadata", "headers", "code")),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
NAMES = ("Retry-After", "retry-after-ms", "x-ratelimit-reset", "x-ratelimit-reset-tokens")


@given(
    st.dictionaries(
        st.sampled_from((*NAMES, "x-ratelimit-remaining-tokens")), st.text(max_size=30), max_size=4
    ),
    JSON,
)
def test_whatever_a_server_sends_is_a_time(headers, body):
    assert 0.0 <= retry_after_s(headers, body, time.time()) <= LONGEST_S
