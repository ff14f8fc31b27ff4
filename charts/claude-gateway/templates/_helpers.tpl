{{- define "cg.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "cg.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- $name := include "cg.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "cg.operatorName" -}}
{{ include "cg.fullname" . }}-operator
{{- end }}

{{/* Roles of the whole cluster: releases of one name may be in several namespaces. */}}
{{- define "cg.clusterName" -}}
{{ printf "%s-%s" .Release.Namespace (include "cg.fullname" .) }}
{{- end }}

{{- define "cg.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "cg.operatorName" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name: name the existing ServiceAccount, or set serviceAccount.create=true" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "cg.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | replace "+" "_" | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: claude-gateway
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "cg.selector" -}}
app.kubernetes.io/name: {{ include "cg.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "cg.labels" -}}
{{ include "cg.selector" . }}
{{ include "cg.commonLabels" . }}
{{- end }}

{{/* Labels of the quick start: (dict "context" $ "component" NAME). */}}
{{- define "cg.quickstartSelector" -}}
app.kubernetes.io/name: {{ include "cg.name" .context }}
app.kubernetes.io/instance: {{ .context.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* A reference to an image: (dict "image" IMAGE "fallback" IMAGE "version" TEXT). A digest wins over a tag. */}}
{{- define "cg.image" -}}
{{- $repository := default .fallback.repository .image.repository }}
{{- $own := or .image.repository .image.tag .image.digest }}
{{- $tag := default .version (ternary .image.tag .fallback.tag (not (empty $own))) }}
{{- $digest := ternary .image.digest .fallback.digest (not (empty $own)) }}
{{- if $digest }}{{ $repository }}@{{ $digest }}{{ else }}{{ $repository }}:{{ $tag }}{{ end }}
{{- end }}

{{- define "cg.operatorImage" -}}
{{ include "cg.image" (dict "image" .Values.image "fallback" .Values.image "version" .Chart.AppVersion) }}
{{- end }}

{{- define "cg.gatewayImage" -}}
{{ include "cg.image" (dict "image" .Values.gatewayImage "fallback" .Values.image "version" .Chart.AppVersion) }}
{{- end }}

{{/* The namespaces that the operator watches, as a list; of the cluster, none. */}}
{{- define "cg.namespaces" -}}
{{- if eq .Values.scope "namespace" }}
{{- toYaml (default (list .Release.Namespace) .Values.watchNamespaces | uniq | sortAlpha) }}
{{- else -}}
[]
{{- end }}
{{- end }}

{{/*
Whether the kinds are known to the API server: helm looks a kind up before it makes anything, so that an object of a kind
which the same installation brings would fail it as a whole. Upgrades find the kinds there.
*/}}
{{- define "cg.kindsKnown" -}}
{{- if or .Release.IsUpgrade (not .Values.crds.enabled) (.Capabilities.APIVersions.Has "claudegateway.dev/v1alpha1/ClaudeGateway") }}true{{ end }}
{{- end }}

{{- define "cg.quickstartName" -}}
{{ include "cg.fullname" . }}-quickstart
{{- end }}

{{/*
Gives every value that is missing its default. A value that somebody sets to null, or leaves empty in a file, is removed by helm
together with everything in it. Every template begins with it, since nobody knows which one is the first. Fields that the schema does not name,
such as those of `resources`, stay removed: that is how one takes a limit away.
*/}}
{{- define "cg.fillIn" -}}
{{- include "cg.fillInFrom" (dict "values" .Values "defaults" (include "cg.defaults" . | fromYaml)) }}
{{- end }}

{{- define "cg.fillInFrom" -}}
{{- range $key, $default := .defaults }}
{{- if kindIs "invalid" (index $.values $key) }}
{{- $_ := set $.values $key $default }}
{{- else if kindIs "map" $default }}
{{- include "cg.fillInFrom" (dict "values" (index $.values $key) "defaults" $default) }}
{{- end }}
{{- end }}
{{- end }}
