"""The thinking process: jobs to sentences, staleness, and the embedded model when a server
fails.
"""

from __future__ import annotations

import queue
import time
from dataclasses import replace

import pytest
from client import Caller
from engine_checks import eventually
from fake_llm_server import FakeLLMServer
from running import SCRIPTED

from llm_service import Service
from whisperfusion.engines import EngineError
from whisperfusion.engines.scripted import ScriptedLLM
from whisperfusion.generation.language_model import LanguageModel
from whisperfusion.generation.limits import BRIEF_PIECES
from whisperfusion.generation.waste import Waste
from whisperfusion.messages import (
    CallEnded,
    Cancel,
    ChatMessage,
    Failed,
    Generate,
    Metrics,
    Notice,
    Prefill,
    Sentence,
    Ticket,
)
from whisperfusion.settings import Settings
from whisperfusion.tools import NO_TOOLS


class Outbox(queue.Queue):
    def until_last(self) -> list:
        found = [self.get(timeout=40)]
        while not (isinstance(found[-1], Failed) or getattr(found[-1], "last", False)):
            found.append(self.get(timeout=40))
        return found


@pytest.fixture
def service():
    running = Service(Settings(llm_engine="scripted"), Outbox())
    running.worker.start()
    yield running
    running.worker.stop()


def ask(text: str, turn: int = 1, revision: int = 1, call: str = "a") -> Generate:
    return Generate(Ticket(call, turn, revision), (ChatMessage("user", text),))


def test_a_reply_comes_as_sentences_in_order(service):
    service.handle(Prefill(Ticket("a", 1, 0), (ChatMessage("system", "x"),)))
    service.handle(ask("alpha beta"))
    found = service._outbox.until_last()
    assert [message.index for message in found] == list(range(len(found)))
    assert (
        " ".join(message.text for message in found).strip()
        == "You said alpha beta. That is 2 words."
    )


def test_a_cancelled_reply_stops(service):
    service.handle(ask("forever"))
    assert isinstance(service._outbox.get(timeout=40), Sentence)
    service.handle(Cancel(Ticket("a", 2, 0)))
    service.handle(ask("alpha", turn=2))
    found = service._outbox.until_last()
    newer = [message for message in found if message.ticket.turn == 2]
    assert "".join(message.text for message in newer).startswith("You said alpha.")
    service.handle(ask("forever", call="b"))
    service._outbox.get(timeout=40)
    service.handle(CallEnded("b"))
    deadline = time.monotonic() + 10
    while service.worker.busy_since() is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert service.worker.busy_since() is None  # the endless reply was closed


def test_a_failure_ends_one_turn(service):
    service.handle(ask("explode"))
    (failed,) = service._outbox.until_last()
    assert failed == Failed(
        Ticket("a", 1, 1), "llm", "the scripted language model was told to fail"
    )
    service.handle(ask("alpha", turn=2))
    assert service._outbox.until_last()[-1].last


class Talker(ScriptedLLM):
    """Sentences of ten words, as many as it may write, or one that has no end."""

    def _answer(self, asked, lines):
        return (
            "no " * 300
            if "endless" in asked
            else "One two three four five six seven eight nine ten. " * 30
        )


@pytest.mark.parametrize(
    ("text", "length", "end"),
    [("alpha", BRIEF_PIECES, "ten."), ("endless", 2 * BRIEF_PIECES, "no")],
)
def test_a_brief_answer_ends_with_its_sentence_or_is_cut(service, text, length, end):
    service.model.chain.links[0].engine = Talker()
    service.handle(Generate(Ticket("a", 1), (ChatMessage("user", text),), brief=True))
    found = service._outbox.until_last()
    spoken = " ".join(message.text for message in found).split()
    assert [message.last for message in found] == [False] * (len(found) - 1) + [True]
    assert len(spoken) == length and spoken[-1] == end
    service.handle(Generate(Ticket("a", 2), (ChatMessage("user", text),)))
    assert (
        len(" ".join(message.text for message in service._outbox.until_last()).split())
        == service.model._settings.llm_max_tokens
    )


def counts(waste: Waste) -> list[float]:
    metrics = waste.metrics()
    assert metrics.name == "llm" and [name for name, _ in metrics.values] == [
        "llm_chunks_total",
        "llm_chunks_wasted_total",
    ]
    return [value for _, value in metrics.values]


def test_what_was_written_for_nothing_is_counted():
    waste = Waste()
    waste.written(10)
    waste.finished(Ticket("a", 1, 1), 10)
    waste.newer(Ticket("b", 1, 2))
    waste.newer(Ticket("a", 1, 1))
    assert counts(waste) == [10, 0]
    waste.newer(Ticket("a", 1, 2))  # the words had been guessed wrong
    waste.newer(Ticket("a", 1, 3))
    assert counts(waste) == [10, 10]
    waste.finished(Ticket("a", 1, 3), 5)
    waste.newer(Ticket("a", 2, 0))  # the turn is past
    waste.finished(Ticket("a", 2, 1), 5)
    waste.forget("a")
    waste.newer(Ticket("a", 2, 2))
    waste.finished(Ticket("c", 1, 1), 5)
    waste.forget()
    waste.newer(Ticket("c", 1, 2))
    assert counts(waste) == [10, 10]


