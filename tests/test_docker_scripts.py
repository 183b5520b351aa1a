"""docker/scripts run for real in a scratch house, with recording stand-ins for what is not there (tests/stub_tools/tool.py).

What is checked is what a person would lose: the order of installation, arguments that TensorRT-LLM 0.10.0 does not know, a build that
is done twice or not again, a half-built engine under a good name, a signal that does not arrive, a message that does not help.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stub_tools.house import ROOT, House, built, wait_until_hanging

from bench.common import free_ports
from fusion import settings, trt_engines

sys.path.insert(0, str(ROOT / "docker" / "scripts"))
import cuda_arch  # noqa: E402
import installed  # noqa: E402
import which_engines  # noqa: E402

CLI = json.loads((ROOT / "tests" / "data" / "tensorrt_llm_0_10_signatures.json").read_text(encoding="utf-8"))["_cli"]
PHI = ("phi-2", "phi-3-mini-4k-instruct", "dolphin-2_6-phi-2")
MISTRAL = ("openhermes-2.5-mistral-7b", "mistral-7b-instruct-v0.2")
WHISPER = ("tiny", "tiny.en", "base", "base.en", "small", "small.en", "medium", "medium.en", "large-v2", "large-v3")
POSITIONS = {"phi-2": 2048, "dolphin-2_6-phi-2": 2048}  # the others: 4096
LLM_FILES = {"config.json", "rank0.engine", "tokenizer.json", "tokenizer_config.json", "built.txt"}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path).furnish()
    yield made
    made.close()


def script_of(model: str) -> str:
    return "build-phi.sh" if model in PHI else "build-mistral.sh"


def parsed(program: str, arguments: list[str]) -> dict[str, Any]:
    """The arguments as the program of release 0.10.0 would read them; an unknown flag or choice fails the test."""
    parser = argparse.ArgumentParser(prog=program, allow_abbrev=False, exit_on_error=False)
    for flag in [*CLI[program]["flags"], *CLI[program].get("plugin_flags", [])]:
        if flag.get("action") == "'store_true'":
            parser.add_argument(*flag["flags"], action="store_true")
            continue
        choices = flag.get("choices")
        choices = json.loads(choices.replace("'", '"')) if isinstance(choices, str) and choices.startswith("[") else choices
        kind = {"int": int, "float": float}.get(flag.get("type", "str"), str)
        nargs = flag["nargs"].strip("'") if "nargs" in flag else None
        parser.add_argument(*flag["flags"], type=kind, choices=choices if isinstance(choices, list) else None, nargs=nargs)
    known, unknown = parser.parse_known_args(arguments)
    assert not unknown, f"{program} of 0.10.0 does not know {unknown}"
    return {name: value for name, value in vars(known).items() if value not in (None, False)}


# --- setup-whisperfusion.sh ----------------------------------------------------------------------------------


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[House]:
    """Only what the image has when it runs the setup: the files that the stage `devel` copies before."""
    house = House(tmp_path)
    devel = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8").partition(" AS devel")[2].partition("RUN docker/scripts/setup")[0]
    for line in devel.splitlines():
        if line.startswith("COPY"):
            house.copy(*line.split()[1:-1])
    yield house
    house.close()


def installs(house: House) -> list[dict[str, Any]]:
    return [call for call in house.calls("uv") if call["args"][:2] == ["pip", "install"]]


def names(call: dict[str, Any]) -> list[str]:
    lines = [line for line in call["lines"] if line and line[0].isalpha()]
    return [next(part for part in [line.split("=")[0].split("<")[0].split(">")[0]]).strip() for line in lines]


def test_setup_installs_in_the_strict_order(bare: House) -> None:
    status, printed = bare.run("setup-whisperfusion.sh")
    assert status == 0, printed
    first, torch, av, tensorrt, llm, rest, last = installs(bare)
    assert names(first) == ["pip", "wheel", "setuptools"]
    assert sorted(names(torch)) == ["torch", "torchaudio"]
    assert names(av) == ["av"] and av["args"][-2:] == ["--only-binary", "av"]
    assert sorted(names(tensorrt)) == ["tensorrt", "tensorrt-cu12", "tensorrt-cu12-bindings", "tensorrt-cu12-libs"]
    assert names(llm) == ["tensorrt-llm"]
    assert "whisperspeech" in names(rest) and "faster-whisper" not in names(rest)
    assert names(last) == ["faster-whisper"] and last["args"][-2:] == ["--only-binary", "av"]
    for call in (tensorrt, llm):
        assert "--extra-index-url https://pypi.nvidia.com" in call["lines"]
    for call in installs(bare):
        assert call["args"][call["args"].index("--constraints") + 1] == str(bare.project / "constraints-gpu.txt")
        assert not {"-U", "--upgrade", "--reinstall"} & set(call["args"])
    assert house_versions(bare)["torch"] == "2.2.2" and house_versions(bare)["tensorrt_llm"] == "0.10.0"
    assert not bare.calls("apt-get"), "system packages are the image's business"
    assert bare.calls("uv")[0]["args"] == ["--version"]


def house_versions(house: House) -> dict[str, str]:
    stems = [path.name.removesuffix(".dist-info") for path in (house.venv / "site").glob("*.dist-info")]
    return {stem.rpartition("-")[0]: stem.rpartition("-")[2] for stem in stems}


def test_setup_twice_does_nothing_and_a_changed_pin_does(bare: House) -> None:
    assert bare.run("setup-whisperfusion.sh")[0] == 0
    bare.forget()
    status, printed = bare.run("setup-whisperfusion.sh")
    assert status == 0 and "is set up" in printed
    assert not installs(bare)
    constraints = bare.project / "constraints-gpu.txt"
    constraints.write_text(constraints.read_text() + "# another day\n")
    assert bare.run("setup-whisperfusion.sh")[0] == 0
    assert len(installs(bare)) == 7 and not [call for call in bare.calls("uv") if call["args"][0] == "venv"]


def test_setup_puts_right_what_was_changed_since(bare: House) -> None:
    assert bare.run("setup-whisperfusion.sh")[0] == 0
    bare.package("cuda_python", "13.0")
    bare.forget()
    status, printed = bare.run("setup-whisperfusion.sh")
    assert status == 0 and "cuda-python 13.0 is installed" in printed and len(installs(bare)) == 7
    bare.forget()
    assert bare.run("setup-whisperfusion.sh")[0] == 0 and not installs(bare)


STEPS = {"--version": "0 system tools", "venv --python": "1 environment", "wheel": "1 environment", "torchaudio": "2 torch",
         "\nav>": "3 av", "tensorrt-cu12==": "4 TensorRT", "\ntensorrt-llm": "5 TensorRT-LLM", "whisperspeech": "6 requirements",
         "faster-whisper>": "7 faster-whisper", "pip check": "9 the whole set"}


@pytest.mark.parametrize("broken", STEPS)
def test_setup_stops_at_the_step_that_fails(bare: House, broken: str) -> None:
    status, printed = bare.run("setup-whisperfusion.sh", STUB_FAIL=f"uv:{broken}")
    assert status != 0 and f"stopped at step [{STEPS[broken]}" in printed
    assert not (bare.venv / "setup-done").exists()
    last = bare.calls("uv")[-1]
    assert broken in "\n".join([" ".join(last["args"]), *last.get("lines", [])]), "nothing is installed after the step that failed"
    if broken == "whisperspeech":  # from any of them it goes on the same way
        assert bare.run("setup-whisperfusion.sh")[0] == 0
        assert (bare.venv / "setup-done").is_file()


@pytest.mark.parametrize(("versions", "step", "words"), [
    ("torch=2.4.0,torchaudio=2.4.0", "2 torch", "torch 2.4.0 is installed, needed is >=2.2,<2.4"),
    ("torchaudio=2.11.0", "2 torch", "have to be the same version"),
    ("av=10.0.0", "3 av", "av 10.0.0 is installed, needed is >=12"),
    ("tensorrt-cu12=11.4.0", "4 TensorRT", "tensorrt-cu12 11.4.0 is installed"),
    ("tensorrt-llm=0.11.0", "5 TensorRT-LLM", "needed is >=0.10.0,<0.10.1"),
    ("huggingface-hub=1.2.0", "8 hub tools", "huggingface-hub 1.2.0 is installed, needed is >=0.34,<1"),
    ("tokenizers=0.22.0", "8 hub tools", "tokenizers 0.22.0"),
    ("cuda-python=13.0", "9 the whole set", "cuda-python 13.0 is installed, constraints-gpu.txt pins"),
])  # fmt: skip
def test_setup_verifies_each_step_before_the_next(bare: House, versions: str, step: str, words: str) -> None:
    status, printed = bare.run("setup-whisperfusion.sh", STUB_VERSIONS=versions)
    assert status != 0 and words in printed and f"stopped at step [{step}" in printed
    assert len(installs(bare)) <= min(int(step[0]), 7)
    assert not (bare.venv / "setup-done").exists()


def test_setup_notices_that_faster_whisper_changed_av(bare: House) -> None:
    status, printed = bare.run("setup-whisperfusion.sh", STUB_CHANGE_AV="12.3.0")
    assert status != 0 and "faster-whisper changed av: it was av 17" in printed and "[7 faster-whisper]" in printed


def test_setup_names_the_system_packages_that_are_missing(bare: House) -> None:
    system = bare.folder / "system"  # /usr/bin without an MPI compiler
    system.mkdir()
    for program in Path("/usr/bin").iterdir():
        if program.name != "mpicc":
            (system / program.name).symlink_to(program)
    (bare.folder / "bin" / "mpicc").unlink()
    status, printed = bare.run("setup-whisperfusion.sh", PATH=f"{bare.folder / 'bin'}:{system}")
    assert status != 0 and "mpicc is missing: apt-get install" in printed and "libopenmpi-dev" in printed


@pytest.mark.parametrize("script", ["build-phi.sh", "build-mistral.sh", "build-whisper.sh"])
def test_a_library_that_cannot_be_imported_is_found_before_anything_is_fetched(house: House, script: str) -> None:
    (house.venv / "site" / "tensorrt_llm.py").write_text("raise OSError('libcuda.so.1: cannot open shared object file')")
    status, printed = house.run(script)
    assert status != 0 and "libcuda.so.1" in printed and "stopped at step [import tensorrt_llm]" in printed
    assert not house.calls("hf", "curl") and not house.litter()


# --- the engines ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [*PHI, *MISTRAL])
def test_llm_engines_are_built_with_arguments_of_0_10_0(house: House, model: str) -> None:
    status, printed = house.run(script_of(model), model)
    assert status == 0, printed
    folder = house.engines / model
    assert {path.name for path in folder.iterdir()} == LLM_FILES
    hub, convert, build = house.calls("hf", "python", "trtllm-build")
    example = f"examples/{'phi' if model in PHI else 'llama'}/convert_checkpoint.py"
    assert convert["args"][0] == f"{house.folder}/tensorrt-llm/{example}"
    options = parsed(example, convert["args"][1:])
    assert options["dtype"] == "float16" and options["model_dir"] == str(house.models / "engine-sources" / model)
    assert model in MISTRAL or options["model_type"].lower() == ("phi-2" if model == "dolphin-2_6-phi-2" else model)
    assert model in PHI or (options["use_weight_only"], options["weight_only_precision"]) == (True, "int8")
    options = parsed("trtllm-build", build["args"])
    assert options["max_input_len"] + options["max_output_len"] == POSITIONS.get(model, 4096)
    assert options["max_num_tokens"] >= options["max_input_len"], "a whole prompt has to fit into one step"
    assert options["max_batch_size"] == 8 and options["gemm_plugin"] == "float16"
    assert "use_paged_context_fmha" not in options  # the cache that it switches on is reported to crash in 0.10.0
    assert options.get("context_fmha_fp32_acc") == ("enable" if model in PHI else None)
    assert options["output_timing_cache"].startswith(str(house.engines)), "not into the current folder"
    said = built(folder)
    assert said["model"] == model and said["tensorrt_llm"] == "0.10.0" and said["cuda_arch"] == "8.9"
    assert said["revision"] == hub["args"][hub["args"].index("--revision") + 1]
    assert said["max_input_len"] == str(options["max_input_len"]) and said["source"] == hub["args"][1]
    assert not house.litter()


@pytest.mark.parametrize("size", ["small.en", "large-v3"])
def test_whisper_engines_are_built_with_arguments_of_0_10_0(house: House, size: str) -> None:
    status, printed = house.run("build-whisper.sh", size)
    assert status == 0, printed
    folder = house.engines / f"whisper-{size}"
    assert {path.name for path in folder.iterdir()} == {
        "encoder_config.json", "decoder_config.json", "whisper_encoder_float16_tp1_rank0.engine", "tokenizer.json",
        "whisper_decoder_float16_tp1_rank0.engine", "built.txt"}
    (build,) = house.calls("python")
    options = parsed("examples/whisper/build.py", build["args"][1:])
    assert options["model_name"] == size and (house.models / "engine-sources" / "whisper" / f"{size}.pt").is_file()
    assert options["max_input_len"] + options["max_output_len"] == 448
    assert options["max_batch_size"] == options["max_beam_width"] == 1
    assert {"use_gpt_attention_plugin", "use_bert_attention_plugin", "use_gemm_plugin", "enable_context_fmha"} <= set(options)
    (hub,) = house.calls("hf")
    assert hub["args"][:3] == ["download", f"openai/whisper-{size}", "tokenizer.json"]
    (fetch,) = house.calls("curl")
    assert fetch["args"][-1].endswith(f"/{size}.pt") and len(fetch["args"][-1].split("/")[-2]) == 64
    assert not house.litter()


def test_every_size_of_whisper_is_one_that_the_build_script_of_0_10_0_knows() -> None:
    text = (ROOT / "docker" / "scripts" / "sources.sh").read_text(encoding="utf-8")
    sizes = re.search(r'^WHISPER_MODELS="(.*)"', text, re.MULTILINE)
    assert sizes and sizes.group(1).split() == list(WHISPER)
    for size in WHISPER:
        assert parsed("examples/whisper/build.py", ["--model_name", size])
        assert re.search(rf"^    {re.escape(size)}\)\n      SUM=[0-9a-f]{{64}}\n      REVISION=[0-9a-f]{{40}} ", text, re.MULTILINE)


def test_every_repository_but_one_is_pinned_to_a_commit() -> None:
    text = (ROOT / "docker" / "scripts" / "sources.sh").read_text(encoding="utf-8")
    revisions = [word.partition("=")[2] for word in text.split() if word.startswith("REVISION=")]
    assert len(revisions) == len(PHI + MISTRAL + WHISPER) and len(set(revisions)) == len(revisions)
    assert [revision for revision in revisions if len(revision) != 40] == ["main"]


@pytest.mark.parametrize(("script", "model"), [("build-phi.sh", "phi-2"), ("build-mistral.sh", "openhermes-2.5-mistral-7b"),
                                               ("build-whisper.sh", "base")])  # fmt: skip
def test_what_is_built_is_left_alone_and_a_changed_option_builds_anew(house: House, script: str, model: str) -> None:
    assert house.run(script, model)[0] == 0
    house.forget()
    status, printed = house.run(script, model)
    assert status == 0 and "is built" in printed
    assert not house.calls("hf", "python", "trtllm-build", "curl")
    assert house.run(script, "--check", model)[0] == 0
    status, printed = house.run(script, "--check", model, STUB_ARCH="9.0")
    assert status == 1 and "> cuda_arch=9.0" in printed and not house.calls("hf", "trtllm-build")
    status, printed = house.run(script, model, STUB_ARCH="9.0")
    assert status == 0 and "< cuda_arch=8.9" in printed
    folder = house.engines / (f"whisper-{model}" if script == "build-whisper.sh" else model)
    assert built(folder)["cuda_arch"] == "9.0" and house.calls("python")
    house.forget()
    house.package("tensorrt_llm", "0.10.1")
    assert house.run(script, model, STUB_ARCH="9.0")[0] == 0
    assert built(folder)["tensorrt_llm"] == "0.10.1" and house.calls("python") and not house.litter()


def test_the_weights_of_mistral_can_be_chosen_and_are_kept(house: House) -> None:
    folder = house.engines / "openhermes-2.5-mistral-7b"
    for weights, precision in (("int4", "int4"), ("", "int4"), ("int8", "int8"), ("float16", None)):
        house.forget()
        assert house.run("build-mistral.sh", WEIGHTS=weights)[0] == 0
        if weights:
            (convert,) = house.calls("python")
            assert parsed("examples/llama/convert_checkpoint.py", convert["args"][1:]).get("weight_only_precision") == precision
        else:
            assert not house.calls("python"), "an engine keeps its weights until somebody asks for others"
    assert built(folder)["weights"] == "float16"
    assert "allowed: int8, int4, float16" in house.run("build-mistral.sh", WEIGHTS="int2")[1]
    assert "Phi engines can only be float16" in house.run("build-phi.sh", WEIGHTS="int4")[1]


FAILURES = {
    "hf:download": "fetch the weights", "python:convert_checkpoint.py": "convert the checkpoint", "trtllm-build:": "build the engine",
}  # fmt: skip


@pytest.mark.parametrize("broken", FAILURES)
@pytest.mark.parametrize("before", [False, True])
def test_a_step_that_fails_leaves_nothing_half_made(house: House, broken: str, before: bool) -> None:
    if before:
        assert house.run("build-phi.sh", "phi-2", STUB_ARCH="8.0")[0] == 0
    if broken.startswith("hf"):
        (house.venv / "bin" / "huggingface-cli").unlink()
    status, printed = house.run("build-phi.sh", "phi-2", STUB_FAIL=broken)
    assert status != 0 and f"stopped at step [{FAILURES[broken]}]" in printed
    assert not house.litter()
    if before:
        assert built(house.engines / "phi-2")["cuda_arch"] == "8.0", "the engine that was there still is"
    else:
        assert not (house.engines / "phi-2").exists()


@pytest.mark.parametrize(("broken", "step"), [("python:build.py", "build the engines"), ("curl:", "fetch the checkpoint"),
                                              ("hf:", "fetch the tokenizer")])  # fmt: skip
def test_a_whisper_step_that_fails_leaves_nothing_half_made(house: House, broken: str, step: str) -> None:
    (house.venv / "bin" / "huggingface-cli").unlink()
    status, printed = house.run("build-whisper.sh", STUB_FAIL=broken)
    assert status != 0 and f"stopped at step [{step}]" in printed
    assert not house.litter() and not (house.engines / "whisper-small.en").exists()


def test_a_damaged_checkpoint_never_gets_its_name(house: House) -> None:
    status, printed = house.run("build-whisper.sh", STUB_DAMAGED="1")
    assert status != 0 and "the sum does not match, attempt 3 of 3" in printed and "cannot fetch https://" in printed
    assert not list((house.models / "engine-sources").rglob("*.pt*"))
    assert house.run("build-whisper.sh")[0] == 0


def test_a_checkpoint_that_was_fetched_but_not_named_is_not_fetched_again(house: House) -> None:
    assert house.run("build-whisper.sh", "tiny")[0] == 0
    checkpoint = house.models / "engine-sources" / "whisper" / "tiny.pt"
    checkpoint.rename(checkpoint.with_name("tiny.pt.part"))
    shutil.rmtree(house.engines)
    house.forget()
    assert house.run("build-whisper.sh", "tiny")[0] == 0
    assert checkpoint.is_file() and not house.calls("curl")


@pytest.mark.parametrize("hangs", ["hf:", "python:convert_checkpoint.py", "trtllm-build:"])
@pytest.mark.parametrize("script", ["build-phi.sh", "run-whisperfusion.sh"])
def test_a_signal_in_the_middle_of_a_build_ends_it_and_leaves_nothing(house: House, hangs: str, script: str) -> None:
    arguments = ("phi-2",) if script == "build-phi.sh" else ("--llm-model=phi-2", "--asr-engine=scripted")
    process = house.start(script, *arguments, STUB_HANG=hangs)
    printed = wait_until_hanging(process)
    process.send_signal(signal.SIGTERM)
    printed += process.communicate(timeout=60)[0]
    assert process.returncode == 143 and "stopped at step [" in printed
    ended = [call for call in house.calls() if call.get("ended_by") == signal.SIGTERM]
    assert len(ended) == 1, "the program that was at work is ended too"
    assert not house.litter() and not (house.engines / "phi-2").exists()
    assert not [call for call in house.calls("python") if call["args"][0] == "main.py"]


def test_a_second_build_of_the_same_engine_waits_for_the_first(house: House) -> None:
    first = house.start("build-phi.sh", "phi-2", STUB_HANG="trtllm-build:")
    wait_until_hanging(first)
    second = house.start("build-phi.sh", "phi-2")
    assert second.stdout
    for line in second.stdout:
        if "another build of phi-2 is running" in line:
            break
    else:
        raise AssertionError("the second build did not wait")
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=60)
    printed = second.communicate(timeout=60)[0]
    assert second.returncode == 0 and "built " in printed and not house.litter()


def test_the_remains_of_a_killed_build_are_cleared_away(house: House) -> None:
    first = house.start("build-phi.sh", "phi-2", STUB_HANG="trtllm-build:")
    wait_until_hanging(first)
    hanging = house.calls("trtllm-build")[-1]["pid"]
    first.kill()
    first.wait()
    assert house.litter() == [".building-phi-2"]
    os.kill(hanging, signal.SIGKILL)  # it still holds the lock, as it should
    assert first.stdout
    first.stdout.close()
    assert house.run("build-phi.sh", "phi-2")[0] == 0
    assert not house.litter()


def test_a_tokenizer_in_the_slow_form_is_made_fast(house: House) -> None:
    assert house.run("build-phi.sh", "phi-2", STUB_WITHOUT="tokenizer.json")[0] == 0
    assert (house.engines / "phi-2" / "tokenizer.json").is_file()
    assert [call["args"][0].rpartition("/")[2] for call in house.calls("python")] == ["convert_checkpoint.py", "fast_tokenizer.py"]


def test_no_room_is_said_before_the_download(house: House) -> None:
    status, printed = house.run("build-phi.sh", STUB_FREE_GB="7")
    assert status != 0 and "needs about 25 GB" in printed and "7 GB are free" in printed
    assert not house.calls("hf")


def test_a_folder_that_may_not_be_written_names_the_user(house: House) -> None:
    house.engines.write_text("a file where the folder should be")
    status, printed = house.run("build-phi.sh", "phi-2")
    assert status != 0 and f"ENGINES_DIR={house.engines} cannot be written by user" in printed and "chown" in printed


# --- fetching from the hub ---------------------------------------------------------------------------------------


def test_without_hf_the_older_name_is_used(house: House) -> None:
    (house.venv / "bin" / "hf").unlink()
    assert house.run("build-phi.sh", "phi-2")[0] == 0
    assert house.calls("huggingface-cli")[0]["args"][:2] == ["download", "microsoft/phi-2"]


def test_where_hf_fails_the_older_name_is_tried(house: House) -> None:
    assert house.run("build-phi.sh", "phi-2", STUB_FAIL="hf:")[0] == 0
    assert len(house.calls("hf")) == 3 and len(house.calls("huggingface-cli")) == 1
    assert house.calls("hf")[0]["args"] == house.calls("huggingface-cli")[0]["args"]


def test_without_either_it_says_what_to_do(house: House) -> None:
    for tool in ("hf", "huggingface-cli"):
        (house.venv / "bin" / tool).unlink()
    status, printed = house.run("build-phi.sh", "phi-2")
    assert status != 0 and "neither hf nor huggingface-cli" in printed and "setup-whisperfusion.sh" in printed


# --- the GPU ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["10.0", "12.0", "6.1"])
def test_a_gpu_that_0_10_0_cannot_use_is_refused_with_the_way_out(house: House, arch: str) -> None:
    status, printed = house.run("run-whisperfusion.sh", STUB_ARCH=arch)
    assert status != 0
    assert all(part in printed for part in (f"GPU architecture {arch}", "LLM_ENGINE=openai", "trtllm-serve", "ASR_ENGINE=faster-whisper"))
    assert not house.calls("hf", "curl", "python", "trtllm-build")


def test_without_a_gpu_it_says_how_to_start_with_one(house: House) -> None:
    status, printed = house.run("run-whisperfusion.sh", STUB_ARCH="none")
    assert status != 0 and "--gpus all" in printed and "--profile cpu" in printed


@pytest.mark.parametrize(("value", "gpu", "arch"), [
    ("auto", "8.9", "8.9"), ("", "8.6", "8.6"), ("8.9", "8.9", "8.9"), ("89", "8.9", "8.9"), ("89-real", "8.9", "8.9"),
    ("sm_90", "9.0", "9.0"), ("90a", None, "9.0"), ("80-real;86-real;89-real", "8.6", "8.6"), ("8.0 8.9", "8.9", "8.9"),
    ("7.5,8.9+PTX", "7.5", "7.5"), ("70", None, "7.0"),
])  # fmt: skip
def test_spellings_of_an_architecture(value: str, gpu: str | None, arch: str) -> None:
    assert cuda_arch.choose(value, gpu) == arch


@pytest.mark.parametrize(("value", "gpu", "words"), [
    ("8.9", "8.6", "but the GPU is 8.6"), ("80;86", "9.0", "but the GPU is 9.0"), ("120", "8.9", "not on Blackwell"),
    ("80;100", "8.0", "10.0"), ("fast", "8.9", "is not an architecture"), ("80;86", None, "sees no GPU"), ("auto", None, "sees no GPU"),
    ("auto", "12.0", "trtllm-serve"),
])  # fmt: skip
def test_an_architecture_that_cannot_be_is_said(value: str, gpu: str | None, words: str) -> None:
    with pytest.raises(SystemExit, match=words):
        cuda_arch.choose(value, gpu)


def test_a_version_is_compared_by_its_numbers() -> None:
    assert installed.number("2.2.2+cu121") == (2, 2, 2) and installed.number("0.10.0") == (0, 10) < installed.number("0.10.1")
    assert installed.number("12") <= installed.number("16.0.1") < installed.number("18.0")


# --- build-models.sh ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*trt_engines.LLMS, *PHI, *MISTRAL, "Phi-2", "microsoft/Phi-3-mini-4k-instruct",
                                  "teknium/OpenHermes-2.5-Mistral-7B"])  # fmt: skip
def test_every_spelling_of_a_model_means_one_that_can_be_built(tmp_path: Path, name: str) -> None:
    chosen = settings.build({"llm_engine": "tensorrt-llm", "llm_model": name, "engines_dir": str(tmp_path)}, {}, {})
    wanted = which_engines.wanted(chosen)["llm"]
    assert wanted in PHI + MISTRAL and trt_engines.folder("llm", chosen) == tmp_path / wanted


@pytest.mark.parametrize(("spelling", "whisper"), [("microsoft/Phi-2", "small.en"), ("auto", "whisper-base"), ("MISTRAL", "Tiny.en")])
def test_what_is_built_is_what_the_server_will_look_for(house: House, spelling: str, whisper: str) -> None:
    status, printed = house.run("build-models.sh", MODEL=spelling, ASR_MODEL=whisper)
    assert status == 0, printed
    chosen = settings.build({}, {**house.environment, "MODEL": spelling, "ASR_MODEL": whisper}, {})
    for kind in ("asr", "llm"):
        assert (trt_engines.folder(kind, chosen) / "built.txt").is_file()
    assert house.run("build-models.sh", "--check", MODEL=spelling, ASR_MODEL=whisper)[0] == 0


def test_flags_count_as_they_do_for_main(house: House) -> None:
    elsewhere = house.folder / "elsewhere"
    flags = (f"--engines-dir={elsewhere}", "--llm-model", "phi-2", "--asr-engine=scripted", "run")
    status, printed = house.run("build-models.sh", *flags)
    assert status == 0, printed
    assert (elsewhere / "phi-2" / "built.txt").is_file() and not house.engines.exists()


def test_an_unknown_model_is_told_the_known_ones_before_anything_is_built(house: House) -> None:
    status, printed = house.run("build-models.sh", MODEL="llama-9")
    assert status != 0 and "MODEL=llama-9 is not known" in printed and "LLM_ENGINE=openai" in printed
    assert all(model in printed for model in PHI + MISTRAL) and not house.calls("hf", "curl")
    status, printed = house.run("build-models.sh", ASR_MODEL="huge")
    assert status != 0 and "ASR_MODEL may be:" in printed and all(size in printed for size in WHISPER)
    status, printed = house.run("build-models.sh", LLM_MAX_TOKENS="many")
    assert status != 0 and "LLM_MAX_TOKENS='many' is not a number" in printed


def test_an_engine_made_by_hand_is_taken_as_it_is(house: House) -> None:
    for folder in (house.engines / "my-model", house.folder / "mine"):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        named = folder.name if folder.parent == house.engines else str(folder)
        assert house.run("build-models.sh", MODEL=named, ASR_ENGINE="scripted")[0] == 0
    assert not house.calls("trtllm-build")


def test_the_files_of_whisperspeech_are_fetched_once_and_not_again_offline(house: House) -> None:
    chosen = {"ASR_ENGINE": "scripted", "LLM_ENGINE": "scripted"}
    assert house.run("build-models.sh", "--check", **chosen)[0] == 1
    assert not house.calls("hf", "curl")
    status, printed = house.run("build-models.sh", **chosen)
    assert status == 0, printed
    assert [call["args"][1:3] for call in house.calls("hf")] == [
        ["collabora/whisperspeech", "t2s-small-en+pl.model"], ["collabora/whisperspeech", "s2a-q4-tiny-en+pl.model"],
        ["charactr/vocos-encodec-24khz", "config.yaml"], ["charactr/vocos-encodec-24khz", "pytorch_model.bin"]]  # fmt: skip
    assert (house.models / "torch" / "hub" / "checkpoints" / "encodec_24khz-d7cc33bc.th").is_file()
    assert all(call["args"][-2:] == ["--revision", "main"] for call in house.calls("hf")), "what WhisperSpeech asks for offline"
    house.forget()
    assert house.run("build-models.sh", STUB_FAIL="hf:", **chosen)[0] == 0
    assert house.run("build-models.sh", "--check", **chosen)[0] == 0
    assert not house.calls("hf", "curl")


def test_other_engines_need_nothing_built(house: House) -> None:
    assert house.run("build-models.sh", ASR_ENGINE="faster-whisper", LLM_ENGINE="openai", TTS_ENGINE="hibari", STUB_ARCH="none")[0] == 0
    assert not house.calls("hf", "curl", "nvidia-smi")


# --- run-whisperfusion.sh --------------------------------------------------------------------------------------------------


def test_the_entry_point_builds_then_becomes_main_and_the_signal_arrives(house: House) -> None:
    process = house.start("run-whisperfusion.sh", "--llm-model=phi-2", "--verbose")
    printed = wait_until_hanging(process)
    assert "starting main.py --llm-model=phi-2 --verbose" in printed and (house.engines / "phi-2" / "built.txt").is_file()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    started, ended = (call for call in house.calls("python") if call["args"][0] == "main.py")
    assert started["pid"] == process.pid and ended["ended_by"] == signal.SIGTERM, "no shell stands between the signal and main.py"
    assert started["args"][1:] == ["--llm-model=phi-2", "--verbose"]


@pytest.mark.parametrize("arguments", [["--help"], ["doctor"], ["models", "list"], ["talk", "hello.wav"], ["--log-level=debug", "doctor"]])
def test_commands_of_main_pass_through_without_building(house: House, arguments: list[str]) -> None:
    assert house.run("run-whisperfusion.sh", *arguments, STUB_ARCH="none")[0] == 0
    assert [call["args"] for call in house.calls("python")][0] == ["main.py", *arguments]
    assert not house.calls("hf", "nvidia-smi")


def test_any_other_command_is_run_as_it_is(house: House) -> None:
    status, printed = house.run("run-whisperfusion.sh", "bash", "-c", "echo $0 talk; exit 7")
    assert (status, printed.strip()) == (7, "bash talk")
    status, printed = house.run("run-whisperfusion.sh", "build-phi.sh", "--check", "phi-2")
    assert status == 1 and "phi-2 is not built yet" in printed


def test_main_is_not_started_when_a_build_fails(house: House) -> None:
    status, printed = house.run("run-whisperfusion.sh", STUB_FAIL="trtllm-build:")
    assert status != 0 and "stopped at step [build the engine]" in printed and "stopped at step [build what is missing]" in printed
    assert not [call for call in house.calls("python") if call["args"][0] == "main.py"]


# --- verify.sh -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def ready(bare: House) -> House:
    bare.copy("docker/scripts", "fusion", "main.py")
    assert bare.run("setup-whisperfusion.sh")[0] == 0
    (bare.venv / "site" / "tensorrt_llm.py").write_text("")
    bare.environment |= {name: str(port) for name, port in zip(("ASR_PORT", "TTS_PORT", "HTTP_PORT"), free_ports(3), strict=True)}
    return bare


def lines_of(printed: str, mark: str) -> list[str]:
    return [line.strip().removeprefix(mark).strip() for line in printed.splitlines() if line.strip().startswith(mark + " ")]


def test_verify_passes_where_all_is_there(ready: House) -> None:
    assert ready.run("build-models.sh")[0] == 0
    status, printed = ready.run("verify.sh")
    assert status == 0 and not lines_of(printed, "X"), printed
    text = "\n".join(lines_of(printed, "ok"))
    for part in ("torch 2.2.2", "av 1", "tensorrt_llm 0.10.0", "import webdataset", "import Pipeline", "from cuda import cudart",
                 "import tensorrt_llm", "GPU architecture 8.9",
                 "free", "no merge-conflict markers", "engines and speech files"):  # fmt: skip
        assert part in text
    assert "phi-3-mini-4k-instruct is built" in printed


def test_verify_in_an_image_build_says_what_it_did_not_check(ready: House) -> None:
    status, printed = ready.run("verify.sh", "--build", STUB_ARCH="none")
    assert status == 0 and "GPU, ports, engines: not checked" in printed and "GPU architecture" not in printed


def test_verify_names_each_thing_that_is_wrong(ready: House) -> None:
    ready.package("av", "10.0.0")
    shutil.rmtree(ready.venv / "site" / "cuda")
    (ready.venv / "setup-done").unlink()
    (ready.project / "fusion" / "core" / "text.py").write_text("<" * 7 + " mine\n" + "=" * 7 + "\n")
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", int(ready.environment["TTS_PORT"])))
        taken.listen()
        status, printed = ready.run("verify.sh", STUB_ARCH="12.0")
    wrong = lines_of(printed, "X")
    assert status == 1
    for part in ("is complete -> run docker/scripts/setup", "av 10.0.0 (needed >=12", "from cuda import cudart:", "but fusion/core/text.py",
                 "GPU architecture 12.0", "taken by something else", "engines and speech files", "constraints-gpu.txt"):  # fmt: skip
        assert any(part in line for line in wrong), (part, printed)
    assert len(wrong) == 8, printed


def test_verify_sees_an_engine_that_was_built_for_another_gpu(ready: House) -> None:
    assert ready.run("build-models.sh")[0] == 0
    status, printed = ready.run("verify.sh", STUB_ARCH="9.0")
    assert status == 1 and "> cuda_arch=9.0" in printed and lines_of(printed, "X") == [
        "engines and speech files that the settings ask for -> run docker/scripts/build-models.sh"]  # fmt: skip


# --- the smaller ones -----------------------------------------------------------------------------------------------------------


def test_the_examples_come_from_the_pinned_commit_and_only_their_folders(house: House) -> None:
    origin, git = house.folder / "origin", ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(house.folder / "origin")]
    for file in ("whisper/build.py", "phi/convert_checkpoint.py", "llama/convert_checkpoint.py", "gpt/other.py"):
        (origin / "examples" / file).parent.mkdir(parents=True)
        (origin / "examples" / file).write_text("first\n")
    subprocess.run(["git", "init", "-q", str(origin)], check=True)
    for setting in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
        subprocess.run([*git, "config", setting, "true"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run([*git, "commit", "-qm", "second", "--allow-empty"], check=True)
    there = {"EXAMPLES_URL": origin.as_uri(), "EXAMPLES_COMMIT": commit}
    status, printed = house.run("fetch-examples.sh", **there)
    examples = house.folder / "tensorrt-llm"
    assert status == 0 and sorted(path.name for path in (examples / "examples").iterdir()) == ["llama", "phi", "whisper"], printed
    shutil.rmtree(origin)
    assert house.run("fetch-examples.sh", **there)[0] == 0, "what is there is not fetched again"
    shutil.rmtree(examples)
    status, printed = house.run("fetch-examples.sh", **there)
    assert status != 0 and "stopped at step [fetch the examples]" in printed and not list(house.folder.glob("tensorrt-llm*"))


@pytest.mark.parametrize(("answer", "status"), [(200, 0), (503, 1)])
def test_the_health_check_asks_the_server(answer: int, status: int) -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answer if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *arguments: object) -> None: ...

    server = http.server.HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [sys.executable, str(ROOT / "docker" / "scripts" / "health.py")]
    try:
        assert subprocess.run(command, env={"HTTP_PORT": str(server.server_port)}, timeout=30).returncode == status
    finally:
        server.shutdown()
        server.server_close()
    assert subprocess.run(command, env={"HTTP_PORT": str(server.server_port)}, timeout=30).returncode == 1, "nobody answers"
