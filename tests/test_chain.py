"""Chains of language models: which link answers, and what becomes of an answer that dies."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from engine_checks import eventually
from fake_llm_server import FakeLLMServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_service import Service
from whisperfusion.engines import Answering, Calling, EngineError, Interrupted, ToolCall, load
from whisperfusion.engines.chain.failures import Empty
from whisperfusion.engines.chain.llm import ChainLLM
from whisperfusion.engines.chain.llm_link import Link
from whisperfusion.engines.remote.http_stream import Refused
from whisperfusion.engines.scripted import ScriptedLLM
from whisperfusion.generation.language_model import LanguageModel
from whisperfusion.messages import ChatMessage, Failed, Generate, Notice, Sentence, Ticket
from whisperfusion.settings import Settings
from whisperfusion.tools import Function, Tools

LONG_S = 60.0  # of a test that fails
TEXT = "One is one, two are two, three are three, and four are more. Five is the end of it."


class Script(ScriptedLLM):
    """Gives `pieces` in order: text, an exception to raise, or an event to wait for."""

    def __init__(self, *pieces: Any, model: str = "script") -> None:
        super().__init__(model=model)
        self.pieces, self.asked = pieces, []
        self.closed = 0

    def stream_chat(self, history: Any, **options: Any) -> Iterator[Any]:
        self.asked.append((tuple(history), options))
        try:
            for piece in self.pieces:
                if isinstance(piece, Exception):
                    raise piece
                if isinstance(piece, threading.Event):
                    while not piece.is_set():
                        yield ""
                        time.sleep(0.005)
                else:
                    yield piece
        except GeneratorExit:
            self.closed += 1
            raise


def link(name: str, engine: Any, **options: Any) -> Link:
    """A link that is loaded, of an engine or of an error that its loading ends with."""

    def loaded() -> Any:
        if isinstance(engine, Exception):
            raise engine
        return engine

    made = Link(name, loaded, remote=True, **options)
    if not isinstance(engine, Exception):
        made.engine = engine
    return made


def answer(chain: ChainLLM, **options: Any) -> list[Any]:
    asked = (("system", "x"), ("user", "alpha"))
    return list(chain.stream_chat(asked, max_tokens=50, temperature=0.0, **options))


def text(pieces: list[Any]) -> str:
    return "".join(piece for piece in pieces if isinstance(piece, str))


def answered_by(pieces: list[Any]) -> list[str]:
    return [piece.link.name for piece in pieces if isinstance(piece, Answering)]


# --- which link answers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "failure",
    [
        EngineError("down"),
        Refused(429, None, "too many", 7.0),
        Refused(401, None, "no"),
        ValueError("a library's"),
    ],
)
def test_a_link_that_fails_is_skipped_and_left_alone(failure):
    first, second = link("first", Script(failure)), link("second", Script("Hi."))
    chain = ChainLLM((first, second))
    found = answer(chain)
    assert text(found) == "Hi." and answered_by(found) == ["second"]
    assert [piece.skipped for piece in found if isinstance(piece, Answering)] == [
        (("first", first.reason),)
    ]
    assert not first.usable and second.usable and chain.current is second
    answer(chain)
    assert len(first.engine.asked) == 1  # not asked while it is left alone


def test_what_is_wrong_with_a_request_is_not_the_fault_of_its_link():
    first = link("first", Script(Refused(400, None, "too long")))
    assert text(answer(ChainLLM((first, link("second", Script("Hi.")))))) == "Hi."
    assert first.usable and dict(first.failures) == {"refused": 1}


def test_an_answer_without_a_word_is_none():
    chain = ChainLLM((link("first", Script()), link("second", Script("Hi."))))
    assert text(answer(chain)) == "Hi."
    with pytest.raises(Empty):
        answer(ChainLLM((link("only", Script()),)))


def test_a_link_without_a_first_token_in_its_time_is_skipped_and_closed():
    never = threading.Event()
    first = link("first", Script(never, "late"), first_token_s=0.05)
    found = answer(ChainLLM((first, link("second", Script("Hi.")))))
    assert text(found) == "Hi." and dict(first.failures) == {"slow": 1}
    eventually(lambda: first.engine.closed == 1)


def test_the_last_link_has_no_time_limit_and_is_asked_although_it_failed():
    late = threading.Event()
    second = link("second", Script(late, "Hi."), first_token_s=0.01)
    second.failed(EngineError("a moment ago"))
    chain = ChainLLM((link("first", Script(EngineError("down"))), second))
    threading.Timer(0.1, late.set).start()
    assert text(answer(chain)) == "Hi." and second.usable


def test_a_slow_link_is_waited_for_while_no_other_can_answer():
    """The other one is loaded meanwhile: it will probably be needed."""
    late, loading, over = threading.Event(), threading.Event(), threading.Event()

    def slow_load() -> Any:
        loading.set()
        assert over.wait(LONG_S)
        return Script("Hi.")

    first = link("first", Script(late, "Late."), first_token_s=0.02)
    chain = ChainLLM((first, Link("second", slow_load)))
    found: list[Any] = []
    for piece in chain.stream_chat((("user", "x"),), max_tokens=9, temperature=0.0):
        found.append(piece)
        if loading.is_set() and len(found) > 50:
            late.set()
        assert len(found) < 400
    over.set()
    assert answered_by(found) == ["first"] and text(found) == "Late."


def test_a_link_that_writes_a_call_has_begun():
    call, late = ToolCall("1", "lamp", "{}"), threading.Event()
    first = link("first", Script(Calling(), late, call), first_token_s=0.02)
    chain = ChainLLM((first, link("second", Script("Hi."))))
    found: list[Any] = []
    for piece in chain.stream_chat((("user", "x"),), max_tokens=9, temperature=0.0):
        found.append(piece)
        if len(found) > 50:
            late.set()
    assert call in found and first.usable


def test_links_that_cannot_be_loaded_are_skipped_and_the_last_is_loaded_when_needed():
    first = link("first", EngineError("no such model"))
    second = Link("second", lambda: Script("Hi."))
    chain = ChainLLM((first, second))
    assert text(answer(chain)) == "Hi." and second.usable and not first.usable


def test_all_that_failed_is_told():
    chain = ChainLLM((link("a", Script(EngineError("one"))), link("b", Script(EngineError("two")))))
    with pytest.raises(EngineError, match="a: one; b: two"):
        answer(chain)


def test_a_link_is_tried_again_in_a_thread_and_answers_the_next_turn():
    first, second = link("first", Script("Back.")), link("second", Script("Hi."))
    first.failed(EngineError("down"))
    chain = ChainLLM((first, second))
    assert text(answer(chain)) == "Hi."
    first.breaker._rests_until = 0.0
    assert text(answer(chain)) == "Hi."  # the turn does not pay for the trial
    eventually(lambda: first.usable)
    assert text(answer(chain)) == "Back."


def test_a_reader_that_leaves_closes_the_link_and_says_nothing_against_it():
    first = link("first", Script("One ", threading.Event()))
    chain = ChainLLM((first, link("second", Script("Hi."))))
    stream = chain.stream_chat((("user", "x"),), max_tokens=9, temperature=0.0)
    while next(stream) != "One ":
        pass
    stream.close()
    eventually(lambda: first.engine.closed == 1)
    assert first.usable and not first.failures


def test_what_is_read_ahead_is_read_by_the_link_that_would_answer():
    read: list[str] = []

    class Reader(Script):
        def prefill(self, history: Any, tools: Any = None) -> Iterator[str]:
            read.append(self.model)
            if self.model == "first":
                raise EngineError("down")
            yield ""

    links = [link(name, Reader("Hi.", model=name)) for name in ("first", "second")]
    chain = ChainLLM(links)
    with pytest.raises(EngineError):
        list(chain.prefill((("system", "x"),)))
    list(chain.prefill((("system", "x"),)))
    assert read == ["first", "second"]  # and so the turn does not begin with the first


# --- an answer that dies in its middle ----------------------------------------------------------


def test_the_next_link_is_given_what_was_said_and_goes_on():
    first = link("first", Script("Paris is old, ", "and", EngineError("gone")))
    second = link("second", Script("and it is big."))
    found = answer(ChainLLM((first, second)))
    assert [type(piece) for piece in found if type(piece) in (Interrupted, Answering)] == [
        Answering,
        Interrupted,
        Answering,
    ]
    (history, options), *_ = second.engine.asked
    assert history[-1] == ("assistant", "Paris is old, and") and options["max_tokens"] == 48
    assert dict(first.failures) == {"broke off": 1}


def test_calls_that_were_given_are_not_asked_for_again():
    call = ToolCall("1", "lamp", "{}")
    first = link("first", Script("I do. ", call, EngineError("gone")))
    second = link("second", Script(call))
    tools = Tools((Function("lamp", {}),))
    found = answer(ChainLLM((first, second)), tools=tools)
    assert [piece for piece in found if isinstance(piece, ToolCall)] == [call]
    assert not second.engine.asked


def sentences(*links: Link) -> list[Any]:
    """What callers get of one turn."""
    service = Service(Settings(llm_engine="scripted"), queue.Queue())
    service.model.chain = ChainLLM(links)
    service.worker.start()
    service.handle(Generate(Ticket("a", 1), (ChatMessage("user", "alpha"),)))
    found = [service._outbox.get(timeout=LONG_S)]
    while not (isinstance(found[-1], Failed) or getattr(found[-1], "last", False)):
        found.append(service._outbox.get(timeout=LONG_S))
    service.worker.stop()
    return found


def spoken(found: list[Any]) -> str:
    return " ".join(" ".join(one.text for one in found).split())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_word_is_said_twice_and_none_is_left_out(data):
    """However much the first link had written when it died, and wherever the second begins."""
    cut = data.draw(st.integers(1, len(TEXT) - 1))
    parts = [TEXT[at : at + 3] for at in range(0, cut, 3)]
    parts[-1] = parts[-1][: cut - 3 * (len(parts) - 1)]

    anew = data.draw(st.booleans())

    class GoesOn(Script):
        def stream_chat(self, history: Any, **options: Any) -> Iterator[Any]:
            said = history[-1][1] if history[-1][0] == "assistant" else ""
            assert TEXT.startswith(said)
            yield TEXT if anew else TEXT[len(said) :]

    found = sentences(link("first", Script(*parts, EngineError("gone"))), link("second", GoesOn()))
    assert spoken(found) == TEXT
    assert [one.index for one in found] == list(range(len(found)))
    assert found[-1].model == "second/script" and not any(one.afresh for one in found)


def test_the_thought_of_the_second_link_is_not_said_and_what_was_said_stands():
    first = Script("Paris is old, ", "and", EngineError("gone"))
    thinks = Script("<think>They ask for a town.</think>", "Paris is old, and it is big.")
    found = sentences(link("first", first), link("second", thinks))
    assert spoken(found) == "Paris is old, and it is big."


def test_a_thought_that_was_never_ended_is_not_what_was_said():
    first = Script("<think>They ask for a town, ", EngineError("gone"))
    found = sentences(link("first", first), link("second", Script("Paris is old.")))
    assert spoken(found) == "Paris is old."


def test_which_link_answered_is_told_only_where_there_are_several():
    assert {one.model for one in sentences(link("only", Script("Hi.")))} == {""}
    two = sentences(link("groq/a", Script("Hi.")), link("b", Script()))
    assert {one.model for one in two} == {"groq/a"}


# --- from settings ------------------------------------------------------------------------------


@pytest.fixture
def serving():
    started: list[FakeLLMServer] = []

    def start(**options: Any) -> FakeLLMServer:
        started.append(FakeLLMServer(("small",), **options))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def generate(turn: int = 1, chain: str = "", text: str = "alpha") -> Generate:
    return Generate(Ticket("a", turn), (ChatMessage("user", text),), chain=chain)


def test_a_chain_of_servers(serving, caplog):
    stalled, sound = serving(mood="comments"), serving()
    told: list[Notice] = []
    chain = f"openai@{stalled.url}/small?first_token_s=0.2, openai@{sound.url}/small"
    caplog.set_level("INFO")
    model = LanguageModel(Settings(llm_chain=chain), told.append)
    first, second = (one.name for one in model.chain.links)
    assert "".join(model.stream_chat(generate())) == "You said alpha."
    assert stalled.gone.acquire(timeout=LONG_S)
    assert [notice.text for notice in told] == [
        f"{first} failed (no first token within 0.2 s); {second} answers instead"
    ]
    assert f"turn 1 is answered by {second}" in caplog.text and f"{first} (slow)" in caplog.text
    assert "alpha" not in caplog.text
    values = {(one.name, one.labels): one.value for one in model.metrics()}
    assert values[("llm_link_answers_total", (("link", second),))] == 1
    slow = (("link", first), ("reason", "slow"))
    assert values[("llm_link_failures_total", slow)] == 1
    assert values[("llm_link_open", (("link", first),))] == 1


def test_an_agents_chain_is_another_one_with_the_same_engines(serving):
    one, other = serving(), serving()
    first, second = f"openai@{one.url}/small", f"openai@{other.url}/small"
    model = LanguageModel(Settings(llm_chain=f"{first}, {second}"), lambda notice: None)
    agents = model.chain_of(f"{second}, {first}")
    assert agents.links == tuple(reversed(model.chain.links))
    assert model.chain_of(f"{second}, {first}") is agents and model.chain_of("") is model.chain
    "".join(model.stream_chat(generate(chain=f"{second}, {first}")))
    assert other.requests[-1]["messages"][-1]["content"] == "alpha" and not one.requests


def test_an_agents_chain_that_cannot_be_used_is_the_servers_own(caplog):
    model = LanguageModel(Settings(llm_engine="scripted"), lambda notice: None)
    said = text(list(model.stream_chat(generate(chain="nothing/x"))))
    assert said == "You said alpha. That is 1 word."
    assert "provider 'nothing' that is not known" in caplog.text


@pytest.mark.parametrize(
    ("chain", "wrong"),
    [
        ("nothing/x", "provider 'nothing' that is not known; allowed: openai, groq"),
        ("groq", "write groq/MODEL"),
        ("groq/a?speed=3", "no option 'speed'; allowed: first_token_s, key"),
        ("groq/a?first_token_s=0", "out of range; allowed: 0.1 to 120 seconds"),
        ("groq/a?key=mine", "key 'mine', which is not known.*LLM_KEYS=mine"),
        ("embedded@http://x/v1/y", "runs in this process"),
        ("embedded?key=GROQ_API_KEY", "no option 'key'"),
        ("groq/a", "groq/a has no key; set GROQ_API_KEY"),
    ],
)
def test_what_is_wrong_with_a_chain_is_told_at_the_start(chain, wrong):
    with pytest.raises(EngineError, match=wrong):
        LanguageModel(Settings(llm_chain=chain), lambda notice: None)


def test_a_key_goes_only_where_its_name_says(serving):
    server = serving()
    own = {"llm_key": "sk-openai", "groq_api_key": "gsk", "llm_keys": "work=sk-work"}
    for chain, key in (
        (f"groq@{server.url}/small", ""),
        (f"openai@{server.url}/small", ""),
        (f"openai@{server.url}/small?key=work", "Bearer sk-work"),
        (f"openai@{server.url}/small?key=LLM_KEY", "Bearer sk-openai"),
    ):
        model = LanguageModel(Settings(llm_chain=chain, **own), lambda notice: None)
        list(model.stream_chat(generate()))
        assert server.keys[-1] == key
    assert set(Settings(**own).server_keys) == {"sk-openai", "gsk", "sk-work"}


def test_a_chain_keeps_the_promises_of_an_engine():
    chain = ChainLLM((link("a", load("llm", "scripted")), link("b", load("llm", "scripted"))))
    assert (chain.model, chain.device, chain.parallel) == ("echo", "cpu", 8)
    assert text(answer(chain)) == "You said alpha. That is 1 word."
    assert isinstance(sentences(*chain.links)[0], Sentence)
