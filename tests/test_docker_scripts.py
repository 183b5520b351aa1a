"""docker/scripts run for real in a scratch host, with recording stand-ins for what is not there
(tests/stub_tools/tool.py).

What is checked is what a person would lose: the order of installation, arguments that TensorRT-LLM
0.10.0 does not know, a build that is done twice or not again, a half-built engine under a good
name, a signal that does not arrive, a message that does not help.
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
from stub_tools.host import ROOT, Host, built, wait_until_hanging

from whisperfusion import settings
from whisperfusion.models import tensorrt_folders
from whisperfusion.runtime.ports import free_ports

sys.path.insert(0, str(ROOT / "docker" / "scripts"))
import cuda_arch
import installed
import which_engines

CLI = json.loads(
    (ROOT / "tests" / "data" / "tensorrt_llm_0_10_signatures.json").read_text(encoding="utf-8")
)["_cli"]
PHI = ("phi-2", "phi-3-mini-4k-instruct", "dolphin-2_6-phi-2")
MISTRAL = ("openhermes-2.5-mistral-7b", "mistral-7b-instruct-v0.2")
WHISPER = (
    "tiny",
    "tiny.en",
    "base",
    "base.en",
    "small",
    "small.en",
    "medium",
    "medium.en",
    "large-v2",
    "large-v3",
)
# the others: 4096. Phi-3-mini has as many, and writes broken text beyond its window of 2047
POSITIONS = {"phi-2": 2048, "dolphin-2_6-phi-2": 2048, "phi-3-mini-4k-instruct": 2047}
LLM_FILES = {"config.json", "rank0.engine", "tokenizer.json", "tokenizer_config.json", "built.txt"}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path).furnish()
    yield made
    made.close()


def script_of(model: str) -> str:
    return "build-phi.sh" if model in PHI else "build-mistral.sh"


def parsed(program: str, arguments: list[str]) -> dict[str, Any]:
    """The arguments as the program of release 0.10.0 would read them; an unknown flag or choice
    fails the test.
    """
    parser = argparse.ArgumentParser(prog=program, allow_abbrev=False, exit_on_error=False)
    for flag in [*CLI[program]["flags"], *CLI[program].get("plugin_flags", [])]:
        if flag.get("action") == "'store_true'":
            parser.add_argument(*flag["flags"], action="store_true")
            continue
        choices = flag.get("choices")
        choices = (
            json.loads(choices.replace("'", '"'))
            if isinstance(choices, str) and choices.startswith("[")
            else choices
        )
        kind = {"int": int, "float": float}.get(flag.get("type", "str"), str)
        nargs = flag["nargs"].strip("'") if "nargs" in flag else None
        parser.add_argument(
            *flag["flags"],
            type=kind,
            choices=choices if isinstance(choices, list) else None,
            nargs=nargs,
        )
    known, unknown = parser.parse_known_args(arguments)
    assert not unknown, f"{program} of 0.10.0 does not know {unknown}"
    return {name: value for name, value in vars(known).items() if value not in (None, False)}


# --- setup-whisperfusion.sh ---------------------------------------------------------------------


def before_setup(folder: Path) -> Host:
    """Only what the image has when it runs the setup: the files that the stage `devel` copies
    before.
    """
    host = Host(folder)
    devel = (
        (ROOT / "docker" / "Dockerfile")
        .read_text(encoding="utf-8")
        .partition(" AS devel")[2]
        .partition("RUN docker/scripts/setup")[0]
    )
    for line in devel.splitlines():
        if line.startswith("COPY"):
            host.copy(*line.split()[1:-1])
    return host


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Host]:
    host = before_setup(tmp_path)
    yield host
    host.close()


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a setup leaves, to be copied."""
    host = before_setup(tmp_path_factory.mktemp("host"))
    status, printed = host.run("setup-whisperfusion.sh")
    assert status == 0, printed
    return host.venv


@pytest.fixture
def set_up(bare: Host, environment: Path) -> Host:
    shutil.copytree(environment, bare.venv)
    return bare


def installs(host: Host) -> list[dict[str, Any]]:
    return [call for call in host.calls("uv") if call["args"][:2] == ["pip", "install"]]


def names(call: dict[str, Any]) -> list[str]:
    lines = [line for line in call["lines"] if line and line[0].isalpha()]
    return [
        next(part for part in [line.split("=")[0].split("<")[0].split(">")[0]]).strip()
        for line in lines
    ]


def test_setup_installs_in_the_strict_order(bare: Host) -> None:
    status, printed = bare.run("setup-whisperfusion.sh")
    assert status == 0, printed
    first, torch, av, tensorrt, llm, rest, last = installs(bare)
    assert names(first) == ["pip", "wheel", "setuptools"]
    assert sorted(names(torch)) == ["torch", "torchaudio"]
    assert names(av) == ["av"] and av["args"][-2:] == ["--only-binary", "av"]
    assert sorted(names(tensorrt)) == [
        "tensorrt",
        "tensorrt-cu12",
        "tensorrt-cu12-bindings",
        "tensorrt-cu12-libs",
    ]
    assert names(llm) == ["tensorrt-llm"]
    assert "whisperspeech" in names(rest) and "faster-whisper" not in names(rest)
    assert names(last) == ["faster-whisper"] and last["args"][-2:] == ["--only-binary", "av"]
    for call in (tensorrt, llm):
        assert "--extra-index-url https://pypi.nvidia.com" in call["lines"]
    for call in installs(bare):
        assert call["args"][call["args"].index("--constraints") + 1] == str(
            bare.project / "constraints-gpu.txt"
        )
        assert not {"-U", "--upgrade", "--reinstall"} & set(call["args"])
    assert (
        installed_versions(bare)["torch"] == "2.2.2"
        and installed_versions(bare)["tensorrt_llm"] == "0.10.0"
    )
    assert not bare.calls("apt-get"), "system packages are the image's business"
    assert bare.calls("uv")[0]["args"] == ["--version"]


