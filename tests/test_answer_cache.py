"""ANSWER_CACHE: which answers are kept, and the audio of sentences that are said again."""

from __future__ import annotations

import queue
from datetime import datetime, timezone

import httpx
import numpy as np
import pytest
from client import Caller
from running import SCRIPTED

from llm_service import Service
from whisperfusion.engines import gains_of_voices
from whisperfusion.engines.scripted import ScriptedLLM, ScriptedTTS
from whisperfusion.generation.answer_cache import AnswerCache
from whisperfusion.generation.instructions import with_clock
from whisperfusion.messages import ChatMessage, Generate, Sentence, Ticket, Timer
from whisperfusion.settings import Settings
from whisperfusion.synthesis.audio_cache import AudioCache
from whisperfusion.synthesis.voice import Voice
from whisperfusion.tools import Function, Tools

OURS = "You are friendly."
PATIENCE_S = 60.0


def ask(text: str, instructions: str = OURS, before: tuple = (), turn: int = 1, **more) -> Generate:
    lines = (ChatMessage("system", instructions), *before, ChatMessage("user", text))
    now = datetime(2026, 11, 29, 12, tzinfo=timezone.utc)
    return Generate(Ticket("a", turn), with_clock(lines, now), **more)


def cache(most: int = 10) -> AnswerCache:
    return AnswerCache(most, lambda: (OURS,))


def whole(*texts: str) -> list[Sentence]:
    last = len(texts) - 1
    return [Sentence(Ticket("x", 9), i, one, last=i == last) for i, one in enumerate(texts)]


def test_the_same_words_get_the_same_answer_under_a_ticket_of_their_own():
    kept = cache()
    key = kept.key(ask("What is honey?"), "m")
    assert key is not None and kept.get(key, Ticket("b", 1)) == ()
    kept.put(key, whole("It is sweet.", "Bees make it."))
    again = kept.key(ask("what is honey"), "m")
    assert again == key
    found = kept.get(again, Ticket("b", 4, 2))
    assert [one.text for one in found] == ["It is sweet.", "Bees make it."]
    assert {one.ticket for one in found} == {Ticket("b", 4, 2)} and found[-1].last
    assert kept.metrics() == (("answer_cache_hits_total", 1.0), ("answer_cache_misses_total", 1.0))


@pytest.mark.parametrize(
    "job",
    [
        ask("What time is it?"),
        ask("What is honey?", "You are a cat."),
        ask("What is honey?", ""),
        ask("What is it?", before=(ChatMessage("user", "Honey."), ChatMessage("assistant", "Yes"))),
        ask("What is honey?", tools=Tools((Function("f", {"name": "f"}),))),
        ask("What is honey?", server_tools=("search",)),
        ask("What is honey?", timers=(Timer("t", "Tea.", 5.0),)),
        ask("What is honey?", brief=True),
        ask("...?"),
    ],
    ids="time own none history tools server-tools timers brief no-words".split(),
)
def test_an_answer_that_depends_on_more_is_never_kept(job):
    assert cache().key(job, "m") is None
    assert cache(0).key(ask("What is honey?"), "m") is None


def test_models_chains_lengths_and_days_are_apart():
    one, kept = ask("What is honey?"), cache()
    tomorrow = Generate(
        Ticket("a", 1),
        with_clock(
            (ChatMessage("system", OURS), ChatMessage("user", "What is honey?")),
            datetime(2026, 11, 30, 12, tzinfo=timezone.utc),
        ),
    )
    others = (ask("What is honey?", chain="x"), ask("What is honey?", max_tokens=5), tomorrow)
    keys = {kept.key(one, "m"), kept.key(one, "n"), *(kept.key(other, "m") for other in others)}
    assert len(keys) == 5 and None not in keys


def test_half_an_answer_is_not_kept_and_old_ones_leave():
    kept = cache(2)
    keys = [kept.key(ask(f"What is {what}?"), "m") for what in ("honey", "tea", "milk")]
    for bad in (
        [],
        whole("It is")[:0],
        [Sentence(Ticket("x", 1), 0, "It is", last=False)],
        [Sentence(Ticket("x", 1), 0, "It is", last=True, cut=True)],
        [Sentence(Ticket("x", 1), 0, "It is.", last=True, afresh=True)],
    ):
        kept.put(keys[0], bad)
        assert kept.get(keys[0], Ticket("b", 1)) == ()
    kept.put(keys[0], whole("Sweet."))
    kept.put(keys[1], whole("Hot."))
    assert kept.get(keys[0], Ticket("b", 1))
    kept.put(keys[2], whole("White."))
    assert [bool(kept.get(key, Ticket("b", 1))) for key in keys] == [True, False, True]


