"""What every prompt knows besides its instructions, and which questions find more beside them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisperfusion.generation.instructions import (
    LIMIT,
    clock_line,
    date_line,
    time_of,
    with_clock,
    with_limits,
    without_notes,
    zone_of,
)
from whisperfusion.messages import ChatMessage
from whisperfusion.runtime.local_time import local_time
from whisperfusion.text.clock_questions import asks_for_clock
from whisperfusion.text.deed_requests import asks_for_deed

BERLIN = datetime(2026, 11, 29, 5, 7, tzinfo=ZoneInfo("Europe/Berlin"))
OURS = ChatMessage("system", "Be nice.")

CLOCK = """What time is it?|What day is it today?|What's the date today?|What year is it?
Is it morning or evening?|What day is tomorrow?|What was yesterday's date?|How late is it?
Could you tell me the time, please?|Is it the weekend today?|What time zone are you in?
What’s tomorrow's date?|Do you know what time it is right now?|Which month comes next?
How many days until Christmas?|Wie spät ist es?|Welcher Tag ist heute?|Quelle heure est-il ?
¿Qué hora es?|Che ore sono?|Que horas são?|Hoe laat is het?|Która jest godzina?|现在几点了|今日は何日ですか"""
NO_CLOCK = """What year did the war end?|What time does the museum open?|I had a bad day today.
What season comes after winter?|How many days are in a week?|Tell me about the time of the Romans.
Which day is Christmas?|What is your favorite season?|I will go there tomorrow.|What is time?
Have you got the time to talk?|What will we do today?|Good morning.|Give me an idea for tonight."""
DEEDS = """Turn on the lamp in the kitchen.|Could you turn the light off, please?|Play some music.
Send a message to my wife that I'll be late.|Call my mother.|Order a pizza for me.|And open the window.
Wake me up at seven tomorrow.|Please remind me to call Bob.|Put milk on my shopping list.|Take a photo.
Transfer fifty dollars to Anna.|Search the web for the news.|I'd like you to book a flight to Rome."""
NO_DEEDS = """Tell me a story about a lamp.|Play a game with me.|Can you write a poem?|Call me John.
How do I turn on the heating?|Why did they close the factory?|I will call my mother tonight.
Should I buy a car?|Can you explain how to book a flight?|I took a photo of my dog.|Set theory is hard.
Save me from boredom.|The lights are off.|I forgot to lock the door.|Let's play twenty questions.
一週間は何日ありますか?|休みは何日間ですか?"""


def each(texts: str) -> list[str]:
    return [one for line in texts.splitlines() for one in line.split("|")]


@pytest.mark.parametrize("text", each(CLOCK))
def test_questions_for_the_clock(text):
    assert asks_for_clock(text)


@pytest.mark.parametrize("text", each(NO_CLOCK) + each(DEEDS) + each(NO_DEEDS))
def test_what_names_a_time_and_asks_for_none(text):
    assert not asks_for_clock(text)


@pytest.mark.parametrize("text", each(DEEDS))
def test_requests_for_deeds(text):
    assert asks_for_deed(text)


@pytest.mark.parametrize("text", each(NO_DEEDS) + each(CLOCK) + each(NO_CLOCK))
def test_what_a_voice_can_do_by_talking(text):
    assert not asks_for_deed(text)


@given(st.text(max_size=500))
def test_any_text_can_be_asked_about(text):
    assert asks_for_clock(text) in (True, False) and asks_for_deed(text) in (True, False)


def test_the_date_follows_the_instructions_and_the_time_a_question_for_it():
    (system, user) = with_clock((OURS, ChatMessage("user", "What time is it?")), BERLIN)
    (_, other) = with_clock((OURS, ChatMessage("user", "What day is tomorrow?")), BERLIN)
    assert system.text == "Be nice. Today is Sunday 29 November 2026."
    assert user.text.startswith(
        "What time is it? (It is 5:07 in the morning, Sunday 29 November 2026,"
    )
    assert user.text.endswith("time zone CET.)") and "tomorrow Monday 30 November" in other.text


def test_all_other_prompts_stay_the_same_all_day():
    lines = (OURS, ChatMessage("user", "Hi."), ChatMessage("assistant", "Hello."))
    morning = with_clock((*lines, ChatMessage("user", "Why?")), BERLIN)
    evening = with_clock((*lines, ChatMessage("user", "Why?")), BERLIN + timedelta(hours=18))
    assert morning == evening and morning[1:] == (*lines[1:], ChatMessage("user", "Why?"))
    # of an earlier question for the time nothing is left: the cache is read again from there
    earlier = (OURS, ChatMessage("user", "What time is it?"), ChatMessage("assistant", "Five."))
    assert with_clock((*earlier, ChatMessage("user", "Why?")), BERLIN)[1:3] == earlier[1:]


def test_without_instructions_there_is_nothing_to_add():
    assert with_clock((), BERLIN) == ()
    alone = (ChatMessage("user", "Why?"),)
    assert with_clock(alone, BERLIN) == alone
    empty = (ChatMessage("system", ""), *alone)
    assert with_clock(empty, BERLIN) == empty


def test_a_request_for_a_deed_is_told_its_limits_but_not_in_a_game():
    door = ChatMessage("user", "Open the door.")
    assert with_limits((OURS, door))[-1].text == f"Open the door. {LIMIT}"
    game = ChatMessage("system", "You lead a text adventure.")
    assert with_limits((game, door)) == (game, door)
    timer = ChatMessage("user", "Set a timer for ten minutes.")
    assert LIMIT in with_limits((OURS, timer), ["time"])[-1].text
    assert with_limits((OURS, timer), ["time", "timers"]) == (OURS, timer)
    assert LIMIT in with_limits((OURS, door), ["timers", "search"])[-1].text
    assert with_limits((OURS, door), ["home"]) == (OURS, door)  # a tool of which nothing is known
    answered = (OURS, door, ChatMessage("assistant", "No."))
    assert with_limits(answered) == answered and with_limits(()) == ()


@pytest.mark.parametrize(
    ("hour", "said"),
    [
        (0, "12:07 at night"),
        (5, "5:07 in the morning"),
        (12, "12:07 in the afternoon"),
        (18, "6:07 in the evening"),
    ],
)
def test_the_time_as_it_is_said(hour, said):
    assert time_of(BERLIN.replace(hour=hour)) == said


def test_time_zones():
    assert zone_of(BERLIN) == "time zone CET"
    assert zone_of(BERLIN.astimezone(timezone.utc)) == "UTC"
    assert zone_of(BERLIN.astimezone(ZoneInfo("America/Sao_Paulo"))) == "UTC-3"
    assert zone_of(BERLIN.astimezone(ZoneInfo("Asia/Kathmandu"))) == "UTC+5:45"
    assert local_time(ZoneInfo("UTC")).utcoffset() == timedelta()
    assert local_time(None).tzinfo is not None
    assert date_line(BERLIN) in "Today is Sunday 29 November 2026." and "CET" in clock_line(BERLIN)


@pytest.mark.parametrize("text", [*CLOCK.split("|"), *DEEDS.split("|"), "It is late.", ""])
def test_the_words_of_the_user_can_be_had_without_what_stands_beside_them(text):
    history = with_clock(with_limits((OURS, ChatMessage("user", text))), BERLIN)
    assert without_notes(history[-1].text) == text
