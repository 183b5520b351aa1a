"""One event of a call: its row of the table (whisperfusion/turns/states.py), then its function."""

from __future__ import annotations

from whisperfusion.messages import (
    EndCall,
    Failed,
    PlaybackProgress,
    Sentence,
    Summarized,
    ToolCalled,
    ToolFinished,
    ToolStarted,
)
from whisperfusion.turns import (
    announcements,
    approvals,
    events,
    playback,
    requests,
    summaries,
    user_speech,
)
from whisperfusion.turns.call import Call
from whisperfusion.turns.commands import Command
from whisperfusion.turns.endpointing import SoundStopping, SpeechStarted, SpeechStopped, TurnEnded
from whisperfusion.turns.states import State

Found = SpeechStarted | SoundStopping | SpeechStopped | TurnEnded  # by the endpointer


def receive(call: Call, event: events.Event | Found, now: float) -> list[Command]:
    before = call.enter(type(event))
    if before is None:
        return []
    commands = [*_received(call, before, event, now), *announcements.due(call, now)]
    return [*commands, *summaries.due(call)]


def _received(call: Call, before: State, event: events.Event | Found, now: float) -> list[Command]:
    match event:
        case SpeechStarted() | SoundStopping() | SpeechStopped() | TurnEnded():
            return _found(call, before, event, now)
        case events.InterimTranscript():
            return user_speech.transcript(call, before, event, now)
        case events.SpeakerIdentified():
            return user_speech.identified(call, before, event, now)
        case events.CommitTurn():
            return user_speech.turn_ended(call, before, True, now)
        case Sentence():
            return playback.sentence(call, event, now)
        case ToolCalled():
            return playback.tool_called(call, event, now)
        case ToolStarted() | ToolFinished():
            return playback.tool_used(call, event, now)
        case EndCall():
            return playback.end_call(call, event)
        case PlaybackProgress():
            return playback.progress(call, event, now)
        case Failed():
            return playback.failed(call, event, now)
        case Summarized():
            return summaries.received(call, event)
        case events.StageDown(stage):
            return playback.stage_down(call, stage, now)
        case events.Wake():
            return playback.wake(call, now)
        case events.Announcement():
            return announcements.wait(call, event)
        case events.ReplyLost():
            return announcements.reply_lost(call)
        case events.CallOpened():
            return user_speech.opened(call)
    return _requested(call, before, event, now)


def _found(call: Call, before: State, event: Found, now: float) -> list[Command]:
    match event:
        case SpeechStarted(at):
            return user_speech.started(call, before, at, now)
        case SoundStopping(at):
            return user_speech.sound_stopping(call, before, at, now)
        case SpeechStopped(at):
            return user_speech.stopped(call, before, at, now)
        case TurnEnded(sure=sure):
            # without automatic turns only `CommitTurn` ends one
            automatic = call.options.automatic_turns
            return user_speech.turn_ended(call, before, sure, now) if automatic else []


def _requested(call: Call, before: State, event: events.Event, now: float) -> list[Command]:
    match event:
        case events.OptionsChanged(options):
            call.options, call.overlaps.language = options, options.language
            return []
        case events.TextTyped(text):
            return requests.typed(call, text, now)
        case events.InterruptReply():
            return requests.interrupt(call)
        case events.CreateReply():
            return requests.create_reply(call, before, event, now)
        case events.ApprovalGiven(id, approve):
            return approvals.decided(call, id, approve)
        case events.ClearInput():
            return requests.clear_input(call, before, now)
        case events.HistoryReplaced(messages):
            return requests.replace_history(call, messages)
        case events.ToolResult(id, output):
            return requests.tool_result(call, id, output)
        case events.PlaybackPosition(turn, seconds):
            return requests.playback_position(call, turn, seconds)
    raise TypeError(f"{event!r} is not an event of a call")
