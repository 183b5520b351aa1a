"""The engine xtts on the real package coqui-tts with RANDOM WEIGHTS, on a CPU: it says noise.

Not collected with the others: test_xtts_real.py runs it where the package is, which wants another
version of transformers than the image has. What is shown: construction, the stream, its end,
languages, cloning, errors. What is not: how it sounds, how fast it is, and CUDA.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny_xtts
import torch

from whisperfusion.engines import EngineError, load
from whisperfusion.engines.xtts.engine import CHUNK
from whisperfusion.engines.xtts.loading import weights_in
from whisperfusion.errors import Unsayable

HELLO = "Hello."
TOKEN = 1114.6  # samples: 1024 at 22,050 Hz, at 24,000 Hz


def recording(file: Path, seed: int) -> Path:
    """Four seconds of coloured noise, as a stand-in for a person."""
    noise = np.random.default_rng(seed).normal(0, 0.1, 64_000)
    soundfile.write(file, np.convolve(noise, np.ones(seed) / seed, "same"), 16_000)
    return file


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("samples")
    return {name: recording(folder / f"{name}.wav", seed) for name, seed in (("me", 2), ("you", 9))}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tiny_xtts.make_model(tmp_path_factory.mktemp("xtts"))


@pytest.fixture(scope="module")
def engine(model) -> Any:
    return load("tts", "xtts", python="", model=str(model), device="cpu", threads=1, measure=False)


@pytest.fixture(scope="module")
def whole(engine) -> Any:
    """The sentence in the first voice: the same tokens each time."""
    return said(engine)


def said(engine: Any, text: str = HELLO, voice: str | None = None, speed: float = 1.0) -> Any:
    return np.concatenate([np.zeros(0, np.float32), *engine.synthesize(text, voice, speed)])


def test_a_sentence_comes_in_pieces_and_is_the_packages_own(engine):
    assert engine.voices[:3] == (*tiny_xtts.SPEAKERS, "Ana Florence@en")
    assert (engine.language, engine.voice_languages["Ana Florence@zh"]) == ("en", "zh")
    pieces = [pcm for pcm in engine.synthesize(HELLO) if len(pcm)]
    assert all(pcm.dtype == np.float32 and np.abs(pcm).max() <= 1 for pcm in pieces)
    assert len(pieces) > 2 and len(pieces[0]) <= CHUNK * TOKEN
    ours = np.concatenate(pieces)[:-6_000]  # a quarter of a second of silence ends a sentence
    theirs = engine._pool.submit(plainly, engine).result()
    at = int(np.argmax(np.correlate(theirs[: 2 * len(theirs)], ours[:2_000], "valid")))
    assert np.allclose(theirs[at : at + len(ours)], ours, atol=1e-5)
    assert len(theirs) - len(ours) < 2 * 240  # but silence, of less than 10 ms at each end


def plainly(engine: Any) -> np.ndarray:
    speaker = engine._speakers["Ana Florence"]
    stream = engine._xtts.inference_stream(HELLO, "en", *speaker, **engine._knobs)
    return np.clip(np.concatenate([pcm.numpy() for pcm in stream]), -1, 1)


def test_voice_language_and_speed_matter(engine, whole):
    others = [said(engine, HELLO, voice) for voice in ("Ana Florence@zh-cn", "Craig Gutsy")]
    sounds = [whole, *others]
    for at, one in enumerate(sounds):
        assert not any(np.array_equal(one, other) for other in sounds[:at])
    heard = []
    encode = engine._xtts.tokenizer.encode
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            engine._xtts.tokenizer,
            "encode",
            lambda text, lang: heard.append(lang) or encode(text, lang),
        )
        slow = said(engine, HELLO, "Craig Gutsy@de", speed=0.5)
    assert heard == ["de"] and len(slow) > 1.5 * len(whole)


def test_a_closed_sentence_ends_within_a_token_and_the_next_one_is_whole(engine, whole):
    tokens, asked = [], threading.Event()
    forward = engine._xtts.gpt.gpt_inference.forward

    def counted(*given: Any, **named: Any) -> Any:
        tokens.append(1)
        asked.set()
        return forward(*given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine._xtts.gpt.gpt_inference, "forward", counted)
        pieces = engine.synthesize("A long sentence that nobody wants to hear to its end.")
        assert len(next(pieces)) == 0 or tokens  # "nothing yet", or sound
        assert asked.wait(60)
        before = len(tokens)
        pieces.close()
        engine._pool.submit(lambda: None).result()
        assert len(tokens) <= before + CHUNK
    assert np.array_equal(said(engine), whole)


def test_a_voice_is_cloned_from_a_recording_once(engine, samples, whole):
    made, latents = [], engine._cloned._make
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine._cloned, "_make", lambda *given: made.append(1) or latents(*given))
        mine, yours = (said(engine, HELLO, str(file)) for file in samples.values())
        assert not np.array_equal(mine, yours) and not np.array_equal(mine, whole)
        assert np.array_equal(said(engine, HELLO, str(samples["me"])), mine)
    assert len(made) == 2
    style, embedding = engine._cloned.of(samples["me"])
    theirs = engine._xtts.get_conditioning_latents(
        str(samples["me"]), max_ref_length=30, gpt_cond_len=30, gpt_cond_chunk_len=4
    )
    assert torch.allclose(style, theirs[0], atol=1e-4)
    assert torch.allclose(embedding, theirs[1], atol=1e-4)


def test_a_recording_can_be_the_first_voice(model, samples):
    options = {"python": "", "model": str(model), "device": "cpu", "threads": 1, "measure": False}
    made = load("tts", "xtts", voice=f"{samples['me']}@fr", **options)
    assert made.voices[0] == "me" and made.voices[-17:][0] == "me@en" and made.language == "fr"
    assert len(said(made)) > 6_000
    with pytest.raises(EngineError, match=r"no voice can be made of nobody\.wav \(No such file"):
        load("tts", "xtts", voice="nobody.wav", **options)


def test_what_cannot_be_said_is_told_and_the_next_sentence_is_whole(engine, whole):
    with pytest.raises(EngineError, match=r"'nobody' is neither.*available: Ana Florence, Craig"):
        said(engine, HELLO, "nobody")
    with pytest.raises(Unsayable, match="XTTS cannot say"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine._xtts.tokenizer, "encode", lambda *given, **named: [0] * 403)
            said(engine)
    assert said(engine, "… ¡!").size == said(engine, "").size == 0
    assert np.array_equal(said(engine), whole)


def test_a_model_that_is_not_there_or_not_whole_is_told(model, tmp_path):
    def refused(why: str, **options: Any) -> None:
        with pytest.raises(EngineError, match=why):
            load(
                "tts",
                "xtts",
                python="",
                **{"model": str(tmp_path), "device": "cpu", "threads": 1, **options},
            )

    refused(r"config\.json, model\.pth, vocab\.json missing")
    refused("cannot run on 'tpu'; allowed: auto, cpu, cuda", model=str(model), device="tpu")
    for name in ("config.json", "vocab.json"):
        (tmp_path / name).write_bytes((model / name).read_bytes())
    (tmp_path / "model.pth").write_bytes((model / "model.pth").read_bytes()[:-1000])
    refused("XTTS cannot be loaded from")


def test_a_file_of_weights_runs_no_code_and_stays_as_it_is(model, tmp_path):
    class Hostile:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"model": {}, "config": Hostile()}, tmp_path / "hostile.pth")
    with pytest.raises(Exception, match="[Ww]eights"):
        weights_in(torch, tmp_path / "hostile.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(
    not hasattr(torch.serialization, "safe_globals"), reason="of torch 2.5, as `make xtts` installs"
)
def test_the_published_form_is_read_and_not_written(tmp_path):
    """Its configuration is pickled as classes of the package, where they once were."""
    from TTS.tts.models import xtts

    config = tiny_xtts.config()
    with xtts._legacy_safe_globals():
        torch.save({"model": {"weight": torch.ones(3)}, "config": config}, tmp_path / "model.pth")
    before = (tmp_path / "model.pth").read_bytes()
    assert weights_in(torch, tmp_path / "model.pth")["weight"].sum() == 3
    assert (tmp_path / "model.pth").read_bytes() == before
