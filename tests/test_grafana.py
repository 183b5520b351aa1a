"""The Grafana dashboard: as it is written from the code, valid by Grafana's own types, and about
metrics that the server has.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
import yaml
from prometheus import problems, promtool
from running import ROOT

from docs import grafana_dashboard

BOARD: dict[str, Any] = json.loads(grafana_dashboard.FILE.read_text(encoding="utf-8"))
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = list(grafana_dashboard.expressions())
# of annotations by Prometheus: known to its data source, and not to the types for all of them
OF_PROMETHEUS = {"step", "titleFormat", "textFormat"}


def test_the_file_is_current():
    assert grafana_dashboard.FILE.read_text(encoding="utf-8") == grafana_dashboard.text(), (
        "run `make docs`"
    )


def test_each_panel_has_what_a_reader_needs():
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"]) > 40
    assert len({panel["title"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    for panel in PANELS:
        assert panel["description"].endswith((".", "?")), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        letters = [target["refId"] for target in panel["targets"]]
        assert letters and len(set(letters)) == len(letters), panel["title"]
        assert all(target["expr"] and target["legendFormat"] for target in panel["targets"])


def test_no_panel_lies_on_another_or_leaves_the_grid():
    def cells(place: dict[str, int]) -> set[tuple[int, int]]:
        columns = range(place["x"], place["x"] + place["w"])
        return {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}

    places = [(panel["title"], panel["gridPos"]) for panel in BOARD["panels"]]
    assert all(at["x"] >= 0 and at["x"] + at["w"] <= 24 for _, at in places)
    for (one, here), (other, there) in combinations(places, 2):
        assert not cells(here) & cells(there), (one, other)


def test_each_metric_is_served_and_has_the_type_that_it_is_used_as():
    assert len(EXPRESSIONS) > 70
    assert {one: found for one in EXPRESSIONS if (found := problems(one))} == {}


def test_recorded_names_are_recorded_by_the_rules():
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text(encoding="utf-8"))
    recorded = {rule.get("record") for group in rules["groups"] for rule in group["rules"]}
    used = set(re.findall(r"\w+:whisperfusion_\w+:\w+", "\n".join(EXPRESSIONS)))
    assert used and used <= recorded


def test_each_expression_can_be_read_by_prometheus(tmp_path):
    """As rules, since promtool reads those; what Grafana fills in has a value."""
    rules = []
    for number, expression in enumerate(EXPRESSIONS):
        filled = expression.replace("$__rate_interval", "5m")
        assert not set(re.findall(r"\$(\w+)", filled)) - {"cell", "stage"}, expression
        rules.append({"record": f"panel:{number}", "expr": filled})
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = promtool("check", "rules", file)
    assert done.returncode == 0, done.stderr


def test_all_that_is_chosen_above_is_used():
    names = {variable["name"] for variable in BOARD["templating"]["list"]}
    text = grafana_dashboard.text()
    assert names == {"datasource", "cell", "stage", "runbook"}
    assert all(f"${name}" in text or f"${{{name}}}" in text for name in names)


def test_links_lead_to_sections_of_the_runbook():
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    sections = {heading.lower() for heading in re.findall(r"^### (WhisperFusion\w+)$", page, re.M)}
    linked = {link["url"] for panel in PANELS for link in panel.get("links", ())}
    assert all(url.startswith("${runbook}#") for url in linked)
    # those whose panel is that of a neighbour, and the one about Prometheus itself
    found = {url.partition("#")[2] for url in linked}
    assert found <= sections
    elsewhere = {"absent", "celldown", "clusterunreachable", "sessionstoredown"}
    assert sections - found == {f"whisperfusion{name}" for name in elsewhere}


# --- Grafana's types ----------------------------------------------------------------------------


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Grafana's types need Python 3.11")
def test_grafana_knows_each_field_and_unit():
    """Read as its types and written again, nothing is gone."""
    from grafana_foundation_sdk.cog import plugins
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import dashboard, units

    plugins.register_default_plugins()
    read = dashboard.Dashboard.from_json(BOARD)
    lost = set(unknown(BOARD, json.loads(JSONEncoder().encode(read))))
    assert lost == {f".annotations.list[].{name}" for name in OF_PROMETHEUS}
    known = {value for name, value in vars(units).items() if isinstance(value, str)}
    assert {panel["fieldConfig"]["defaults"]["unit"] for panel in PANELS} <= known
    odd = json.loads(json.dumps(BOARD))
    odd["panels"][1]["options"]["graphMod"] = "none"
    again = dashboard.Dashboard.from_json(odd)
    assert ".panels[].options.graphMod" in set(
        unknown(odd, json.loads(JSONEncoder().encode(again)))
    )


def unknown(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """The paths of what is in `before` and not in `after`, or is another value there."""
    match before:
        case dict():
            for key, value in before.items():
                if value is not None and key not in after:
                    yield f"{path}.{key}"
                elif value is not None:
                    yield from unknown(value, after[key], f"{path}.{key}")
        case list():
            if len(before) != len(after):
                yield path
            for one, other in zip(before, after, strict=False):
                yield from unknown(one, other, f"{path}[]")
        case _ if before != after:
            yield path