def installed_versions(host: Host) -> dict[str, str]:
    stems = [
        path.name.removesuffix(".dist-info") for path in (host.venv / "site").glob("*.dist-info")
    ]
    return {stem.rpartition("-")[0]: stem.rpartition("-")[2] for stem in stems}


def test_setup_twice_does_nothing_and_a_changed_pin_does(set_up: Host) -> None:
    status, printed = set_up.run("setup-whisperfusion.sh")
    assert status == 0 and "is set up" in printed
    assert not installs(set_up)
    constraints = set_up.project / "constraints-gpu.txt"
    constraints.write_text(constraints.read_text() + "# another day\n")
    assert set_up.run("setup-whisperfusion.sh")[0] == 0
    assert len(installs(set_up)) == 7 and not [
        call for call in set_up.calls("uv") if call["args"][0] == "venv"
    ]


def test_setup_puts_right_what_was_changed_since(set_up: Host) -> None:
    set_up.package("cuda_python", "13.0")
    status, printed = set_up.run("setup-whisperfusion.sh")
    assert status == 0 and "cuda-python 13.0 is installed" in printed and len(installs(set_up)) == 7
    set_up.forget()
    assert set_up.run("setup-whisperfusion.sh")[0] == 0 and not installs(set_up)


STEPS = {  # some of them, for each costs some seconds
    "--version": "0 system tools",
    "torchaudio": "2 torch",
    "\ntensorrt-llm": "5 TensorRT-LLM",
    "whisperspeech": "6 requirements",
    "pip check": "9 the whole set",
}


@pytest.mark.parametrize("broken", STEPS)
def test_setup_stops_at_the_step_that_fails(bare: Host, broken: str) -> None:
    status, printed = bare.run("setup-whisperfusion.sh", STUB_FAIL=f"uv:{broken}")
    assert status != 0 and f"stopped at step [{STEPS[broken]}" in printed
    assert not (bare.venv / "setup-done").exists()
    last = bare.calls("uv")[-1]
    assert broken in "\n".join([" ".join(last["args"]), *last.get("lines", [])]), (
        "nothing is installed after the step that failed"
    )
    if broken == "whisperspeech":  # from any of them it goes on the same way
        assert bare.run("setup-whisperfusion.sh")[0] == 0
        assert (bare.venv / "setup-done").is_file()


@pytest.mark.parametrize(
    ("versions", "step", "words"),
    [
        (
            "torch=2.4.0,torchaudio=2.4.0",
            "2 torch",
            "torch 2.4.0 is installed, needed is >=2.2,<2.4",
        ),
        ("av=10.0.0", "3 av", "av 10.0.0 is installed, needed is >=12"),
        ("tensorrt-llm=0.11.0", "5 TensorRT-LLM", "needed is >=0.10.0,<0.10.1"),
        (
            "huggingface-hub=1.2.0",
            "8 hub tools",
            "huggingface-hub 1.2.0 is installed, needed is >=0.34,<1",
        ),
        (
            "cuda-python=13.0",
            "9 the whole set",
            "cuda-python 13.0 is installed, constraints-gpu.txt pins",
        ),
    ],
)
def test_setup_verifies_each_step_before_the_next(
    bare: Host, versions: str, step: str, words: str
) -> None:
    status, printed = bare.run("setup-whisperfusion.sh", STUB_VERSIONS=versions)
    assert status != 0 and words in printed and f"stopped at step [{step}" in printed
    assert len(installs(bare)) <= min(int(step[0]), 7)
    assert not (bare.venv / "setup-done").exists()


def test_setup_notices_that_faster_whisper_changed_av(bare: Host) -> None:
    status, printed = bare.run("setup-whisperfusion.sh", STUB_CHANGE_AV="12.3.0")
    assert (
        status != 0
        and "faster-whisper changed av: it was av 17" in printed
        and "[7 faster-whisper]" in printed
    )


def test_setup_names_the_system_packages_that_are_missing(bare: Host) -> None:
    system = bare.folder / "system"  # /usr/bin without an MPI compiler
    system.mkdir()
    for program in Path("/usr/bin").iterdir():
        if program.name != "mpicc":
            (system / program.name).symlink_to(program)
    (bare.folder / "bin" / "mpicc").unlink()
    status, printed = bare.run("setup-whisperfusion.sh", PATH=f"{bare.folder / 'bin'}:{system}")
    assert (
        status != 0
        and "mpicc is missing: apt-get install" in printed
        and "libopenmpi-dev" in printed
    )


@pytest.mark.parametrize("script", ["build-phi.sh", "build-mistral.sh", "build-whisper.sh"])
def test_a_library_that_cannot_be_imported_is_found_before_anything_is_fetched(
    host: Host, script: str
) -> None:
    (host.venv / "site" / "tensorrt_llm.py").write_text(
        "raise OSError('libcuda.so.1: cannot open shared object file')"
    )
    status, printed = host.run(script)
    assert (
        status != 0
        and "libcuda.so.1" in printed
        and "stopped at step [import tensorrt_llm]" in printed
    )
    assert not host.calls("hf", "curl") and not host.litter()


