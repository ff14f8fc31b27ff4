import type { ClaudeGatewaySpecInput } from '../claude-gateway.ts';
import type { ManagedSettingsSpecInput } from '../managed-settings.ts';
import type { SpendPolicySpecInput } from '../spend-policy.ts';

const secret = (key: string) => ({ name: 'claude', key });

const everything: ClaudeGatewaySpecInput = {
  publicURL: 'https://claude.corp.example',
  image: {
    repository: 'registry.corp.example:5000/claude/gateway',
    tag: '0.1.0',
    digest: `sha256:${'0'.repeat(64)}`,
    pullPolicy: 'IfNotPresent',
    pullSecrets: [{ name: 'registry' }],
  },
  replicas: 3,
  service: {
    type: 'LoadBalancer',
    port: 443,
    loadBalancerClass: 'corp.example/internal',
    labels: { team: 'platform' },
    annotations: { 'corp.example/scheme': 'internal' },
  },
  ingress: {
    className: 'nginx',
    hosts: ['claude.corp.example'],
    tls: { secretName: 'claude-tls' },
    labels: { team: 'platform' },
    annotations: { 'cert-manager.io/cluster-issuer': 'corp' },
  },
  httpRoute: {
    parentRefs: [{ name: 'public', namespace: 'gateways', sectionName: 'https', port: 443 }],
    hostnames: ['claude.corp.example'],
    labels: { team: 'platform' },
    annotations: { 'corp.example/owner': 'platform' },
  },
  podDisruptionBudget: { maxUnavailable: '25%' },
  networkPolicy: {
    enabled: true,
    ingressFrom: [{ namespaceSelector: { matchLabels: { name: 'ingress' } } }],
    metricsFrom: [{ namespaceSelector: { matchLabels: { name: 'monitoring' } } }],
    egress: [{ to: [{ ipBlock: { cidr: '10.0.0.0/8' } }] }],
  },
  monitoring: { serviceMonitor: true, interval: '15s', labels: { release: 'prometheus' } },
  serviceAccount: { name: 'claude', annotations: { 'eks.amazonaws.com/role-arn': 'arn:aws:iam::1:role/a' } },
  podTemplate: {
    metadata: { labels: { tier: 'edge' }, annotations: { 'corp.example/note': 'yes' } },
    spec: {
      nodeSelector: { disk: 'fast' },
      containers: [{ name: 'gateway', resources: { requests: { cpu: '500m', memory: '256Mi' } } }],
      initContainers: [{ name: 'wait', image: 'busybox' }],
      volumes: [{ name: 'token', emptyDir: {} }],
    },
  },
  listen: { host: '::', port: 8443, tls: { secretName: 'pod-tls' }, trustedProxies: ['10.0.0.0/8', '::1'] },
  database: { urlSecretRef: secret('uri'), maxConnections: 10, connectTimeout: '10s', startTimeout: '90s' },
  session: { groups: 'All', ttl: '8h', signingKeys: { generated: { rotateEvery: '168h' } } },
  identityProviders: [
    {
      name: 'default',
      displayName: 'Employees',
      issuer: 'https://corp.okta.example',
      clientID: '0oa1example',
      clientSecretRef: secret('client-secret'),
      tokenEndpointAuthMethod: 'ClientSecretPost',
      discoveryURL: 'https://corp.okta.example/.well-known/openid-configuration',
      caRef: { kind: 'Secret', name: 'corp-ca', key: 'ca.pem' },
      useProxy: true,
      scopes: ['openid', 'groups'],
      scopeOnRefresh: true,
      extraAuthParams: { domain_hint: 'corp.example' },
      usePKCE: false,
      idTokenSignedResponseAlg: 'ES256',
      clockSkew: '30s',
      additionalAuthorizedParties: ['other'],
      userIDClaim: 'oid',
      emailClaims: ['email', 'upn'],
      groupsClaim: '/realm_access/roles',
      groupsPrefix: 'staff/',
      groupsFilter: ['claude-*'],
      userinfoFallback: true,
      allowedEmailDomains: ['corp.example'],
      allowedGroups: ['engineering'],
      googleGroups: { serviceAccountKeySecretRef: secret('google'), adminEmail: 'admin@corp.example' },
      formActionOrigins: ['https://login.corp.example'],
    },
    {
      name: 'partners',
      issuer: 'https://login.partner.example/v2?tenant=a',
      clientID: 'claude',
      groupsJSONPath: "$.memberships[?@.kind=='team'].name",
      clientAssertion: { privateKeyRef: secret('tls.key'), certificateRef: secret('tls.crt') },
    },
  ],
  workloadIdentity: [
    {
      name: 'github',
      issuer: 'https://token.actions.example',
      audiences: ['claude-gateway'],
      jwksURL: 'https://token.actions.example/keys',
      caRef: { kind: 'ConfigMap', name: 'corp-ca', key: 'ca.crt' },
      tokenTTL: '1h30m',
      rules: [
        {
          claims: { repository_owner: ['corp'], '/job/ref': ['refs/heads/*', 'refs/tags/*'] },
          principal: 'ci:{repository}',
          groups: ['ci'],
          email: 'ci@corp.example',
        },
      ],
    },
  ],
  upstreams: [
    {
      name: 'anthropic',
      models: ['claude-haiku-4-5'],
      groups: ['engineering'],
      headers: [
        { name: 'X-Team', value: 'platform' },
        { name: 'X-Key', secretRef: secret('header') },
      ],
      anthropic: {
        baseURL: 'https://proxy.corp.example/claude',
        apiKeySecretRef: secret('api-key'),
        forwardUserIdentity: true,
      },
    },
    { name: 'anthropic-oauth', anthropic: { oauthTokenSecretRef: secret('token') } },
    {
      name: 'anthropic-federated',
      anthropic: {
        federation: {
          federationRuleID: 'fr_1',
          organizationID: 'org_1',
          tokenAudience: 'https://api.anthropic.com',
          serviceAccountID: 'sa_1',
          workspaceID: 'ws_1',
        },
      },
    },
    {
      name: 'anthropic-file',
      anthropic: {
        federation: { federationRuleID: 'fr_1', organizationID: 'org_1', tokenFile: '/run/token' },
      },
    },
    {
      name: 'bedrock-us',
      bedrock: {
        region: 'us-east-1',
        baseURL: 'https://vpce.corp.example',
        accessKeys: {
          accessKeyIDSecretRef: secret('id'),
          secretAccessKeySecretRef: secret('secret'),
          sessionTokenSecretRef: secret('session'),
        },
        assumeRole: {
          roleARN: 'arn:aws:iam::123456789012:role/inference',
          externalID: 'corp/1',
          sessionName: 'Email',
        },
        guardrail: { id: 'gr-1', version: 'DRAFT', inputTagging: 'LastMessage' },
      },
    },
    {
      name: 'platform-aws',
      anthropicAWS: {
        region: 'us-west-2',
        workspaceID: 'wrkspc_1',
        baseURL: 'https://aws.corp.example',
        apiKeySecretRef: secret('aws'),
      },
    },
    {
      name: 'platform-aws-keys',
      anthropicAWS: {
        region: 'us-west-2',
        workspaceID: 'wrkspc_1',
        accessKeys: {
          accessKeyIDSecretRef: secret('id'),
          secretAccessKeySecretRef: secret('secret'),
          sessionTokenSecretRef: secret('session'),
        },
      },
    },
    {
      name: 'platform-google',
      anthropicGoogleCloud: {
        projectID: 'corp-1',
        workspaceID: 'wrkspc_1',
        location: 'global',
        baseURL: 'https://google.corp.example',
        serviceAccountKeySecretRef: secret('google'),
      },
    },
    {
      name: 'platform-google-token',
      anthropicGoogleCloud: {
        projectID: 'corp-1',
        workspaceID: 'wrkspc_1',
        accessTokenSecretRef: secret('google'),
      },
    },
    {
      name: 'vertex',
      vertex: {
        region: 'europe-west1',
        projectID: 'corp.example:corp-1',
        baseURL: 'https://vertex.corp.example',
        serviceAccountKeySecretRef: secret('google'),
      },
    },
    {
      name: 'vertex-token',
      vertex: { region: 'global', projectID: 'p', accessTokenSecretRef: secret('google') },
    },
    {
      name: 'foundry',
      foundry: {
        resource: 'corp-ai',
        baseURL: 'https://foundry.corp.example',
        apiKeySecretRef: secret('azure'),
      },
    },
  ],
  models: {
    includeBuiltIn: false,
    list: [
      {
        id: 'claude-haiku-4-5',
        displayName: 'Haiku',
        description: 'Quick.',
        upstreamModels: { 'bedrock-us': 'us.anthropic.claude-haiku-4-5-20251001-v1:0' },
      },
    ],
  },
  pricing: {
    multiplier: '0.85',
    overrides: [
      {
        upstream: 'vertex',
        model: 'claude-haiku-4-5',
        input: '1',
        output: '5',
        cacheRead: '0.1',
        cacheWrite: '1.25',
      },
    ],
  },
  admin: {
    groups: ['platform-finops'],
    keys: [{ name: 'terraform', access: 'Write', secretRef: secret('admin') }],
  },
  spend: {
    failurePolicy: 'Closed',
    minOutputTokens: 2048,
    maxWait: '10s',
    abandonedRead: '2m',
    warnAtPercent: [50, 90],
    blockedMessage: 'Ask in #claude.',
    groupLimitMode: 'Widest',
    pools: { priorityOrder: ['engineering', 'ci'], billingGroupTag: 'cost-center' },
    webhooks: [
      { name: 'finops', url: 'https://hooks.corp.example/claude', signingSecretRefs: [secret('whsec')] },
      { name: 'chat', urlSecretRef: secret('chat'), signingSecretRefs: [secret('new'), secret('old')] },
    ],
  },
  retention: { auditDays: 730, spendMonths: 24, identityDays: 30 },
  managedSettingsMode: 'Layered',
  telemetry: {
    destinations: [
      {
        name: 'otel',
        url: 'https://otel.corp.example',
        signals: ['Metrics', 'Logs'],
        headers: [
          { name: 'X-Scope', value: 'claude' },
          { name: 'Authorization', secretRef: secret('otel') },
        ],
      },
      { name: 'sidecar', url: 'http://localhost:4318' },
      {
        name: 'google',
        url: 'https://telemetry.googleapis.com',
        google: { serviceAccountKeySecretRef: secret('google') },
      },
    ],
    resourceAttributes: { 'deployment.environment': 'production' },
  },
  loginNotice: 'For work only.',
  accessControl: { allowCIDRs: ['10.0.0.0/8'], denyCIDRs: ['10.9.0.0/16', '2001:db8::/32'] },
  requestLimits: {
    maxBodyBytes: 1_000_000,
    maxHeaderBytes: 65_536,
    maxURLLength: 8192,
    maxBufferedBodyBytes: 268_435_456,
    maxConnections: 5000,
    maxConnectionsPerAddress: 0,
    maxRequestsInFlightPerPerson: 200,
    maxRequestsInFlightPerAddress: 100,
    minBodyBytesPerSecond: 16_384,
  },
  timeouts: {
    upstreamFirstByte: '90s',
    upstreamIdle: '4m',
    upstreamPingsOnly: '15m',
    requestHeaders: '10s',
    requestBody: '2m',
    clientStall: '1m',
    keepAlive: '75s',
  },
  proxy: { isEgressBoundary: true, idpConnectByHostname: true },
  rateLimits: {
    deviceAuthorization: { max: 60, window: '5m' },
    deviceVerify: { max: 5, window: '1m' },
    deviceConfirm: { max: 500, window: '2m' },
    token: { max: 900, window: '5s' },
    signInPages: { max: 300, window: '20s' },
  },
  shutdown: { delay: '10s', grace: '1h' },
};

