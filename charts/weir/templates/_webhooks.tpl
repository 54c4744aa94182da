{{/* What the webhook configurations have alike. */}}

{{/* metadata.annotations, if there are any. */}}
{{- define "weir.webhookAnnotations" -}}
{{- $annotations := .Values.webhooks.annotations }}
{{- if .Values.certManager.enabled }}
{{- $from := printf "%s/%s" .Release.Namespace (include "weir.servingSecret" .) }}
{{- $annotations = merge (dict "cert-manager.io/inject-ca-from" $from) $annotations }}
{{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* From clientConfig to timeoutSeconds. Takes root and path. */}}
{{- define "weir.webhookClient" -}}
admissionReviewVersions: [v1]
clientConfig:
  service:
    name: {{ include "weir.name" .root }}
    namespace: {{ .root.Release.Namespace }}
    path: {{ .path }}
    port: 443
sideEffects: None
timeoutSeconds: {{ .root.Values.webhooks.timeoutSeconds }}
{{- end }}

{{/* matchExpressions of requirements on labels, each given as [key, operator, values...]. */}}
{{- define "weir.requirements" -}}
{{- range . }}
- key: {{ index . 0 }}
  operator: {{ index . 1 }}
  {{- with slice . 2 }}
  values: {{ toJson . }}
  {{- end }}
{{- end }}
{{- end }}