# --- the engines --------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [*PHI, *MISTRAL])
def test_llm_engines_are_built_with_arguments_of_0_10_0(host: Host, model: str) -> None:
    status, printed = host.run(script_of(model), model)
    assert status == 0, printed
    folder = host.engines / model
    assert {path.name for path in folder.iterdir()} == LLM_FILES
    hub, convert, build = host.calls("hf", "python", "trtllm-build")
    example = f"examples/{'phi' if model in PHI else 'llama'}/convert_checkpoint.py"
    assert convert["args"][0] == f"{host.folder}/tensorrt-llm/{example}"
    options = parsed(example, convert["args"][1:])
    assert options["dtype"] == "float16" and options["model_dir"] == str(
        host.models / "engine-sources" / model
    )
    assert model in MISTRAL or options["model_type"].lower() == (
        "phi-2" if model == "dolphin-2_6-phi-2" else model
    )
    assert model in PHI or (options["use_weight_only"], options["weight_only_precision"]) == (
        True,
        "int8",
    )
    options = parsed("trtllm-build", build["args"])
    assert options["max_input_len"] + options["max_output_len"] == POSITIONS.get(model, 4096)
    assert options["max_num_tokens"] >= options["max_input_len"], (
        "a whole prompt has to fit into one step"
    )
    assert options["max_batch_size"] == 8 and options["gemm_plugin"] == "float16"
    # the cache that it switches on is reported to crash in 0.10.0
    assert "use_paged_context_fmha" not in options
    assert options.get("context_fmha_fp32_acc") == ("enable" if model in PHI else None)
    assert options["output_timing_cache"].startswith(str(host.engines)), (
        "not into the current folder"
    )
    record = built(folder)
    assert (
        record["model"] == model
        and record["tensorrt_llm"] == "0.10.0"
        and record["cuda_arch"] == "8.9"
    )
    assert record["revision"] == hub["args"][hub["args"].index("--revision") + 1]
    assert (
        record["max_input_len"] == str(options["max_input_len"])
        and record["source"] == hub["args"][1]
    )
    assert not host.litter()


@pytest.mark.parametrize("size", ["small.en", "large-v3"])
def test_whisper_engines_are_built_with_arguments_of_0_10_0(host: Host, size: str) -> None:
    status, printed = host.run("build-whisper.sh", size)
    assert status == 0, printed
    folder = host.engines / f"whisper-{size}"
    assert {path.name for path in folder.iterdir()} == {
        "encoder_config.json",
        "decoder_config.json",
        "whisper_encoder_float16_tp1_rank0.engine",
        "tokenizer.json",
        "whisper_decoder_float16_tp1_rank0.engine",
        "built.txt",
    }
    (build,) = host.calls("python")
    options = parsed("examples/whisper/build.py", build["args"][1:])
    assert (
        options["model_name"] == size
        and (host.models / "engine-sources" / "whisper" / f"{size}.pt").is_file()
    )
    assert options["max_input_len"] + options["max_output_len"] == 448
    assert (options["max_batch_size"], options["max_beam_width"]) == (4, 1)
    assert {
        "use_gpt_attention_plugin",
        "use_bert_attention_plugin",
        "use_gemm_plugin",
        "enable_context_fmha",
    } <= set(options)
    (hub,) = host.calls("hf")
    assert hub["args"][:3] == ["download", f"openai/whisper-{size}", "tokenizer.json"]
    (fetch,) = host.calls("curl")
    assert fetch["args"][-1].endswith(f"/{size}.pt") and len(fetch["args"][-1].split("/")[-2]) == 64
    assert not host.litter()


def test_every_size_of_whisper_is_one_that_the_build_script_of_0_10_0_knows() -> None:
    text = (ROOT / "docker" / "scripts" / "sources.sh").read_text(encoding="utf-8")
    sizes = re.search(r'^WHISPER_MODELS="(.*)"', text, re.MULTILINE)
    assert sizes and sizes.group(1).split() == list(WHISPER)
    for size in WHISPER:
        assert parsed("examples/whisper/build.py", ["--model_name", size])
        assert re.search(
            rf"^    {re.escape(size)}\)\n      SUM=[0-9a-f]{{64}}\n      REVISION=[0-9a-f]{{40}} ",
            text,
            re.MULTILINE,
        )


def test_every_repository_but_one_is_pinned_to_a_commit() -> None:
    text = (ROOT / "docker" / "scripts" / "sources.sh").read_text(encoding="utf-8")
    revisions = [word.partition("=")[2] for word in text.split() if word.startswith("REVISION=")]
    assert len(revisions) == len(PHI + MISTRAL + WHISPER) and len(set(revisions)) == len(revisions)
    assert [revision for revision in revisions if len(revision) != 40] == ["main"]


@pytest.mark.parametrize(
    ("script", "model"),
    [
        ("build-phi.sh", "phi-2"),
        ("build-mistral.sh", "openhermes-2.5-mistral-7b"),
        ("build-whisper.sh", "base"),
    ],
)
def test_what_is_built_is_left_alone_and_a_changed_option_builds_anew(
    host: Host, script: str, model: str
) -> None:
    assert host.run(script, model)[0] == 0
    host.forget()
    status, printed = host.run(script, model)
    assert status == 0 and "is built" in printed
    assert not host.calls("hf", "python", "trtllm-build", "curl")
    assert host.run(script, "--check", model)[0] == 0
    status, printed = host.run(script, "--check", model, STUB_ARCH="9.0")
    assert status == 1 and "> cuda_arch=9.0" in printed and not host.calls("hf", "trtllm-build")
    status, printed = host.run(script, model, STUB_ARCH="9.0")
    assert status == 0 and "< cuda_arch=8.9" in printed
    folder = host.engines / (f"whisper-{model}" if script == "build-whisper.sh" else model)
    assert built(folder)["cuda_arch"] == "9.0" and host.calls("python")
    host.forget()
    host.package("tensorrt_llm", "0.10.1")
    assert host.run(script, model, STUB_ARCH="9.0")[0] == 0
    assert built(folder)["tensorrt_llm"] == "0.10.1" and host.calls("python") and not host.litter()


