"""What is special about Piper, beside the contract in test_tts.py: several voices at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whisperfusion.engines import EngineError, load
from whisperfusion.engines.pcm import at_rate
from whisperfusion.engines.piper_names import language_of
from whisperfusion.settings import Settings
from whisperfusion.settings.voices import settings_of_voice

NAMES = "de_DE-thorsten-low", "en_US-joe-medium", "zh_CN-huayan-medium"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, stored) -> Path:
    """Three voices by the weights of one, in three languages; one has a rate of its own."""
    joe = Path(stored("piper-joe", "tts")) / "en_US-joe-medium.onnx"
    config = json.loads(Path(f"{joe}.json").read_text())
    made = tmp_path_factory.mktemp("voices")
    for name, spoken, rate in zip(
        NAMES, ("de", "en-us", "cmn"), (16_000, 22_050, 22_050), strict=True
    ):
        (made / f"{name}.onnx").symlink_to(joe)
        own: dict[str, Any] = {**config, "espeak": {"voice": spoken}}
        own |= {"audio": {**config["audio"], "sample_rate": rate}}
        own.pop("language", None)
        (made / f"{name}.onnx.json").write_text(json.dumps(own))
    (made / "half.onnx").write_bytes(b"no description beside it")
    return made


def test_a_folder_has_a_voice_for_each_file(folder):
    engine = load("tts", "piper", model=str(folder), voice=NAMES[1])
    assert engine.voices == (NAMES[1], NAMES[0], NAMES[2])
    assert engine.voice_languages == dict(zip(NAMES, ("de", "en", "zh"), strict=True))
    assert engine.language == "en" and engine.sample_rate == 22_050
    assert engine.model == NAMES[1]
    seconds = [
        sum(map(len, engine.synthesize("one two three", name))) / 22_050 for name in engine.voices
    ]
    assert all(0.4 < one < 4 for one in seconds)
    assert seconds[1] > 1.1 * seconds[0]  # the same clip at a lower rate
    with pytest.raises(EngineError, match="de_DE-thorsten-low"):
        list(engine.synthesize("one", "fr_FR-siwis-low"))
    with pytest.raises(EngineError, match=r"no voice 'amy'.*available: de_DE"):
        load("tts", "piper", model=str(folder), voice="amy")


def test_voices_that_do_not_fit_leave_and_come_again(folder):
    files = ",".join(str(folder / f"{name}.onnx") for name in NAMES)
    engine = load("tts", "piper", model=files, memory_mb=130)
    for at in (0, 1, 2, 0, 2):
        assert len(next(engine.synthesize("yes", NAMES[at]))) > 0
        assert len(engine._loaded) <= 2 and NAMES[at] in engine._loaded
    assert list(engine._loaded) == [NAMES[0], NAMES[2]]
    small = load("tts", "piper", model=files, memory_mb=1)
    assert len(next(small.synthesize("yes", NAMES[2]))) > 0 and list(small._loaded) == [NAMES[2]]


def test_voices_of_a_folder_are_chosen_by_language_in_one_process(folder):
    listed = Settings(
        tts_engine="piper", tts_model=str(folder), tts_voice=f"en:{NAMES[1]}, de:{NAMES[0]}"
    )
    german = settings_of_voice(listed, listed.voices[1])
    assert (german.tts_model, german.tts_voice) == (str(folder), NAMES[0])
    assert listed.with_default_voice.tts_voice == NAMES[1]


def test_the_language_is_told_by_the_name():
    assert [language_of(name) for name in NAMES] == ["de", "en", "zh"]
    assert language_of("pt_BR-faber-x_low") == "pt"
    assert language_of("joe") is language_of("") is language_of("de_DE-thorsten") is None


def test_a_clip_at_another_rate_keeps_pitch_length_and_level():
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000).astype(np.float32)
    made = at_rate(tone, 16_000, 22_050)
    assert len(made) == 22_050 and made.dtype == np.float32
    assert np.abs(np.fft.rfft(made)).argmax() == 440
    assert np.abs(made).max() == pytest.approx(0.5, abs=0.01)
    assert at_rate(tone, 16_000, 16_000) is tone and len(at_rate(tone[:0], 16_000, 8_000)) == 0
