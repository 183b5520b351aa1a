"""Calls written down while they happen, and played back: the same commands, or the difference in words."""

from __future__ import annotations

import asyncio
import inspect
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
from pathlib import Path

import pytest
from client import spoken
from hypothesis import given, settings
from hypothesis import strategies as st
from room import Utterance
from running import ROOT
from world import World

from fusion.call.caller import Caller
from fusion.call.recorder import RecordedFloor, Recording, header, recorded
from fusion.core import patience
from fusion.core.conversation import Conversation
from fusion.core.endpoint import START, WINDOW, Endpoint
from fusion.core.floor import Floor
from fusion.core.turns import Command
from fusion.core.witness import Ending
from fusion.messages import Commit, Failed, Line, Sentence, Spoken, Ticket
from fusion.recordings import EVENTS, read
from fusion.replay import alike, floor_of, played, renew, report, run
from fusion.settings import Settings
from fusion.wire import asr_socket as wire
from whisper_server import Service

RECORDED = sorted((ROOT / "tests" / "recorded").glob("*.jsonl"))
RENEW = "python -c \"from fusion.replay import renew; renew('{}')\""


def new_floor() -> Floor:
    return Floor(Conversation("a", "Be nice.", [Line("user", "Hi."), Line("assistant", "Good day.")]), Endpoint(2.6))


def recorder(floor: Floor, path: Path, clock: float = 0.0) -> RecordedFloor:
    return RecordedFloor(floor, Recording(path, header(floor, clock, "2026-11-21 10:11:12 +0000")), clock)


def short_call(path: Path, clock: float = 1000.0, speech: float = 0.9) -> Path:
    """A question of half a second, answered; the words are known 0.1 s after it, and the score 0.3 s."""
    floor, now = recorder(new_floor(), path, clock), clock
    floor.opened(now)
    for window in range(60):
        now = clock + (window + 1) * WINDOW / 16_000
        floor.window(speech if 20 <= window < 36 else 0.01, now)
        if window == 39:
            floor.words("What time is it", floor.position, now)
        if window == 45 and floor.endpoint.stopped_at is not None:
            floor.score(0.1234, floor.endpoint.stopped_at, now)
    floor.message(Sentence(Ticket("a", 1, 1), 0, "Noon.", last=True, first_token_s=0.07), now)
    floor.message(Spoken(Ticket("a", 1, 1), 0, 0.5, 0.5, last=True), now + 0.5)
    floor.end()
    return path


@pytest.fixture
def call(tmp_path) -> Path:
    return short_call(tmp_path / "call.jsonl")


# --- what is recorded ---------------------------------------------------------------------------------


def test_every_event_of_the_floor_is_recorded_and_can_be_read():
    methods = {name: inspect.signature(method) for name, method in inspect.getmembers(Floor, inspect.isfunction) if name[0] != "_"}
    events = {name: signature for name, signature in methods.items() if "now" in signature.parameters}
    assert {name: inspect.signature(RecordedFloor.__dict__[name]) for name in events if name in RecordedFloor.__dict__} == events
    assert {name: [p for p in signature.parameters if p not in ("self", "now")] for name, signature in events.items()} == {
        name: list(arguments) for name, arguments in EVENTS.items()
    }


class Others:
    """The processes that think and speak: every committed answer is one sentence, heard at once."""

    def __init__(self) -> None:
        self.caller: Caller | None = None
        self.commits = 0

    def put(self, message: object) -> None:
        if isinstance(message, Commit):
            self.commits += 1
            for fact in (Sentence(message.ticket, 0, "I see.", last=True), Spoken(message.ticket, 0, 0.25, 0.25, last=True)):
                asyncio.get_running_loop().call_soon(self.caller.message, fact)


