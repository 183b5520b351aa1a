"""What of XTTS needs no PyTorch: names of voices, recordings, silence between pieces, and its
licence. `tests/gpu_stack/xtts_real.py` has the engine on the real package.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from whisperfusion.engines import EngineError, language_of_voice, load
from whisperfusion.engines.hibari import LEAD_S
from whisperfusion.engines.kokoro.phonemes import pieces_of
from whisperfusion.engines.xtts.engine import CUTS
from whisperfusion.engines.xtts.pauses import spaced
from whisperfusion.engines.xtts.recordings import LONGEST_S, Cloned
from whisperfusion.engines.xtts.voices import parted
from whisperfusion.models import store as models
from whisperfusion.models.catalog import MODELS
from whisperfusion.settings import build
from whisperfusion.settings.voices import settings_of_voice, voice_entries

RATE, SECOND = 8_000, 24_000
XTTS = MODELS["xtts-v2"]
SCRIPTED = {f"{kind}_engine": "scripted" for kind in ("asr", "llm", "vad", "turn")}


def recording(file: Path, seconds: float = 4.0, level: float = 0.5) -> Path:
    times = np.arange(int(seconds * RATE)) / RATE
    soundfile.write(file, level * np.sin(2 * np.pi * 200 * times), RATE)
    return file


def test_a_name_may_end_with_a_language():
    assert parted("Ana Florence@es") == ("Ana Florence", "es")
    assert parted("/voices/me@home.wav") == ("/voices/me@home.wav", "")
    assert parted("/voices/me@home.wav@zh-CN") == ("/voices/me@home.wav", "zh")
    assert parted("@de") == ("", "de") and parted("") == ("", "")
    assert language_of_voice("xtts", "Ana Florence@es") == "es"
    assert language_of_voice("xtts", "Ana Florence") is None


def test_a_voice_of_a_list_speaks_the_language_it_is_for():
    settings = build({"tts_voice": "en:heart, es:xtts/Ana Florence, fr:xtts/me.wav@en"}, {}, {})
    names = [
        settings_of_voice(settings, entry).tts_voice for entry in voice_entries(settings.tts_voice)
    ]
    assert names == ["heart", "Ana Florence@es", "me.wav@en"]


def test_a_recording_is_read_once_and_known_by_its_content(tmp_path):
    made: list[tuple[int, int]] = []

    def make(pcm: np.ndarray, rate: int) -> int:
        made.append((len(pcm), rate))
        return len(made)

    cloned = Cloned(make, most=2)
    first = recording(tmp_path / "first.wav")
    copy = tmp_path / "copy.wav"
    copy.write_bytes(first.read_bytes())
    assert [cloned.of(first), cloned.of(copy), cloned.of(first)] == [1, 1, 1]
    assert made == [(4 * RATE, RATE)]
    recording(first, 40.0)  # another voice under the same name
    assert (cloned.of(first), cloned.of(copy)) == (2, 1)
    assert made[-1] == (int(LONGEST_S * RATE), RATE)
    third = recording(tmp_path / "third.wav", 5.0)
    assert (cloned.of(third), len(cloned)) == (3, 2)  # the one used longest ago has left
    assert (cloned.of(copy), cloned.of(first)) == (1, 4)


def test_what_was_made_of_a_recording_leaves_with_it(tmp_path):
    cloned = Cloned(lambda pcm, rate: rate)
    first, copy = recording(tmp_path / "first.wav"), recording(tmp_path / "copy.wav")
    cloned.of(first)
    cloned.of(copy)
    first.unlink()
    cloned.forget()
    assert len(cloned) == 1
    copy.unlink()
    cloned.forget()
    assert len(cloned) == 0
    with pytest.raises(EngineError, match=r"copy\.wav \(No such file"):
        cloned.of(copy)


def test_a_recording_that_holds_no_voice_is_refused_with_a_reason(tmp_path):
    cloned = Cloned(lambda pcm, rate: rate)
    (tmp_path / "text.wav").write_text("hello" * 100)
    for file, why in (
        (recording(tmp_path / "short.wav", 2.0), "it lasts 2.0 s"),
        (recording(tmp_path / "silent.wav", level=0.001), "it is silent"),
        (recording(tmp_path / "empty.wav", 0.0), "it lasts 0.0 s"),
        (tmp_path / "text.wav", "Format not recognised"),
    ):
        with pytest.raises(EngineError, match=rf"{file.name} \(.*{why}.*one person speaks for 3"):
            cloned.of(file)
    assert len(cloned) == 0


def sound(*parts: tuple[float, float]) -> np.ndarray:
    """Seconds, each with its level."""
    return np.concatenate([np.full(int(s * SECOND), level, np.float32) for s, level in parts])


def test_silence_around_a_sentence_in_pieces_is_cut_and_silence_within_stays():
    pieces = [
        sound((0.5, 0.0)),
        sound((0.3, 0.0), (0.2, 0.5), (0.1, 0.0)),
        sound((0.4, 0.0)),
        sound((0.1, 0.5), (0.7, 0.0)),
        sound((0.6, 0.0)),
    ]
    found = list(spaced(pieces, 0.25))
    expected = sound((LEAD_S, 0.0), (0.2, 0.5), (0.5, 0.0), (0.1, 0.5), (0.25, 0.0))
    assert np.array_equal(np.concatenate(found), expected)
    assert len(found[0]) == int((LEAD_S + 0.2) * SECOND)  # the first comes without waiting
    assert list(spaced([sound((0.5, 0.0))], 0.25)) == list(spaced([], 0.25)) == []


def test_long_texts_are_divided_in_every_script():
    chinese = "今天天气很好，我们去公园。" * 10
    pieces = list(pieces_of(chinese, 82, CUTS))
    assert "".join(pieces) == chinese and max(map(len, pieces)) <= 82
    assert all(piece.endswith("。") for piece in pieces)
    assert list(pieces_of("¿Qué tal? Muy bien.", 12, CUTS)) == ["¿Qué tal?", "Muy bien."]


def test_the_licence_is_shown_and_has_to_be_accepted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COQUI_TOS_AGREED", raising=False)
    for model in (XTTS, own(tmp_path)):
        with pytest.raises(models.ModelError) as refused:
            models.fetch(model, tmp_path / "cache", ("packages",))
        for part in ("Coqui Public Model License", "commercially", "COQUI_TOS_AGREED=1", "https:"):
            assert part in str(refused.value)
    (tmp_path / ".env").write_text("COQUI_TOS_AGREED=1\n")
    assert models.fetch(own(tmp_path), tmp_path / "cache", ("packages",)) == tmp_path
    (tmp_path / ".env").unlink()
    monkeypatch.setenv("COQUI_TOS_AGREED", "1")
    with pytest.raises(models.ModelError, match="comes from: hub"):  # asked for nothing more
        models.fetch(XTTS, tmp_path / "cache", ("packages",))


def own(folder: Path) -> models.Model:
    """A folder of the operator's own."""
    flags = {**SCRIPTED, "tts_engine": "xtts", "tts_model": str(folder)}
    (model,) = models.needed(build(flags, {}, {}))
    return model


def test_without_its_libraries_it_says_how_to_get_them(tmp_path):
    with pytest.raises(EngineError, match="make xtts"):
        load("tts", "xtts", python="", model=str(tmp_path))
