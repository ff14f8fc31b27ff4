import { describe, expect, it } from '@jest/globals';
import { completeYaml, documentWith, ENV, failure, FILES, load, problems } from './testing/documents.ts';
import { loadConfig } from './load-config.ts';

describe('a valid file', () => {
  it('gets all defaults', () => {
    const { config, warnings } = load(documentWith());
    expect(warnings).toEqual([]);
    expect(config).toMatchObject({
      listen: { host: '127.0.0.1', port: 8080, trusted_proxies: [] },
      oidc: [
        {
          name: 'default',
          groups_claim: 'groups',
          email_claim: 'email',
          use_pkce: true,
          userinfo_fallback: false,
          scope_on_refresh: false,
          extra_auth_params: {},
          form_action_origins: [],
        },
      ],
      session: { jwt_secret: ['0123456789abcdef0123456789abcdef'], ttl_hours: 1 },
      store: { max_connections: 5, connect_timeout_seconds: 5, readiness_grace_seconds: 0 },
      upstreams: [{ provider: 'anthropic', name: 'anthropic', base_url: 'https://api.anthropic.com' }],
      models: [],
      auto_include_builtin_models: true,
      managed: { policies: [] },
      workload_identity: [],
      access_control: { allow_cidrs: [], deny_cidrs: [] },
      limits: { max_request_bytes: 33_554_432 },
      timeouts: { upstream_ttfb_ms: 120_000 },
      rate_limits: {
        device_authorization: { max: 600, window_seconds: 600 },
        device_verify: { max: 30, window_seconds: 600 },
      },
      shutdown: { grace_seconds: 600 },
      telemetry: { forward_to: [] },
      enforcement: {
        fail_closed_on_error: false,
        abandoned_read_ms: 60_000,
        max_wait_ms: 20_000,
        min_output_tokens: 1024,
        warn_at_percent: [75, 95],
      },
    });
    for (const section of ['admin', 'metrics', 'pricing', 'load_test_mode', 'cri', 'login_notice'] as const) {
      expect(config[section]).toBeUndefined();
    }
  });

  it('gets the defaults of optional sections', () => {
    const { config } = load(
      documentWith({
        admin: '{}',
        metrics: '{}',
        pricing: '{}',
        load_test_mode: '{ enabled: false }',
        cri: '{}',
      }),
    );
    expect(config.admin).toEqual({
      read_keys: [],
      write_keys: [],
      admin_groups: [],
      audit_retention_days: 365,
      spend_retention_months: 13,
      identity_retention_days: 90,
      group_limit_mode: 'min',
    });
    expect(config.metrics).toEqual({ host: '0.0.0.0', port: 9464 });
    expect(config.pricing).toEqual({ multiplier: 1, overrides: [] });
    expect(config.load_test_mode).toEqual({ enabled: false, reply_tokens: 750, reply_seconds: 9.5 });
    expect(config.cri).toEqual({ enabled: false, audience: [], org_allowlist: [] });
  });

  it('may use every section at once, and is normalised', () => {
    const { config, warnings } = load(completeYaml());
    expect(warnings).toEqual([]);
    expect(config.listen).toMatchObject({ port: 8443, public_url: 'https://claude.corp.example' });
    expect(config.oidc.map(({ name }) => name)).toEqual(['staff', 'partners']);
    expect(config.oidc[0]).toMatchObject({
      client_secret: 'oidc-secret-from-file',
      userinfo_fallback: true,
      allowed_email_domains: ['corp.example'],
      allowed_groups: ['developers'],
      form_action_origins: ['https://sso.corp.example'],
    });
    expect(config.session.jwt_secret).toHaveLength(2);
    expect(config.store.password).toBe('p@ss:word');
    expect(config.upstreams.map(({ name }) => name)).toEqual([
      'anthropic',
      'federated',
      'own-proxy',
      'bedrock',
      'anthropicAws',
      'anthropicGoogleCloud',
      'vertex',
      'foundry',
    ]);
    expect(config.upstreams[0]?.headers).toEqual({ 'x-team': 'platform-gateway' });
    expect(config.managed.policies[0]?.match).toEqual({
      groups: ['contractors'],
      email_domain: 'partner.example',
    });
    expect(config.workload_identity[0]).toMatchObject({ audience: ['https://claude.corp.example'] });
    expect(config.workload_identity[1]).toMatchObject({ token_ttl_minutes: 60, rules: [{ groups: [] }] });
    expect(config.login_notice).toBe('Use is logged.');
    expect(config.rate_limits.device_verify).toEqual({ max: 50, window_seconds: 600 });
    expect(config.telemetry.forward_to[0]).toMatchObject({
      headers: { Authorization: 'Bearer otel-token-from-environment' },
      metrics: true,
      logs: true,
      traces: false,
    });
    expect(config.cri?.org_allowlist).toEqual(['org-1']);
  });

  it('may use anchors and merge keys', () => {
    const { config } = load(
      documentWith({ access_control: '{ allow_cidrs: &net [10.0.0.0/8], deny_cidrs: *net }' }) +
        'rate_limits: { device_authorization: &limit { max: 7 }, device_verify: { <<: *limit, window_seconds: 9 } }\n',
    );
    expect(config.access_control.deny_cidrs).toEqual(['10.0.0.0/8']);
    expect(config.rate_limits.device_verify).toEqual({ max: 7, window_seconds: 9 });
  });

  it.each([
    ['a path in public_url', { listen: '{ public_url: "https://a.example/claude" }' }, 'listen.public_url'],
    [
      'telemetry without an address',
      { telemetry: '{ forward_to: [{ url: "https://otel.example" }] }' },
      'telemetry.forward_to',
    ],
    [
      'attributes without telemetry',
      { telemetry: '{ resource_attributes: { team: a } }' },
      'telemetry.resource_attributes',
    ],
    [
      'readiness grace',
      { store: '{ postgres_url: "postgres://x", readiness_grace_seconds: 5 }' },
      'store.readiness_grace_seconds',
    ],
    [
      'plain http to developers',
      { listen: '{ public_url: "http://claude.corp.example" }' },
      'listen.public_url',
    ],
    [
      'plain http to an identity provider',
      { oidc: '{ issuer: "http://idp.corp.example", client_id: g, client_secret: s }' },
      'oidc.issuer',
    ],
    [
      'plain http to one of several',
      { oidc: '[{ name: a, issuer: "http://idp.corp.example", client_id: g, client_secret: s }]' },
      'oidc[0].issuer',
    ],
    [
      'plain http to a discovery document',
      {
        oidc: '{ issuer: "https://idp.example", discovery_url: "http://10.0.0.1/.well-known/x", client_id: g, client_secret: s }',
      },
      'oidc.discovery_url',
    ],
    [
      'plain http to an upstream',
      { upstreams: '[{ provider: anthropic, base_url: "http://llm.svc:4000", auth: { api_key: k } }]' },
      'upstreams[0].base_url',
    ],
    [
      'plain http to a webhook',
      {
        admin: '{}',
        alerts:
          '{ webhooks: [{ name: a, url: "http://hook.example", secret: "whsec_YWxlcnRzLXNlY3JldC1mcm9tLWVudmlyb25tZW50" }] }',
      },
      'alerts.webhooks[0].url',
    ],
    [
      'plain http to the issuer of workloads',
      {
        workload_identity:
          '[{ name: ci, issuer: "http://ci.example", audience: a, rules: [{ claims: { a: b }, principal: "ci:x" }] }]',
      },
      'workload_identity[0].issuer',
    ],
    [
      'plain http to the keys of workloads',
      {
        workload_identity:
          '[{ name: ci, issuer: "https://ci.example", jwks_url: "http://ci.example/k", audience: a, rules: [{ claims: { a: b }, principal: "ci:x" }] }]',
      },
      'workload_identity[0].jwks_url',
    ],
    [
      'a group of administrators that two providers may name',
      {
        oidc: '[{ name: a, issuer: "https://a.example", client_id: c, client_secret: s }, { name: b, issuer: "https://b.example", client_id: c, client_secret: s }]',
        admin: '{ admin_groups: [finops] }',
      },
      'admin.admin_groups',
    ],
    ['a shell default', { login_notice: '"${TEAM:-none}"' }, 'login_notice'],
    [
      'a setting that is not known',
      { managed: '{ policies: [{ cli: { modle: opus } }] }' },
      'managed.policies[0].cli.modle',
    ],
  ])('warns of %s', (_, sections, path) => {
    expect(load(documentWith(sections)).warnings).toEqual([
      { path, message: expect.any(String), line: expect.any(Number) },
    ]);
  });

  it.each(['http://127.0.0.1:8080', 'http://localhost', 'http://[::1]:1'])(
    'does not warn of what stays on this machine: %s',
    (url) => {
      const sections = { listen: `{ host: 127.0.0.1, public_url: "${url}" }` };
      expect(load(documentWith(sections)).warnings).toEqual([]);
    },
  );

  it('does not warn of shell in settings documents', () => {
    const cli = `{ apiKeyHelper: 'echo "\${X:-y}"' }`;
    expect(load(documentWith({ managed: `{ policies: [{ cli: ${cli} }] }` })).warnings).toEqual([]);
  });
});

