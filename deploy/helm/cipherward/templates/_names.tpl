{{- define "cipherward.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "cipherward.services" -}}
contract ledger identity storage compute
{{- end -}}

{{/* Arguments: root. What all pods of the release share, and no selector of one service. */}}
{{- define "cipherward.releaseLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Arguments: root, component. */}}
{{- define "cipherward.selector" -}}
{{ include "cipherward.releaseLabels" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "cipherward.labels" -}}
{{ include "cipherward.selector" . }}
app.kubernetes.io/part-of: cipherward
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{/* Workers are compute's; canaries, the test and backups are the client's: whose image and certificate it is. */}}
{{- define "cipherward.program" -}}
{{- get (dict "worker" "compute" "canary" "client" "test" "client" "backup" "client" "restore" "client") .component | default .component -}}
{{- end -}}

{{/* The release's pods that are the member's own systems, as `client` among the callers means. */}}
{{- define "cipherward.clients" -}}
{{ if .Values.canary.enabled }}canary {{ end }}{{ if .Values.backup.enabled }}restore {{ end }}test
{{- end -}}

{{/* Arguments: root, component. */}}
{{- define "cipherward.image" -}}
{{- $image := .root.Values.image -}}
{{- $program := include "cipherward.program" . -}}
{{- $path := compact (list $image.registry $image.repository $program) | join "/" -}}
{{- with index $image.digests $program -}}
{{ $path }}@{{ . }}
{{- else -}}
{{ $path }}:{{ default .root.Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{- define "cipherward.tlsSecret" -}}
{{ default (printf "%s-tls" (include "cipherward.fullname" .root)) .root.Values.tls.existingSecretPrefix }}-{{ include "cipherward.program" . }}
{{- end -}}

{{- define "cipherward.production" -}}
{{- if eq .Values.profile "production" }}true{{ end -}}
{{- end -}}

{{/* Where other members are, as peers of a policy's rule. Arguments: root, outside (addresses too). */}}
{{- define "cipherward.members" -}}
{{- $peers := .root.Values.networkPolicy.members -}}
{{- if .outside }}{{ range .root.Values.networkPolicy.membersCidrs }}{{ $peers = append $peers (dict "ipBlock" (dict "cidr" .)) }}{{ end }}{{ end -}}
{{- toYaml $peers -}}
{{- end -}}
