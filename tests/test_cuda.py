"""Engines on an NVIDIA GPU outside of TensorRT's image: what is there, what is missing, and the
words for it. No test here has a GPU: nvidia-smi and the libraries are fakes.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from fake_card import ADA, BLACKWELL, CPU_BUILD, SMALL, Machine
from running import ROOT

from whisperfusion.cli import doctor
from whisperfusion.engines import cuda, load
from whisperfusion.engines.whisper import faster_whisper
from whisperfusion.engines.whisper.decode import ShortContext
from whisperfusion.models import cards, store
from whisperfusion.settings import build

SCRIPTED = {f"{kind}_engine": "scripted" for kind in ("tts", "vad", "turn")}
# llama.cpp's CUDA build: it can be imported where its library is loaded
CUDA_BUILD = """\
import ctypes
try: ctypes.CDLL('libcublas.so.12')
except OSError as error: raise ImportError(str(error))
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Makes a machine with the given cards, this process's from now on."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    # a library that is rewritten within a second, in the same size, would be the one before
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")

    def make(*told: str) -> Machine:
        made = Machine(tmp_path / "machine", *told)
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        return made

    return make


def child(code: str, machine: Machine) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{machine.site}"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- the libraries ------------------------------------------------------------------------------


def test_cublas_is_found_by_its_name_once_it_was_loaded_from_its_wheel(machine) -> None:
    here = machine()
    here.install_cublas()
    by_name = "import ctypes; print(bool(ctypes.CDLL('libcublas.so.12')))"
    preload = "from whisperfusion.engines import cuda; print(cuda.preload()); "
    assert child(preload + by_name, here).split() == ["True", "True"]
    tried = subprocess.run([sys.executable, "-c", by_name], capture_output=True, text=True)
    assert "libcublas.so.12: cannot open" in tried.stderr, "this machine has cuBLAS of its own"


def test_without_the_wheels_nothing_is_loaded(machine) -> None:
    told = child("from whisperfusion.engines import cuda; print(cuda.preload())", machine())
    assert told == "False"


def lacks(machine: Machine) -> dict[str, str]:
    program = "import sys; from whisperfusion.engines import cuda; sys.exit(cuda.main())"
    found: dict[str, str] = json.loads(child(program, machine))
    return found


def test_a_machine_with_all_libraries_lacks_nothing(machine) -> None:
    here = machine(ADA)
    here.install_cublas()
    assert lacks(here) == {"llm": "", "asr": ""}


def test_what_is_missing_is_told_with_the_command_that_installs_it(machine) -> None:
    here = machine(ADA)
    here.libraries(devices=CPU_BUILD)
    found = lacks(here)
    assert (
        "libcublas.so.12" in found["asr"] and "pip install 'nvidia-cublas-cu12<13'" in found["asr"]
    )
    assert f"--no-deps --index-url {cuda.LLAMA_INDEX} xllamacpp==" in found["llm"]
    here.libraries(count=0)
    assert "driver 570" in lacks(here)["asr"]


@pytest.mark.parametrize(
    ("missing", "advice"),
    [
        ("libcublas.so.12", "pip install 'nvidia-cublas-cu12<13'"),
        ("libcuda.so.1", "--no-deps xllamacpp"),
    ],
)
def test_a_cuda_build_that_cannot_be_loaded_says_what_it_needs(machine, missing, advice) -> None:
    here = machine(ADA)
    (here.site / "xllamacpp.py").write_text(
        f"raise ImportError('{missing}: cannot open shared object file')"
    )
    found = lacks(here)["llm"]
    assert missing in found and advice in found


def test_the_cuda_build_is_imported_after_its_libraries_were_loaded(machine) -> None:
    here = machine(ADA)
    here.install_cublas()
    (here.site / "xllamacpp.py").write_text(CUDA_BUILD)
    code = "from whisperfusion.engines import cuda; print(cuda.import_llama().__name__)"
    assert child(code, here) == "xllamacpp"


@pytest.mark.parametrize(
    ("types", "chosen"),
    [
        (("float32", "float16", "int8_float16", "int8_float32"), "float16"),
        (("float32", "int8", "int8_float32"), "int8_float32"),  # Pascal
        (("float32",), "float32"),
    ],
)
def test_the_gpu_is_asked_what_it_computes_with(machine, types, chosen) -> None:
    here = machine(ADA)
    here.libraries(types=types)
    code = "from whisperfusion.engines import cuda; print(cuda.compute_type())"
    assert child(code, here) == chosen


