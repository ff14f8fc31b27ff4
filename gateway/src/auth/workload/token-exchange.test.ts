import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { WorkloadIdentityConfig, WorkloadRule } from '@claude-gateway/contract';
import { SignJWT, type JWTPayload } from 'jose';
import { createTestCa } from '../../net/testing/certificates.ts';
import { TOKEN_EXCHANGE_GRANT } from '../session/token-endpoint.ts';
import { startTokenServer, type Answer, type TokenServer } from '../session/testing/token-server.ts';
import { GITHUB, GITLAB, KUBERNETES } from './testing/claims.ts';
import { startIssuer, type TestIssuer } from './testing/issuer.ts';
import { createTokenExchange } from './token-exchange.ts';
import { useStores } from '../../testing/stores.ts';

const JWT = 'urn:ietf:params:oauth:token-type:jwt';
const ID_TOKEN = 'urn:ietf:params:oauth:token-type:id_token';
const AUDIENCE = 'https://gateway.corp.example';

const database = useStores();
let issuer: TestIssuer;
let server: TokenServer | undefined;
let offset = 0;
const clock = (): Date => new Date(Date.now() + offset);

beforeEach(async () => {
  offset = 0;
  issuer = await startIssuer();
});
afterEach(async () => {
  jest.restoreAllMocks();
  await server?.stop();
  server = undefined;
  await issuer.stop();
});

/** Moves everybody's clock: the cache of keys has its own. */
function travel(ms: number): void {
  const now = Date.now.bind(Date);
  jest.spyOn(Date, 'now').mockImplementation(() => now() + ms);
}

type Entry = Partial<Omit<WorkloadIdentityConfig, 'rules'>> & {
  rules?: (Omit<WorkloadRule, 'groups'> & { groups?: string[] })[];
};

async function serve(...config: Entry[]): Promise<TokenServer> {
  const entries = config.map((entry) => ({
    name: 'ci',
    issuer: issuer.url,
    audience: [AUDIENCE],
    token_ttl_minutes: 30,
    ...entry,
    rules: (entry.rules ?? [{ claims: { sub: '*' }, principal: 'job', groups: ['ci'] }]).map((rule) => ({
      groups: [],
      ...rule,
    })),
  }));
  server = await startTokenServer({
    store: database.store,
    clock,
    tokenExchange: ({ tokens, audit, log }) =>
      createTokenExchange({
        config: entries,
        sessions: database.store.sessions,
        tokens,
        audit,
        log,
        clock,
        allowLoopback: true,
      }),
  });
  return server;
}

/** A token as the platform would give it, for us and fresh. */
function token(
  claims: JWTPayload = GITHUB,
  overrides: JWTPayload = {},
  header = {},
  by = issuer,
): Promise<string> {
  const now = Math.floor(clock().getTime() / 1000);
  const times = { iat: now, nbf: now, exp: now + 300 };
  return by.sign({ ...claims, iss: by.url, aud: AUDIENCE, ...times, ...overrides }, header);
}

function exchange(subjectToken: string, more: Record<string, string> = {}): Promise<Answer> {
  return server!.post('/oauth/token', {
    grant_type: TOKEN_EXCHANGE_GRANT,
    subject_token: subjectToken,
    subject_token_type: JWT,
    ...more,
  });
}

function reason(): unknown {
  return server!.events.findLast(({ event }) => event === 'session.exchange')?.fields['reason'];
}

async function refusal(subjectToken: string): Promise<unknown> {
  const answer = await exchange(subjectToken);
  expect([answer.status, answer.body['error']]).toEqual([400, 'invalid_request']);
  expect(String(answer.body['error_description'])).toMatch(/^The subject_token was not accepted\. /);
  return reason();
}

async function holder(answer: Answer): Promise<Record<string, unknown>> {
  expect([answer.status, answer.body]).toEqual([200, expect.anything()]);
  return (await server!.use(answer.body['access_token'])).body;
}

