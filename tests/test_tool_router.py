"""The router that chooses tools for small models: rules by tables, the gate, the form that a model
fills in, and the loop that uses it with a scripted model.
"""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tool_models import ScriptLLM
from tool_requests import OTHERS, TOOLS, requests, verdict

from whisperfusion.engines import Progress, ToolCall
from whisperfusion.errors import EngineError
from whisperfusion.generation.routing import is_routed, route
from whisperfusion.messages import ChatMessage
from whisperfusion.tools import ServerTool
from whisperfusion.tools.builtin.calculator import calculated
from whisperfusion.tools.router import Candidates, Chosen, decide, fitting_choice, several
from whisperfusion.tools.router.gate import candidates
from whisperfusion.tools.router.selection import chosen, grammar, question

NOW = datetime(2026, 11, 29, 15, 20)
NAMES = {tool.name for tool in TOOLS}


# --- rules ---------------------------------------------------------------------------------------


def decided(text: str) -> Chosen | Candidates | None:
    return decide(text, TOOLS, NOW)


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("What time is it in New York?", "get_time", {"place": "New York"}),
        ("The date, please.", "get_time", {}),
        ("I need to know tomorrow's date.", "get_time", {}),
        ("Today is which day of the week?", "get_time", {}),
        ("Tell me what the time is in Dallas.", "get_time", {"place": "Dallas"}),
        (
            "Remind me in half an hour to call my mother.",
            "set_timer",
            {"minutes": 30, "say": "It is time to call your mother."},
        ),
        (
            "Remind me to call my mother in half an hour, please.",
            "set_timer",
            {"minutes": 30, "say": "It is time to call your mother."},
        ),
        ("Wake me at seven in the morning.", "set_timer", {"hours": 15, "minutes": 40}),
        ("Set 60 minutes for the oven, please.", "set_timer", {"hours": 1}),
        ("Set an alarm for 8 tomorrow.", "set_timer", {"hours": 16, "minutes": 40}),
        ("Can you wake me up at noon?", "set_timer", {"hours": 20, "minutes": 40}),
        ("I would like to set a new timer.", "set_timer", {}),
        ("Remind me to exercise.", "set_timer", {"say": "It is time to exercise."}),
        ("Please stop the pizza timer.", "cancel_timer", {"timer": "pizza"}),
        ("Cancel all timers.", "cancel_timer", {}),
        ("How long is left on my timer?", "list_timers", {}),
        (
            "Can you search the web for the opening hours of the Louvre?",
            "web_search",
            {"query": "the opening hours of the Louvre"},
        ),
        ("Look up who won the cup, please.", "web_search", {"query": "who won the cup"}),
        ("Goodbye!", "end_call", {}),
        ("That was all, thank you. Bye bye.", "end_call", {}),
        ("You can hang up now.", "end_call", {}),
    ],
)
def test_a_request_for_a_built_in_tool(text, name, arguments):
    assert decided(text) == Chosen(name, arguments)
    assert decide(text, TOOLS, NOW, language="en") == decided(text)
    # what is said of a result is English
    assert not isinstance(decide(text, TOOLS, NOW, language="es"), Chosen)


TIME_AND_TIMER = [("get_time", {}), ("set_timer", {"minutes": 5})]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("What time is it and set a timer for five minutes.", TIME_AND_TIMER),
        ("What time is it? And please set a timer for five minutes.", TIME_AND_TIMER),
        ("Set a timer for five minutes, and what time is it?", TIME_AND_TIMER[::-1]),
        (
            "What is 5 times 7 and what is 9 times 9?",
            [("calculate", {"expression": "5 * 7"}), ("calculate", {"expression": "9 * 9"})],
        ),
        ("Set a timer for one hour and thirty minutes.", []),
        ("What is the date and the time?", []),
        ("Remind me in ten minutes to buy milk and bread.", []),
        ("What time is it and who won the cup?", []),
        ("What time is it? I set a timer for five minutes yesterday.", []),
        ("Set a timer for five minutes and goodbye.", []),
        ("Set a timer and what time is it?", []),
        ("What time is it and what time is it?", []),
    ],
)
def test_two_requests_of_one_turn(text, found):
    each = several(text, TOOLS, NOW)
    assert [(one.name, one.arguments) for _, one in each] == found
    assert several(text, TOOLS, NOW, "es") == ()