/** The other halves of what excludes each other above. */
const otherwise: ClaudeGatewaySpecInput = {
  publicURL: 'http://claude.corp.example:8080/',
  autoscaling: { minReplicas: 2, maxReplicas: 20, targetCPUUtilizationPercentage: 70 },
  podDisruptionBudget: { minAvailable: 1 },
  database: {
    url: 'postgres://db.corp.example:5432/claude?sslmode=verify-full',
    usernameSecretRef: secret('username'),
    passwordSecretRef: secret('password'),
  },
  session: { signingKeys: { secretRefs: [secret('new'), secret('old')] } },
  identityProviders: [
    { name: 'default', issuer: 'https://a.example', clientID: 'a', clientSecretRef: secret('client-secret') },
  ],
  upstreams: [
    { name: 'bedrock', bedrock: { region: 'eu-central-1', bearerTokenSecretRef: secret('bedrock') } },
    { name: 'bedrock-pod', bedrock: { region: 'us-gov-west-1' } },
    {
      name: 'mantle',
      models: ['claude-opus-4-8'],
      mantle: {
        region: 'us-east-1',
        baseURL: 'https://mantle.corp.example',
        accessKeys: {
          accessKeyIDSecretRef: secret('id'),
          secretAccessKeySecretRef: secret('secret'),
          sessionTokenSecretRef: secret('session'),
        },
        assumeRole: {
          roleARN: 'arn:aws-us-gov:iam::123456789012:role/a',
          externalID: 'corp',
          sessionName: 'Subject',
        },
      },
    },
    {
      name: 'mantle-token',
      models: ['m'],
      mantle: { region: 'us-east-1', bearerTokenSecretRef: secret('bedrock') },
    },
  ],
};

