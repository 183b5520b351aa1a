"""The engine whisperspeech on the real package and the image's torch, on a CPU, with RANDOM
WEIGHTS: it says noise.

What is shown: construction, shapes, the step callback, errors, speakers, and that nothing is asked
of the network once the files are there. What is not: how it sounds, how fast it is, and CUDA.
"""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny_whisperspeech
import torch
from huggingface_hub import constants

from whisperfusion.engines import EngineError, load
from whisperfusion.engines.hibari import LEAD_S, trimmed

CUDA_FREE = {"device": "cpu", "torch_compile": False}


@pytest.fixture(scope="session")
def stored(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("caches")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(folder / "torch"))
        tiny_whisperspeech.caches(folder)
    return folder


@pytest.fixture
def offline(stored, tmp_path, monkeypatch) -> Path:
    """HF_HOME, TORCH_HOME and HOME of a container whose volumes are filled and whose network is
    gone.
    """
    # the hub reads its environment when it is imported
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(stored / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("TORCH_HOME", str(stored / "torch"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return stored


@pytest.fixture
def engine(offline):
    return load("tts", "whisperspeech", **CUDA_FREE)


def spoken(engine, text: str, name: str = "", speed: float = 1.0) -> np.ndarray:
    return np.concatenate([pcm for pcm in engine.synthesize(text, name, speed) if len(pcm)])


def test_a_sentence_from_the_default_models(engine, capfd):
    """Also: no progress bar for each sentence, which the package prints for every call of its
    own `generate`.
    """
    assert (engine.model, engine.voices, engine.device) == (
        "s2a-q4-tiny-en+pl",
        ("default",),
        "cpu",
    )
    assert engine._pipe.t2s.ttoks_len == tiny_whisperspeech.TTOKS
    # optimize=True ran, on a CPU too
    assert engine._pipe.t2s.dtype == engine._pipe.s2a.dtype == torch.float16
    pcm = spoken(engine, "Hello, how are you?")
    assert (
        pcm.dtype == np.float32
        and pcm.ndim == 1
        and np.isfinite(pcm).all()
        and 0 < np.abs(pcm).max() <= 1
    )
    out, err = capfd.readouterr()
    assert out == err == ""


def test_the_engine_says_what_the_package_says(engine):
    """`_say` calls the three stages itself; with the same random numbers the sound is that of
    Pipeline.generate.
    """
    pipe, speaker, text = engine._pipe, engine._pipe.default_speaker, "The very same words."

    def compared(make):
        torch.manual_seed(7)
        return engine._pool.submit(make).result()

    theirs = compared(lambda: pipe.generate(text, lang="en", cps=15.0))
    ours = compared(lambda: engine._say(pipe, text, speaker, 15.0, lambda: None))
    assert (
        theirs.dtype == torch.float32
        and theirs.shape[0] == 1
        and theirs.shape[1] % 320 == 0
        and theirs.is_inference()
    )
    assert np.array_equal(
        ours, trimmed(np.clip(theirs[0].cpu().numpy(), -1, 1), LEAD_S, 0.25, 24_000)
    )


def test_75_acoustic_tokens_and_24000_samples_are_a_second(engine):
    pipe = engine._pipe
    stoks = torch.arange(50) % tiny_whisperspeech.CODES  # two seconds at 25 a second
    atoks = pipe.s2a.generate(stoks, pipe.default_speaker.unsqueeze(0), show_progress_bar=False)
    audio = pipe.vocoder.decode(atoks)
    assert (atoks.dtype, atoks.shape[:2]) == (torch.int64, (1, 4))
    assert abs(atoks.shape[2] - 150) <= 4 and audio.shape == (1, atoks.shape[2] * 320)


@pytest.mark.parametrize("stage", ["semantic", "acoustic"])
def test_an_exception_out_of_the_step_callback_passes_through_and_the_models_go_on(engine, stage):
    pipe, counted = engine._pipe, []

    class Stop(Exception):
        pass

    def step() -> None:
        counted.append(1)
        if len(counted) == 3:
            raise Stop

    def run() -> None:
        if stage == "semantic":
            pipe.t2s.generate("Stop in the middle of this.", step=step, show_progress_bar=False)
        else:
            pipe.s2a.generate(
                torch.arange(40),
                pipe.default_speaker.unsqueeze(0),
                step=step,
                show_progress_bar=False,
            )

    with pytest.raises(Stop):
        engine._pool.submit(run).result()
    assert len(counted) == 3
    assert len(spoken(engine, "And again."))


def test_closing_in_the_middle_frees_the_engine(engine, monkeypatch):
    """The first sentence is held at its second token, closed, and never reaches the vocoder."""
    pipe, here, go_on, decoded = engine._pipe, threading.Event(), threading.Event(), []
    real_next, real_decode = pipe.t2s.generate_next, pipe.vocoder.decode

    def slow(*args):
        here.set()
        assert go_on.wait(60)
        return real_next(*args)

    monkeypatch.setattr(pipe.t2s, "generate_next", slow)
    monkeypatch.setattr(
        pipe.vocoder, "decode", lambda atoks: decoded.append(1) or real_decode(atoks)
    )
    sound = engine.synthesize("Nobody hears the end of this sentence.", "", 1.0)
    assert len(next(sound)) == 0 and here.wait(60)
    sound.close()
    go_on.set()
    assert len(spoken(engine, "Next.")) and len(decoded) == 1


def test_long_text_is_not_cropped_and_odd_text_is_said(engine, monkeypatch):
    asked = []
    encode = engine._pipe.t2s.generate
    monkeypatch.setattr(
        engine._pipe.t2s,
        "generate",
        lambda text, **more: asked.append(text) or encode(text, **more),
    )
    text = (
        "Chrząszcz brzmi w trzcinie, " * 25 + "\N{SMILING FACE WITH SMILING EYES} half \ud83d pair"
    )
    assert len(spoken(engine, text))
    assert (
        sum(piece.count("trzcinie") for piece in asked) == 25
        and max(len(piece.encode()) for piece in asked) <= 300
    )


def test_text_without_words_would_be_sound(engine):
    """Why the engine leaves such text out."""
    assert engine._pipe.generate("", cps=15).numel() > 0
    assert [pcm for pcm in engine.synthesize("...", "", 1.0) if len(pcm)] == []


@pytest.mark.parametrize("speed", [0.5, 1.0, 2.0])
def test_every_speed_has_a_bin(engine, speed):
    assert len(spoken(engine, "Slow or fast.", speed=speed))


def test_languages(offline):
    assert len(spoken(load("tts", "whisperspeech", language="pl", **CUDA_FREE), "Dzień dobry."))
    with pytest.raises(EngineError, match="no language 'xx'"):
        load("tts", "whisperspeech", language="xx", **CUDA_FREE)


def test_no_gpu(offline):
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(EngineError, match="needs an NVIDIA GPU"):
        load("tts", "whisperspeech")


@pytest.mark.skipif(
    shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU"
)
def test_compiled(offline, caplog, capfd):
    """torch.compile(mode="reduce-overhead", fullgraph=True) for real, with C++ in place of
    Triton and CUDA graphs.
    """
    with caplog.at_level("INFO", logger="whisperfusion"):
        engine = load("tts", "whisperspeech", device="cpu", torch_compile=True)
    said = [record.message for record in caplog.records if record.name.startswith("whisperfusion")]
    assert said == ["Warming up torch compile model", "Warmed up Whisper Speech"]
    assert "3/3" in capfd.readouterr().err
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert before >= 2  # one of each model
    assert len(
        spoken(
            engine,
            "A sentence of another length than the one that warmed it up, said at another speed.",
            speed=1.2,
        )
    )
    # no caller waits for a compiler
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before


# --- files that are not there or not right ------------------------------------------------------


def test_a_local_model_and_a_missing_one(offline, tmp_path):
    """The package prints the second failure and builds a pipeline that cannot speak."""
    tiny_whisperspeech.s2a().save_model(str(tmp_path / "mine.model"))
    assert (
        load("tts", "whisperspeech", model=str(tmp_path / "mine.model"), **CUDA_FREE).model
        == "mine"
    )
    with pytest.raises(EngineError, match=r"cannot load .* and .*none\.model \(FileNotFoundError"):
        load("tts", "whisperspeech", model=str(tmp_path / "none.model"), **CUDA_FREE)


def test_a_model_that_the_hub_cannot_deliver(offline, capfd):
    with pytest.raises(
        EngineError, match=r"cannot load .*someone/else:x\.model .*LocalEntryNotFoundError.*HF_HOME"
    ):
        load("tts", "whisperspeech", t2s="someone/else:x.model", **CUDA_FREE)
    assert "Traceback" not in capfd.readouterr().out


def test_half_a_file(offline, tmp_path):
    (tmp_path / "half.model").write_bytes(
        (offline / "torch/hub/checkpoints/encodec_24khz-d7cc33bc.th").read_bytes()[:50_000]
    )
    with pytest.raises(
        EngineError, match=r"cannot load .*half\.model \((OSError|RuntimeError).*deleted"
    ):
        load("tts", "whisperspeech", model=str(tmp_path / "half.model"), **CUDA_FREE)


def test_no_vocoder(offline, tmp_path, monkeypatch):
    shutil.copytree(offline / "hub", tmp_path / "hub", symlinks=True)
    shutil.rmtree(tmp_path / "hub" / "models--charactr--vocos-encodec-24khz")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(
        EngineError, match="vocoder of WhisperSpeech cannot be loaded .*vocos-encodec-24khz"
    ):
        load("tts", "whisperspeech", **CUDA_FREE)


# --- voices -------------------------------------------------------------------------------------


def test_a_voice_from_a_recording(offline, tmp_path):
    """Through speechbrain's real loader and a speaker network with random weights; stereo and
    44.1 kHz become what it hears.
    """
    noise = np.random.default_rng(1).normal(0, 0.1, (44_100 * 3, 2))
    soundfile.write(tmp_path / "ada.flac", noise, 44_100)
    engine = load("tts", "whisperspeech", voice=str(tmp_path / "ada.flac"), **CUDA_FREE)
    assert engine.voices == ("ada", "default")
    assert engine._speakers["ada"].shape == engine._speakers["default"].shape == (192,)
    assert len(spoken(engine, "Hello.", "ada")) and len(spoken(engine, "Hello.", "default"))


def test_a_recording_that_is_none(offline, tmp_path):
    (tmp_path / "text.wav").write_text("not a sound")
    with pytest.raises(EngineError, match=r"no voice can be made of .*text\.wav"):
        load("tts", "whisperspeech", voice=str(tmp_path / "text.wav"), **CUDA_FREE)
