"""Acts dialogues and recorded calls out on a checkout whose package is `fusion`.

Its own tests/world.py on its own core.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from dialogues import QUIET_S, Dialogue, Sound
from fusion.core.floor import JUDGED
from fusion.core.turns import Played
from fusion.messages import Called, Commit, Sentence
from fusion.recordings import read
from fusion.replay import floor_of, tell
from neutral import Neutral, neutral
from room import Utterance
from world import World

Told = tuple[float, Neutral]
OWNERS = {
    "eagerness": "floor",
    "silence_s": "floor",
    "replies": "conversation",
    "automatic": "conversation",
    "answers": "conversation",
    "interruptible": "conversation",
    "language": "conversation",
    "instructions": "dialogue",
    "tools": "dialogue",
    "max_tokens": "dialogue",
}


class Speaking(World):
    """Its speaking process drops what is older than the newest reply, as tts_service.py did.

    The world of that time had a copy of that program, without this line of it.
    """

    def _tts(self, message: Any) -> None:
        newest = self.playout.ticket
        if isinstance(message, (Sentence, Commit)) and newest and message.ticket < newest:
            return
        super()._tts(message)


def of_dialogue(dialogue: Dialogue) -> list[Told]:
    world = Speaking(
        dialogue.seed,
        [_utterance(sound) for sound in dialogue.script],
        reactions=tuple((after, _utterance(sound)) for after, sound in dialogue.reactions),
        **dialogue.manner,
    )
    _begin(world, dialogue)
    for when, what, values in dialogue.happens:
        world.at(when, _action(world, what), *values)
    if dialogue.kind == "echo":
        world.run(QUIET_S)
        for question in dialogue.later:
            world.say(*question)
            world.run(world.now + QUIET_S)
    else:
        world.run(dialogue.until)
    return [(round(when, 9), neutral(command)) for when, command in world.told]


def of_recording(path: Path) -> Iterator[Told]:
    """The commands of the present core, at the moments of the recording."""
    recorded = read(path)
    floor = floor_of(recorded.header)
    for event in recorded.events:
        for command in tell(floor, event, recorded.header["clock"]):
            yield event.ticks, neutral(command)


def _utterance(sound: Sound) -> Utterance:
    return Utterance(sound.at, sound.words, sound.cough_s, sound.invents)


def _begin(world: World, dialogue: Dialogue) -> None:
    """The options of the call. What the world did before it knew them does not count."""
    if dialogue.options:
        for name, value in dialogue.options.items():
            _change(world, name, value)
        world.told.clear()
        world.random = random.Random(dialogue.seed)
        if "replies" in dialogue.options:
            world._heap.clear()
            world.at(0.0, world._window)


def _action(world: World, what: str) -> Callable[..., None]:
    own: dict[str, Callable[..., None]] = {
        "history": world.remember,
        "change": partial(_change, world),
        "heard_up_to": partial(_heard_up_to, world),
        "tool_call": partial(_tool_call, world),
        "tool_result": partial(_tool_result, world),
    }
    found: Callable[..., None] = own.get(what) or getattr(world, what)
    return found


def _change(world: World, name: str, value: Any) -> None:
    if name == "silence_s" and value is None:
        value = JUDGED
    owners = {
        "floor": world.floor,
        "conversation": world.conversation,
        "dialogue": world.conversation.dialogue,
    }
    setattr(owners[OWNERS[name]], name, value)


def _heard_up_to(world: World, seconds: float) -> None:
    """Of the answer at hand, or of the last one."""
    reply = world.conversation.dialogue.reply
    played = [fact.turn for fact in world.facts(Played)][-1:]
    for turn in [reply.ticket.turn] if reply is not None else played:
        world.act(world.floor.heard_up_to(turn, seconds, world.now))


def _tool_call(world: World, id: str, name: str, arguments: str, tries: int = 40) -> None:
    """In the answer at hand, or in the next one if that comes soon."""
    reply = world.conversation.dialogue.reply
    if reply is not None and not reply.complete:
        world.deliver(Called(reply.ticket, id, name, arguments))
    elif tries:
        world.at(world.now + 0.25, _tool_call, world, id, name, arguments, tries - 1)


def _tool_result(world: World, id: str, output: str) -> None:
    world.act(world.floor.result(id, output, world.now))