/** The least that works. */
const least: ClaudeGatewaySpecInput = {
  publicURL: 'https://claude.corp.example',
  database: { urlSecretRef: secret('uri') },
  identityProviders: otherwise.identityProviders,
  upstreams: [{ name: 'anthropic', anthropic: { apiKeySecretRef: secret('api-key') } }],
};

/** Lists as long as they may be, where one entry says something about another. */
const many: ClaudeGatewaySpecInput = {
  ...least,
  autoscaling: { minReplicas: 1000, maxReplicas: 1000 },
  identityProviders: least.identityProviders.map((provider) => ({
    ...provider,
    scopes: ['openid', ...Array.from({ length: 63 }, (_, index) => `scope-${index}`)],
  })),
  upstreams: Array.from({ length: 32 }, (_, index) => ({
    name: `upstream-${index}`,
    anthropic: { apiKeySecretRef: secret('api-key') },
  })),
  models: {
    list: Array.from({ length: 256 }, (_, index) => ({
      id: `model-${index}`,
      upstreamModels: Object.fromEntries(
        Array.from({ length: 32 }, (_, i) => [`upstream-${i}`, `model-${i}`]),
      ),
    })),
  },
  pricing: {
    overrides: Array.from({ length: 256 }, (_, index) => ({
      upstream: 'upstream-31',
      model: `model-${index}`,
      input: '1',
      output: '5',
      cacheRead: '0.1',
      cacheWrite: '1.25',
    })),
  },
  telemetry: {
    destinations: [
      { name: 'otel', url: 'https://otel.corp.example', signals: ['Metrics', 'Logs', 'Traces'] },
    ],
  },
};

