"""The package coqui-tts and the files of a model, in the interpreter that `make xtts` installs."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from whisperfusion.errors import EngineError, first_line

FILES = ("config.json", "model.pth", "vocab.json")  # speakers_xtts.pth may be missing
MOST_THREADS = 4  # more do not make it faster


def torch_of(device: str, threads: int) -> tuple[Any, str]:
    """PyTorch, and "cpu" or "cuda"."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads slow the other engines
    try:
        import torch
        import TTS.tts.models.xtts  # noqa: F401
    except (ImportError, OSError) as error:
        raise EngineError(
            f"XTTS cannot be imported in {sys.executable} ({first_line(error)}): `make xtts` "
            "installs it in an interpreter of its own; another one that has it is named by "
            "TTS_OPTION=python=/path/to/bin/python"
        ) from error
    if device not in ("auto", "cpu", "cuda"):
        raise EngineError(f"XTTS cannot run on {device!r}; allowed: auto, cpu, cuda")
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise EngineError(
            "PyTorch finds no GPU that it can use (nvidia-smi, and the driver that torch "
            f"{torch.__version__} asks for); TTS_OPTION=device=cpu always works"
        )
    torch.set_num_threads(threads or min(os.cpu_count() or 1, MOST_THREADS))
    return torch, "cuda" if there and device != "cpu" else "cpu"


def model_in(torch: Any, folder: Path, device: str) -> Any:
    """A `TTS.tts.models.xtts.Xtts`."""
    from TTS.tts.configs.xtts_config import XttsConfig
    from TTS.tts.models.xtts import Xtts

    lacking = [name for name in FILES if not (folder / name).is_file()]
    if lacking:
        raise EngineError(
            f"{folder} has no model of XTTS: {', '.join(lacking)} missing; leave TTS_MODEL empty "
            "for the one of the model store, or name a folder with "
            f"{', '.join(FILES)} and speakers_xtts.pth"
        )
    try:
        config = XttsConfig()
        config.load_json(str(folder / "config.json"))
        model = Xtts(config)
        # its own writes the file anew where the published one is read
        model._load_checkpoint = lambda path: weights_in(torch, path)
        model.load_checkpoint(config, checkpoint_dir=str(folder), eval=True)
        return model.to(device)
    # of its configuration, torch's unpickler, sizes that do not fit, the tokenizer, CUDA
    except Exception as error:
        raise EngineError(
            f"XTTS cannot be loaded from {folder} ({first_line(error)}); if its files are "
            "damaged, delete them and start again"
        ) from error


def weights_in(torch: Any, path: Path) -> dict[str, Any]:
    """Without running code of the file, which for the published one asks for four classes of the
    package.
    """
    from TTS.tts.models import xtts

    classes: AbstractContextManager[None] = nullcontext()
    if hasattr(torch.serialization, "safe_globals"):  # torch 2.5
        classes = xtts._legacy_safe_globals()
    with classes:
        found = torch.load(str(path), map_location="cpu", weights_only=True, mmap=True)
    weights: dict[str, Any] = found["model"]
    return weights
