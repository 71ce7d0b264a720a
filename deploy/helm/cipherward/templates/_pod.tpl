{{- define "cipherward.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
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

{{/* Arguments: as of the pod. */}}
{{- define "cipherward.podSpec" -}}
{{- $values := .root.Values -}}
{{- $sources := include "cipherward.keySources" . | trim -}}
{{- $client := has .component (list "canary" "test") -}}
{{- $serves := not (or $client (eq .component "worker")) -}}
{{- $calls := not (has .component (list "contract" "worker")) -}}
{{- $command := get (dict
  "worker" "cipherward_compute.worker"
  "canary" "cipherward_client.canaries"
  "test" "cipherward_client.trial") .component -}}
serviceAccountName: {{ include "cipherward.fullname" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
# Drain and grace are the service's own; the rest is for closing stores and the consensus node.
terminationGracePeriodSeconds: {{ add (int $values.drainSeconds) (int $values.graceSeconds) 15 }}
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
  # A mounted Secret is readable by the pod's group; the services take keys of their owner alone.
  - name: keys
    image: {{ include "cipherward.image" . }}
    imagePullPolicy: {{ $values.image.pullPolicy }}
    command: [sh, -ec, "umask 077; cp -L /keys-given/* /keys/; chmod 600 /keys/*"]
    securityContext:
      {{- include "cipherward.containerSecurity" . | nindent 6 }}
    resources:
      requests: {cpu: 10m, memory: 16Mi}
      limits: {memory: 32Mi}
    volumeMounts:
      - {name: keys-given, mountPath: /keys-given, readOnly: true}
      - {name: keys, mountPath: /keys}
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
    {{- if ne .component "test" }}
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
    configMap:
      name: {{ $values.alliance.existingConfigMap }}
      items:
        - {key: genesis.json, path: genesis.json}
        {{- if $values.alliance.admitted }}
        - {key: {{ $values.member.id }}.json, path: admissions/{{ $values.member.id }}.json}
        {{- end }}
  {{- if ne .component "worker" }}
  - name: tls
    secret: {secretName: {{ include "cipherward.tlsSecret" . }}, defaultMode: 0440}
  {{- end }}
  {{- if $client }}
  - name: endpoints
    projected:
      sources:
        - configMap: {name: {{ include "cipherward.fullname" .root }}-endpoints}
        # Members that joined later prove it to whoever checks the chain's word, as clients do.
        - configMap:
            name: {{ $values.alliance.existingConfigMap }}
            optional: true
            items:
              {{- range prepend $values.alliance.peers (dict "member" $values.member.id) }}
              - {key: {{ .member }}.json, path: admissions/{{ .member }}.json}
              {{- end }}
  {{- else if $calls }}
  - name: endpoints
    configMap: {name: {{ include "cipherward.fullname" .root }}-endpoints}
  {{- end }}
  {{- if $sources }}
  - name: keys
    emptyDir: {medium: Memory, sizeLimit: 1Mi}
  - name: keys-given
    projected:
      defaultMode: 0440
      sources:
        {{- $sources | nindent 8 }}
  {{- end }}
  {{- if eq .component "storage" }}
  - name: slot-keys
    persistentVolumeClaim:
      claimName: {{ default (printf "%s-slot-keys" (include "cipherward.fullname" .root)) $values.slotKeys.existingClaim }}
  {{- end }}
{{- end -}}
