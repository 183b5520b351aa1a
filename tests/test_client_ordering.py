"""Two scripted sockets in every interleaving give one ordered stream of events."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from whisperfusion.client import (
    Event,
    Failed,
    Flushed,
    Paused,
    PlayedText,
    ReplyAudio,
    ReplyDone,
    ReplyInterrupted,
    ReplyPlayed,
    ReplyStarted,
    ReplyText,
    Resumed,
    ToolCall,
    UserTurn,
)
from whisperfusion.client.ordering import EventOrder
from whisperfusion.wire.tts_events import AudioEnded, AudioSent, AudioStarted

ENDS = (ReplyDone, ReplyInterrupted, Failed)
REPLY = (*ENDS, ReplyText, ReplyAudio, ToolCall)


def text(turn: int, index: int = 0, last: bool = True) -> ReplyText:
    return ReplyText(turn, index, f"{turn}.{index}", last)


def merged(*frames: tuple[str, object], audio: bool = True) -> list[Event]:
    order = EventOrder(audio=audio)
    return [
        event
        for socket, frame in frames
        for event in (order.receive_asr if socket == "asr" else order.receive_tts)(frame)
    ]


# --- any interleaving ---------------------------------------------------------------------------


@st.composite
def a_turn(draw, turn: int) -> tuple[list[object], list[object]]:
    """What the sockets send of one turn, each in its order."""
    pieces = draw(st.integers(1, 3))
    opened = draw(st.sampled_from([UserTurn(turn, "hello"), ReplyStarted(turn, "r1")]))
    asr: list[object] = [opened, *(text(turn, i, i == pieces - 1) for i in range(pieces))]
    if draw(st.booleans()):
        asr.insert(draw(st.integers(1, len(asr) - 1)), ToolCall(turn, "c", "f", "{}"))
    tts: list[object] = [
        AudioStarted(turn),
        *(bytes([turn, i]) for i in range(draw(st.integers(1, 4)))),
    ]
    match draw(st.sampled_from(["played", "sent", "interrupted", "failed"])):
        case "played":
            asr.append(ReplyPlayed(turn, 1.0, True))
            if draw(st.booleans()):
                tts[2:2] = [Paused(), Resumed()]
            tts.append(AudioEnded(turn))
        case "sent":
            tts += [AudioSent(turn), AudioEnded(turn)]
            asr.append(ReplyPlayed(turn, 1.0, True))
        case "interrupted":
            asr.insert(draw(st.integers(1, len(asr))), ReplyInterrupted(turn, "so far"))
            tts += [Paused(), Flushed(turn)]
        case "failed":
            asr.insert(draw(st.integers(1, len(asr))), Failed("llm_failed", "why", turn))
            tts = draw(st.sampled_from([[], [*tts, Flushed(turn)]]))
    return asr, tts


@st.composite
def interleaved(draw, asr: list[object], tts: list[object]) -> list[tuple[str, object]]:
    sides = draw(st.permutations(["asr"] * len(asr) + ["tts"] * len(tts)))
    queues = {"asr": iter(asr), "tts": iter(tts)}
    return [(side, next(queues[side])) for side in sides]


@st.composite
def turn_by_turn(draw) -> tuple[list, list]:
    """The same call twice: in two interleavings of each turn."""
    first, second = [], []
    for turn in range(1, draw(st.integers(1, 3)) + 1):
        asr, tts = draw(a_turn(turn))
        first += draw(interleaved(asr, tts))
        second += draw(interleaved(asr, tts))
    return first, second


@st.composite
def anyhow(draw) -> list[tuple[str, object]]:
    """The sockets may be whole turns apart."""
    turns = [draw(a_turn(turn)) for turn in range(1, draw(st.integers(1, 4)) + 1)]
    asr = [frame for one, _ in turns for frame in one]
    return draw(interleaved(asr, [frame for _, one in turns for frame in one]))


def of(events: list[Event], kind: type | tuple[type, ...], turn: int) -> list[Event]:
    return [one for one in events if isinstance(one, kind) and getattr(one, "turn", None) == turn]


@given(turn_by_turn())
def test_any_interleaving_gives_the_same_stream_of_each_turn(calls):
    first, second = (merged(*frames) for frames in calls)
    for turn in range(1, 4):
        for kind in ((UserTurn, ReplyStarted), (ReplyText, ToolCall), ReplyPlayed, ENDS):
            assert of(first, kind, turn) == of(second, kind, turn)
        audio = [of(events, ReplyAudio, turn) for events in (first, second)]
        shorter, longer = sorted(audio, key=len)
        assert longer[: len(shorter)] == shorter
        if of(first, ReplyDone, turn):  # an interrupted reply may lose audio that came late
            assert shorter == longer


@given(anyhow())
def test_rules_hold_however_far_the_sockets_are_apart(frames):
    events = merged(*frames)
    for turn in range(1, 5):
        mine = of(events, (UserTurn, ReplyStarted, *REPLY), turn)
        if not mine:
            continue
        assert isinstance(mine[0], (UserTurn, ReplyStarted))
        assert [isinstance(one, ENDS) for one in mine] == [False] * (len(mine) - 1) + [True]
        texts = of(mine, ReplyText, turn)
        assert all(a.index < b.index for a, b in pairwise(texts))
        if isinstance(mine[-1], ReplyDone):
            assert texts[-1].last
        pcm = [one.pcm for one in of(mine, ReplyAudio, turn)]
        assert pcm == [bytes([turn, i]) for i in range(len(pcm))]


@given(anyhow())
def test_nothing_of_8888_comes_between_a_flush_and_the_next_audio_of_its_turn(frames):
    flushed: set[int] = set()
    for event in merged(*frames):
        if isinstance(event, Flushed):
            flushed.add(event.turn)
        assert not (isinstance(event, ReplyAudio) and event.turn in flushed)


# --- one rule each ------------------------------------------------------------------------------


def test_audio_waits_until_its_turn_is_known():
    early = [("tts", AudioStarted(1)), ("tts", b"ab"), ("tts", Paused()), ("tts", b"cd")]
    assert merged(*early) == []
    assert merged(*early, ("asr", UserTurn(1, "hi"))) == [
        UserTurn(1, "hi"),
        ReplyAudio(1, b"ab"),
        Paused(),
        ReplyAudio(1, b"cd"),
    ]


def test_a_reply_without_a_user_turn_is_opened_by_its_text():
    """An apology follows a turn that failed."""
    early = [("tts", AudioStarted(2)), ("tts", b"ab")]
    assert merged(*early, ("asr", text(2))) == [text(2), ReplyAudio(2, b"ab")]


def test_flushed_audio_that_starts_again_in_the_same_turn_is_heard():
    frames = [AudioStarted(1), b"ab", Flushed(1), b"late", AudioStarted(1), b"cd"]
    events = merged(("asr", UserTurn(1, "hi")), *(("tts", frame) for frame in frames))
    assert events[1:] == [ReplyAudio(1, b"ab"), Flushed(1), ReplyAudio(1, b"cd")]


def test_a_reply_that_comes_by_itself_begins_when_the_one_before_is_done():
    """A timer that is due comes at once on 6006, while the end of the reply before it may still be
    on its way on 8888. A client that gets its text in the middle of that reply takes it for none.
    """
    before = [("asr", UserTurn(1, "hi")), ("asr", text(1)), ("tts", AudioStarted(1))]
    events = merged(*before, ("asr", ReplyPlayed(1, 1.0, True)), ("asr", text(2)))
    assert events[-2:] == [ReplyDone(1), text(2)]
    assert merged(*before, ("asr", text(2)))[-1:] == [text(2)]  # it was not played yet


def test_a_reply_is_done_when_the_server_knows_that_it_was_played():
    """Else what the user says next would be taken for speech over the reply."""
    before = [("asr", UserTurn(1, "hi")), ("asr", text(1)), ("tts", AudioEnded(1))]
    played = ReplyPlayed(1, 1.0, True)
    assert ReplyDone(1) not in merged(*before)
    assert merged(*before, ("asr", played))[-2:] == [played, ReplyDone(1)]


def test_without_audio_a_reply_is_done_when_it_was_played():
    asr = [UserTurn(1, "hi"), text(1), ReplyPlayed(1, 0.0, True)]
    assert merged(*(("asr", event) for event in asr), audio=False) == [*asr, ReplyDone(1)]


def test_a_reply_that_cannot_be_spoken_is_done_too():
    asr = [UserTurn(1, "hi"), text(1), ReplyPlayed(1, 0.0, True)]
    assert merged(*(("asr", event) for event in asr)) == [*asr, ReplyDone(1)]


def test_audio_that_was_given_up_in_the_middle_of_a_reply_is_not_waited_for():
    order = EventOrder(audio=True)
    for event in (UserTurn(1, "hi"), text(1)):
        order.receive_asr(event)
    order.receive_tts(AudioStarted(1))
    assert order.listen(False) == []
    played = ReplyPlayed(1, 2.0, True)
    assert order.receive_asr(played) == [played, ReplyDone(1)]


def test_an_interruption_after_the_end_says_what_was_played():
    """Of audio that is not paced: all of it has left long before it was heard."""
    done = [("asr", UserTurn(1, "hi")), ("asr", text(1)), ("tts", AudioSent(1))]
    events = merged(*done, ("asr", ReplyInterrupted(1, "so")))
    assert events[-2:] == [ReplyDone(1), PlayedText(1, "so")]


def test_a_newer_turn_ends_a_reply_whose_last_frame_on_8888_was_lost():
    asr = [UserTurn(1, "hi"), text(1), ReplyPlayed(1, 1.0, True), UserTurn(2, "and?")]
    events = merged(*(("asr", event) for event in asr))
    assert events == [*asr[:3], ReplyDone(1), asr[3]]
