"""The chart's manifests as objects, and what a cluster would make of them: the pods of every
workload, what a selector selects, and which connections the network policies let through.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml

from deploy.helm import render

# the last two switch on what the variants leave off
ALL = (*render.VARIANTS, "options", "gateway")
NAMESPACE = "whisperfusion"
Object = Mapping[str, Any]


@lru_cache
def objects(name: str) -> tuple[dict[str, Any], ...]:
    """Of a variant, as Helm would install them."""
    return tuple(yaml.safe_load(text) for text in render.documents(render.values_of(name)))


def of_kind(found: Iterable[Object], *kinds: str) -> list[Object]:
    return [item for item in found if item["kind"] in kinds]


def one(found: Iterable[Object], kind: str, name: str) -> Object:
    (item,) = [i for i in of_kind(found, kind) if i["metadata"]["name"] == name]
    return item


@dataclass(frozen=True)
class Pod:
    """The template of a workload: `owner` is its name, `kind` the workload's."""

    kind: str
    owner: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def component(self) -> str:
        return self.labels["app.kubernetes.io/component"]

    @property
    def containers(self) -> list[Object]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def by_ray(self) -> bool:
        return self.kind == "RayService"


def pods(found: Iterable[Object]) -> Iterator[Pod]:
    for item in found:
        for suffix, template in _templates(item):
            labels = template["metadata"]["labels"]
            owner = item["metadata"]["name"] + suffix
            yield Pod(item["kind"], owner, labels, template["spec"])


def _templates(item: Object) -> Iterator[tuple[str, Object]]:
    match item["kind"]:
        case "Deployment" | "StatefulSet":
            yield "", item["spec"]["template"]
        case "RayService":
            ray = item["spec"]["rayClusterConfig"]
            yield "-head", ray["headGroupSpec"]["template"]
            for group in ray["workerGroupSpecs"]:
                yield f"-{group['groupName']}", group["template"]


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Of the form {matchLabels: ...}; an empty selector selects everything."""
    assert not set(selector) - {"matchLabels"}, "the evaluator knows matchLabels only"
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


# --- network policies ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Peer:
    """One end of a connection: a pod of a namespace, or an address outside of the cluster."""

    labels: Mapping[str, str]
    namespace: str = NAMESPACE
    address: str = ""


def connects(found: Iterable[Object], source: Peer, target: Peer, port: int) -> bool:
    """Whether the policies let `source` open a TCP connection to `port` of `target`."""
    policies = of_kind(found, "NetworkPolicy")
    return _allowed(policies, "Egress", source, target, port) and _allowed(
        policies, "Ingress", target, source, port
    )


def _allowed(policies: list[Object], way: str, of: Peer, other: Peer, port: int) -> bool:
    """Kubernetes' rule: a pod that no policy of this direction selects is open, else one rule of
    one policy has to fit.
    """
    if of.address or of.namespace != NAMESPACE:
        return True  # the policies are this namespace's
    selecting = [
        policy["spec"]
        for policy in policies
        if way in policy["spec"]["policyTypes"]
        and selects(policy["spec"]["podSelector"], of.labels)
    ]
    peers = "from" if way == "Ingress" else "to"
    return not selecting or any(
        _is_port(rule.get("ports"), port) and _is_peer(rule.get(peers), other)
        for spec in selecting
        for rule in spec.get(way.lower(), [])
    )


def _is_port(ports: list[Object] | None, port: int) -> bool:
    return not ports or any(
        entry.get("protocol", "TCP") == "TCP" and entry.get("port", port) == port for entry in ports
    )


def _is_peer(peers: list[Object] | None, other: Peer) -> bool:
    return not peers or any(_matches(entry, other) for entry in peers)


def _matches(entry: Object, other: Peer) -> bool:
    if block := entry.get("ipBlock"):
        return bool(other.address) and _in_block(block, other.address)
    if other.address:
        return False
    in_namespace = (
        selects(entry["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace})
        if "namespaceSelector" in entry
        else other.namespace == NAMESPACE
    )
    return in_namespace and selects(entry.get("podSelector", {}), other.labels)


def _in_block(block: Object, text: str) -> bool:
    address = ipaddress.ip_address(text)
    networks = [ipaddress.ip_network(cidr) for cidr in (block["cidr"], *block.get("except", []))]
    return address in networks[0] and not any(address in network for network in networks[1:])
