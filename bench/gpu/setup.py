"""What a step works with: the models, the recordings and the device, on a card or, dry, without."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import ROOT, manifest
from whisperfusion.audio import MICROPHONE_RATE, Samples

LONGEST_S = 25.0  # of a recording for the word errors: it is decoded as one utterance
ASR_MODEL = "whisper-base"


@dataclass(frozen=True)
class Setup:
    """`dry`: on the CPU, with few tries: it proves the code, and no figure of it counts."""

    dry: bool

    @property
    def device(self) -> str:
        return "cpu" if self.dry else "cuda"

    @property
    def tries(self) -> int:
        return 2 if self.dry else 30

    def whisper(self, device: str | None = None, compute_type: str = "auto") -> Any:
        """The real engine, as the server builds it."""
        from whisperfusion.engines import load
        from whisperfusion.models.machine import cores
        from whisperfusion.models.store import fetch, resolve
        from whisperfusion.settings import build

        chosen = build({}, os.environ, {})
        folder = fetch(resolve(ASR_MODEL, "asr", chosen), chosen.cache, chosen.sources)
        return load(
            "asr",
            "faster-whisper",
            model=str(folder),
            device=device or self.device,
            compute_type=compute_type,
            threads=cores() if device == "cpu" else 1,
        )

    def speech(self) -> list[tuple[str, Samples]]:
        """The English recordings: what is said, and float32 at 16 kHz."""
        from whisperfusion.cli.talk import read_audio

        default = ROOT.parent / "shared" / "data" / "speech"
        folder = Path(os.environ.get("WHISPERFUSION_SPEECH", default))
        entries = manifest(folder, "set WHISPERFUSION_SPEECH to")
        return [
            (entry["text"], read_audio(str(folder / entry["file"])))
            for entry in entries
            if entry["lang"] == "en"
        ]

    def stretches(self, seconds: float, count: int) -> list[Samples]:
        """`count` different stretches of one long reading, each of `seconds`."""
        longest = max((pcm for _, pcm in self.speech()), key=len)
        step = (len(longest) - int(seconds * MICROPHONE_RATE)) // max(1, count)
        return [
            np.ascontiguousarray(longest[at * step : at * step + int(seconds * MICROPHONE_RATE)])
            for at in range(count)
        ]


def environment(data: Path | None) -> Mapping[str, str]:
    """For the processes of a step: `data` is what `carry.sh unpack` made, None = this machine's own
    models and recordings.
    """
    found = dict(os.environ)
    if data is None:
        return found
    found.update(
        MODEL_CACHE_DIR=str(data / "models"),
        WHISPERFUSION_SPEECH=str(data / "speech"),
        # what is compiled for the card by the first process is there for the others
        CUDA_CACHE_PATH=str(data / "cuda-cache"),
        CUDA_CACHE_MAXSIZE=str(4 * 2**30),
    )
    library = data / "lib" / "libcublas.so.12"
    if library.exists():
        folders = (str(library.parent), str(library.resolve().parent))
        older = found.get("LD_LIBRARY_PATH", "")
        found["LD_LIBRARY_PATH"] = ":".join(filter(None, (*folders, older)))
    return found
