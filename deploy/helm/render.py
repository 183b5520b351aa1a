"""Writes what is made from the chart and for it (`make charts`): the schema of its values, the
files that it takes from elsewhere in the repository, and its variants as plain manifests in
deploy/kubernetes/. The templates are rendered by Helm itself, as a library (helm-python-sdk), so no
program and no cluster is needed.
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

from deploy.helm.values_schema import schema_of  # noqa: E402 - the folder is no package

CHART = ROOT / "deploy/helm/whisperfusion"
MANIFESTS = ROOT / "deploy/kubernetes"
VARIANTS = ("small", "cells", "gpu", "ray", "plain-engines")
RELEASE = "whisperfusion"
# A chart reads files of its own folder only: what it takes from elsewhere lies there as a copy.
COPIES = {
    "files/alerts.yaml": "deploy/prometheus/alerts.yaml",
    "files/whisperfusion.json": "deploy/grafana/whisperfusion.json",
    "files/cluster.yaml": "cluster/cluster.yaml",
}
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


def generated() -> dict[Path, str]:
    """Every file that is made here, with its content. The schema and the copies have to be in
    their places for the manifests, so those come last.
    """
    files = {
        CHART / copy: (ROOT / source).read_text(encoding="utf-8") for copy, source in COPIES.items()
    }
    return {CHART / "values.schema.json": schema(), **files}


def main() -> None:
    for path, content in generated().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    MANIFESTS.mkdir(exist_ok=True)
    for name in VARIANTS:
        (MANIFESTS / f"{name}.yaml").write_text(manifest(name), encoding="utf-8")


if __name__ == "__main__":
    main()