def test_a_long_wait_is_told_until_it_ends(caplog, monkeypatch) -> None:
    monkeypatch.setenv("CUDA_CACHE_PATH", "/data/models/cuda")
    told = threading.Semaphore(0)

    class Counting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.release()

    handler = Counting()
    caplog.set_level(logging.INFO)
    logging.getLogger().addHandler(handler)
    try:
        with cuda.wait_told("Whisper", every_s=0.01):
            assert told.acquire(timeout=30) and told.acquire(timeout=30)
    finally:
        logging.getLogger().removeHandler(handler)
    assert (
        "Whisper is still loading on the GPU" in caplog.text and "/data/models/cuda" in caplog.text
    )
    assert not [one for one in threading.enumerate() if one.name == "wait"]


# --- the engines, with the real libraries of the CPU --------------------------------------------


def test_whisper_says_why_it_runs_on_the_cpu_beside_a_gpu(machine, stored, caplog) -> None:
    machine(ADA)
    model = stored("whisper-tiny.en", "asr")
    assert load("asr", "faster-whisper", model=model).device == "cpu"
    assert "RTX 4070 is there, but Whisper runs on the CPU: CTranslate2" in caplog.text
    caplog.clear()
    load("asr", "faster-whisper", model=model, device="cpu")
    assert not caplog.text


def test_whisper_on_a_gpu_that_is_not_there_says_what_always_works(stored) -> None:
    model = stored("whisper-tiny.en", "asr")
    with pytest.raises(Exception, match=r"on the GPU: .*570.*ASR_DEVICE=cpu"):
        load("asr", "faster-whisper", model=model, device="cuda")


def test_the_warm_up_of_a_gpu_decodes(stored) -> None:
    """What is compiled at its first use has to be used: the decoder as well as the encoder."""
    whisper = faster_whisper._build(stored("whisper-tiny.en", "asr"), "cpu", "int8", 1)
    used: list[str] = []

    class Noting:
        def __getattr__(self, name: str) -> Any:
            used.append(name)
            return getattr(whisper.model, name)

    class Around:
        model = Noting()

        def __getattr__(self, name: str) -> Any:
            return getattr(whisper, name)

    faster_whisper._decode_noise(ShortContext(Around()))
    assert {"encode", "generate"} <= set(used)


def test_the_language_model_says_why_it_runs_on_the_cpu_beside_a_gpu(machine, stored) -> None:
    """In a process of its own: llama.cpp ends with its process only."""
    here = machine(ADA)
    (here.site / "xllamacpp.py").unlink()  # the real one
    code = (
        "import logging, os, sys; logging.basicConfig()\n"
        "from whisperfusion.engines import load\n"
        "for layers in (-1, 0):\n"
        f"    one = load('llm', 'llama.cpp', model={stored('smollm2-135m', 'llm')!r}, "
        "gpu_layers=layers)\n"
        "    print(one.device, file=sys.stderr, flush=True)\n"
        "    globals().setdefault('kept', []).append(one)\n"
        "os._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{here.site}"},
    )
    warned = "RTX 4070 is there, but the language model runs on the CPU: the installed xllamacpp"
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cpu\n") == 2 and done.stderr.count(warned) == 1
    assert "LLM_OPTION=gpu_layers=0 silences this" in done.stderr


def test_llama_cpp_is_shown_no_gpu_that_its_driver_cannot_compile_for(machine) -> None:
    """ggml ends its process at a kernel without code, and no later model could be loaded."""
    here = machine(BLACKWELL.replace("580.95", "565").replace("12.0", "9.0"))
    (here.site / "xllamacpp.py").write_text(
        "import os\n"
        "hidden = os.environ.get('CUDA_VISIBLE_DEVICES') == ''\n"
        "GPU = {'name': 'CUDA0', 'type': 'GGML_BACKEND_DEVICE_TYPE_GPU'}\n"
        "def get_device_info(): return [] if hidden else [GPU]\n"
    )
    code = (
        "import logging, sys; logging.basicConfig(stream=sys.stdout)\n"
        "from whisperfusion.engines.llama.server import load_library\n"
        "print(load_library(-1)[1])"
    )
    told = child(code, here)
    assert told.endswith("cpu") and "driver 565 cannot compile code for" in told
    here.nvidia_smi(f"echo '{BLACKWELL}'")
    assert child(code, here) == "cuda0"


def test_the_language_model_says_before_it_loads_that_code_is_compiled(machine) -> None:
    here = machine(BLACKWELL.replace("12.0", "9.0"))
    code = (
        "import logging, sys; logging.basicConfig(stream=sys.stdout, level='INFO')\n"
        "from whisperfusion.engines.llama.server import load_library\n"
        "print(load_library(-1)[1])"
    )
    assert "first start" in child(code, here)
    here.nvidia_smi(f"echo '{BLACKWELL}'")
    assert child(code, here) == "cuda0", "its code is there"


