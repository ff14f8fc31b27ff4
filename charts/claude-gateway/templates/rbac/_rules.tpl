{{/* The names of all gateways, those of this chart among them; empty: not known. */}}
{{- define "cg.gatewayNames" -}}
{{- $names := .Values.rbac.gatewayNames }}
{{- if $names }}
{{- if .Values.gateway.enabled }}{{ $names = append $names .Values.gateway.name }}{{ end }}
{{- if .Values.quickstart.enabled }}{{ $names = append $names .Values.quickstart.name }}{{ end }}
{{- end }}
{{- uniq $names | toYaml }}
{{- end }}

{{/* What the operator may do where its gateways are. */}}
{{- define "cg.rules" -}}
# The three kinds. Their specs belong to people; patch takes off the finalizer of earlier versions, and status is a resource of its own.
- apiGroups: [claudegateway.dev]
  resources: [claudegateways, spendpolicies, managedsettings]
  verbs: [get, list, watch, patch]
- apiGroups: [claudegateway.dev]
  resources: [claudegateways/status, spendpolicies/status, managedsettings/status]
  verbs: [get, patch]
# Owner references that block deletion, where OwnerReferencesPermissionEnforcement is on.
- apiGroups: [claudegateway.dev]
  resources: [claudegateways/finalizers, spendpolicies/finalizers, managedsettings/finalizers]
  verbs: [update]
# What a ClaudeGateway becomes. RBAC cannot limit create, list and watch by name; patch and delete it can, where the names
# of the gateways are known.
{{- $names := include "cg.gatewayNames" . | fromYamlArray }}
- apiGroups: ['']
  resources: [configmaps, services, serviceaccounts]
  verbs: [get, list, watch, create{{ if not $names }}, patch, delete{{ end }}]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create{{ if not $names }}, patch, delete{{ end }}]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create{{ if not $names }}, patch, delete{{ end }}]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create{{ if not $names }}, patch, delete{{ end }}]
- apiGroups: [networking.k8s.io]
  resources: [ingresses, networkpolicies]
  verbs: [get, list, watch, create{{ if not $names }}, patch, delete{{ end }}]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create{{ if not $names }}, patch, delete{{ end }}]
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors]
  verbs: [get, list, watch, create{{ if not $names }}, patch, delete{{ end }}]
# Credentials that a ClaudeGateway refers to are read; the signing keys of sessions are made, and rotated.
- apiGroups: ['']
  resources: [secrets]
  verbs: [get, list, watch, create{{ if not $names }}, patch{{ end }}]
{{- if $names }}
- apiGroups: ['', apps, autoscaling, policy, networking.k8s.io, gateway.networking.k8s.io, monitoring.coreos.com]
  resources:
    - configmaps
    - services
    - serviceaccounts
    - deployments
    - horizontalpodautoscalers
    - poddisruptionbudgets
    - ingresses
    - networkpolicies
    - httproutes
    - servicemonitors
  resourceNames:
    {{- range $names }}
    - {{ . }}
    - {{ . }}-config
    {{- end }}
  verbs: [patch, delete]
- apiGroups: ['']
  resources: [secrets]
  resourceNames:
    {{- range $names }}
    - {{ . }}-signing-keys
    {{- end }}
  verbs: [patch]
{{- end }}
# Which pods are ready, and why a rollout stands still.
- apiGroups: ['']
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
# By this Lease one of several operators works in a namespace. RBAC cannot limit create by name.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [claudegateway-namespace]
  verbs: [get, update]
{{- end }}
