{{/* What both entries share. */}}
{{- define "peerup.webhook" -}}
admissionReviewVersions: [v1]
sideEffects: None
failurePolicy: {{ .Values.webhook.failurePolicy }}
timeoutSeconds: {{ .Values.webhook.timeoutSeconds }}
reinvocationPolicy: IfNeeded
matchPolicy: Equivalent
matchConditions:
  - name: no-mirror-pods
    expression: "!has(object.metadata.annotations) || !('kubernetes.io/config.mirror' in object.metadata.annotations)"
rules:
  - apiGroups: [""]
    apiVersions: [v1]
    resources: [pods]
    operations: [CREATE]
    scope: Namespaced
clientConfig:
  service:
    name: {{ include "peerup.operator" . }}
    namespace: {{ .Release.Namespace }}
    port: 443
    path: /v1/inject
{{- end -}}
