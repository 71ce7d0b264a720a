{{/* The services whose stores only this member has, and no other database holds. */}}
{{- define "cipherward.backedUp" -}}
identity compute{{ if not (include "cipherward.production" .) }} storage{{ end }}
{{- end -}}

{{/* One job of one store. Arguments: root, component (backup or restore), store, own (values of backup). */}}
{{- define "cipherward.backupJob" -}}
{{- $full := include "cipherward.fullname" .root -}}
{{- $restores := eq .component "restore" -}}
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {{ $full }}-{{ .component }}-{{ .store }}
  labels:
    {{- include "cipherward.labels" . | nindent 4 }}
spec:
  {{- if $restores }}
  # It never runs by itself: kubectl create job --from=cronjob/{{ $full }}-restore-{{ .store }} NAME
  suspend: true
  schedule: "0 0 1 1 *"
  {{- else }}
  schedule: {{ eq .store "slot-keys" | ternary .own.slotKeysSchedule .own.schedule | quote }}
  {{- end }}
  concurrencyPolicy: Forbid
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 3
  jobTemplate:
    metadata:
      labels:
        {{- include "cipherward.labels" . | nindent 8 }}
    spec:
      backoffLimit: {{ $restores | ternary 0 2 }}
      # An hour: a store of 100 GiB at 30 MiB/s.
      activeDeadlineSeconds: 3600
      template:
        metadata:
          labels:
            {{- include "cipherward.labels" . | nindent 12 }}
        spec:
          {{- include "cipherward.backupPod" . | nindent 10 }}
{{- end -}}

{{/* Holds a database that its own tool has restored against the chain. Arguments: root. */}}
{{- define "cipherward.verifyJob" -}}
{{- $arguments := dict "root" .root "component" "storage" "own" .root.Values.services.storage "once" "cipherward_storage.verify" -}}
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {{ include "cipherward.fullname" .root }}-verify-storage
  labels:
    {{- include "cipherward.labels" $arguments | nindent 4 }}
spec:
  # It never runs by itself, and while the storages are scaled to 0: see restore above.
  suspend: true
  schedule: "0 0 1 1 *"
  concurrencyPolicy: Forbid
  jobTemplate:
    metadata:
      labels:
        {{- include "cipherward.labels" $arguments | nindent 8 }}
    spec:
      backoffLimit: 0
      template:
        metadata:
          labels:
            {{- include "cipherward.labels" $arguments | nindent 12 }}
        spec:
          restartPolicy: Never
          {{- include "cipherward.podSpec" $arguments | nindent 10 }}
{{- end -}}

{{- define "cipherward.backupPod" -}}
{{- $values := .root.Values -}}
{{- $full := include "cipherward.fullname" .root -}}
{{- $member := $values.member.id -}}
{{- $restores := eq .component "restore" -}}
{{- $slots := eq .store "slot-keys" -}}
{{- $service := $slots | ternary "storage" .store -}}
{{- $store := list "--data" "/member" "--member" $member "--store" .store -}}
{{- if $slots }}{{ $store = concat $store (list "--slot-keys-folder" "/slot-keys/keys") }}{{ end -}}
{{- $archive := $slots | ternary (printf "/archives/%s-slot-keys.tar" $member) "/archives" -}}
{{- $command := list -}}
{{- if $restores -}}
{{- $command = concat (list "cipherward" "restore" $archive) $store (list "--aside") -}}
{{- if not $slots }}{{ $command = concat $command (list "--endpoints-file" "/endpoints/alliance.json") }}{{ end -}}
{{- else if $slots -}}
{{- $command = concat (list "cipherward" "backup") $store (list "--out" $archive "--replace") -}}
{{- else -}}
{{- $command = concat (list "cipherward" "backup") $store (list "--into" $archive "--keep" ($values.backup.keep | toString) "--running") -}}
{{- end -}}
{{ include "cipherward.podCommon" . }}
restartPolicy: Never
{{- if not $restores }}
# On the node of the pod whose volume it reads: the locks of a store are the kernel's.
affinity:
  podAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "cipherward.selector" (dict "root" .root "component" $service) | nindent 12 }}
{{- end }}
initContainers:
  {{- include "cipherward.keysContainer" . | nindent 2 }}
containers:
  - name: {{ .component }}
    image: {{ include "cipherward.image" . }}
    imagePullPolicy: {{ $values.image.pullPolicy }}
    command: {{ toJson $command }}
    securityContext:
      {{- include "cipherward.containerSecurity" . | nindent 6 }}
    resources:
      {{- toYaml .own.resources | nindent 6 }}
    volumeMounts:
      - {name: tmp, mountPath: /tmp}
      - {name: alliance, mountPath: /member/genesis.json, subPath: genesis.json, readOnly: true}
      - {name: keys, mountPath: /member/{{ $member }}/keys, readOnly: true}
      {{- if $slots }}
      - {name: slot-keys, mountPath: /slot-keys}
      {{- else }}
      # Written by a copy as well: SQLite keeps what is not in the database yet beside it.
      - {name: data, mountPath: /member/{{ $member }}/data}
      {{- end }}
      {{- if and $restores (not $slots) }}
      - {name: endpoints, mountPath: /endpoints, readOnly: true}
      {{- end }}
      - {name: archives, mountPath: /archives}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 256Mi}
  - name: alliance
    configMap: {name: {{ $values.alliance.existingConfigMap }}}
  {{- include "cipherward.keysVolumes" . | nindent 2 }}
  {{- if $slots }}
  - name: slot-keys
    persistentVolumeClaim: {claimName: {{ include "cipherward.slotKeysClaim" .root }}}
  {{- else }}
  - name: data
    persistentVolumeClaim: {claimName: data-{{ $full }}-{{ $service }}-0}
  {{- end }}
  {{- if and $restores (not $slots) }}
  {{- include "cipherward.clientEndpoints" . | nindent 2 }}
  {{- end }}
  - name: archives
    persistentVolumeClaim: {claimName: {{ $slots | ternary .own.slotKeysClaim .own.claim }}}
{{- end -}}