def test_the_weights_of_mistral_can_be_chosen_and_are_kept(host: Host) -> None:
    folder = host.engines / "openhermes-2.5-mistral-7b"
    for weights, precision in (("int4", "int4"), ("", "int4"), ("int8", "int8"), ("float16", None)):
        host.forget()
        assert host.run("build-mistral.sh", WEIGHTS=weights)[0] == 0
        if weights:
            (convert,) = host.calls("python")
            assert (
                parsed("examples/llama/convert_checkpoint.py", convert["args"][1:]).get(
                    "weight_only_precision"
                )
                == precision
            )
        else:
            assert not host.calls("python"), (
                "an engine keeps its weights until others are asked for"
            )
    assert built(folder)["weights"] == "float16"
    assert "allowed: int8, int4, float16" in host.run("build-mistral.sh", WEIGHTS="int2")[1]
    assert "Phi engines can only be float16" in host.run("build-phi.sh", WEIGHTS="int4")[1]


def test_mistral_can_share_the_beginnings_of_prompts_and_keeps_doing_so(host: Host) -> None:
    folder = host.engines / "openhermes-2.5-mistral-7b"
    for reuse, enabled in (("", None), ("1", "enable"), ("", "enable"), ("0", None)):
        host.forget()
        assert host.run("build-mistral.sh", REUSE=reuse)[0] == 0
        for call in host.calls("trtllm-build"):
            options = parsed("trtllm-build", call["args"])
            assert options.get("use_paged_context_fmha") == enabled
        assert built(folder).get("use_paged_context_fmha") == enabled
    assert host.calls("trtllm-build"), "REUSE=0 builds anew"
    assert "allowed: 0, 1" in host.run("build-mistral.sh", REUSE="yes")[1]


FAILURES = {
    "hf:download": "fetch the weights",
    "python:convert_checkpoint.py": "convert the checkpoint",
    "trtllm-build:": "build the engine",
}


@pytest.mark.parametrize("broken", FAILURES)
@pytest.mark.parametrize("before", [False, True])
def test_a_step_that_fails_leaves_nothing_half_made(host: Host, broken: str, before: bool) -> None:
    if before:
        assert host.run("build-phi.sh", "phi-2", STUB_ARCH="8.0")[0] == 0
    if broken.startswith("hf"):
        (host.venv / "bin" / "huggingface-cli").unlink()
    status, printed = host.run("build-phi.sh", "phi-2", STUB_FAIL=broken)
    assert status != 0 and f"stopped at step [{FAILURES[broken]}]" in printed
    assert not host.litter()
    if before:
        assert built(host.engines / "phi-2")["cuda_arch"] == "8.0", (
            "the engine that was there still is"
        )
    else:
        assert not (host.engines / "phi-2").exists()


@pytest.mark.parametrize(
    ("broken", "step"),
    [
        ("python:build.py", "build the engines"),
        ("curl:", "fetch the checkpoint"),
        ("hf:", "fetch the tokenizer"),
    ],
)
def test_a_whisper_step_that_fails_leaves_nothing_half_made(
    host: Host, broken: str, step: str
) -> None:
    (host.venv / "bin" / "huggingface-cli").unlink()
    status, printed = host.run("build-whisper.sh", STUB_FAIL=broken)
    assert status != 0 and f"stopped at step [{step}]" in printed
    assert not host.litter() and not (host.engines / "whisper-small.en").exists()


def test_a_damaged_checkpoint_never_gets_its_name(host: Host) -> None:
    status, printed = host.run("build-whisper.sh", STUB_DAMAGED="1")
    assert (
        status != 0
        and "the sum does not match, attempt 3 of 3" in printed
        and "cannot fetch https://" in printed
    )
    assert not list((host.models / "engine-sources").rglob("*.pt*"))
    assert host.run("build-whisper.sh")[0] == 0


def test_a_checkpoint_comes_from_its_second_address_where_the_first_has_none(host: Host) -> None:
    status, printed = host.run("build-whisper.sh", "tiny", STUB_FAIL="curl:azureedge.net")
    assert status == 0, printed
    first, second = (call["args"][-1] for call in host.calls("curl"))
    assert first.partition("/main/")[2] == second.partition("/main/")[2], "the same file"
    assert second.startswith("https://openaipublic.blob.core.windows.net/main/whisper/models/")
    assert built(host.engines / "whisper-tiny")["source"] == first


def test_a_checkpoint_that_was_fetched_but_not_named_is_not_fetched_again(host: Host) -> None:
    assert host.run("build-whisper.sh", "tiny")[0] == 0
    checkpoint = host.models / "engine-sources" / "whisper" / "tiny.pt"
    checkpoint.rename(checkpoint.with_name("tiny.pt.part"))
    shutil.rmtree(host.engines)
    host.forget()
    assert host.run("build-whisper.sh", "tiny")[0] == 0
    assert checkpoint.is_file() and not host.calls("curl")