def test_no_recorded_request_is_two():
    for one in [*requests("first"), *requests("held_out")]:
        assert several(one.text, TOOLS, NOW) == (), one.text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "…",
        "In French, how do I say, see you later?",
        "In French I would say it so, see you later.",
        "She said goodbye. Why?",
        "Goodbye is such a sad word.",
        "Shall we say goodbye?",
        "I set a timer yesterday and it was too loud.",
        "I saw him an hour ago.",
        "What is a timer?",
        "How does a search engine work?",
        "Why do people search the web?",
        "I have two cats and three dogs.",
        "stop talking about timers, will you, I had enough of them an hour ago",
        "Remind me what my goals are.",
        "What is the day of the dead?",
        "Tell me the time of your life.",
        "What was the date of the battle of Hastings?",
        "Today is a good day.",
        "Tomorrow I have a date.",
        "What time is my flight?",
        "Call me Tom from now on.",
        "What was the time of the dinosaurs like?",
        "and then there was a pause, " * 15 + "what time is it?",
    ],
)
def test_talk_needs_no_tool(text):
    assert decided(text) is None


def test_a_tool_that_is_not_offered_is_not_chosen():
    for one in [*requests("first"), *requests("held_out")]:
        for tool in (*TOOLS, None):
            found = decide(one.text, () if tool is None else (tool,), NOW)
            assert (
                found is None
                or tool is not None
                and (
                    found == Candidates((tool,))
                    or isinstance(found, Chosen)
                    and found.name == tool.name
                )
            )


@given(st.text())
@example("at 99:99 remind me")
@example("remind me in 0 seconds")
@example("set a timer for 99999999 hours")
def test_any_text_has_a_decision(text):
    found = decided(text)
    assert found is None or isinstance(found, (Chosen, Candidates))


WORDS = sorted({word for one in requests("first") for word in one.text.split()})


@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join))
def test_any_words_have_a_decision_that_its_tool_takes(text):
    found = decided(text)
    if isinstance(found, Chosen) and found.name == "calculate":
        calculated(found.arguments["expression"].replace("/ 0", "/ 1"))
    elif isinstance(found, Chosen) and found.name == "set_timer":
        sizes = {"hours": 3600, "minutes": 60, "seconds": 1}
        assert (
            1 <= sum(sizes.get(k, 0) * v for k, v in found.arguments.items() if k != "say") <= 86400
        )


# what the rules and the gate decide of the recorded requests, in all voices: the model chooses
# among candidates (bench/tool_requests.py measures that)
LEAST = {"first": 175, "held_out": 155}


@pytest.mark.parametrize("name", sorted(LEAST))
def test_spoken_requests_are_seen_and_talk_is_not(name):
    seen, unneeded = 0, []
    for one in requests(name):
        for heard in one.heard.values():
            found = decided(heard)
            if isinstance(found, Candidates):
                seen += one.tool in {tool.name for tool in found.tools} or one.tool is None
                continue
            call = found and ToolCall("", found.name, json.dumps(found.arguments))
            right = verdict(one, heard, call or None) == "right"
            seen += right
            if one.tool is None and not right:
                unneeded.append(heard)
    assert unneeded == []
    assert seen >= LEAST[name]


# --- the gate ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Turn on the light in the kitchen.", ["set_light"]),
        ("It's too dark in here, can you do something?", ["set_light"]),
        ("I'd like to hear the Beatles.", ["play_music"]),
        ("We're out of butter, so write that on the shopping list.", ["add_to_list"]),
        ("Why do people like music so much?", []),
        ("I left the light on in the kitchen yesterday.", []),
        ("Tell me a story about a lamp.", []),
        ("How do light bulbs work?", []),
        ("My sister plays music in a band.", []),
    ],
)
def test_the_gate(text, names):
    assert [tool.name for tool in candidates(text, OTHERS)] == names


