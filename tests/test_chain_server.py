"""Chains of language models in the real processes: what a caller hears when a link is down."""

from __future__ import annotations

import os
import re
from pathlib import Path

import httpx
import pytest
from client import Caller
from fake_llm_server import FakeLLMServer
from running import SCRIPTED

from whisperfusion.client import Failed, Notice, ReplyText
from whisperfusion.engines.scripted import read_tones

OWN = [flag for flag in SCRIPTED if not flag.startswith("--llm")]
TEXT = (
    "One is one. Two are two, and three are three. Four are more than three. Five is the end of "
    "what there is to say."
)


@pytest.fixture
def serving():
    started: list[FakeLLMServer] = []

    def start(**options) -> FakeLLMServer:
        started.append(FakeLLMServer(("small",), **options))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def letters(text: str) -> str:
    return re.sub("[^a-z]", "", text.lower())


def counted(server, name: str) -> dict[str, float]:
    """The samples of a metric by the name of the link."""
    text = httpx.get(f"{server.http_url}/metrics").text
    found = re.findall(rf'whisperfusion_{name}{{[^}}]*link="([^"]+)"[^}}]*}} (\S+)', text)
    return {link: float(value) for link, value in found}


async def test_a_caller_hears_the_second_link_while_the_first_is_down(start_server, serving):
    down, sound = serving(mood="silent"), serving()
    chain = f"groq@{down.url}/v1/small?first_token_s=0.3&key=mine, openai@{sound.url}/v1/small"
    server = start_server(*OWN, f"--llm-chain={chain}", LLM_KEYS="mine=sk-not-in-any-log")
    async with Caller(server) as caller:
        for turn in (1, 2):
            await caller.send("say", text="alpha beta")
            await caller.answered(turn)
            assert caller.reply(turn) == "You said alpha beta."
            said = read_tones(caller.audio(turn), 24_000)
            assert letters(said) == "yousaidalphabeta"
        assert not caller.of(Failed)
        (told,) = [one.text for one in caller.of(Notice) if "answers instead" in one.text]
        assert "groq/small" in told and "openai/small" in told
    server.wait_for(lambda: counted(server, "llm_link_answers_total").get("openai/small") == 2)
    assert counted(server, "llm_link_failures_total")["groq/small"] >= 1
    assert counted(server, "llm_link_open")["groq/small"] == 1
    answered = [line for line in server.lines if "is answered by openai/small" in line]
    assert len(answered) == 2 and "groq/small (slow)" in answered[0]
    assert "alpha" not in server.log and "sk-not-in-any-log" not in server.log


@pytest.mark.parametrize("mood", ["halfway", "cut"])
async def test_an_answer_that_dies_is_gone_on_with_and_no_word_is_heard_twice(
    start_server, serving, mood
):
    """The second link begins anew, as many models do."""
    first = serving(mood=mood, cut_at=10, answer=lambda body: TEXT)
    second = serving(answer=lambda body: TEXT)
    chain = f"openai@{first.url}/v1/small, openai@{second.url}/v1/small"
    server = start_server(*OWN, f"--llm-chain={chain}")
    async with Caller(server) as caller:
        await caller.send("say", text="alpha")
        await caller.answered()
        assert caller.reply(1) == TEXT
        assert letters(read_tones(caller.audio(1), 24_000)) == letters(TEXT)
        assert not caller.of(Failed) and not any(one.afresh for one in caller.of(ReplyText))
    # besides, each server is asked once how it answers, at any time after the start
    before_last = [request["messages"][:-1] for request in second.requests]
    (begun,) = [said[-1] for said in before_last if said and said[-1]["role"] == "assistant"]
    assert TEXT.startswith(begun["content"])
    assert "is gone on with by" in server.log


async def test_a_chain_that_cannot_be_read_ends_the_start(start_server):
    from running import Server

    server = Server(*OWN, "--llm-chain=grok/fast")
    assert server.process.wait(timeout=60) == 1
    server.stop()
    assert "provider 'grok' that is not known; allowed: openai, groq" in server.log
    assert "Traceback" not in server.log


async def test_a_model_that_cannot_be_had_gives_way_to_a_smaller_one(
    start_server, stored, tmp_path
):
    """The hub is out of reach, and only the smallest model is there."""
    model = Path(stored("smollm2-135m", "llm")).parent
    (tmp_path / "smollm2-135m").mkdir()
    for file in model.iterdir():
        os.symlink(file, tmp_path / "smollm2-135m" / file.name)
    server = start_server(
        *OWN,
        f"--model-cache-dir={tmp_path}",
        "--model-sources=hub",
        "--llm-model=qwen2.5-coder-0.5b",
        HF_ENDPOINT="http://127.0.0.1:9",
    )
    note = server.health()[1]["stages"]["llm"]["note"]
    assert "qwen2.5-coder-0.5b" in note and "smollm2-135m answers instead" in note
    async with Caller(server, instructions="Answer in three words.") as caller:
        await caller.send("say", text="Say hello.")
        await caller.answered()
        assert caller.reply(1)