@pytest.mark.parametrize("hangs", ["hf:", "python:convert_checkpoint.py", "trtllm-build:"])
@pytest.mark.parametrize("script", ["build-phi.sh", "run-whisperfusion.sh"])
def test_a_signal_in_the_middle_of_a_build_ends_it_and_leaves_nothing(
    host: Host, hangs: str, script: str
) -> None:
    arguments = (
        ("phi-2",) if script == "build-phi.sh" else ("--llm-model=phi-2", "--asr-engine=scripted")
    )
    process = host.start(script, *arguments, STUB_HANG=hangs)
    printed = wait_until_hanging(process)
    process.send_signal(signal.SIGTERM)
    printed += process.communicate(timeout=60)[0]
    assert process.returncode == 143 and "stopped at step [" in printed
    ended = [call for call in host.calls() if call.get("ended_by") == signal.SIGTERM]
    assert len(ended) == 1, "the program that was at work is ended too"
    assert not host.litter() and not (host.engines / "phi-2").exists()
    assert not [call for call in host.calls("python") if call["args"][0] == "main.py"]


def test_a_second_build_of_the_same_engine_waits_for_the_first(host: Host) -> None:
    first = host.start("build-phi.sh", "phi-2", STUB_HANG="trtllm-build:")
    wait_until_hanging(first)
    second = host.start("build-phi.sh", "phi-2")
    assert second.stdout
    for line in second.stdout:
        if "another build of phi-2 is running" in line:
            break
    else:
        raise AssertionError("the second build did not wait")
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=60)
    printed = second.communicate(timeout=60)[0]
    assert second.returncode == 0 and "built " in printed and not host.litter()


def test_the_remains_of_a_killed_build_are_cleared_away(host: Host) -> None:
    first = host.start("build-phi.sh", "phi-2", STUB_HANG="trtllm-build:")
    wait_until_hanging(first)
    hanging = host.calls("trtllm-build")[-1]["pid"]
    first.kill()
    first.wait()
    assert host.litter() == [".building-phi-2"]
    os.kill(hanging, signal.SIGKILL)  # it still holds the lock, as it should
    assert first.stdout
    first.stdout.close()
    assert host.run("build-phi.sh", "phi-2")[0] == 0
    assert not host.litter()


def test_a_tokenizer_in_the_slow_form_is_made_fast(host: Host) -> None:
    assert host.run("build-phi.sh", "phi-2", STUB_WITHOUT="tokenizer.json")[0] == 0
    assert (host.engines / "phi-2" / "tokenizer.json").is_file()
    assert [call["args"][0].rpartition("/")[2] for call in host.calls("python")] == [
        "convert_checkpoint.py",
        "fast_tokenizer.py",
    ]


def test_no_room_is_said_before_the_download(host: Host) -> None:
    status, printed = host.run("build-phi.sh", STUB_FREE_GB="7")
    assert status != 0 and "needs about 25 GB" in printed and "7 GB are free" in printed
    assert not host.calls("hf")


def test_a_folder_that_may_not_be_written_names_the_user(host: Host) -> None:
    host.engines.write_text("a file where the folder should be")
    status, printed = host.run("build-phi.sh", "phi-2")
    assert (
        status != 0
        and f"ENGINES_DIR={host.engines} cannot be written by user" in printed
        and "chown" in printed
    )


# --- fetching from the hub ----------------------------------------------------------------------


def test_without_hf_the_older_name_is_used(host: Host) -> None:
    (host.venv / "bin" / "hf").unlink()
    assert host.run("build-phi.sh", "phi-2")[0] == 0
    assert host.calls("huggingface-cli")[0]["args"][:2] == ["download", "microsoft/phi-2"]


def test_where_hf_fails_the_older_name_is_tried(host: Host) -> None:
    assert host.run("build-phi.sh", "phi-2", STUB_FAIL="hf:")[0] == 0
    assert len(host.calls("hf")) == 3 and len(host.calls("huggingface-cli")) == 1
    assert host.calls("hf")[0]["args"] == host.calls("huggingface-cli")[0]["args"]


def test_without_either_it_says_what_to_do(host: Host) -> None:
    for tool in ("hf", "huggingface-cli"):
        (host.venv / "bin" / tool).unlink()
    status, printed = host.run("build-phi.sh", "phi-2")
    assert (
        status != 0
        and "neither hf nor huggingface-cli" in printed
        and "setup-whisperfusion.sh" in printed
    )


# --- the GPU ------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["10.0", "12.0", "6.1"])
def test_a_gpu_that_0_10_0_cannot_use_is_refused_with_the_way_out(host: Host, arch: str) -> None:
    status, printed = host.run("run-whisperfusion.sh", STUB_ARCH=arch)
    assert status != 0
    assert all(
        part in printed
        for part in (
            f"GPU architecture {arch}",
            "LLM_ENGINE=openai",
            "trtllm-serve",
            "ASR_ENGINE=faster-whisper",
        )
    )
    assert not host.calls("hf", "curl", "python", "trtllm-build")


def test_another_machine_than_x86_64_is_refused_with_the_way_out(bare: Host) -> None:
    status, printed = bare.run("setup-whisperfusion.sh", STUB_MACHINE="aarch64")
    assert status != 0 and "stopped at step [0 system tools]" in printed and "DGX Spark" in printed
    assert not installs(bare)
    with pytest.raises(SystemExit, match=r"aarch64: .*x86_64.*LLM_ENGINE=openai"):
        cuda_arch.check_machine("aarch64")