class Counted(ScriptedLLM):
    asked = 0

    def stream_chat(self, history, **how):
        self.asked += 1
        yield from super().stream_chat(history, **how)


def test_the_model_is_not_asked_a_second_time():
    class Outbox(queue.Queue):
        def answer(self) -> list[Sentence]:
            found = [self.get(timeout=PATIENCE_S)]
            while not getattr(found[-1], "last", False):
                found.append(self.get(timeout=PATIENCE_S))
            return [one for one in found if isinstance(one, Sentence)]

    service = Service(Settings(llm_engine="scripted", answer_cache=5, instructions=OURS), Outbox())
    service.model.chain.links[0].engine = model = Counted()
    service.worker.start()
    try:
        first, second = ask("alpha beta"), ask("Alpha, beta!", turn=2)
        told = []
        for job in (first, second):
            service.handle(job)
            told.append([one.text for one in service._outbox.answer()])
        assert told[0] == told[1] and model.asked == 1
        service.handle(ask("alpha beta gamma", turn=3))
        assert "gamma" in "".join(one.text for one in service._outbox.answer())
        assert model.asked == 2
        for turn in (4, 5):  # a tool was used: it has to be used again
            before = model.asked
            service.handle(ask("use it", turn=turn, server_tools=("calculator",)))
            service._outbox.answer()
            assert model.asked > before
        for turn in (6, 7):
            before = model.asked
            service.handle(ask("alpha", turn=turn, server_tools=("calculator",)))
            service._outbox.answer()
        assert model.asked == before
    finally:
        service.worker.stop()


class CountedVoice(ScriptedTTS):
    made = 0

    def synthesize(self, text, voice=None, speed=1.0):
        self.made += 1
        yield from super().synthesize(text, voice, speed)


def test_audio_is_kept_from_the_second_time_on_by_voice_and_speed():
    engine = CountedVoice()
    voice, kept = Voice(engine, gains_of_voices("scripted")), AudioCache(5)

    def say(text: str, name: str = "tone", speed: float = 1.0) -> np.ndarray:
        return np.concatenate(list(kept.synthesize(voice, text, name, speed)))

    first, second, third = (say("Hello there.") for _ in range(3))
    assert engine.made == 2 and np.array_equal(first, third) and np.array_equal(second, third)
    say("Hello there.", "soft"), say("Hello there.", speed=1.5)
    assert engine.made == 4
    assert kept.metrics() == (("audio_cache_hits_total", 1.0), ("audio_cache_misses_total", 4.0))


def test_half_a_sentence_is_not_kept_and_memory_has_a_bound():
    engine = CountedVoice()
    voice = Voice(engine, gains_of_voices("scripted"))
    size = sum(pcm.nbytes for pcm in voice.synthesize("Hello there."))
    kept = AudioCache(5, most_bytes=size)
    list(kept.synthesize(voice, "Hello there.", None, 1.0))
    broken_off = kept.synthesize(voice, "Hello there.", None, 1.0)
    next(broken_off)
    broken_off.close()
    made = engine.made
    for _ in range(2):
        list(kept.synthesize(voice, "Hello there.", None, 1.0))
    assert engine.made == made + 1
    for _ in range(2):
        list(kept.synthesize(voice, "Hello where.", None, 1.0))
    list(kept.synthesize(voice, "Hello there.", None, 1.0))
    assert engine.made == made + 4  # the older one had to leave
    off = AudioCache(0)
    for _ in range(3):
        list(off.synthesize(voice, "Hello there.", None, 1.0))
    assert engine.made == made + 7 and off.metrics() == ()


async def test_a_server_counts_hits_and_says_the_same(start_server):
    server = start_server(*SCRIPTED, "--answer-cache=20")
    said = []
    for _ in range(3):
        async with Caller(server) as caller:
            await caller.send("say", text="alpha beta")
            await caller.answered()
            said.append((caller.reply(1), len(caller.audio(1))))
    assert len({text for text, _ in said}) == 1 and min(size for _, size in said) > 0

    def hits(name: str) -> float:
        text = httpx.get(f"{server.http_url}/metrics", timeout=PATIENCE_S).text
        found = [line for line in text.splitlines() if line.startswith(f"whisperfusion_{name}")]
        return float(found[0].split()[-1]) if found else 0.0

    server.wait_for(lambda: hits("answer_cache_hits_total") == 2, what="to count answers")
    server.wait_for(lambda: hits("audio_cache_hits_total") >= 1, what="to count sentences")
