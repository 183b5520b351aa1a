"""Who is speaking: the encoder, clustering, diarization, and the scorer of the bench."""

from __future__ import annotations

import os
import pickle
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bench.diarization_error import diarization_error
from whisperfusion.audio import MICROPHONE_RATE
from whisperfusion.engines import EngineError, load
from whisperfusion.engines.resemblyzer import BANDS, LAYERS, UNITS, network
from whisperfusion.engines.torch_file import MAGIC, read_state
from whisperfusion.speakers import letters
from whisperfusion.speakers.clustering import clustered
from whisperfusion.speakers.diarization import Diarization, Turn, cut, speech_regions

RATE = MICROPHONE_RATE


def tone(peak: float, seconds: float, pause_s: float = 0.4) -> np.ndarray:
    """What the scripted engines take for one speaker: sound of one loudness, then silence."""
    times = np.arange(int(seconds * RATE)) / RATE
    sound = peak * np.sign(np.sin(2 * np.pi * 300 * times))
    return np.concatenate((sound, np.zeros(int(pause_s * RATE)))).astype(np.float32)


# --- the encoder ---------------------------------------------------------------------------------


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def by_hand(state, frames):
    """The network as torch's documentation of nn.LSTM has it: gates input, forget, cell, output."""
    for layer in range(LAYERS):
        w, r, bi, bh = (
            state[f"lstm.{name}_l{layer}"]
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        h = c = np.zeros(UNITS)
        outputs = []
        for frame in frames:
            entry, forget, cell, out = np.split(w @ frame + bi + r @ h + bh, 4)
            c = sigmoid(forget) * c + sigmoid(entry) * np.tanh(cell)
            h = sigmoid(out) * np.tanh(c)
            outputs.append(h)
        frames = np.stack(outputs)
    return np.maximum(state["linear.weight"] @ frames[-1] + state["linear.bias"], 0)


def test_the_network_computes_what_torch_does():
    import onnxruntime

    chance = np.random.default_rng(1)
    state = {}
    for layer in range(LAYERS):
        for name, width in (("ih", BANDS if layer == 0 else UNITS), ("hh", UNITS)):
            state[f"lstm.weight_{name}_l{layer}"] = chance.normal(0, 0.1, (4 * UNITS, width))
            state[f"lstm.bias_{name}_l{layer}"] = chance.normal(0, 0.1, 4 * UNITS)
    state["linear.weight"] = chance.normal(0, 0.1, (UNITS, UNITS))
    state["linear.bias"] = chance.normal(0, 0.1, UNITS)
    state = {name: values.astype(np.float32) for name, values in state.items()}
    session = onnxruntime.InferenceSession(network(state))
    frames = chance.normal(0, 1, (12, 2, BANDS)).astype(np.float32)
    found = session.run(None, {"frames": frames})[0]
    for clip in (0, 1):
        np.testing.assert_allclose(found[clip], by_hand(state, frames[:, clip]), atol=1e-4)


def saved(path: Path, *objects: object, tail: bytes = b"") -> Path:
    path.write_bytes(b"".join(pickle.dumps(one, 2) for one in objects) + tail)
    return path


class Evil:
    def __reduce__(self):
        return (os.system, ("touch /tmp/never",))


FACTS = {"little_endian": True}


@pytest.mark.parametrize(
    ("objects", "tail", "why"),
    [
        ((MAGIC, 1001, FACTS, {"state": Evil()}, []), b"", "it asks for posix.system"),
        ((Evil(), 1001, FACTS, {}, []), b"", "it asks for posix.system"),
        ((1, 1001, FACTS, {"state": {}}, []), b"", "another form"),
        ((MAGIC, 1001, FACTS, {"other": {}}, []), b"", "'state'"),
        ((MAGIC, 1001, FACTS, {"state": {}}, ["a"]), struct.pack("<q", -1), "-1 values"),
        ((MAGIC, 1001, FACTS, {"state": {}}, ["a"]), struct.pack("<q", 9), "no weights"),
        ((MAGIC, 1001, FACTS), b"", "no weights"),
    ],
)
def test_a_file_that_is_not_plain_weights_is_refused(tmp_path, objects, tail, why):
    with pytest.raises(EngineError, match=why):
        read_state(saved(tmp_path / "bad.pt", *objects, tail=tail), "state")


def test_an_encoder_says_what_to_do_without_its_model(tmp_path):
    with pytest.raises(EngineError, match="SPEAKER_ENGINE=none"):
        load("speaker", "resemblyzer", model=str(tmp_path / "none.pt"))
    with pytest.raises(EngineError, match="no known|no speaker engine"):
        load("speaker", "gargle")


def test_people_are_told_apart(stored, recordings, sound):
    encoder = load("speaker", "resemblyzer", model=stored("resemblyzer", "speaker"))
    people = {}
    for name, entry in recordings.items():
        if entry["speaker"].startswith(("libri-", "LJ")) and entry["duration_s"] > 3.5:
            people.setdefault(entry["speaker"], []).append(sound(name))
    clips = [
        pcm[at : at + 25_600] for said in people.values() for pcm in said[:2] for at in (8000,)
    ]
    vectors = encoder.embed(clips)
    assert vectors.shape == (2 * len(people), UNITS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    alike = vectors @ vectors.T
    same = [alike[at, at + 1] for at in range(0, len(clips), 2)]
    other = [alike[a, b] for a in range(len(clips)) for b in range(a) if a // 2 != b // 2]
    assert np.mean(same) > encoder.same_speaker > np.mean(other)
    one, other = encoder.embed([clips[0] * 0.01, clips[0] * 0.02])  # both quieter than -30 dBFS
    assert one @ other > 0.999
    with pytest.raises(EngineError, match="at least"):
        encoder.embed([np.zeros(10, np.float32)])


# --- clustering and turns -----------------------------------------------------------------------


def test_clusters_are_joined_while_they_are_alike():
    angles = np.radians([0, 90, 5, 95, 3])
    vectors = np.stack((np.cos(angles), np.sin(angles)), axis=1).astype(np.float32)
    even = np.ones(5, np.float32)
    assert clustered(vectors, even, 0.9) == [0, 1, 0, 1, 0]
    assert clustered(vectors, even, 0.999) == [0, 1, 2, 3, 2]
    assert clustered(vectors, even, 0.999, most=2) == [0, 1, 0, 1, 0]
    assert clustered(vectors, even, -1.0) == [0] * 5
    assert clustered(vectors[:0], even[:0], 0.5) == []


def test_windows_cover_a_region():
    assert cut(1.0, 1.5) == [(1.0, 1.5)]
    found = cut(2.0, 5.0)
    assert found[0][0] == 2.0 and found[-1][1] == pytest.approx(5.0)
    steps = [b[0] - a[0] for a, b in pairwise(found)]
    assert max(steps) <= 0.4 + 1e-9


def test_names_go_on_after_z():
    assert [letters(at) for at in (0, 25, 26, 51, 52, 701, 702)] == [
        *("A", "Z", "AA", "AZ", "BA", "ZZ", "AAA")
    ]


def scripted() -> Diarization:
    return Diarization(load("speaker", "scripted"), load("vad", "scripted").create_stream)


def test_a_recording_is_divided_among_its_speakers():
    whole = scripted()
    whole.add(np.concatenate((tone(0.3, 3), tone(0.6, 2.5), tone(0.3, 2))))
    whole.add(np.concatenate((tone(0.5, 4), tone(0.6, 2))))  # the next stretch of it
    turns = whole.turns()
    assert [turn.speaker for turn in turns] == ["A", "B", "A", "C", "B"]
    starts = [0.0, 3.4, 6.3, 8.7, 13.1]
    assert [turn.start_s for turn in turns] == pytest.approx(starts, abs=0.1)
    assert [turn.speaker for turn in whole.turns(most=2)].count("C") == 0
    named = whole.turns({"B": load("speaker", "scripted").embed([tone(0.5, 1)])[0]})
    assert [turn.speaker for turn in named] == ["A", "C", "A", "B", "C"]
    assert scripted().turns() == []


def test_a_change_without_a_pause_is_found():
    whole = scripted()
    whole.add(np.concatenate((tone(0.6, 4, 0), tone(0.3, 4))))
    first, second = whole.turns()
    assert (first.speaker, second.speaker) == ("A", "B")
    assert first.end_s == second.start_s == pytest.approx(4.0, abs=0.9)


def test_a_word_or_two_make_no_speaker():
    whole = scripted()
    whole.add(np.concatenate((tone(0.6, 4), tone(0.3, 0.6), tone(0.6, 2))))
    assert {turn.speaker for turn in whole.turns()} == {"A"}


def test_a_long_recording_costs_no_more_vectors():
    """Neighbours are joined before; an hour has 9,000 windows."""
    whole = scripted()
    pcm = np.concatenate((tone(0.6, 30), tone(0.3, 30)))
    for _ in range(8):
        whole.add(pcm)
    turns = whole.turns()
    assert [turn.speaker for turn in turns] == ["A", "B"] * 8


def test_speech_of_a_moment_is_no_region():
    detector = load("vad", "scripted").create_stream()
    pcm = np.concatenate((tone(0.5, 0.05), tone(0.5, 1, 0.1), tone(0.5, 1)))
    found = speech_regions(pcm, detector)
    assert len(found) == 1 and found[0] == pytest.approx((0.45, 2.55), abs=0.05)


# --- the scorer of the bench --------------------------------------------------------------------


def test_the_error_is_counted_as_nist_does():
    reference = [Turn(0, 10, "x"), Turn(10, 20, "y")]
    assert diarization_error(reference, [Turn(0, 10, "B"), Turn(10, 20, "A")]).rate == 0
    merged = diarization_error(reference, [Turn(0, 20, "A")], collar_s=0)
    assert (merged.confused, merged.spoken, merged.rate) == pytest.approx((10, 20, 0.5))
    missed = diarization_error(reference, [Turn(0, 10, "A")], collar_s=0)
    assert (missed.missed, missed.false_alarm) == pytest.approx((10, 0))
    late = diarization_error(reference, [Turn(0, 12, "A"), Turn(12, 22, "B")], collar_s=0)
    assert (late.confused, late.false_alarm) == pytest.approx((2, 2))
    assert diarization_error(reference, [Turn(0, 10.2, "A"), Turn(10.2, 20, "B")]).rate == 0
    both = diarization_error([*reference, Turn(5, 10, "y")], [Turn(0, 20, "A")], collar_s=0)
    assert both.missed == pytest.approx(5) and both.spoken == pytest.approx(25)
    nothing = diarization_error(reference, [], collar_s=0)
    assert nothing.rate == 1
