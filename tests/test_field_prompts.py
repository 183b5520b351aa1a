"""Prompts that fill the language model, and those who ask something short beside them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from engine_checks import eventually

from llm_service import Service
from whisperfusion.engines.llama.slots import Slots
from whisperfusion.engines.prompts import shortened
from whisperfusion.engines.scripted import ScriptedLLM
from whisperfusion.errors import Refused
from whisperfusion.messages import ChatMessage, Generate, Prefill, Ticket
from whisperfusion.runtime.failure_streak import IN_A_ROW
from whisperfusion.runtime.worker import Worker
from whisperfusion.settings import Settings
from whisperfusion.tools import NO_TOOLS

DIGITS = [
    ("system", "Be kind."),
    ("user", "7391 " * 340),
]  # 1,700 tokens, which take seconds to read
SHORT = [("user", "What is the capital of France?")]


@pytest.fixture
def idle(llama) -> Iterator[Any]:
    """The model; when the test is over, nothing of it is at work any more."""
    yield llama
    eventually(lambda: not any(slot.busy for slot in llama._slots._slots))


def reading(llama: Any, start: int) -> Iterator[str]:
    """A reply whose long prompt is being read; each `start` is another one."""
    pieces = llama.stream_chat(
        [("system", f"Be number {start}."), *DIGITS[1:]], max_tokens=40, temperature=0.0
    )
    assert next(pieces) == ""
    eventually(lambda: any(one.long for one in llama._pace._beginning))
    return pieces


def test_a5_relative_a_short_question_does_not_wait_until_a_long_prompt_is_read(idle):
    long = reading(idle, 1)
    assert "Paris" in "".join(idle.stream_chat(SHORT, max_tokens=24, temperature=0.0))
    assert [one.pieces for one in idle._pace._beginning if one.long] == [
        0
    ]  # it is still being read
    long.close()


def test_a5_relative_what_is_read_ahead_gives_way_to_a_question_and_stops_when_nobody_wants_it(
    idle,
):
    for turn in (1, 2):
        lines = [("system", f"You are number {turn}."), *DIGITS[1:]]
        pieces = idle.prefill(lines)
        assert next(pieces) == ""
        if turn == 1:
            asked = idle._pace.start()
            assert not any(pieces)  # it ends
            asked.end()
        pieces.close()
        eventually(lambda: not any(slot.busy for slot in idle._slots._slots))
        assert not idle._slots.known(idle._fitting.fit((*lines, ("user", "")), NO_TOOLS, 1900))


def test_a5_relative_nothing_is_read_ahead_while_replies_go_on_beginning(idle):
    lines = [("system", "You are number 3."), ("user", "Which birds fly over the sea at night?")]
    asked = idle._pace.start()
    assert not any(idle.prefill(lines))  # it ends, and leaves its thread to replies
    assert not idle._slots.known(idle._fitting.fit((*lines, ("user", "")), NO_TOOLS, 1900))
    asked.end()


def test_a5_relative_of_a_history_as_long_as_the_doors_allow_only_the_end_is_read(idle):
    history = [
        ("user" if n % 2 else "assistant", chr(0x4E00 + n) + "龍" * 7_999) for n in range(200)
    ]
    lines = [("system", "你是一個友善的助手。" * 800), *history, ("user", "How are you?")]
    before = idle._tokens._looked.cache_info().misses
    kept = idle._fitting.fit(lines, NO_TOOLS, 1900)
    assert idle._tokens._looked.cache_info().misses - before < 30
    assert kept[-1] == lines[-1] and idle._fitting.tokens(kept) <= 1900
    assert (
        kept[0][1].startswith("你是一個") and len(kept[0][1]) > 500
    )  # what fits of instructions without spaces


def test_a5_relative_instructions_are_cut_between_words_where_there_are_any():
    by_characters = lambda lines: [*(len(text) for _, text in lines), 0]  # noqa: E731
    for text, short in (
        ("be kind and patient", "be kind"),
        ("友" * 90, "友" * 50),
        ("友 " + "善" * 90, "友 " + "善" * 48),
        ("x" * 30, ""),
    ):
        room = 10 if text.isascii() else 50
        assert shortened([("system", text)], room, by_characters) == (
            [("system", short)] if short else []
        )


def test_a5_relative_more_long_prompts_than_can_wait_are_refused_and_short_ones_served(
    idle, monkeypatch
):
    monkeypatch.setattr(idle, "_line", [object()] * idle._most_waiting)
    with pytest.raises(Refused, match="too many callers with long dialogues"):
        next(idle.stream_chat(DIGITS, max_tokens=40, temperature=0.0))
    assert any(idle.stream_chat(SHORT, max_tokens=4, temperature=0.0))


def test_a5_relative_prompts_that_are_refused_say_nothing_about_the_engine():
    def refuse(ticket: Ticket, job: str) -> None:
        raise Refused("too long")

    told: queue.Queue[str] = queue.Queue()
    probed: list[str] = []
    worker: Worker[str] = Worker(
        "llm",
        refuse,
        failed=lambda ticket, job, error: told.put(job),
        probe=lambda: probed.append(""),
    )
    for number in range(2 * IN_A_ROW):
        worker.put(Ticket(f"call {number}", 1), "job")
    worker.start()
    assert [told.get(timeout=40) for _ in range(2 * IN_A_ROW)] == ["job"] * 2 * IN_A_ROW
    worker.stop()
    assert not probed


class Slow(ScriptedLLM):
    """Reads ahead for ever, until that is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = threading.Event()

    def prefill(self, history: Any, tools: Any = None) -> Iterator[str]:
        try:
            while True:
                yield ""
        finally:
            self.closed.set()


def test_a5_relative_a_question_does_not_wait_for_what_is_read_ahead_for_it():
    service = Service(Settings(llm_engine="scripted"), queue.Queue())
    service.model.chain.links[0].engine = engine = Slow()
    service.worker.start()
    service.handle(Prefill(Ticket("a", 1, 0), (ChatMessage("system", "x"),)))
    eventually(lambda: service.worker.busy_since() is not None)
    service.handle(Generate(Ticket("a", 1, 1), (ChatMessage("user", "alpha"),)))
    assert service._outbox.get(timeout=40).text.startswith("You said alpha")
    assert engine.closed.is_set()
    service.worker.stop()


def test_a5_relative_a_full_memory_loses_what_was_used_longest_ago_and_nothing_at_work():
    slots = Slots(6, 1000)
    at_work = slots.acquire((("user", "one"),), 600, 0.0)
    idle = [slots.acquire((("user", f"{name} idle"),), 120, 0.0) for name in ("two", "six", "ten")]
    for slot in idle:
        slots.release(slot)
    asked = slots.acquire((("user", "what now"),), 125, 0.0)
    assert asked.evicted == idle[:1] and not at_work.evicted  # 600 + 3 x 120 + 125 > 1000
    slots.cleared(asked.evicted.pop())
    slots.release(asked)
    assert slots.acquire((("user", "at last"),), 30, 0.0).evicted == []
