"""Calls written down while they happen, and played back: the same commands, or the difference in
words.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import resource
import stat
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from client import spoken
from hypothesis import given, settings
from hypothesis import strategies as st
from room import Utterance
from running import ROOT
from world import World

from whisper_server import Service
from whisperfusion.audio import VAD_WINDOW
from whisperfusion.call.caller import Caller
from whisperfusion.call.recorder import Recorder, Recording, header, recorder_of
from whisperfusion.call.recordings import EVENTS, Recorded, read
from whisperfusion.cli.replay import alike, conversation_of, played, renew, report, run
from whisperfusion.messages import (
    ChatMessage,
    Commit,
    EndCall,
    Failed,
    PlaybackProgress,
    Sentence,
    Summarized,
    Ticket,
    ToolCalled,
    ToolFinished,
    ToolStarted,
)
from whisperfusion.settings import Settings
from whisperfusion.text.end_of_turn import Ending
from whisperfusion.turns import events, turn_detection
from whisperfusion.turns.commands import Command
from whisperfusion.turns.conversation import Conversation
from whisperfusion.turns.endpointing import START
from whisperfusion.turns.events import Event, Wake
from whisperfusion.turns.options import Options
from whisperfusion.wire import asr_socket as wire

RECORDED = sorted((ROOT / "tests" / "recorded").glob("*.jsonl"))
RENEW = "python -c \"from whisperfusion.cli.replay import renew; renew('{}')\""


def new_conversation() -> Conversation:
    history = (ChatMessage("user", "Hi."), ChatMessage("assistant", "Good day."))
    return Conversation("a", Options("Be nice."), history)


def recorder(conversation: Conversation, path: Path, clock: float = 0.0) -> Recorder:
    first = header(conversation, clock, "2026-11-21 10:11:12 +0000")
    return Recorder(conversation, Recording(path, first), clock)


def short_call(path: Path, clock: float = 1000.0, speech: float = 0.9) -> Path:
    """A question of half a second, answered; its transcript is known 0.1 s after it, and the
    end-of-turn probability 0.3 s.
    """
    conversation, now = new_conversation(), clock
    call = recorder(conversation, path, clock)
    call.receive(events.CallOpened(), now)
    for window in range(60):
        now = clock + (window + 1) * VAD_WINDOW / 16_000
        call.receive(events.SpeechProbability(speech if 20 <= window < 36 else 0.01), now)
        if window == 39:
            call.receive(events.InterimTranscript("What time is it", conversation.position), now)
        if window == 45 and conversation.paused_at is not None:
            call.receive(events.EndOfTurnProbability(0.1234, conversation.paused_at), now)
    call.receive(Sentence(Ticket("a", 1, 1), 0, "Noon.", last=True, first_token_s=0.07), now)
    call.receive(PlaybackProgress(Ticket("a", 1, 1), 0, 0.5, 0.5, last=True), now + 0.5)
    call.end()
    return path


@pytest.fixture
def call(tmp_path) -> Path:
    return short_call(tmp_path / "call.jsonl")


# --- what is recorded ---------------------------------------------------------------------------


EXAMPLES = (
    events.EndOfTurnProbability(0.123, 4096),
    events.EndOfTurnProbability(0.123, 4096, 0.25),
    events.InterimTranscript("hello", 4096, True),
    events.InterimTranscript("hello", 4096, False, 0.125),
    events.SpeakerIdentified(512, 4096, None),
    events.CallOpened(),
    events.OptionsChanged(
        Options(
            "Be rude.", silence_s=0.4, interruptible=False, server_tools=("time",), chain="a, b"
        )
    ),
    events.CommitTurn(),
    events.TextTyped("hello \ud83d"),
    events.InterruptReply(),
    events.CreateReply("r1", max_tokens=20),
    events.ClearInput(),
    events.HistoryReplaced((ChatMessage("user", "Hi."), ChatMessage("assistant", "Ho."))),
    events.ToolResult("c1", "it rains"),
    events.ApprovalGiven("c1", True),
    events.PlaybackPosition(1, 0.5),
    events.Announcement("Good day.", remember=False),
    events.ReplyLost(),
    events.StageDown("llm"),
    events.Wake(),
    Sentence(Ticket("a", 1, 1), 0, "Noon.", spoken=""),
    ToolCalled(Ticket("a", 1, 1), "c1", "look", "{}"),
    ToolStarted(Ticket("a", 1, 1), "c1", "look", "{}"),
    ToolFinished(Ticket("a", 1, 1), "c1", "rain", failed=True),
    EndCall(Ticket("a", 1, 1)),
    Summarized(Ticket("a", 1, 1), 2, "They met."),
    PlaybackProgress(Ticket("a", 1, 1), 0, 0.5, 0.5, last=True),
    Failed(Ticket("a", 1, 1), "llm", "It broke."),
)


def test_every_event_is_written_and_read_as_it_was(tmp_path):
    assert {type(event).__name__ for event in EXAMPLES} == set(EVENTS)
    call = recorder(new_conversation(), tmp_path / "a.jsonl")
    for event in EXAMPLES:
        call.receive(event, 1.0)
    call.end()
    assert tuple(one.event for one in read(tmp_path / "a.jsonl").events) == EXAMPLES


class Others:
    """The processes that think and speak: every committed answer is one sentence, heard at once."""

    def __init__(self) -> None:
        self.caller: Caller | None = None
        self.commits = 0

    def put(self, message: object) -> None:
        if isinstance(message, Commit):
            self.commits += 1
            for fact in (
                Sentence(message.ticket, 0, "I see.", last=True),
                PlaybackProgress(message.ticket, 0, 0.25, 0.25, last=True),
            ):
                asyncio.get_running_loop().call_soon(self.caller.message, fact)


async def one_call(folder: Path | str) -> tuple[Caller, int]:
    """Two spoken questions and a typed one, in the real caller with scripted engines, as fast as
    they go.
    """
    others = Others()
    service = Service(
        Settings(
            asr_engine="scripted",
            vad_engine="scripted",
            turn_engine="scripted",
            filler="Hmm.",
            eagerness=0.9,
            record_dir=str(folder),
        ),
        others,
    )
    service.start()
    handshake = wire.parse_handshake(
        json.dumps({"uid": "u", "events": True, "history": [{"role": "user", "text": "Hi."}]}),
        None,
        "en",
    )
    caller = others.caller = Caller("101112-ab", "", handshake, service, lambda frame: None)
    caller.open()
    caller.control(wire.Update(eagerness=0.8, instructions="Be brief."))
    await caller.accept_audio(spoken("alpha beta gamma").tobytes())
    caller.limit(0.7, early_replies=False, brief=True)
    await caller.accept_audio(spoken("what now", 0.1).tobytes())
    await caller.finish()
    caller.control(wire.Say("typed \ud83d"))
    await asyncio.sleep(0)
    caller.hang_up()
    for worker in service.transcribers.values():
        worker.stop()
    service.turn_detector.stop()
    return caller, others.commits


async def test_a_call_of_the_real_caller_is_replayed_to_the_same_commands(tmp_path, capsys):
    caller, commits = await one_call(tmp_path / "new" / "folder")
    (path,) = (tmp_path / "new" / "folder").iterdir()
    assert path.name.endswith("-101112-ab.jsonl") and stat.S_IMODE(path.stat().st_mode) == 0o600
    recording = read(path)
    conversation = conversation_of(recording)
    steps = list(played(conversation, recording))
    assert recording.whole and all(step.same for step in steps)
    wanted = Counter(name for step in steps for name, _ in step.out)
    assert wanted["Commit"] == commits == 3 and wanted["UserTurnFinal"] == 3
    assert conversation.history == caller.conversation.history
    options = conversation.options
    assert options == caller.conversation.options and options.filler == "Hmm."
    assert (options.interim_every_s, options.eagerness, options.brief) == (0.7, 0.8, True)
    assert options.instructions == "Be brief."
    assert run(str(path)) == 0
    shown = capsys.readouterr().out
    assert (
        "UserTurnFinal turn 1 'alpha beta gamma'" in shown
        and "s of speech" in shown
        and "OptionsChanged interim_every_s 0.7" in shown
    )
    assert (
        "user_paused -> replying" in shown
        and "turn 2, ms after the end of speech" in shown
        and shown.endswith("no difference\n")
    )


async def test_nothing_is_recorded_unless_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, commits = await one_call("")
    assert commits == 3 and list(tmp_path.iterdir()) == []


def test_the_conversation_receives_the_rounded_probabilities_that_are_written(tmp_path):
    recording = read(short_call(tmp_path / "a.jsonl", speech=START - 0.0004))
    steps = list(played(conversation_of(recording), recording))
    assert [step for step in steps if not step.same] == []
    assert {"SpeechStarted", "Commit"} <= {name for step in steps for name, _ in step.event.out}


def test_no_sound_and_no_prompt_is_in_the_file_twice(call):
    assert call.read_text().count("Be nice.") == 1 and call.stat().st_size < 4000


# --- random calls -------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=()), max_size=8) | st.sampled_from(
    ("what time is it?", "mm-hmm", "and the", "stop")
)
SECONDS = st.floats(0, 3)
HAPPENINGS = st.one_of(
    st.tuples(st.just("window"), st.floats(0, 1), st.integers(1, 60)),
    st.tuples(st.just("words"), TEXTS, st.booleans()),
    st.tuples(st.just("score"), st.floats(0, 1)),
    st.tuples(st.sampled_from(("commit", "opened", "interrupt", "wake"))),
    st.tuples(st.just("typed"), TEXTS),
    st.tuples(st.just("heard_up_to"), st.integers(0, 3), SECONDS),
    st.tuples(st.just("sentence"), st.integers(0, 2), TEXTS, st.booleans(), SECONDS),
    st.tuples(st.just("spoken"), st.integers(-1, 2), SECONDS, st.booleans()),
    st.tuples(st.just("failed"), st.sampled_from(("asr", "llm", "tts"))),
    st.tuples(st.just("stage_down"), st.sampled_from(("llm", "tts"))),
    st.tuples(
        st.just("set"),
        st.sampled_from(("automatic_turns", "brief", "early_replies")),
        st.booleans(),
    ),
    st.tuples(st.just("set"), st.sampled_from(("language", "instructions")), TEXTS),
)


SIMPLE = {
    "commit": events.CommitTurn,
    "opened": events.CallOpened,
    "interrupt": events.InterruptReply,
    "wake": events.Wake,
    "typed": events.TextTyped,
    "heard_up_to": events.PlaybackPosition,
    "stage_down": events.StageDown,
}


def happens(conversation: Conversation, what: tuple) -> list[Event]:
    name, *values = what
    ticket = conversation.reply_ticket or conversation.ticket
    match name:
        case "window":
            return [events.SpeechProbability(values[0])] * values[1]
        case "words":
            return [events.InterimTranscript(values[0], conversation.position, values[1])]
        case "score":
            return [events.EndOfTurnProbability(values[0], conversation.paused_at or 0)]
        case "sentence":
            return [Sentence(ticket, *values)]
        case "spoken":
            return [PlaybackProgress(ticket, *values[:2], 3.0, values[2])]
        case "failed":
            return [Failed(ticket, values[0], "It broke.")]
        case "set":
            changed = replace(conversation.options, **{values[0]: values[1]})
            return [events.OptionsChanged(changed)]
    return [SIMPLE[name](*values)]


def assert_replayed(path: Path, commands: list[Command]) -> None:
    recording = read(path)
    steps = list(played(conversation_of(recording), recording))
    assert [step for step in steps if not step.same] == []
    assert [name for step in steps for name, _ in step.out] == [
        type(command).__name__ for command in commands
    ]
    before = path.read_bytes()
    renew(path)
    assert path.read_bytes() == before


@given(st.floats(0, 1e6), st.lists(st.tuples(SECONDS, HAPPENINGS), max_size=30))
@settings(max_examples=100)
def test_whatever_happens_is_replayed_to_the_same_commands(clock, happenings):
    with tempfile.TemporaryDirectory() as folder:
        path, now, commands = Path(folder) / "a.jsonl", clock, []
        conversation = new_conversation()
        call = recorder(conversation, path, clock)
        for later, what in [*happenings, (0.0, ("wake",))]:
            now += later
            for event in happens(conversation, what):
                commands += call.receive(event, now)
        call.end()
        assert_replayed(path, commands)


@pytest.mark.parametrize("seed", range(12))
def test_the_dialogues_of_the_world_are_replayed_to_the_same_commands(seed, tmp_path):
    interruption = (0.5, Utterance(0.0, ("delta", "kilo", "india")))
    world = World(
        seed,
        [Utterance(0.5, ("alpha", "bravo")), Utterance(2.0, ("hotel", "the", "echo"))],
        reactions=(interruption,),
    )
    path, commands = tmp_path / "a.jsonl", []
    call = recorder(world.conversation, path)
    world.receive = call.receive
    act = world.act
    world.act = lambda some: (commands.extend(some), act(some))
    world.run(60.0)
    call.end()
    assert {"Commit", "Generate", "SpeechStopped"} <= {
        type(command).__name__ for command in commands
    }
    assert_replayed(path, commands)
    # somebody spoke over the first moments of a reply
    (told,) = [line for line in report(read(path))[0] if line.startswith("replies that began")]
    assert not told.startswith("replies that began too early 0: 0 ms")


# --- a core that was changed --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([["Commit", {"ticket": "1.1"}]], [["Commit", {"ticket": "1.1"}]], True),
        ([["Commit", {"ticket": "1.1"}]], [["Commit", {"ticket": "1.2"}]], False),
        ([["Commit", {"ticket": "1.1"}]], [["Pause", {"ticket": "1.1"}]], False),
        ([["Commit", {"ticket": "1.1"}]], [["Commit", {"ticket": "1.1", "filler": "Hmm."}]], False),
        ([], [["StopTranscribing", {}]], False),
        ([["ReplyPlayed", {"seconds": 1.0312}]], [["ReplyPlayed", {"seconds": 1.0313}]], True),
        ([["ReplyPlayed", {"seconds": 1}]], [["ReplyPlayed", {"seconds": 1.0}]], True),
        ([["ReplyPlayed", {"seconds": 1.0}]], [["ReplyPlayed", {"seconds": 1.0003}]], False),
        ([["RequestTranscript", {"urgent": True}]], [["RequestTranscript", {"urgent": 1}]], False),
    ],
)
def test_commands_are_the_same_but_for_rounding(one, other, same):
    assert alike(one, other) is alike(other, one) is same


@pytest.fixture
def slower_core(monkeypatch) -> Callable[[], None]:
    """Changes a constant: no pause ends a turn any more before 2.4 s."""
    return lambda: [
        monkeypatch.setitem(turn_detection.SILENCE_S, row, (2.4, 2.4, 2.4)) for row in Ending
    ]


def test_a_changed_constant_is_noticed_and_the_difference_named(call, capsys, slower_core):
    assert run(str(call)) == 0
    slower_core()
    capsys.readouterr()
    assert run(str(call)) == 1
    timeline, _, found = capsys.readouterr().out.partition(
        "DIFFERENT: the core commands something else now at "
    )
    assert "\n!   " in timeline and "no difference" not in found
    first = found.split("\nat ")[1].splitlines()
    assert re.fullmatch(r"1\.\d+ s, line \d+: 0\.03 s of silence", first[0]), first
    assert first[1].split() == ["recorded", "now"]
    sides = dict(line.strip().rsplit("  ", 1) for line in first[2:] if line.strip())
    assert set(sides.values()) == {"(nothing)"} and any(
        line.startswith("! Commit 1.1") for line in sides
    ), first


def test_a_recording_can_be_renewed_after_a_change_on_purpose(call, slower_core):
    before = read(call)
    slower_core()
    assert not report(before)[1]
    renew(call)
    after = read(call)
    assert report(after)[1] and after.whole
    told = [
        [(event.ticks, event.event) for event in recording.events] for recording in (before, after)
    ]
    assert told[0] == told[1] and before.header == after.header


class Broken(Conversation):
    def receive(self, event: Event, now: float) -> list[Command]:
        raise RuntimeError("a bug")


def test_a_bug_of_the_core_is_in_the_recording_and_reaches_the_caller(tmp_path, capsys):
    call = recorder(Broken("a"), tmp_path / "a.jsonl")
    with pytest.raises(RuntimeError, match="a bug"):
        call.receive(Wake(), 1.0)
    call.end()
    assert run(str(tmp_path / "a.jsonl")) == 1
    shown = capsys.readouterr().out
    assert "raised error" in shown and "RuntimeError('a bug')" in shown and "(nothing)" in shown


# --- files that cannot be read, or written ------------------------------------------------------


def changed(line: int, **fields: object) -> Callable[[str], str]:
    def change(text: str) -> str:
        lines = text.splitlines(keepends=True)
        lines[line - 1] = json.dumps({**json.loads(lines[line - 1]), **fields}) + "\n"
        return "".join(lines)

    return change


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: "", "it is empty"),
        (lambda text: "# Read me\n", "this is not a recording of a call"),
        (lambda text: "[1, 2]\n", "this is not a recording of a call"),
        (lambda text: '{"format": "another"}\n' + text, "this is not a recording of a call"),
        (lambda text: "[" * 100_000, "this is not a recording of a call"),
        (lambda text: text.splitlines()[0] + "\n", "no event is in it"),
        (changed(1, version=3), "written by a newer version: its format is 3, this one reads 2"),
        (changed(1, clock="noon"), "line 1: the header: clock must be a number, not 'noon'"),
        (changed(1, clock=1e400), "line 1: the header: clock must be a number"),
        (changed(1, history=[["user"]]), "line 1: history must be a list of [role, text]"),
        (changed(1, options={"mood": 1}), "line 1: options has unknown fields: mood"),
        (changed(1, options={"eagerness": "high"}), "line 1: options: eagerness must be a number"),
        (changed(2, event=["Sing", {}]), "line 2: 'Sing' is not an event of a call"),
        (changed(2, event="Wake"), "line 2: event must be [name, fields], not 'Wake'"),
        (changed(2, at=-1), "line 2: at -1 is not a time of a call"),
        (changed(2, at=None), "line 2: the event: at must be a number, not None"),
        (changed(2, out=["Commit"]), "line 2: 'Commit' is not a command"),
        (
            changed(2, event=["InterimTranscript", {"text": "a", "upto": 1.5}]),
            "upto must be a whole number, not 1.5",
        ),
        (changed(2, event=["Wake", {"loud": 1}]), "line 2: Wake has unknown fields: loud"),
        (
            changed(2, event=["OptionsChanged", {"mood": 1}]),
            "line 2: OptionsChanged has unknown fields: mood",
        ),
        (changed(2, event=["Cancel", {}]), "line 2: 'Cancel' is not an event of a call"),
        (
            changed(2, event=["PlaybackProgress", {"ticket": "1"}]),
            "line 2: ticket '1' must look like 3.1",
        ),
        (
            changed(2, event=["PlaybackProgress", {"ticket": "1.1"}]),
            "line 2: PlaybackProgress has no 'index'",
        ),
        (changed(3, p=[1, 2000]), "line 3: p must be a list of whole numbers from 0 to 1000"),
        (
            changed(3, after=[]),
            "line 3: after must be a list of whole numbers, one less than p has",
        ),
        (
            lambda text: text[: text.rindex('{"at"')] + "\x00\n",
            "is damaged: it is not a JSON object",
        ),
    ],
)
def test_a_file_that_cannot_be_replayed_is_refused_with_the_reason(call, capsys, change, why):
    call.write_text(change(call.read_text()))
    assert run(str(call)) == 2
    told = capsys.readouterr()
    assert (
        told.out == "" and told.err.startswith(f"main.py replay: {call}: ") and why in told.err
    ), told.err


@pytest.mark.parametrize("path", [ROOT, ROOT / "missing.jsonl", ROOT / "docs" / "page.png"])
def test_what_is_no_text_file_is_refused_too(capsys, path):
    assert run(str(path)) == 2 and str(path) in capsys.readouterr().err


def test_a_recording_that_breaks_off_is_replayed_as_far_as_it_goes(call, capsys):
    call.write_text(call.read_text()[:-40])
    assert run(str(call)) == 0
    assert "the recording breaks off before the end of the call" in capsys.readouterr().out


@given(st.data())
@settings(max_examples=100)
def test_no_damage_is_more_than_a_difference_or_a_refusal(data):
    with tempfile.TemporaryDirectory() as folder:
        path = short_call(Path(folder) / "a.jsonl")
        whole = path.read_bytes()
        at = data.draw(st.integers(0, len(whole) - 1))
        path.write_bytes(
            whole[:at]
            + data.draw(st.binary(max_size=3))
            + whole[at + data.draw(st.integers(0, 3)) :]
        )
        assert run(str(path)) in (0, 1, 2)


def test_a_full_disk_ends_the_recording_with_one_warning_and_not_the_call(tmp_path, caplog):
    plain, recorded = new_conversation(), new_conversation()
    call = recorder(recorded, tmp_path / "a.jsonl")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, before[1]))
    try:
        for number in range(400):
            for event in (
                events.InterimTranscript(f"word {number}", number),
                events.SpeechProbability(0.9),
            ):
                assert call.receive(event, number / 10) == plain.receive(event, number / 10)
        call.end()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert (
        "ends here, the call goes on" in warning.getMessage()
        and "too large" in warning.getMessage()
    )
    assert not read(tmp_path / "a.jsonl").whole and recorded.position == plain.position


def test_a_folder_that_cannot_be_written_is_told_and_the_call_goes_on(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    assert recorder_of(new_conversation(), str(tmp_path / "file"), 0.0) is None
    assert "the call a is not recorded" in caplog.text


# --- the command line, and calls that are kept --------------------------------------------------


def test_the_command_replays_and_ends_quietly_when_nobody_reads_on(call):
    command = [sys.executable, "main.py", "replay", str(call)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.endswith("no difference\n") and done.stderr == ""
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as unread:
        unread.stdout.close()
        assert unread.stderr.read() == "" and unread.wait(60) == 0


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_recorded_call_goes_as_it_went(path):
    """Calls of real people's recordings with the default models (docs/replay.md)."""
    lines, same = report(read(path))
    assert same, "\n".join(
        [*lines[-40:], f"if this was meant: {RENEW.format(path.relative_to(ROOT))}"]
    )


