"""What every engine on a GPU has to tell apart: a failure of one job, and a GPU that is lost to this process."""

from __future__ import annotations

import re


def gpu_is_lost(error: object) -> bool:
    """Whether CUDA will go on failing until the process ends: only a new one gets the GPU back, so this must not become an
    `EngineError`. torch says "CUDA error", TensorRT-LLM "CUDA runtime error in …", its Python side "CUDA ERROR"."""
    return re.search(r"cuda (runtime )?error", str(error), re.IGNORECASE) is not None