# --- cards, and the models that they carry ------------------------------------------------------


def test_cards_are_read_as_nvidia_smi_names_them(machine, monkeypatch) -> None:
    machine(ADA, SMALL)
    found = cards.cards()
    assert [(one.name, one.capability, one.driver_is_old) for one in found] == [
        ("NVIDIA GeForce RTX 4070", (8, 9), False),
        ("NVIDIA GeForce GTX 1050", (6, 1), True),
    ]
    assert found[0].memory_bytes == 12282 * 2**20
    for visible, names in (("1", ["1050"]), ("GPU-11", ["4070"]), ("", []), ("-1", [])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert [one.name.split()[-1] for one in cards.cards()] == names


@pytest.mark.parametrize(
    ("line", "trouble"),
    [
        ("echo NVIDIA-SMI has failed; exit 9", "nvidia-smi finds no GPU: NVIDIA-SMI has failed"),
        ("echo No devices were found", "No devices were found"),
    ],
)
def test_a_driver_in_trouble_is_quoted(machine, line, trouble) -> None:
    machine().nvidia_smi(line)
    found, told = cards.ask()
    assert not found and trouble in told


def chosen(**flags: str) -> Any:
    return build({**SCRIPTED, "asr_engine": "faster-whisper", **flags}, {}, {})


@pytest.mark.parametrize(
    ("card", "flags", "asr", "llm"),
    [
        (ADA, {}, cards.ASR, cards.LLM),
        (BLACKWELL, {}, cards.ASR, cards.LLM),
        (SMALL, {}, None, None),
        (ADA.replace("12282", "6144"), {}, None, cards.LLM),
        (ADA, {"asr_device": "cpu"}, None, cards.LLM),
        (ADA, {"llm_option": "gpu_layers=0"}, cards.ASR, None),
        (ADA, {"asr_option": "python=/opt/other/bin/python"}, None, cards.LLM),
        (ADA, {"llm_engine": "ollama"}, cards.ASR, None),
        (ADA, {"model_sources": "packages"}, None, None),
    ],
)
def test_models_fit_the_memory_of_the_card(machine, card, flags, asr, llm) -> None:
    machine(card).install_cublas()
    settings = chosen(**flags)
    for stage, expected in (("asr", asr), ("llm", llm)):
        found = cards.model_for(stage, settings)
        assert (found and found[0]) == expected
        assert found is None or "was chosen" in found[1]


def test_a_gpu_whose_libraries_are_missing_chooses_no_model(machine) -> None:
    machine(ADA).libraries(devices=CPU_BUILD)
    assert cards.model_for("asr", chosen()) is None and cards.model_for("llm", chosen()) is None
    assert store.resolve("auto", "asr", chosen()).id == "whisper-base"


@pytest.mark.parametrize(
    ("card", "asr", "llm"),
    [
        (BLACKWELL.replace("580.95", "565.57"), None, cards.LLM),  # llama.cpp has code for sm_120
        (ADA.replace("575", "550"), cards.ASR, cards.LLM),
        (BLACKWELL.replace("580.95", "565").replace("12.0", "9.0"), None, None),  # Hopper
        (BLACKWELL.replace("12.0", "9.0"), cards.ASR, cards.LLM),
    ],
)
def test_a_driver_that_cannot_compile_for_the_card_leaves_the_cpu(machine, card, asr, llm) -> None:
    machine(card).install_cublas()
    for stage, expected in (("asr", asr), ("llm", llm)):
        found = cards.model_for(stage, chosen())
        assert (found and found[0]) == expected
        lacks = cards.lacks(stage, cards.cards())
        assert bool(expected) or "570 or newer: update" in lacks


def test_the_model_behind_a_server_stays_small(machine) -> None:
    machine(ADA).install_cublas()
    settings = chosen(llm_engine="ollama")
    assert store.fallback_llm(settings).id != cards.LLM
    assert store.resolve("auto", "llm", chosen()).id == cards.LLM


def finished(cache: Path, *ids: str) -> None:
    """Models that the store takes to be there."""
    for id in ids:
        (cache / id).mkdir(parents=True)
        model = store.resolve(id, "asr" if "whisper" in id else "llm", chosen())
        for file in model.files:
            (cache / id / file.name).touch()
        record = {file.name: {"bytes": 0, "sha256": file.sha256} for file in model.files}
        (cache / id / "source.json").write_text(json.dumps({"files": record}))


def test_the_processes_are_told_the_names_of_the_models(machine, tmp_path) -> None:
    machine(ADA).install_cublas()
    settings = chosen(model_cache_dir=str(tmp_path / "cache"))
    finished(settings.cache, cards.ASR, cards.LLM)
    found = store.fetch_needed(settings)
    assert (found.asr_model, found.llm_model) == (cards.ASR, cards.LLM)
    assert [kind for kind, _ in store.reasons(settings)] == ["asr", "llm"]


def test_a_model_of_the_gpu_that_cannot_be_had_gives_way(machine, tmp_path, caplog) -> None:
    """The card's recognizer is here, its language model is not, and neither is a hub."""
    machine(ADA).install_cublas()
    cache = tmp_path / "cache"
    llm = store.from_packages("llm")[0]
    finished(cache, cards.ASR, "whisper-base", llm)
    code = (
        "from whisperfusion.models import store; from whisperfusion.settings import build\n"
        f"flags = {dict(SCRIPTED, model_cache_dir=str(cache))!r}\n"
        "found = store.fetch_needed(build(flags, {}, {}))\n"
        "print(found.asr_model, found.llm_model)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"},
    )
    assert done.stdout.split() == ["whisper-base", llm], done.stderr
    assert "Other models are used instead" in done.stderr


