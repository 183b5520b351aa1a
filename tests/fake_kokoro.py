"""misaki without its dictionaries, and a model of Kokoro's form that makes tones: the engine's own
code runs on ONNX Runtime where the real libraries are not installed.

The calls and results are those of misaki 0.9.4. Phonemes are the letters of the text, behind one
that tells which reader was asked; the model gives 0.1 s of a 200 Hz tone for each token, as loud as
0.3 and the mean of the voice's row for that count of tokens.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

MODULES = {
    "misaki/__init__.py": "",
    "misaki/espeak.py": """
class EspeakFallback:
    def __init__(self, british, version=None):
        self.british = british

    def __call__(self, token):
        return ("b" if self.british else "a") + token.text.lower(), 2


class EspeakG2P:
    def __init__(self, language, version=None):
        if language not in ("es", "fr-fr", "hi", "it", "pt-br", "ja", "cmn"):
            raise RuntimeError(f'language "{language}" is not supported by the espeak backend')
        self.language = language

    def __call__(self, text):
        return f"{self.language[0]}{text.lower()}", None
""",
    "misaki/cutlet.py": """
class Cutlet:
    def __call__(self, text):
        assert not any(c.isascii() and c.isalpha() for c in text), text
        return "ko" * len(text), None
""",
    "misaki/zh.py": """
class ZHG2P:
    def __init__(self, version=None, unk="?", en_callable=None):
        self.version = version

    def __call__(self, text, en_callable=None):
        return "xau\u2193" * len(text), None
""",
    "jieba.py": "def setLogLevel(level): pass\n",
}
ROWS, STYLE = 510, 256
LOUDER = 0.0002  # for each token


def install(folder: Path, *left_out: str) -> None:
    """The libraries, but for the modules `left_out`."""
    for name, text in MODULES.items():
        if name not in left_out:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")


def make_model(folder: Path, *voices: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).parent / "data" / "kokoro_tone.onnx", folder / "model.onnx")
    rows = np.repeat(np.arange(ROWS, dtype=np.float32) * LOUDER, STYLE)
    for name in voices:
        rows.tofile(folder / f"{name}.bin")
    return folder
