"""Models that think, behind a server with chat completions: what they are asked, and that no voice
says what they thought.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from client import Caller
from fake_llm_server import THOUGHT, FakeLLMServer
from running import SCRIPTED

from llm_service import Service
from whisperfusion.client import Failed as ReplyFailed
from whisperfusion.client import ReplyText
from whisperfusion.engines import Truncated, load
from whisperfusion.engines.remote.openai import pieces_in
from whisperfusion.engines.remote.request_options import THOUGHT_TOKENS, first_options
from whisperfusion.engines.scripted import read_tones
from whisperfusion.generation.answer import Answer, ThoughtHabit
from whisperfusion.messages import ChatMessage, Failed, Generate, Sentence, Ticket
from whisperfusion.settings import Settings

FORMS = ("marked", "preopened", "reasoning_content", "reasoning")
OFF = {"enable_thinking": False, "thinking": False}


@pytest.fixture
def serving() -> Iterator[Callable[..., FakeLLMServer]]:
    started: list[FakeLLMServer] = []

    def start(*arguments: Any, **options: Any) -> FakeLLMServer:
        started.append(FakeLLMServer(("small",), *arguments, **options))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def asked(server: FakeLLMServer, **options: Any) -> tuple[str, dict[str, Any]]:
    """The answer to "alpha", and the body of the request that got it."""
    engine = load("llm", "openai", model="small", url=server.url, **options)
    pieces = engine.stream_chat((("user", "alpha"),), max_tokens=50, temperature=0.5)
    return "".join(pieces), server.requests[-1]


# --- not a word of a thought is said ------------------------------------------------------------


@pytest.mark.parametrize(("form", "size"), [(form, size) for form in FORMS for size in (1, 5, 99)])
def test_the_first_answer_of_an_unknown_server_has_no_word_of_its_thought(serving, form, size):
    """Whatever the thought sounds like, and wherever it is split."""
    engine = load("llm", "openai", model="small", url=serving(form, size).url)
    habit, sent = ThoughtHabit(engine.model, server=True), []
    for turn in (1, 2):
        answer = Answer(Ticket("a", turn), False, habit, sent.append)
        for piece in engine.stream_chat((("user", "alpha"),), max_tokens=50, temperature=0.0):
            answer.feed(piece)
        answer.end()
    told = [one.text for one in sent if one.text]
    assert told == ["You said alpha.", "You said alpha."]
    assert not any(one.afresh for one in sent)


@pytest.mark.parametrize("form", FORMS)
async def test_no_voice_says_a_thought(serving, start_server, form):
    remote = serving(form)
    own = [flag for flag in SCRIPTED if not flag.startswith("--llm")]
    server = start_server(*own, LLM_ENGINE="openai", LLM_URL=remote.url, LLM_MODEL="small")
    async with Caller(server) as caller:
        for turn in (1, 2):
            await caller.send("say", text="alpha beta")
            await caller.answered(turn)
            assert caller.reply(turn) == "You said alpha beta."
            assert read_tones(caller.audio(turn), 24_000).strip() == "you said alpha beta."
        assert not any("ecret" in frame.text for frame in caller.of(ReplyText))
        # the next question holds the answer, and nothing that was thought
        assert THOUGHT[:6] not in str(remote.requests[-1]["messages"])
        await caller.send("say", text="endless")
        await caller.until(lambda: caller.of(ReplyFailed))
        (told,) = caller.of(ReplyFailed)
        assert "thought and gave no answer within its tokens" in told.message
        assert "LLM_MAX_TOKENS" in told.message and caller.reply(3) == ""
    assert "the embedded model answers" not in server.log


def test_a_thought_without_an_answer_does_not_call_the_embedded_model(serving):
    remote = serving("reasoning_content")
    settings = Settings(llm_engine="openai", llm_url=remote.url, llm_model="small")
    service = Service(settings, queue.Queue())
    service.worker.start()
    try:
        service.handle(Generate(Ticket("a", 1), (ChatMessage("user", "endless"),)))
        (failed,) = [one for one in iter_until_failed(service) if not isinstance(one, Sentence)]
        assert isinstance(failed, Failed) and "thought" in failed.reason
        assert service.model.chain.current is service.model.chain.links[0]
    finally:
        service.worker.stop()


def iter_until_failed(service: Service) -> Iterator[Any]:
    while True:
        found = service._outbox.get(timeout=30)
        yield found
        if isinstance(found, Failed):
            return


# --- what is learned from the first question ----------------------------------------------------


@pytest.mark.parametrize("form", ["", *FORMS])
def test_the_first_question_tells_how_a_model_thinks(serving, form):
    """So that the answer of one that does not think reaches the first caller as it comes."""
    remote = serving(form)
    settings = Settings(llm_engine="openai", llm_url=remote.url, llm_model="small")
    service = Service(settings, queue.Queue())
    service.model.habits.get_to_know(service.model.chain.links[0])
    pieces = service.model.habits.of(service.model.chain.links[0]).pieces()
    begun = pieces.feed("It is a town in the north. It has a tower. ")
    assert bool(begun) is (form != "preopened")
    assert [request["messages"][-1]["content"] for request in remote.requests] == ["Say hello."]


def test_a_first_question_that_is_not_answered_changes_nothing(serving):
    remote = serving(refuse=lambda body: (503, {"message": "loading the model"}))
    settings = Settings(llm_engine="openai", llm_url=remote.url, llm_model="small")
    service = Service(settings, queue.Queue())
    service.model.habits.get_to_know(service.model.chain.links[0])
    # held until its end, as nothing is known; and said, although it was cut there
    pieces = service.model.habits.of(service.model.chain.links[0]).pieces()
    assert pieces.feed("It is a town in the north. It has a tower. ") == []
    assert next(one.text for one in pieces.flush(cut=True)) == "It is a town"


def test_an_answer_that_was_cut_inside_its_thought_is_none():
    habit = ThoughtHabit("deepseek-r1")
    pieces = habit.pieces()
    assert pieces.feed("It is a town in the north. It has ") == []
    assert [one.text for one in pieces.flush(cut=True)] == [""] and pieces.thought


def test_the_end_of_an_answer_for_its_length_is_told(serving):
    engine = load("llm", "openai", model="small", url=serving().url)
    *before, last = engine.stream_chat((("user", "endless"),), max_tokens=5, temperature=0.0)
    assert isinstance(last, Truncated) and "".join(before) == "You said endless."


# --- what a server is asked ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://127.0.0.1:8001/v1", {"chat_template_kwargs": OFF, "reasoning_effort": "none"}),
        ("https://api.openai.com/v1", {"reasoning_effort": "none"}),
        ("https://me.openai.azure.com/openai/v1", {"reasoning_effort": "none"}),
        ("https://api.groq.com/openai/v1", {"reasoning_effort": "none"}),
        ("https://openrouter.ai/api/v1", {"reasoning": {"enabled": False}}),
        (
            "https://notopenai.com/v1",
            {"chat_template_kwargs": OFF, "reasoning_effort": "none"},
        ),
    ],
)
def test_what_is_sent_to_whom(url, sent):
    fields = first_options(url, thinking=False, effort=None).fields(200, 0.7)
    assert fields == {"max_tokens": 200, "temperature": 0.7, **sent}


def test_a_model_that_may_think_has_room_for_it(serving):
    text, body = asked(serving("marked"), thinking=True)
    assert body["chat_template_kwargs"] == {"enable_thinking": True, "thinking": True}
    assert body["max_tokens"] == 50 + THOUGHT_TOKENS and "reasoning_effort" not in body
    assert text.endswith("You said alpha.")
    assert asked(serving(), reasoning_effort="low")[1]["reasoning_effort"] == "low"


def refusing(known: dict[str, Any], text: str) -> Callable[[dict[str, Any]], Any]:
    """A server that knows some values of some fields, and of all others says `text`."""

    def refuse(body: dict[str, Any]) -> tuple[int, Any] | None:
        for name in ("chat_template_kwargs", "reasoning_effort"):
            if name in body and body[name] not in known.get(name, ()):
                words = text.format(name=name, value=body[name])
                return 400, {"message": words, "param": name}
        return None

    return refuse


@pytest.mark.parametrize(
    ("known", "text", "left"),
    [
        ({}, "Unrecognized request argument supplied: {name}", {}),
        ({}, "property '{name}' is unsupported", {}),
        (
            {"reasoning_effort": ("low", "medium", "high")},
            "Invalid value: '{value}'. Supported values are: 'low', 'medium' and 'high'.",
            {"reasoning_effort": "low"},
        ),
        (
            {"chat_template_kwargs": (OFF,), "reasoning_effort": ("minimal",)},
            "Unexpected reasoning effort {value}.",
            {"chat_template_kwargs": OFF, "reasoning_effort": "minimal"},
        ),
    ],
)
def test_what_a_server_refuses_is_not_sent_again(serving, known, text, left):
    remote = serving(refuse=refusing(known, text))
    engine = load("llm", "openai", model="small", url=remote.url)
    for _ in range(2):
        told = engine.stream_chat((("user", "alpha"),), max_tokens=50, temperature=0.5)
        assert "".join(told) == "You said alpha."
    last, before = remote.requests[-1], remote.requests[-2]
    names = ("chat_template_kwargs", "reasoning_effort")
    for body in (last, before):  # the second answer needed one request
        assert {name: body[name] for name in names if name in body} == left
    assert last["max_tokens"] == 50 and last["temperature"] == 0.5


def test_the_server_of_llama_cpp_takes_what_it_is_sent(llama):
    url = f"{llama._server.address}/v1"
    engine = load("llm", "openai", model=None, url=url, key=llama._server.key)
    *pieces, last = engine.stream_chat((("user", "Tell a story."),), max_tokens=6, temperature=0.0)
    assert isinstance(last, Truncated) and "".join(pieces)
    assert engine._options == first_options(url, thinking=False, effort=None)


def test_a_refusal_of_something_else_is_told(serving):
    remote = serving(refuse=lambda body: (400, {"message": "context length exceeded"}))
    engine = load("llm", "openai", model="small", url=remote.url)
    with pytest.raises(Exception, match="context length exceeded"):
        list(engine.stream_chat((("user", "alpha"),), max_tokens=5, temperature=0.0))
    assert len(remote.requests) == 1


@pytest.mark.parametrize(
    "reason",
    [
        'think value "none" is not supported for this model',
        "Budget 0 is invalid. This model only works in thinking mode.",
    ],
)
def test_a_refusal_that_only_speaks_of_thinking_is_understood(reason):
    options = first_options("http://127.0.0.1:11434/v1", thinking=False, effort=None)
    left = options.without(400, reason)
    assert left is not None and left.fields(1, 0.0)["reasoning_effort"] == "minimal"
    assert left.fields(1, 0.0)["chat_template_kwargs"] == OFF
    unknown = left.without(400, "Model x does not support parameter reasoningEffort.")
    assert unknown is not None and "reasoning_effort" not in unknown.fields(1, 0.0)


def test_a_provider_that_insists_on_thinking_is_asked_for_little():
    options = first_options("https://openrouter.ai/api/v1", thinking=False, effort=None)
    left = options.without(400, "Reasoning is mandatory for this endpoint and cannot be disabled.")
    assert left is not None
    assert left.fields(1, 0.0)["reasoning"] == {"effort": "minimal", "exclude": True}


@pytest.mark.parametrize(
    ("delta", "pieces"),
    [
        ({"content": "a"}, ["a"]),
        ({"content": "a", "reasoning": "b"}, ["a"]),
        ({"content": "", "reasoning_content": "b"}, [""]),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "b"}]}]}, [""]),
        ({"content": [{"type": "text", "text": "a"}]}, ["a"]),
        ({"role": "assistant", "content": None}, []),
    ],
)
def test_the_text_of_a_delta(delta, pieces):
    assert list(pieces_in(delta)) == pieces
