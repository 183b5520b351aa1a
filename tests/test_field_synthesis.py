"""What is said aloud, row by row of the field's faults: texts that stopped a voice, were read
wrong, or should not be read.
"""

from __future__ import annotations

import io
import os
import queue
import wave

import httpx
import numpy as np
import odd_texts
import pytest
from client import Caller

from llm_service import Service
from whisperfusion.client import events as client_events
from whisperfusion.engines import EngineError, Thought, ToolCall
from whisperfusion.engines.guard import guarded
from whisperfusion.engines.scripted import ScriptedLLM, read_tones
from whisperfusion.errors import EngineLost, Unsayable
from whisperfusion.generation.answer import Answer, ThoughtHabit
from whisperfusion.messages import ChatMessage, Failed, Generate, PlaybackProgress, Sentence, Ticket
from whisperfusion.output.playout import Playout
from whisperfusion.settings import Settings
from whisperfusion.text.normalization import spoken
from whisperfusion.text.reply_pieces import pieces_of
from whisperfusion.text.scripts import sayable
from whisperfusion.turns import events
from whisperfusion.turns.commands import ReplyText
from whisperfusion.turns.conversation import Conversation

TEXTS = int(os.environ.get("WHISPERFUSION_TEXTS", "60"))  # of any script, for each voice


@pytest.fixture(scope="module")
def english(english_server):
    """The real processes, with a voice that has a language; the others follow scripts."""
    return english_server


@pytest.fixture(scope="module")
def http(english):
    with httpx.Client(base_url=english.http_url, timeout=60) as client:
        yield client


def speech(http: httpx.Client, text: str) -> httpx.Response:
    return http.post(
        "/v1/audio/speech", json={"model": "tts-1", "input": text, "response_format": "wav"}
    )


def seconds(answer: httpx.Response) -> float:
    assert answer.status_code == 200, answer.text
    with wave.open(io.BytesIO(answer.content)) as file:
        return len(file.readframes(10**9)) / 2 / file.getframerate()


def aloud(text: str) -> str:
    """All that is said of a text, in words."""
    parts = (spoken(piece.spoken) for piece in pieces_of(text))
    return " ".join(part for part in parts if part)


# --- A4: no text ends a voice -------------------------------------------------------------------


def test_a4_a_text_that_the_library_fails_on_is_sound_or_refused(http, english):
    before = english.pid("tts")
    assert speech(http, "₹°İ£").status_code in (200, 400)
    assert seconds(speech(http, "It goes on.")) > 0.4
    assert english.pid("tts") == before and "a bug" not in english.log


@pytest.mark.parametrize(
    "text",
    [
        "\u0130",
        "ŉ ǰ ſt",
        "﷽",
        "1" * 400,
        "\ud800x",
        "[a](/∆/)",
        "a\u0301\u0301\u0301",
        "′″‴ ℓ ℮",
        "’" * 40,
    ],
)
def test_a4_relative_odd_letters_are_sound_or_refused(hibari, text):
    for as_it_stands in (True, False):
        assert odd_texts.outcome(hibari, text, as_it_stands) in ("sound", "silence", "refused")


def test_a4_relative_any_text_in_any_script_is_sound_silence_or_refused(hibari):
    found = [
        odd_texts.outcome(hibari, text, at % 2 == 0)
        for at, text in enumerate(odd_texts.texts(TEXTS))
    ]
    assert len(found) == TEXTS and found.count("sound") > TEXTS // 10


def test_a4_relative_a_librarys_exception_ends_one_text_and_a_lost_gpu_the_process():
    for raised, expected in (
        (TypeError("x"), Unsayable),
        (KeyError("İ"), Unsayable),
        (EngineError("no"), EngineError),
        (EngineLost("gone"), EngineLost),
        (MemoryError(), MemoryError),
        (RuntimeError("CUDA error: illegal memory access"), RuntimeError),
    ):
        with pytest.raises(expected) as caught, guarded("a voice", "İ"):
            raise raised
        assert type(caught.value) is expected


# --- D1, D2: as people say it (the whole table is in test_normalization) ------------------------


def test_d1_no_is_no_and_a_number_only_before_a_number(hibari):
    assert (
        aloud("The answer is no.") == "The answer is no."
        and aloud("Take no. 5.") == "Take number five."
    )
    phonemes = hibari._voices["heart"].phonemize
    assert phonemes("The answer is no.")[0].split()[-1] == phonemes("no")[0] + "."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("555-0134", "five five five, zero one three four"),
        ("It is 2.0.1.", "It is two point zero point one."),
        ("192.168.1.10", "one ninety-two dot one sixty-eight dot one dot ten"),
        ("C# and Mbit/s", "C sharp and megabits per second"),
        ("Beverly Hills, CA 90210", "Beverly Hills, CA nine zero two one zero"),
    ],
)
def test_d2_numbers_and_names_as_people_say_them(text, expected):
    assert aloud(text) == expected