def test_a_tool_that_reads_may_be_asked_a_question():
    def tool(name: str, description: str) -> ServerTool:
        return ServerTool(name, description, {"type": "object"}, "x")

    reads = tool("getOpenTickets", "Lists the open tickets of the user.")
    acts = tool("close_ticket", "Closes a ticket.")
    assert candidates("Which tickets are open?", [reads, acts]) == (reads,)
    assert candidates("Close the ticket of Anna.", [reads, acts])[0] is acts


# --- the form that a model fills in --------------------------------------------------------------


def test_the_form_is_put_behind_what_never_changes():
    first, second = question("Play Mozart.", OTHERS), question("Lights off.", OTHERS[:1])
    assert first[:-1] == second[:-1] and first[-1][0] == "user"
    assert "set_light(room: string, on: boolean)" in second[-1][1]
    assert 'list: "shopping" or "todo"' in first[-1][1]
    assert "play_music" not in second[-1][1]


def test_the_grammar_allows_the_tools_and_nothing():
    names = [one["properties"]["function"]["const"] for one in grammar(OTHERS)["anyOf"]]
    assert names == ["set_light", "play_music", "add_to_list", "none"]


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "{",
        "[]",
        "null",
        '{"function": "none"}',
        '{"function": "rm", "arguments": {}}',
        '{"function": "set_light", "arguments": []}',
        '{"function": "set_light", "arguments": {"room": "kit',
    ],
)
def test_half_an_answer_chooses_nothing(answer):
    assert chosen(answer, OTHERS) is None


def test_a_sum_that_a_model_found_has_the_users_numbers():
    text = "Split a bill of 96 euros among four people. How much does each one pay?"
    among = decided(text)
    assert isinstance(among, Candidates) and [tool.name for tool in among.tools] == ["calculate"]

    def answer(expression: str) -> str:
        return json.dumps({"function": "calculate", "arguments": {"expression": expression}})

    assert fitting_choice(answer("96 / 4"), text, among, NOW) == Chosen(
        "calculate", {"expression": "96 / 4"}
    )
    assert fitting_choice(answer("96 / 5"), text, among, NOW) is None
    assert fitting_choice(answer("96"), text, among, NOW) is None


# --- asking a model ------------------------------------------------------------------------------


class SmallLLM(ScriptLLM):
    """`forms` are its answers to forms, an exception among them is raised."""

    small = True

    def __init__(self, *script, forms=()) -> None:
        super().__init__(*script)
        self.forms, self.asked = list(forms), []

    def stream_json(self, history, schema, *, max_tokens):
        self.asked.append(history)
        form = self.forms.pop(0)
        yield Progress()
        if isinstance(form, Exception):
            raise form
        yield from form


def routed(text: str, llm) -> ToolCall | None:
    asked = route((ChatMessage("user", text),), TOOLS, llm, NOW)
    while True:
        try:
            assert next(asked) == ""
        except StopIteration as ended:
            return ended.value[0][1] if ended.value else None


def test_only_small_models_are_routed():
    assert is_routed(SmallLLM()) and not is_routed(ScriptLLM())
    large = SmallLLM()
    large.small = False
    assert not is_routed(large)


def test_the_model_chooses_what_rules_cannot():
    form = json.dumps({"function": "play_music", "arguments": {"artist": "Mozart"}})
    llm = SmallLLM(forms=[form])
    call = routed("Play some Mozart.", llm)
    assert (call.name, json.loads(call.arguments)) == ("play_music", {"artist": "Mozart"})


@pytest.mark.parametrize("form", ['{"function": "none"}', "{", EngineError("busy")])
def test_a_model_that_chooses_nothing_runs_nothing(form):
    assert routed("Play some Mozart.", SmallLLM(forms=[form])) is None


def test_what_needs_no_model_asks_none():
    llm = SmallLLM()
    assert routed("What time is it?", llm).name == "get_time"
    assert routed("How are you today?", llm) is None
    assert llm.asked == []


def test_only_the_newest_words_of_the_user_are_routed():
    history = (
        ChatMessage("user", "What time is it?"),
        ChatMessage("assistant", "What time is it?"),
    )
    with pytest.raises(StopIteration) as ended:
        next(route(history, TOOLS, SmallLLM(), NOW))
    assert ended.value.value == []
