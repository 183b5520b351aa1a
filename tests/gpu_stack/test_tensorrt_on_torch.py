"""The engines' torch code on the real torch of the GPU set, on the CPU; TensorRT-LLM itself is
the recorded signatures.
"""

from __future__ import annotations

import contextlib
from typing import Any

import fake_gpu
import pytest
import torch
import whisper_on_fakes
from engine_checks import ENGLISH, SECOND, errors

from whisperfusion.engines import ASROptions
from whisperfusion.engines.tensorrt.tensorrt_whisper import TensorRTWhisper


class Stream:
    """A CUDA stream where there is none."""

    cuda_stream = 0

    def synchronize(self) -> None:
        """Nothing runs beside us on a CPU."""


class OnTheCPU(TensorRTWhisper):
    place = "cpu"


@pytest.fixture(params=["whisper-tiny.en", "whisper-base"])
def engine(request, monkeypatch, stored, tmp_path) -> Any:
    assert torch.__version__.startswith("2.2.2")
    monkeypatch.setattr(torch.cuda, "Stream", lambda *args, **kwargs: Stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    with fake_gpu.installed("tensorrt_llm") as gpu:
        whisper_on_fakes.Behaviour(gpu)
        yield OnTheCPU(
            model=str(
                whisper_on_fakes.folder(tmp_path / request.param, stored(request.param, "asr"))
            )
        )


def test_speech_is_heard(engine, recordings, sound):
    for name in ("harvard-sb-birch.flac", "riva-nlp.flac"):
        utterance = engine.create_utterance(ENGLISH)
        for at in range(0, len(sound(name)), SECOND):
            utterance.accept_audio(sound(name)[at : at + SECOND])
        assert errors(recordings[name]["text"], utterance.finish().text) == 0


def test_the_language_is_told(engine, recordings, sound):
    name = next(file for file, entry in recordings.items() if entry["lang"] == "de")
    told = engine.create_utterance(ASROptions()).accept_audio(sound(name)).language
    # an English-only model knows no other
    assert told == ("de" if len(engine.languages) > 1 else "en")
