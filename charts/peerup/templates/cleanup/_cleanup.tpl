{{/* The cleanup's own account lives only while it runs. */}}
{{- define "peerup.cleanupMetadata" -}}
labels:
  {{- include "peerup.labels" . | nindent 2 }}
annotations:
  helm.sh/hook: post-delete
  helm.sh/hook-weight: "0"
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{- define "peerup.cleanupRules" -}}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [list, delete]
- apiGroups: [peerup.dev]
  resources: [peernetworks]
  verbs: [list]
{{- end -}}
