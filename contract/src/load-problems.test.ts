import { describe, expect, it } from '@jest/globals';
import { documentWith, failure, load, problems } from './testing/documents.ts';

describe('an invalid file', () => {
  type Row = [name: string, sections: Record<string, string | null>, problem: Record<string, unknown>];
  const anthropic = (more: string) => `[{ provider: anthropic, auth: { api_key: k }, ${more} }]`;
  const idp = (more: string) => `{ issuer: https://idp.example, client_id: g, client_secret: s, ${more} }`;
  const rows: Row[] = [
    [
      'an unknown section',
      { lisen: '{}' },
      { path: 'lisen', message: 'is not a known key', suggestion: 'listen' },
    ],
    ['a misspelt section', { timeout: '{}' }, { path: 'timeout', suggestion: 'timeouts' }],
    [
      'metrics at the port of listen',
      { listen: '{ host: 127.0.0.1, port: 9464 }', metrics: '{}' },
      { path: 'metrics.port', message: expect.stringContaining('one of their own, such as 9465') },
    ],
    ['a misspelt key of metrics', { metrics: '{ prot: 1 }' }, { path: 'metrics.prot', suggestion: 'port' }],
    [
      'a misspelt key',
      { listen: '{ hots: 127.0.0.1, public_url: "https://a.example" }' },
      { path: 'listen.hots', suggestion: 'host' },
    ],
    [
      'a misspelt nested key',
      { upstreams: anthropic('base_ulr: x') },
      { path: 'upstreams[0].base_ulr', suggestion: 'base_url' },
    ],
    [
      'a section without value',
      { limits: '' },
      { path: 'limits', message: 'must be a map of keys', found: 'nothing' },
    ],
    [
      'a missing section',
      { session: null },
      { path: 'session', message: 'is required: must be a map of keys' },
    ],
    [
      'no identity provider',
      { oidc: null },
      { path: 'oidc', message: expect.stringContaining('is required') },
    ],
    [
      'a public address without URL',
      { listen: '{ host: 0.0.0.0 }' },
      { path: 'listen.public_url', message: expect.stringContaining('is required') },
    ],
    [
      'a port that is none',
      { listen: '{ host: 127.0.0.1, port: 70000 }' },
      { path: 'listen.port', message: 'must be at most 65535', found: '70000' },
    ],
    [
      'a port that is text',
      { listen: '{ host: 127.0.0.1, port: http }' },
      { path: 'listen.port', message: 'must be a number', found: '"http"' },
    ],
    [
      'a fraction',
      { limits: '{ max_url_length: 1.5 }' },
      { path: 'limits.max_url_length', message: 'must be a whole number', found: '1.5' },
    ],
    [
      'a network that is none',
      { access_control: '{ deny_cidrs: [10.0.0.0/33] }' },
      { path: 'access_control.deny_cidrs[0]', found: '"10.0.0.0/33"' },
    ],
    [
      'mapped addresses of more than all of IPv4',
      { access_control: '{ deny_cidrs: ["::ffff:0:0/95", "::ffff:10.0.0.0/104"] }' },
      { path: 'access_control.deny_cidrs[0]', found: '"::ffff:0:0/95"' },
    ],
    [
      'a short secret',
      { session: '{ jwt_secret: hunter2 }' },
      { path: 'session.jwt_secret', message: expect.stringContaining('at least 32'), found: 'a string' },
    ],
    [
      'a short secret in a list',
      { session: '{ jwt_secret: [hunter2] }' },
      { path: 'session.jwt_secret[0]', found: 'a string' },
    ],
    [
      'a numeric secret',
      { oidc: '{ issuer: https://i.example, client_id: g, client_secret: 31415926 }' },
      { path: 'oidc.client_secret', message: 'must be a string', found: 'a number' },
    ],
    [
      'another database',
      { store: '{ postgres_url: "mysql://u:hunter2@db/x" }' },
      { path: 'store.postgres_url', found: 'a string' },
    ],
    [
      'a metadata service',
      { oidc: '{ issuer: "http://169.254.169.254/", client_id: g, client_secret: s }' },
      { path: 'oidc.issuer', message: expect.stringContaining('metadata') },
    ],
    [
      'scopes without openid',
      { oidc: idp('scopes: [email]') },
      { path: 'oidc.scopes', message: "must include 'openid'", found: 'a list' },
    ],
    [
      'a managed parameter',
      { oidc: idp('extra_auth_params: { state: x }') },
      { path: 'oidc.extra_auth_params.state', found: 'a string' },
    ],
    [
      'an unknown algorithm',
      { oidc: idp('id_token_signed_response_alg: RS25') },
      { path: 'oidc.id_token_signed_response_alg', found: '"RS25"', suggestion: 'RS256' },
    ],
    [
      'no client secret',
      { oidc: '{ issuer: https://i.example, client_id: g }' },
      { path: 'oidc.client_secret', message: expect.stringContaining('private_key_jwt') },
    ],
    [
      'a key that is none',
      {
        oidc: '{ issuer: https://i.example, client_id: g, token_endpoint_auth_method: private_key_jwt, client_assertion: { private_key_pem: x, certificate_pem: y } }',
      },
      {
        path: 'oidc.client_assertion.private_key_pem',
        message: expect.stringContaining('PEM'),
        found: 'a string',
      },
    ],
    [
      'an empty list of providers',
      { oidc: '[]' },
      { path: 'oidc', message: 'needs at least one provider', found: 'an empty list' },
    ],
    [
      'a provider without name',
      { oidc: `[${idp('label: A')}]` },
      { path: 'oidc[0].name', message: expect.stringContaining('is required') },
    ],
    [
      'a provider name in capitals',
      { oidc: `[${idp('name: Staff')}]` },
      { path: 'oidc[0].name', found: '"Staff"' },
    ],
    [
      'two providers of one name',
      { oidc: `[${idp('name: a')}, ${idp('name: a')}]` },
      { path: 'oidc[1].name', message: 'names must be unique' },
    ],
    [
      'a prefix of groups that begins with another one',
      {
        oidc: `[${idp('name: a, groups_prefix: p/')}, ${idp('name: b, groups_prefix: p/x/')}, ${idp('name: c, groups_prefix: p/')}]`,
      },
      {
        path: 'oidc[1].groups_prefix',
        message: expect.stringContaining('begins with the groups_prefix of a'),
      },
    ],
    [
      'a prefix of groups with a blank',
      { oidc: idp('groups_prefix: "our partners/"') },
      { path: 'oidc.groups_prefix', message: 'must not contain white space' },
    ],
    [
      'providers as text',
      { oidc: 'okta' },
      { path: 'oidc', message: 'must be one identity provider or a list of them', found: '"okta"' },
    ],
    ['no upstream', { upstreams: '[]' }, { path: 'upstreams', message: 'needs at least one upstream' }],
    [
      'a misspelt provider',
      { upstreams: '[{ provider: anthropc, auth: { api_key: k } }]' },
      { path: 'upstreams[0].provider', found: '"anthropc"', suggestion: 'anthropic' },
    ],
    [
      'no provider',
      { upstreams: '[{ auth: { api_key: k } }]' },
      { path: 'upstreams[0].provider', message: expect.stringContaining('is required') },
    ],
    [
      'no credential',
      { upstreams: '[{ provider: anthropic }]' },
      { path: 'upstreams[0].auth', message: expect.stringMatching(/^is required: must have one form/) },
    ],
    [
      'an empty credential',
      { upstreams: '[{ provider: anthropic, auth: {} }]' },
      { path: 'upstreams[0].auth', message: expect.stringMatching(/^must have one form/) },
    ],
    [
      'two credentials',
      { upstreams: '[{ provider: anthropic, auth: { api_key: a, oauth_token: b } }]' },
      { path: 'upstreams[0].auth', message: expect.stringMatching(/^must have one form/) },
    ],
    [
      'a misspelt credential',
      { upstreams: '[{ provider: anthropic, auth: { apikey: a } }]' },
      { path: 'upstreams[0].auth', suggestion: 'api_key' },
    ],
    [
      'an empty key',
      { upstreams: '[{ provider: anthropic, auth: { api_key: "" } }]' },
      { path: 'upstreams[0].auth.api_key', message: 'must not be empty', found: 'an empty string' },
    ],
    [
      'half a federation',
      { upstreams: '[{ provider: anthropic, auth: { federation_rule_id: a, organization_id: b } }]' },
      { path: 'upstreams[0].auth.identity_token_file', message: expect.stringContaining('is required') },
    ],
    [
      'half of AWS keys',
      { upstreams: '[{ provider: bedrock, region: us-east-1, auth: { aws_access_key_id: a } }]' },
      { path: 'upstreams[0].auth', message: expect.stringContaining('set both or neither') },
    ],
    [
      'a bearer that assumes a role',
      {
        upstreams:
          '[{ provider: bedrock, region: us-east-1, auth: { aws_bearer_token: a }, assume_role: { role_arn: "arn:aws:iam::123456789012:role/x" } }]',
      },
      { path: 'upstreams[0].assume_role' },
    ],
    [
      'a reserved header',
      { upstreams: anthropic('headers: { X-Api-Key: hunter2 }') },
      { path: 'upstreams[0].headers.X-Api-Key', found: 'a string' },
    ],
    [
      'two upstreams of one name',
      {
        upstreams:
          '[{ provider: anthropic, auth: { api_key: a } }, { provider: anthropic, auth: { api_key: b } }]',
      },
      { path: 'upstreams[1]', message: expect.stringContaining('the name anthropic is taken') },
    ],
    [
      'identity for Anthropic',
      { upstreams: anthropic('forward_user_identity: true') },
      { path: 'upstreams[0].forward_user_identity', message: expect.stringContaining('api.anthropic.com') },
    ],
    [
      'a way round a guardrail',
      {
        upstreams:
          '[{ provider: bedrock, region: a-1, guardrail: { id: g, version: "1" } }, { provider: bedrock, name: b, region: a-1 }]',
      },
      { path: 'upstreams[1].guardrail', message: expect.stringContaining('all bedrock upstreams or none') },
    ],
    [
      'a model on an unknown upstream',
      { models: '[{ id: m, upstream_model: { antropic: m } }]' },
      { path: 'models[0].upstream_model.antropic', suggestion: 'anthropic' },
    ],
    [
      'a model on no upstream',
      { models: '[{ id: m, upstream_model: {} }]' },
      { path: 'models[0].upstream_model' },
    ],
    [
      'code beside cli',
      { managed: '{ policies: [{ code: {}, match: { groups: [a] } }, { cli: {} }] }' },
      { path: 'managed.policies[1].cli', message: expect.stringContaining('code') },
    ],
    [
      'an empty group list',
      { managed: '{ policies: [{ match: { groups: [] } }] }' },
      { path: 'managed.policies[0].match.groups', found: 'an empty list' },
    ],
    [
      'an address for a domain',
      { managed: '{ policies: [{ match: { email_domain: a@b.example } }] }' },
      { path: 'managed.policies[0].match.email_domain', found: 'a string' },
    ],
    [
      'MCP servers',
      { managed: '{ policies: [{ cli: { mcpServers: {} } }] }' },
      { path: 'managed.policies[0].cli.mcpServers' },
    ],
    [
      'a setting of the wrong shape',
      { managed: '{ policies: [{ cli: { permissions: { deny: Bash } } }] }' },
      { path: 'managed.policies[0].cli.permissions.deny' },
    ],
    [
      'settings that are no JSON',
      { managed: '{ policies: [{ cli: { x: .nan } }] }' },
      { path: 'managed.policies[0].cli', message: expect.stringContaining('JSON') },
    ],
    [
      'a misspelt mode',
      { managed: '{ policy_mode: layerd }' },
      { path: 'managed.policy_mode', suggestion: 'layered' },
    ],
    [
      'plain http for telemetry',
      { telemetry: '{ forward_to: [{ url: "http://otel.example" }] }' },
      { path: 'telemetry.forward_to[0].url', found: '"http://otel.example"' },
    ],
    [
      'a Google token for others',
      { telemetry: '{ forward_to: [{ url: "https://otel.example", auth: { google: {} } }] }' },
      { path: 'telemetry.forward_to[0].auth.google', message: expect.stringContaining('googleapis.com') },
    ],
    [
      'a reserved attribute',
      { telemetry: '{ resource_attributes: { User.Email: a } }' },
      { path: 'telemetry.resource_attributes["User.Email"]' },
    ],
    [
      'failing closed without limits',
      { enforcement: '{ fail_closed_on_error: true }' },
      { path: 'enforcement.fail_closed_on_error' },
    ],
    ['prices for nobody', { pricing: '{}' }, { path: 'pricing' }],
    [
      'a price on an unknown upstream',
      {
        admin: '{}',
        pricing:
          '{ overrides: [{ upstream: x, model: m, input: 1, output: 1, cache_read: 1, cache_write: 1 }] }',
      },
      { path: 'pricing.overrides[0].upstream' },
    ],
    [
      'two prices for one model, in two spellings',
      {
        admin: '{}',
        pricing:
          '{ overrides: [{ upstream: anthropic, model: claude-sonnet-4-5, input: 1, output: 1, cache_read: 1, cache_write: 1 }, { upstream: anthropic, model: Claude-Sonnet-4-5@20250929, input: 1, output: 1, cache_read: 1, cache_write: 1 }] }',
      },
      { path: 'pricing.overrides[1]' },
    ],
    [
      'two admin keys of one id',
      {
        admin:
          '{ read_keys: [{ id: a, key: 01234567890123456789012345678901 }], write_keys: [{ id: a, key: x1234567890123456789012345678901 }] }',
      },
      { path: 'admin.read_keys[0].key', found: 'a number' },
    ],
    [
      'a short admin key',
      { admin: '{ read_keys: [{ id: a, key: hunter2 }] }' },
      { path: 'admin.read_keys[0].key', found: 'a string' },
    ],
    [
      'a repeated admin id',
      {
        admin:
          '{ read_keys: [{ id: a, key: "01234567890123456789012345678901" }], write_keys: [{ id: a, key: "x1234567890123456789012345678901" }] }',
      },
      { path: 'admin.write_keys[0].id', message: expect.stringContaining('unique') },
    ],
    ['cri for nobody', { cri: '{ enabled: true, audience: [a] }' }, { path: 'cri.org_allowlist' }],
    [
      'a workload without claims',
      {
        workload_identity:
          '[{ name: a, issuer: https://i.example, audience: x, rules: [{ claims: {}, principal: p }] }]',
      },
      { path: 'workload_identity[0].rules[0].claims' },
    ],
    [
      'a workload with a claim for an email',
      {
        workload_identity:
          '[{ name: a, issuer: https://i.example, audience: x, rules: [{ claims: { sub: a }, principal: p, email: "{user_email}" }] }]',
      },
      { path: 'workload_identity[0].rules[0].email' },
    ],
    [
      'a workload with a broken template',
      {
        workload_identity:
          '[{ name: a, issuer: https://i.example, audience: x, rules: [{ claims: { sub: a }, principal: "ci:{repository" }] }]',
      },
      { path: 'workload_identity[0].rules[0].principal' },
    ],
    [
      'a workload that lives too long',
      {
        workload_identity:
          '[{ name: a, issuer: https://i.example, audience: x, token_ttl_minutes: 721, rules: [{ claims: { sub: a }, principal: p }] }]',
      },
      { path: 'workload_identity[0].token_ttl_minutes', message: 'must be at most 720' },
    ],
    [
      'an issuer on this machine',
      { oidc: '{ issuer: "http://localhost:9000", client_id: g, client_secret: s }' },
      { path: 'oidc.issuer', message: expect.stringContaining('CLAUDE_GATEWAY_ALLOW_LOOPBACK=1') },
    ],
    [
      'an upstream on this machine',
      { upstreams: anthropic('base_url: "http://[::1]:1"') },
      { path: 'upstreams[0].base_url', message: expect.stringContaining('CLAUDE_GATEWAY_ALLOW_LOOPBACK=1') },
    ],
    [
      'an undefined variable',
      { login_notice: '${NOPE}' },
      { path: 'login_notice', message: 'the environment variable NOPE is not set' },
    ],
    [
      'an absent file',
      { login_notice: '${file:/absent}' },
      { path: 'login_notice', message: 'cannot read the file /absent (ENOENT)' },
    ],
    [
      'an empty file',
      { login_notice: '${file:/secrets/empty}' },
      { path: 'login_notice', message: 'the file /secrets/empty is empty' },
    ],
    [
      'a relative file',
      { login_notice: '${file:secret}' },
      { path: 'login_notice', message: expect.stringContaining('must be absolute') },
    ],
  ];

  it.each(rows)('%s is the only problem, in its words', (_, sections, expected) => {
    const found = problems(documentWith(sections));
    expect(found).toHaveLength(1);
    expect(found[0]).toMatchObject(expected);
    expect(JSON.stringify(found)).not.toContain('hunter2');
  });

  it('is allowed on this machine when the environment says so', () => {
    const text = documentWith({
      oidc: '{ issuer: "http://localhost:9000", client_id: g, client_secret: s }',
    });
    expect(() => load(text, { CLAUDE_GATEWAY_ALLOW_LOOPBACK: '1' })).not.toThrow();
    expect(problems(text, { CLAUDE_GATEWAY_ALLOW_LOOPBACK: 'true' })).toHaveLength(1);
  });

  it('shows all its problems at once, in the order of the file, whatever section they are in', () => {
    const text = [
      'whatever: 1',
      'listen: { port: x, tls: {} }',
      'oidc: { issuer: 3 }',
      'session:',
      '  jwt_secret: short',
      'upstreams:',
      '  - { provider: anthropic, auth: { api_key: a } }',
      '  - { provider: anthropic, auth: { api_key: a } }',
      'models: [{ id: m, upstream_model: { x: y } }]',
      'login_notice: ${NOPE}',
    ].join('\n');
    expect(problems(text).map(({ path, line }) => [path, line])).toEqual([
      ['whatever', 1],
      ['listen.port', 2],
      ['listen.tls.cert', 2],
      ['listen.tls.key', 2],
      ['listen.public_url', 2],
      ['oidc.issuer', 3],
      ['oidc.client_id', 3],
      ['oidc.client_secret', 3],
      ['session.jwt_secret', 5],
      ['upstreams[1]', 8],
      ['models[0].upstream_model.x', 9],
      ['login_notice', 10],
      ['store', undefined],
    ]);
  });

  it('reads well on a terminal', () => {
    const text = documentWith({ lisen: '{}', timeout: '{}', session: '{ jwt_secret: short }' });
    expect(failure(text).format()).toBe(
      [
        'gateway.yaml has 3 problems:',
        '  session.jwt_secret (line 3): must have at least 32 characters (openssl rand -base64 32), found a string',
        '  lisen (line 6): is not a known key; did you mean listen?',
        '  timeout (line 7): is not a known key; did you mean timeouts?',
      ].join('\n'),
    );
    expect(failure(documentWith({ lisen: '{}' })).format()).toMatch(/^gateway.yaml has a problem:\n/);
  });
});

