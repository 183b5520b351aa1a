"""Speech probabilities and the silence that is needed to events, window by window; positions are
to_samples.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisperfusion.audio import MICROPHONE_RATE, VAD_WINDOW, to_samples
from whisperfusion.turns.conversation import Conversation
from whisperfusion.turns.endpointing import (
    STOP_S,
    TAIL,
    TURN_DETECTION_S,
    Endpointer,
    SpeechStarted,
    SpeechStopped,
    TurnDetectionDue,
    TurnEnded,
)
from whisperfusion.turns.events import OptionsChanged, SpeechProbability
from whisperfusion.turns.options import Options

MAX_SILENCE_S = 2.6


def feed(endpoint: Endpointer, probability: float, seconds: float) -> list:
    return [
        event
        for _ in range(to_samples(seconds) // VAD_WINDOW)
        for event in endpoint.feed(probability)
    ]


def paused(seconds: float = 0.0, max_silence_s: float = MAX_SILENCE_S) -> Endpointer:
    """Half a second of speech, then the pause up to SpeechStopped and `seconds` more."""
    endpoint = Endpointer(Options(max_silence_s=max_silence_s))
    feed(endpoint, 0.9, 0.5)
    feed(endpoint, 0.1, STOP_S + seconds)
    assert endpoint.stopped_at == to_samples(0.5) // VAD_WINDOW * VAD_WINDOW
    return endpoint


def test_speech_starts_with_its_pre_roll_and_stops_where_the_silence_began():
    endpoint = Endpointer(Options(max_silence_s=MAX_SILENCE_S))
    assert feed(endpoint, 0.1, 1.0) == []
    (started,) = feed(endpoint, 0.9, 0.5)
    assert started == SpeechStarted(
        to_samples(1.0) // VAD_WINDOW * VAD_WINDOW - to_samples(Options.prefix_padding)
    )
    stopped_at = endpoint.position
    assert feed(endpoint, 0.1, STOP_S) == [SpeechStopped(stopped_at)]


def test_the_threshold_is_an_option_and_speech_stops_a_little_below_it():
    endpoint = Endpointer(Options(vad_threshold=0.8))
    assert feed(endpoint, 0.75, 1.0) == []  # of noise, which the default would take for speech
    (started,) = feed(endpoint, 0.85, 0.5)
    assert isinstance(started, SpeechStarted)
    assert feed(endpoint, 0.7, 1.0) == []
    assert [type(event) for event in feed(endpoint, 0.6, STOP_S)] == [SpeechStopped]


@pytest.mark.parametrize("padding", [0.0, 0.1, 0.8])
def test_so_much_audio_before_the_start_is_transcribed(padding):
    endpoint = Endpointer(Options(prefix_padding=padding))
    feed(endpoint, 0.1, 1.0)
    began = endpoint.position
    assert feed(endpoint, 0.9, 0.5) == [SpeechStarted(began - to_samples(padding))]


def test_options_hold_from_when_they_are_given():
    endpoint = Endpointer(Options())
    assert feed(endpoint, 0.4, 1.0) == []
    endpoint.options = Options(vad_threshold=0.3)
    assert [type(event) for event in feed(endpoint, 0.4, 0.5)] == [SpeechStarted]


def test_a_click_is_no_speech():
    endpoint = Endpointer(Options(max_silence_s=MAX_SILENCE_S))
    for _ in range(20):
        assert feed(endpoint, 0.9, 0.064) == [] and feed(endpoint, 0.1, 0.064) == []


def test_a_breath_inside_a_word_does_not_stop_it():
    endpoint = Endpointer(Options(max_silence_s=MAX_SILENCE_S))
    feed(endpoint, 0.9, 0.5)
    assert feed(endpoint, 0.1, 0.128) == [] and feed(endpoint, 0.9, 0.5) == []


def test_how_long_a_stop_takes_can_be_chosen():
    endpoint = Endpointer(Options(max_silence_s=MAX_SILENCE_S), stop_s=0.4)
    feed(endpoint, 0.9, 0.5)
    assert feed(endpoint, 0.1, 0.38) == [] and [
        type(event) for event in feed(endpoint, 0.1, 0.064)
    ] == [SpeechStopped]


def test_the_model_is_asked_once_in_each_pause():
    endpoint = Endpointer(Options(max_silence_s=MAX_SILENCE_S))
    for _ in range(2):
        feed(endpoint, 0.9, 0.5)
        assert [type(event) for event in feed(endpoint, 0.1, TURN_DETECTION_S)] == [SpeechStopped]
        assert feed(endpoint, 0.1, 0.032) == [TurnDetectionDue(endpoint.stopped_at)]
        assert feed(endpoint, 0.1, 1.0) == []


def test_a_long_enough_silence_ends_the_turn_once():
    endpoint = paused()
    assert endpoint.require(0.6) == []
    ended = feed(endpoint, 0.1, 2.0)
    assert [type(event) for event in ended] == [TurnDetectionDue, TurnEnded] and not ended[1].sure
    assert 0 <= ended[1].at - endpoint.stopped_at - to_samples(0.6) < VAD_WINDOW


def test_what_is_learned_late_may_end_the_turn_at_once_or_later():
    endpoint = paused(0.5)
    assert endpoint.require(1.0) == []
    assert endpoint.require(0.4) == [TurnEnded(endpoint.position, sure=False)]
    # more is known: the conversation may think again
    assert endpoint.require(0.5) == [TurnEnded(endpoint.position, sure=False)]
    assert endpoint.require(None) == [] and feed(endpoint, 0.1, 1.0) == []


def test_a_turn_does_not_end_while_sound_may_just_be_beginning():
    for after, event in ((0.1, TurnEnded), (0.9, SpeechStarted)):
        endpoint = paused(0.3)
        assert feed(endpoint, 0.9, 0.032) == [] == endpoint.require(0.2)
        assert [type(found) for found in feed(endpoint, after, 0.064)] == [event]


def test_the_longest_silence_ends_every_turn():
    endpoint = paused()
    endpoint.require(9.0)
    (_score, ended) = feed(endpoint, 0.1, 5.0)
    assert (
        ended.sure
        and 0
        <= ended.at - to_samples(0.5) // VAD_WINDOW * VAD_WINDOW - to_samples(MAX_SILENCE_S)
        < VAD_WINDOW
    )
    assert endpoint.stopped_at is None and endpoint.require(0.1) == []


def test_a_judgement_is_of_one_pause():
    endpoint = paused()
    endpoint.require(0.6)
    feed(endpoint, 0.9, 0.3)
    assert [type(event) for event in feed(endpoint, 0.1, 1.5)] == [SpeechStopped, TurnDetectionDue]


@pytest.mark.parametrize("state", ["before", "speaking"])
def test_without_a_pause_nothing_is_judged(state):
    endpoint = Endpointer(Options(max_silence_s=MAX_SILENCE_S))
    if state == "speaking":
        feed(endpoint, 0.9, 0.5)
    assert endpoint.require(0.0) == [] and endpoint.stopped_at is None


def test_speech_without_end_is_cut():
    endpoint = Endpointer(Options(max_silence_s=MAX_SILENCE_S), max_turn_s=10.0)
    events = feed(endpoint, 0.9, 40.0)
    assert TurnEnded in map(type, events)
    for stopped, ended in zip(events[1::3], events[2::3], strict=False):
        assert isinstance(stopped, SpeechStopped) and ended == TurnEnded(
            stopped.at + TAIL, sure=True
        )


def test_speech_that_is_too_long_is_cut_at_its_next_dip():
    endpoint = Endpointer(Options(max_silence_s=MAX_SILENCE_S), max_turn_s=10.0)
    feed(endpoint, 0.9, 11.0)
    assert [type(event) for event in endpoint.feed(0.2)] == [SpeechStopped, TurnEnded]


def test_ending_by_hand():
    endpoint = Endpointer(Options(max_silence_s=MAX_SILENCE_S))
    assert endpoint.end_turn() == []
    feed(endpoint, 0.9, 0.5)
    assert [type(event) for event in endpoint.end_turn()] == [SpeechStopped, TurnEnded]
    assert endpoint.end_turn() == []
    assert [type(event) for event in paused().end_turn()] == [TurnEnded]


def test_a_turn_that_the_conversation_closed_brings_no_more_events():
    endpoint = paused()
    endpoint.close_turn()
    assert feed(endpoint, 0.1, 5.0) == [] and endpoint.require(0.1) == []
    feed(endpoint, 0.9, 0.5)
    endpoint.close_turn()  # the user speaks: that is another turn
    assert endpoint.speaking and [type(event) for event in feed(endpoint, 0.1, STOP_S)] == [
        SpeechStopped
    ]


def test_a_pre_roll_never_reaches_into_the_turn_before():
    endpoint = paused()
    stopped_at = endpoint.stopped_at
    endpoint.close_turn()
    (started,) = feed(endpoint, 0.9, 0.2)
    assert started == SpeechStarted(stopped_at)


PIECES = st.tuples(
    st.sampled_from((0.05, 0.4, 0.6, 0.95)),
    st.integers(1, 60),
    st.sampled_from((None, 0.2, 0.7, 3.0)),
)


@given(st.lists(PIECES, max_size=40))
def test_events_alternate_and_positions_only_rise(pieces):
    endpoint = Endpointer(Options(max_silence_s=MAX_SILENCE_S), max_turn_s=5.0)
    events = []
    for probability, windows, needed in pieces:
        for _ in range(windows):
            events += endpoint.feed(probability)
        events += endpoint.require(needed)
    speaking, last_stop, scored = False, 0, False
    for event in events:
        if isinstance(event, SpeechStarted):
            assert not speaking
            speaking = True
        elif isinstance(event, SpeechStopped):
            assert speaking and event.at >= last_stop
            speaking, last_stop, scored = False, event.at, False
        elif isinstance(event, TurnDetectionDue):
            assert not speaking and not scored and event.stopped_at == last_stop
            scored = True
        else:
            assert not speaking and event.at >= last_stop
    assert speaking == endpoint.speaking


def test_a_call_that_gets_other_options_is_endpointed_by_them():
    call = Conversation("a", Options())

    def noise(seconds: float) -> None:
        for _ in range(to_samples(seconds) // VAD_WINDOW):
            call.receive(SpeechProbability(0.4), call.position / MICROPHONE_RATE)

    noise(1.0)
    assert not call.speaking
    changed = OptionsChanged(Options(vad_threshold=0.3))
    assert call.receive(changed, 1.0) == []
    noise(0.5)
    assert call.speaking