# --- D3, D4: links are short, markup is not read ------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("See https://example.com/docs/a_b#L14", "See a link to example dot com"),
        ("See <https://example.com> now.", "See a link to example dot com now."),
        ("Mail bob.smith@example.com.", "Mail bob dot smith at example dot com."),
        ("Open src/api/x.ts.", "Open source slash API slash x dot TS."),
    ],
)
def test_d3_links_and_addresses_are_short_and_intelligible(text, expected):
    assert aloud(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Look:\n```python\nfor a in b:\n    print(a)  # Yes. No.\n```\nThat is all.",
            "Look: That is all.",
        ),
        ("*chuckles* Well, hello", "Well, hello"),
        ("(sighs) I see.", "I see."),
        ("It is so[^1]. [x] Done &amp; dusted.", "It is so. Done and dusted."),
    ],
)
def test_d4_what_only_a_screen_shows_is_not_read(text, expected):
    assert aloud(text) == expected


async def test_d4_stage_directions_and_code_in_a_reply(scripted_server):
    async with Caller(scripted_server) as caller:
        await caller.send("say", text="*chuckles* well ```code``` (sighs) hello")
        await caller.answered()
        assert (
            "chuckles" not in caller.reply(1)
            and "sighs" not in caller.reply(1)
            and "```code```" in caller.reply(1)
        )
        spoken_back = read_tones(caller.audio(1), 24_000)
        assert spoken_back.startswith("you said well hello.") and "code" not in spoken_back


# --- D5: thoughts -------------------------------------------------------------------------------


class Pieces(ScriptedLLM):
    """Answers with the pieces that it is given."""

    def __init__(self, *pieces: str | ToolCall) -> None:
        super().__init__()
        self.pieces = pieces

    def stream_chat(self, history, **options):
        yield from self.pieces


def answered(pieces, model: ThoughtHabit | None = None) -> list:
    """The messages of one reply of an engine."""
    sent: list = []
    answer = Answer(Ticket("a", 1), False, model or ThoughtHabit("small"), sent.append)
    for piece in pieces:
        answer.wrote()
        answer.feed(piece)
    answer.end()
    return sent


def left(sent: list) -> str:
    begins = max((at for at, one in enumerate(sent) if one.afresh), default=0)
    return " ".join(one.text for one in sent[begins:] if one.text)


@pytest.mark.parametrize(
    "text",
    [
        "<think>The user asks. It is easy.</think>Paris.",
        "The user asks. It is easy.</think>Paris.",
        "It is a big city. It has a tower.</think>Paris.",
        "<|channel|>analysis<|message|>Hm.<|end|>"
        "<|start|>assistant<|channel|>final<|message|>Paris.",
    ],
)
def test_d5_only_the_answer_is_left_however_it_comes(text):
    for size in (1, 3, 7, len(text)):
        assert (
            left(answered([text[at : at + size] for at in range(0, len(text), size)])) == "Paris."
        )


def test_d5_a_model_that_was_seen_to_think_unannounced_is_held_from_its_first_word_on():
    habit = ThoughtHabit("small")
    assert any(
        one.afresh for one in answered("It is a big city. It has a tower.</think>Paris.", habit)
    )
    assert [
        one.text for one in answered("It is a big city. It has a tower.</think>Paris.", habit)
    ] == ["Paris."]
    # once without a thought: then not any more
    sent = answered(["Sure! ", "It is Rome, and it is old."], habit)
    assert left(sent) == "Sure! It is Rome, and it is old."
    assert (
        left(answered([Thought(), "Let me think, ", "so it is Rome."], ThoughtHabit("deepseek-r1")))
        == "Let me think, so it is Rome."
    )


def test_d5_a_thought_without_an_answer_is_told():
    service = Service(Settings(llm_engine="scripted"), queue.Queue())
    service.model.chain.links[0].engine = Pieces("<think>Hm", ", so.")
    service.worker.start()
    service.handle(Generate(Ticket("a", 1), (ChatMessage("user", "x"),)))
    found = service._outbox.get(timeout=20)
    service.worker.stop()
    assert isinstance(found, Failed) and "thought" in found.reason


