"""Acts dialogues and recorded calls out on a checkout whose package is `whisperfusion`.

Its own tests/world.py on its own core.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from dialogues import QUIET_S, Dialogue, Sound
from neutral import NAMES, Neutral, neutral
from room import Utterance
from world import World

from whisperfusion.call.recorder import moment
from whisperfusion.call.recordings import read
from whisperfusion.cli.replay import conversation_of
from whisperfusion.messages import ToolCalled
from whisperfusion.turns import events

Told = tuple[float, Neutral]
OPTIONS = {  # as the dialogues name them -> option, where that differs
    "automatic": "automatic_turns",
    "answers": "automatic_replies",
}


def of_dialogue(dialogue: Dialogue) -> list[Told]:
    world = World(
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
    conversation, clock = conversation_of(recorded), recorded.header["clock"]
    for one in recorded.events:
        for command in conversation.receive(one.event, moment(clock, one.ticks)):
            yield one.ticks, neutral(command)


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
    world.change(**{OPTIONS.get(name, name): value})


def _heard_up_to(world: World, seconds: float) -> None:
    """Of the answer at hand, or of the last one."""
    reply = world.conversation.reply_ticket
    played = [told.turn for _, told in world.told if NAMES[type(told).__name__] == "played"][-1:]
    for turn in [reply.turn] if reply is not None else played:
        world.event(events.PlaybackPosition(turn, seconds))


def _tool_call(world: World, id: str, name: str, arguments: str, tries: int = 40) -> None:
    """In the answer at hand, or in the next one if that comes soon."""
    reply = world.conversation.reply_ticket
    if reply is not None and not world.conversation.reply_complete:
        world.deliver(ToolCalled(reply, id, name, arguments))
    elif tries:
        world.at(world.now + 0.25, _tool_call, world, id, name, arguments, tries - 1)


def _tool_result(world: World, id: str, output: str) -> None:
    world.event(events.ToolResult(id, output))