async def one_call(folder: Path | str) -> tuple[Caller, int]:
    """Two spoken questions and a typed one, in the real caller with scripted engines, as fast as they go."""
    others = Others()
    service = Service(Settings(asr_engine="scripted", vad_engine="scripted", turn_engine="scripted", filler="Hmm.", eagerness=0.9,
                               record_dir=str(folder)), others)
    service.start()
    handshake = wire.parse_handshake(json.dumps({"uid": "u", "events": True, "history": [{"role": "user", "text": "Hi."}]}), None, "en")
    caller = others.caller = Caller("101112-ab", "", handshake, service, lambda frame: None)
    caller.open()
    caller.control(wire.Update(eagerness=0.8, instructions="Be brief."))
    await caller.hear(spoken("alpha beta gamma").tobytes())
    caller.ration(0.7, early=False, brief=True)
    await caller.hear(spoken("what now", 0.1).tobytes())
    await caller.finish()
    caller.control(wire.Say("typed \ud83d"))
    await asyncio.sleep(0)
    caller.hang_up()
    for worker in service.words.values():
        worker.stop()
    service.scores.stop()
    return caller, others.commits


async def test_a_call_of_the_real_caller_is_replayed_to_the_same_commands(tmp_path, capsys):
    caller, commits = await one_call(tmp_path / "new" / "folder")
    (path,) = (tmp_path / "new" / "folder").iterdir()
    assert path.name.endswith("-101112-ab.jsonl") and stat.S_IMODE(path.stat().st_mode) == 0o600
    recording = read(path)
    floor = floor_of(recording.header)
    steps = list(played(floor, recording))
    assert recording.whole and all(step.same for step in steps)
    wanted = Counter(name for step in steps for name, _ in step.out)
    assert wanted["Commit"] == commits == 3 and wanted["UserSaid"] == 3
    built = [(one.endpoint.patience, one.scored, one.conversation.filler, one.conversation.replies) for one in (floor, caller.floor)]
    assert built[0] == built[1] and built[0][2] == "Hmm."
    assert floor.conversation.dialogue.memory.lines == caller.conversation.dialogue.memory.lines
    assert (floor.partial_s, floor.eagerness) == (0.7, 0.8)
    assert (floor.conversation.dialogue.brief, floor.conversation.dialogue.instructions) == (True, "Be brief.")
    assert run(str(path)) == 0
    shown = capsys.readouterr().out
    assert "UserSaid turn 1 'alpha beta gamma'" in shown and "s of speech" in shown and "set partial_s 0.7" in shown
    assert "pause -> bot" in shown and "turn 2, ms after the end of speech" in shown and shown.endswith("no difference\n")


async def test_nothing_is_recorded_unless_it_is_asked_for():
    caller, _ = await one_call("")
    assert type(caller.floor) is Floor


def test_the_floor_is_told_the_rounded_probabilities_that_are_written(tmp_path):
    recording = read(short_call(tmp_path / "a.jsonl", speech=START - 0.0004))
    steps = list(played(floor_of(recording.header), recording))
    assert [step for step in steps if not step.same] == []
    assert {"SpeechStarted", "Commit"} <= {name for step in steps for name, _ in step.event.out}


def test_no_sound_and_no_prompt_is_in_the_file_twice(call):
    assert call.read_text().count("Be nice.") == 1 and call.stat().st_size < 4000


# --- random calls -------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=()), max_size=8) | st.sampled_from(("what time is it?", "mm-hmm", "and the", "stop"))
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
    st.tuples(st.just("set"), st.sampled_from(("automatic", "brief", "early_guesses")), st.booleans()),
    st.tuples(st.just("set"), st.sampled_from(("language", "instructions")), TEXTS),
)