describe('token exchange', () => {
  it('lets a GitHub Actions job in as its repository', async () => {
    await serve({
      name: 'github',
      rules: [
        { claims: { repository: 'acme/api' }, principal: 'api' },
        {
          claims: { repository: 'acme/*', ref: 'refs/heads/main', event_name: ['push', 'workflow_dispatch'] },
          principal: 'ci:{repository}:{environment}',
          groups: ['ci', 'ci-prod'],
          email: 'ci@corp.example',
        },
        { claims: { repository: 'acme/*' }, principal: 'other' },
      ],
    });
    const answer = await exchange(await token(), { audience: 'a', scope: 'x' });
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.body).toEqual({
      access_token: expect.any(String),
      issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      token_type: 'Bearer',
      expires_in: 1800,
    });
    expect(await holder(answer)).toMatchObject({
      sub: 'workload:github:ci:acme/web:prod',
      name: 'ci:acme/web:prod',
      email: 'ci@corp.example',
      groups: ['ci', 'ci-prod'],
      kind: 'workload',
    });
    expect(server!.events).toContainEqual({
      event: 'session.exchange',
      fields: expect.objectContaining({
        result: 'success',
        sub: 'workload:github:ci:acme/web:prod',
        workload_identity: 'github',
        subject: 'repo:acme/web:environment:prod',
        client_ip: '127.0.0.1',
      }),
    });
    expect(
      (await server!.get('/.well-known/oauth-authorization-server')).body['grant_types_supported'],
    ).toContain(TOKEN_EXCHANGE_GRANT);
  });

  it('lets a GitLab job in, whose groups are a list, and never as the person who started it', async () => {
    await serve({
      name: 'gitlab',
      rules: [{ claims: { groups_direct: 'acme/platform', ref_type: 'branch' }, principal: '{user_email}' }],
    });
    const answer = await exchange(await token(GITLAB), { subject_token_type: ID_TOKEN });
    const principal = await holder(answer);
    expect(principal).toMatchObject({
      sub: 'workload:gitlab:sample-user@corp.example',
      kind: 'workload',
      groups: [],
    });
    expect(principal).not.toHaveProperty('email');
  });

  it('lets a Kubernetes service account in, by nested claims, from an API server with a private authority', async () => {
    const ca = createTestCa();
    const cluster = await startIssuer({ tls: ca.issue('127.0.0.1'), alg: 'ES256' });
    const rules = [
      {
        claims: { '/kubernetes.io/namespace': 'builds', '/kubernetes.io/serviceaccount/name': 'ci-*' },
        principal: '{/kubernetes.io/namespace}/{/kubernetes.io/serviceaccount/name}',
        groups: ['ci'],
      },
    ];
    try {
      const claims = { ...KUBERNETES, aud: [AUDIENCE, 'https://kubernetes.default.svc'] };
      await serve({ name: 'k8s', issuer: cluster.url, ca_cert_pem: ca.cert, rules });
      const admitted = await holder(await exchange(await token(claims, { aud: claims.aud }, {}, cluster)));
      expect(admitted).toMatchObject({ sub: 'workload:k8s:builds/ci-runner', groups: ['ci'] });
      await server!.stop();

      await serve({ name: 'k8s', issuer: cluster.url, rules });
      const untrusted = await exchange(await token(KUBERNETES, {}, {}, cluster));
      expect([untrusted.status, untrusted.body['error']]).toEqual([503, 'temporarily_unavailable']);
      expect(server!.logged.join()).toMatch(/certificate/);
    } finally {
      await cluster.stop();
    }
  });

  it('finds the keys where jwks_url says, without discovery', async () => {
    await serve({ jwks_url: `${issuer.url}/openid/v1/jwks` });
    expect((await exchange(await token())).status).toBe(200);
    expect(issuer.requests).toEqual(['/openid/v1/jwks']);
  });

  it('takes any of several entries of one issuer, by audience and rules', async () => {
    await serve(
      {
        name: 'prod',
        audience: ['prod', 'live'],
        rules: [{ claims: { ref: 'refs/heads/main' }, principal: 'x' }],
      },
      { name: 'test', audience: ['test'], rules: [{ claims: { ref: '*' }, principal: 'x' }] },
      { name: 'late', audience: ['prod'], rules: [{ claims: { ref: 'refs/tags/*' }, principal: 'x' }] },
    );
    const sub = async (overrides: JWTPayload): Promise<unknown> =>
      (await holder(await exchange(await token(GITHUB, overrides))))['sub'];
    expect(await sub({ aud: 'live' })).toBe('workload:prod:x');
    expect(await sub({ aud: ['x', 'test'] })).toBe('workload:test:x');
    expect(await sub({ aud: 'prod', ref: 'refs/tags/v1' })).toBe('workload:late:x');
    expect(await refusal(await token(GITHUB, { aud: 'live', ref: 'refs/tags/v1' }))).toBe('no_rule');
  });

  it('does not outlive the tokens of people', async () => {
    await serve({ token_ttl_minutes: 720 });
    expect((await exchange(await token())).body['expires_in']).toBe(3600);
    expect(server!.logged.join()).toContain('token_ttl_minutes');
  });

  it('makes sessions that can be listed and revoked', async () => {
    await serve({ name: 'revocable' });
    const answer = await exchange(await token());
    const [session] = await database.store.sessions.list({ sub: 'workload:revocable:job', limit: 5 });
    expect(session?.id).toBe((await holder(answer))['sid']);
    expect(session?.identity).toEqual({
      sub: 'workload:revocable:job',
      provider: 'workload:revocable',
      email: null,
      name: 'job',
      groups: ['ci'],
    });
    await server!.post('/oauth/revoke', { token: String(answer.body['access_token']) });
    expect((await server!.use(answer.body['access_token'])).status).toBe(401);
  });

  it.each<[string, JWTPayload, string]>([
    ['of another issuer', { iss: 'https://elsewhere.example' }, 'unknown_issuer'],
    ['without an issuer', { iss: undefined }, 'unknown_issuer'],
    ['for another audience', { aud: 'https://elsewhere.example' }, 'wrong_audience'],
    ['for nobody', { aud: undefined }, 'wrong_audience'],
    ['that has expired', { exp: Math.floor(Date.now() / 1000) - 60 }, 'expired'],
    ['that never expires', { exp: undefined }, 'missing_claim'],
    ['of the future', { nbf: Math.floor(Date.now() / 1000) + 300 }, 'not_yet_valid'],
    ['without its time', { iat: undefined }, 'missing_claim'],
    ['without a subject', { sub: undefined }, 'missing_claim'],
    ['with a time that is none', { exp: 'soon' as unknown as number }, 'malformed'],
    ['that no rule knows', { environment: 'test' }, 'no_rule'],
    ['without what its principal needs', { run_id: '' }, 'unusable_claim'],
  ])('refuses a token %s', async (_what, overrides, expected) => {
    await serve({ rules: [{ claims: { environment: 'prod' }, principal: 'run:{run_id}' }] });
    expect((await exchange(await token())).status).toBe(200);
    expect(await refusal(await token(GITHUB, overrides))).toBe(expected);
  });

  it('refuses forgeries', async () => {
    await serve({});
    const good = await token();
    expect((await exchange(good)).status).toBe(200);
    const [header = '', payload = '', signature = ''] = good.split('.');
    const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as JWTPayload;
    const keys = await (await fetch(`${issuer.url}/openid/v1/jwks`)).text();

    expect(await refusal(`${encode({ alg: 'none' })}.${payload}.`)).toBe('algorithm');
    const hmac = new SignJWT(claims).setProtectedHeader({ alg: 'HS256', kid: 'key-1' });
    expect(await refusal(await hmac.sign(new TextEncoder().encode(keys)))).toBe('algorithm');
    expect(await refusal(`${header}.${encode({ ...claims, repository: 'acme/x' })}.${signature}`)).toBe(
      'signature',
    );
    expect(await refusal(`${header}.${payload}.${signature.slice(0, -8)}AAAAAAAA`)).toBe('signature');
    const stranger = await startIssuer();
    expect(await refusal(await token(GITHUB, { iss: issuer.url }, {}, stranger))).toBe('signature');
    expect(await refusal(await token(GITHUB, { iss: issuer.url }, { kid: 'other' }, stranger))).toBe(
      'unknown_key',
    );
    await stranger.stop();
    expect(await refusal(encode({ alg: 'RS256' }))).toBe('malformed');
  });

  it('never fails over what is sent as a token', async () => {
    await serve({});
    const good = await token();
    const inputs = ['x', '..', 'a.b.c', '\u0000', '[]', '{"iss":1}', 'e30.e30.', `${good}.`, `${good}.x.y`];
    for (const claims of [null, 1, [], 'x', { iss: [] }, { iss: issuer.url, aud: [null, {}] }]) {
      inputs.push(`e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`);
    }
    for (let index = 0; index < 100; index++) {
      const at = randomBytes(2).readUInt16BE() % good.length;
      inputs.push(`${good.slice(0, at)}${randomBytes(1).toString('latin1')}${good.slice(at + 1)}`);
      inputs.push(good.slice(0, at));
    }
    for (const input of inputs.filter((text) => text !== '')) {
      const { status } = await exchange(input);
      expect([input, status < 500]).toEqual([input, true]);
    }
    expect(JSON.stringify([server!.events, server!.logged])).not.toContain(good.slice(-100));
  });

  it('wants the right kind of request', async () => {
    await serve({});
    const good = await token();
    const ask = async (form: Record<string, string>): Promise<unknown[]> => {
      const { status, body } = await server!.post('/oauth/token', {
        grant_type: TOKEN_EXCHANGE_GRANT,
        ...form,
      });
      return [status, body['error'], body['error_description']];
    };
    const expected = (what: string): unknown[] => [400, 'invalid_request', expect.stringContaining(what)];
    expect(await ask({})).toEqual(expected('subject_token'));
    expect(await ask({ subject_token: good })).toEqual(expected('subject_token_type'));
    expect(await ask({ subject_token: good, subject_token_type: 'saml2' })).toEqual(
      expected('subject_token_type'),
    );
    const typed = { subject_token: good, subject_token_type: JWT };
    expect(await ask({ ...typed, actor_token: good })).toEqual(expected('actor_token'));
    expect(await ask({ ...typed, requested_token_type: ID_TOKEN })).toEqual(expected('requested_token_type'));
    expect((await ask({ ...typed, requested_token_type: JWT }))[0]).toBe(200);
    const twice = `grant_type=${TOKEN_EXCHANGE_GRANT}&subject_token=${good}&subject_token_type=${JWT}&audience=a&audience=b`;
    expect((await server!.post('/oauth/token', twice)).status).toBe(200);
  });
});

