{{/* The gateway of the quick start; quickstart.spec lies on top of it. */}}
{{- define "cg.quickstartSpec" -}}
{{- $name := include "cg.quickstartName" . }}
publicURL: http://localhost:8080
replicas: 1
{{- with .Values.imagePullSecrets }}
image:
  pullSecrets:
    {{- toYaml . | nindent 4 }}
{{- end }}
database:
  urlSecretRef:
    name: {{ $name }}
    key: database-url
identityProviders:
  - name: default
    displayName: Development sign-in (not for production)
    issuer: http://127.0.0.1:5556
    clientID: claude-gateway
    clientSecretRef:
      name: {{ $name }}
      key: client-secret
upstreams:
  - name: anthropic
    anthropic:
      apiKeySecretRef:
        {{- if .Values.quickstart.anthropic.apiKey }}
        name: {{ $name }}
        key: anthropic-api-key
        {{- else }}
        name: {{ include "cg.quickstartUpstreamSecret" . }}
        key: {{ .Values.quickstart.anthropic.existingSecret.key }}
        {{- end }}
podTemplate:
  spec:
    containers:
      - name: gateway
        env:
          # The identity provider is beside it in the pod.
          - name: CLAUDE_GATEWAY_ALLOW_LOOPBACK
            value: '1'
      - name: identity-provider
        image: {{ .Values.quickstart.identityProvider.image | quote }}
        command: [/usr/local/bin/dex, serve, /etc/quickstart/dex.yaml]
        env:
          - name: PASSWORD_HASH
            valueFrom:
              secretKeyRef:
                name: {{ $name }}
                key: password-hash
          - name: CLIENT_SECRET
            valueFrom:
              secretKeyRef:
                name: {{ $name }}
                key: client-secret
        ports:
          - name: sign-in
            containerPort: 5556
        resources:
          {{- toYaml .Values.quickstart.identityProvider.resources | nindent 10 }}
        securityContext:
          runAsNonRoot: true
          runAsUser: 1001
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          seccompProfile:
            type: RuntimeDefault
          capabilities:
            drop: [ALL]
        volumeMounts:
          - name: identity-provider
            mountPath: /etc/quickstart
            readOnly: true
    volumes:
      - name: identity-provider
        configMap:
          name: {{ $name }}-identity-provider
{{- end }}

{{- define "cg.quickstartUpstreamSecret" -}}
{{- default (printf "%s-anthropic" (include "cg.quickstartName" .)) .Values.quickstart.anthropic.existingSecret.name }}
{{- end }}
