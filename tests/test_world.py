"""Random dialogues through the real core on a virtual clock.

Whatever is said, coughed or echoed: no audio leaves that is uncommitted or stale, the history has
nothing that was not heard, no word is lost or invented, nothing but an interruption stops an
answer for good, and no call hangs.
"""

from __future__ import annotations

import json
import os
from collections import Counter

from hypothesis import example, given, settings
from hypothesis import strategies as st
from room import INVENTED, Utterance
from world import OUR_WORDS, World

from whisperfusion.messages import Commit, Pause
from whisperfusion.text.segmentation import words
from whisperfusion.turns.commands import (
    Latency,
    ReplyInterrupted,
    ReplyPlayed,
    ReplyStarted,
    TurnAccepted,
    TurnCounts,
    TurnFailed,
    UserTurnFinal,
)
from whisperfusion.turns.overlap import MAX_BLIPS, MAX_PAUSES

DIALOGUES = int(os.environ.get("WORLD_DIALOGUES", "100"))
QUIET_S = 130.0  # longer than every deadline together

OPEN = ("what is the", "i would like to", "tell me about the", "and", "how do we")
SPELLED = ("my number is five five five", "alpha bravo", "seven")
QUESTIONS = ("how old are they", "what time is it", "where is the nearest hotel")
PLAIN = (
    "capital of france",
    "weather in rome tomorrow",
    "kilo",
    "stop",
    "delta yeah",
    "do not know what that means but go ahead",
)
BACKCHANNELS = ("yeah", "mm-hmm", "okay", "i see", "yeah yeah right")
GAPS_S = (0.08, 0.15, 0.2, 0.35, 0.6, 1.0, 1.6, 2.4, 4.0, 8.0)


@st.composite
def utterances(draw, at=0.0):
    kind = draw(
        st.sampled_from(
            ("open", "spelled", "question", "plain", "plain", "backchannel", "cough", "invented")
        )
    )
    if kind in ("cough", "invented"):
        return Utterance(at, cough_s=draw(st.floats(0.05, 0.8)), invents=kind == "invented")
    pieces = {
        "open": OPEN,
        "spelled": SPELLED,
        "question": QUESTIONS,
        "plain": PLAIN,
        "backchannel": BACKCHANNELS,
    }[kind]
    return Utterance(at, tuple(draw(st.sampled_from(pieces)).split()))


@st.composite
def scripts(draw):
    """A person who speaks, pauses in the middle, goes on, interrupts, coughs and mumbles "yeah"."""
    script, when = [], draw(st.floats(0.2, 1.0))
    for _ in range(draw(st.integers(1, 8))):
        script.append(draw(utterances(when)))
        when = script[-1].end + draw(st.sampled_from(GAPS_S))
    return script


def rations():
    """What an overloaded machine allows, from a moment on."""
    return st.lists(
        st.tuples(st.floats(0.0, 20.0), st.sampled_from((0.2, 0.3, 0.8, 2.0)), st.integers(0, 3)),
        max_size=2,
    )


def rationed(world, allowed):
    for when, partial_s, level in allowed:
        world.at(when, world.ration, partial_s, level)


NOISES = st.one_of(
    st.sampled_from([Utterance(0.0, tuple(text.split())) for text in BACKCHANNELS]),
    st.builds(
        lambda s, invents: Utterance(0.0, cough_s=s, invents=invents),
        st.floats(0.05, 0.8),
        st.booleans(),
    ),
)
CALM = {"scored": True, "eagerness": 0.5, "slow": 1.0, "filler": ""}
MANNERS = st.fixed_dictionaries(
    {
        "scored": st.booleans(),
        "eagerness": st.sampled_from((0.0, 0.3, 0.5, 1.0)),
        "slow": st.sampled_from((0.5, 1.0)),
        "filler": st.sampled_from(("", "one little moment")),
    }
)


@given(st.integers(0, 2**32), scripts(), MANNERS, rations())
@settings(max_examples=DIALOGUES)
def test_a_dialogue_without_accidents_loses_no_word(seed, script, manners, allowed):
    world = World(seed, script, **manners)
    rationed(world, allowed)
    world.run(script[-1].end + QUIET_S)
    world.check()
    assert not world.facts(TurnFailed)
    nothing_lost_or_invented(world)
    every_promise_is_kept(world)


