"""The examples of deploy/ for several cells that no test runs, and the units for systemd: they say
the same as the one that tests/test_cells.py runs, and what their own programs check.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from running import ROOT

from whisperfusion.cli.arguments import parser
from whisperfusion.runtime.shutdown import LAST_S
from whisperfusion.settings import from_command_line

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
CELLS = {(f"10.0.0.1{number}", port) for number in (1, 2) for port in (8000, 6006, 8888)}


def test_all_balancers_have_the_same_cells():
    for name in ("haproxy.cfg", "nginx-cells.conf"):
        text = (DEPLOY / name).read_text()
        found = {(host, int(port)) for host, port in re.findall(r"(10\.0\.0\.1\d):(\d+)", text)}
        assert found == CELLS, name


def test_envoy_hashes_calls_by_uid_and_asks_every_cell_whether_it_is_ready():
    text = (DEPLOY / "envoy.yaml").read_text()
    assert "<<" not in text  # Envoy's reader of YAML knows aliases, and no merge keys
    resources = yaml.safe_load(text)["static_resources"]
    clusters = {one["name"]: one for one in resources["clusters"]}
    found = set()
    for name, cluster in clusters.items():
        assert cluster["health_checks"][0]["http_health_check"] == {"path": "/ready"}
        assert cluster["load_assignment"]["cluster_name"] == name
        for group in cluster["load_assignment"]["endpoints"]:
            for one in group["lb_endpoints"]:
                at = one["endpoint"]["address"]["socket_address"]
                found.add((at["address"], at["port_value"]))
                checked = one["endpoint"].get("health_check_config", at)["port_value"]
                assert checked == 8000, name
    assert found == CELLS
    ports = {}
    for listener in resources["listeners"]:
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        assert manager["upgrade_configs"] == [{"upgrade_type": "websocket"}]
        (site,) = manager["route_config"]["virtual_hosts"]
        for route in site["routes"]:
            cluster = route["route"]["cluster"]
            hashed = [
                policy.get("query_parameter") for policy in route["route"].get("hash_policy", [])
            ]
            assert cluster in clusters
            assert (clusters[cluster]["lb_policy"] == "RING_HASH") == (
                hashed == [{"name": "uid"}, None]
            )
        ports[listener["address"]["socket_address"]["port_value"]] = len(site["routes"])
    assert set(ports) == {8000, 6006, 8888}


def test_nginx_accepts_its_example(tmp_path):
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    assert Path(program).exists(), "this test needs the Debian package nginx"
    example = DEPLOY / "nginx-cells.conf"
    whole = f"pid {tmp_path}/pid; error_log stderr; events {{}}\nhttp {{ access_log off;"
    whole += "".join(
        f" {name}_temp_path {tmp_path}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(f"{whole}\ninclude {example};\n}}\n")
    command = [program, "-t", "-e", "stderr", "-c", str(tmp_path / "nginx.conf")]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_accepts_the_units(unit, tmp_path):
    assert shutil.which("systemd-analyze"), "this test needs the Debian package systemd"
    text = unit.read_text().replace(
        "/opt/whisperfusion/.venv/bin/python main.py", shutil.which("true")
    )
    file = tmp_path / unit.name.replace("@", "@1")
    file.write_text(text)
    command = ["systemd-analyze", "verify", "--man=no", str(file)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    mine = [line for line in found.stderr.splitlines() if unit.name.split("@")[0] in line]
    assert found.returncode == 0 and not mine, found.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_leave_time_to_drain_and_signal_main_alone(unit):
    fields = dict(re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.M))
    (drain_s,) = set(re.findall(r"DRAIN_S=(\d+)", unit.read_text()))
    assert fields["KillMode"] == "mixed"
    assert float(fields["TimeoutStopSec"]) > float(drain_s) + LAST_S + 2
    assert "KillSignal" not in fields  # SIGTERM, which drains
    flags = fields["ExecStart"].replace("%i", "1").split("main.py", 1)[1].split()
    from_command_line(flags, parser())  # every flag is one


def test_the_ports_of_cells_on_one_host_are_valid_for_all_nine():
    template = (DEPLOY / "systemd" / "whisperfusion@.service").read_text()
    ports = re.findall(r"-port=(\d+)%i", template)
    every = [int(f"{port}{cell}") for port in ports for cell in range(1, 10)]
    assert len(every) == len(set(every)) == 27 and max(every) < 2**16
