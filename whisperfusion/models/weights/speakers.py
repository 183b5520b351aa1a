"""Encoders of speakers."""

from __future__ import annotations

from whisperfusion.models.model import File, Hub, Model, Wheel, spdx

SPEAKER_ENCODERS = (
    Model(
        "resemblyzer",
        "speaker",
        "Apache-2.0",
        spdx("Apache-2.0"),
        17_090_379,
        (
            File(
                "encoder.pt",
                17_090_379,
                "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
            ),
        ),
        (
            Wheel(
                "resemblyzer",
                "0.1.4",
                15_747_704,
                "8f12eb2f1a9982d32e8db7856de754709b59c93a77bcf0ff536584b619a9dd1f",
                (("resemblyzer/pretrained.pt", "encoder.pt"),),
            ),
        ),
        # the file that the package took it from
        Hub("CorentinJ/SV2TTS", "main", ("encoder.pt",)),
    ),
)
