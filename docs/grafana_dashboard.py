"""Writes deploy/grafana/whisperfusion.json: `make docs`.

The dashboard is committed, ready to be imported; tests/test_grafana.py fails when it is older than
this file. Panels are placed from left to right and from top to bottom in the 24 columns of
Grafana's grid. In an expression CELL stands for the labels of the cells that were chosen, STAGE for
those of the stages too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from docs.grafana_callers import LOAD, NOW, OBJECTIVES, PARTS, TURNS, VOICE_TO_VOICE  # noqa: E402
from docs.grafana_panels import Panel  # noqa: E402
from docs.grafana_processes import BEHIND, PROCESSES  # noqa: E402

FILE = ROOT / "deploy" / "grafana" / "whisperfusion.json"
COLUMNS = 24
SCHEMA = 39  # Grafana 10.4; later ones migrate it
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
LABELS = {
    "STAGE": 'job="whisperfusion", instance=~"$cell", stage=~"$stage"',
    "CELL": 'job="whisperfusion", instance=~"$cell"',
}
ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    ("Now", NOW),
    ("Latency", VOICE_TO_VOICE),
    ("Parts of a reply", PARTS),
    ("Traffic and errors: turns", TURNS),
    ("Saturation: load", LOAD),
    ("Processes", PROCESSES),
    ("What stands behind", BEHIND),
    ("Objectives", OBJECTIVES),
)
STATES = ((0, "red"), (1, "green"))  # of what is 1 when all is well
FAULTS = ((0, "green"), (1, "red"))


@dataclass
class Place:
    """Where the next panel goes."""

    x: int = 0
    y: int = 0
    height: int = 0

    def put(self, width: int, height: int) -> dict[str, int]:
        if self.x + width > COLUMNS:
            self.end_line()
        found = {"x": self.x, "y": self.y, "w": width, "h": height}
        self.x, self.height = self.x + width, max(self.height, height)
        return found

    def end_line(self) -> None:
        self.x, self.y, self.height = 0, self.y + self.height, 0


def dashboard() -> dict[str, Any]:
    """The model of the dashboard, as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    place = Place()
    for title, members in ROWS:
        place.end_line()
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "panels": [],
                "gridPos": place.put(COLUMNS, 1),
            }
        )
        for member in members:
            panels.append(panel(member, len(panels) + 1, place.put(member.width, member.height)))
    return {
        "uid": "whisperfusion",
        "title": "WhisperFusion",
        "description": "Calls, latencies, load and processes of the cells. docs/operations.md",
        "tags": ["whisperfusion"],
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "schemaVersion": SCHEMA,
        "links": [link("Runbook", "${runbook}")],
        "annotations": {"list": [restarts()]},
        "templating": {"list": variables()},
        "panels": panels,
    }


def panel(member: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    model: dict[str, Any] = {
        "id": number,
        "type": member.kind,
        "title": member.title,
        "description": member.description,
        "gridPos": place,
        "datasource": DATASOURCE,
        "targets": [target(member, *query) for query in enumerate(member.queries)],
        "fieldConfig": {"defaults": defaults(member), "overrides": []},
        "options": OPTIONS[member.kind],
    }
    if member.alert:
        anchor = member.alert.lower()
        model["links"] = [link(member.alert, f"${{runbook}}#{anchor}")]
    return model


def target(member: Panel, at: int, query: tuple[str, str]) -> dict[str, Any]:
    expression, legend = query
    for word, labels in LABELS.items():
        expression = expression.replace(word, labels)
    shape = {"format": "heatmap"} if member.kind == "heatmap" else {}
    instant = {"instant": True, "range": False} if member.kind == "stat" else {"range": True}
    return {
        "refId": chr(ord("A") + at),
        "datasource": DATASOURCE,
        "expr": expression,
        "legendFormat": legend,
        **shape,
        **instant,
    }


def defaults(member: Panel) -> dict[str, Any]:
    found: dict[str, Any] = {"unit": member.unit, "thresholds": steps(member.limits)}
    if member.kind == "timeseries":
        style = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never"}
        lines = {"thresholdsStyle": {"mode": "line"}} if member.limits else {}
        found |= {"min": 0, "custom": style | lines}
    if member.kind == "state-timeline":
        found |= {"color": {"mode": "thresholds"}, "custom": {"fillOpacity": 70, "lineWidth": 0}}
        found["thresholds"] = steps(STATES if member.unit == "bool_yes_no" else FAULTS)
    return found


def steps(limits: tuple[tuple[float, str], ...]) -> dict[str, Any]:
    first = {"color": "green", "value": None}
    rest = [{"color": color, "value": value} for value, color in limits]
    return {"mode": "absolute", "steps": [first, *rest]}


def link(title: str, url: str) -> dict[str, Any]:
    return {"title": title, "type": "link", "url": url, "targetBlank": True}


def restarts() -> dict[str, Any]:
    """A mark on every panel where a process was started anew."""
    return {
        "name": "Restarts",
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": f"changes(whisperfusion_stage_restarts{{{LABELS['STAGE']}}}[1m]) > 0",
        "step": "30s",
        "titleFormat": "Restart",
        "textFormat": "{{stage}} of {{instance}}",
    }


def variables() -> list[dict[str, Any]]:
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
        query_variable("cell", "Cell", 'whisperfusion_build_info{job="whisperfusion"}', "instance"),
        query_variable("stage", "Stage", f"whisperfusion_stage_up{{{LABELS['CELL']}}}", "stage"),
        {
            "name": "runbook",
            "label": "Runbook",
            "type": "textbox",
            "query": "docs/operations.md",
            "description": "The address of docs/operations.md, for links to it",
        },
    ]


def query_variable(name: str, title: str, series: str, label: str) -> dict[str, Any]:
    """All values of a label; all are chosen at first."""
    query = f"label_values({series}, {label})"
    return {
        "name": name,
        "label": title,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,  # when the span of time changes
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _bottom_legend(*calculations: str) -> dict[str, Any]:
    return {
        "calcs": list(calculations),
        "displayMode": "list",
        "placement": "bottom",
        "showLegend": True,
    }


OPTIONS: dict[str, dict[str, Any]] = {
    "timeseries": {
        "legend": _bottom_legend("lastNotNull"),
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": {"calcs": ["lastNotNull"], "values": False, "fields": ""},
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
    },
    "state-timeline": {
        "legend": {**_bottom_legend(), "showLegend": False},
        "tooltip": {"mode": "single", "sort": "none"},
        "mergeValues": True,
        "showValue": "never",
        "rowHeight": 0.8,
        "alignValue": "left",
    },
    "heatmap": {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Blues", "steps": 64, "exponent": 0.5},
        "yAxis": {"unit": "s", "axisPlacement": "left"},
        "rowsFrame": {"layout": "auto"},
        "legend": {"show": True},
        "tooltip": {"mode": "single", "yHistogram": True},
        "showValue": "never",
    },
}


def text() -> str:
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


def expressions() -> Iterator[str]:
    """All of it that Prometheus is asked."""
    yield restarts()["expr"]
    for one in dashboard()["panels"]:
        yield from (each["expr"] for each in one.get("targets", ()))


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text(), encoding="utf-8")
