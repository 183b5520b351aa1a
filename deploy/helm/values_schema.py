"""The schema of the chart's values, made from values.yaml: what is there is allowed, with the type
of its default, and nothing else. `RULES` narrows single values; settings are those of the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from whisperfusion.settings import Settings

# Settings that the chart decides: ports and folders of the image, what its own values say.
CHART = frozenset(
    "ALLOW_OPEN ASR_PORT DRAIN_S ENGINES_DIR HTTPS HTTP_PORT MODEL_CACHE_DIR SHARED_SECRET"
    " STORE_URL TLS_CERT TLS_KEY TRUSTED_PROXIES TTS_PORT UPSTREAM_HOST".split()
)
QUANTITY = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|Ki|Mi|Gi|Ti|M|G|T)?$"}
NAME = {"type": "string", "pattern": r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$", "maxLength": 253}
TEXTS: dict[str, Any] = {"type": "object", "additionalProperties": {"type": "string"}}
OBJECT: dict[str, Any] = {"type": "object"}
OBJECTS: dict[str, Any] = {"type": "array", "items": {"type": "object"}}
COUNT = {"type": "integer", "minimum": 0, "maximum": 1000}
SOME = {**COUNT, "minimum": 1}
PERCENT = {**SOME, "maximum": 100}
RESOURCES: dict[str, Any] = {
    "type": "object",
    "properties": {
        kind: {
            "type": "object",
            "additionalProperties": {
                "anyOf": [QUANTITY, {"type": "number", "exclusiveMinimum": 0}]
            },
        }
        for kind in ("requests", "limits")
    },
    "additionalProperties": False,
    "required": ["requests", "limits"],
}


def choice(*values: str) -> dict[str, Any]:
    return {"enum": list(values)}


def setting_names() -> list[str]:
    """Names of the server's settings that the chart leaves to its user."""
    return sorted(spec.name.upper() for spec in fields(Settings) if spec.name.upper() not in CHART)


def is_secret(name: str) -> bool:
    return name.endswith(("_KEY", "_KEYS", "_SECRET"))


def setting_map(names: list[str], value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "propertyNames": {"enum": names},
        "additionalProperties": dict(value),
    }


def rules() -> dict[str, dict[str, Any]]:
    """By path, or by last name: what a value may be, where its default does not say it."""
    names = setting_names()
    scalar = {"type": ["string", "number", "boolean"]}
    reference = {
        "type": "object",
        "properties": {"name": {**NAME, "minLength": 1}, "key": {"type": "string", "minLength": 1}},
        "required": ["name", "key"],
        "additionalProperties": False,
    }
    open_names = [name for name in names if not is_secret(name)]
    return {
        "settings": setting_map(open_names, scalar),
        "secretSettings": setting_map(names, reference),
        "cells.form": choice("cpu", "cuda"),
        "cells.replicas": SOME,
        "cells.drainSeconds": {"type": "integer", "minimum": 0, "maximum": 86400},
        "cells.models.volume": choice("emptyDir", "claim"),
        "cells.models.accessMode": choice("ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"),
        "balancer.replicas": SOME,
        "gateway.replicas": SOME,
        "gateway.maxReplicas": SOME,
        "gateway.targetCPU": PERCENT,
        "balancer.slots": {"type": "integer", "minimum": 3, "maximum": 1000},
        "service.type": choice("ClusterIP", "LoadBalancer", "NodePort"),
        "service.externalTrafficPolicy": choice("Cluster", "Local"),
        "redis.url": {"type": "string", "pattern": "^(none|rediss?://[^@]+)?$"},
        "engines.mode": choice("embedded", "plain", "ray"),
        "engines.stages": {
            "type": "array",
            "items": choice("asr", "llm", "tts"),
            "uniqueItems": True,
            "minItems": 1,
        },
        "engines.ray.workers.replicas": SOME,
        "engines.ray.workers.maxReplicas": SOME,
        "autoscaling.kind": choice("none", "hpa", "keda"),
        "autoscaling.minReplicas": SOME,
        "autoscaling.maxReplicas": SOME,
        "autoscaling.targetLoad": {"type": "string", "pattern": r"^([1-9][0-9]{0,2}m|0\.[0-9]+)$"},
        "podDisruptionBudget.maxUnavailable": {
            "anyOf": [SOME, {"type": "string", "pattern": "^[0-9]+%$"}]
        },
        "image.pullSecrets": {"type": "array", "items": NAME},
        "gatewayAPI.hostnames": {"type": "array", "items": NAME},
    } | {
        f"engines.plain.{stage}.{name}": rule
        for stage in ("asr", "llm", "tts")
        for name, rule in {
            "replicas": SOME,
            "maxReplicas": SOME,
            "targetCPU": PERCENT,
            "settings": setting_map(open_names, scalar),
        }.items()
    }


BY_NAME: dict[str, dict[str, Any]] = {
    "resources": RESOURCES,
    "size": QUANTITY,
    "pullPolicy": choice("IfNotPresent", "Always", "Never"),
    "existingSecret": NAME,
    "existingClaim": NAME,
    "nodeSelector": TEXTS,
    "annotations": TEXTS,
    "podAnnotations": TEXTS,
    "labels": TEXTS,
    "tolerations": OBJECTS,
    "affinity": OBJECT,
    "callers": OBJECTS,
    "extraEgress": OBJECTS,
}


def schema_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema (draft 7, which every Helm reads) of values.yaml's content."""
    found = rules()
    schema = _described("", values, found)
    # Helm hands over what subcharts and parents share
    schema["properties"]["global"] = OBJECT
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart whisperfusion",
        **schema,
    }


def _described(path: str, value: Any, found: Mapping[str, Any]) -> dict[str, Any]:
    rule = found.get(path) or BY_NAME.get(path.rpartition(".")[2])
    if rule is not None:
        return dict(rule)
    match value:
        case bool():
            return {"type": "boolean"}
        case int():
            return dict(COUNT)
        case str():
            return {"type": "string"}
        case Mapping():
            properties = {
                name: _described(f"{path}.{name}".lstrip("."), inner, found)
                for name, inner in value.items()
            }
            return {"type": "object", "properties": properties, "additionalProperties": False}
        case _:
            raise TypeError(f"values.yaml: {path}={value!r} needs a rule in {__file__}")
