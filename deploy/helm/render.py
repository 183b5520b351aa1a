"""Writes what is made from the chart (`make charts`): the schema of its values, and its variants as
plain manifests in deploy/kubernetes/. The templates are rendered by Helm itself, as a library
(helm-python-sdk), so no program and no cluster is needed.

A chart reads files of its own folder only: `files/` has links to those that it takes from elsewhere
in the repository, which Helm follows, also when it packs the chart.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import helm_python
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from deploy.helm.values_schema import schema_of  # noqa: E402 - found by the line above

CHART = ROOT / "deploy/helm/whisperfusion"
MANIFESTS = ROOT / "deploy/kubernetes"
VARIANTS = ("small", "cells", "gpu", "ray", "plain-engines")
RELEASE = "whisperfusion"
SCHEMA = "values.schema.json"
# as `helm install` applies them: what others refer to comes first
ORDER = (
    "NetworkPolicy PodDisruptionBudget ServiceAccount Secret ConfigMap PersistentVolumeClaim"
    " Service Deployment StatefulSet HorizontalPodAutoscaler Ingress"
).split()
HEADER = """\
# The chart's variant `{name}` as plain manifests; deploy/kubernetes/README.md says how to apply it.
# Made by `make charts` from deploy/helm/whisperfusion/ci/{name}-values.yaml; do not edit it.
"""
# These name Helm as the owner of an object, which it is not of one that kubectl applies.
HELM_LABELS = re.compile(r"^ *(app\.kubernetes\.io/managed-by|helm\.sh/chart): .*\n", re.MULTILINE)


def values_of(name: str) -> dict[str, Any]:
    """The values of a variant, or of `options`, which the tests alone render."""
    text = (CHART / "ci" / f"{name}-values.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def documents(values: dict[str, Any], namespace: str = RELEASE) -> list[str]:
    """The manifests, one text each, in the order in which they are applied.

    Raises helm_python.HelmError for values that the schema or a template refuses.
    """
    with helm_python.Chart.load(CHART) as chart:
        rendered = chart.render(values, name=RELEASE, namespace=namespace)
    texts = [
        text.strip() + "\n"
        for path, content in sorted(rendered.items())
        if path.endswith(".yaml")
        for text in re.split(r"^---\n", content, flags=re.MULTILINE)
        if re.search(r"^kind:", text, re.MULTILINE)
    ]
    return sorted(texts, key=_position)


def _position(text: str) -> int:
    kind = re.search(r"^kind: (\w+)", text, re.MULTILINE)
    assert kind, text
    return ORDER.index(kind[1]) if kind[1] in ORDER else len(ORDER)


def manifest(name: str) -> str:
    """A variant as one file for `kubectl apply`."""
    return HEADER.format(name=name) + "".join(
        "---\n" + HELM_LABELS.sub("", text) for text in documents(values_of(name))
    )


def schema() -> str:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    return json.dumps(schema_of(values), indent=1) + "\n"


def main() -> None:
    (CHART / SCHEMA).write_text(schema(), encoding="utf-8")
    MANIFESTS.mkdir(exist_ok=True)
    for name in VARIANTS:
        (MANIFESTS / f"{name}.yaml").write_text(manifest(name), encoding="utf-8")


if __name__ == "__main__":
    main()