describe('text that is no YAML', () => {
  it.each([
    ['a list that does not end', 'listen: [1, 2\noidc: {}', 2],
    ['a tab', 'listen:\n\thost: x', 2],
    ['a key twice', 'listen: {}\noidc: {}\nlisten: {}', 3],
    ['a nested key twice', 'listen:\n  port: 1\n  port: 2', 3],
    ['two documents', 'listen: {}\n---\noidc: {}', 2],
  ])('%s: line and column', (_, text, line) => {
    const [problem] = problems(text);
    expect(problem).toMatchObject({
      path: '',
      line,
      column: expect.any(Number),
      message: expect.any(String),
    });
    expect(failure(text).format()).toContain(`line ${line}, column`);
  });

  it.each(['', '# nothing', '[]', 'text', '3'])('%j is no configuration', (text) => {
    expect(problems(text)).toEqual([expect.objectContaining({ path: '', message: 'must be a map of keys' })]);
  });

  it('never quotes the text, which may hold a secret', () => {
    for (const text of [
      'session: {jwt_secret: "hunter2',
      'a: "hunter2\\q"',
      'a: hunter2: b',
      '? [hunter2\n',
      'a: !hunter2 b: c',
    ]) {
      const error = failure(text);
      expect(error.format() + error.message).not.toContain('hunter2');
    }
  });

  it('refuses aliases of nothing, and a bomb of aliases', () => {
    expect(problems('listen: *nowhere')[0]?.message).toContain('aliases');
    const levels = Array.from(
      { length: 12 },
      (_, i) =>
        `a${i}: &a${i} [${Array(9)
          .fill(i === 0 ? 'x' : `*a${i - 1}`)
          .join(', ')}]`,
    );
    expect(problems(levels.join('\n'))[0]?.message).toContain('aliases');
  });
});

