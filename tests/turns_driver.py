"""Short words for the events of a turn, for tests with literal times.

What the endpointer finds in windows (speech started, speech stopped, the turn ended) is given to
the turns directly, so a test may choose any sample and time.
"""

from __future__ import annotations

from dataclasses import replace

from whisperfusion.turns import events, turn_taking
from whisperfusion.turns.call import Call
from whisperfusion.turns.endpointing import SoundStopping, SpeechStarted, SpeechStopped, TurnEnded
from whisperfusion.turns.options import Options
from whisperfusion.turns.states import State


class Turns:
    """Of one call. `visited`: rows of the table of states that were taken."""

    def __init__(self, call="a", instructions="Be nice.", **options):
        self.call = Call(call, Options(instructions, **options))
        self.visited = set()

    def receive(self, event, now=0.0):
        self.call.rows.clear()
        commands = turn_taking.receive(self.call, event, now)
        self.visited.update(self.call.rows)
        return commands

    def change(self, **options):
        self.receive(events.OptionsChanged(replace(self.options, **options)))

    # --- the detector and the recognizer ---------------------------------------------------------

    def speech_started(self, at, now):
        return self.receive(SpeechStarted(at), now)

    def sound_stopping(self, at, now):
        return self.receive(SoundStopping(at), now)

    def speech_stopped(self, at, ended_at, now):
        self.call.speech_ended_at = ended_at
        return self.receive(SpeechStopped(at), now)

    def turn_ended(self, sure, now, by_hand=False):
        return self.receive(events.CommitTurn() if by_hand else TurnEnded(0, sure), now)

    def transcript(self, text, upto, now, noise=False, stopping=False):
        self.call.quiet = stopping
        return self.receive(events.InterimTranscript(text, upto, noise), now)

    # --- the client, the other processes and the clock -------------------------------------------

    def opened(self):
        return self.receive(events.CallOpened())

    def typed(self, text, now):
        return self.receive(events.TextTyped(text), now)

    def interrupt(self, now):
        return self.receive(events.InterruptReply(), now)

    def create_reply(self, now, id="", **own):
        return self.receive(events.CreateReply(id, **own), now)

    def clear(self, now):
        return self.receive(events.ClearInput(), now)

    def replace_history(self, messages):
        return self.receive(events.HistoryReplaced(tuple(messages)))

    def tool_result(self, id, output):
        return self.receive(events.ToolResult(id, output))

    def playback_position(self, turn, seconds):
        return self.receive(events.PlaybackPosition(turn, seconds))

    def stage_down(self, stage, now):
        return self.receive(events.StageDown(stage), now)

    def wake(self, now):
        return self.receive(events.Wake(), now)

    # --- what is known ---------------------------------------------------------------------------

    @property
    def options(self):
        return self.call.options

    @property
    def state(self):
        return self.call.state

    @property
    def replies(self):
        return self.call.replies

    @property
    def reply(self):
        return self.call.replies.current

    @property
    def history(self):
        return self.call.replies.history.messages

    @property
    def wake_at(self):
        return self.call.wake_at

    @property
    def closing(self):
        return self.call.state is State.AWAITING_TRANSCRIPT

    @property
    def complete_text(self):
        return self.call.user.text if self.call.user.complete else None
