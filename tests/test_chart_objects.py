"""What the chart's objects say of each other is true, and its pods have no more rights than they
need.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("helm_python")

from chart_objects import ALL, Object, Peer, Pod, connects, objects, of_kind, one, pods, selects

from deploy.helm import render

# Made by the operator who installs, as the documentation says.
EXTERNAL = {
    "Secret": {"whisperfusion", "providers", "elsewhere", "voice-tls"},
    "PersistentVolumeClaim": set(),
}
CELLS, BALANCER, GATEWAY, REDIS = "cells", "balancer", "gateway", "redis"
SOCKETS = (6006, 8888)
ENTRANCE = (8000, *SOCKETS)


def every_pod() -> Iterator[tuple[str, Pod]]:
    for name in ALL:
        for pod in pods(objects(name)):
            yield name, pod


def ports_of(pod: Pod) -> dict[str, int]:
    return {
        port["name"]: port["containerPort"]
        for container in pod.containers
        for port in container.get("ports", [])
    }


# --- references ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_services_select_pods_whose_ports_have_the_names(name: str) -> None:
    found = objects(name)
    for service in of_kind(found, "Service"):
        selected = [
            pod
            for pod in pods(found)
            if selects({"matchLabels": service["spec"]["selector"]}, pod.labels)
        ]
        assert len(selected) == 1, service["metadata"]["name"]
        for port in service["spec"]["ports"]:
            assert ports_of(selected[0])[port["targetPort"]] == port["port"]


@pytest.mark.parametrize("name", ALL)
def test_workloads_budgets_and_monitors_select_their_own_pods(name: str) -> None:
    found = objects(name)
    for item in of_kind(found, "Deployment", "StatefulSet"):
        assert selects(item["spec"]["selector"], item["spec"]["template"]["metadata"]["labels"])
    for item in of_kind(found, "PodDisruptionBudget", "PodMonitor", "NetworkPolicy"):
        selector = item["spec"].get("selector") or item["spec"]["podSelector"]
        selected = [pod for pod in pods(found) if selects(selector, pod.labels)]
        assert selected and selector, item["metadata"]
        for endpoint in item["spec"].get("podMetricsEndpoints", []):
            assert endpoint["port"] in ports_of(selected[0])
    for item in of_kind(found, "HorizontalPodAutoscaler", "ScaledObject"):
        target = one(found, "Deployment", item["spec"]["scaleTargetRef"]["name"])
        assert "replicas" not in target["spec"], "an upgrade would undo what was scaled"


def references(pod: Pod) -> Iterator[tuple[str, str]]:
    """(kind, name) of what a pod needs to start."""
    if "serviceAccountName" in pod.spec:
        yield "ServiceAccount", pod.spec["serviceAccountName"]
    for volume in pod.spec.get("volumes", []):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
    for container in pod.containers:
        for entry in container.get("env", []):
            source = entry.get("valueFrom", {})
            if "secretKeyRef" in source:
                yield "Secret", source["secretKeyRef"]["name"]


@pytest.mark.parametrize("name", ALL)
def test_what_pods_and_routes_refer_to_is_there(name: str) -> None:
    found = objects(name)
    here = {(item["kind"], item["metadata"]["name"]) for item in found}
    for pod in pods(found):
        for kind, reference in references(pod):
            assert (kind, reference) in here or reference in EXTERNAL.get(kind, set()), (
                f"{pod.owner} needs the {kind} {reference}"
            )
    for route in of_kind(found, "Ingress"):
        for rule in route["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                service = one(found, "Service", backend["name"])
                assert backend["port"]["name"] in [p["name"] for p in service["spec"]["ports"]]
    for route in of_kind(found, "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                service = one(found, "Service", backend["name"])
                assert backend["port"] in [p["port"] for p in service["spec"]["ports"]]


def test_volumes_that_are_mounted_exist() -> None:
    for _, pod in every_pod():
        volumes = {volume["name"] for volume in pod.spec.get("volumes", [])}
        claims = {"data"} if pod.kind == "StatefulSet" else set()
        mounted = {m["name"] for c in pod.containers for m in c.get("volumeMounts", [])}
        assert mounted <= volumes | claims and volumes <= mounted, pod.owner


# --- rights -------------------------------------------------------------------------------------


def test_no_container_is_root_or_may_become_it() -> None:
    for _, pod in every_pod():
        assert pod.spec["securityContext"]["runAsNonRoot"] is True
        assert pod.spec["securityContext"]["runAsUser"] > 0
        assert pod.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod.spec)
        assert pod.spec["enableServiceLinks"] is False
        for container in pod.containers:
            context = container["securityContext"]
            assert context == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, container["name"]
        for volume in pod.spec.get("volumes", []):
            assert "hostPath" not in volume


def test_no_pod_has_a_token_of_the_api_but_rays_autoscaler() -> None:
    tokens = {
        pod.owner
        for _, pod in every_pod()
        if pod.spec.get("automountServiceAccountToken") is not False
    }
    assert tokens == {"whisperfusion-engines-head"}
    for name in ALL:
        for account in of_kind(objects(name), "ServiceAccount"):
            assert account["automountServiceAccountToken"] is False
        assert not of_kind(objects(name), "Role", "ClusterRole", "RoleBinding")


def test_every_container_has_resources_and_probes() -> None:
    for _, pod in every_pod():
        for container in pod.containers:
            resources = container["resources"]
            for kind in ("requests", "limits"):
                assert {"cpu", "memory", "ephemeral-storage"} <= set(resources[kind]), pod.owner
        if not pod.by_ray:  # KubeRay adds those of its nodes
            for container in pod.spec["containers"]:
                for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                    assert probe in container, f"{pod.owner}: {probe}"
                    port = probe_port(container[probe])
                    assert port is None or port in ports_of(pod)


def probe_port(probe: Object) -> str | None:
    place: dict[str, Any] = probe.get("httpGet") or probe.get("tcpSocket") or {}
    return place.get("port")


def test_writable_folders_of_a_cell_are_volumes() -> None:
    """Everything that the server writes: models, state, temporary files of uploads."""
    for name in ALL:
        (pod,) = [pod for pod in pods(objects(name)) if pod.component == CELLS]
        for container in pod.containers:
            assert {"/data/models", "/tmp"} <= {m["mountPath"] for m in container["volumeMounts"]}


def test_cells_that_share_models_keep_their_state_apart() -> None:
    """A database of sessions, and voices that are being written, would have several writers."""
    (pod,) = [pod for pod in pods(objects("gpu")) if pod.component == CELLS]
    (state,) = [v for v in pod.spec["volumes"] if v["name"] == "state"]
    mounts = {m["name"]: m["mountPath"] for m in pod.containers[-1]["volumeMounts"]}
    assert "emptyDir" in state and mounts["state"] == "/data/models/state"


# --- life of a cell -----------------------------------------------------------------------------


def test_a_cell_has_the_time_to_drain() -> None:
    for name in ALL:
        (pod,) = [pod for pod in pods(objects(name)) if pod.component == CELLS]
        (cell,) = pod.spec["containers"]
        drain = next(float(e["value"]) for e in cell["env"] if e["name"] == "DRAIN_S")
        before = cell["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pod.spec["terminationGracePeriodSeconds"] >= before + drain + 15
        for balancer in (p for p in pods(objects(name)) if p.component == BALANCER):
            assert balancer.spec["terminationGracePeriodSeconds"] >= before + drain + 15


def test_a_probe_ends_neither_a_starting_nor_a_draining_nor_a_full_cell() -> None:
    for name in ALL:
        (pod,) = [pod for pod in pods(objects(name)) if pod.component == CELLS]
        (cell,) = pod.spec["containers"]
        assert set(cell["livenessProbe"]) >= {"tcpSocket"}, "it must not ask for readiness"
        start = cell["startupProbe"]
        assert start["periodSeconds"] * start["failureThreshold"] >= 1800
        behind_balancer = bool([p for p in pods(objects(name)) if p.component == BALANCER])
        path = cell["readinessProbe"]["httpGet"]["path"]
        assert path == ("/health" if behind_balancer else "/ready")


def test_alerts_know_the_cells_by_the_name_of_their_job() -> None:
    (monitor,) = of_kind(objects("options"), "PodMonitor")
    (pod,) = [pod for pod in pods(objects("options")) if pod.component == CELLS]
    assert pod.labels[monitor["spec"]["jobLabel"]] == "whisperfusion"
    (rules,) = of_kind(objects("options"), "PrometheusRule")
    assert 'job="whisperfusion"' in str(rules["spec"]["groups"])


def test_cells_are_added_soon_and_removed_slowly() -> None:
    (scaler,) = of_kind(objects("cells"), "HorizontalPodAutoscaler")
    (metric,) = scaler["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == "whisperfusion_load"
    down = scaler["spec"]["behavior"]["scaleDown"]
    assert down["stabilizationWindowSeconds"] >= 600
    assert down["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 300}]
    assert scaler["spec"]["behavior"]["scaleUp"]["stabilizationWindowSeconds"] == 0


# --- network ------------------------------------------------------------------------------------


def flows(name: str) -> tuple[set[tuple[str, str, int]], set[tuple[str, str, int]]]:
    """(connections that are needed, all that the policies let through) between the components."""
    found = objects(name)
    ends = {pod.component: Peer(pod.labels) for pod in pods(found)} | {
        "prometheus": Peer({}, "monitoring"),
        "stranger": Peer({"app": "other"}),
        "other-namespace": Peer({}, "default"),
        "ingress": Peer({}, "ingress-nginx"),
        "outside": Peer({}, address="203.0.113.7"),
        "metadata": Peer({}, address="169.254.169.254"),
        "node": Peer({}, address="10.1.2.3"),
    }
    listening = {pod.component: sorted(set(ports_of(pod).values())) for pod in pods(found)}
    tried = {**listening, "outside": [80, 443, 22, 25], "metadata": [80], "node": [443, 10250]}
    through = {
        (source, target, port)
        for source in ends
        for target, ports in tried.items()
        for port in ports
        if source != target and connects(found, ends[source], ends[target], port)
    }
    own = set(listening)
    return needed(own), {flow for flow in through if own & {flow[0], flow[1]}}


def needed(own: set[str]) -> set[tuple[str, str, int]]:
    entrance = BALANCER if BALANCER in own else CELLS
    callers = tuple("prometheus stranger other-namespace ingress outside metadata node".split())
    flows = {(source, entrance, port) for source in callers for port in ENTRANCE}
    flows |= {(CELLS, "outside", port) for port in (80, 443)}
    flows |= {("prometheus", CELLS, 8000)}
    if BALANCER in own:
        flows |= {(BALANCER, CELLS, port) for port in ENTRANCE} | {("prometheus", BALANCER, 8404)}
    if REDIS in own:
        flows |= {(CELLS, REDIS, 6379)}
    for stage in own & {"asr", "llm", "tts"}:
        flows |= {(CELLS, stage, 8100), (stage, "outside", 80), (stage, "outside", 443)}
    if "ray" in own:
        flows |= {(CELLS, "ray", 8100), ("ray", "outside", 80), ("ray", "outside", 443)}
        flows |= {("ray", "node", 443), ("prometheus", "ray", 8080)}
    if GATEWAY in own:
        flows -= {(source, BALANCER, port) for source in callers for port in ENTRANCE}
        flows |= {("ingress", end, port) for end, port in ((GATEWAY, 8000), (BALANCER, 8000))}
        flows |= {(source, BALANCER, port) for source in (GATEWAY, "ingress") for port in SOCKETS}
        flows |= {(GATEWAY, REDIS, 6379), ("prometheus", GATEWAY, 8000)}
    return flows


@pytest.mark.parametrize("name", [*render.VARIANTS, "gateway"])
def test_policies_let_needed_connections_through_and_no_other(name: str) -> None:
    wanted, through = flows(name)
    assert through == wanted, f"missing {wanted - through}, too many {through - wanted}"


def test_nodes_of_ray_talk_to_each_other_and_to_their_operator_only() -> None:
    found = objects("ray")
    ray = next(Peer(pod.labels) for pod in pods(found) if pod.by_ray)
    operator = Peer({}, "kuberay-operator")
    assert connects(found, ray, ray, 6379) and connects(found, ray, ray, 20000)
    assert connects(found, operator, ray, 8265) and not connects(found, operator, ray, 6379)
    for stranger in (Peer({}, "default"), Peer({"app": "other"})):
        for port in (6379, 8265, 10001, 52365):
            assert not connects(found, stranger, ray, port)


def test_without_policies_everything_is_open() -> None:
    """The evaluator itself: it has to find what a missing policy lets through."""
    cells = next(Peer(pod.labels) for pod in pods(objects("cells")) if pod.component == CELLS)
    stranger = Peer({"app": "other"})
    assert not connects(objects("cells"), stranger, cells, 8000)
    rest = [item for item in objects("cells") if item["kind"] != "NetworkPolicy"]
    assert connects(rest, stranger, cells, 8000)
