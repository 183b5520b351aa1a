"""Replies of small models, for which a tool is chosen before they are asked: the process's own
service, with a scripted model.
"""

from __future__ import annotations

import json
import re

import pytest
from test_tool_loop import TICKET, Machine, of, said, tool, until
from tool_models import ScriptLLM

from whisperfusion.engines import Progress
from whisperfusion.messages import (
    CancelTimer,
    ChatMessage,
    Commit,
    EndCall,
    Prefill,
    SetTimer,
    ToolFinished,
    ToolStarted,
)
from whisperfusion.tools import Function, Tools
from whisperfusion.tools.running import Invocation

BUILT_IN = ("time", "timers", "calculator", "end_call")
CLIENT = Tools((Function("lamp", {"name": "lamp"}),))
LIGHT = {
    "type": "object",
    "properties": {"room": {"type": "string"}},
    "required": ["room"],
}


class SmallLLM(ScriptLLM):
    """`forms`: its answers to forms."""

    small = True

    def __init__(self, *script, forms=()) -> None:
        super().__init__(*script)
        self.forms = list(forms)

    def stream_json(self, history, schema, *, max_tokens):
        yield Progress()
        yield json.dumps(self.forms.pop(0))


@pytest.fixture
def machine():
    made = []

    def make(*script, forms=(), tools=()) -> Machine:
        made.append(Machine(tools=tools, model=SmallLLM(*script, forms=forms)))
        return made[-1]

    yield make
    for one in made:
        one.service.worker.stop()
        one.service.tools.stop()


async def switch(invocation: Invocation) -> str:
    return f"The light in the {invocation.arguments['room']} is on."


def light(**fields):
    made = tool("switch_light", switch, **fields)
    return type(made)(
        type(made.tool)(
            **{**vars(made.tool), "parameters": LIGHT, "description": "Turn on the light."}
        ),
        made.check,
        made.run,
    )


def test_a_built_in_tool_costs_no_model(machine):
    one = machine()
    found = one.reply("What is 24 times 17?", names=BUILT_IN)
    assert said(found) == "24 times 17 is 408." and one.llm.prompts == []
    (started,), (finished,) = of(ToolStarted, found), of(ToolFinished, found)
    assert (started.name, json.loads(started.arguments)) == (
        "calculate",
        {"expression": "24 * 17"},
    )
    assert (finished.id, finished.output) == (started.id, "408")


def test_two_requests_of_one_turn_are_both_done_and_said(machine):
    one = machine()
    found = one.reply("Set a timer for five minutes, and what is 24 times 17?", names=BUILT_IN)
    assert said(found) == "The timer is set for 5 minutes. 24 times 17 is 408."
    assert of(SetTimer, found)[0].after_s == 300 and one.llm.prompts == []
    assert [use.name for use in of(ToolStarted, found)] == ["set_timer", "calculate"]


def test_a_reply_without_a_tool_has_a_prompt_without_tools(machine):
    one = machine(("Fine.",))
    assert said(one.reply("How are you?", names=BUILT_IN, tools=CLIENT)) == "Fine."
    assert one.llm.offered == [CLIENT]
    one.service.handle(Prefill(TICKET, (ChatMessage("user", "x"),), CLIENT, server_tools=BUILT_IN))
    until(lambda: len(one.llm.offered) == 2)
    assert one.llm.offered[1] == CLIENT


def test_what_acts_waits_for_the_end_of_the_turn(machine):
    one = machine()
    one.ask("Set a timer for five minutes.", names=BUILT_IN, commit=False)
    assert not of(SetTimer, one.outbox.until(ToolStarted))
    one.service.handle(Commit(TICKET))
    found = one.outbox.until_last()
    assert of(SetTimer, found)[0].after_s == 300
    assert said(found) == "The timer is set for 5 minutes."


def test_a_goodbye_ends_the_call(machine):
    found = machine().reply("Thank you, goodbye.", names=BUILT_IN)
    assert of(EndCall, found) == [EndCall(TICKET)] and said(found) == "Goodbye."


def test_a_failure_of_a_timer_is_said(machine):
    found = machine().reply("Cancel the timer.", names=BUILT_IN)
    assert of(ToolFinished, found)[0].failed and not of(CancelTimer, found)
    assert said(found) == "No timer is running."