async def test_d5_thoughts_reach_neither_page_nor_voice_nor_memory(scripted_server):
    async with Caller(scripted_server) as caller:
        await caller.send("say", text="<think>secret one. secret two.</think>Paris")
        await caller.answered()
        await caller.send("say", text="hidden</think>Rome")
        await caller.answered(2)
        await caller.send("say", text="recall")
        await caller.answered(3)
        shown = " ".join(caller.reply(turn) for turn in (1, 2, 3))
        assert "secret" not in shown and "hidden" not in shown and "think" not in shown
        assert "Paris" in caller.reply(3) and "Rome" in caller.reply(3)
        assert "secret" not in read_tones(caller.audio(1), 24_000) and "paris" in read_tones(
            caller.audio(1), 24_000
        )


def test_d5_what_was_told_too_early_is_taken_back():
    conversation = Conversation("a")
    conversation.receive(events.TextTyped("Where?"), 0.0)
    ticket = conversation.reply_ticket
    conversation.receive(Sentence(ticket, 0, "It is a city."), 1.0)
    conversation.receive(events.Wake(), 1.5)
    # it thinks: a sign of life
    assert conversation.receive(Sentence(ticket, 1, ""), 2.0) == []
    assert conversation.wake_at >= 32.0
    last = Sentence(ticket, 2, "Paris.", last=True, afresh=True)
    assert conversation.receive(last, 3.0) == [ReplyText(1, 2, "Paris.", True, afresh=True)]
    conversation.receive(PlaybackProgress(ticket, 2, 1.0, 1.0, last=True), 4.0)
    assert conversation.history[-1] == ChatMessage("assistant", "Paris.")


def test_d5_the_sound_of_what_is_void_is_dropped():
    playout: Playout[list[int]] = Playout(rate=100, lead_s=0.2)
    ticket = Ticket("a", 1)
    playout.put(ticket, 0, [1] * 100)
    playout.commit(ticket)
    assert sum(len(chunk.audio) for chunk in playout.release(0.0)) == 20
    playout.skip(ticket, 1)
    playout.put(ticket, 0, [1] * 50)  # it was still being made
    playout.put(ticket, 1, [2] * 10)
    playout.end(ticket, 1, True)
    rest = [
        sample for chunk in (*playout.release(0.1), *playout.release(0.5)) for sample in chunk.audio
    ]
    assert rest == [2] * 10 and playout.tally.dropped == 130
    assert playout.progress(5.0)[-1].last


# --- D6: nothing to say, and what a voice cannot say --------------------------------------------


@pytest.mark.parametrize("text", ["😀", "...", "<break/>", "```\ncode\n```", "(sighs)", "---"])
def test_d6_nothing_to_say_is_a_short_playable_silence(http, text):
    assert 0 < seconds(speech(http, text)) < 2


@pytest.mark.parametrize("text", ["今天天气很好。", "مرحبا بك", "Привет, как дела?", "שלום"])
def test_d6_a_script_that_the_voice_does_not_know_is_an_error(http, text):
    answer = speech(http, text)
    assert answer.status_code == 400 and "cannot say" in answer.json()["error"]["message"]
    assert answer.json()["error"]["code"] == "unsayable"


def test_d6_of_a_mixed_text_all_is_said_that_can_be(http):
    alone, mixed = (
        seconds(speech(http, "Good morning to you.")),
        seconds(speech(http, "Good morning 你好 to you.")),
    )
    assert abs(alone - mixed) < 0.3
    assert sayable("Hello 你好 and привет, Zoë: π", "en") == ("Hello and , Zoë:", "你好")
    assert sayable("Привет, Bob", "ru") == ("Привет, Bob", "") and sayable("你好", None) == (
        "你好",
        "",
    )


async def test_d6_in_a_reply_the_words_are_shown_and_the_caller_is_told(english):
    async with Caller(english) as caller, Caller(english) as other:
        await caller.send("say", text="你好")
        await caller.answered()
        assert "你好" in caller.reply(1) and not caller.of(client_events.Failed)
        (notice,) = caller.of(client_events.Notice)
        assert (
            "cannot say" in notice.text
            and "你好" in notice.text
            and not other.of(client_events.Notice)
        )
        assert len(caller.audio(1)) > 24_000 // 2  # "You said" and the rest


def test_d6_the_voice_of_tones_reads_texts_as_they_stand(hibari):
    assert hibari.language == "en" and spoken("It is 5. 😀", None) == "It is 5."
    assert np.concatenate(list(hibari.synthesize("Hello.", "", 1.0))).dtype == np.float32
