"""Detectors of speech and of the end of a turn, with the real models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_checks import BAD_AUDIO, SECOND

from whisperfusion.engines import EngineError, load
from whisperfusion.engines.scripted import tone_speech

WHOLE = ("harvard-sb-birch.flac", "gcp-brooklyn.flac", "LJ001-0002.flac", "kyutai-dog-or-cat.flac")


@pytest.fixture(params=["scripted", "silero"])
def vad(request) -> Any:
    return load("vad", request.param)


@pytest.fixture
def talk(request, sound) -> np.ndarray:
    scripted = "scripted" in request.node.callspec.params.values()
    return (
        tone_speech("what is natural language processing") if scripted else sound("riva-nlp.flac")
    )


def probabilities(stream: Any, pcm: np.ndarray) -> list[float]:
    return [stream.probability(pcm[at : at + 512]) for at in range(0, len(pcm) - 511, 512)]


def test_speech_is_told_from_silence(vad, talk):
    assert max(probabilities(vad.create_stream(), talk)) > 0.9
    assert max(probabilities(vad.create_stream(), np.zeros(SECOND, np.float32))) < 0.2


def test_vad_streams_are_apart_and_can_be_reset(vad, talk):
    alone = probabilities(vad.create_stream(), talk)
    one, other = vad.create_stream(), vad.create_stream()
    together = []
    for at in range(0, len(talk) - 511, 512):
        other.probability(np.zeros(512, np.float32))
        together.append(one.probability(talk[at : at + 512]))
    one.reset()
    assert together == alone == probabilities(one, talk)


@pytest.mark.parametrize(
    "bad",
    [np.zeros(511, np.float32), np.full(512, np.nan, np.float32), np.zeros((512, 1), np.float32)],
)
def test_bad_window_is_refused(vad, bad):
    with pytest.raises(EngineError):
        vad.create_stream().probability(bad)


def test_silero_agrees_with_the_whole_file_version(sound):
    from faster_whisper.vad import get_vad_model

    pcm = sound("jfk.flac")
    pcm = pcm[: len(pcm) // 512 * 512]
    whole = get_vad_model()(pcm.copy()).reshape(-1)
    # Its last window is wrong: it loses the audio that becomes the context.
    assert (
        np.abs(np.array(probabilities(load("vad", "silero").create_stream(), pcm)) - whole)[
            :-1
        ].max()
        < 1e-4
    )


def test_silero_comes_without_the_speech_library():
    import subprocess
    import sys

    code = (
        "import sys; from whisperfusion.engines import load; "
        "load('vad', 'silero').create_stream(); print('ctranslate2' in sys.modules)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "False\n"
    )


@pytest.fixture(scope="session")
def smart_turn(stored) -> Any:
    return load("turn", "smart-turn", model=stored("smart-turn", "turn"))


@pytest.fixture(params=["scripted", "smart_turn"])
def turn(request) -> tuple[Any, list[np.ndarray], list[np.ndarray]]:
    """An engine, finished turns and unfinished ones."""
    if request.param == "scripted":
        return (
            load("turn", "scripted", model=""),
            [tone_speech("alpha beta")],
            [tone_speech("alpha beta um")],
        )
    sound = request.getfixturevalue("sound")
    ends = {
        "pv-platforms.flac": 3.6,
        "kyutai-dog-or-cat.flac": 1.63,
        "rh3-turn_on_the_lamp.flac": 2.2,
    }
    whole = [sound(name)[: int(end * SECOND)] for name, end in ends.items()]
    return (
        request.getfixturevalue("smart_turn"),
        whole,
        [sound("jfk.flac")[: int(2.1 * SECOND)], sound("az-weather.flac")[:SECOND]],
    )


def test_finished_turns_are_told_from_unfinished(turn):
    engine, finished, unfinished = turn
    assert all(engine.predict_end_of_turn(np.pad(pcm, (0, 3200))).score > 0.5 for pcm in finished)
    assert all(engine.predict_end_of_turn(np.pad(pcm, (0, 3200))).score < 0.5 for pcm in unfinished)


@pytest.mark.parametrize("bad", BAD_AUDIO)
def test_bad_turn_is_refused(turn, bad):
    with pytest.raises(EngineError):
        turn[0].predict_end_of_turn(BAD_AUDIO[bad])


def test_smart_turn_judges_the_last_eight_seconds(smart_turn, sound):
    pcm = np.concatenate((sound("jfk.flac"), sound("kyutai-dog-or-cat.flac")))
    assert smart_turn.predict_end_of_turn(pcm) == smart_turn.predict_end_of_turn(pcm[-8 * SECOND :])
    with pytest.raises(EngineError, match="audio is empty"):
        smart_turn.predict_end_of_turn(np.zeros(0, np.float32))


def test_the_head_on_its_states_tells_whole_from_begun(smart_turn, sound):
    """Of the words of whole sentences, and of the same without their last second. 0.70 and 0.38;
    a head that read other stretches than it was fitted to would favour one of both.
    """
    ended, begun = [], []
    for name in WHOLE:
        pcm = sound(name)
        last = int(np.flatnonzero(np.abs(pcm) > 0.02)[-1])
        for end, found in ((last, ended), (last - SECOND, begun)):
            heard = np.pad(pcm[:end], (0, SECOND // 5))
            found.append(smart_turn.predict_end_of_turn(heard).by_states)
    assert np.mean(ended) > 0.6 and np.mean(begun) < 0.45


def test_another_turn_model_has_no_head_and_its_own_score(smart_turn, stored, sound, tmp_path):
    pcm, other = sound("pv-platforms.flac"), tmp_path / "other.onnx"
    # a field of the model that says where it is from: another size, the same graph
    other.write_bytes(Path(stored("smart-turn", "turn")).read_bytes() + b"\x12\x01x")
    found = load("turn", "smart-turn", model=str(other)).predict_end_of_turn(pcm)
    assert found.by_states is None
    assert found.score == pytest.approx(smart_turn.predict_end_of_turn(pcm).score, abs=1e-5)


def test_missing_and_damaged_turn_model(tmp_path):
    with pytest.raises(EngineError, match="TURN_ENGINE"):
        load("turn", "smart-turn", model=str(tmp_path / "none.onnx"))
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(EngineError, match="cannot be loaded"):
        load("turn", "smart-turn", model=str(tmp_path / "bad.onnx"))
    with pytest.raises(EngineError, match="cannot be loaded"):
        load("vad", "silero", model=str(tmp_path / "bad.onnx"))