def nothing_lost_or_invented(world):
    """All words arrive, in order, but for mere backchannels over an answer; what a cough was
    taken for does not count.
    """
    understood = [word for word in world.understood() if word not in words(INVENTED)]
    assert accounts_for(world, world.room.script, understood), (world.room.script, understood)


def accounts_for(world, script, understood):
    if not script:
        return not understood
    said = list(words(" ".join(script[0].words)))
    if understood[: len(said)] == said and accounts_for(world, script[1:], understood[len(said) :]):
        return True
    return (
        script[0].backchannel
        and over_an_answer(world, script[0])
        and accounts_for(world, script[1:], understood)
    )


def over_an_answer(world, utterance):
    """Was an answer being heard when this was said?"""
    first = {}
    for part in world.heard:
        first.setdefault(part.ticket, part.at)
    return any(at < utterance.end for at in first.values())


def every_promise_is_kept(world):
    """A user who was told "heard you" gets their words, and the history has of them what they
    were shown; the rest of a message that was answered early goes on with it.
    """
    for i, (_, fact) in enumerate(world.told):
        if isinstance(fact, TurnAccepted):
            assert any(
                isinstance(later, UserTurnFinal) and later.turn == fact.turn
                for _, later in world.told[i:]
            ), fact
    shown = [fact.text for fact in world.facts(UserTurnFinal) if fact.text]
    kept = [line.text for line in world.conversation.history if line.role == "user"]
    assert " ".join(kept) == " ".join(shown)


