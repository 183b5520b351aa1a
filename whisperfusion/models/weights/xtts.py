"""XTTS-v2 of the late company Coqui, of which nothing could be downloaded here.

Revision, sizes and sums are those that public projects which pin the same files have written down,
many of them the same; that of the licence's text is left to the hub. What the package itself would
fetch (tts-hub/XTTS-v2) is this model, saved without the classes that its configuration is made of.
"""

from __future__ import annotations

from whisperfusion.models.model import File, Hub, Model

REPOSITORY = "coqui/XTTS-v2"
REVISION = "6c2b0d75eae4b7047358e3b6bd9325f857d43f77"
_FILES = (
    File("config.json", 4_368, "ef262b1454dd2a77e1461b0b2cd53e19b8a7624cc131b837d36df67356bc75e8"),
    File(
        "model.pth",
        1_867_929_118,
        "c7ea20001c6a0a841c77e252d8409f6a74fb423e79b3206a0771ba5989776187",
    ),
    File(
        "speakers_xtts.pth",
        7_754_818,
        "f0f6137c19a4eab0cbbe4c99b5babacf68b1746e50da90807708c10e645b943b",
    ),
    File("vocab.json", 361_219, "928260878a59da8a72a2a5b7687fea29d5106137669d90945430fe17e415304a"),
    File("LICENSE.txt", 4_014),
)

XTTS = Model(
    "xtts-v2",
    "tts",
    "Coqui Public Model License 1.0.0 (not for commercial use)",
    f"https://huggingface.co/{REPOSITORY}/blob/{REVISION}/LICENSE.txt",
    sum(file.bytes or 0 for file in _FILES),
    _FILES,
    (),
    Hub(REPOSITORY, REVISION, tuple(file.name for file in _FILES)),
    terms="COQUI_TOS_AGREED",  # as coqui-tts itself asks
)
