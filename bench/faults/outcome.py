"""What became of a caller's turn.

It is found from the events of the call alone: what the server owes its caller is the answer, a
message why there is none, or a connection that is opened again with the history that the turn
belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.faults.material import echoes
from whisperfusion.client import Closed, Event, Failed, Reconnected, ReplyDone, ReplyText, UserTurn
from whisperfusion.turns.announcements import INTERRUPTED
from whisperfusion.turns.reply import APOLOGY

APOLOGIES = (APOLOGY, INTERRUPTED.text)


@dataclass(frozen=True)
class Lost(Reconnected):
    """`Reconnected`, with what the handshake said of the last turn; `at`: when it was lost."""

    pending: bool = False
    at: float = 0.0


@dataclass
class Turn:
    """A turn as far as it is known. `outcome` is empty while it is open."""

    line: str
    spoken: bool = False
    accepted: bool = False  # the server has said that it is the caller's turn
    outcome: str = ""
    why: str = ""


def outcome_of(turn: Turn, events: Sequence[Event], scripted: bool, kept: int) -> Turn:
    """What became of a turn, from the events since it was begun. `kept`: messages that the history
    of the session must have, by the answers that were complete before. Scripted engines say back
    the line, so that the answer to an earlier turn is not taken for this one's.
    """
    turn, number, again = replace(turn), -1, False
    replies: dict[int, str] = {}
    for event in events:
        match event:
            case UserTurn(turn=at):
                turn.accepted, number = True, at
            case ReplyText(turn=at, text=text, afresh=afresh):
                replies[at] = text if afresh else f"{replies.get(at, '')} {text}"
            case ReplyDone(turn=at) if turn.accepted and (at == number or again):
                turn.why = replies.get(at, "").strip()
                if turn.why not in APOLOGIES:
                    if not again or not scripted or echoes(turn.line, turn.why, turn.spoken):
                        return replace(turn, outcome="answered")
                elif not again:  # in the place of the answer
                    return replace(turn, outcome="told")
            case Failed(message=message):
                return replace(turn, outcome="told", why=message)
            case Closed(reason=reason):
                return replace(turn, outcome="told", why=reason or "closed")
            case Lost():
                replies, number, again = {}, -1, True
                after = _after_loss(turn, event, kept)
                if after.outcome:
                    return after
    return turn


def _after_loss(turn: Turn, again: Lost, kept: int) -> Turn:
    if not again.resumed:
        outcome = "forgotten" if kept else "told"  # of a call without an answer nothing is kept
        return replace(turn, outcome=outcome, why="the server does not know the session")
    if again.messages < kept:
        return replace(
            turn, outcome="lost", why=f"{again.messages} messages of {kept} were remembered"
        )
    if again.pending and turn.accepted:  # the server apologizes, and answers
        return turn
    return replace(turn, outcome="resumed", why="it was not heard, or is in the history")