def test_each_engine_is_built_on_the_gpu_that_will_run_it(host: Host) -> None:
    two = {"ASR_GPU": "1", "LLM_GPU": "0", "TTS_ENGINE": "scripted", "STUB_ARCHS": "8.9,7.5"}
    status, printed = host.run("build-models.sh", **two)
    assert status == 0, printed
    assert built(host.engines / "whisper-small.en")["cuda_arch"] == "7.5"
    assert built(host.engines / "phi-3-mini-4k-instruct")["cuda_arch"] == "8.9"
    [build] = [call for call in host.calls("python") if "build.py" in call["args"][0]]
    assert build["cuda"] == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1"}
    assert host.run("build-models.sh", "--check", **two)[0] == 0


def test_volta_is_told_which_drivers_it_needs(host: Host) -> None:
    status, printed = host.run("build-models.sh", STUB_ARCH="7.0", TTS_ENGINE="scripted")
    assert status == 0 and "580" in printed


def test_without_a_gpu_it_says_how_to_start_with_one(host: Host) -> None:
    status, printed = host.run("run-whisperfusion.sh", STUB_ARCH="none")
    assert status != 0 and "--gpus all" in printed and "--profile cpu" in printed


@pytest.mark.parametrize(
    ("value", "gpu", "arch"),
    [
        ("auto", "8.9", "8.9"),
        ("", "8.6", "8.6"),
        ("8.9", "8.9", "8.9"),
        ("89", "8.9", "8.9"),
        ("89-real", "8.9", "8.9"),
        ("sm_90", "9.0", "9.0"),
        ("90a", None, "9.0"),
        ("80-real;86-real;89-real", "8.6", "8.6"),
        ("8.0 8.9", "8.9", "8.9"),
        ("7.5,8.9+PTX", "7.5", "7.5"),
        ("70", None, "7.0"),
    ],
)
def test_spellings_of_an_architecture(value: str, gpu: str | None, arch: str) -> None:
    assert cuda_arch.choose(value, gpu) == arch


@pytest.mark.parametrize(
    ("value", "gpu", "words"),
    [
        ("8.9", "8.6", "but the GPU is 8.6"),
        ("80;86", "9.0", "but the GPU is 9.0"),
        ("120", "8.9", "not on Blackwell"),
        ("80;100", "8.0", "10.0"),
        ("fast", "8.9", "is not an architecture"),
        ("80;86", None, "sees no GPU"),
        ("auto", None, "sees no GPU"),
        ("auto", "12.0", "trtllm-serve"),
    ],
)
def test_an_architecture_that_cannot_be_is_said(value: str, gpu: str | None, words: str) -> None:
    with pytest.raises(SystemExit, match=words):
        cuda_arch.choose(value, gpu)


def test_a_version_is_compared_by_its_numbers() -> None:
    assert installed.number("2.2.2+cu121") == (2, 2, 2) and installed.number("0.10.0") == (
        0,
        10,
    ) < installed.number("0.10.1")
    assert installed.number("12") <= installed.number("16.0.1") < installed.number("18.0")


# --- build-models.sh ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *tensorrt_folders.LLMS,
        *PHI,
        *MISTRAL,
        "Phi-2",
        "microsoft/Phi-3-mini-4k-instruct",
        "teknium/OpenHermes-2.5-Mistral-7B",
    ],
)
def test_every_spelling_of_a_model_means_one_that_can_be_built(tmp_path: Path, name: str) -> None:
    chosen = settings.build(
        {"llm_engine": "tensorrt-llm", "llm_model": name, "engines_dir": str(tmp_path)}, {}, {}
    )
    wanted = which_engines.wanted(chosen)["llm"]
    assert wanted in PHI + MISTRAL and tensorrt_folders.folder("llm", chosen) == tmp_path / wanted


@pytest.mark.parametrize(
    ("spelling", "whisper"),
    [("microsoft/Phi-2", "small.en"), ("auto", "whisper-base"), ("MISTRAL", "Tiny.en")],
)
def test_what_is_built_is_what_the_server_will_look_for(
    host: Host, spelling: str, whisper: str
) -> None:
    status, printed = host.run("build-models.sh", MODEL=spelling, ASR_MODEL=whisper)
    assert status == 0, printed
    chosen = settings.build({}, {**host.environment, "MODEL": spelling, "ASR_MODEL": whisper}, {})
    for kind in ("asr", "llm"):
        assert (tensorrt_folders.folder(kind, chosen) / "built.txt").is_file()
    assert host.run("build-models.sh", "--check", MODEL=spelling, ASR_MODEL=whisper)[0] == 0


def test_flags_count_as_they_do_for_main(host: Host) -> None:
    elsewhere = host.folder / "elsewhere"
    flags = (f"--engines-dir={elsewhere}", "--llm-model", "phi-2", "--asr-engine=scripted", "run")
    status, printed = host.run("build-models.sh", *flags)
    assert status == 0, printed
    assert (elsewhere / "phi-2" / "built.txt").is_file() and not host.engines.exists()


def test_an_unknown_model_is_told_the_known_ones_before_anything_is_built(host: Host) -> None:
    status, printed = host.run("build-models.sh", MODEL="llama-9")
    assert (
        status != 0 and "MODEL=llama-9 is not known" in printed and "LLM_ENGINE=openai" in printed
    )
    assert all(model in printed for model in PHI + MISTRAL) and not host.calls("hf", "curl")
    status, printed = host.run("build-models.sh", ASR_MODEL="huge")
    assert (
        status != 0 and "ASR_MODEL may be:" in printed and all(size in printed for size in WHISPER)
    )
    status, printed = host.run("build-models.sh", LLM_MAX_TOKENS="many")
    assert status != 0 and "LLM_MAX_TOKENS='many' is not a number" in printed


