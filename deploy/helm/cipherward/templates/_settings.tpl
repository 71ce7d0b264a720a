{{/* The settings of a component by name without CIPHERWARD_, as a YAML map. Arguments: root, component, own (its values). */}}
{{- define "cipherward.settings" -}}
{{- $values := .root.Values -}}
{{- $production := include "cipherward.production" .root -}}
{{- $client := has .component (list "canary" "test") -}}
{{- $settings := dict "MEMBER" $values.member.id "GENESIS_FILE" "/alliance/genesis.json" -}}
{{- if ne .component "test" -}}
{{- $settings = merge $settings (dict
  "PROFILE" $values.profile
  "HEALTH_LISTEN" "0.0.0.0:7002"
  "METRICS_LISTEN" "0.0.0.0:7003"
  "DRAIN_SECONDS" ($values.drainSeconds | toString)) -}}
{{- end -}}
{{- if $client -}}
{{- $settings = merge $settings (dict
  "TLS_CERTIFICATE" "/tls/tls.crt"
  "TLS_PRIVATE_KEY" "/tls/tls.key") -}}
{{- if eq .component "canary" -}}
{{- $settings = set $settings "DATA_DIR" "/data/canary" -}}
{{- else if $values.canary.enabled -}}
{{- $health := printf "%s-canary.%s.svc:7002" (include "cipherward.fullname" .root) .root.Release.Namespace -}}
{{- $settings = set $settings "CANARY_HEALTH" $health -}}
{{- end -}}
{{- else if eq .component "worker" -}}
{{- $settings = merge $settings (dict
  "WORKERS" ($values.worker.processes | toString)
  "JOBS_KEY_FILE" "/keys/jobs.key") -}}
{{- else -}}
{{- $settings = merge $settings (dict
  "DATA_DIR" (printf "/data/%s" .component)
  "TLS_CERTIFICATE" "/tls/tls.crt"
  "TLS_PRIVATE_KEY" "/tls/tls.key"
  "LISTEN" "0.0.0.0:7000"
  "HOLDER_LISTEN" "0.0.0.0:7001"
  "GRACE_SECONDS" ($values.graceSeconds | toString)) -}}
{{- end -}}
{{- if has .component (list "ledger" "identity" "storage" "compute" "canary" "test") -}}
{{- $settings = merge $settings (dict
  "ENDPOINTS_FILE" "/endpoints/alliance.json"
  "MEMBER_KEY_FILE" "/keys/member.key") -}}
{{- end -}}
{{- if eq .component "ledger" -}}
{{- $settings = set $settings "VALIDATOR_KEY_FILE" "/keys/consensus.key" -}}
{{- if $production -}}
{{- $settings = merge $settings (dict "NODE_KEY_FILE" "/keys/node.key" "P2P_LISTEN" "0.0.0.0:26656") -}}
{{- end -}}
{{- else if eq .component "identity" -}}
{{- $settings = set $settings "ISSUER_KEY_FILE" "/keys/issuer.key" -}}
{{- else if eq .component "compute" -}}
{{- $settings = merge $settings (dict
  "CEREMONY_KEY_FILE" "/keys/ceremony.key" "DATA_KEY_FILE" "/keys/dataset.key") -}}
{{- if $values.worker.enabled -}}
{{- $settings = merge $settings (dict "JOBS" "kafka" "JOBS_KEY_FILE" "/keys/jobs.key") -}}
{{- end -}}
{{- else if eq .component "storage" -}}
{{- $settings = merge $settings (dict
  "CUSTODIAN_KEY_FILE" "/keys/custodian.key" "SLOT_KEYS_FOLDER" "/slot-keys/keys") -}}
{{- if $production -}}
{{- $settings = merge $settings (dict
  "STORE" "mongo"
  "MONGO_URI_FILE" "/keys/mongo.uri"
  "MONGO_DATABASE" $values.mongo.database
  "MONGO_CA_FILE" "/keys/mongo-ca.crt") -}}
{{- if $values.mongo.clientCertificate -}}
{{- $settings = set $settings "MONGO_CERTIFICATE_FILE" "/keys/mongo-client.pem" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $production (not $client) (ne .component "contract") -}}
{{- $settings = merge $settings (dict
  "KAFKA_BOOTSTRAP" $values.kafka.bootstrap
  "KAFKA_SECURITY" $values.kafka.security
  "KAFKA_CA_FILE" "/keys/kafka-ca.crt") -}}
{{- if ne .component "worker" }}{{ $settings = set $settings "FEED" "kafka" }}{{ end -}}
{{- if eq $values.kafka.security "sasl_ssl" -}}
{{- $settings = merge $settings (dict
  "KAFKA_USERNAME" $values.kafka.username
  "KAFKA_SASL_MECHANISM" $values.kafka.saslMechanism
  "KAFKA_PASSWORD_FILE" "/keys/kafka-password") -}}
{{- else -}}
{{- $settings = merge $settings (dict
  "KAFKA_CERTIFICATE" "/keys/kafka.crt" "KAFKA_PRIVATE_KEY" "/keys/kafka.key") -}}
{{- end -}}
{{- end -}}
{{- if include "cipherward.traced" . -}}
{{- $settings = merge $settings (dict
  "OTLP_ENDPOINT" $values.traces.endpoint "OTLP_RATIO" ($values.traces.ratio | toString)) -}}
{{- if $values.traces.caSecret -}}{{ $settings = set $settings "OTLP_CA_FILE" "/keys/otlp-ca.crt" }}{{- end -}}
{{- end -}}
{{- range $name, $value := .own.settings -}}
{{- if hasPrefix "CIPHERWARD_" $name -}}
{{- fail (printf "\n- settings.%s of %s: leave CIPHERWARD_ out, the chart puts it before the name: settings.%s.\n" $name $.component (trimPrefix "CIPHERWARD_" $name)) -}}
{{- end -}}
{{- if hasKey $settings $name -}}
{{- fail (printf "\n- settings.%s of %s is the chart's own: set the value that it is made from.\n" $name $.component) -}}
{{- end -}}
{{- $settings = set $settings $name ($value | toString) -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{/* Whether a component's requests are traced: the five services, if a collector is named. */}}
{{- define "cipherward.traced" -}}
{{- if and .root.Values.traces.endpoint (not (has .component (list "worker" "canary" "test" "backup" "restore"))) }}true{{ end -}}
{{- end -}}

{{/* The key files that a component reads, file by its key in the Secret. */}}
{{- define "cipherward.keyFiles" -}}
{{- $keys := dict
  "contract" list
  "ledger" (list "member.key" "consensus.key")
  "identity" (list "member.key" "issuer.key")
  "storage" (list "member.key" "custodian.key")
  "compute" (list "member.key" "ceremony.key" "dataset.key")
  "worker" (list "jobs.key")
  "canary" (list "member.key")
  "test" (list "member.key")
  "backup" (list "member.key")
  "restore" (list "member.key")
-}}
{{- $own := index $keys .component -}}
{{- if and (eq .component "ledger") (include "cipherward.production" .root) }}{{ $own = append $own "node.key" }}{{ end -}}
{{- if and (eq .component "compute") .root.Values.worker.enabled }}{{ $own = append $own "jobs.key" }}{{ end -}}
{{- toYaml $own -}}
{{- end -}}

{{/* Sources of the projected volume that the init container copies from. */}}
{{- define "cipherward.keySources" -}}
{{- $values := .root.Values -}}
{{- $production := include "cipherward.production" .root -}}
{{- with include "cipherward.keyFiles" . | fromYamlArray }}
- secret:
    name: {{ $values.keys.existingSecret }}
    items:
      {{- range . }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
{{- end }}
{{- if and $production (not (has .component (list "contract" "canary" "test" "backup" "restore"))) }}
- secret:
    name: {{ $values.kafka.existingSecret }}
    items:
      - {key: ca.crt, path: kafka-ca.crt}
      {{- if eq $values.kafka.security "sasl_ssl" }}
      - {key: password, path: kafka-password}
      {{- else }}
      - {key: tls.crt, path: kafka.crt}
      - {key: tls.key, path: kafka.key}
      {{- end }}
{{- end }}
{{- if and $production (eq .component "storage") }}
- secret:
    name: {{ $values.mongo.existingSecret }}
    items:
      - {key: uri, path: mongo.uri}
      - {key: ca.crt, path: mongo-ca.crt}
      {{- if $values.mongo.clientCertificate }}
      - {key: client.pem, path: mongo-client.pem}
      {{- end }}
{{- end }}
{{- if and (include "cipherward.traced" .) $values.traces.caSecret }}
- secret:
    name: {{ $values.traces.caSecret }}
    items:
      - {key: ca.crt, path: otlp-ca.crt}
{{- end }}
{{- end -}}