def happens(floor: RecordedFloor, what: tuple, now: float) -> list[Command]:
    name, *values = what
    ticket = floor.conversation.dialogue.reply.ticket if floor.conversation.dialogue.reply else floor.conversation.dialogue.ticket
    if name == "window":
        return [command for _ in range(values[1]) for command in floor.window(values[0], now)]
    if name == "words":
        return floor.words(values[0], floor.position, now, values[1])
    if name == "score":
        return floor.score(values[0], floor.endpoint.stopped_at or 0, now)
    if name == "sentence":
        return floor.message(Sentence(ticket, *values), now)
    if name == "spoken":
        return floor.message(Spoken(ticket, *values[:2], 3.0, values[2]), now)
    if name == "failed":
        return floor.message(Failed(ticket, values[0], "It broke."), now)
    if name == "set":
        setattr(floor.conversation, *values)
        return []
    return getattr(floor, name)(*values, now=now)


def assert_replayed(path: Path, commands: list[Command]) -> None:
    recording = read(path)
    steps = list(played(floor_of(recording.header), recording))
    assert [step for step in steps if not step.same] == []
    assert [name for step in steps for name, _ in step.out] == [type(command).__name__ for command in commands]
    before = path.read_bytes()
    renew(path)
    assert path.read_bytes() == before


@given(st.floats(0, 1e6), st.lists(st.tuples(SECONDS, HAPPENINGS), max_size=30))
@settings(max_examples=100, deadline=None)
def test_whatever_happens_is_replayed_to_the_same_commands(clock, happenings):
    with tempfile.TemporaryDirectory() as folder:
        path, now, commands = Path(folder) / "a.jsonl", clock, []
        floor = recorder(new_floor(), path, clock)
        for later, what in happenings or [(0.0, ("opened",))]:
            now += later
            commands += happens(floor, what, now)
        if not any(what[0] != "set" for _, what in happenings):
            commands += floor.wake(now)
        floor.end()
        assert_replayed(path, commands)


@pytest.mark.parametrize("seed", range(12))
def test_the_dialogues_of_the_world_are_replayed_to_the_same_commands(seed, tmp_path):
    interruption = (0.5, Utterance(0.0, ("delta", "kilo", "india")))
    world = World(seed, [Utterance(0.5, ("alpha", "bravo")), Utterance(2.0, ("hotel", "the", "echo"))], reactions=(interruption,))
    path, commands = tmp_path / "a.jsonl", []
    world.floor = recorder(world.floor, path)
    act = world.act
    world.act = lambda some: (commands.extend(some), act(some))
    world.run(60.0)
    world.floor.end()
    assert {"Commit", "Generate", "SpeechStopped"} <= {type(command).__name__ for command in commands}
    assert_replayed(path, commands)


# --- a core that was changed --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([["Commit", {"ticket": "1.1"}]], [["Commit", {"ticket": "1.1"}]], True),
        ([["Commit", {"ticket": "1.1"}]], [["Commit", {"ticket": "1.2"}]], False),
        ([["Commit", {"ticket": "1.1"}]], [["Hold", {"ticket": "1.1"}]], False),
        ([["Commit", {"ticket": "1.1"}]], [["Commit", {"ticket": "1.1", "filler": "Hmm."}]], False),
        ([], [["StopHearing", {}]], False),
        ([["Played", {"seconds": 1.0312}]], [["Played", {"seconds": 1.0313}]], True),
        ([["Played", {"seconds": 1}]], [["Played", {"seconds": 1.0}]], True),
        ([["Played", {"seconds": 1.0}]], [["Played", {"seconds": 1.0003}]], False),
        ([["AskWords", {"urgent": True}]], [["AskWords", {"urgent": 1}]], False),
    ],
)
def test_commands_are_the_same_but_for_rounding(one, other, same):
    assert alike(one, other) is alike(other, one) is same


@pytest.fixture
def slower_core(monkeypatch) -> Callable[[], None]:
    """Changes a constant: no pause ends a turn any more before 2.4 s."""
    return lambda: [monkeypatch.setitem(patience.SILENCE_S, row, (2.4, 2.4, 2.4)) for row in Ending]