def test_an_engine_made_by_hand_is_taken_as_it_is(host: Host) -> None:
    for folder in (host.engines / "my-model", host.folder / "mine"):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        named = folder.name if folder.parent == host.engines else str(folder)
        assert host.run("build-models.sh", MODEL=named, ASR_ENGINE="scripted")[0] == 0
    assert not host.calls("trtllm-build")


def test_the_files_of_whisperspeech_are_fetched_once_and_not_again_offline(host: Host) -> None:
    chosen = {"ASR_ENGINE": "scripted", "LLM_ENGINE": "scripted"}
    assert host.run("build-models.sh", "--check", **chosen)[0] == 1
    assert not host.calls("hf", "curl")
    status, printed = host.run("build-models.sh", **chosen)
    assert status == 0, printed
    assert [call["args"][1:3] for call in host.calls("hf")] == [
        ["collabora/whisperspeech", "t2s-small-en+pl.model"],
        ["collabora/whisperspeech", "s2a-q4-tiny-en+pl.model"],
        ["charactr/vocos-encodec-24khz", "config.yaml"],
        ["charactr/vocos-encodec-24khz", "pytorch_model.bin"],
    ]
    assert (host.models / "torch" / "hub" / "checkpoints" / "encodec_24khz-d7cc33bc.th").is_file()
    assert all(call["args"][-2:] == ["--revision", "main"] for call in host.calls("hf")), (
        "what WhisperSpeech asks for offline"
    )
    host.forget()
    assert host.run("build-models.sh", STUB_FAIL="hf:", **chosen)[0] == 0
    assert host.run("build-models.sh", "--check", **chosen)[0] == 0
    assert not host.calls("hf", "curl")


def test_other_engines_need_nothing_built(host: Host) -> None:
    assert (
        host.run(
            "build-models.sh",
            ASR_ENGINE="faster-whisper",
            LLM_ENGINE="openai",
            TTS_ENGINE="hibari",
            STUB_ARCH="none",
        )[0]
        == 0
    )
    assert not host.calls("hf", "curl", "nvidia-smi")


# --- run-whisperfusion.sh -----------------------------------------------------------------------


def test_the_entry_point_builds_then_becomes_main_and_the_signal_arrives(host: Host) -> None:
    process = host.start("run-whisperfusion.sh", "--llm-model=phi-2", "--verbose")
    printed = wait_until_hanging(process)
    assert (
        "starting main.py --llm-model=phi-2 --verbose" in printed
        and (host.engines / "phi-2" / "built.txt").is_file()
    )
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    started, ended = (call for call in host.calls("python") if call["args"][0] == "main.py")
    assert started["pid"] == process.pid and ended["ended_by"] == signal.SIGTERM, (
        "no shell stands between the signal and main.py"
    )
    assert started["args"][1:] == ["--llm-model=phi-2", "--verbose"]


@pytest.mark.parametrize("sharing", ["", "time", "mps"])
def test_the_processes_share_the_gpu_as_the_settings_say(host: Host, sharing: str) -> None:
    host.stand_in(host.folder / "bin" / "nvidia-cuda-mps-control", "nvidia-cuda-mps-control")
    process = host.start("run-whisperfusion.sh", "--llm-model=phi-2", GPU_SHARING=sharing)
    wait_until_hanging(process)
    started = next(call for call in host.calls("python") if call["args"][0] == "main.py")
    daemons = host.calls("nvidia-cuda-mps-control")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert [daemon["args"] for daemon in daemons] == ([["-d"]] if sharing == "mps" else [])
    folders = {"CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"}
    assert set(started["cuda"]) == (folders if sharing == "mps" else set())
    for daemon in daemons:
        assert daemon["cuda"] == started["cuda"], "the clients find it by its folder"


@pytest.mark.parametrize(
    ("sharing", "words"),
    [
        ("mps", "needs nvidia-cuda-mps-control"),
        ("all", "allowed: time, mps"),
    ],
)
def test_a_gpu_that_cannot_be_shared_so_is_said(host: Host, sharing: str, words: str) -> None:
    status, printed = host.run("run-whisperfusion.sh", GPU_SHARING=sharing)
    assert status != 0 and words in printed
    assert not [call for call in host.calls("python") if call["args"][0] == "main.py"]


def test_a_daemon_that_does_not_start_ends_the_start(host: Host) -> None:
    host.stand_in(host.folder / "bin" / "nvidia-cuda-mps-control", "nvidia-cuda-mps-control")
    failing = {"GPU_SHARING": "mps", "STUB_FAIL": "nvidia-cuda-mps-control:-d"}
    status, printed = host.run("run-whisperfusion.sh", **failing)
    assert status != 0 and "did not start" in printed and "GPU_SHARING=time" in printed


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["doctor"],
        ["models", "list"],
        ["talk", "hello.wav"],
        ["--log-level=debug", "doctor"],
    ],
)
def test_commands_of_main_pass_through_without_building(host: Host, arguments: list[str]) -> None:
    assert host.run("run-whisperfusion.sh", *arguments, STUB_ARCH="none")[0] == 0
    assert next(call["args"] for call in host.calls("python")) == ["main.py", *arguments]
    assert not host.calls("hf", "nvidia-smi")


def test_any_other_command_is_run_as_it_is(host: Host) -> None:
    status, printed = host.run("run-whisperfusion.sh", "bash", "-c", "echo $0 talk; exit 7")
    assert (status, printed.strip()) == (7, "bash talk")
    status, printed = host.run("run-whisperfusion.sh", "build-phi.sh", "--check", "phi-2")
    assert status == 1 and "phi-2 is not built yet" in printed


