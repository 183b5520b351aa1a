"""smart-turn v3: from the sound of the last 8 s, has the speaker finished? (Pipecat, BSD-2.)

The model wants what Whisper's feature extractor makes: waveform scaled to zero mean and unit
variance, zeros in front when there is less than 8 s, log-mel spectrum of 80 bands and 800 frames.

A linear head of our own reads the states after the second of its four layers: the mean of the last
0.2 s, which is the pause, beside that of the 0.5 s before. It is fitted by
bench/fit_end_of_turn.py, as the heads of Whisper's encoder are
(whisperfusion/engines/whisper/end_of_turn.py), to the same people and under the same licence.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.engines.pcm import checked
from whisperfusion.engines.protocols import Prediction
from whisperfusion.engines.whisper.end_of_turn import Head, weights_for
from whisperfusion.engines.whisper.log_mel import HOP, log_mel
from whisperfusion.engines.whisper.mel_filters import mel_filters
from whisperfusion.errors import EngineError
from whisperfusion.paths import COMMAND

SECONDS, BANDS = 8, 80
SAMPLES = SECONDS * MICROPHONE_RATE
STATES = "add_268"  # the name in the graph of the second layer's output, [1, 400, 384]
RECENT, BEFORE = 10, 25  # of these states: the last 0.2 s, and the 0.5 s before


class SmartTurn:
    """`model` is the ONNX file.

    One thread; 2 ms for the spectrum and 45 ms for the model. Safe in several threads. A file of
    another size than that which the head was fitted to has none.
    """

    def __init__(self, *, model: str) -> None:
        import onnxruntime

        if not Path(model).is_file():
            raise EngineError(
                f"the end-of-turn model is missing at {model}; run `{COMMAND} models` or set "
                "TURN_ENGINE=none"
            )
        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = options.intra_op_num_threads = 1
        options.log_severity_level = 3
        # Processors without VNNI: their fast product of int8 matrices overflows, and of 180 answers
        # 24 were on the other side of 0.5; the exact one takes 16 % longer. No effect elsewhere
        # (onnxruntime, "Quantize ONNX models", U8S8 saturation).
        options.add_session_config_entry("session.x64quantprecision", "1")
        weights = weights_for(Path(model))
        self._head = None if weights is None else Head(weights, RECENT, BEFORE)
        found = Path(model).read_bytes()
        if STATES.encode() in found:
            found = with_output(found, STATES)
        try:
            self._session = onnxruntime.InferenceSession(
                found, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises a class of its own for each kind of damage
            raise EngineError(
                f"the end-of-turn model {model} cannot be loaded: {error}; delete it and start "
                "again"
            ) from error
        self.model = Path(model).stem
        self._filters = mel_filters(BANDS)

    def predict_end_of_turn(self, pcm: Samples) -> Prediction:
        pcm = checked(pcm)[-SAMPLES:]
        if not len(pcm):
            raise EngineError("the audio is empty; an end of turn is judged from some")
        output, *more = self._session.run(None, {"input_features": self._features(pcm)[None]})
        by_states = self._head.probability(more[0][0], SAMPLES) if self._head else None
        return Prediction(float(output.reshape(-1)[0]), by_states)

    def states(self, pcm: Samples) -> Samples:
        """Float32 [400, 384]: the hidden states that the head reads."""
        features = self._features(checked(pcm)[-SAMPLES:])[None]
        found: Samples = self._session.run([STATES], {"input_features": features})[0][0]
        return found

    def _features(self, pcm: Samples) -> Samples:
        """Log-mel spectrum, float32 [80, 800], of at most 8 s."""
        padded = np.pad(pcm, (SAMPLES - len(pcm), 0))
        padded = (padded - padded.mean()) / np.sqrt(padded.var() + 1e-7)
        return log_mel(padded, self._filters, SAMPLES // HOP)


def with_output(model: bytes, name: str) -> bytes:
    """An ONNX model that also gives the tensor `name` of its graph.

    Appended fields of a protocol buffer are merged into it, and these are lists: field 7 of the
    model is the graph, 12 of the graph an output, 1 of that its name.
    """
    value = _field(1, name.encode())
    return model + _field(7, _field(12, value))


def _field(number: int, content: bytes) -> bytes:
    """Of a protocol buffer: of fewer than 128 bytes."""
    return bytes((number << 3 | 2, len(content))) + content
