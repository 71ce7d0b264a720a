{{- define "cipherward.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* What every pod of the release has, jobs included. Arguments: as of the pod. */}}
{{- define "cipherward.podCommon" -}}
{{- $values := .root.Values -}}
serviceAccountName: {{ include "cipherward.fullname" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with $values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.pod.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.pod.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.pod.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* Gives the component's key files, and no others, to its own user. Arguments: as of the pod. */}}
{{- define "cipherward.keysContainer" -}}
# A mounted Secret is readable by the pod's group; the services take keys of their owner alone.
- name: keys
  image: {{ include "cipherward.image" . }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  command: [sh, -ec, "umask 077; cp -L /keys-given/* /keys/; chmod 600 /keys/*"]
  securityContext:
    {{- include "cipherward.containerSecurity" . | nindent 4 }}
  resources:
    requests: {cpu: 10m, memory: 16Mi}
    limits: {memory: 32Mi}
  volumeMounts:
    - {name: keys-given, mountPath: /keys-given, readOnly: true}
    - {name: keys, mountPath: /keys}
{{- end -}}

{{/* Arguments: as of the pod. */}}
{{- define "cipherward.keysVolumes" -}}
- name: keys
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
- name: keys-given
  projected:
    defaultMode: 0440
    sources:
      {{- include "cipherward.keySources" . | trim | nindent 6 }}
{{- end -}}

{{/* Where the alliance's services are, as the member's own systems need it. Arguments: as of the pod. */}}
{{- define "cipherward.clientEndpoints" -}}
- name: endpoints
  projected:
    sources:
      - configMap: {name: {{ include "cipherward.fullname" .root }}-endpoints}
      # Members that joined later prove it to whoever checks the chain's word, as clients do.
      - configMap:
          name: {{ .root.Values.alliance.existingConfigMap }}
          optional: true
          items:
            {{- range prepend .root.Values.alliance.peers (dict "member" .root.Values.member.id) }}
            - {key: {{ .member }}.json, path: admissions/{{ .member }}.json}
            {{- end }}
      {{- include "cipherward.authorities" . | nindent 6 }}
{{- end -}}

{{/* Members that changed their authority prove it to whoever begins. Arguments: as of the pod. */}}
{{- define "cipherward.authorities" -}}
- configMap:
    name: {{ .root.Values.alliance.existingConfigMap }}
    optional: true
    items:
      {{- range prepend .root.Values.alliance.peers (dict "member" .root.Values.member.id) }}
      - {key: {{ .member }}.authorities.json, path: authorities/{{ .member }}.json}
      {{- end }}
{{- end -}}

{{- define "cipherward.slotKeysClaim" -}}
{{ default (printf "%s-slot-keys" (include "cipherward.fullname" .)) .Values.slotKeys.existingClaim }}
{{- end -}}

{{/* The claim of a component's own state. Arguments: as of the pod. */}}
{{- define "cipherward.claim" -}}
- apiVersion: v1
  kind: PersistentVolumeClaim
  metadata:
    name: data
    labels:
      {{- include "cipherward.selector" . | nindent 6 }}
  spec:
    accessModes: [{{ .own.volume.accessMode }}]
    {{- with .own.volume.className }}
    storageClassName: {{ . }}
    {{- end }}
    resources:
      requests:
        storage: {{ .own.volume.size }}
{{- end -}}

{{/* The pod of a component. Arguments: root, component, own (its values). */}}
{{- define "cipherward.pod" -}}
{{- $values := .root.Values -}}
metadata:
  labels:
    {{- include "cipherward.labels" . | nindent 4 }}
    {{- with $values.pod.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # Pods are made anew when what they read at their start changes.
    cipherward.io/settings: {{ include "cipherward.settings" . | sha256sum | trunc 16 }}
    {{- with $values.pod.annotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "cipherward.podSpec" . | nindent 2 }}
{{- end -}}

{{/* Arguments: as of the pod; once: a module that is run to its end in the place of the service. */}}
{{- define "cipherward.podSpec" -}}
{{- $values := .root.Values -}}
{{- $sources := include "cipherward.keySources" . | trim -}}
{{- $client := has .component (list "canary" "test") -}}
{{- $serves := not (or $client (eq .component "worker")) -}}
{{- $calls := not (has .component (list "contract" "worker")) -}}
{{- $command := get (dict
  "worker" "cipherward_compute.worker"
  "canary" "cipherward_client.canaries"
  "test" "cipherward_client.trial") .component | default .once -}}
{{- $ends := or .once (eq .component "test") -}}
{{ include "cipherward.podCommon" . }}
# Drain and grace are the service's own; the rest is for closing stores and the consensus node.
terminationGracePeriodSeconds: {{ add (int $values.drainSeconds) (int $values.graceSeconds) 15 }}
{{- if $values.pod.topologySpread }}
topologySpreadConstraints:
  {{- range $topology := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $topology }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "cipherward.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- if $sources }}
initContainers:
  {{- include "cipherward.keysContainer" . | nindent 2 }}
{{- end }}
containers:
  - name: {{ .component }}
    image: {{ include "cipherward.image" . }}
    imagePullPolicy: {{ $values.image.pullPolicy }}
    {{- with $command }}
    command: [python, -m, {{ . }}]
    {{- end }}
    env:
      {{- range $name, $value := include "cipherward.settings" . | fromYaml }}
      - name: CIPHERWARD_{{ $name }}
        value: {{ $value | quote }}
      {{- end }}
    {{- if not $ends }}
    ports:
      {{- if $serves }}
      - {name: services, containerPort: 7000}
      - {name: holders, containerPort: 7001}
      {{- end }}
      - {name: health, containerPort: 7002}
      - {name: metrics, containerPort: 7003}
      {{- if eq .component "ledger" }}
      - {name: p2p, containerPort: 26656}
      {{- end }}
    # A store of years is read and checked at the start, and consensus replays: ten minutes.
    startupProbe:
      grpc: {port: 7002, service: live}
      periodSeconds: 5
      failureThreshold: 120
    # Dependencies are no reason to restart: only a loop that does not answer is.
    livenessProbe:
      grpc: {port: 7002, service: live}
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 6
    {{- if eq .component "canary" }}
    # Not the empty name: what they ask about can be put once the members have made a record key.
    readinessProbe:
      grpc: {port: 7002, service: canaries}
    {{- else }}
    # The empty name: every condition of the process holds.
    readinessProbe:
      grpc: {port: 7002}
    {{- end }}
      periodSeconds: 5
      timeoutSeconds: 3
      failureThreshold: 2
    {{- end }}
    securityContext:
      {{- include "cipherward.containerSecurity" . | nindent 6 }}
    resources:
      {{- toYaml .own.resources | nindent 6 }}
    volumeMounts:
      - {name: tmp, mountPath: /tmp}
      - {name: alliance, mountPath: /alliance, readOnly: true}
      {{- if or $serves (eq .component "canary") }}
      - {name: data, mountPath: /data}
      {{- end }}
      {{- if ne .component "worker" }}
      - {name: tls, mountPath: /tls, readOnly: true}
      {{- end }}
      {{- if $calls }}
      - {name: endpoints, mountPath: /endpoints, readOnly: true}
      {{- end }}
      {{- if $sources }}
      - {name: keys, mountPath: /keys, readOnly: true}
      {{- end }}
      {{- if eq .component "storage" }}
      - {name: slot-keys, mountPath: /slot-keys}
      {{- end }}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 256Mi}
  - name: alliance
    projected:
      sources:
        - configMap:
            name: {{ $values.alliance.existingConfigMap }}
            items:
              - {key: genesis.json, path: genesis.json}
              {{- if $values.alliance.admitted }}
              - {key: {{ $values.member.id }}.json, path: admissions/{{ $values.member.id }}.json}
              {{- end }}
        {{- include "cipherward.authorities" . | nindent 8 }}
  {{- if ne .component "worker" }}
  - name: tls
    secret: {secretName: {{ include "cipherward.tlsSecret" . }}, defaultMode: 0440}
  {{- end }}
  {{- if $client }}
  {{- include "cipherward.clientEndpoints" . | nindent 2 }}
  {{- else if $calls }}
  - name: endpoints
    configMap: {name: {{ include "cipherward.fullname" .root }}-endpoints}
  {{- end }}
  {{- if $sources }}
  {{- include "cipherward.keysVolumes" . | nindent 2 }}
  {{- end }}
  {{- if eq .component "storage" }}
  - name: slot-keys
    persistentVolumeClaim: {claimName: {{ include "cipherward.slotKeysClaim" .root }}}
  {{- end }}
  {{- if .once }}
  - name: data
    persistentVolumeClaim: {claimName: data-{{ include "cipherward.fullname" .root }}-{{ .component }}-0}
  {{- end }}
{{- end -}}
