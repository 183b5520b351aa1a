"""`main.py tools` and what `doctor` says of tools."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from running import ROOT

from whisperfusion.cli import tools as command
from whisperfusion.cli.arguments import parser
from whisperfusion.cli.doctor.tools import check_tools
from whisperfusion.errors import SettingsError
from whisperfusion.settings import Settings, build

MCP_SERVER = str(Path(__file__).with_name("mcp_server.py"))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tools.toml"
    path.write_text(f"""
        [servers.home]
        command = ["{sys.executable}", "{MCP_SERVER}"]
        [servers.gone]
        command = ["/nonexistent"]
    """)
    return path


def run(*arguments: str, **settings) -> int:
    return command.run(parser().parse_args(["tools", *arguments]), Settings(**settings))


def test_all_tools_are_listed(file, capsys, monkeypatch):
    monkeypatch.setattr(command, "WAIT_S", 240.0)  # a busy machine may take long to start a server
    assert run(tools="time", tools_file=str(file)) == 0
    text = capsys.readouterr().out
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert lines["get_time"].endswith("on") and lines["calculate"].endswith("off")
    assert "asks first" in lines["home_switch"] and "home_add" in lines
    assert "MCP server gone: is not reached" in text


def test_a_tool_is_tried(capsys):
    assert run("try", "calculate", '{"expression": "6*7"}', tools_file="") == 0
    assert capsys.readouterr().out.startswith("42\n")
    assert run("try", "calculate", '{"expression": "1/0"}', tools_file="") == 1
    assert "division by zero" in capsys.readouterr().err
    assert run("try", "calculate", "[]", tools_file="") == 1
    assert run("try", "nothing", tools_file="") == 1
    assert "get_time" in capsys.readouterr().err


def test_a_mistake_in_the_file_ends_the_start_with_words(tmp_path):
    file = tmp_path / "tools.toml"
    file.write_text('[servers.home]\nurl = "http://x"\nkey = "secret-1"')
    started = subprocess.run(
        [sys.executable, "main.py", f"--tools-file={file}", "--llm-engine=scripted"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "ASR_PORT": "0", "TTS_PORT": "0", "HTTP_PORT": "0"},
    )
    assert started.returncode != 0 and "servers.home.key: is not known" in started.stderr
    assert "secret-1" not in started.stderr


def test_doctor_knows_the_tools(file, tmp_path):
    def told(**settings) -> str:
        return json.dumps([one.text for one in check_tools(Settings(**settings))])

    assert "home, gone" in told(tools_file=str(file))
    assert "tavily" in told(tavily_api_key="x", tools_file="")
    assert "TOOLS=auto" in told(tools_file="") and "time, timers" in told(tools="time, timers")
    broken = tmp_path / "broken.toml"
    broken.write_text("[servers.home]")
    (finding,) = check_tools(Settings(tools_file=str(broken), tools="none"))
    assert finding.level == "bad" and "either command" in finding.text


@pytest.mark.parametrize(
    "wrong", [{"TOOLS": "clock"}, {"TOOLS": "auto, time"}, {"TOOLS_FILE": "/nonexistent.toml"}]
)
def test_settings_that_cannot_be(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        build({}, wrong, {})