def test_a_changed_constant_is_noticed_and_the_difference_named(call, capsys, slower_core):
    assert run(str(call)) == 0
    slower_core()
    capsys.readouterr()
    assert run(str(call)) == 1
    timeline, _, found = capsys.readouterr().out.partition("DIFFERENT: the core wants something else now at ")
    assert "\n!   " in timeline and "no difference" not in found
    first = found.split("\nat ")[1].splitlines()
    assert re.fullmatch(r"1\.\d+ s, line \d+: 0\.03 s of silence", first[0]), first
    assert first[1].split() == ["recorded", "now"]
    sides = dict(line.strip().rsplit("  ", 1) for line in first[2:] if line.strip())
    assert set(sides.values()) == {"(nothing)"} and any(line.startswith("! Commit 1.1") for line in sides), first


def test_a_recording_can_be_renewed_after_a_change_on_purpose(call, slower_core):
    before = read(call)
    slower_core()
    assert not report(before)[1]
    renew(call)
    after = read(call)
    assert report(after)[1] and after.whole
    told = [[(event.ticks, event.do, event.arguments) for event in recording.events] for recording in (before, after)]
    assert told[0] == told[1] and before.header == after.header


class Broken(Floor):
    def wake(self, now: float) -> list[Command]:
        raise RuntimeError("a bug")


def test_a_bug_of_the_core_is_in_the_recording_and_reaches_the_caller(tmp_path, capsys):
    floor = recorder(Broken(Conversation("a"), Endpoint(2.0)), tmp_path / "a.jsonl")
    with pytest.raises(RuntimeError, match="a bug"):
        floor.wake(1.0)
    floor.end()
    assert run(str(tmp_path / "a.jsonl")) == 1
    shown = capsys.readouterr().out
    assert "raised error" in shown and "RuntimeError('a bug')" in shown and "(nothing)" in shown


# --- files that cannot be read, or written ------------------------------------------------------------


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
        (lambda text: "# Read me\n", "this is no recording of a call"),
        (lambda text: "[1, 2]\n", "this is no recording of a call"),
        (lambda text: '{"format": "another"}\n' + text, "this is no recording of a call"),
        (lambda text: "[" * 100_000, "this is no recording of a call"),
        (lambda text: text.splitlines()[0] + "\n", "no event is in it"),
        (changed(1, version=2), "written by a newer version: its format is 2, this one reads 1"),
        (changed(1, clock="noon"), "line 1: the header: clock must be a number, not 'noon'"),
        (changed(1, clock=1e400), "line 1: the header: clock must be a number"),
        (changed(1, history=[["user"]]), "line 1: history must be a list of [role, text]"),
        (changed(1, set={}), "line 1: set has no 'partial_s'"),
        (changed(2, do="sing"), "line 2: 'sing' is no event of a call"),
        (changed(2, at=-1), "line 2: at -1 is no time of a call"),
        (changed(2, at=None), "line 2: the event: at must be a number, not None"),
        (changed(2, out=["Commit"]), "line 2: 'Commit' is no command"),
        (changed(2, do="words", **{"with": {"text": "a", "upto": 1.5, "doubtful": False}}), "upto must be a whole number, not 1.5"),
        (changed(2, do="wake", **{"with": {"loud": 1}}), "line 2: wake has no loud"),
        (changed(2, do="set", **{"with": {"mood": 1}}), "line 2: set has no mood"),
        (changed(2, do="message", **{"with": {"message": ["Cancel", {}]}}), "line 2: a message must be [name, fields]"),
        (changed(2, do="message", **{"with": {"message": ["Spoken", {"ticket": "1"}]}}), "line 2: Spoken has no 'index'"),
        (changed(3, p=[1, 2000]), "line 3: p must be a list of whole numbers from 0 to 1000"),
        (changed(3, after=[]), "line 3: after must be a list of whole numbers, one less than p has"),
        (lambda text: text[: text.rindex('{"at"')] + "\x00\n", "is damaged: it is no JSON object"),
    ],
)
def test_a_file_that_cannot_be_replayed_is_refused_with_the_reason(call, capsys, change, why):
    call.write_text(change(call.read_text()))
    assert run(str(call)) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith(f"main.py replay: {call}: ") and why in told.err, told.err


