{{- define "ccl-operator.selector" -}}
app.kubernetes.io/name: ccl-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ccl-operator.labels" -}}
{{ include "ccl-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
