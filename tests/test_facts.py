"""Facts about a caller: found after a call, known in the next one of the same person."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import SCRIPTED, Server
from test_agents_realtime import answer
from test_call_memory import PATIENCE_S, Call, Process, new
from test_realtime import Client
from test_summaries import Outbox, begun, service

from whisperfusion.engines.scripted import ScriptedLLM
from whisperfusion.generation.facts import (
    LONGEST_DIALOGUE,
    LONGEST_FACT,
    MOST_FACTS,
    facts_in,
    prompt_for,
)
from whisperfusion.messages import (
    CallEnded,
    ChatMessage,
    ExtractFacts,
    FactsExtracted,
    Generate,
    Summarize,
    Ticket,
)
from whisperfusion.sessions import open_store
from whisperfusion.settings import Settings
from whisperfusion.turns.history import FACTS
from whisperfusion.wire import WireError
from whisperfusion.wire.asr_handshake import parse_handshake

__all__ = ["new", "service"]  # fixtures
NAME, CAT = "My name is Anna.", "I have a cat."


def job(**fields) -> ExtractFacts:
    history = (ChatMessage("user", NAME), ChatMessage("assistant", "Hello Anna."))
    return ExtractFacts(Ticket("facts of a", 0), history, **fields)


# --- the language model's part --------------------------------------------------------------------


def test_the_prompt_has_the_call_and_what_was_known():
    instructions, asked = prompt_for(job(facts=(CAT,)))
    assert instructions.role == "system" and asked.role == "user"
    assert asked.text.index(f"- {CAT}") < asked.text.index(f"user: {NAME}")


def test_of_a_long_call_the_newest_part_is_read():
    history = (*[ChatMessage("user", "x" * 100)] * 100, ChatMessage("user", NAME))
    prompt = prompt_for(ExtractFacts(Ticket("a", 0), history))
    assert NAME in prompt[1].text and len(prompt[1].text) < LONGEST_DIALOGUE + 200


@pytest.mark.parametrize(
    ("written", "facts"),
    [
        ("- Anna lives in Rome.\n* She has a cat.", ("Anna lives in Rome.", "She has a cat.")),
        ("1. Anna.\n2) Anna.\n(3) anna.", ("Anna.",)),
        ("Here are the notes:\n- 2 children.", ("2 children.",)),
        ("NONE.", ()),
        ("\n \n-\n", ()),
    ],
)
def test_what_a_model_writes_as_facts(written, facts):
    assert facts_in(written) == facts


@given(st.text())
def test_facts_are_few_and_short(text):
    facts = facts_in(text)
    assert len(facts) <= MOST_FACTS and all(0 < len(one) <= LONGEST_FACT for one in facts)


class Noting(ScriptedLLM):
    def stream_chat(self, history, **limits):
        assert history[0][1].startswith("You keep notes")
        yield from (f"- {NAME}", f"\n- {CAT}")


def test_a_call_that_is_over_is_read_when_nothing_else_is_to_be_done(service):
    assert isinstance(service._outbox, Outbox)
    service.model.chain.links[0].engine = Noting()
    service.handle(job())
    service.handle(CallEnded("a"))  # the facts are not the call's
    begun(service)
    (found,) = service._outbox.until(FactsExtracted)
    assert found == FactsExtracted(Ticket("facts of a", 0), (NAME, CAT))


# --- the recognizer's part ------------------------------------------------------------------------


def over(process: Process, call: Call) -> list[ExtractFacts]:
    """What the language model is asked after the call."""
    call.caller.hang_up()
    process.memory.forget(call.memory)
    asked = [one for one in process.to_model if isinstance(one, ExtractFacts)]
    process.to_model.clear()
    return asked


async def with_facts(process: Process, caller: str = "anna", key: int | None = None) -> None:
    call = await process.call(caller=caller, key=key)
    call.answer(call.ask(NAME), "Hello Anna.")
    (asked,) = over(process, call)
    assert [one.text for one in asked.history] == [NAME, "Hello Anna."]
    process.memory.facts_extracted(FactsExtracted(asked.ticket, (NAME, CAT)))
    owner = call.memory.session.owner

    async def written() -> None:
        while not await asyncio.to_thread(process.store.facts, owner, caller):
            await asyncio.sleep(0.005)

    await asyncio.wait_for(written(), PATIENCE_S)


def known(call: Call) -> str:
    call.ask("And?")
    return call.of(Generate)[-1].history[0].text


async def test_the_next_call_of_the_same_person_knows_them(new):
    process = new(remember_callers=True)
    await with_facts(process)
    call = await process.call(caller="anna", instructions="Be nice.")
    assert known(call) == f"Be nice.\n\n{FACTS} {NAME} {CAT}"
    (asked,) = over(process, call)
    assert asked.facts == (NAME, CAT)  # so that they are kept where they still hold


async def test_no_other_caller_and_no_other_key_does(new):
    process = new(remember_callers=True)
    await with_facts(process, key=0)
    for other in ({"caller": "bert", "key": 0}, {"caller": "anna", "key": 1}, {"key": 0}):
        assert FACTS not in known(await process.call(**other))
    assert FACTS in known(await process.call(caller="anna", key=0))


async def test_a_resumed_call_keeps_its_caller(new):
    process = new(remember_callers=True)
    await with_facts(process)
    call = await process.call(caller="anna")
    call.answer(call.ask("alpha"), "beta")
    again = await process.call(session=call.memory.session.id)
    assert again.caller.resumed and FACTS in known(again)


@pytest.mark.parametrize(
    ("settings", "caller", "said"), [({}, "anna", NAME), ({"remember_callers": True}, "", NAME)]
)
async def test_nothing_is_looked_for_without_the_setting_and_an_identity(
    new, settings, caller, said
):
    process = new(**settings)
    call = await process.call(caller=caller)
    call.answer(call.ask(said), "Hello.")
    assert over(process, call) == []


async def test_a_call_in_which_nothing_was_said_is_not_read(new):
    process = new(remember_callers=True)
    assert over(process, await process.call(caller="anna")) == []


async def test_a_model_that_writes_nothing_deletes_nothing(new):
    process = new(remember_callers=True)
    await with_facts(process)
    call = await process.call(caller="anna")
    call.answer(call.ask("alpha"), "beta")
    (asked,) = over(process, call)
    process.memory.facts_extracted(FactsExtracted(asked.ticket, ()))
    process.memory.facts_extracted(FactsExtracted(Ticket("facts of none", 0), ("Wrong.",)))
    process.close()
    assert new().store.facts("", "anna") == (NAME, CAT)


async def test_a_summary_begins_as_the_prompts_do(new):
    process = new(remember_callers=True)
    await with_facts(process)
    call = await process.call(caller="anna")
    for _ in range(12):
        call.answer(call.ask("alpha " * 40), "beta " * 40)
    asked = call.of(Summarize)
    assert asked and asked[0].history[0] == call.of(Generate)[0].history[0]


def test_an_identity_is_printable():
    with pytest.raises(WireError, match="caller"):
        parse_handshake('{"uid": "a", "events": true, "caller": "a\\nb"}')


# --- the real processes ---------------------------------------------------------------------------


async def test_a_realtime_client_names_its_user_by_openais_header(tmp_path):
    url = f"sqlite://{tmp_path}/s.sqlite3"
    server = Server(*SCRIPTED, "--remember-callers=true", STORE_URL=url)
    store = open_store(Settings(store_url=url))

    async def written() -> None:
        while not await asyncio.to_thread(store.facts, "", "anna"):
            await asyncio.sleep(0.05)

    def client(caller: str) -> Client:
        headers = {"OpenAI-Safety-Identifier": caller}
        return Client(server, "/v1/realtime?model=m", additional_headers=headers)

    try:
        server.wait_ready()
        async with client("anna") as first:
            assert FACTS not in await answer(first, "instructions")
        await asyncio.wait_for(written(), 60)
        async with client("anna") as second:
            assert FACTS in await answer(second, "instructions")
        async with client("bert") as other:
            assert FACTS not in await answer(other, "instructions")
        async with client("a\tb") as odd:  # counts as none
            assert FACTS not in await answer(odd, "instructions")
    finally:
        server.stop()
        store.close()
