"""Long calls: the oldest part of the history gives way to a summary of it.

The summary is made while nothing else goes on, and follows the instructions in every prompt. Until
it is there, the whole history is replied to, so nothing waits for it. If it does not come before
the next turn is over, it is asked for again.
"""

from __future__ import annotations

from whisperfusion.messages import Summarize, Summarized
from whisperfusion.turns import user_speech
from whisperfusion.turns.call import Call
from whisperfusion.turns.commands import Command
from whisperfusion.turns.history import with_facts
from whisperfusion.turns.states import State

CHARACTERS_PER_TOKEN = 4
# Estimated tokens of a history that is left as it is. The embedded models read 2048, in which the
# instructions, the tools and the reply must fit as well; what is too long loses its beginning.
BUDGET = 1000
KEPT = 8  # messages, the newest, that stay word for word: about four turns
LONGEST = 2000  # characters of a summary; a model that writes more repeats the dialogue


def due(call: Call) -> list[Command]:
    """Ask for a summary, if there is time and need."""
    history, turn = call.replies.history, call.replies.turn
    if call.state is not State.IDLE or call.over or not call.options.replies:
        return []
    asked = call.summarizing
    if asked is not None and asked.ticket.turn == turn:
        return []
    if history.characters() < BUDGET * CHARACTERS_PER_TOKEN:
        return []
    count = history.ends_before(len(history.messages) - KEPT)
    if not count:
        return []
    known = with_facts(call.options.instructions, call.options.facts)
    prompt = history.prompt(known, first=count)
    call.summarizing = Summarize(call.replies.ticket, prompt, count, call.options.chain)
    call.summarized = history.messages[:count]
    return [call.summarizing]


def received(call: Call, message: Summarized) -> list[Command]:
    """Nothing happens if the history was replaced or cut since."""
    asked, history = call.summarizing, call.replies.history
    text = message.text.strip()[:LONGEST]
    if asked is None or not text or message.ticket != asked.ticket:
        return []
    call.summarizing = None
    if history.messages[: asked.count] != call.summarized:
        return []
    history.summarize(asked.count, text)
    return user_speech.opened(call) if call.state is State.IDLE else []