def test_a_reply_that_is_given_up_is_waste_and_told_with_what_waits(service):
    service.handle(ask("forever"))
    assert isinstance(service._outbox.get(timeout=40), Sentence)
    service.handle(Cancel(Ticket("a", 2, 0)))
    deadline = time.monotonic() + 10
    while service.worker.busy_since() is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    service.report_metrics()
    (told,) = [message for message in service._outbox.queue if isinstance(message, Metrics)]
    values = dict(told.values)
    assert values["llm_chunks_total"] == values["llm_chunks_wasted_total"] > 0
    assert (
        values["queue_jobs"] == values["queue_oldest_job_seconds"] == 0
        and values["process_uptime_seconds"] > 0
    )


@pytest.mark.parametrize(
    ("most", "text", "cut"),
    [(None, "You said one two three. That is 3 words.", False), (4, "You said one two", True)],
)
def test_an_answer_has_its_greatest_length_and_says_that_it_reached_it(service, most, text, cut):
    service.handle(replace(ask("one two three"), max_tokens=most))
    found = service._outbox.until_last()
    assert " ".join(sentence.text for sentence in found).strip() == text and found[-1].cut is cut
    assert not any(sentence.cut for sentence in found[:-1])


def test_nobody_exceeds_the_servers_own_length():
    model = LanguageModel(Settings(llm_engine="scripted", llm_max_tokens=150), lambda notice: None)
    asked = ((None, False), (500, False), (7, False), (None, True), (7, True))
    lengths = [
        model.longest(replace(ask("x"), max_tokens=most, brief=brief)) for most, brief in asked
    ]
    assert lengths == [150, 150, 7, 2 * BRIEF_PIECES, 7]


@pytest.fixture
def broken():
    """A server that is down until it is told to work."""
    server = FakeLLMServer(
        ("small",),
        refuse=lambda body: (503, {"message": "it is down"}) if server.down else None,
    )
    server.down = True
    yield server
    server.stop()


def with_server(server: FakeLLMServer, told: list[Notice], **settings: str) -> LanguageModel:
    return LanguageModel(
        Settings(llm_engine="openai", llm_url=server.url, llm_model="small", **settings),
        told.append,
    )


def test_a_server_that_fails_is_replaced_within_the_turn_and_asked_again_later(broken):
    told: list[Notice] = []
    model = with_server(broken, told)
    server, embedded = model.chain.links
    embedded.engine = ScriptedLLM(model="embedded")
    assert "".join(model.stream_chat(ask("alpha"))) == "You said alpha. That is 1 word."
    assert len(told) == 1 and "it is down" in told[0].text and "embedded model" in told[0].text
    assert model.active is embedded.engine  # the server is left alone for a while
    broken.down = False
    server.breaker._rests_until = 0.0
    for _ in model.prefill((("system", "x"),), NO_TOOLS):
        pass
    eventually(lambda: server.usable)  # tried in a thread, so that no turn waits for it
    assert "".join(model.stream_chat(ask("alpha"))) == "You said alpha."
    assert [notice.text for notice in told[1:]] == ["openai answers again"]


def test_a_fall_back_that_cannot_be_had_ends_the_turn_and_not_the_process(broken, tmp_path):
    (tmp_path / "file").write_text("no folder")
    model = with_server(broken, [], model_cache_dir=str(tmp_path / "file"))
    with pytest.raises(EngineError, match="it is down.*embedded model cannot be had"):
        list(model.stream_chat(ask("alpha")))


def test_an_engine_of_this_process_that_fails_is_not_replaced():
    told: list[Notice] = []
    model = LanguageModel(Settings(llm_engine="scripted"), told.append)
    for _ in range(2):  # it is asked again at once: nothing else can answer
        with pytest.raises(EngineError, match="told to fail"):
            list(model.stream_chat(ask("explode")))
    assert told == [] and len(model.chain.links) == 1


async def test_an_unreachable_server_at_the_start_is_told_on_every_screen(start_server):
    scripted = [flag for flag in SCRIPTED if not flag.startswith("--llm")]
    server = start_server(
        *scripted, "--llm-engine=ollama", "--llm-url=http://127.0.0.1:9", "--llm-model=smollm2"
    )
    assert "embedded model answers instead" in server.log and "llama.cpp" in server.log
    assert "embedded model" in server.health()[1]["stages"]["llm"]["note"]
    async with Caller(server, instructions="Answer in three words.") as caller:
        told = caller.call.ready.stages["llm"]
        assert "embedded model" in told.note and told.engine == "llama.cpp"
        await caller.send("say", text="Say hello.")
        await caller.answered()
        assert caller.reply(1)
