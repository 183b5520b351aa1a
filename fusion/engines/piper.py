"""Piper voices, by the optional package piper-tts (GPL-3, hence not among the requirements)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fusion.engines import EngineError
from fusion.engines.hibari import LEAD_S, gap_after, short_pieces, trimmed


class Piper:
    """`model` is a voice's .onnx file with its .onnx.json beside it, or a folder with both. `voice` names a speaker of it.

    `sample_rate` is the voice's own, mostly 22,050 Hz. One thread; safe in several.
    """

    def __init__(self, *, model: str, voice: str = "") -> None:
        path = Path(model)
        if path.is_dir():
            path = next(iter(sorted(path.glob("*.onnx"))), path)
        if not path.is_file() or not Path(f"{path}.json").is_file():
            raise EngineError(f"there is no Piper voice at {model or 'an empty TTS_MODEL'} (a .onnx file and its .onnx.json are needed)")
        try:
            from piper import PiperVoice
            from piper.config import PiperConfig, SynthesisConfig
        except ImportError as error:
            raise EngineError("Piper is not installed; pip install piper-tts (GPL-3), or set TTS_ENGINE=hibari") from error
        import json

        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = options.intra_op_num_threads = 1  # spinning threads would slow the other engines
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            config = PiperConfig.from_dict(json.loads(Path(f"{path}.json").read_text(encoding="utf-8")))
        except Exception as error:  # onnxruntime raises a class of its own for each kind of damage
            raise EngineError(f"the Piper voice {path} cannot be loaded: {error}; delete it and start again") from error
        self._voice, self._synthesis = PiperVoice(session=session, config=config), SynthesisConfig
        self._speakers: dict[str, int] = dict(config.speaker_id_map)
        self.model, self.device, self.sample_rate = path.stem, "cpu", int(config.sample_rate)
        names = tuple(self._speakers) or (path.stem,)
        if voice and voice not in names:
            raise EngineError(f"there is no voice {voice!r} in {path.name}; available: {', '.join(names)}")
        self.voices = (voice, *(n for n in names if n != voice)) if voice else names

    def speak(self, text: str, voice: str, speed: float) -> Iterator[np.ndarray]:
        voice = voice or self.voices[0]
        if voice not in self.voices:
            raise EngineError(f"there is no voice {voice!r}; available: {', '.join(self.voices)}")
        slowness = self._voice.config.length_scale / min(max(speed, 0.5), 2.0)
        # Piper's clips peak at full scale: far louder than other voices, and no room for a filter's overshoot.
        how = self._synthesis(speaker_id=self._speakers.get(voice), length_scale=slowness, volume=0.5)
        text = text.encode("utf-8", "replace").decode()  # espeak takes no half surrogate pairs
        # Double brackets are Piper's notation for phonemes, which no dialogue means.
        for piece in short_pieces(text.replace("[[", "[").strip()):
            if not any(c.isalnum() for c in piece):
                continue
            for chunk in self._voice.synthesize(piece, how):
                pcm = trimmed(chunk.audio_float_array, LEAD_S, gap_after(piece), self.sample_rate)
                if len(pcm):
                    yield pcm
