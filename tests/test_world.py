"""Random dialogues through the real core on a virtual clock: no audio that is uncommitted or stale, no false memory, no call that hangs."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st
from world import Utterance, World

from fusion.core.turns import Interrupted, Latency, TurnFailed, UserSaid

DIALOGUES = int(os.environ.get("WORLD_DIALOGUES", "1000"))
QUIET_S = 130.0  # longer than every deadline together

VOCABULARY = ("alpha", "bravo", "delta", "echo", "hotel", "india", "kilo", "yeah", "stop", "the")


@st.composite
def scripts(draw):
    """A person who speaks, pauses, interrupts, coughs and mumbles "yeah"."""
    script, when = [], draw(st.floats(0.2, 1.0))
    for _ in range(draw(st.integers(1, 6))):
        if draw(st.booleans()) or draw(st.booleans()):
            said = Utterance(when, tuple(draw(st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=6))))
        else:
            said = Utterance(when, cough_s=draw(st.floats(0.1, 0.8)))
        script.append(said)
        when = said.end + draw(st.sampled_from((0.1, 0.3, 0.6, 1.0, 2.0, 4.0, 8.0)))
    return script


@st.composite
def events(draw):
    """Things that happen beside speech: a typed line, a hand on the stop button, a process that dies."""
    return draw(st.lists(st.tuples(st.floats(0.5, 20.0), st.sampled_from(("typed", "interrupt", "llm", "tts"))), max_size=3))


@given(st.integers(0, 2**32), scripts())
@settings(max_examples=DIALOGUES, deadline=None)
def test_a_dialogue_without_accidents_loses_no_word(seed, script):
    world = World(seed, script)
    world.run(script[-1].end + QUIET_S)
    world.check()
    assert not [fact for fact in world.told if isinstance(fact, TurnFailed)]
    spoken = [word for utterance in script for word in utterance.words]
    understood = [word for fact in world.told if isinstance(fact, UserSaid) for word in fact.text.split()]
    kept = iter(spoken)
    assert all(word in kept for word in understood), (spoken, understood)  # in order, none invented
    assert [w for w in spoken if w != "yeah"] == [w for w in understood if w != "yeah"], "only a backchannel may be dropped"


@given(st.integers(0, 2**32), scripts(), events())
@settings(max_examples=DIALOGUES, deadline=None)
def test_a_dialogue_with_accidents_ends_idle_with_a_true_memory(seed, script, accidents):
    world = World(seed, script)
    for when, what in accidents:
        if what == "typed":
            world.at(when, world.typed, "kilo kilo")
        elif what == "interrupt":
            world.at(when, world.interrupt)
        else:
            world.at(when, world.kill, what)
    world.run(script[-1].end + 20.0 + QUIET_S)
    world.check()


@given(st.integers(0, 2**32), scripts(), st.floats(0.01, 0.3))
@settings(max_examples=DIALOGUES // 2, deadline=None)
def test_lost_messages_end_no_call(seed, script, loss):
    world = World(seed, script, loss=loss)
    world.run(script[-1].end + QUIET_S * 3)
    assert world.violations == []
    assert world.conversation.reply is None and world.conversation.wake_at is None


def test_the_world_is_not_trivial():
    """The dialogues above are worth something only if guesses are made and replies are interrupted."""
    guesses = used = interrupted = answered = 0
    for seed in range(60):
        script = [Utterance(0.5, ("alpha", "bravo")), Utterance(4.0 + seed / 20, ("delta", "kilo")), Utterance(20.0, ("echo", "echo"))]
        world = World(seed, script)
        world.run(60.0)
        world.check()
        guesses += world.conversation.guesses
        used += world.conversation.guesses_used
        interrupted += sum(isinstance(fact, Interrupted) for fact in world.told)
        answered += sum(isinstance(fact, Latency) for fact in world.told)
    assert answered > 120 and used > 60 and guesses >= used and interrupted > 20
