"""The first sound over a reply pauses its playback at once, before the detector is sure of speech:
with literal probabilities, at the one door into turn-taking."""

from __future__ import annotations

import pytest

from whisperfusion.audio import MICROPHONE_RATE, VAD_WINDOW
from whisperfusion.messages import Pause, PlaybackProgress, Resume, Sentence
from whisperfusion.turns import events
from whisperfusion.turns.commands import StartTranscribing
from whisperfusion.turns.conversation import Conversation
from whisperfusion.turns.options import Options
from whisperfusion.turns.overlap import MAX_BLIPS
from whisperfusion.turns.states import State

WINDOW_S = VAD_WINDOW / MICROPHONE_RATE
SOUND, SILENCE = 0.6, 0.1


class Listening:
    """A call whose reply has been heard for `heard_s` seconds."""

    def __init__(self, heard_s: float = 2.0, **options: object) -> None:
        self.conversation = Conversation("a", Options(turn_detector=False, **options))
        self.now = 1.0
        self.conversation.receive(events.TextTyped("Hello?"), self.now)
        ticket = self.conversation.reply_ticket
        self.conversation.receive(Sentence(ticket, 0, "The train leaves at nine.", True), self.now)
        self.conversation.receive(PlaybackProgress(ticket, 0, 0.0, 9.0), self.now)
        self.hears(*[SILENCE] * round(heard_s / WINDOW_S))

    def hears(self, *probabilities: float) -> list[type]:
        """Kinds of commands that follow."""
        found = []
        for p in probabilities:
            self.now += WINDOW_S
            found += self.conversation.receive(events.SpeechProbability(p), self.now)
        return [type(one) for one in found if isinstance(one, (Pause, Resume, StartTranscribing))]


def test_the_first_window_pauses_and_speech_goes_on_from_there():
    call = Listening()
    assert call.hears(SOUND) == [Pause] and call.conversation.state is State.REPLYING
    assert call.hears(SOUND, SOUND) == [StartTranscribing]
    assert call.conversation.state is State.OVERLAP


@pytest.mark.parametrize("length", [1, 2])
def test_what_is_no_speech_after_all_lets_the_reply_go_on_at_once(length):
    call = Listening()
    assert call.hears(*[SOUND] * length) == [Pause] and call.hears(SILENCE) == [Resume]
    assert call.conversation.state is State.REPLYING
    assert call.conversation.counts.false_interruptions == 0


def test_after_a_few_such_sounds_a_reply_waits_for_speech():
    call = Listening()
    for _ in range(MAX_BLIPS):
        assert call.hears(SOUND, SILENCE) == [Pause, Resume]
    assert call.hears(SOUND, SILENCE) == []
    assert call.hears(SOUND, SOUND, SOUND) == [StartTranscribing, Pause]


def test_where_echoes_begin_and_where_none_may_interrupt_the_first_sound_does_nothing():
    assert Listening(heard_s=0.3).hears(SOUND, SILENCE) == []
    assert Listening(interruptible=False).hears(SOUND, SILENCE) == []


def test_a_pause_for_a_sound_ends_although_no_more_audio_comes_by_itself():
    """A microphone that is switched off is taken for silent, and a file is read on."""
    call = Listening()
    assert not call.conversation.expects_audio and call.conversation.audio_must_wait(ahead=True)
    call.hears(SOUND)
    assert call.conversation.expects_audio and not call.conversation.audio_must_wait(ahead=True)


def test_speech_that_may_not_interrupt_any_more_resumes():
    call = Listening()
    call.hears(SOUND)
    options = Options(turn_detector=False, interruptible=False)
    call.conversation.receive(events.OptionsChanged(options), call.now)
    assert call.hears(SOUND) == [Resume]
