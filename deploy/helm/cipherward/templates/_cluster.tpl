{{/*
What the cluster lacks of what the release names, and what is in its way: sentences, as a JSON list.
Without a cluster (`helm template`, a dry run of the client) nothing is looked at.
*/}}
{{- define "cipherward.clusterFaults" -}}
{{- $found := list -}}
{{- $namespace := .Release.Namespace -}}
{{- /* Every namespace of a running cluster has this account. */ -}}
{{- if and .Values.checkCluster (lookup "v1" "ServiceAccount" $namespace "default") -}}
{{- range $needed := include "cipherward.needed" . | fromJsonArray -}}
{{- $object := lookup "v1" $needed.kind $namespace $needed.name -}}
{{- if not $object -}}
{{- $found = append $found (printf "%s: there is no %s %s in the namespace %s; make it first, or name another (docs/kubernetes.md)." $needed.value $needed.kind $needed.name $namespace) -}}
{{- else -}}
{{- $missing := list -}}
{{- range $key := $needed.keys }}{{ if not (hasKey (default dict $object.data) $key) }}{{ $missing = append $missing $key }}{{ end }}{{ end -}}
{{- if $missing -}}
{{- $found = append $found (printf "%s: the %s %s lacks %s; add what is missing (docs/kubernetes.md)." $needed.value $needed.kind $needed.name (join ", " $missing)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $found = concat $found (include "cipherward.genesisFaults" . | fromJsonArray) (include "cipherward.sameMember" . | fromJsonArray) -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* The objects that the values name: a JSON list of value, kind, name, keys. */}}
{{- define "cipherward.needed" -}}
{{- $values := .Values -}}
{{- $production := include "cipherward.production" . -}}
{{- $needed := list -}}
{{- $components := include "cipherward.services" . | splitList " " -}}
{{- if $values.worker.enabled }}{{ $components = append $components "worker" }}{{ end -}}
{{- $keys := list -}}
{{- range $components }}{{ $keys = concat $keys (include "cipherward.keyFiles" (dict "root" $ "component" .) | fromYamlArray) }}{{ end -}}
{{- $genesis := list "genesis.json" -}}
{{- if $values.alliance.admitted }}{{ $genesis = append $genesis (printf "%s.json" $values.member.id) }}{{ end -}}
{{- $needed = append $needed (dict "value" "keys.existingSecret" "kind" "Secret" "name" $values.keys.existingSecret "keys" (uniq $keys)) -}}
{{- $needed = append $needed (dict "value" "alliance.existingConfigMap" "kind" "ConfigMap" "name" $values.alliance.existingConfigMap "keys" $genesis) -}}
{{- if ne $values.tls.mode "certManager" -}}
{{- range $component := append (include "cipherward.services" . | splitList " ") "client" -}}
{{- $needed = append $needed (dict "value" "tls.existingSecretPrefix" "kind" "Secret" "name" (include "cipherward.tlsSecret" (dict "root" $ "component" $component)) "keys" (list "tls.crt" "tls.key")) -}}
{{- end -}}
{{- end -}}
{{- if $production -}}
{{- $broker := eq $values.kafka.security "sasl_ssl" | ternary (list "ca.crt" "password") (list "ca.crt" "tls.crt" "tls.key") -}}
{{- $database := $values.mongo.clientCertificate | ternary (list "uri" "ca.crt" "client.pem") (list "uri" "ca.crt") -}}
{{- $needed = append $needed (dict "value" "kafka.existingSecret" "kind" "Secret" "name" $values.kafka.existingSecret "keys" $broker) -}}
{{- $needed = append $needed (dict "value" "mongo.existingSecret" "kind" "Secret" "name" $values.mongo.existingSecret "keys" $database) -}}
{{- end -}}
{{- with $values.traces.caSecret }}{{ $needed = append $needed (dict "value" "traces.caSecret" "kind" "Secret" "name" . "keys" (list "ca.crt")) }}{{ end -}}
{{- with $values.slotKeys.existingClaim }}{{ $needed = append $needed (dict "value" "slotKeys.existingClaim" "kind" "PersistentVolumeClaim" "name" . "keys" list) }}{{ end -}}
{{- if $values.backup.enabled -}}
{{- range $value := list "claim" "slotKeysClaim" -}}
{{- $needed = append $needed (dict "value" (printf "backup.%s" $value) "kind" "PersistentVolumeClaim" "name" (index $values.backup $value) "keys" list) -}}
{{- end -}}
{{- end -}}
{{- toJson $needed -}}
{{- end -}}

{{/* What does not fit the genesis in the cluster: a JSON list of sentences. */}}
{{- define "cipherward.genesisFaults" -}}
{{- $found := list -}}
{{- $map := lookup "v1" "ConfigMap" .Release.Namespace .Values.alliance.existingConfigMap -}}
{{- with dig "data" "genesis.json" "" $map -}}
{{- $genesis := fromJson . -}}
{{- if $genesis.Error -}}
{{- $found = append $found (printf "alliance.existingConfigMap: its genesis.json is no JSON (%s); put the alliance's own file there." $genesis.Error) -}}
{{- else -}}
{{- if ne $genesis.chain_id $.Values.chain.id -}}
{{- $found = append $found (printf "chain.id is %s, but the genesis is of the chain %s: set chain.id, or put the other alliance's genesis.json there." $.Values.chain.id $genesis.chain_id) -}}
{{- end -}}
{{- $state := default dict $genesis.app_state -}}
{{- $members := list -}}
{{- range $state.members }}{{ $members = append $members .id }}{{ end -}}
{{- if not (or $.Values.alliance.admitted (has $.Values.member.id $members)) -}}
{{- $found = append $found (printf "member.id is %s, but the genesis has %s: set member.id, or alliance.admitted: true if the member joined later." $.Values.member.id (join ", " $members)) -}}
{{- end -}}
{{- $fits := eq $.Values.profile "production" | ternary "cometbft" "solo" -}}
{{- if ne $fits $state.engine -}}
{{- $found = append $found (printf "profile is %s, which runs %s, but the genesis says %s: set profile: %s." $.Values.profile $fits $state.engine (eq $state.engine "solo" | ternary "embedded" "production")) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* Whether another release in the namespace is the same member: a JSON list of sentences. */}}
{{- define "cipherward.sameMember" -}}
{{- $found := list -}}
{{- $all := lookup "v1" "ConfigMap" .Release.Namespace "" -}}
{{- range default list $all.items -}}
{{- $labels := default dict .metadata.labels -}}
{{- $raw := get (default dict .data) "alliance.json" -}}
{{- $release := get $labels "app.kubernetes.io/instance" -}}
{{- if and $raw (eq (get $labels "app.kubernetes.io/part-of") "cipherward") (ne $release $.Release.Name) -}}
{{- $alliance := fromJson $raw -}}
{{- if and (eq $alliance.chain_id $.Values.chain.id) (eq $alliance.ledger_member $.Values.member.id) -}}
{{- $found = append $found (printf "the release %s of this namespace is the member %s of the chain %s: a member runs once; upgrade that release, or set member.id." $release $.Values.member.id $.Values.chain.id) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}
