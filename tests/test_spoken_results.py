"""What is said of the results of built-in tools, without a model."""

from __future__ import annotations

import pytest

from whisperfusion.tools.router.spoken_results import spoken_failure, spoken_result

HERE = "It is Sunday, 29 November 2026, 15:20."
IN_TOKYO = "It is Monday, 30 November 2026, 00:05 in Tokyo."


@pytest.mark.parametrize(
    ("name", "arguments", "output", "asked", "said"),
    [
        ("get_time", {}, HERE, "What time is it?", "It is 3:20 PM."),
        ("get_time", {}, IN_TOKYO, "What time is it in Tokyo?", "It is 12:05 AM in Tokyo."),
        ("get_time", {}, IN_TOKYO, "What day is it?", "Today is Monday, 30 November 2026."),
        ("get_time", {}, HERE, "The day in 5 days?", "In 5 days it is Friday, 4 December 2026."),
        ("get_time", {}, IN_TOKYO, "What's tomorrow?", "Tomorrow is Tuesday, 1 December 2026."),
        ("get_time", {}, "the time zone of X is not known", "What time is it in X?", None),
        ("calculate", {"expression": "24 * 17"}, "408", "", "24 times 17 is 408."),
        ("calculate", {"expression": "sqrt(144)"}, "12", "", "The square root of 144 is 12."),
        ("calculate", {"expression": "15% of 84"}, "12.6", "", "15% of 84 is 12.6."),
        ("calculate", {"expression": "1 / 3"}, "0.33333333", "", "1 divided by 3 is about 0.3333."),
        ("calculate", {"expression": "abs(7 - 19)"}, "12", "", "That is 12."),
        ("set_timer", {"minutes": 5}, "", "", "The timer is set for 5 minutes."),
        (
            "set_timer",
            {"hours": 1, "minutes": 1.5},
            "",
            "",
            "The timer is set for 1 hour and 1.5 minutes.",
        ),
        (
            "set_timer",
            {"hours": 2, "say": "It is time to call your mother."},
            "",
            "",
            "I will remind you in 2 hours to call your mother.",
        ),
        ("list_timers", {}, "No timer is running.", "", "No timer is running."),
        (
            "list_timers",
            {},
            "timer_a1: Your timer is over. In 1 minute 5 seconds.",
            "",
            "One timer is running, with 1 minute 5 seconds left.",
        ),
        (
            "list_timers",
            {},
            "timer_a1: Your timer is over. In 1 hour.\ntimer_b2: It is time to eat. In 5 minutes.",
            "",
            "2 timers are running: 1 hour left; 5 minutes left to eat.",
        ),
        ("cancel_timer", {}, "1 timer cancelled.", "", "The timer is cancelled."),
        ("cancel_timer", {}, "2 timers cancelled.", "", "2 timers are cancelled."),
        ("end_call", {}, "anything", "", "Goodbye."),
        ("web_search", {}, "anything", "", None),
    ],
)  # fmt: skip
def test_a_result_in_words(name, arguments, output, asked, said):
    assert spoken_result(name, arguments, output, asked) == said


@pytest.mark.parametrize(
    ("name", "arguments", "output", "said"),
    [
        ("set_timer", {}, "ask the user for how long", "For how long?"),
        ("set_timer", {"say": "It is time to eat."}, "", "When shall I remind you?"),
        ("set_timer", {"minutes": 5}, "20 timers are running already", None),
        ("cancel_timer", {}, "The tool failed: no timer is running", "No timer is running."),
        ("cancel_timer", {"timer": "tea"}, "The tool failed: no such timer; those", None),
        (
            "get_time",
            {"place": "Ys"},
            "The tool failed: the time zone of 'Ys' is not known; give",
            "I do not know the time zone of Ys.",
        ),
        ("calculate", {}, "The tool failed: that has no value", None),
    ],
)
def test_a_failure_in_words(name, arguments, output, said):
    assert spoken_failure(name, arguments, output) == said
