"""Settings: one source of names; a wrong value names the variable, the value and what is
allowed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import fields

import pytest
from running import ROOT

from whisperfusion.cli.arguments import parser
from whisperfusion.settings import (
    Settings,
    SettingsError,
    add_flags,
    build,
    engine_options,
    from_command_line,
    read_env_file,
)


def test_flags_beat_the_environment_and_the_environment_beats_the_file():
    assert build({}, {}, {}) == Settings()
    assert build({}, {}, {"HTTP_PORT": "1"}).http_port == 1
    assert build({}, {"HTTP_PORT": "2"}, {"HTTP_PORT": "1"}).http_port == 2
    assert build({"http_port": "3"}, {"HTTP_PORT": "2"}, {"HTTP_PORT": "1"}).http_port == 3


@pytest.mark.parametrize(
    ("variable", "value", "field", "result"),
    [
        ("WHISPER_MODEL", "tiny.en", "asr_model", "tiny.en"),
        ("WHISPER_PATH", "/m", "asr_model", "/m"),
        ("DEVICE", "CPU", "asr_device", "cpu"),
        ("COMPUTE_TYPE", "int8", "asr_compute_type", "int8"),
        ("VAD_FILTER", "false", "vad_filter", False),
        ("MODEL_CACHE_DIR", "/c", "model_cache_dir", "/c"),
        ("OLLAMA_URL", "http://o:1", "llm_url", "http://o:1"),
        ("OLLAMA_MODEL", "phi", "llm_model", "phi"),
        ("MODEL", "phi", "llm_model", "phi"),
        ("PIPER_MODEL_PATH", "/v.onnx", "tts_model", "/v.onnx"),
        ("VERBOSE", "true", "log_level", "debug"),
        ("LOG_LEVEL", "WARNING", "log_level", "warning"),
        ("CORS_ORIGINS", "https://a, https://b", "origins", ("https://a", "https://b")),
        ("SHARED_SECRET", "s", "shared_secret", "s"),
    ],
)
def test_older_spellings(variable, value, field, result):
    assert getattr(build({}, {variable: value}, {}), field) == result
    assert getattr(build({}, {}, {variable: value}), field) == result


def test_an_older_variable_chooses_its_engine_unless_one_is_chosen():
    assert build({}, {"OLLAMA_URL": "http://o"}, {}).llm_engine == "ollama"
    assert build({}, {"OLLAMA_URL": "http://o", "LLM_ENGINE": "openai"}, {}).llm_engine == "openai"
    assert build({}, {"PIPER_MODEL_PATH": "/v.onnx"}, {}).tts_engine == "piper"


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("DEVICE", "tpu", "cuda"),
        ("ASR_PORT", "70000", "65535"),
        ("ASR_PORT", "six", "number"),
        ("VAD_FILTER", "maybe", "true"),
        ("TTS_SPEED", "nan", "0.5"),
        ("EAGERNESS", "1.5", "0 to 1"),
        ("MODEL_SOURCES", "floppy", "packages"),
        ("TIME_ZONE", "Europe/Atlantis", "Europe/Berlin"),
        ("TIME_ZONE", "../etc/passwd", "Europe/Berlin"),
        ("TIME_ZONE", "Europe", "Europe/Berlin"),
    ],
)
def test_a_wrong_value_names_everything(variable, value, allowed):
    with pytest.raises(SettingsError) as wrong:
        build({}, {variable: value}, {})
    assert (
        variable in str(wrong.value) and value in str(wrong.value) and allowed in str(wrong.value)
    )


def test_every_setting_is_a_flag():
    parser = argparse.ArgumentParser()
    add_flags(parser)
    flags = {action.dest for action in parser._actions}
    assert {spec.name for spec in fields(Settings)} <= flags


@pytest.mark.parametrize(
    "arguments",
    [
        ["--http-port", "1", "--asr-port=2", "--allow-open"],
        ["run", "--http-port=1", "--asr-port", "2", "--allow-open"],
        ["--asr-port=2", "run", "--http-port=1", "--allow-open"],
        ["--asr-port=3", "run", "--http-port=1", "--asr-port=2", "--allow-open"],
    ],
)
def test_flags_of_the_server_stand_before_and_after_run(arguments):
    chosen, namespace = from_command_line(arguments, parser())
    assert (chosen.http_port, chosen.asr_port, chosen.allow_open) == (1, 2, True)
    assert namespace.command in (None, "run")


def test_engine_options():
    assert engine_options("beam_size=5, x=1.5,y=true,z=word") == {
        "beam_size": 5,
        "x": 1.5,
        "y": True,
        "z": "word",
    }
    with pytest.raises(SettingsError, match="name=value"):
        engine_options("beam")


def test_an_env_file_is_read(tmp_path):
    (tmp_path / ".env").write_text('# note\nLLM_MODEL="a b"\nASR_PORT=7000\n')
    settings = build({}, {}, read_env_file(tmp_path / ".env"))
    assert settings.llm_model == "a b" and settings.asr_port == 7000
    assert read_env_file(tmp_path / "none") == {}


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "main.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_help_names_every_command_and_loads_no_model_library():
    done = run("--help")
    assert done.returncode == 0
    flags = ("--asr-model", "OLLAMA_URL", "8000")
    for word in ("talk", "models", "doctor", *flags):
        assert word in done.stdout
    of_run = run("run", "--help").stdout.split()
    assert all(word in " ".join(of_run) for word in flags)
    probe = (
        "import sys, main; main.parser(); print([m for m in ('numpy', 'onnxruntime', "
        "'ctranslate2', 'fastapi') if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, timeout=60
        ).stdout.strip()
        == "[]"
    )


@pytest.mark.parametrize(
    "arguments", [("--asr-device=tpu",), ("--http-port=x",), ("--asr-option=x",)]
)
def test_the_command_line_refuses_in_one_line(arguments):
    done = run(*arguments)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_a_missing_model_is_told_with_what_is_known(tmp_path):
    done = run(
        "--asr-model=whisper-bass",
        "--asr-port=0",
        "--tts-port=0",
        "--http-port=0",
        f"--model-cache-dir={tmp_path}",
    )
    assert (
        done.returncode == 1
        and "whisper-bass" in done.stderr
        and "whisper-base" in done.stderr
        and "Traceback" not in done.stderr
    )
