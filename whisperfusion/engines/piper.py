"""Piper voices, by the optional package piper-tts (GPL-3, hence not among the requirements)."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from whisperfusion.audio import Samples
from whisperfusion.engines.guard import guarded
from whisperfusion.engines.hibari import LEAD_S, gap_after, short_pieces, trimmed
from whisperfusion.engines.pcm import at_rate
from whisperfusion.errors import EngineError

FAMILIES = {"cmn": "zh", "nb": "no"}  # espeak-ng's names that are not ISO 639-1, or narrower


class Piper:
    """`model` is a voice's .onnx file with its .onnx.json beside it, a folder of such pairs, or
    several of both with commas between.

    Of one file the voices are its speakers; of several, each is one voice, called as its file.
    `voice` is the default. A voice is loaded when it is first asked for, and those that were used
    longest ago leave when all together are larger than `memory_mb`.

    `sample_rate` is that of the default voice, mostly 22,050 Hz. One thread; safe in several.
    """

    voice_languages: dict[str, str]

    def __init__(self, *, model: str, voice: str | None = None, memory_mb: int = 500) -> None:
        files = files_of(model)
        try:
            from piper.config import SynthesisConfig
        except ImportError as error:
            raise EngineError(
                "Piper is not installed; pip install piper-tts (GPL-3), or set TTS_ENGINE=hibari"
            ) from error
        self._files = {path.stem: path for path in files}
        self._budget, self._how = memory_mb * 1_000_000, SynthesisConfig
        self._loaded: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()
        first = voice if voice in self._files else files[0].stem
        chosen = self._voice(first)
        speakers = dict(chosen.config.speaker_id_map) if len(files) == 1 else {}
        # the name of a voice: its file, and its speaker there
        self._places: dict[str, tuple[str, int | None]] = {
            name: (first, number) for name, number in speakers.items()
        } or {name: (name, None) for name in self._files}
        names = tuple(self._places)
        if voice and voice not in names:
            where = files[0].name if len(files) == 1 else model
            raise EngineError(f"no voice {voice!r} in {where}; available: {', '.join(names)}")
        default = voice or names[0]
        self.voices = (default, *(name for name in names if name != default))
        self.voice_languages = {name: self._language(at) for name, (at, _) in self._places.items()}
        self.language = self.voice_languages[default]
        self.model, self.device = first, "cpu"
        self.sample_rate = int(chosen.config.sample_rate)

    def synthesize(
        self, text: str, voice: str | None = None, speed: float = 1.0
    ) -> Iterator[Samples]:
        voice = voice or self.voices[0]
        if voice not in self._places:
            raise EngineError(f"no voice {voice!r}; available: {', '.join(self.voices)}")
        file, speaker = self._places[voice]
        made_by = self._voice(file)
        rate = int(made_by.config.sample_rate)
        slowness = made_by.config.length_scale / min(max(speed, 0.5), 2.0)
        # Piper's clips peak at full scale, which leaves no room for a filter's overshoot.
        how = self._how(speaker_id=speaker, length_scale=slowness, volume=0.5)
        # espeak takes neither half surrogate pairs nor an end within
        text = text.encode("utf-8", "replace").decode().replace("\0", " ")
        # Double brackets are Piper's notation for phonemes, which no dialogue means.
        for piece in short_pieces(text.replace("[[", "[").strip()):
            if not any(c.isalnum() for c in piece):
                continue
            with guarded("Piper", piece):
                made = [chunk.audio_float_array for chunk in made_by.synthesize(piece, how)]
            for pcm in made:
                sound = trimmed(pcm, LEAD_S, gap_after(piece), rate)
                if len(sound):
                    yield at_rate(sound, rate, self.sample_rate)

    def _voice(self, name: str) -> Any:
        """The library's voice of a file; others leave for it, unless they are being used."""
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = loaded(self._files[name])
            self._loaded.move_to_end(name)
            while len(self._loaded) > 1 and self._bytes() > self._budget:
                self._loaded.popitem(last=False)
            return self._loaded[name]

    def _bytes(self) -> int:
        return sum(self._files[name].stat().st_size for name in self._loaded)

    def _language(self, file: str) -> str:
        config = read_config(self._files[file])
        family = (config.get("language") or {}).get("family") or config["espeak"]["voice"]
        code = str(family).replace("_", "-").partition("-")[0].lower()
        return FAMILIES.get(code, code)


def files_of(model: str) -> list[Path]:
    """The .onnx files that `model` names, each with its .onnx.json. Raises EngineError."""
    found: list[Path] = []
    for part in filter(None, (one.strip() for one in model.split(","))):
        path = Path(part).expanduser()
        files = sorted(path.glob("*.onnx")) if path.is_dir() else [path]
        found += [file for file in files if file.is_file() and Path(f"{file}.json").is_file()]
    if not found:
        raise EngineError(
            f"there is no Piper voice at {model or 'an empty TTS_MODEL'} (a .onnx file and its "
            ".onnx.json are needed)"
        )
    return found


def read_config(file: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(Path(f"{file}.json").read_text(encoding="utf-8"))
    return config


def loaded(file: Path) -> Any:
    """A voice of the package. Raises EngineError."""
    import onnxruntime
    from piper import PiperVoice
    from piper.config import PiperConfig

    options = onnxruntime.SessionOptions()
    # spinning threads would slow the other engines
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )
        return PiperVoice(session=session, config=PiperConfig.from_dict(read_config(file)))
    except Exception as error:  # onnxruntime raises a class of its own for each kind of damage
        raise EngineError(
            f"the Piper voice {file} cannot be loaded: {error}; delete it and start again"
        ) from error