def test_without_a_gpu_only_the_recognizer_gets_its_name(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = build({**SCRIPTED, "asr_engine": "scripted", "llm_engine": "scripted"}, {}, {})
    found = store.fetch_needed(settings)
    assert (found.asr_model, found.llm_model) == ("whisper-base", "auto")
    assert store.reasons(settings) == []


# --- the doctor ---------------------------------------------------------------------------------


def findings(settings: Any) -> list[tuple[str, str]]:
    return [(found.level, found.text) for found in doctor.check_gpu(settings)]


def test_the_doctor_names_the_card_and_who_uses_it(machine) -> None:
    machine(BLACKWELL).install_cublas()
    found = findings(chosen())
    text = "\n".join(one for _, one in found)
    assert {level for level, _ in found} == {"good"}
    assert "RTX 5090, 34.2 GB, driver 580.95, compute capability 12.0" in text
    assert "asr: faster-whisper uses the GPU" in text and "llm: llama.cpp uses the GPU" in text
    assert (
        "compiles the code of faster-whisper for it" in text
        and "tts: scripted does not use a GPU" in text
    )


def test_the_doctor_says_who_will_not_use_the_card_and_why(machine) -> None:
    here = machine(ADA.replace("575", "550"))
    here.libraries(devices=CPU_BUILD)
    notes = [text for level, text in findings(chosen()) if level == "note"]
    assert "driver 550.57.08 is older than 570" in notes[0]
    assert "faster-whisper will use the CPU: cuBLAS of CUDA 12 is missing" in notes[1]
    assert "llama.cpp will use the CPU: the installed xllamacpp" in notes[2]
    [bad] = [text for level, text in findings(chosen(asr_device="cuda")) if level == "bad"]
    assert "ASR_DEVICE=cuda, but cuBLAS" in bad


def test_the_doctor_knows_engines_that_run_elsewhere(machine) -> None:
    machine(ADA)
    text = "\n".join(
        text
        for _, text in findings(
            chosen(asr_device="cpu", llm_engine="tensorrt-llm", tts_engine="whisperspeech")
        )
    )
    assert "asr: faster-whisper does not look for the GPU" in text
    assert "tensorrt-llm runs on the GPU, in its image" in text and "whisperspeech runs on" in text
    text = "\n".join(text for _, text in findings(chosen(llm_engine="openai")))
    assert "llm: openai asks a server" in text


def test_the_doctor_predicts_nothing_of_what_the_card_does(machine) -> None:
    machine(ADA).install_cublas()
    report = [found.text for found in doctor.check_speed(chosen())]
    assert [text for text in report if cards.ASR in text and "nothing is predicted" in text]
    assert not [text for text in report if "on the CPU" in text]


def test_a_gpu_that_nothing_names_is_no_gpu(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    [(level, text)] = findings(chosen())
    assert (level, text) == ("good", "no NVIDIA GPU: everything runs on the CPU")
    [(level, text)] = findings(chosen(asr_device="cuda"))
    assert level == "bad" and "no NVIDIA GPU was found" in text


def test_a_cuda_build_is_sound_for_the_doctor_once_its_libraries_are_loaded(machine) -> None:
    here = machine(ADA)
    here.install_cublas()
    (here.site / "xllamacpp.py").write_text(CUDA_BUILD)
    assert not [found for found in doctor.check_python(chosen()) if "xllamacpp is" in found.text]