@pytest.mark.parametrize("path", [ROOT, ROOT / "missing.jsonl", ROOT / "docs" / "page.png"])
def test_what_is_no_text_file_is_refused_too(capsys, path):
    assert run(str(path)) == 2 and str(path) in capsys.readouterr().err


def test_a_recording_that_breaks_off_is_replayed_as_far_as_it_goes(call, capsys):
    call.write_text(call.read_text()[:-40])
    assert run(str(call)) == 0
    assert "the recording breaks off before the end of the call" in capsys.readouterr().out


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_no_damage_is_more_than_a_difference_or_a_refusal(data):
    with tempfile.TemporaryDirectory() as folder:
        path = short_call(Path(folder) / "a.jsonl")
        whole = path.read_bytes()
        at = data.draw(st.integers(0, len(whole) - 1))
        path.write_bytes(whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + data.draw(st.integers(0, 3)) :])
        assert run(str(path)) in (0, 1, 2)


def test_a_full_disk_ends_the_recording_with_one_warning_and_not_the_call(tmp_path, caplog):
    plain, floor = new_floor(), recorder(new_floor(), tmp_path / "a.jsonl")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, before[1]))
    try:
        for number in range(400):
            now = number / 10
            assert floor.words(f"word {number}", number, now) == plain.words(f"word {number}", number, now)
            assert floor.window(0.9, now) == plain.window(0.9, now)
        floor.end()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "ends here, the call goes on" in warning.getMessage() and "too large" in warning.getMessage()
    assert not read(tmp_path / "a.jsonl").whole and floor.position == plain.position


def test_a_folder_that_cannot_be_written_is_told_and_the_call_goes_on(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    floor = new_floor()
    assert recorded(floor, str(tmp_path / "file"), 0.0) is floor
    assert "the call a is not recorded" in caplog.text


# --- the command line, and calls that are kept --------------------------------------------------------


def test_the_command_replays_and_ends_quietly_when_nobody_reads_on(call):
    command = [sys.executable, "main.py", "replay", str(call)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.endswith("no difference\n") and done.stderr == ""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as unread:
        unread.stdout.close()
        assert unread.stderr.read() == "" and unread.wait(60) == 0


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_recorded_call_goes_as_it_went(path):
    """Calls of real people's recordings with the default models (docs/replay.md)."""
    lines, same = report(read(path))
    assert same, "\n".join([*lines[-40:], f"if this was meant: {RENEW.format(path.relative_to(ROOT))}"])


def facts(name: str) -> list[str]:
    """What the caller was told in a recorded call, without the answers."""
    steps = played(floor_of(read(RECORDED[0].with_name(name)).header), read(RECORDED[0].with_name(name)))
    kept = ("UserSaid", "Hold", "Resume", "Interrupted", "Commit", "TurnFailed")
    return [" ".join([command[0], command[1].get("text", "")]).strip() for step in steps for command in step.out if command[0] in kept]


def test_a_pause_inside_a_question_did_not_end_the_turn():
    assert facts("pause.jsonl") == ["UserSaid How old is the Brooklyn Bridge?", "Commit"]


def test_words_over_the_answer_interrupted_it():
    said = facts("interruption.jsonl")
    assert said[:4] == ["UserSaid Tell me a long story about a lighthouse keeper and a storm.", "Commit", "Hold", "Interrupted"]
    assert said[4:] == ["UserSaid What time is it?", "Commit"]


def test_a_hum_and_a_cough_let_the_answer_go_on():
    assert facts("backchannel.jsonl")[2:] == ["Hold", "Resume"] * 2
