{{/* What `helm test` needs lives only while it runs; a pod that failed is left to be looked at. */}}
{{- define "peerup.testMetadata" -}}
labels:
  {{- include "peerup.labels" .root | nindent 2 }}
  app.kubernetes.io/component: test
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  helm.sh/hook: test
  helm.sh/hook-weight: {{ .weight | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{- define "peerup.test" -}}
{{ include "peerup.operator" . }}-test
{{- end -}}

{{/* Where the pod is created as a dry run: in a namespace of the test's own, unless one is given. */}}
{{- define "peerup.testNamespace" -}}
{{ .Values.test.namespace | default (printf "%s-test" (include "peerup.fullname" .)) }}
{{- end -}}

{{/* An operator that serves only some namespaces can be tested in one of these only. */}}
{{- define "peerup.tested" -}}
{{- if or .Values.test.namespace (not .Values.watchNamespaces) }}true{{ end -}}
{{- end -}}
