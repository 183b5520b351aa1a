"""Durations, times of day and sums in the words of a transcript."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisperfusion.tools.builtin.calculator import calculated
from whisperfusion.tools.router.arithmetic import expression
from whisperfusion.tools.router.durations import clock_time, duration
from whisperfusion.tools.router.spoken import in_digits, lowered, request

NOW = datetime(2026, 11, 29, 15, 20)


def digits(text: str) -> str:
    return in_digits(request(lowered(text)))


# --- durations and times of day ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("five minutes", 300),
        ("half an hour to take the pizza out", 1800),
        ("one hour and fifteen minutes", 4500),
        ("1 hour 15 minutes", 4500),
        ("an hour and a half", 5400),
        ("one and a half hours", 5400),
        ("three and a half minutes", 210),
        ("three quarters of an hour", 2700),
        ("a quarter of an hour", 900),
        ("2 hours, 5 minutes and 10 seconds", 7510),
        ("a 5-minute timer", 300),
        ("2.5 minutes", 150),
    ],
)
def test_a_duration_in_words(text, seconds):
    assert duration(digits(text)).seconds == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["a couple of minutes", "an hourglass", "minutes", "5", ""])
def test_no_duration(text):
    assert duration(digits(text)) is None


@pytest.mark.parametrize(
    ("text", "hour", "minute", "days"),
    [
        ("at a quarter to six", 17, 45, 0),
        ("at five o'clock", 17, 0, 0),
        ("at 7:30 pm", 19, 30, 0),
        ("half past eight", 20, 30, 0),
        ("ten past three", 3, 10, 1),
        ("at 17:45", 17, 45, 0),
        ("at noon", 12, 0, 1),
        ("at midnight", 0, 0, 1),
        ("at 7 in the morning", 7, 0, 1),
        ("at 8 tonight", 20, 0, 0),
        ("at 9am", 9, 0, 1),
        ("at five thirty", 17, 30, 0),
        ("at 6.30", 18, 30, 0),
        ("at 3:20", 3, 20, 1),
    ],
)
def test_a_time_of_day_is_the_next_one(text, hour, minute, days):
    then = NOW.replace(day=29, hour=hour, minute=minute).timestamp() + days * 86400
    assert clock_time(digits(text), NOW).seconds == then - NOW.timestamp()


@given(st.integers(0, 23), st.integers(0, 59), st.datetimes())
def test_a_time_of_day_lies_ahead_by_a_day_at_most(hour, minute, now):
    span = clock_time(f"at {hour}:{minute:02}", now)
    assert 0 < span.seconds <= 86400


# --- sums ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("What is twenty-four times seventeen?", 408),
        ("24x17", 408),
        ("What's 12.5-3.75?", 8.75),
        ("What's 15% of 84%?", 12.6),  # as it was understood once
        ("Can you add 345 and 678?", 1023),
        ("Two to the power of ten, what's that?", 1024),
        ("What is the square root of 144?", 12),
        ("How much is a hundred and twenty divided by eight?", 15),
        ("What do you get if you take eighty-eight away from two hundred?", 112),
        ("Half of 730, what would that be?", 365),
        ("3 plus 4 times 5", 23),
        ("seven squared plus one", 50),
        ("what is the square root of 9 times 3", 9),
        ("How much is 1,250 minus 780?", 470),
        ("100 minus 15%", 85),
        ("What's the difference between 7 and 19?", 12),
        ("how much are 12 euros times 3", 36),
    ],
)
def test_a_sum_in_words(text, value):
    assert float(calculated(expression(digits(text)))) == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    ["what is 9", "nine times", "Is 5 a prime?", "How much is 7 and 8?", "I am 45 years old"],
)
def test_no_sum(text):
    assert expression(digits(text)) is None


@given(st.lists(st.integers(0, 999), min_size=2, max_size=5), st.data())
def test_every_chain_of_operators_is_read(numbers, data):
    words = {"plus": "+", "minus": "-", "times": "*"}
    text, written = str(numbers[0]), str(numbers[0])
    for number in numbers[1:]:
        word = data.draw(st.sampled_from(sorted(words)))
        text, written = f"{text} {word} {number}", f"{written} {words[word]} {number}"
    assert expression(digits(f"What is {text}?")) == written