def test_main_is_not_started_when_a_build_fails(host: Host) -> None:
    status, printed = host.run("run-whisperfusion.sh", STUB_FAIL="trtllm-build:")
    assert (
        status != 0
        and "stopped at step [build the engine]" in printed
        and "stopped at step [build what is missing]" in printed
    )
    assert not [call for call in host.calls("python") if call["args"][0] == "main.py"]


# --- verify.sh ----------------------------------------------------------------------------------


@pytest.fixture
def ready(set_up: Host) -> Host:
    set_up.copy("docker/scripts", "whisperfusion", "main.py")
    (set_up.venv / "site" / "tensorrt_llm.py").write_text("")
    set_up.environment |= {
        name: str(port)
        for name, port in zip(("ASR_PORT", "TTS_PORT", "HTTP_PORT"), free_ports(3), strict=True)
    }
    return set_up


def lines_of(printed: str, mark: str) -> list[str]:
    return [
        line.strip().removeprefix(mark).strip()
        for line in printed.splitlines()
        if line.strip().startswith(mark + " ")
    ]


def test_verify_passes_where_all_is_there(ready: Host) -> None:
    assert ready.run("build-models.sh")[0] == 0
    status, printed = ready.run("verify.sh")
    assert status == 0 and not lines_of(printed, "X"), printed
    text = "\n".join(lines_of(printed, "ok"))
    for part in (
        "torch 2.2.2",
        "av 1",
        "tensorrt_llm 0.10.0",
        "import webdataset",
        "import Pipeline",
        "from cuda import cudart",
        "import tensorrt_llm",
        "GPU architecture 8.9",
        "free",
        "no merge-conflict markers",
        "engines and speech files",
    ):
        assert part in text
    assert "phi-3-mini-4k-instruct is built" in printed


def test_verify_in_an_image_build_says_what_it_did_not_check(ready: Host) -> None:
    status, printed = ready.run("verify.sh", "--build", STUB_ARCH="none")
    assert (
        status == 0
        and "GPU, ports, engines: not checked" in printed
        and "GPU architecture" not in printed
    )


def test_verify_names_each_thing_that_is_wrong(ready: Host) -> None:
    ready.package("av", "10.0.0")
    shutil.rmtree(ready.venv / "site" / "cuda")
    (ready.venv / "setup-done").unlink()
    (ready.project / "whisperfusion" / "text" / "segmentation.py").write_text(
        "<" * 7 + " mine\n" + "=" * 7 + "\n"
    )
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", int(ready.environment["TTS_PORT"])))
        taken.listen()
        status, printed = ready.run("verify.sh", STUB_ARCH="12.0")
    wrong = lines_of(printed, "X")
    assert status == 1
    for part in (
        "is complete -> run docker/scripts/setup",
        "av 10.0.0 (needed >=12",
        "from cuda import cudart:",
        "but whisperfusion/text/segmentation.py",
        "GPU architecture 12.0",
        "taken by something else",
        "engines and speech files",
        "constraints-gpu.txt",
    ):
        assert any(part in line for line in wrong), (part, printed)
    assert len(wrong) == 8, printed


def test_verify_sees_an_engine_that_was_built_for_another_gpu(ready: Host) -> None:
    assert ready.run("build-models.sh")[0] == 0
    status, printed = ready.run("verify.sh", STUB_ARCH="9.0")
    assert (
        status == 1
        and "> cuda_arch=9.0" in printed
        and lines_of(printed, "X")
        == [
            (
                "engines and speech files that the settings ask for -> run "
                "docker/scripts/build-models.sh"
            )
        ]
    )


# --- the smaller ones ---------------------------------------------------------------------------


def test_the_examples_come_from_the_pinned_commit_and_only_their_folders(host: Host) -> None:
    origin, git = (
        host.folder / "origin",
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(host.folder / "origin")],
    )
    for file in (
        "whisper/build.py",
        "phi/convert_checkpoint.py",
        "llama/convert_checkpoint.py",
        "gpt/other.py",
    ):
        (origin / "examples" / file).parent.mkdir(parents=True)
        (origin / "examples" / file).write_text("first\n")
    subprocess.run(["git", "init", "-q", str(origin)], check=True)
    for setting in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
        subprocess.run([*git, "config", setting, "true"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    commit = subprocess.run(
        [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    subprocess.run([*git, "commit", "-qm", "second", "--allow-empty"], check=True)
    there = {"EXAMPLES_URL": origin.as_uri(), "EXAMPLES_COMMIT": commit}
    status, printed = host.run("fetch-examples.sh", **there)
    examples = host.folder / "tensorrt-llm"
    assert status == 0 and sorted(path.name for path in (examples / "examples").iterdir()) == [
        "llama",
        "phi",
        "whisper",
    ], printed
    shutil.rmtree(origin)
    assert host.run("fetch-examples.sh", **there)[0] == 0, "what is there is not fetched again"
    shutil.rmtree(examples)
    status, printed = host.run("fetch-examples.sh", **there)
    assert (
        status != 0
        and "stopped at step [fetch the examples]" in printed
        and not list(host.folder.glob("tensorrt-llm*"))
    )


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
        assert (
            subprocess.run(
                command, env={"HTTP_PORT": str(server.server_port)}, timeout=30
            ).returncode
            == status
        )
    finally:
        server.shutdown()
        server.server_close()
    assert (
        subprocess.run(command, env={"HTTP_PORT": str(server.server_port)}, timeout=30).returncode
        == 1
    ), "nobody answers"
