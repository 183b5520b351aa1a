"""The alert rules: valid, tested by Prometheus's own tool, about metrics that the server has, and
each with a section of the runbook.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus import problems, promtool, uses
from prometheus_client.utils import floatToGoString
from running import ROOT

from whisperfusion.call.degradation import BOUNDS_S
from whisperfusion.engines.chain.links import named, parse
from whisperfusion.gateway.operations.metric_catalog import PREFIX

FOLDER = ROOT / "deploy" / "prometheus"
CASES = ("tests.yaml", "tests_days.yaml")
# served where a chain, an MCP server or tracing is configured
WHERE_CONFIGURED = {
    "asr_link_open",
    "llm_link_open",
    "tts_link_open",
    "mcp_server_up",
    "spans_dropped_total",
}


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    return [rule for group in read("alerts.yaml")["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def test_the_rules_are_valid():
    done = promtool("check", "rules", FOLDER / "alerts.yaml")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert f"{len(rules())} rules found" in done.stdout


def test_the_example_of_a_configuration_is_valid(tmp_path):
    for file in FOLDER.iterdir():
        shutil.copy(file, tmp_path)
    (tmp_path / "whisperfusion.key").write_text("s3")
    done = promtool("check", "config", tmp_path / "prometheus.yml")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


@pytest.mark.parametrize("name", CASES)
def test_the_rules_do_what_their_tests_say(name):
    done = promtool("test", "rules", FOLDER / name)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_notices_a_rule_that_does_something_else(tmp_path):
    """A bound that is moved makes a test of it fail, so the tests above can fail."""
    text = (FOLDER / "alerts.yaml").read_text().replace("seconds > 5\n", "seconds > 3\n")
    (tmp_path / "alerts.yaml").write_text(text)
    cases = read("tests.yaml")
    cases["tests"] = [one for one in cases["tests"] if one["name"] == "a long queue that moves"]
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(cases))
    done = promtool("test", "rules", tmp_path / "tests.yaml")
    assert done.returncode != 0 and "WhisperFusionQueueOld" in done.stdout + done.stderr


@pytest.mark.parametrize("name", CASES)
def test_groups_are_computed_in_their_order(name):
    """promtool's own order is random, and what is recorded later counts one step later."""
    groups = [group["name"] for group in read("alerts.yaml")["groups"]]
    assert read(name)["group_eval_order"] == groups


def test_each_alert_fires_in_one_test_and_stays_quiet_in_another():
    fired: dict[str, set[bool]] = {}
    severities: set[tuple[str, str]] = set()
    for case in (case for name in CASES for case in read(name)["tests"]):
        for check in case["alert_rule_test"]:
            fired.setdefault(check["alertname"], set()).add(bool(check["exp_alerts"]))
            for one in check["exp_alerts"]:
                severities.add((check["alertname"], one["exp_labels"]["severity"]))
    assert fired == {rule["alert"]: {True, False} for rule in alerts()}
    assert severities == {(rule["alert"], rule["labels"]["severity"]) for rule in alerts()}


def test_each_metric_of_a_rule_is_served_and_has_the_type_that_it_is_used_as():
    wrong = {rule["expr"]: found for rule in rules() if (found := problems(rule["expr"]))}
    assert wrong == {}


@pytest.mark.parametrize(
    "expression",
    [
        "rate(whisperfusion_load[5m])",
        "whisperfusion_user_turns_total > 3",
        "avg_over_time(whisperfusion_user_turns_total[5m])",
        "whisperfusion_never_heard_of",
        "increase(whisperfusion_turns_total[5m])",
        "rate(whisperfusion_time_to_first_audio_seconds[5m])",
    ],
)
def test_a_metric_that_is_used_wrongly_is_found(expression):
    assert problems(expression)