describe('the keys of an issuer', () => {
  it('are fetched once, and again when a token names a new one', async () => {
    await serve({});
    await Promise.all([exchange(await token()), exchange(await token())]);
    expect(issuer.requests).toEqual(['/.well-known/openid-configuration', '/openid/v1/jwks']);
    const before = await token();
    await issuer.rotate();
    travel(31_000);
    expect((await exchange(await token())).status).toBe(200);
    expect((await exchange(before)).status).toBe(200);
    expect(issuer.requests).toHaveLength(3);
  });

  it('are forgotten soon after the issuer withdrew them', async () => {
    await serve({});
    const before = await token(GITHUB, { exp: Math.floor(Date.now() / 1000) + 3600 });
    expect((await exchange(before)).status).toBe(200);
    await issuer.rotate({ withdraw: true });
    travel(601_000);
    expect(await refusal(before)).toBe('unknown_key');
  });

  it('do not turn strangers against the issuer', async () => {
    await serve({});
    expect((await exchange(await token())).status).toBe(200);
    for (let index = 0; index < 5; index++) {
      expect(await refusal(await token(GITHUB, {}, { kid: `made-up-${index}` }))).toBe('unknown_key');
    }
    expect(issuer.requests).toHaveLength(2);
  });

  it('are asked for again a moment after the issuer failed, and not before', async () => {
    await serve({});
    issuer.fail(500);
    for (let index = 0; index < 3; index++) {
      const answer = await exchange(await token());
      expect([answer.status, answer.body['error']]).toEqual([503, 'temporarily_unavailable']);
    }
    expect(issuer.requests).toHaveLength(1);
    expect(reason()).toBe('issuer_keys');
    issuer.fail(undefined);
    offset += 5_001;
    expect((await exchange(await token())).status).toBe(200);
  });

  it('go on working while the issuer is away', async () => {
    await serve({});
    const good = await token();
    expect((await exchange(good)).status).toBe(200);
    issuer.fail(503);
    expect((await exchange(good)).status).toBe(200);
  });

  it('are not taken from a document of another issuer', async () => {
    const other = await startIssuer({ issuer: 'https://elsewhere.example' });
    await serve({ issuer: other.url });
    expect((await exchange(await token(GITHUB, {}, {}, other))).status).toBe(503);
    expect(server!.logged.join()).toContain('another issuer');
    await other.stop();
  });

  it('are not fetched from where the guard forbids', async () => {
    const make = (entry: Entry): Promise<TokenServer> => serve(entry);
    await expect(make({ issuer: 'http://169.254.169.254' })).rejects.toThrow('workload_identity[0].issuer');
    await expect(make({ jwks_url: 'http://metadata.google.internal/x' })).rejects.toThrow('[0].jwks_url');
  });
});