const PERIODS = ['Daily', 'Weekly', 'Monthly'] as const;
const SHARINGS = ['PerMember', 'Pooled'] as const;

const policies: readonly SpendPolicySpecInput[] = [
  {
    gatewayRefs: [{ name: 'main' }],
    subject: { kind: 'Group', name: 'eng-contractors' },
    limits: [
      { period: 'Daily', usd: '100.00' },
      { period: 'Monthly', usd: '5000', sharing: 'Pooled' },
      { period: 'Weekly', tokens: 50_000_000, countCacheReads: true },
      { period: 'Weekly', tokens: 5_000_000 },
      { period: 'Weekly', unlimited: 'USD' },
    ],
    enforcement: { mode: 'Bounded', whenShort: 'Refuse', failurePolicy: 'Closed' },
    timeZone: 'Europe/Berlin',
    warnAtPercent: [75, 95],
    blockedMessage: 'ask for more at https://go.corp.example/claude',
  },
  { subject: { kind: 'Organization' }, limits: [{ period: 'Monthly', usd: '0' }] },
  {
    subject: { kind: 'Organization' },
    limits: PERIODS.flatMap((period) =>
      SHARINGS.flatMap((sharing) => [
        { period, sharing, usd: '999999999.999999999' },
        { period, sharing, tokens: 0 },
        { period, sharing, tokens: 1_000_000_000_000_000, countCacheReads: true },
      ]),
    ),
    timeZone: 'America/Argentina/ComodRivadavia',
  },
  {
    subject: { kind: 'User', name: 'workload:github:ci' },
    limits: [{ period: 'Daily', unlimited: 'Tokens' }],
  },
];

const settings: readonly ManagedSettingsSpecInput[] = [
  {
    gatewayRefs: [{ name: 'main' }],
    match: { groups: ['eng-contractors'], emailDomains: ['partner.example'] },
    priority: 100,
    settings: { availableModels: ['claude-haiku-4-5'], permissions: { deny: ['WebFetch', 'Read(./.env)'] } },
    desktop: { disabledBuiltinTools: ['WebSearch'] },
    serveToDesktop: true,
  },
  { settings: {} },
  { match: {}, desktop: {} },
];

/** Valid specs of each kind; together they set every field. */
export const SAMPLES = {
  ClaudeGateway: [everything, otherwise, least, many],
  SpendPolicy: policies,
  ManagedSettings: settings,
} as const;
