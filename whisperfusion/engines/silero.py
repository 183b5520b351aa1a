"""Silero VAD, window by window, from the ONNX file that faster-whisper carries among its assets."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from whisperfusion.audio import VAD_WINDOW, Samples
from whisperfusion.engines.pcm import checked
from whisperfusion.errors import EngineError

CONTEXT = 64  # samples before the window, which the model is shown with it
STATE = (1, 1, 128)


class Silero:
    """One session of one thread for all callers; about 0.2 ms a window.

    `model` is another file than the carried one.
    """

    def __init__(self, *, model: str | None = None) -> None:
        import onnxruntime

        path = Path(model) if model else _carried_file()
        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = options.intra_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises a class of its own for each kind of damage
            raise EngineError(
                f"the speech detector cannot be loaded from {path}: {error}; reinstall "
                "faster-whisper"
            ) from error
        self.model = path.stem

    def create_stream(self) -> SileroStream:
        return SileroStream(self._session)


class SileroStream:
    def __init__(self, session: Any) -> None:
        self._session = session
        self._context: Samples
        self._h: Samples
        self._c: Samples
        self.reset()

    def probability(self, window: Samples) -> float:
        window = checked(window)
        if window.shape != (VAD_WINDOW,):
            raise EngineError(f"a window has {VAD_WINDOW} samples, not {len(window)}")
        samples = np.concatenate((self._context, window))[None]
        output, self._h, self._c = self._session.run(
            None, {"input": samples, "h": self._h, "c": self._c}
        )
        self._context = window[-CONTEXT:].copy()
        return float(output.reshape(-1)[0])

    def reset(self) -> None:
        self._context = np.zeros(CONTEXT, np.float32)
        self._h, self._c = np.zeros(STATE, np.float32), np.zeros(STATE, np.float32)


def _carried_file() -> Path:
    """The file inside the package faster_whisper, found without importing it (which would load
    its inference library).
    """
    spec = find_spec("faster_whisper")
    folders = (
        [Path(folder) / "assets" for folder in (spec.submodule_search_locations or ())]
        if spec
        else []
    )
    files = sorted(file for folder in folders for file in folder.glob("silero_vad*.onnx"))
    if not files:
        raise EngineError(
            "faster-whisper, which carries the speech detector, is not installed; pip install "
            "faster-whisper"
        )
    return files[-1]
