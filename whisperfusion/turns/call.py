"""What turn-taking knows of one call: a value that the functions of this package share.

Only they write it, and only while an event is received (whisperfusion/turns/turn_taking.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from whisperfusion.messages import ChatMessage, Summarize
from whisperfusion.turns.commands import TurnCounts
from whisperfusion.turns.events import Announcement, CreateReply
from whisperfusion.turns.history import ChatHistory
from whisperfusion.turns.options import Options
from whisperfusion.turns.overlap import OverlapClassifier
from whisperfusion.turns.reply import Replies, TurnTimes
from whisperfusion.turns.states import Condition, State, Trigger, next_state
from whisperfusion.turns.user_turn import UserTurn


class Call:
    def __init__(
        self,
        call: str,
        options: Options,
        history: Sequence[ChatMessage] = (),
        counts: TurnCounts | None = None,
        summary: str = "",
    ) -> None:
        self.replies = Replies(call, options, ChatHistory(history, summary), counts)
        self.overlaps = OverlapClassifier(options.filler, options.language)
        self.state = State.IDLE
        # of the table, that the present event took: (state, event or condition)
        self.rows: list[tuple[State, Trigger]] = []
        self.user = self.answered = UserTurn()  # the present turn; the one that is replied to
        self.deferred: UserTurn | None = None  # in the states of an echo check
        self.request: CreateReply | None = None  # how the turn will be replied to, if asked for
        self.announcements: list[Announcement] = []  # that wait until nothing else goes on
        # of a reply that was lost with an earlier call: what is still to be done
        self.apologize = self.take_up = False
        self.summarizing: Summarize | None = None  # that was asked for and has not come
        self.summarized: list[ChatMessage] = []  # what it sums up
        self.over = False  # the reply that ends the call was played
        self.times = TurnTimes(0.0, 0.0, 0.0)
        self.speech_ended_at = 0.0  # when the user's last speech ended, or was typed
        self.quiet = False  # the detector finds silence now
        self.known_voice = False  # the voice that was told last is a known speaker's
        # the waits: each ends with `Wake`
        self.deadline: float | None = None  # of the state
        self.thinking_at: float | None = None  # when the client learns that a reply is on its way
        self.deferred_until: float | None = None  # when deferred words become a turn

    @property
    def options(self) -> Options:
        return self.replies.options

    @options.setter
    def options(self, options: Options) -> None:
        self.replies.options = options

    @property
    def wake_at(self) -> float | None:
        waits = (self.deadline, self.thinking_at, self.deferred_until)
        return min((at for at in waits if at is not None), default=None)

    def enter(self, event: type) -> State | None:
        """Take the row of `event`; returns the state before it.

        None: there is no such row, and nothing may happen.
        """
        before, after = self.state, next_state(self.state, event)
        if after is None:
            self.replies.counts.unexpected_events += 1
            return None
        self.rows.append((before, event))
        self.state = after
        return before

    def move(self, condition: Condition) -> None:
        """Take the row of `condition`."""
        after = next_state(self.state, condition)
        if after is None:
            raise LookupError(f"no row for {condition.name} in the state {self.state.name}")
        self.rows.append((self.state, condition))
        self.state = after

    def rest(self) -> None:
        """Nothing is waited for any more."""
        self.deadline = self.thinking_at = self.deferred_until = None
        self.replies.current = self.deferred = self.request = None
        self.user = UserTurn()
