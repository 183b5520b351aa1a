"""What is true of a virtual world in the end, and how much harm was done in it."""

from __future__ import annotations

from collections import defaultdict

from room import OUR_WORD_S, SPOKEN

from whisperfusion.messages import Ticket
from whisperfusion.output.playout import FILLER
from whisperfusion.text.segmentation import words
from whisperfusion.turns.harm import Harm, harm_of


def harm_in(world) -> Harm:
    """As a person in the room has it, who speaks and hears the loudspeaker."""
    sound: dict[Ticket, list[tuple[float, float]]] = defaultdict(list)
    for part in world.room.loudspeaker.played:
        sound[part.ticket].append((part.at, part.end))
    return harm_of(sound.values(), [(u.at, u.end) for u in world.room.script], world.now)


def history_was_heard(world) -> None:
    """Every word of ours in the history belongs to one reply, from its start, and had left as
    audio.
    """
    sent: dict[Ticket, int] = defaultdict(int)
    for part in world.heard:
        sent[part.ticket] += part.count if part.index != FILLER else 0
    replies = {
        ticket: words(" ".join(text for _, text in sorted(pieces.items())))
        for ticket, pieces in world.texts.items()
    }
    opening = words(" ".join(world.opening))  # not said twice
    for line in world.conversation.history:
        if line.role != "assistant":
            continue
        said = words(line.text)
        fitting = [
            ticket
            for ticket, whole in replies.items()
            if said in (whole[: len(said)], whole[len(opening) :][: len(said)]) and sent[ticket]
        ]
        assert fitting, f"{line.text!r} was never said"
        seconds = max(sent[ticket] for ticket in fitting) / SPOKEN
        assert len(said) * OUR_WORD_S <= seconds + OUR_WORD_S, (
            f"{line.text!r} needs more than the {seconds:.1f} s that left"
        )
