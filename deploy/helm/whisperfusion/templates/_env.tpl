{{/* Variables of cells and gateways. */}}
{{- define "wf.commonEnv" -}}
{{- range $name, $value := .Values.settings }}
- name: {{ $name }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- include "wf.secretEnv" . }}
{{- if .Values.auth.open }}
- name: ALLOW_OPEN
  value: "true"
{{- else }}
- name: SHARED_SECRET
  valueFrom:
    secretKeyRef: {name: {{ include "wf.keySecret" . }}, key: SHARED_SECRET}
{{- end }}
- name: DRAIN_S
  value: {{ .Values.cells.drainSeconds | quote }}
{{- if or .Values.balancer.enabled (include "wf.proxied" .) }}
- name: TRUSTED_PROXIES
  value: {{ .Values.cells.trustedProxies | quote }}
{{- end }}
{{- include "wf.storeEnv" . }}
{{- end -}}

{{- define "wf.cellEnv" -}}
{{- include "wf.commonEnv" . }}
{{- if ne .Values.engines.mode "embedded" }}
{{- include "wf.engineKey" . | nindent 0 }}
{{- if .Values.engines.fallback }}
- name: LLM_KEYS
  value: engine=$(ENGINE_KEY)
{{- end }}
{{- range .Values.engines.stages }}
{{- include "wf.engineEnv" (list $ .) }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Whether a proxy of the cluster is in front, which says where its clients are. */}}
{{- define "wf.proxied" -}}
{{- if or .Values.ingress.enabled .Values.gatewayAPI.enabled .Values.gateway.enabled }}true{{ end -}}
{{- end -}}

{{- define "wf.secretEnv" -}}
{{- range $name, $from := .Values.secretSettings }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef: {name: {{ $from.name }}, key: {{ $from.key }}}
{{- end }}
{{- end -}}

{{- define "wf.storeEnv" -}}
{{- if include "wf.ownRedis" . }}
- name: REDIS_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ include "wf.redisSecret" . }}, key: REDIS_PASSWORD}
- name: STORE_URL
  value: redis://:$(REDIS_PASSWORD)@{{ include "wf.name" . }}-redis:6379/0
{{- else if .Values.redis.url }}
- name: STORE_URL
  value: {{ .Values.redis.url | quote }}
{{- else if include "wf.redisURLSecret" . }}
- name: STORE_URL
  valueFrom:
    secretKeyRef: {name: {{ include "wf.redisURLSecret" . }}, key: STORE_URL}
{{- end }}
{{- end -}}

{{/* One stage on a server of its own: alone, or with the embedded engine behind it. A chain sends a
key to an address only by its name in LLM_KEYS. (list context stage) */}}
{{- define "wf.engineEnv" -}}
{{- $stage := index . 1 -}}
{{- if (index . 0).Values.engines.fallback }}
- name: {{ upper $stage }}_CHAIN
  value: ray@{{ include "wf.engineURL" . }}?key=engine, embedded
{{- else }}
- name: {{ upper $stage }}_ENGINE
  value: ray
- name: {{ upper $stage }}_URL
  value: {{ include "wf.engineURL" . }}
- name: {{ upper $stage }}_KEY
  value: $(ENGINE_KEY)
{{- end }}
{{- end -}}

{{- define "wf.engineKey" -}}
- name: ENGINE_KEY
  valueFrom:
    secretKeyRef: {name: {{ .Values.engines.existingSecret | default (printf "%s-engines" (include "wf.name" .)) }}, key: ENGINE_KEY}
{{- end -}}

{{/* A plain server has its engine at the root; Ray Serve has all of them behind one address. */}}
{{- define "wf.engineURL" -}}
{{- $name := include "wf.name" (index . 0) -}}
{{- if eq (index . 0).Values.engines.mode "ray" -}}
http://{{ $name }}-engines-serve-svc:8100/{{ index . 1 }}
{{- else -}}
http://{{ $name }}-{{ index . 1 }}:8100
{{- end -}}
{{- end -}}
