{{- define "peerup.fullname" -}}
{{- if contains "peerup" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-peerup" (.Release.Name | trunc 33 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{- define "peerup.operator" -}}
{{ include "peerup.fullname" . }}-operator
{{- end -}}

{{- define "peerup.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "peerup.operator" .) }}
{{- end -}}

{{- define "peerup.labels" -}}
app.kubernetes.io/name: peerup
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: peerup
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "peerup.selector" -}}
app.kubernetes.io/name: peerup
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{/* An image: a dict with image and chart. A digest beats the tag. */}}
{{- define "peerup.image" -}}
{{- with .image -}}
{{- if .registry }}{{ .registry }}/{{ end }}{{ .repository }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.chart.Version }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "peerup.operatorImage" -}}
{{- include "peerup.image" (dict "image" .Values.operator.image "chart" .Chart) -}}
{{- end -}}

{{/* What the operator and its cleanup are told of their names. */}}
{{- define "peerup.ownEnvironment" -}}
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
- name: PEERUP_CA_SECRET
  value: {{ include "peerup.operator" . }}-ca
- name: PEERUP_LEASE
  value: {{ include "peerup.operator" . }}
- name: PEERUP_WEBHOOK_CONFIG
  value: {{ include "peerup.operator" . }}
{{- with .Values.watchNamespaces }}
- name: PEERUP_WATCH_NAMESPACES
  value: {{ join "," . | quote }}
{{- end }}
- name: PEERUP_LOG
  value: {{ .Values.log.level | quote }}
- name: PEERUP_LOG_FORMAT
  value: {{ .Values.log.format | quote }}
{{- end -}}

{{/* Pod Security "restricted", and nothing to write on. */}}
{{- define "peerup.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "peerup.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}