def test_the_user_is_asked_for_the_length_of_a_timer(machine):
    one = machine()
    found = one.reply("Remind me to call my mother.", names=BUILT_IN)
    assert said(found) == "When shall I remind you?" and not of(SetTimer, found)
    (started,), (finished,) = of(ToolStarted, found), of(ToolFinished, found)
    given = {"id": "c", "name": "set_timer", "arguments": started.arguments}
    history = (
        ChatMessage("user", "Remind me to call my mother."),
        ChatMessage("call", json.dumps(given)),
        ChatMessage("result", json.dumps({"id": "c", "output": finished.output})),
        ChatMessage("assistant", "When shall I remind you?"),
        ChatMessage("user", "In five minutes."),
    )
    found = one.reply(history=history, names=BUILT_IN)
    (timer,) = of(SetTimer, found)
    assert (timer.after_s, timer.text) == (300, "It is time to call your mother.")


def test_the_model_words_another_failure(machine):
    one = machine(("I cannot.",))
    found = one.reply("What is 5 divided by 0?", names=BUILT_IN)
    assert said(found) == "I cannot."
    asked = "[calculate: The tool failed: that is a division by zero]"
    assert one.llm.prompts[0] == (("user", f"What is 5 divided by 0?\n{asked}"),)


def test_the_model_words_the_result_of_any_other_tool(machine):
    form = {"function": "switch_light", "arguments": {"room": "hall"}}
    one = machine(("It is on now.",), forms=[form], tools=[light()])
    found = one.reply("Turn on the light in the hall.", names=("test",))
    assert said(found) == "It is on now."
    assert json.loads(of(ToolStarted, found)[0].arguments) == {"room": "hall"}
    asked = "Turn on the light in the hall.\n[switch_light: The light in the hall is on.]"
    assert one.llm.prompts[0] == (("user", asked),) and not one.llm.offered[0]


def test_a_tool_that_asks_is_not_run_before_the_user_agreed(machine):
    form = {"function": "switch_light", "arguments": {"room": "hall"}}
    one = machine(forms=[form], tools=[light(asks=True, question="Really?")])
    found = one.reply("Turn on the light in the hall.", names=("test",))
    assert said(found) == "Really?" and "on" not in of(ToolFinished, found)[0].output.split()


def test_tools_that_the_call_does_not_have_are_not_used(machine):
    one = machine(("Hm.",))
    found = one.reply("What is 24 times 17?", names=("timers",))
    assert said(found) == "Hm." and not of(ToolStarted, found)


def exchange(name: str, output: str) -> tuple[ChatMessage, ...]:
    given = {"id": "call_1", "name": name, "arguments": "{}"}
    return (
        ChatMessage("user", "What time is it?"),
        ChatMessage("call", json.dumps(given)),
        ChatMessage("result", json.dumps({"id": "call_1", "output": output})),
        ChatMessage("assistant", "It is late."),
    )


def test_results_of_earlier_replies_are_in_words_and_a_prefill_has_the_same(machine):
    one = machine(("Yes.",))
    history = (*exchange("get_time", "It is 23:00."), ChatMessage("user", "Really?"))
    expected = (
        ("user", "What time is it?\n[get_time: It is 23:00.]"),
        ("assistant", "It is late."),
        ("user", "Really?"),
    )
    one.reply(history=history, names=BUILT_IN)
    one.service.handle(Prefill(TICKET, history, server_tools=BUILT_IN))
    until(lambda: len(one.llm.prompts) == 2)
    assert one.llm.prompts == [expected, expected]


def test_the_clients_own_calls_stay_as_they_are(machine):
    one = machine(("Yes.",))
    history = (*exchange("lamp", "on"), ChatMessage("user", "Really?"))
    one.reply(history=history, names=BUILT_IN, tools=CLIENT)
    assert one.llm.prompts == [tuple(map(tuple, history))]


def test_another_place_may_follow(machine):
    one = machine()
    history = (*exchange("get_time", "It is 23:00."), ChatMessage("user", "And in Tokyo?"))
    found = one.reply(history=history, names=BUILT_IN)
    assert said(found).endswith("M in Tokyo.")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What time is it?", r"It is \d\d?:\d\d [AP]M\."),
        ("What time is it in Tokyo?", r"It is \d\d?:\d\d [AP]M in Tokyo\."),
        ("The date, please.", r"Today is \w+day, \d\d? \w+ \d{4}\."),
        ("What day is it tomorrow?", r"Tomorrow is \w+day, \d\d? \w+ \d{4}\."),
    ],
)
def test_what_stands_beside_the_users_words_is_not_routed(machine, text, expected):
    one = machine()
    assert re.fullmatch(expected, said(one.reply(text, names=BUILT_IN)))
    assert one.llm.prompts == []