describe('references', () => {
  it('are filled in after parsing: no value can change the structure', () => {
    const env = { X: 'a\nuse_pkce: false\n# "\'}' };
    const { config } = load(
      documentWith({ oidc: '\n  issuer: https://i.example\n  client_id: ${X}\n  client_secret: s' }),
      env,
    );
    expect(config.oidc[0]).toMatchObject({ client_id: env.X, use_pkce: true });
  });

  it('become numbers and booleans where these are wanted, and text where text is', () => {
    const env = { PORT: '9000', TTL: '0.5', YES: 'true', NO: 'false', ID: '42' };
    const { config } = load(
      documentWith({
        listen: '{ host: 127.0.0.1, port: "${PORT}" }',
        oidc: '{ issuer: https://i.example, client_id: "${ID}", client_secret: "${YES}", use_pkce: "${NO}" }',
        session: '{ jwt_secret: 0123456789abcdef0123456789abcdef, ttl_hours: "${TTL}" }',
        auto_include_builtin_models: '${NO}',
        load_test_mode: '{ enabled: "${YES}", reply_tokens: "${ID}" }',
      }),
      env,
    );
    expect(config).toMatchObject({
      listen: { port: 9000 },
      oidc: [{ client_id: '42', client_secret: 'true', use_pkce: false }],
      session: { ttl_hours: 0.5 },
      auto_include_builtin_models: false,
      load_test_mode: { enabled: true, reply_tokens: 42 },
    });
  });

  it('are booleans only when they are the whole value, and not when quoted text is', () => {
    expect(problems(documentWith({ auto_include_builtin_models: '"true"' }))).toHaveLength(1);
    expect(problems(documentWith({ auto_include_builtin_models: 't${X}' }), { X: 'rue' })).toHaveLength(1);
    expect(problems(documentWith({ auto_include_builtin_models: '${X}' }), { X: 'yes' })).toEqual([
      { path: 'auto_include_builtin_models', message: 'must be true or false', found: 'a string', line: 6 },
    ]);
  });

  it('do not show in problems what they stand for', () => {
    const secret = 'hunter2-from-somewhere';
    const env = { S: secret };
    const documents: Record<string, string>[] = [
      { listen: '{ host: 127.0.0.1, port: "${S}" }' },
      { managed: '{ policy_mode: "${S}" }' },
      { managed: '{ policies: [{ cli: { permissions: { defaultMode: "${S}" } } }] }' },
      { access_control: '{ deny_cidrs: ["x-${S}"] }' },
      { upstreams: '[{ provider: "${S}" }]' },
      { limits: '"${S}"' },
    ];
    for (const sections of documents) {
      const error = failure(documentWith(sections), env);
      expect(error.format() + error.message + JSON.stringify(error.problems)).not.toContain(secret);
    }
  });

  it('ask for each file that is named, and for no other', () => {
    const asked: string[] = [];
    loadConfig(completeYaml(), {
      env: ENV,
      readFile: (path) => {
        asked.push(path);
        return FILES[path] ?? '';
      },
    });
    expect(new Set(asked)).toEqual(
      new Set(['/secrets/oidc', '/secrets/ca', '/secrets/db', '/secrets/anthropic']),
    );
  });
});
