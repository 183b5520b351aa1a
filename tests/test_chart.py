"""The Helm chart: Helm's own lint, the manifests in the repository, the API's schemas, and the
values that are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_objects import ALL, objects, of_kind, one, pods
from running import ROOT

from whisperfusion import __version__
from whisperfusion.engines.chain.links import parse
from whisperfusion.settings import Settings, build, check_access

# Wheels are there for x86-64 Linux, macOS and Windows.
helm_python = pytest.importorskip("helm_python")
kubernetes_validate = pytest.importorskip("kubernetes_validate")

from deploy.helm import render, values_schema  # noqa: E402 - after the check above

# The newest that the package has, and two older ones.
VERSIONS = ("1.33", "1.35", "1.37")
# Kinds of operators, which the API itself does not know: every field that the chart sets is checked
# against these lists, read off the types of KubeRay 1.x, KEDA 2.x, prometheus-operator 0.9x,
# Gateway API 1.x and Envoy Gateway 1.x.
CUSTOM = {
    "RayService": "serveConfigV2 rayClusterConfig",
    "ScaledObject": "scaleTargetRef minReplicaCount maxReplicaCount pollingInterval fallback"
    " advanced triggers",
    "PodMonitor": "jobLabel selector podMetricsEndpoints",
    "PrometheusRule": "groups",
    "HTTPRoute": "parentRefs hostnames rules",
    "BackendTrafficPolicy": "targetRefs loadBalancer",
}
RAY_CLUSTER = "rayVersion enableInTreeAutoscaling autoscalerOptions headGroupSpec workerGroupSpecs"
RAY_GROUP = "groupName replicas minReplicas maxReplicas rayStartParams template"


SECRETS = {"STORE_URL": "redis://elsewhere:6379/0"}  # what a Secret of the operator might hold


@pytest.fixture(scope="module")
def chart() -> Any:
    with helm_python.Chart.load(render.CHART) as loaded:
        yield loaded


# --- lint and schemas ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_helm_lint_finds_nothing(name: str) -> None:
    values = render.values_of(name)
    report = helm_python.lint(render.CHART, values, strict=True, kube_version="v1.33.0")
    found = [m for m in report["messages"] if m["severity"] > 1]  # 1: an icon is recommended
    assert not found and not report["errors"], report


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ALL)
def test_every_object_fits_the_strict_schema_of_the_api(name: str, version: str) -> None:
    unknown = set()
    for item in objects(name):
        try:
            assert kubernetes_validate.validate(item, version, strict=True) == version
        except kubernetes_validate.SchemaNotFoundError:
            unknown.add(item["kind"])
        except kubernetes_validate.ValidationError as error:
            where = ".".join(map(str, error.path))
            pytest.fail(f"{item['kind']} {item['metadata']['name']}: {where}: {error.message}")
    assert unknown <= set(CUSTOM), f"kinds that no schema knows: {unknown - set(CUSTOM)}"


def test_the_schemas_refuse_what_is_wrong() -> None:
    deployment = one(objects("cells"), "Deployment", "whisperfusion-cells")
    for wrong in ({"replica": 3}, {"replicas": "three"}, {"selector": "app=x"}):
        item = {**deployment, "spec": {**deployment["spec"], **wrong}}
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(item, VERSIONS[-1], strict=True)


def test_custom_resources_have_known_fields_only() -> None:
    seen = set()
    for name in ALL:
        for item in of_kind(objects(name), *CUSTOM):
            seen.add(item["kind"])
            assert set(item["spec"]) <= set(CUSTOM[item["kind"]].split()), item["metadata"]
    assert seen == set(CUSTOM)


def test_the_ray_service_has_valid_pods_and_fields() -> None:
    """Its pod templates are the API's own, so these are validated as Deployments'."""
    (service,) = of_kind(objects("ray"), "RayService")
    cluster = service["spec"]["rayClusterConfig"]
    assert set(cluster) <= set(RAY_CLUSTER.split())
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        assert set(group) <= set(RAY_GROUP.split())
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "ray"},
            "spec": {"selector": {"matchLabels": {}}, "template": group["template"]},
        }
        for version in VERSIONS:
            kubernetes_validate.validate(deployment, version, strict=True)
    text = service["spec"]["serveConfigV2"]
    assert yaml.safe_load(text) == yaml.safe_load(
        (ROOT / "cluster/cluster.yaml").read_text(encoding="utf-8")
    )


# --- files of the repository --------------------------------------------------------------------


@pytest.mark.parametrize("name", render.VARIANTS)
def test_the_manifests_are_what_the_chart_renders(name: str) -> None:
    written = (render.MANIFESTS / f"{name}.yaml").read_text(encoding="utf-8")
    assert written == render.manifest(name), "the chart has changed: run `make charts`"


def test_the_schema_of_the_values_is_current() -> None:
    written = (render.CHART / render.SCHEMA).read_text(encoding="utf-8")
    assert written == render.schema(), "values or settings have changed: run `make charts`"


def test_rules_and_dashboard_of_the_chart_are_those_of_the_repository() -> None:
    (rules,) = of_kind(objects("options"), "PrometheusRule")
    alerts = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text(encoding="utf-8"))
    assert rules["spec"] == alerts
    dashboard = one(objects("options"), "ConfigMap", "whisperfusion-dashboard")
    text = (ROOT / "deploy/grafana/whisperfusion.json").read_text(encoding="utf-8")
    assert json.loads(dashboard["data"]["whisperfusion.json"]) == json.loads(text)


def test_chart_and_server_have_one_version(chart: Any) -> None:
    assert chart.metadata["appVersion"] == __version__


def test_every_value_is_used_in_a_template() -> None:
    """A value that no template reads would be accepted and do nothing."""
    text = "\n".join(
        path.read_text(encoding="utf-8")
        for path in sorted((render.CHART / "templates").rglob("*.*"))
    )

    def leaves(prefix: str, values: dict[str, Any]) -> list[str]:
        found = []
        for name, value in values.items():
            inner = isinstance(value, dict) and value and name != "resources"
            found += leaves(name, value) if inner else [name]
        return found

    values = yaml.safe_load((render.CHART / "values.yaml").read_text(encoding="utf-8"))
    unused = [name for name in leaves("", values) if not re.search(rf"[.\"]{name}\b", text)]
    assert not unused


# --- values -------------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"cells": {"form": "gpu"}}, "value must be one of 'cpu', 'cuda'"),
    ({"cells": {"replicas": 0}}, "/cells/replicas"),
    ({"cells": {"drainSeconds": "300"}}, "/cells/drainSeconds"),
    ({"cells": {"resources": {"limits": {"cpu": "lots"}}}}, "/cells/resources"),
    ({"cell": {}}, "additional properties 'cell' not allowed"),
    ({"settings": {"ASR_LANGAGE": "en"}}, "ASR_LANGAGE"),
    ({"settings": {"GROQ_API_KEY": "gsk"}}, "GROQ_API_KEY"),
    ({"settings": {"STORE_URL": "none"}}, "STORE_URL"),
    ({"secretSettings": {"GROQ_API_KEY": {"name": "a"}}}, "missing property 'key'"),
    ({"redis": {"url": "redis://:password@host"}}, "/redis/url"),
    ({"engines": {"mode": "remote"}}, "'embedded', 'plain', 'ray'"),
    ({"engines": {"stages": ["asr", "vad"]}}, "/engines/stages/1"),
    ({"autoscaling": {"kind": "vpa"}}, "'none', 'hpa', 'keda'"),
    ({"autoscaling": {"targetLoad": "1.5"}}, "/autoscaling/targetLoad"),
    ({"cells": {"replicas": 2}, "redis": {"enabled": False}}, "without a shared store"),
    ({"cells": {"replicas": 2, "models": {"volume": "claim"}}}, "accessMode=ReadWriteMany"),
    ({"cells": {"replicas": 30}}, "balancer.slots=20 has no room for 30 cells"),
    ({"autoscaling": {"kind": "hpa", "minReplicas": 20}}, "is above autoscaling.maxReplicas"),
    ({"auth": {"open": True, "existingSecret": "x"}}, "contradict each other"),
    ({"gatewayAPI": {"enabled": True}}, "gatewayAPI.gateway.name"),
]


@pytest.mark.parametrize("values, message", REFUSED, ids=lambda v: str(v)[:50])
def test_wrong_values_are_refused_with_their_reason(
    chart: Any, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(helm_python.HelmError) as refused:
        chart.render(values, name="w", namespace="n")
    assert message in str(refused.value)


def environment(container: Any) -> dict[str, str]:
    """As the kubelet sets it: Secrets are read, and `$(NAME)` is what stands before."""
    found: dict[str, str] = {}
    for entry in container.get("env", []):
        assert entry["name"] not in found, "one of two values would be ignored"
        text = entry.get("value", SECRETS.get(entry["name"], "s3cret"))
        found[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda m: found[m[1]], text)
    return found


@pytest.mark.parametrize("name", ALL)
def test_the_server_accepts_the_variables_of_the_pods(name: str) -> None:
    """Each is a setting, or a part of one; a name that is wrong would do nothing."""
    known = {spec.name.upper() for spec in fields(Settings)}
    own = {"REDIS_PASSWORD", "ENGINE_KEY"}  # parts of others; the second also of cluster/
    for pod in pods(objects(name)):
        if pod.component not in ("cells", "gateway", "asr", "llm", "tts"):
            continue
        for container in pod.containers:
            found = environment(container)
            assert set(found) - own <= known, set(found) - own - known
            settings = build({}, found, {})
            if pod.component in ("cells", "gateway"):
                check_access(replace(settings, host="0.0.0.0"))
            for stage in ("asr", "llm", "tts"):
                text = found.get(f"{stage.upper()}_CHAIN", "embedded")
                links = parse(text, f"{stage.upper()}_CHAIN", voices=stage == "tts")
                assert links[-1].provider == "embedded"
    assert known >= values_schema.CHART


def test_engines_are_reached_by_the_names_and_ports_of_their_services() -> None:
    """Plain ones at the root of their own Service, Ray's behind the Service that KubeRay makes, by
    the paths of cluster.yaml.
    """
    plain = objects("plain-engines")
    for pod in pods(plain):
        if pod.component == "cells":
            for url in re.findall(r"http://([\w-]+):(\d+)\?", str(environment(pod.containers[-1]))):
                service = one(plain, "Service", url[0])
                assert int(url[1]) in [port["port"] for port in service["spec"]["ports"]]
    (service,) = of_kind(objects("ray"), "RayService")
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    paths = {application["route_prefix"] for application in config["applications"]}
    (cells,) = [pod for pod in pods(objects("ray")) if pod.component == "cells"]
    urls = re.findall(r"ray@http://([\w-]+):(\d+)(/\w+)", str(environment(cells.containers[-1])))
    assert {path for _, _, path in urls} == {"/asr", "/llm", "/tts"} <= paths
    assert {name for name, _, _ in urls} == {f"{service['metadata']['name']}-serve-svc"}
    ports = {p["name"]: p["containerPort"] for p in next(ray_containers())["ports"]}
    assert {int(port) for _, port, _ in urls} == {ports["serve"], config["http_options"]["port"]}


def ray_containers() -> Iterator[Any]:
    for pod in pods(objects("ray")):
        if pod.by_ray:
            yield from pod.containers


def test_secrets_are_generated_once_and_never_written_to_manifests(chart: Any) -> None:
    """Two renderings have two keys; the manifests of the repository name a Secret instead."""
    first, second = (
        chart.render({}, name="w", namespace="n")["whisperfusion/templates/secrets.yaml"]
        for _ in range(2)
    )
    keys = re.findall(r"(\w+): ([A-Za-z0-9+/=]{40,})", first)
    assert [name for name, _ in keys] == ["SHARED_SECRET", "REDIS_PASSWORD"]
    assert not {value for _, value in keys} & set(re.findall(r"[A-Za-z0-9+/=]{40,}", second))
    for path in sorted(Path(render.MANIFESTS).glob("*.yaml")):
        assert not re.search(r"^kind: Secret$", path.read_text(encoding="utf-8"), re.MULTILINE)


def test_a_release_of_any_name_installs_beside_another(chart: Any) -> None:
    texts = chart.render({}, name="voice", namespace="n")
    names = {
        f"{item['kind']} {item['metadata']['name']}"
        for path, text in texts.items()
        if path.endswith(".yaml")
        for item in yaml.safe_load_all(text)
        if item
    }
    assert names and all(name.split()[1].startswith("voice-whisperfusion") for name in names)
    assert "voice-whisperfusion" in texts["whisperfusion/templates/NOTES.txt"]
