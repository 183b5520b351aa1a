"""The table of states (whisperfusion/turns/states.py): every row is reached by a dialogue, what has
no row does nothing, and docs/turns.md is written from it.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from running import ROOT
from turns_driver import Turns

from whisperfusion.messages import (
    ChatMessage,
    EndCall,
    Failed,
    PlaybackProgress,
    Sentence,
    Summarized,
    ToolCalled,
    ToolFinished,
    ToolStarted,
)
from whisperfusion.turns import events
from whisperfusion.turns.commands import StopTranscribing, TurnCounts
from whisperfusion.turns.conversation import Conversation
from whisperfusion.turns.endpointing import SoundStopping, SpeechStarted, SpeechStopped, TurnEnded
from whisperfusion.turns.options import Options
from whisperfusion.turns.states import ALWAYS, TABLE, Condition, State, next_state

SECOND = 16_000
REPLY = "The capital of France is Paris."


# --- the way to each state ----------------------------------------------------------------------


def idle() -> Turns:
    return Turns()


def user_speaking(**options) -> Turns:
    turns = Turns(**options)
    turns.speech_started(SECOND, 1.0)
    return turns


def user_paused(text: str | None = None, **options) -> Turns:
    turns = user_speaking(**options)
    turns.speech_stopped(2 * SECOND, 2.0, 2.2)
    if text is not None:
        turns.transcript(text, 3 * SECOND, 2.3)
    return turns


def awaiting_transcript(**options) -> Turns:
    turns = user_paused(**options)
    turns.turn_ended(True, 2.5, by_hand=True)
    return turns


def replying(**options) -> Turns:
    """Half a second of the reply was heard."""
    turns = user_paused("What is the capital of France?", **options)
    turns.turn_ended(True, 2.5)
    ticket = turns.reply.ticket
    turns.receive(Sentence(ticket, 0, REPLY, last=True), 2.6)
    turns.receive(PlaybackProgress(ticket, 0, 0.0, 2.0), 3.0)
    turns.receive(PlaybackProgress(ticket, 0, 0.5, 2.0), 3.5)
    return turns


def overlap(at_s: float = 5.0, **options) -> Turns:
    turns = replying(**options)
    turns.speech_started(round(at_s * SECOND), at_s)
    return turns


def echo_check(**options) -> Turns:
    """Words that may be a misheard echo: they began with the playback and stopped with it."""
    turns = overlap(3.2, **options)
    turns.speech_stopped(4 * SECOND, 4.0, 4.0)
    turns.transcript("hot soup", 5 * SECOND, 4.1)
    return turns


def echo_check_overlap(**options) -> Turns:
    turns = echo_check(**options)
    turns.speech_started(6 * SECOND, 4.3)
    return turns


def late_sound(**options) -> Turns:
    """While words are deferred, one starts that is later than the echo would be."""
    turns = echo_check(**options)
    turns.speech_started(6 * SECOND, 4.8)
    return turns


def third_start(**options) -> Turns:
    """The third time that speech starts with the playback, which goes on now."""
    turns = with_words(echo_check_overlap(**options), "", 6.5)
    turns.speech_started(7 * SECOND, 6.0)
    return turns


WAYS = {
    State.IDLE: idle,
    State.USER_SPEAKING: user_speaking,
    State.USER_PAUSED: user_paused,
    State.AWAITING_TRANSCRIPT: awaiting_transcript,
    State.REPLYING: replying,
    State.OVERLAP: overlap,
    State.ECHO_CHECK: echo_check,
    State.ECHO_CHECK_OVERLAP: echo_check_overlap,
}


def example(kind: type, turns: Turns) -> object:
    """An event of this class that the turns may get next; messages are of an older reply."""
    old = Turns().replies.ticket
    return {
        SpeechStarted: SpeechStarted(9 * SECOND),
        SoundStopping: SoundStopping(9 * SECOND),
        SpeechStopped: SpeechStopped(9 * SECOND),
        TurnEnded: TurnEnded(9 * SECOND, sure=False),
        events.InterimTranscript: events.InterimTranscript("and", 9 * SECOND),
        events.TextTyped: events.TextTyped("hello"),
        events.OptionsChanged: events.OptionsChanged(turns.options),
        events.HistoryReplaced: events.HistoryReplaced((ChatMessage("user", "Hi."),)),
        events.ToolResult: events.ToolResult("c1", "it rains"),
        events.ApprovalGiven: events.ApprovalGiven("c1", True),
        events.PlaybackPosition: events.PlaybackPosition(9, 1.0),
        events.Announcement: events.Announcement(""),
        events.StageDown: events.StageDown("vision"),
        events.SpeechProbability: events.SpeechProbability(0.0),
        events.EndOfTurnProbability: events.EndOfTurnProbability(0.5, 1),
        events.SpeakerIdentified: events.SpeakerIdentified(1, 9 * SECOND, None),
        Sentence: Sentence(old, 0, "Old.", last=True),
        ToolCalled: ToolCalled(old, "c1", "look", "{}"),
        ToolStarted: ToolStarted(old, "c1", "look", "{}"),
        ToolFinished: ToolFinished(old, "c1", "rain"),
        EndCall: EndCall(old),
        Summarized: Summarized(old, 2, "They met."),
        PlaybackProgress: PlaybackProgress(old, 0, 1.0, 1.0),
        Failed: Failed(old, "tts", "It broke."),
    }.get(kind) or kind()


EVENT_ROWS = [
    (state, trigger) for state in State for trigger in TABLE[state] if isinstance(trigger, type)
]


@pytest.mark.parametrize("state", State)
def test_each_state_can_be_reached(state):
    assert WAYS[state]().state is state and set(TABLE) == set(State)


@pytest.mark.parametrize(
    ("state", "kind"), EVENT_ROWS, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_each_event_takes_its_row(state, kind):
    turns = WAYS[state]()
    turns.visited.clear()
    turns.receive(example(kind, turns), 4.4)
    assert (state, kind) in turns.visited
    conditions = [row for row in turns.visited if row != (state, kind)]
    assert conditions or turns.state is TABLE[state][kind].to
    assert turns.replies.counts.unexpected_events == 0


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize(
    "kind",
    [k for k in ALWAYS if k not in (events.SpeechProbability, events.EndOfTurnProbability)],
    ids=lambda kind: kind.__name__,
)
def test_what_may_always_come_changes_no_state_by_itself(state, kind):
    turns = WAYS[state]()
    turns.visited.clear()
    turns.receive(example(kind, turns), 0.0)  # before any wait is over
    conditions = turns.visited - {(state, kind)}
    apologized = kind is events.ReplyLost and state is State.IDLE
    assert conditions == ({(state, Condition.ANNOUNCED)} if apologized else set())
    assert apologized or turns.state is state


# --- conditions ---------------------------------------------------------------------------------


def with_words(turns: Turns, text: str, stop_s: float = 9.0) -> Turns:
    """The present speech stops, and its transcript comes."""
    at = round(stop_s * SECOND)
    turns.speech_stopped(at, 5.5, 5.6)
    turns.transcript(text, at + SECOND, 5.7)
    return turns


def failing(turns: Turns, stage: str = "asr") -> Turns:
    ticket = turns.reply.ticket if turns.reply else turns.replies.ticket
    turns.receive(Failed(ticket, stage, "It broke."), 5.0)
    return turns


def ended(turns: Turns) -> Turns:
    turns.receive(PlaybackProgress(turns.reply.ticket, 0, 2.0, 2.0, last=True), 6.0)
    return turns


def committed(turns: Turns) -> Turns:
    turns.turn_ended(True, 2.6, by_hand=True)
    return turns


def kept(way, **options) -> Turns:
    """Replies are not wanted any more."""
    turns = way(**options)
    turns.change(automatic_replies=False)
    return turns


def echo_over_a_guarded_reply(way) -> Turns:
    """Playback goes on in this call, for a reply came back; and what comes now is one, too."""
    turns = way()
    if turns.state is State.OVERLAP:
        with_words(turns, "capital of France")
        turns.speech_started(20 * SECOND, 7.0)
    turns.transcript("capital of France is", 30 * SECOND, 7.5)
    return turns


def deadline(turns: Turns) -> Turns:
    turns.wake(turns.wake_at)
    return turns


SCRIPTS = [
    lambda: committed(user_paused("")),
    lambda: said_after_commit(""),
    lambda: committed(kept(lambda: user_paused("hello you"))),
    lambda: committed(user_paused("hello you")),
    lambda: said_after_commit("hello you"),
    lambda: kept_after_commit("hello you"),
    lambda: typed(idle()),
    lambda: typed(kept(idle)),
    lambda: announced(idle()),
    lambda: failing(replying(), "llm"),
    lambda: failing(replying(), "tts"),
    lambda: failing(user_speaking()),
    lambda: failing(user_paused()),
    lambda: failing(awaiting_transcript()),
    lambda: failing(overlap()),
    lambda: failing(echo_check(), "tts"),
    lambda: failing(echo_check_overlap()),
    lambda: ended(replying()),
    lambda: ended(echo_check()),
    lambda: with_words(overlap(), "mm-hmm"),
    lambda: with_words(overlap(), "what about tomorrow"),
    lambda: interrupted_by_hand(overlap()),
    lambda: over(overlap(), "what about tomorrow"),
    lambda: over(echo_check_overlap(), "and now to something quite different, if I may"),
    lambda: with_words(echo_check_overlap(), "and what about tomorrow"),
    lambda: still_speaking(echo_check_overlap()),
    lambda: still_speaking(overlap()),
    lambda: with_words(echo_check_overlap(), "capital", 6.5),
    lambda: with_words(echo_check_overlap(), "and I", 6.5),
    lambda: with_words(late_sound(), "", 6.5),
    lambda: with_words(kept(late_sound), "", 6.5),
    lambda: echo_over_a_guarded_reply(overlap),
    lambda: echo_over_a_guarded_reply(third_start),
    lambda: deadline(echo_check()),
    lambda: deadline(kept(echo_check)),
    lambda: committed(of_another_voice(user_paused("hello you"))),
    lambda: of_another_voice(awaiting_transcript_of("hello you")),
    lambda: with_words(of_another_voice(overlap()), "what about tomorrow"),
    lambda: with_words(of_another_voice(echo_check_overlap()), "and what about tomorrow"),
]


def of_another_voice(turns: Turns) -> Turns:
    """The call listens to known speakers only, and this is none of them."""
    turns.change(known_speakers_only=True)
    began = turns.call.user.began
    turns.receive(events.SpeakerIdentified(began, 30 * SECOND, known=False), 5.4)
    return turns


def awaiting_transcript_of(text: str) -> Turns:
    """It is there, and the voice is not known yet."""
    turns = awaiting_transcript()
    turns.change(known_speakers_only=True)
    turns.transcript(text, 3 * SECOND, 2.6)
    return turns


def said_after_commit(text: str) -> Turns:
    turns = awaiting_transcript()
    turns.transcript(text, 3 * SECOND, 2.6)
    return turns


def kept_after_commit(text: str) -> Turns:
    turns = kept(awaiting_transcript)
    turns.transcript(text, 3 * SECOND, 2.6)
    return turns


def typed(turns: Turns) -> Turns:
    turns.typed("hello", 1.0)
    return turns


def announced(turns: Turns) -> Turns:
    turns.receive(events.Announcement("Good day."), 1.0)
    return turns


def interrupted_by_hand(turns: Turns) -> Turns:
    turns.interrupt(5.5)
    return turns


def still_speaking(turns: Turns) -> Turns:
    turns.transcript("and now to something quite different, if I may", 30 * SECOND, 8.0)
    return turns


def over(turns: Turns, text: str) -> Turns:
    """The turn is over before its transcript is known to be an interruption, and that is not
    complete.
    """
    turns.speech_stopped(9 * SECOND, 5.5, 5.6)
    turns.turn_ended(True, 5.7)
    turns.transcript(text, 9 * SECOND, 5.8)
    return turns


def test_each_condition_is_led_to_by_a_dialogue():
    visited = set()
    for script in SCRIPTS:
        turns = script()
        visited |= turns.visited
        assert turns.replies.counts.unexpected_events == 0
    wanted = {(state, one) for state in State for one in TABLE[state] if isinstance(one, Condition)}
    assert wanted - visited == set()


# --- what has no row ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "kind"),
    [
        (user_speaking, SpeechStarted),
        (user_speaking, TurnEnded),
        (idle, SoundStopping),
        (awaiting_transcript, SpeechStopped),
    ],
)
def test_an_event_without_a_row_is_counted_and_ignored(way, kind):
    turns = way()
    before, waits = turns.state, turns.wake_at
    assert turns.receive(example(kind, turns), 3.0) == []
    assert turns.state is before and turns.wake_at == waits
    assert turns.replies.counts.unexpected_events == 1


def test_a_condition_without_a_row_is_a_bug():
    turns = idle()
    with pytest.raises(LookupError, match="no row for DEFERRED in the state IDLE"):
        turns.call.move(Condition.DEFERRED)


@pytest.mark.parametrize("way", WAYS.values(), ids=lambda way: way.__name__)
def test_every_wait_has_an_end(way):
    """Once the user is silent, the clock alone leads to rest, whichever process does not answer."""
    turns = way()
    if turns.call.user.speaking and turns.state not in (State.IDLE, State.REPLYING):
        turns.speech_stopped(40 * SECOND, 5.0, 5.2)
    for _ in range(12):
        if turns.wake_at is not None:
            turns.wake(turns.wake_at)
    assert turns.state is State.IDLE and turns.wake_at is None


def test_the_rows_of_an_event_can_be_read_from_the_entry():
    counts = TurnCounts()
    conversation = Conversation("a", Options("Be nice."), counts=counts)
    conversation.receive(events.TextTyped("hello"), 1.0)
    assert conversation.rows == (
        (State.IDLE, events.TextTyped),
        (State.IDLE, Condition.REPLY_COMMITTED),
    )
    assert StopTranscribing() in conversation.receive(events.InterruptReply(), 1.1)
    conversation.receive(events.SpeechProbability(0.0), 1.2)
    assert conversation.rows == ((State.IDLE, events.SpeechProbability),)
    assert next_state(State.IDLE, SoundStopping) is None and counts.unexpected_events == 0
    assert conversation.wake_at is None


def test_the_page_of_the_documentation_is_current():
    script = [sys.executable, "docs/states.py"]
    written = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=60)
    page = (ROOT / "docs" / "turns.md").read_text(encoding="utf-8")
    assert written.stdout == page, "write it again: python docs/states.py > docs/turns.md"
