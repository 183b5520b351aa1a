"""A reply that begins although the user only hesitated costs nothing: the sound stops at once, the
user's words are one message, and nothing of the reply is remembered.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from room import OUR_WORD_S, SPOKEN, Utterance
from turns_driver import Turns
from world import World
from world_checks import harm_in

from whisperfusion.messages import (
    Cancel,
    ChatMessage,
    Generate,
    Pause,
    PlaybackProgress,
    Resume,
    Sentence,
    Ticket,
    ToolCalled,
)
from whisperfusion.text.segmentation import words
from whisperfusion.turns.barge_in import CUT_OFF_S
from whisperfusion.turns.commands import PlayedText, ReplyInterrupted, ReplyPlayed, UserTurnFinal
from whisperfusion.turns.endpointing import SpeechStarted
from whisperfusion.turns.events import SpeechProbability
from whisperfusion.turns.harm import FIRST_S, Harm, HarmMeter, harm_of
from whisperfusion.turns.overlap import ECHO_LAG_S, QUIET_REPLIES
from whisperfusion.turns.states import State

SECOND = 16_000
BEGUN = "tell me about the old market"
RESTS = ("tomorrow", "in rome", "and the weather in rome tomorrow")
SILENT_S = 0.12  # from the detection of speech to the last sound that a listener hears


def hesitating(seed, after, rest, **manners):
    """A person who goes on `after` seconds of the first sound of a long answer."""
    rests = [(after, Utterance(0.0, tuple(rest.split())))]
    begun = Utterance(0.5, tuple(BEGUN.split()))
    return World(seed, [begun], reactions=tuple(rests), replies=(25, 40), **manners)


def detected_at(world, utterance):
    return next(
        at
        for at, fact in world.told
        if isinstance(fact, SpeechStarted) and utterance.at < at < utterance.end + 1.0
    )


def roles(messages):
    return "".join(message.role[0] for message in messages)


@pytest.mark.parametrize("slow", [0.5, 4.0])  # the recognizer: words early, words late
@pytest.mark.parametrize("rest", RESTS)
@pytest.mark.parametrize("after", [0.0, 0.05, 0.15, 0.3, 0.6, 1.0])
def test_who_goes_on_in_the_first_moments_of_an_answer_has_said_one_thing(after, rest, slow):
    for seed in range(3):
        world = hesitating(seed, after, rest, slow=slow)
        world.run(130.0)
        world.check()
        said = world.room.script[1]
        first = world.heard[0].ticket
        heard = max(part.end for part in world.room.loudspeaker.played if part.at < said.end)
        assert heard < detected_at(world, said) + SILENT_S
        assert roles(world.conversation.history) == "ua", world.conversation.history
        asked = [words(one.history[-1].text) for one in world.facts(Generate)]
        prompts = {roles(one.history) for one in world.facts(Generate)}
        assert asked[-1] == words(f"{BEGUN} {rest}") and prompts == {"su"}
        assert words(world.conversation.history[0].text) == asked[-1]
        interrupted = [fact.turn for fact in world.facts(ReplyInterrupted)]
        assert interrupted == [first.turn]


@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(st.floats(0.0, FIRST_S), st.sampled_from(RESTS)), min_size=1, max_size=4),
    st.sampled_from((0.5, 1.0, 2.0)),
    st.sampled_from(("", "one little moment")),
)
@settings(max_examples=40)
def test_who_hesitates_again_and_again_is_answered_once(seed, rests, slow, filler):
    """Each part over the first moments of the answer to the parts before it."""
    world = World(
        seed,
        [Utterance(0.5, tuple(BEGUN.split()))],
        reactions=tuple((after, Utterance(0.0, tuple(rest.split()))) for after, rest in rests),
        replies=(25, 40),
        slow=slow,
        filler=filler,
    )
    world.run(200.0)
    world.check()
    said = [word for one in world.room.script for word in one.words]
    assert len(world.room.script) == len(rests) + 1
    assert roles(world.conversation.history) == "ua", world.conversation.history
    assert list(words(world.conversation.history[0].text)) == said
    assert world.understood() == said  # shown in parts
    for part in world.room.script[1:]:
        detected = detected_at(world, part)
        over = [one for one in world.room.loudspeaker.played if part.at < one.end < part.end + 0.01]
        assert all(one.end < detected + SILENT_S for one in over)


SHORT = ("hot soup", "and", "police dogs maybe", "my brother", "i guess", "in rome")


@given(
    st.integers(0, 2**32),
    st.floats(0.0, ECHO_LAG_S),
    st.lists(st.tuples(st.sampled_from(SHORT), st.floats(0.3, 2.5)), min_size=1, max_size=4),
    st.sampled_from((0.5, 1.0, 2.0)),
)
@settings(max_examples=100)
def test_of_few_words_with_pauses_between_them_none_is_lost(seed, after, said, slow):
    """They come where an echo would, perhaps again and again; `said`: and the pause after them."""
    parts, at = [], 0.0
    for text, pause_s in said:
        parts.append(Utterance(at, tuple(text.split())))
        at = parts[-1].end + pause_s
    begun = Utterance(0.5, tuple(BEGUN.split()))
    world = World(seed, [begun], reactions=((after, *parts),), replies=(25, 40), slow=slow)
    world.run(200.0)
    world.check()
    spoken = [word for one in world.room.script for word in one.words]
    assert len(world.room.script) == 1 + len(parts) and world.understood() == spoken
    shown = [fact.text for fact in world.facts(UserTurnFinal) if fact.text]
    kept = [line.text for line in world.conversation.history if line.role == "user"]
    assert " ".join(kept) == " ".join(shown)


@given(
    st.integers(0, 2**32),
    st.lists(st.sampled_from((0.1, 0.5, 0.9)), min_size=1, max_size=3),
)
@settings(max_examples=30)
def test_no_opening_is_heard_twice(seed, afters):
    """Once it was heard to its end, and until an answer goes on."""
    world = World(
        seed,
        [Utterance(0.5, tuple(BEGUN.split()))],
        reactions=tuple((after, Utterance(0.0, tuple(RESTS[2].split()))) for after in afters),
        replies=(25, 40),
        opening="Sure,",
    )
    world.run(200.0)
    world.check()
    wholes = [
        part
        for part in world.room.loudspeaker.played
        if part.index == 0 and part.first == 0 and part.count == round(OUR_WORD_S * SPOKEN)
    ]
    assert len(wholes) == 1
    assert roles(world.conversation.history) == "ua"


def test_an_interruption_later_on_is_a_message_of_its_own():
    world = hesitating(1, CUT_OFF_S + 0.5, RESTS[-1])
    world.run(130.0)
    world.check()
    assert roles(world.conversation.history) == "uaua"


def answered(text="Sure, I can tell you about that.", heard_s=0.6, **options):
    """A call in which `heard_s` seconds of the answer to half a question were heard."""
    turns = Turns(**options)
    turns.speech_started(SECOND, 1.0)
    turns.speech_stopped(2 * SECOND, 2.0, 2.2)
    turns.transcript("what is the weather", 3 * SECOND, 2.3)
    turns.turn_ended(True, 2.5)
    turns.receive(Sentence(turns.reply.ticket, 0, text, last=True), 2.6)
    turns.receive(PlaybackProgress(turns.reply.ticket, 0, 0.0, 3.0), 3.0)
    turns.receive(PlaybackProgress(turns.reply.ticket, 0, heard_s, 3.0), 3.0 + heard_s)
    return turns


def overlapped(turns, text, at_s=3.8):
    """Words over the answer, to their end; the commands of the last transcript."""
    turns.speech_started(round(at_s * SECOND), at_s)
    stopped = at_s + 1.0
    turns.speech_stopped(round(stopped * SECOND), stopped, stopped + 0.2)
    return turns.transcript(text, round((stopped + 1) * SECOND), stopped + 0.3)


def of(commands, kind):
    return [one for one in commands if isinstance(one, kind)]


@pytest.mark.parametrize("text", ["in the north of Italy", "no, I mean in Rome", "wait, in Rome"])
def test_the_rest_of_a_question_goes_on_with_its_message(text):
    turns = answered()
    commands = overlapped(turns, text)
    assert of(commands, ReplyInterrupted)[0].played_text == "Sure,"  # what was heard is still told
    whole = ChatMessage("user", f"what is the weather {text}")
    assert of(commands, Generate)[0].history[1:] == (whole,)
    turns.turn_ended(True, 6.0)
    assert turns.history == [whole]


@pytest.mark.parametrize("text", ["stop", "Quiet, please.", "enough of that"])
def test_stop_is_about_the_answer_and_no_rest_of_anything(text):
    turns = answered()
    overlapped(turns, text)
    turns.turn_ended(True, 6.0)
    assert roles(turns.history) == "uau" and turns.history[1].text == "Sure,"


def test_before_anything_was_heard_nothing_can_be_stopped():
    turns = answered(heard_s=0.0)
    overlapped(turns, "stop")
    turns.turn_ended(True, 6.0)
    assert roles(turns.history) == "u"


def test_an_answer_that_was_heard_for_longer_is_remembered():
    turns = answered(heard_s=CUT_OFF_S + 0.1)
    overlapped(turns, "in the north of Italy", 5.0)
    turns.turn_ended(True, 7.0)
    assert roles(turns.history) == "uau" and turns.history[1].text == "Sure, I can"


def test_of_an_answer_to_be_read_the_text_counts():
    """No listener: it was shown, and the user could read it."""
    turns = answered()
    turns.receive(PlaybackProgress(turns.reply.ticket, 0, 0.0, 0.0), 3.0)
    overlapped(turns, "in the north of Italy")
    turns.turn_ended(True, 7.0)
    assert roles(turns.history) == "uau"


def test_the_filler_is_no_part_of_the_answer():
    turns = answered(filler="One moment.", heard_s=0.3)
    turns.receive(PlaybackProgress(turns.reply.ticket, -1, 2.0, 2.0), 3.2)
    overlapped(turns, "in the north of Italy")
    turns.turn_ended(True, 7.0)
    assert roles(turns.history) == "u"


def test_a_tool_that_was_called_is_remembered():
    """Its result comes, and needs the call before it."""
    turns = answered()
    turns.reply.complete = False
    turns.receive(ToolCalled(turns.reply.ticket, "c1", "look", "{}"), 3.1)
    overlapped(turns, "in the north of Italy")
    turns.turn_ended(True, 7.0)
    assert roles(turns.history) == "uacu"


def test_where_the_client_stopped_playing_changes_nothing_that_is_remembered():
    turns = answered()
    overlapped(turns, "in the north of Italy")
    turns.turn_ended(True, 6.0)
    commands = turns.playback_position(1, 0.8)
    assert commands == [PlayedText(1, "Sure, I")] and roles(turns.history) == "u"
    assert turns.playback_position(1, 0.6) == [PlayedText(1, "Sure,")]


def test_a_greeting_that_is_talked_over_was_heard():
    """There is no message of the user that could go on."""
    turns = Turns()
    turns.create_reply(1.0)
    turns.receive(Sentence(turns.reply.ticket, 0, "Hello, how can I help you?", last=True), 1.2)
    turns.receive(PlaybackProgress(turns.reply.ticket, 0, 0.0, 2.0), 1.4)
    turns.receive(PlaybackProgress(turns.reply.ticket, 0, 0.8, 2.0), 2.2)
    overlapped(turns, "I would like a pizza", 2.2)
    turns.turn_ended(True, 6.0)
    assert roles(turns.history) == "au"


def test_a_turn_that_fails_is_forgotten_as_a_whole():
    """Asked again, no part of it must stand there twice."""
    turns = answered()
    overlapped(turns, "in the north of Italy")
    turns.turn_ended(True, 6.0)
    turns.stage_down("llm", 6.5)
    assert turns.history == []
    turns.receive(PlaybackProgress(turns.reply.ticket, 0, 2.0, 2.0, last=True), 9.0)
    turns.typed("hello", 10.0)
    assert [one.text for one in turns.history] == ["hello"]


def test_a_line_that_is_typed_is_no_rest():
    turns = answered()
    turns.typed("what else", 4.0)
    assert roles(turns.history) == "uau"


def test_a_history_of_the_client_has_no_open_message():
    turns = answered()
    overlapped(turns, "in the north of Italy")
    turns.replace_history([ChatMessage("user", "Hi.")])
    turns.turn_ended(True, 7.0)
    assert [one.text for one in turns.history] == ["Hi.", "in the north of Italy"]


# --- words so short that they may be a misheard echo ---------------------------------------------


def started_with_it(turns, at_s, lasts_s, text="hot soup"):
    """Speech that begins `at_s`; its commands once its words are known."""
    turns.speech_started(round(at_s * SECOND), at_s)
    end = at_s + lasts_s
    turns.speech_stopped(round(end * SECOND), end, end + 0.2)
    return turns.transcript(text, round((end + 1) * SECOND), end + 0.3)


def test_few_words_at_the_beginning_wait_whether_the_sound_brings_them_back():
    turns = answered(heard_s=0.3)
    assert of(started_with_it(turns, 3.2, 0.6), Resume) and turns.state is State.ECHO_CHECK
    turns.wake(turns.wake_at)
    assert turns.history == [ChatMessage("user", "what is the weather hot soup")]


def test_they_do_not_wait_if_they_outlast_the_echo_of_what_was_played():
    turns = answered(heard_s=0.3)
    commands = started_with_it(turns, 3.2, 1.1)
    assert of(commands, ReplyInterrupted) and not of(commands, Resume)


@pytest.mark.parametrize("replies", [QUIET_REPLIES - 1, QUIET_REPLIES])
def test_they_do_not_wait_in_a_call_without_an_echo(replies):
    turns, now = Turns(), 10.0
    for _ in range(replies + 1):
        turns.typed("hello", now)
        ticket = turns.reply.ticket
        turns.receive(Sentence(ticket, 0, "Hello to you as well.", last=True), now)
        turns.receive(PlaybackProgress(ticket, 0, 0.0, 1.5), now)
        if turns.reply.ticket.turn <= replies:
            turns.receive(PlaybackProgress(ticket, 0, 1.5, 1.5, last=True), now + 1.5)
            now += 5.0
    turns.receive(PlaybackProgress(ticket, 0, ECHO_LAG_S - 0.2, 1.5), now)
    commands = started_with_it(turns, now + 0.2, 0.5)
    assert bool(of(commands, ReplyInterrupted)) is (replies == QUIET_REPLIES)


# --- the measure ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replies", "speech", "over_s", "starts"),
    [
        ([[(5.0, 6.0)]], [(1.0, 4.0)], 0.0, 0),  # after the user
        ([[(5.0, 6.0)]], [(1.0, 5.5)], 0.5, 1),  # who still speaks
        ([[(5.0, 6.0)]], [(5.4, 9.0)], 0.6, 1),  # who goes on
        ([[(5.0, 5.5), (7.0, 7.25)]], [(5.4, 9.0)], 0.35, 1),  # resumed over it
        ([[(5.0, 9.0)]], [(7.0, 8.0)], 0.0, 0),  # an interruption, or a backchannel
        ([[(5.0, 6.0)], [(8.0, 9.0)]], [(5.5, 6.5), (8.75, 9.5)], 0.75, 2),
        ([[]], [(5.5, 6.5)], 0.0, 0),
    ],
)
def test_what_is_harm(replies, speech, over_s, starts):
    harm = harm_of(replies, speech, 1800.0)
    assert harm == Harm(pytest.approx(over_s), starts, 1800.0)
    assert harm.ms_per_hour == pytest.approx(over_s * 2000)
    assert harm + harm == Harm(pytest.approx(2 * over_s), 2 * starts, 3600.0)


def test_without_a_call_there_is_no_harm():
    assert HarmMeter().harm == Harm() and Harm().ms_per_hour == 0.0


def test_the_meter_sees_sound_that_is_paused_resumed_and_cancelled():
    ticket, nothing = Ticket("a", 1, 1), SpeechProbability(0.0)
    meter = HarmMeter()
    meter.receive(0.0, nothing, [])
    meter.receive(5.0, PlaybackProgress(ticket, 0, 0.0, 3.0), [])
    meter.receive(5.4, nothing, [SpeechStarted(0), Pause(ticket)])
    assert meter.harm.over_s == pytest.approx(0.08)  # since the detector's first window of it
    meter.receive(6.0, nothing, [Resume(ticket)])
    meter.receive(6.5, nothing, [])
    assert meter.harm.over_s == pytest.approx(0.58)
    meter.receive(7.0, nothing, [Cancel(Ticket("a", 2))])
    meter.receive(7.1, PlaybackProgress(ticket, 0, 1.0, 3.0), [])
    assert meter.harm == Harm(pytest.approx(1.08), 1, 7.1)


def test_the_meter_of_a_call_agrees_with_the_room():
    """But for what a detector needs, and what a message needs on its way."""
    room, meter, before = Harm(), Harm(), 0
    for seed in range(8):
        world = hesitating(seed, (0.0, 0.3, 0.9, 3.0)[seed % 4], RESTS[2])
        world.run(60.0)
        room, meter = room + harm_in(world), meter + world.meter.harm
        before += len(world.facts(ReplyPlayed))
    assert room.starts == meter.starts == 6 and before
    assert 0.02 < meter.over_s / 6 < room.over_s / 6 < 0.25