def recorded_call(name: str) -> Recorded:
    return read(RECORDED[0].with_name(name))


def facts(recorded: Recorded) -> list[str]:
    """What the caller was told in a recorded call, without the answers."""
    steps = played(conversation_of(recorded), recorded)
    kept = ("UserTurnFinal", "Pause", "Resume", "ReplyInterrupted", "Commit", "TurnFailed")
    return [
        " ".join([command[0], command[1].get("text", "")]).strip()
        for step in steps
        for command in step.out
        if command[0] in kept
    ]


def test_a_pause_inside_a_question_did_not_end_the_turn():
    assert facts(recorded_call("pause.jsonl")) == [
        "UserTurnFinal How old is the Brooklyn Bridge?",
        "Commit",
    ]


def test_words_over_the_answer_interrupted_it():
    said = facts(recorded_call("interruption.jsonl"))
    assert said[:4] == [
        "UserTurnFinal Tell me a long story about a lighthouse keeper and a storm.",
        "Commit",
        "Pause",
        "ReplyInterrupted",
    ]
    assert said[4:] == ["UserTurnFinal What time is it?", "Commit"]


def test_a_hum_and_a_cough_let_the_answer_go_on():
    assert facts(recorded_call("backchannel.jsonl"))[2:] == ["Pause", "Resume"] * 2