def test_the_links_of_a_cluster_have_the_names_that_their_alert_asks_for():
    address = "http://10.0.0.5:8100"
    chain = f"ray@{address}/asr, ray@{address}/asr?model=tiny, deepgram/nova-3, embedded"
    second = parse(f"ray@{address}/asr, ray@http://10.0.0.6:8100/asr", "ASR_CHAIN")
    names = [*named(parse(chain, "ASR_CHAIN")), *named(second)]
    (cluster,) = [rule for rule in alerts() if rule["alert"] == "WhisperFusionClusterUnreachable"]
    (others,) = [rule for rule in alerts() if rule["alert"] == "WhisperFusionLinkOpen"]
    patterns = set(re.findall(r'link=~"([^"]+)"', cluster["expr"]))
    assert patterns == set(re.findall(r'link!~"([^"]+)"', others["expr"]))
    (pattern,) = patterns
    assert [bool(re.fullmatch(pattern, name)) for name in names] == [
        *(True, True, False, False),
        *(True, True),
    ]


def test_recorded_names_that_are_used_are_recorded():
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    name = re.compile(r"\b\w+:whisperfusion_\w+:\w+")
    used = {found for rule in rules() for found in name.findall(rule["expr"])}
    assert used and used <= recorded
    assert all(not one.startswith("whisperfusion") for one in recorded)


def test_bounds_of_histograms_that_are_named_exist():
    """Where none has the name, an expression is empty, and its alert never fires."""
    named = {le for rule in rules() for le in re.findall(r'le="([^"]+)"', rule["expr"])}
    assert named and named <= {floatToGoString(bound) for bound in BOUNDS_S}


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_each_alert_says_what_it_is_and_where_to_read_on(rule):
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"] and rule["annotations"]["description"]
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.M)
    assert rule["alert"] in headings and anchor == rule["alert"].lower()


def test_the_runbook_has_no_alert_that_is_gone():
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert {rule["alert"] for rule in alerts()} == set(re.findall(r"WhisperFusion[A-Z]\w+", page))


def test_the_metrics_of_the_page_are_served():
    """Names in prose have no function; those in queries are used as their type."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert not [one for one in problems(page) if "is not served" in one]
    queries = re.findall(r"`([^`\n]*\(whisperfusion[^`\n]*)`", page)
    queries += [line for line in page.splitlines() if line.startswith(("(1 - sum", "sum(inc"))]
    assert len(queries) >= 7 and not [found for query in queries if (found := problems(query))]


def test_the_commands_of_the_page_are_understood():
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    commands = set(re.findall(r"python main\.py ([a-z]+)", page))
    assert {"doctor", "models", "sessions", "talk", "tools"} <= commands
    actions = {
        (one.split()[0], one.split()[1])
        for one in re.findall(r"python main\.py ((?:models|sessions) [a-z]+)", page)
    }
    assert actions
    for command in commands:
        offered = subprocess.run(
            [sys.executable, "main.py", command, "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert offered.returncode == 0, offered.stderr
        assert all(act in offered.stdout for owner, act in actions if owner == command)


def test_a_server_has_the_metrics_of_the_rules_and_promtool_can_read_them(scripted_server):
    def scraped() -> str:
        with urllib.request.urlopen(scripted_server.http_url + "/metrics", timeout=40) as answer:
            return str(answer.read().decode())

    scripted_server.wait_for(
        lambda: all(f'queue_jobs{{stage="{name}"}}' in scraped() for name in ("asr", "llm", "tts"))
    )
    text = scraped()
    done = promtool("check", "metrics", text=text)
    assert (done.returncode, done.stderr) == (0, "")
    served = set(re.findall(rf"^{PREFIX}(\w+)", text, re.M))
    named = {name for rule in rules() for _, name in uses(rule["expr"])}
    assert named - served <= WHERE_CONFIGURED


def test_files_of_this_folder_are_the_ones_that_are_tested():
    assert {path.name for path in Path(FOLDER).iterdir()} == {
        "alerts.yaml",
        "cells.yaml",
        "prometheus.yml",
        *CASES,
    }
