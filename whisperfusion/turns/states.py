"""The states of a call and the table of all transitions.

The rules: (1) a state says what is waited for; nothing else does. (2) An event that has no row in
the present state, and none in `ALWAYS`, does not belong there: it is counted and ignored. (3) Code
never names the next state: it names an event or, where its class alone does not decide, the
condition that it led to, and `next_state` looks the row up. A condition without a row is a bug and
raises. The code is whisperfusion/turns/turn_taking.py and the modules that it calls; the tests walk
every row; docs/turns.md is written from this table by docs/states.py.

A preemptive reply is only a `Generate` before its `Commit`: its pieces are kept and shown when it
is committed. A user who goes on speaking in the first moments of a reply had not finished: the
reply is dropped, and with it the few words that were heard, both parts are one message of the
history, and the next reply answers them.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

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
from whisperfusion.turns.endpointing import SoundStopping, SpeechStarted, SpeechStopped, TurnEnded
from whisperfusion.turns.events import (
    Announcement,
    ApprovalGiven,
    CallOpened,
    ClearInput,
    CommitTurn,
    CreateReply,
    EndOfTurnProbability,
    HistoryReplaced,
    InterimTranscript,
    InterruptReply,
    OptionsChanged,
    PlaybackPosition,
    ReplyLost,
    SpeakerIdentified,
    SpeechProbability,
    StageDown,
    TextTyped,
    ToolResult,
    Wake,
)


class State(Enum):
    IDLE = "idle"  # nothing is waited for
    USER_SPEAKING = "user_speaking"  # the end of the user's speech
    USER_PAUSED = "user_paused"  # more speech, or enough silence
    AWAITING_TRANSCRIPT = "awaiting_transcript"  # the turn is over, its transcript is on its way
    REPLYING = "replying"  # the end of the reply, which is being made or heard
    OVERLAP = "overlap"  # the transcript of speech over the reply; playback may be paused
    # few words are deferred: they may have been an echo of the reply's beginning, and are the turn
    # of the user unless it comes back with the sound; or they answer its end, which is played first
    ECHO_CHECK = "echo_check"
    ECHO_CHECK_OVERLAP = "echo_check_overlap"  # speech, while words are deferred


class Condition(Enum):
    """What an event led to."""

    TURN_OVER = "the turn is over, its transcript is not complete"
    TURN_EMPTY = "the turn is over and has no words"
    TURN_KEPT = "the turn is final, no reply is wanted"
    OTHER_VOICE = "the speech is not that of a known speaker, the call listens to those only"
    REPLY_COMMITTED = "a reply is committed"
    REPLY_PLAYED = "all of the reply was played"
    ECHO = "the overlap is an echo of the reply so far"
    FALSE_INTERRUPTION = "the overlap has no words, is a backchannel or an echo"
    DEFERRED = "few words that may be a misheard echo, or answer the end of the reply"
    USER_HAS_TURN = "the overlap is a turn, the user speaks"
    USER_PAUSED = "the overlap is a turn, the user is silent"
    FAILED = "a stage failed or did not answer in time"
    APOLOGIZED = "an apology is committed"
    ANNOUNCED = "an announcement is due"


Trigger = type | Condition


class Row(NamedTuple):
    does: str
    to: State


# In every state, which stays as it is unless a condition follows. What belongs to another reply is
# dropped by its ticket.
ALWAYS: dict[Trigger, str] = {
    CallOpened: "prefill the instructions",
    SpeechProbability: "find where speech starts and stops; request interim transcripts; pause the "
    "playback of a reply for a first sound, resume it if that is no speech",
    EndOfTurnProbability: "find how much silence ends the turn",
    SpeakerIdentified: "note whose voice it is; finish the turn or classify the overlap that waits "
    "for it; cancel a preemptive reply to another voice than the known ones",
    OptionsChanged: "replace the options",
    HistoryReplaced: "replace the history; cancel a preemptive reply",
    ToolResult: "add it to the history; cancel a preemptive reply",
    ApprovalGiven: "note it in the history; cancel a preemptive reply",
    Announcement: "say it when nothing else goes on",
    ReplyLost: "apologize and reply again, when nothing else goes on",
    PlaybackPosition: "correct what the history has of the reply",
    Sentence: "show it, once its reply is committed",
    ToolCalled: "hand it to the client, once its reply is committed",
    ToolStarted: "keep it for the history; tell the client, once its reply is committed",
    ToolFinished: "the same",
    EndCall: "the call is over when its reply was played",
    Summarized: "replace the beginning of the history, if that is as it was",
    PlaybackProgress: "account for what was heard",
    Failed: "forget a preemptive reply, or fail the turn",
    StageDown: "as `Failed`, if the reply needs that stage",
    Wake: "a wait is over",
}

_S, _C = State, Condition
_DROPPED = "nothing: its turn was dropped"
_CANCEL = "cancel what is in flight, keep what was heard of it"

_STOP: dict[Trigger, Row] = {
    TextTyped: Row(f"{_CANCEL}; the text is a final turn", _S.IDLE),
    InterruptReply: Row(_CANCEL, _S.IDLE),
}
_FAIL: dict[Trigger, Row] = {_C.FAILED: Row("cancel, send the reason", _S.IDLE)}


def _late(state: State) -> dict[Trigger, Row]:
    """Events of speech whose turn was typed over, interrupted or cleared."""
    return {
        one: Row(_DROPPED, state)
        for one in (SpeechStopped, TurnEnded, InterimTranscript, CommitTurn, ClearInput)
    }


_OVERLAPPING: dict[Trigger, str] = {
    SpeechStarted: "wait for the transcript of that too",
    SoundStopping: "nothing: its transcript decides",
    SpeechStopped: "classify the overlap",
    InterimTranscript: "classify the overlap",
    TurnEnded: "nothing yet",
    CommitTurn: "nothing yet",
    CreateReply: "nothing: the user's turn comes first",
}
_TAKES = "cancel the reply, if it was not played to its end; drop it if it had just begun"
_RESUME = "resume the playback if it was paused"
_TAKEN: dict[Trigger, Row] = {
    _C.USER_HAS_TURN: Row(_TAKES, _S.USER_SPEAKING),
    _C.USER_PAUSED: Row(_TAKES, _S.USER_PAUSED),
    _C.TURN_OVER: Row(_TAKES, _S.AWAITING_TRANSCRIPT),
}
_IGNORE = "show it, and drop it"
_FINAL: dict[Trigger, Row] = {
    _C.REPLY_COMMITTED: Row("commit the preemptive reply, or generate one", _S.REPLYING),
    _C.TURN_KEPT: Row("add it to the history", _S.IDLE),
}

TABLE: dict[State, dict[Trigger, Row]] = {
    _S.IDLE: {
        SpeechStarted: Row("start transcribing; prefill the dialogue", _S.USER_SPEAKING),
        **_late(_S.IDLE),
        **_STOP,
        CreateReply: Row("reply to the dialogue so far", _S.IDLE),
        **_FINAL,
        _C.APOLOGIZED: Row("say so in words and in voice", _S.REPLYING),
        _C.ANNOUNCED: Row("say it in words and in voice", _S.REPLYING),
    },
    _S.USER_SPEAKING: {
        SoundStopping: Row("begin a preemptive reply to what is known", _S.USER_SPEAKING),
        SpeechStopped: Row("wait for the transcript", _S.USER_PAUSED),
        InterimTranscript: Row(
            "begin a preemptive reply if it sounds complete, else prefill it; cancel one that it "
            "contradicts",
            _S.USER_SPEAKING,
        ),
        CreateReply: Row("nothing: the user's turn comes first", _S.USER_SPEAKING),
        ClearInput: Row("drop the turn", _S.IDLE),
        **_STOP,
        **_FAIL,
    },
    _S.USER_PAUSED: {
        SpeechStarted: Row("the same turn goes on", _S.USER_SPEAKING),
        InterimTranscript: Row(
            "begin a preemptive reply if it is complete; find how much silence ends the turn",
            _S.USER_PAUSED,
        ),
        TurnEnded: Row("accept the turn", _S.USER_PAUSED),
        CommitTurn: Row("accept the turn", _S.USER_PAUSED),
        CreateReply: Row("nothing: the user's turn comes first", _S.USER_PAUSED),
        ClearInput: Row("drop the turn", _S.IDLE),
        **_STOP,
        _C.TURN_OVER: Row("wait for the transcript", _S.AWAITING_TRANSCRIPT),
        _C.TURN_EMPTY: Row("drop the turn", _S.IDLE),
        _C.OTHER_VOICE: Row(_IGNORE, _S.IDLE),
        **_FINAL,
        **_FAIL,
    },
    _S.AWAITING_TRANSCRIPT: {
        SpeechStarted: Row("the same turn goes on", _S.USER_SPEAKING),
        InterimTranscript: Row("finish the turn if it is complete", _S.AWAITING_TRANSCRIPT),
        CommitTurn: Row("nothing: it is over already", _S.AWAITING_TRANSCRIPT),
        CreateReply: Row("the turn is replied to when it is final", _S.AWAITING_TRANSCRIPT),
        ClearInput: Row("drop the turn", _S.IDLE),
        **_STOP,
        _C.TURN_EMPTY: Row("drop the turn", _S.IDLE),
        _C.OTHER_VOICE: Row(_IGNORE, _S.IDLE),
        **_FINAL,
        **_FAIL,
    },
    _S.REPLYING: {
        SpeechStarted: Row(
            "start transcribing; pause the playback, unless the call has an echo", _S.OVERLAP
        ),
        **_late(_S.REPLYING),
        **_STOP,
        CreateReply: Row(f"{_CANCEL}; reply to the dialogue so far", _S.IDLE),
        _C.REPLY_PLAYED: Row("add it to the history", _S.IDLE),
        **_FAIL,
    },
    _S.OVERLAP: {
        **{event: Row(does, _S.OVERLAP) for event, does in _OVERLAPPING.items()},
        ClearInput: Row(_RESUME, _S.REPLYING),
        **_STOP,
        _C.ECHO: Row("transcribe from here on", _S.OVERLAP),
        _C.FALSE_INTERRUPTION: Row(_RESUME, _S.REPLYING),
        _C.OTHER_VOICE: Row(f"{_IGNORE}; {_RESUME}", _S.REPLYING),
        _C.DEFERRED: Row(_RESUME, _S.ECHO_CHECK),
        **_TAKEN,
        **_FAIL,
    },
    _S.ECHO_CHECK: {
        SpeechStarted: Row("start transcribing", _S.ECHO_CHECK_OVERLAP),
        **_late(_S.ECHO_CHECK),
        **_STOP,
        CreateReply: Row(f"{_CANCEL}; reply to the dialogue so far", _S.IDLE),
        _C.REPLY_PLAYED: Row("the deferred words are the user's turn", _S.IDLE),
        **_FINAL,
        **_FAIL,
    },
    _S.ECHO_CHECK_OVERLAP: {
        **{event: Row(does, _S.ECHO_CHECK_OVERLAP) for event, does in _OVERLAPPING.items()},
        ClearInput: Row(_RESUME, _S.ECHO_CHECK),
        **_STOP,
        _C.ECHO: Row("transcribe from here on", _S.OVERLAP),
        _C.FALSE_INTERRUPTION: Row(f"{_RESUME}; drop the deferred words", _S.REPLYING),
        _C.OTHER_VOICE: Row(f"{_IGNORE}; {_RESUME}", _S.ECHO_CHECK),
        _C.DEFERRED: Row(_RESUME, _S.ECHO_CHECK),
        **_FINAL,
        **_TAKEN,
        **_FAIL,
    },
}


def next_state(state: State, trigger: Trigger) -> State | None:
    """None: the table has no such row."""
    row = TABLE[state].get(trigger)
    if row is not None:
        return row.to
    return state if trigger in ALWAYS else None


SPEAKING_OVER = frozenset({State.OVERLAP, State.ECHO_CHECK_OVERLAP})  # a reply
REPLY_STATES = frozenset({State.REPLYING, State.ECHO_CHECK})
PAUSES = frozenset({State.USER_PAUSED, State.AWAITING_TRANSCRIPT})
USER_STATES = PAUSES | {State.USER_SPEAKING}
