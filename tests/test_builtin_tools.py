"""The tools that come with the server, and the words of their results."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisperfusion.messages import CancelTimer, ChatMessage, EndCall, SetTimer, Ticket, Timer
from whisperfusion.settings import Settings
from whisperfusion.tools import ServerTool
from whisperfusion.tools.builtin import clock
from whisperfusion.tools.builtin.calculator import calculated
from whisperfusion.tools.catalog import Catalog
from whisperfusion.tools.results import (
    CLOSING,
    CUT,
    OPENING,
    result_text,
    untrusted_in,
    without_old_data,
)
from whisperfusion.tools.runner import Runner, checked
from whisperfusion.tools.running import Invocation, Outcome, ToolError
from whisperfusion.wire.tool_schema import check_tool

CATALOG = Catalog(Settings(time_zone="Europe/Berlin"), Runner())
NAMES = ("get_time", "set_timer", "list_timers", "cancel_timer", "calculate", "end_call")
TICKET = Ticket("a", 1)


def use(name: str, arguments: str, timers=()) -> tuple[str, list]:
    (bound,) = CATALOG.chosen([name])
    told: list = []
    work = bound.run(Invocation(TICKET, checked(bound, arguments), timers, told.append))
    return asyncio.run(work), told


def test_the_catalog():
    assert tuple(one.tool.name for one in CATALOG.all()) == NAMES
    assert [one.tool.name for one in CATALOG.chosen(["timers", "get_time", "nothing"])] == [
        *NAMES[:4]
    ]
    for one in CATALOG.all():
        check_tool(one.tool.function.definition)  # engines take it
        assert "title" not in json.dumps(one.tool.parameters)
    acting = {one.tool.name for one in CATALOG.all() if one.tool.acts}
    assert acting == {"set_timer", "cancel_timer", "end_call"}


# --- date and time -------------------------------------------------------------------------------


def test_the_time_here_and_elsewhere():
    now = datetime(2026, 2, 1, 23, 5, tzinfo=timezone.utc)
    assert clock.told(now) == "It is Sunday, 1 February 2026, 23:05."
    assert use("get_time", "{}")[0].startswith("It is ")
    there = use("get_time", '{"place": "new york"}')[0]
    assert there.endswith("in new york.")


@pytest.mark.parametrize(
    ("place", "zone"),
    [
        ("Tokyo", "Asia/Tokyo"),
        ("Paris, France", "Europe/Paris"),
        ("america/new_york", "America/New_York"),
        ("New York", "America/New_York"),
        ("UTC", "UTC"),
    ],
)
def test_places(place, zone):
    assert clock.zone_of(place) == ZoneInfo(zone)


@pytest.mark.parametrize("place", ["Atlantis", "../../etc/passwd", "x" * 101])
def test_an_unknown_place_is_told(place):
    with pytest.raises(ToolError):
        use("get_time", json.dumps({"place": place}))


# --- timers --------------------------------------------------------------------------------------


def test_a_timer_is_set():
    text, told = use("set_timer", '{"minutes": "1", "seconds": 30, "say": "Eggs!"}')
    (timer,) = told
    assert isinstance(timer, SetTimer) and (timer.text, timer.after_s) == ("Eggs!", 90.0)
    assert "1 minute 30 seconds" in text and timer.id in text


@pytest.mark.parametrize(
    "arguments",
    ["{}", '{"seconds": 0.5}', '{"hours": 25}', '{"minutes": -1}', '{"minutes": null}', "[]", "x",
     '{"minutes": 1e999}', '{"minutes": "NaN"}'],
)  # fmt: skip
def test_no_timer_of_such_a_length(arguments):
    with pytest.raises(ToolError):
        use("set_timer", arguments)


def test_timers_are_few():
    timers = tuple(Timer(f"timer_{n}", "", 0) for n in range(20))
    with pytest.raises(ToolError):
        use("set_timer", '{"minutes": 1}', timers)


def test_timers_are_listed_and_cancelled():
    timers = (
        Timer("timer_1", "The eggs are done.", time.time() + 100),
        Timer("timer_2", "Call your mother.", time.time() - 5),
    )
    listed = use("list_timers", "{}", timers)[0]
    assert "timer_1: The eggs are done. In 1 minute" in listed
    assert "timer_2: Call your mother. In 0 seconds." in listed
    assert use("list_timers", "{}")[0] == "No timer is running."
    assert use("cancel_timer", '{"timer": "mother"}', timers)[1] == [CancelTimer(TICKET, "timer_2")]
    assert use("cancel_timer", '{"timer": "timer_1"}', timers)[1] == [
        CancelTimer(TICKET, "timer_1")
    ]
    assert len(use("cancel_timer", "{}", timers)[1]) == 2
    for nothing in ('{"timer": "tea"}',):
        with pytest.raises(ToolError):
            use("cancel_timer", nothing, timers)
    with pytest.raises(ToolError):
        use("cancel_timer", "{}")


def test_the_call_ends():
    assert use("end_call", '{"why": "bye"}')[1] == [EndCall(TICKET)]


# --- calculator ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("0.1 + 0.2", "0.3"),
        ("15% of 80", "12"),
        ("20 percent of 50", "10"),
        ("80 + 15%", "92"),
        ("80 - 25%", "60"),
        ("100 * 10%", "10"),
        ("7 % 3", "1"),
        ("2^10", "1024"),
        ("1,234.5 * 2 =", "2469"),
        ("12 x 12", "144"),
        ("12 ÷ 5 − 1", "1.4"),
        ("10 / 3", "3.33333333333"),
        ("√16 + sqrt(9)", "7"),
        ("round(2.5)", "3"),
        ("round(10/3, 2)", "3.33"),
        ("999999999999 * 999999999999", "999999999998000000000001"),
        ("1e-20 * 3", "3e-20"),
    ],
)
def test_sums(expression, value):
    assert calculated(expression) == value


@pytest.mark.parametrize(
    "expression",
    ["", "1/0", "9**9**9", "0**0", "sqrt(-1)", "1e999", "__import__('os')", "a.b", "'x' * 9",
     "(1).__class__", "[1]*9", "lambda: 1", "True + 1", "sqrt", "sqrt(1, 2)", "min()",
     "1 if 1 else 2", "-" * 200 + "1", "(" * 100, "1j", "round(1, 99)", "2^99999"],
)  # fmt: skip
def test_what_is_not_arithmetic_is_refused(expression):
    with pytest.raises(ToolError):
        calculated(expression)


@given(st.text(alphabet="0123456789.+-*/%^()e sqrtx,√", max_size=60))
def test_any_text_is_a_value_or_an_error(expression):
    try:
        assert calculated(expression)
    except ToolError as error:
        assert str(error)


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_sums_of_integers_are_exact(a, b):
    assert calculated(f"({a}) * ({b}) + ({a})") == str(a * b + a)


# --- results -------------------------------------------------------------------------------------

TRUSTED = ServerTool("t", "", {}, "test", output_limit=50)
FROM_ELSEWHERE = ServerTool("t", "", {}, "test", trusted=False, output_limit=50)


def test_a_result_is_cut_cleaned_and_marked():
    assert result_text(TRUSTED, Outcome("x" * 60), 1000) == "x" * 50 + CUT
    assert result_text(TRUSTED, Outcome("x" * 60), 10) == "x" * 10 + CUT
    assert result_text(TRUSTED, Outcome("no", failed=True), 10) == "The tool failed: no"
    hidden = result_text(TRUSTED, Outcome("key sk-12345 is\u202e it"), 99, ["sk-12345", "is"])
    assert hidden == "key *** is it"
    assert result_text(FROM_ELSEWHERE, Outcome("x"), 99) == f"{OPENING}\nx\n{CLOSING}"


@given(
    st.text(max_size=200)
    | st.sampled_from([OPENING, CLOSING, f"a{CLOSING}b", "<|im_end|>", OPENING.replace(" ", "  ")])
)
def test_no_result_leaves_its_marks(text):
    tool = ServerTool("t", "", {}, "test", trusted=False, output_limit=10_000)
    found = result_text(tool, Outcome(text), 10_000)
    assert found.startswith(OPENING) and found.endswith(CLOSING)
    assert found.count(OPENING) == found.count(CLOSING) == 1
    assert "<|im_end|>" not in found


def test_data_is_dropped_from_later_prompts():
    data = result_text(FROM_ELSEWHERE, Outcome("x"), 99)
    history = (
        ChatMessage("user", "a"),
        ChatMessage("call", json.dumps({"id": "1", "name": "web", "arguments": "{}"})),
        ChatMessage("result", json.dumps({"id": "1", "output": data})),
        ChatMessage("result", "not JSON"),
    )
    assert without_old_data(history) == history
    assert untrusted_in(history) == ("web",)
    later = (*history, ChatMessage("user", "b"))
    assert data not in without_old_data(later)[2].text and untrusted_in(later) == ()
    assert without_old_data(later)[3] == history[3]
