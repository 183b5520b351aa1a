{{/* Values that the schema cannot judge, because they contradict each other. */}}
{{- define "wf.checks" -}}
{{- $v := .Values -}}
{{- $many := include "wf.many" . -}}
{{- $store := or (include "wf.ownRedis" .) $v.redis.url (include "wf.redisURLSecret" .) -}}
{{- if and $many (not $store) -}}
{{- fail "several cells (cells.replicas or autoscaling) without a shared store: a call could not go on at another cell. Set redis.enabled=true, redis.url, or redis.existingSecret with a STORE_URL" -}}
{{- end -}}
{{- if and $many (eq $v.cells.models.volume "claim") (eq $v.cells.models.accessMode "ReadWriteOnce") -}}
{{- fail "cells.models.volume=claim with accessMode=ReadWriteOnce fits one cell: set accessMode=ReadWriteMany (the storage class has to offer it) or volume=emptyDir" -}}
{{- end -}}
{{- if and (ne $v.autoscaling.kind "none") (gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas)) -}}
{{- fail (printf "autoscaling.minReplicas=%d is above autoscaling.maxReplicas=%d" (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas)) -}}
{{- end -}}
{{- $cells := int (ternary $v.cells.replicas $v.autoscaling.maxReplicas (eq $v.autoscaling.kind "none")) -}}
{{- if and $v.balancer.enabled (lt (int $v.balancer.slots) (add $cells 2)) -}}
{{- fail (printf "balancer.slots=%d has no room for %d cells and two that are being replaced: set it to %d or more" (int $v.balancer.slots) $cells (add $cells 2)) -}}
{{- end -}}
{{- if and $v.auth.open (or $v.auth.existingSecret $v.auth.sharedSecret) -}}
{{- fail "auth.open=true and a key contradict each other: set one of auth.open, auth.existingSecret, auth.sharedSecret" -}}
{{- end -}}
{{- if and $v.monitoring.podMonitor $v.auth.open $v.monitoring.keySecret.name -}}
{{- fail "monitoring.keySecret is not used with auth.open=true: remove one" -}}
{{- end -}}
{{- if and $v.gateway.enabled (not $v.balancer.enabled) -}}
{{- fail "gateway.enabled=true needs balancer.enabled=true: without it all calls of a gateway would reach one cell" -}}
{{- end -}}
{{- if and (hasKey $v.secretSettings "LLM_KEYS") (ne $v.engines.mode "embedded") $v.engines.fallback -}}
{{- fail "secretSettings.LLM_KEYS and engines.mode=plain|ray with engines.fallback=true: the chart sets LLM_KEYS itself; set engines.fallback=false, or leave LLM_KEYS out" -}}
{{- end -}}
{{- range $stage := $v.engines.stages -}}
{{- $chain := printf "%s_CHAIN" (upper $stage) -}}
{{- if and (hasKey $v.settings $chain) (ne $v.engines.mode "embedded") -}}
{{- fail (printf "settings.%s and engines.mode=%s decide the same: take %s out of engines.stages, or remove the setting" $chain $v.engines.mode $stage) -}}
{{- end -}}
{{- end -}}
{{- if and $v.gatewayAPI.enabled (not $v.gatewayAPI.gateway.name) -}}
{{- fail "gatewayAPI.enabled=true needs gatewayAPI.gateway.name: the Gateway that the routes belong to" -}}
{{- end -}}
{{- end -}}
