"""smart-turn v3: from the sound of the last 8 s, has the speaker finished? (Pipecat, BSD-2.)

The model wants what Whisper's feature extractor makes: waveform scaled to zero mean and unit variance,
zeros in front when there is less than 8 s, log-mel spectrum of 80 bands and 800 frames.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fusion.engines import ASR_RATE, EngineError
from fusion.engines.log_mel import FFT, HOP, log_mel
from fusion.engines.pcm import checked

SECONDS, BANDS = 8, 80
SAMPLES = SECONDS * ASR_RATE


class SmartTurn:
    """`model` is the ONNX file. One thread; 2 ms for the spectrum and 45 ms for the model. Safe in several threads."""

    def __init__(self, *, model: str) -> None:
        import onnxruntime

        if not Path(model).is_file():
            raise EngineError(f"there is no end-of-turn model at {model}; run `main.py models` or set TURN_ENGINE=none")
        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = options.intra_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a class of its own for each kind of damage
            raise EngineError(f"the end-of-turn model {model} cannot be loaded: {error}; delete it and start again") from error
        self.model = Path(model).stem
        self._filters = mel_filters()

    def score(self, pcm: np.ndarray) -> float:
        pcm = checked(pcm)[-SAMPLES:]
        if not len(pcm):
            raise EngineError("there is no audio to judge")
        output = self._session.run(None, {"input_features": self._features(pcm)[None]})[0]
        return float(output.reshape(-1)[0])

    def _features(self, pcm: np.ndarray) -> np.ndarray:
        """Log-mel spectrum, float32 [80, 800], of at most 8 s."""
        padded = np.pad(pcm, (SAMPLES - len(pcm), 0))
        padded = (padded - padded.mean()) / np.sqrt(padded.var() + 1e-7)
        return log_mel(padded, self._filters, SAMPLES // HOP)


def mel_filters() -> np.ndarray:
    """Triangular filters on the Slaney mel scale with equal area, float32 [80, 201]; as librosa makes them for Whisper."""
    knee_hz, knee_mel, step = 1000.0, 15.0, np.log(6.4) / 27.0  # linear below the knee, logarithmic above

    top_mel = knee_mel + np.log(ASR_RATE / 2 / knee_hz) / step
    mels = np.linspace(0.0, top_mel, BANDS + 2)
    hz = np.where(mels < knee_mel, mels * knee_hz / knee_mel, knee_hz * np.exp(step * (mels - knee_mel)))
    bins = np.arange(FFT // 2 + 1) * ASR_RATE / FFT
    rising = (bins - hz[:-2, None]) / np.diff(hz)[:-1, None]
    falling = (hz[2:, None] - bins) / np.diff(hz)[1:, None]
    areas = 2.0 / (hz[2:] - hz[:-2])
    return (np.maximum(0, np.minimum(rising, falling)) * areas[:, None]).astype(np.float32)
