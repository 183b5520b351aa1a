"""The bench's own arithmetic: verdicts, delays of words, spreads, loudspeakers, sounds, tables.

No server, no model.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from running import ROOT

from whisperfusion.client.events import (
    Flushed,
    Paused,
    ReplyAudio,
    ReplyInterrupted,
    Resumed,
    SpeechStarted,
    SpeechStopped,
    Transcript,
    UserTurn,
)
from whisperfusion.client.timed_call import Observed
from whisperfusion.engines import ASROptions, Hypothesis
from whisperfusion.engines.protocols import Segment

sys.path.insert(0, str(ROOT))
from bench import barge_in, disturb, overlaps, reading, run, sounds, table, turns, without
from bench.common import Recording
from bench.compared_words import comparable, error_rate
from bench.loudspeaker import ECHO_DELAY_S, Loudspeaker, Room, impulse_response, played
from bench.overlap_call import Found
from bench.recorded import RecordedASR
from bench.verdicts import (
    audio_of_last_turn,
    committed_early,
    cut_off,
    held_s,
    inner_pauses,
    percentile,
    rate,
    settled_at,
    shown,
    speech_span,
    spread,
    transcribed_at,
    unsettled,
    word_delays,
)


def transcript(at: float, text: str, end: float = 0.0, final: bool = False) -> Observed:
    return Observed(at, Transcript(text, end=end, final=final))


def turn(at: float, text: str) -> Observed:
    return Observed(at, UserTurn(1, text))


def audio(at: float, seconds: float, level: float = 0.5, turn: int = 1) -> Observed:
    pcm = np.full(round(seconds * 24_000), level, np.float32)
    return Observed(at, ReplyAudio(turn, b""), pcm)


def recording(
    pauses=(), pcm_s: float = 3.0, first_s: float = 0.5, last_s: float = 2.5
) -> Recording:
    pcm = np.zeros(round(pcm_s * 16_000), np.float32)
    return Recording(
        "a.flac",
        "what time is it",
        ("single-turn",),
        pcm,
        round(first_s * 16_000),
        round(last_s * 16_000),
        pauses,
    )


# --- figures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 5, 20, 38])
def test_the_percentile_is_numpys(count):
    values = sorted(np.random.default_rng(count).uniform(0, 1000, count))
    assert percentile(values, 0.95) == pytest.approx(np.percentile(values, 95))


def test_a_spread_counts_only_what_happened():
    assert spread([3.0, None, 1.0, 2.0]) == {
        "p50": 2.0,
        "p95": pytest.approx(2.9),
        "max": 3.0,
        "n": 3,
    }
    assert spread([None]) == {"n": 0}


def test_a_rate_of_nothing_has_no_share():
    assert rate([True, False, False, False]) == {"count": 1, "n": 4, "share": 0.25}
    assert rate([]) == {"count": 0, "n": 0}


def test_pauses_lie_between_speech_and_last_long_enough():
    voiced = [False] * 20 + [True] * 2 + [False] * 10 + [True] + [False] * 9 + [True] + [False] * 20
    assert list(inner_pauses(voiced, 0.032)) == [
        (pytest.approx(22 * 0.032), pytest.approx(32 * 0.032))
    ]
    assert speech_span(voiced, 512) == (20 * 512, 43 * 512)
    assert speech_span([False] * 3, 512) is None and list(inner_pauses([False] * 30, 0.032)) == []


# --- turns --------------------------------------------------------------------------------------


def test_a_turn_is_cut_off_only_by_sound_before_its_last_word_ended():
    assert cut_off(9.9, 10.0) and not cut_off(10.0, 10.0) and not cut_off(None, 10.0)
    silent = played([audio(9.0, 0.5, level=0.001), audio(9.5, 1.0)])
    assert cut_off(silent.first_audible(), 9.6) and not cut_off(silent.first_audible(), 9.5)


def test_turns_that_were_taken_for_over_too_early_are_told_with_how_much():
    assert committed_early([turn(8.5, "and then"), turn(10.2, "we left")], 10.0) == [1.5]


@pytest.mark.parametrize(
    ("ending", "open_still"),
    [
        ([], True),
        ([turn(2.0, "yes")], False),
        ([transcript(2.0, "", final=True)], False),
        ([Observed(2.0, Resumed())], False),
        ([transcript(2.0, "yes")], True),
        ([turn(2.0, "yes"), Observed(2.1, SpeechStarted())], True),
    ],
)
def test_speech_is_settled_by_a_turn_by_a_final_transcript_or_by_a_resume(ending, open_still):
    assert unsettled([Observed(1.0, SpeechStarted()), *ending]) is open_still


def test_held_time_is_the_sum_of_all_holds():
    log = [
        Observed(1.0, Paused()),
        Observed(1.4, Resumed()),
        Observed(3.0, Paused()),
        Observed(3.2, ReplyInterrupted(1, "")),
        Observed(5.0, Paused()),
    ]
    assert held_s(log, until=5.5) == pytest.approx(0.4 + 0.2 + 0.5)


def test_the_answer_that_counts_is_the_last_one_that_was_begun():
    log = [audio(1.0, 0.1), turn(1.5, "and"), audio(2.0, 0.1, turn=2)]
    assert played(audio_of_last_turn(log)).first_audible() == 2.0
    assert audio_of_last_turn(log[1:2]) == []


# --- words --------------------------------------------------------------------------------------

SPOKEN = [
    ("ask", 0.5, 0.8),
    ("what", 0.8, 1.0),
    ("you", 1.0, 1.2),
    ("can", 1.2, 1.4),
    ("ask", 2.0, 2.3),
    ("what", 2.3, 2.5),
]


def test_a_word_is_delayed_from_its_own_end_to_the_first_screen_that_has_it():
    screens = [
        (101.1, "Ask what"),
        (101.9, "Ask what you can."),
        (103.0, "Ask what you can. Ask what?"),
    ]
    assert word_delays(SPOKEN, screens, began=100.0) == pytest.approx(
        [0.3, 0.1, 0.7, 0.5, 0.7, 0.5]
    )


def test_a_word_that_will_be_said_again_is_not_taken_for_its_second_self():
    spoken = [
        ("ask", 0.0, 0.3),
        ("not", 0.3, 0.6),
        ("what", 0.6, 0.8),
        ("ask", 2.0, 2.3),
        ("what", 2.3, 2.5),
    ]
    assert word_delays(spoken, [(101.0, "Ask what")], began=100.0) == [
        pytest.approx(0.7),
        None,
        pytest.approx(0.2),
        None,
        None,
    ]


def test_a_word_that_was_misheard_never_came():
    assert word_delays(
        [("sea", 0.0, 0.2), ("shell", 0.2, 0.5)], [(1.0, "she shell")], began=0.0
    ) == [None, pytest.approx(0.5)]


def test_the_screen_keeps_the_words_of_earlier_turns():
    log = [
        transcript(1.0, "Well"),
        transcript(1.5, ""),
        turn(2.0, "Well."),
        transcript(3.0, "go"),
        turn(4.0, "Go on."),
    ]
    assert [text for _, text in shown(log)] == ["Well", "Well.", "Well. go", "Well. Go on."]


def test_words_are_final_when_all_of_the_sound_was_heard_and_they_stayed():
    stopped, over = Observed(2.2, SpeechStopped(2.0)), turn(2.8, "What time is it?")
    early, whole = transcript(1.9, "what time is it", 1.9), transcript(2.1, "What time is it", 2.06)
    log = [early, whole, stopped, transcript(2.4, "what time is it?", 2.06), over]
    assert transcribed_at(log) == 2.1  # the words were there at 1.9, but of less than all the sound
    assert transcribed_at([transcript(2.1, "what time is", 2.06), stopped, over]) == 2.8
    assert (
        transcribed_at(
            [
                transcript(2.1, "what time is it", 2.06),
                stopped,
                transcript(2.5, "what lime is it", 2.06),
                over,
            ]
        )
        == 2.8
    )
    assert transcribed_at([stopped]) is None and transcribed_at([turn(1.0, "")]) is None


def test_words_are_settled_when_they_last_changed():
    log = [
        transcript(1.0, "what time"),
        transcript(1.4, "what time is it"),
        turn(2.0, "What time is it?"),
    ]
    assert settled_at(log) == 1.4
    assert settled_at([]) is None


# --- loudspeakers -------------------------------------------------------------------------------


def test_frames_are_played_one_after_the_other():
    speaker = played([audio(1.0, 0.1), audio(1.01, 0.1), audio(2.0, 0.1)])
    assert [at for at, _ in speaker.parts] == pytest.approx([1.0, 1.1, 2.0])
    assert speaker.last_audible() == pytest.approx(2.1) and speaker.first_audible(
        1.15
    ) == pytest.approx(1.15)


def test_a_loudspeaker_that_obeys_stops_goes_on_and_forgets():
    log = [audio(1.0, 0.5), Observed(1.2, Paused()), audio(1.3, 0.1)]
    assert played(log).last_audible() == pytest.approx(1.2)
    assert played(log, obeys=False).last_audible() == pytest.approx(1.6)
    assert played([*log, Observed(2.0, Resumed())]).last_audible() == pytest.approx(2.0 + 0.3 + 0.1)
    assert played(
        [*log, Observed(2.0, Flushed(1)), audio(3.0, 0.1, turn=2)]
    ).last_audible() == pytest.approx(3.1)


def test_an_echo_comes_late_and_quieter():
    speaker = played([audio(10.0, 1.0)])
    loud, quiet = Room(speaker, -6.0), Room(speaker, -15.0)
    assert not loud.echo(10.0 + ECHO_DELAY_S - 0.04, 640).any()
    second = loud.echo(10.0 + ECHO_DELAY_S, 640)
    assert second[:8].all() and np.allclose(
        quiet.echo(10.0 + ECHO_DELAY_S, 640), second * 10 ** (-9 / 20), atol=1e-6
    )
    assert np.abs(loud.echo(10.0 + ECHO_DELAY_S + 1.02, 640)).max() > 0  # the room rings on
    assert not loud.echo(12.0, 640).any()


def test_an_echo_does_not_depend_on_how_it_is_cut_into_frames():
    speaker = Loudspeaker()
    noise = np.random.default_rng(1).uniform(-1, 1, 12_000).astype(np.float32)
    speaker.observe(Observed(0.01003, ReplyAudio(1, b""), noise))
    room = Room(speaker, 0.0)
    parts = [room.echo(frame * 640 / 16_000, 640) for frame in range(12)]
    assert np.allclose(np.concatenate(parts), room.echo(0.0, 12 * 640), atol=1e-3)


def test_the_room_adds_no_energy():
    assert np.sum(np.square(impulse_response())) == pytest.approx(1.0, abs=1e-4)


# --- sounds -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ({"kind": "backchannel", "tags": ["short"]}, "backchannel"),
        ({"kind": "backchannel", "tags": ["interjection"]}, "interjection"),
        ({"kind": "noise", "label": "cleared throat", "tags": []}, "cough"),
        ({"kind": "noise", "label": "door", "tags": []}, "noise"),
        ({"kind": "turn-with-pause", "tags": []}, "turn"),
        ({"kind": "dialogue", "tags": []}, ""),
    ],
)
def test_what_a_recording_of_people_is_over_an_answer(entry, kind):
    assert sounds.kind_of(entry) == kind


class Counting:
    """A recognizer that counts its passes."""

    def __init__(self):
        self.passes = 0

    def create_utterance(self, options):
        return self

    def accept_audio(self, pcm, final=True):
        self.passes += 1
        segment = Segment(0.0, 1.0, "hello", (), -0.5, 0.1)
        return Hypothesis(f"hello {self.passes}", segments=(segment,))


def test_a_recorded_recognizer_decodes_the_same_sound_once(tmp_path):
    def hear(*lengths):
        counting = Counting()
        recorded = RecordedASR(tmp_path / "words.json", lambda: counting)
        utterance = recorded.create_utterance(ASROptions(language="en"))
        heard = [utterance.accept_audio(np.ones(n, np.float32), False) for n in lengths]
        recorded.save()
        return [one.text for one in heard], counting.passes

    assert hear(512, 512) == (["hello 1", "hello 2"], 2)
    assert hear(512, 512) == (["hello 1", "hello 2"], 0)
    # what is known is not asked for, but a new pass needs what came before it
    assert hear(512, 512, 512) == (["hello 1", "hello 2", "hello 3"], 3)
    assert hear(1024) == (["hello 1"], 1)


def test_an_overlap_that_ends_an_answer_is_right_or_wrong_by_its_kind():
    found = Found(5.0, [(1.0, 1.4), (5.2, None)], 6.0, turns=["what"])
    sound = sounds.Sound("command", "a.flac", "what", np.zeros(16_000, np.float32))
    one = overlaps.outcome(sound, found, onset_s=0.1)
    assert one["killed"] and one["hold"] == pytest.approx(100) and one["pauses"] == 2
    assert one["interrupted"] == pytest.approx(900) and one["held"] == pytest.approx(1200)
    went_on = {**one, "kind": "cough", "killed": False}
    result = overlaps.summary([one, went_on, {**one, "kind": "laugh"}, {**went_on, "kind": "turn"}])
    assert result["answers ended needlessly"] == {"count": 1, "n": 2, "share": 0.5}
    assert result["interruptions missed"] == {"count": 1, "n": 2, "share": 0.5}


def test_resampling_keeps_a_tone_and_folds_nothing_down():
    at = np.arange(24_000) / 24_000
    low, high = (
        sounds.to_microphone(np.sin(2 * np.pi * tone * at).astype(np.float32), 24_000)
        for tone in (440, 10_000)
    )
    assert (
        np.allclose(low, np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000), atol=1e-3)
        and np.abs(high).max() < 1e-3
    )


# --- summaries and tables -----------------------------------------------------------------------


def answered(ms: float, **more: Any) -> dict[str, Any]:
    return {
        "recording": "a.flac",
        "turns": 1,
        "cut off": False,
        "first sound": ms,
        "final": ms / 2,
        "turn": ms / 2,
        "settled": ms / 3,
        "partial words": [100.0, None],
        "server": dict.fromkeys(turns.STAGES, ms / 4),
        "reused": True,
        **more,
    }


def test_no_turn_is_dropped_silently():
    found = turns.summary(
        [
            answered(400.0),
            answered(-90.0, **{"cut off": True}),
            {"recording": "b.flac", "error": "no answer"},
            {**answered(1.0), "first sound": None},
        ],
        "8 at once, ",
    )
    assert found["asked"] == 4 and found["first sound"]["n"] == 1
    assert found["failures"] == [
        f"8 at once, {why}"
        for why in ("a.flac: cut off", "b.flac: no answer", "a.flac: the answer had no sound")
    ]
    assert found["words never shown"] == 1 and found["stages"]["heard"]["p50"] == 400.0


def test_everybody_says_everything_in_an_order_of_their_own_and_the_same_in_each_run():
    of = [recording() for _ in range(7)]
    orders = turns.shares(3, 10, of)
    assert orders == turns.shares(3, 10, of) and [len(order) for order in orders] == [10, 10, 10]
    assert all({id(one) for one in order} == {id(one) for one in of} for order in orders)
    assert len({tuple(id(one) for one in order) for order in orders}) == 3


def test_an_interruption_is_timed_from_the_speech_not_from_the_file():
    interrupted = Observed(6.0, ReplyInterrupted(1, ""))
    log = [audio(1.0, 0.1), Observed(5.0, Paused()), audio(5.1, 0.1), interrupted]
    found = barge_in.times(log, began=4.0, first=round(0.9 * 16_000))
    assert found == {
        "hold": pytest.approx(100),
        "silent": pytest.approx(300),
        "interrupted": pytest.approx(1100),
        "resumed": False,
    }


def test_needless_holds_are_those_of_answers_that_went_on():
    tries = [
        {
            "kind": "cough",
            "name": "1",
            "killed": False,
            "noticed": True,
            "held": 300.0,
            "taken for": [],
        },
        {
            "kind": "cough",
            "name": "2",
            "killed": True,
            "noticed": True,
            "held": 900.0,
            "taken for": ["Oh"],
        },
        {
            "kind": "echo -6 dB",
            "name": "3",
            "killed": False,
            "noticed": False,
            "held": 0.0,
            "taken for": [],
        },
        {"kind": "echo -6 dB", "name": "4", "error": "no answer"},
    ]
    found = disturb.summary(tries)
    assert (
        found["killed"] == {"count": 1, "n": 3, "share": pytest.approx(1 / 3)}
        and found["held needlessly"]["max"] == 300.0
    )
    assert found["echo"]["killed"]["n"] == 1 and found["failures"] == ["echo -6 dB, 4: no answer"]


def test_what_was_committed_early_but_not_heard_is_no_cut_off():
    spoken = [("what", 0.5, 0.8)]
    log = [transcript(10.9, "what"), turn(12.0, "what"), turn(12.9, "time is it")]
    found = reading.outcome(recording(pauses=((1.0, 1.4),)), spoken, log, began=10.0)
    assert (
        not found["cut off"]
        and found["committed early"] == [0.5]
        and found["text"] == "what time is it"
    )
    assert found["final"] == pytest.approx(400)
    second = reading.outcome(recording(), spoken, [*log[:2], audio(12.1, 0.2), log[2]], began=10.0)
    totals = reading.cut_offs(
        [
            {**found, "recording": "a"},
            {**second, "recording": "b"},
            {"recording": "c", "error": "x"},
        ]
    )
    assert (
        totals["which"] == ["b"]
        and totals["committed early, unheard"] == ["a"]
        and totals["failures"] == ["c: x"]
    )


def test_the_table_has_a_column_for_each_code_and_a_row_only_where_there_is_a_figure():
    found = {"voice": {"1": turns.summary([answered(400.0)])}}
    text = table.rendered(
        {"before": {"voice": {"failures": ["voice: did not start"]}}, "now": found}
    )
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert (
        lines[0][-2:] == ["before", "now"] and len({len(line) for line in text.splitlines()}) == 1
    )
    rows = {line[0]: line[1:] for line in lines}
    assert rows["voice to voice, one caller, default models"][-2:] == ["–", "400 / 400 ms (n 1)"]
    assert rows["without a figure (named below)"][-2:] == ["1", "0"]
    assert not any("barge" in row or "spoken over" in row for row in rows)
    assert table.failures({"voice": {"failures": ["a"], "1": {"failures": ["b"]}}}) == ["a", "b"]


def test_the_waterfall_shows_what_each_stage_added():
    medians = {"words": 200.0, "first_token": 100.0, "heard": 400.0}
    lines = table.waterfall(
        {name: {"p50": ms, "n": 1} for name, ms in medians.items()}
    ).splitlines()
    assert [line.split()[-2] for line in lines] == ["200", "100", "400"]
    assert (
        lines[0].count("█") == lines[2].count("█") == table.WIDTH // 2
        and "◆" in lines[1]
        and "█" not in lines[1]
    )


# --- mechanisms, command line -------------------------------------------------------------------


@pytest.mark.parametrize("name", without.MECHANISMS)
def test_what_a_mechanism_switches_off_exists(name):
    from whisperfusion.settings import Settings

    mechanism = without.MECHANISMS[name]
    assert mechanism.what and (mechanism.values or mechanism.environment)
    for where in mechanism.values:
        without.place_of(where)
    assert all(hasattr(Settings(), variable.lower()) for variable in mechanism.environment)


def test_what_mechanisms_change_is_told_against_everything():
    def audio(ms):
        return {"first sound": {"p50": ms, "p95": 2 * ms, "n": 4}, "reused": 3, "failures": []}

    shown = table.mechanisms(
        {
            "one caller: with everything": audio(500),
            "one caller: without guesses: none": audio(700),
            "killed: with everything": {"killed": {"count": 0, "n": 9}},
            "killed: without a guard": {"killed": {"count": 5, "n": 9}},
        }
    )
    assert (
        "700 / 1400 ms, 3 of 4 generated ahead" in shown
        and "+200 ms" in shown
        and "5 of 9" in shown
        and shown.count("\n") == 5
    )


def test_a_name_that_is_gone_is_an_error():
    with pytest.raises(AttributeError):
        without.place_of("whisperfusion.turns.endpointing:NO_SUCH_NAME")
    with pytest.raises(KeyError):
        without.switch_off("gravity")


def test_parts_are_chosen_by_name_and_flags_of_the_server_follow():
    chosen, flags = run.options(
        ["--only", "cut-off,voice", "--callers", "1,8", "--", "--llm-model", "smollm2"]
    )
    assert (
        chosen.only == ["voice", "cut-off"]
        and chosen.callers == [1, 8]
        and flags == ["--llm-model", "smollm2"]
    )
    with pytest.raises(SystemExit):
        run.options(["--only", "everything"])


# --- replies read back ---------------------------------------------------------------------------


def test_words_are_compared_as_they_are_said():
    said = comparable("¡Tengo 21 años! Son las 14:30.", "es")
    assert said == comparable("tengo veintiún años, son las catorce treinta", "es")
    assert comparable("C’est l’été.", "fr") == comparable("c'est l'ÉTÉ", "fr")
    assert comparable("l'été", "fr") == ["l", "été"]


def test_errors_are_counted_over_all_that_was_said():
    right, wrong = (["a", "b", "c"], ["a", "b", "c"]), (["d"], ["e", "f"])
    assert error_rate([right, wrong]) == 0.5  # one is another, one is added, of four
    assert error_rate([([], ["a"])]) == error_rate([]) == 0.0
