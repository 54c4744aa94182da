{{/*
Names. All objects of a revision other than "default" end with its name, so that two versions run
side by side; weir-control derives the same names from --revision.
*/}}

{{- define "weir.suffix" -}}
{{- if ne .Values.revision "default" }}-{{ .Values.revision }}{{ end -}}
{{- end }}

{{- define "weir.name" -}}
weir-control{{ include "weir.suffix" . }}
{{- end }}

{{- define "weir.configMap" -}}
weir-config{{ include "weir.suffix" . }}
{{- end }}

{{- define "weir.injector" -}}
weir-injector{{ include "weir.suffix" . }}
{{- end }}

{{- define "weir.validator" -}}
weir-validator{{ include "weir.suffix" . }}
{{- end }}

{{/* Secret that cert-manager writes the serving certificate to. */}}
{{- define "weir.servingSecret" -}}
weir-serving-cert{{ include "weir.suffix" . }}
{{- end }}

{{/* What a Deployment may select by: it must never change. */}}
{{- define "weir.selectorLabels" -}}
app.kubernetes.io/name: weir-control
app.kubernetes.io/instance: {{ .Release.Name }}
weir.dev/revision: {{ .Values.revision }}
{{- end }}

{{- define "weir.labels" -}}
{{ include "weir.selectorLabels" . }}
app.kubernetes.io/part-of: weir
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The one image of all parts. */}}
{{- define "weir.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* An address to listen on: an IPv6 one stands in brackets. */}}
{{- define "weir.listen" -}}
{{- $host := .root.Values.listenAddress -}}
{{- if contains ":" $host }}[{{ $host }}]{{ else }}{{ $host }}{{ end }}:{{ .port }}
{{- end }}

{{/* Namespaces that are never injected: those of the values, and Weir's own. JSON. */}}
{{- define "weir.systemNamespaces" -}}
{{ append .Values.injection.systemNamespaces .Release.Namespace | uniq | toJson }}
{{- end }}

{{/* Puts an admission policy of that name in force. */}}
{{- define "weir.admissionPolicyBinding" }}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ last . }}
  labels:
    {{- include "weir.labels" (first .) | nindent 4 }}
spec:
  policyName: {{ last . }}
  validationActions: [Deny]
{{- end }}