describe('a URL with a user name or password', () => {
  const URL_TEXT = 'https://ann:hunter2@host.example/.well-known/x';
  const workload = (fields: string) =>
    `[{ name: ci, issuer: https://ci.example, audience: a, rules: [{ claims: { a: b }, principal: "ci:x" }], ${fields} }]`;
  const SECRET = `whsec_${Buffer.alloc(24, 7).toString('base64')}`;

  it.each([
    ['listen.public_url', { listen: `{ public_url: "${URL_TEXT}" }` }],
    ['oidc.issuer', { oidc: `{ issuer: "${URL_TEXT}", client_id: g, client_secret: s }` }],
    [
      'oidc.discovery_url',
      { oidc: `{ issuer: https://a.example, discovery_url: "${URL_TEXT}", client_id: g, client_secret: s }` },
    ],
    [
      'oidc.form_action_origins[0]',
      {
        oidc: `{ issuer: https://a.example, form_action_origins: ["${URL_TEXT}"], client_id: g, client_secret: s }`,
      },
    ],
    [
      'upstreams[0].base_url',
      { upstreams: `[{ provider: anthropic, base_url: "${URL_TEXT}", auth: { api_key: k } }]` },
    ],
    [
      'upstreams[0].base_url',
      { upstreams: `[{ provider: bedrock, region: us-east-1, base_url: "${URL_TEXT}" }]` },
    ],
    ['workload_identity[0].jwks_url', { workload_identity: workload(`jwks_url: "${URL_TEXT}"`) }],
    ['telemetry.forward_to[0].url', { telemetry: `{ forward_to: [{ url: "${URL_TEXT}" }] }` }],
    [
      'alerts.webhooks[0].url',
      {
        admin: '{}',
        alerts: `{ webhooks: [{ name: a, url: "${URL_TEXT}", secret: "${SECRET}" }] }`,
      },
    ],
    ['cri.issuer', { cri: `{ issuer: "${URL_TEXT}" }` }],
    ['cri.jwks_url', { cri: `{ jwks_url: "http://a:hunter2@127.0.0.1/" }` }],
    ['cri.policy.webhook.url', { cri: `{ policy: { webhook: { url: "${URL_TEXT}" } } }` }],
  ])('is refused at %s, and not shown', (path, sections) => {
    const error = failure(documentWith(sections));
    expect(error.problems.map((problem) => problem.path)).toContain(path);
    expect(error.format()).toMatch(/user name or password|without credentials/);
    expect(error.format()).not.toContain('hunter2');
  });
});
