{{/* Written from values.yaml: UPDATE_GOLDEN=1 hack/test.sh e2e/src/chart/values. See cg.fillIn. */}}
{{- define "cg.defaults" -}}
enabled: true
nameOverride: ""
fullnameOverride: ""
commonLabels: {}
crds:
  enabled: true
  keep: true
scope: namespace
watchNamespaces: []
image:
  repository: ghcr.io/claude-gateway/claude-gateway
  tag: ""
  digest: ""
  pullPolicy: IfNotPresent
imagePullSecrets: []
gatewayImage:
  repository: ""
  tag: ""
  digest: ""
replicas: 1
leaderElection: true
args:
  - operator
extraArgs: []
extraEnv: []
extraEnvFrom: []
extraVolumes: []
extraVolumeMounts: []
resources: {}
podLabels: {}
podAnnotations: {}
deploymentAnnotations: {}
podSecurityContext: {}
securityContext: {}
nodeSelector: {}
tolerations: []
affinity: {}
topologySpreadConstraints: []
priorityClassName: ""
terminationGracePeriodSeconds: 30
revisionHistoryLimit: 3
serviceAccount:
  create: true
  name: ""
  annotations: {}
rbac:
  create: true
  gatewayNames: []
  aggregateClusterRoles: true
podDisruptionBudget:
  enabled: true
  maxUnavailable: 1
metrics:
  service:
    enabled: true
    annotations: {}
  serviceMonitor:
    enabled: false
    interval: 30s
    labels: {}
networkPolicy:
  enabled: false
  metricsFrom: []
  egress: []
gateway:
  enabled: false
  name: main
  annotations: {}
  spec: {}
quickstart:
  enabled: false
  name: quickstart
  spec: {}
  anthropic:
    apiKey: ""
    existingSecret:
      name: ""
      key: api-key
  postgres:
    image: docker.io/library/postgres:18
    password: ""
    storage: 1Gi
    storageClassName: ""
    resources: {}
  identityProvider:
    image: ghcr.io/dexidp/dex:v2.44.0
    email: developer@example.com
    password: ""
    clientSecret: ""
    resources: {}
{{- end }}
