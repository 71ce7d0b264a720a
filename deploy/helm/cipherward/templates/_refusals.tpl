{{/* What cannot be installed, all of it at once, each with what to set. */}}
{{- define "cipherward.refuse" -}}
{{- $values := .Values -}}
{{- $found := list -}}
{{- $removed := dict
  "ingress" "'ingress' is not known: wallets and members need TLS that ends in the service; set exposure."
  "replicaCount" "'replicaCount' is not known: only storage on MongoDB and workers have replicas; set services.storage.replicas or worker.replicas."
  "mongodb" "'mongodb' is not known: the chart ships no database; set mongo.existingSecret and bring your own."
  "postgresql" "'postgresql' is not known: the chart ships no database."
  "replicas" "'replicas' is not known: set services.storage.replicas (with MongoDB) or worker.replicas; all else has one writer."
  "resources" "'resources' is not known: they are each component's own; set services.NAME.resources, worker.resources or canary.resources."
  "persistence" "'persistence' is not known: set services.NAME.volume (size, className, accessMode)."
  "storage" "'storage' is not known: its pods are set in services.storage, its number by load in autoscaling.storage."
  "ledger" "'ledger' is not known: set services.ledger."
  "contract" "'contract' is not known: set services.contract."
  "identity" "'identity' is not known: set services.identity."
  "compute" "'compute' is not known: set services.compute; its workers are worker."
  "env" "'env' is not known: set services.NAME.settings, by name without CIPHERWARD_ (docs/configuration.md)."
  "extraEnv" "'extraEnv' is not known: set services.NAME.settings, by name without CIPHERWARD_ (docs/configuration.md)."
  "nodeSelector" "'nodeSelector' is not known: set pod.nodeSelector."
  "tolerations" "'tolerations' is not known: set pod.tolerations."
  "affinity" "'affinity' is not known: set pod.nodeSelector; pods are spread by pod.topologySpread."
  "imagePullSecrets" "'imagePullSecrets' is not known: set image.pullSecrets."
  "securityContext" "'securityContext' is not known: every pod fits the restricted standard, and nothing of it can be set."
  "podSecurityContext" "'podSecurityContext' is not known: every pod fits the restricted standard, and nothing of it can be set."
  "service" "'service' is not known: set exposure."
  "serviceMonitor" "'serviceMonitor' is not known: set monitoring.serviceMonitor."
  "metrics" "'metrics' is not known: set monitoring."
-}}
{{- range $key, $sentence := $removed -}}
{{- if hasKey $values $key }}{{ $found = append $found $sentence }}{{ end -}}
{{- end -}}
{{- if not $values.keys.existingSecret -}}
{{- $found = append $found "keys.existingSecret is empty: the chart never makes keys; make them where they stay and name the Secret (docs/kubernetes.md)." -}}
{{- end -}}
{{- if not $values.alliance.existingConfigMap -}}
{{- $found = append $found "alliance.existingConfigMap is empty: put the alliance's genesis.json into a ConfigMap and name it." -}}
{{- end -}}
{{- if and (eq $values.tls.mode "certManager") (not $values.tls.certManager.issuerRef.name) -}}
{{- $found = append $found "tls.mode is certManager, but tls.certManager.issuerRef.name is empty: name the issuer that holds the member's authority." -}}
{{- end -}}
{{- if and (eq $values.tls.mode "existingSecret") (not $values.tls.existingSecretPrefix) -}}
{{- $found = append $found "tls.mode is existingSecret, but tls.existingSecretPrefix is empty: name the Secrets PREFIX-SERVICE and give the prefix." -}}
{{- end -}}
{{- range $service := list "contract" "ledger" "identity" "compute" -}}
{{- if gt (int (index $values.services $service).replicas) 1 -}}
{{- $found = append $found (printf "services.%s.replicas is more than 1: it has one writer, and clients retry through its restart." $service) -}}
{{- end -}}
{{- end -}}
{{- $storages := or (gt (int $values.services.storage.replicas) 1) $values.autoscaling.storage.enabled -}}
{{- if and $storages (not $values.slotKeys.existingClaim) -}}
{{- $found = append $found "several storages share the folder of slot keys: set slotKeys.existingClaim to a ReadWriteMany claim." -}}
{{- end -}}
{{- if and $values.worker.enabled (not $values.kafka.bootstrap) -}}
{{- $found = append $found "worker.enabled needs Kafka: set kafka.bootstrap and profile: production." -}}
{{- end -}}
{{- if and $values.autoscaling.worker.enabled (not $values.worker.enabled) -}}
{{- $found = append $found "autoscaling.worker.enabled needs worker.enabled: true." -}}
{{- end -}}
{{- if and $values.exposure.gateway.enabled (not $values.exposure.gateway.name) -}}
{{- $found = append $found "exposure.gateway.enabled is true, but exposure.gateway.name is empty: name the Gateway." -}}
{{- end -}}
{{- if $values.backup.enabled -}}
{{- if not $values.backup.claim -}}
{{- $found = append $found "backup.enabled is true, but backup.claim is empty: name the claim that archives are written to." -}}
{{- end -}}
{{- if not $values.backup.slotKeysClaim -}}
{{- $found = append $found "backup.enabled is true, but backup.slotKeysClaim is empty: name another claim, for slot keys alone." -}}
{{- end -}}
{{- if and $values.backup.claim (eq $values.backup.claim $values.backup.slotKeysClaim) -}}
{{- $found = append $found "backup.claim and backup.slotKeysClaim are one claim: slot keys never lie in one place with the records; name two." -}}
{{- end -}}
{{- range $service := include "cipherward.backedUp" $ | splitList " " -}}
{{- if eq (index $values.services $service).volume.accessMode "ReadWriteOncePod" -}}
{{- $found = append $found (printf "services.%s.volume.accessMode is ReadWriteOncePod, and a backup mounts the volume beside the pod: set ReadWriteOnce, or leave backup.enabled false and take snapshots of the volumes." $service) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if include "cipherward.production" . -}}
{{- if eq $values.tls.mode "devSelfSigned" -}}
{{- $found = append $found "production refuses tls.mode: devSelfSigned; set certManager or existingSecret." -}}
{{- end -}}
{{- if not $values.kafka.bootstrap -}}
{{- $found = append $found "production refuses the embedded feed: set kafka.bootstrap." -}}
{{- end -}}
{{- if not $values.kafka.existingSecret -}}
{{- $found = append $found "production needs kafka.existingSecret: the brokers' authority and what shows who we are." -}}
{{- end -}}
{{- if and (eq $values.kafka.security "sasl_ssl") (not $values.kafka.username) -}}
{{- $found = append $found "kafka.security is sasl_ssl, but kafka.username is empty." -}}
{{- end -}}
{{- if and $values.traces.endpoint (not $values.traces.caSecret) -}}
{{- $found = append $found "production sends no traces in plaintext: set traces.caSecret (ca.crt of the collector's authority)." -}}
{{- end -}}
{{- if not $values.mongo.existingSecret -}}
{{- $found = append $found "production refuses the embedded store: set mongo.existingSecret (uri, ca.crt)." -}}
{{- end -}}
{{- else -}}
{{- if $values.kafka.bootstrap -}}
{{- $found = append $found "kafka.bootstrap is set, but profile is embedded: set profile: production." -}}
{{- end -}}
{{- if $values.mongo.existingSecret -}}
{{- $found = append $found "mongo.existingSecret is set, but profile is embedded: set profile: production." -}}
{{- end -}}
{{- if $storages -}}
{{- $found = append $found "several storages need MongoDB: set profile: production and mongo.existingSecret." -}}
{{- end -}}
{{- end -}}
{{- /* What is wrong by itself is said first: the cluster is asked about what could be installed. */ -}}
{{- if not $found }}{{ $found = include "cipherward.clusterFaults" . | fromJsonArray }}{{ end -}}
{{- if $found -}}
{{- fail (printf "\n- %s\n" (join "\n- " $found)) -}}
{{- end -}}
{{- end -}}
