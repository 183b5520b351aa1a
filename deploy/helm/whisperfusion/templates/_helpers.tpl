{{/* Names, labels, and what several pods share. */}}

{{- define "wf.name" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* (list context component) */}}
{{- define "wf.selector" -}}
app.kubernetes.io/name: {{ default (index . 0).Chart.Name (index . 0).Values.nameOverride }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "wf.labels" -}}
{{ include "wf.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version }}
{{- end -}}

{{/* Several cells: sessions have to be in Redis, and what a cell keeps for itself is its own. */}}
{{- define "wf.many" -}}
{{- if or (gt (int .Values.cells.replicas) 1) (ne .Values.autoscaling.kind "none") }}true{{ end -}}
{{- end -}}

{{- define "wf.ownRedis" -}}
{{- if and .Values.redis.enabled (not .Values.redis.url) (not (include "wf.redisURLSecret" .)) }}true{{ end -}}
{{- end -}}

{{/* With the chart's own Redis switched off, `existingSecret` holds a whole URL. */}}
{{- define "wf.redisURLSecret" -}}
{{- if and (not .Values.redis.enabled) .Values.redis.existingSecret }}{{ .Values.redis.existingSecret }}{{ end -}}
{{- end -}}

{{- define "wf.keySecret" -}}
{{ .Values.auth.existingSecret | default (include "wf.name" .) }}
{{- end -}}

{{- define "wf.redisSecret" -}}
{{ .Values.redis.existingSecret | default (printf "%s-redis" (include "wf.name" .)) }}
{{- end -}}

{{- define "wf.cellImage" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Values.cells.form }}
{{- end -}}

{{/* A pod: no root, no token of the API, no variables of other Services, which the server would
read as its settings (a Service `asr` would set ASR_PORT). (list context uid gid) */}}
{{- define "wf.pod" -}}
serviceAccountName: {{ include "wf.name" (index . 0) }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with (index . 0).Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{ include "wf.user" (list (index . 1) (index . 2)) }}
{{- end -}}

{{- define "wf.user" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ index . 0 }}
  runAsGroup: {{ index . 1 }}
  fsGroup: {{ index . 1 }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "wf.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{/* (dict "nodeSelector" .. "tolerations" .. ), where they are set */}}
{{- define "wf.placement" -}}
{{- range $key, $value := . }}
{{- with $value }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Replicas on different nodes and zones where that is possible. (list context component) */}}
{{- define "wf.spread" -}}
topologySpreadConstraints:
  {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "wf.selector" $ | nindent 8 }}
  {{- end }}
{{- end -}}

{{/* Resources with GPUs. (list resources gpus) */}}
{{- define "wf.resources" -}}
{{- $resources := deepCopy (index . 0) -}}
{{- if index . 1 -}}
{{- $_ := set $resources.limits "nvidia.com/gpu" (index . 1) -}}
{{- end -}}
{{ toYaml $resources }}
{{- end -}}