# people who go on after a pause: what they had said before it, and all they said
HELD_OPEN = {
    "pause-sure.jsonl": ("Sure.", "Sure, my last name is Fittilly."),
    "pause-apology.jsonl": (
        "Of course, I am so sorry for the inconvenience.",
        "Of course, I'm so sorry for the inconvenience. Jack, what was your last name so I can "
        "look out for the system?",
    ),
    "pause-meeting.jsonl": (
        "Hi, I'd like to set up a meeting for tomorrow with Joe and Dave.",
        "Hi, I'd like to set up a meeting for tomorrow with Joe and Dave onward.",
    ),
}


@pytest.mark.parametrize("name", HELD_OPEN)
def test_the_encoder_keeps_a_turn_open_that_was_cut_off_without_it(name):
    begun, whole = HELD_OPEN[name]
    recorded = recorded_call(name)
    assert facts(recorded) == [f"UserTurnFinal {whole}", "Commit"]
    assert facts(without_encoder(recorded))[:2] == [f"UserTurnFinal {begun}", "Commit"]


def without_encoder(recorded: Recorded) -> Recorded:
    """The same call with a recognizer that says nothing of the end of a turn."""

    def changed(event: Event) -> Event:
        match event:
            case events.InterimTranscript():
                return replace(event, end_of_turn=None)
        return event

    return replace(
        recorded, events=tuple(replace(one, event=changed(one.event)) for one in recorded.events)
    )