@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(st.floats(0.1, 6.0), NOISES), min_size=1, max_size=4),
    MANNERS,
)
@settings(max_examples=DIALOGUES // 2)
def test_coughs_and_backchannels_stop_no_answer_for_good(seed, noises, manners):
    world = World(seed, [Utterance(0.5, ("hello", "there"))], reactions=tuple(noises), **manners)
    world.run(60.0 + QUIET_S)
    world.check()
    assert not world.facts((ReplyInterrupted, TurnFailed))
    every_answer_is_played(world)


def every_answer_is_played(world):
    """To its end, however often it stopped."""
    ended = [fact.turn for fact in world.facts(ReplyPlayed) if fact.last]
    assert ended == [commit.ticket.turn for commit in world.facts(Commit)]


ASKED = st.lists(st.sampled_from(QUESTIONS + PLAIN), min_size=1, max_size=4)


@given(st.integers(0, 2**32), st.floats(0.05, 0.3), ASKED, MANNERS, rations())
@settings(max_examples=DIALOGUES // 2)
def test_our_own_echo_is_never_answered(seed, echo_s, questions, manners, allowed):
    """Each question is asked long after the answer before."""
    world = World(seed, [Utterance(0.5, tuple(questions[0].split()))], echo_s=echo_s, **manners)
    rationed(world, allowed)
    for question in questions[1:]:
        world.run(world.now + QUIET_S)
        world.say(*question.split())
    world.run(world.now + QUIET_S)
    world.check()
    assert not world.facts((ReplyInterrupted, TurnFailed))
    assert [words(fact.text) for fact in world.facts(UserTurnFinal) if fact.text] == [
        words(question) for question in questions
    ]
    every_answer_is_played(world)
    every_promise_is_kept(world)
    assert all(
        count <= MAX_PAUSES + MAX_BLIPS
        for count in Counter(hold.ticket for hold in world.facts(Pause)).values()
    )


@given(
    st.integers(0, 2**32),
    st.sampled_from((None, 0.05, 0.12, 0.3)),
    st.floats(0.1, 4.0),
    MANNERS,
    rations(),
)
@example(510225618, 0.3, 2.0, {**CALM, "eagerness": 0.0, "slow": 0.5}, [(2.0, 0.2, 0)])
@settings(max_examples=DIALOGUES // 2)
def test_an_interruption_with_words_always_wins(seed, echo_s, after, manners, allowed):
    reaction = after, Utterance(0.0, tuple(PLAIN[-1].split()))
    world = World(
        seed,
        [Utterance(0.5, ("hello", "there"))],
        reactions=(reaction,),
        replies=(25, 40),
        echo_s=echo_s,
        **manners,
    )
    rationed(world, allowed)
    world.run(60.0 + QUIET_S)
    world.check()
    said = world.room.script[1]
    won = [when for when, fact in world.told if isinstance(fact, ReplyInterrupted)]
    played = [when for when, fact in world.told if isinstance(fact, ReplyPlayed) and fact.last]
    # a recognizer of an overloaded machine takes 1.6 s for a pass, and may be asked every 2 s while
    # an echo is left behind: the answer may end meanwhile, and the words are the next turn
    assert len(won) == 1 or (not won and echo_s is not None and allowed), won
    # an echo that lasts as long as one at most can (turns/echo_limits.py) takes the turn first
    began = 0.0 if echo_s is not None and allowed else said.at
    assert began < (won or played)[0] < said.end + 3.5, (said, won, played)
    heard = [word for word in world.understood() if word in said.words]
    assert heard == list(said.words) if echo_s is None else heard[-3:] == list(said.words[-3:])


@st.composite
def accidents(draw):
    """Things that happen beside speech: a typed line, a hand on a button, a process that dies."""
    kinds = st.sampled_from(("typed", "interrupt", "commit", "llm", "tts"))
    return draw(st.lists(st.tuples(st.floats(0.5, 20.0), kinds), max_size=4))


@given(
    st.integers(0, 2**32),
    scripts(),
    accidents(),
    st.sampled_from((None, 0.05, 0.2)),
    MANNERS,
    rations(),
)
@settings(max_examples=DIALOGUES)
def test_a_dialogue_with_accidents_ends_idle_with_a_true_history(
    seed, script, happenings, echo_s, manners, allowed
):
    world = World(seed, script, echo_s=echo_s, **manners)
    rationed(world, allowed)
    for when, what in happenings:
        if what == "typed":
            world.at(when, world.typed, "kilo kilo")
        elif what in ("llm", "tts"):
            world.at(when, world.kill, what)
        else:
            world.at(when, world.interrupt if what == "interrupt" else world.commit)
    world.run(script[-1].end + 20.0 + QUIET_S)
    world.check()


# no reply has these words in this order
ANNOUNCED = tuple(" ".join(OUR_WORDS[at : at + 4][::-1]) + "." for at in (0, 8, 16, 24))


@given(
    st.integers(0, 2**32),
    scripts(),
    st.lists(st.floats(0.0, 25.0), max_size=len(ANNOUNCED)),
    st.lists(st.tuples(st.floats(0.5, 20.0), st.floats(0.0, 3.0)), max_size=4),
    st.sampled_from((None, None, 0.05, 0.2)),
    MANNERS,
)
@settings(max_examples=DIALOGUES)
def test_announcements_and_tools_at_any_moment(seed, script, moments, tools, echo_s, manners):
    """Each announcement is said once, when nothing else goes on, or was interrupted while it was
    heard; no word of the user is lost for it, and each tool call in the history has its result.
    """
    world = World(seed, script, echo_s=echo_s, replies=(3, 12), **manners)
    for text, when in zip(ANNOUNCED, moments, strict=False):
        world.at(when, world.announce, text)
    for number, (when, took_s) in enumerate(tools):
        world.at(when, world.use_tool, f"c{number}", took_s)
    world.run(script[-1].end + 25.0 + QUIET_S)
    world.check()
    assert not world.facts(TurnFailed)
    every_promise_is_kept(world)
    if echo_s is None:
        nothing_lost_or_invented(world)
    for text in ANNOUNCED[: len(moments)]:
        assert len(said_to_some_end(world, text)) == 1, text
    every_call_has_its_result(world)


def said_to_some_end(world, text):
    """Turns in which it was heard, to its end or in part."""
    pieces = {ticket.turn: " ".join(of.values()) for ticket, of in world.texts.items()}
    heard = {fact.turn for fact in world.facts(ReplyPlayed) if fact.last} | {
        fact.turn for fact in world.facts(ReplyInterrupted) if fact.played_text
    }
    return [turn for turn, whole in pieces.items() if whole == text and turn in heard]


def every_call_has_its_result(world):
    lines = [line for line in world.conversation.history if line.role in ("call", "result")]
    ids = [json.loads(line.text)["id"] for line in lines if line.role == "call"]
    assert sorted(ids) == sorted(json.loads(x.text)["id"] for x in lines if x.role == "result")
    assert len(ids) == len(set(ids))


WISHES = (
    "respond",
    "respond rudely",
    "commit",
    "commit and respond",
    "clear",
    "history",
    "interrupt",
    "llm",
)


@st.composite
def scripts_with_requests(draw):
    """A person, and what a client asks for that keeps the conversation itself, while something
    is said and one soon after the other.
    """
    script, asked = draw(scripts()), []
    for utterance in script:
        when = draw(st.floats(utterance.at, utterance.end + 0.5))
        for what in draw(st.lists(st.sampled_from(WISHES), max_size=3)):
            asked.append((when, what))
            when += draw(st.sampled_from((0.0, 0.02, 0.1, 0.5, 3.0)))
    return script, asked


@given(st.integers(0, 2**32), scripts_with_requests(), st.booleans(), st.booleans(), MANNERS)
@settings(max_examples=DIALOGUES)
def test_every_answer_that_is_asked_for_has_an_end(seed, both, answers, interruptible, manners):
    script, asked = both
    world = World(seed, script, **manners)
    world.change(automatic_replies=answers, interruptible=interruptible)
    for when, what in asked:
        if "commit" in what:
            world.at(when, world.commit)
        if "respond" in what:
            world.at(when, world.respond, {"instructions": "Be rude."} if "rudely" in what else {})
        elif what == "llm":
            world.at(when, world.kill, "llm")
        elif what != "commit":
            world.at(
                when,
                {"clear": world.clear, "history": world.remember, "interrupt": world.interrupt}[
                    what
                ],
            )
    world.run(script[-1].end + 20.0 + QUIET_S)
    world.check()
    for i, (_, fact) in enumerate(world.told):
        if isinstance(fact, ReplyStarted):
            ends = [
                later for _, later in world.told[i:] if is_end(later) and later.turn == fact.turn
            ]
            assert ends, fact
    if not answers:
        assert len(world.facts(Commit)) <= len(world.facts(ReplyStarted)) + len(
            world.facts(TurnFailed)
        )


def is_end(fact):
    return (
        isinstance(fact, (ReplyInterrupted, TurnFailed))
        or isinstance(fact, ReplyPlayed)
        and fact.last
    )


@given(st.integers(0, 2**32), scripts(), st.sampled_from((None, 0.05, 0.2)), st.floats(0.01, 0.3))
@settings(max_examples=DIALOGUES // 2)
def test_lost_messages_words_and_scores_end_no_call(seed, script, echo_s, loss):
    world = World(seed, script, loss=loss, echo_s=echo_s)
    world.run(script[-1].end + QUIET_S * 3)
    assert world.violations == [] and world.conversation.counts.unexpected_events == 0
    assert world.conversation.reply_ticket is None and world.conversation.wake_at is None


def test_the_world_is_not_trivial():
    """The dialogues above are worth something only if preemptive replies hit and are wasted, and
    answers stop and go on.
    """
    interrupted = answered = 0
    total = TurnCounts()
    for seed in range(60):
        script = [
            Utterance(0.5, ("what", "is", "the")),
            Utterance(1.65, ("weather", "there")),
            Utterance(2.5 + seed / 15, ("do", "not", "know")),
            Utterance(20.0, ("mm-hmm",)),
        ]
        world = World(seed, script, echo_s=None if seed % 2 else 0.1, counts=total)
        world.run(90.0)
        world.check()
        interrupted += len(world.facts(ReplyInterrupted))
        answered += len(world.facts(Latency))
    assert answered > 80 and interrupted > 20
    assert (
        total.preemptive > total.preemptive_used > 30
        and total.false_interruptions > 20
        and total.merged_turns > 0
    ), total
