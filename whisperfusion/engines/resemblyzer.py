"""Speaker embeddings by the voice encoder of Resemblyzer (Apache-2.0): three LSTM layers read 40
mel bands of 1.6 s of speech, and what the last one ends with says who speaks.

"Generalized End-to-End Loss for Speaker Verification" (Wan et al., 2018) describes the network. Its
spectrum is of power, not of its logarithm, so loudness matters: each clip is raised to -30 dBFS, as
in its training. The weights are read without torch (`torch_file`), and the network is written as
an ONNX model in memory: in NumPy its 480 small steps would compete with event loops for the
interpreter, and take longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from whisperfusion.audio import MICROPHONE_RATE, Samples
from whisperfusion.engines import onnx_graph as graph
from whisperfusion.engines.pcm import checked
from whisperfusion.engines.torch_file import read_state
from whisperfusion.engines.whisper.log_mel import FFT, HOP, TOGETHER, WINDOW
from whisperfusion.engines.whisper.mel_filters import mel_filters
from whisperfusion.errors import EngineError
from whisperfusion.paths import COMMAND

BANDS, UNITS, LAYERS = 40, 256, 3
LEVEL = 10 ** (-30 / 20)  # root mean square that quiet clips are raised to
SHORTEST = MICROPHONE_RATE // 10  # samples of a clip
AT_ONCE = 16  # clips: more in one product make it no faster


class Resemblyzer:
    """`model` is `pretrained.pt` of the package resemblyzer. One thread; safe in several.

    `same_speaker` was chosen by bench/speakers.py.
    """

    same_speaker = 0.65

    def __init__(self, *, model: str) -> None:
        import onnxruntime

        path = Path(model)
        if not path.is_file():
            raise EngineError(
                f"the speaker model is missing at {model}; run `{COMMAND} models` or set "
                "SPEAKER_ENGINE=none"
            )
        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = options.intra_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3
        try:
            written = network(read_state(path, "model_state"))
            self._session = onnxruntime.InferenceSession(
                written, options, providers=["CPUExecutionProvider"]
            )
        except EngineError:
            raise
        except Exception as error:  # onnxruntime raises a class of its own for each kind of damage
            raise EngineError(
                f"the speaker model {model} cannot be loaded: {error}; delete it and start again"
            ) from error
        self.model = "resemblyzer"
        self._filters = mel_filters(BANDS)

    def embed(self, clips: Sequence[Samples]) -> Samples:
        """Unit vectors, float32 [clips, 256]; clips are best 1.6 s long, at least 0.1 s."""
        spectra = [self._spectrum(clip) for clip in clips]
        found = np.zeros((len(clips), UNITS), np.float32)
        lengths = {len(one) for one in spectra}
        for length in lengths:
            alike = [at for at, one in enumerate(spectra) if len(one) == length]
            for begin in range(0, len(alike), AT_ONCE):
                chosen = alike[begin : begin + AT_ONCE]
                frames = np.stack([spectra[at] for at in chosen], axis=1)
                found[chosen] = self._session.run(None, {"frames": frames})[0]
        norms = np.linalg.norm(found, axis=1, keepdims=True)
        unit: Samples = found / np.maximum(norms, 1e-9)
        return unit

    def _spectrum(self, clip: Samples) -> Samples:
        """Power in mel bands, float32 [frames, 40]; as librosa's `melspectrogram`."""
        clip = checked(clip)
        if len(clip) < SHORTEST:
            raise EngineError(f"a clip of a speaker has {len(clip)} samples; at least {SHORTEST}")
        level = float(np.sqrt(np.mean(np.square(clip))))
        clip = clip * max(1.0, LEVEL / max(level, 1e-5))
        padded = np.pad(clip, FFT // 2)
        cut = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP][: len(clip) // HOP]
        spectrum = np.fft.rfft(cut * WINDOW, axis=1)
        power = (np.square(spectrum.real) + np.square(spectrum.imag)).astype(np.float32)
        blocks = [power[at : at + TOGETHER] for at in range(0, len(power), TOGETHER)]
        mel: Samples = np.concatenate([block @ self._filters.T for block in blocks])
        return mel


def network(state: dict[str, Samples]) -> bytes:
    """The ONNX model: `frames` [time, clips, 40] to `speaker` [clips, 256], not of unit length.

    torch keeps the gates of an LSTM as input, forget, cell, output, ONNX as input, output, forget,
    cell.
    """
    nodes, weights, below = [], [graph.indices("ways", [1]), graph.indices("first", [0])], "frames"
    for layer in range(LAYERS):
        w, r, b = f"W{layer}", f"R{layer}", f"B{layer}"
        weights.append(graph.floats(w, _gates(state[f"lstm.weight_ih_l{layer}"])[None]))
        weights.append(graph.floats(r, _gates(state[f"lstm.weight_hh_l{layer}"])[None]))
        biases = [_gates(state[f"lstm.bias_{kind}_l{layer}"]) for kind in ("ih", "hh")]
        weights.append(graph.floats(b, np.concatenate(biases)[None]))
        nodes.append(
            graph.node("LSTM", [below, w, r, b], [f"all{layer}", f"h{layer}"], hidden_size=UNITS)
        )
        below = f"layer{layer}"
        if layer < LAYERS - 1:
            nodes.append(graph.node("Squeeze", [f"all{layer}", "ways"], [below]))
    weights.append(graph.floats("W", state["linear.weight"]))
    weights.append(graph.floats("B", state["linear.bias"]))
    nodes.append(graph.node("Squeeze", [f"h{LAYERS - 1}", "first"], [below]))
    nodes.append(graph.node("Gemm", [below, "W", "B"], ["linear"], transB=1))
    nodes.append(graph.node("Relu", ["linear"], ["speaker"]))
    given = graph.value("frames", ["time", "clips", BANDS])
    return graph.model(nodes, weights, given, graph.value("speaker", ["clips", UNITS]))


def _gates(values: Samples) -> Samples:
    entry, forget, cell, output = np.split(values, 4)
    return np.concatenate((entry, output, forget, cell))
