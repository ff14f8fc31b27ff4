import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import type { JWTPayload } from 'jose';
import { IdentityProviderUnavailable, SignInRefused } from './errors.ts';
import type { OidcProvider } from './provider.ts';
import {
  callback,
  readFixture,
  SECRETS,
  startRecordedIssuer,
  type RecordedIssuer,
} from './testing/recorded-issuer.ts';
import type { OidcSettings } from './settings.ts';

const CLAIMS = { sub: 'alice', email: 'alice@corp.example', name: 'Alice', groups: ['eng'] };
const PREVIOUS = { ...CLAIMS, provider: 'default' };

let issuer: RecordedIssuer;
let provider: OidcProvider;

beforeAll(async () => {
  issuer = await startRecordedIssuer(readFixture('okta-custom'));
  provider = await issuer.provider();
});
afterAll(async () => {
  await provider.close();
  await issuer.stop();
});

async function withSettings<T>(
  settings: Partial<OidcSettings>,
  use: (p: OidcProvider) => Promise<T>,
): Promise<T> {
  const other = await issuer.provider(settings);
  try {
    return await use(other);
  } finally {
    await other.close();
  }
}

const now = (): number => Math.floor(Date.now() / 1000);
const tokenEndpoint = (): string => issuer.metadata.token_endpoint;
const userinfoEndpoint = (): string => String(issuer.metadata['userinfo_endpoint']);

describe('who may sign in', () => {
  it.each<[string, Partial<OidcSettings>, JWTPayload, string | null]>([
    ['an unverified address', {}, { email_verified: false }, 'email_unverified'],
    ['an unverified address, said as text', {}, { email_verified: 'false' }, 'email_unverified'],
    [
      'an unverified address of another claim',
      { email_claim: 'upn' },
      { upn: 'a@b', email_verified: false },
      'email_unverified',
    ],
    ...(['False', 'FALSE', 'no', '', '0', '1', 'True', 0, 1, null, [], {}, [true]] as const).map(
      (said): [string, Partial<OidcSettings>, JWTPayload, string] => [
        `an address of which it is said: ${JSON.stringify(said)}`,
        {},
        { email_verified: said },
        'email_unverified',
      ],
    ),
    ['a verified address', {}, { email_verified: true }, null],
    ['a verified address, said as text', {}, { email_verified: 'true' }, null],
    ['no word about verification', {}, {}, null],
    ['an address with a control character', {}, { email: 'alice\u0000@corp.example' }, 'email_unusable'],
    ['an address with half a surrogate pair', {}, { email: 'alice\ud800@corp.example' }, 'email_unusable'],
    ['an address without end', {}, { email: `${'a'.repeat(400)}@corp.example` }, 'email_unusable'],
    [
      'a domain that only looks allowed (U+212A)',
      { allowed_email_domains: ['kelvin.example'] },
      { email: 'alice@\u212Aelvin.example' },
      'email_domain_not_allowed',
    ],
    ['a subject of a workload', {}, { sub: 'workload:ci:deploy' }, 'user_id_unusable'],
    ['a subject with NUL', {}, { sub: 'ali\u0000ce' }, 'user_id_unusable'],
    ['a subject with half a surrogate pair', {}, { sub: 'ali\udc00ce' }, 'user_id_unusable'],
    ['a subject with a blank behind it', {}, { sub: 'alice ' }, 'user_id_unusable'],
    ['a subject without end', {}, { sub: 'a'.repeat(4000) }, 'user_id_unusable'],
    ['a foreign domain', { allowed_email_domains: ['other.example'] }, {}, 'email_domain_not_allowed'],
    ['a domain that ends alike', { allowed_email_domains: ['p.example'] }, {}, 'email_domain_not_allowed'],
    ['a subdomain', { allowed_email_domains: ['example'] }, {}, 'email_domain_not_allowed'],
    [
      'a second @ before an allowed domain',
      { allowed_email_domains: ['corp.example'] },
      { email: 'x@evil.example@corp.example' },
      'email_domain_not_allowed',
    ],
    [
      'a second @',
      { allowed_email_domains: ['corp.example'] },
      { email: 'x@corp.example@evil.example' },
      'email_domain_not_allowed',
    ],
    [
      'an allowed domain in other letters',
      { allowed_email_domains: ['Corp.Example'] },
      { email: 'ALICE@CORP.EXAMPLE' },
      null,
    ],
    [
      'no address where a domain is asked for',
      { allowed_email_domains: ['corp.example'] },
      { email: undefined },
      'email_missing',
    ],
    ['no address', {}, { email: undefined }, null],
    ['a foreign group', { allowed_groups: ['admins'] }, {}, 'group_not_allowed'],
    ['a group in other letters', { allowed_groups: ['Eng'] }, {}, 'group_not_allowed'],
    ['no groups claim', { allowed_groups: ['eng'] }, { groups: undefined }, 'group_not_allowed'],
    ['an allowed group', { allowed_groups: ['ops', 'eng'] }, {}, null],
    ['no user id', { user_id_claim: 'oid' }, {}, 'user_id_missing'],
  ])('%s', async (_, settings, claims, reason) => {
    await withSettings(settings, async (strict) => {
      const attempt = issuer.signIn(strict, { ...CLAIMS, ...claims });
      if (reason === null) await expect(attempt).resolves.toBeDefined();
      else await expect(attempt).rejects.toMatchObject({ name: 'SignInRefused', reason });
    });
  });

  it('keeps an address that is no ASCII apart from the one that it looks like', async () => {
    const { identity } = await issuer.signIn(provider, { ...CLAIMS, email: '\u212AIM@Corp.Example' });
    expect(identity.email).toBe('\u212Aim@corp.example');
  });

  it('leaves out groups that cannot be stored', async () => {
    const groups = ['eng', 'e\u0000ng', '\ud800', 'Ops \u{1f600}', 'x'.repeat(600)];
    const { identity } = await issuer.signIn(provider, { ...CLAIMS, groups });
    expect(identity.groups).toEqual(['eng', 'Ops \u{1f600}']);
  });

  it('makes a name fit to be read', async () => {
    const { identity } = await issuer.signIn(provider, {
      ...CLAIMS,
      name: `A\u0000\nda\ud800${'x'.repeat(999)}`,
    });
    expect(identity.name).toMatch(/^A da\ufffdx+$/);
    expect(identity.name).toHaveLength(255);
  });

  it('takes the first address that is there', async () => {
    await withSettings({ email_claim: ['mail', 'upn', 'email'] }, async (mapped) => {
      const { identity } = await issuer.signIn(mapped, { ...CLAIMS, mail: '', upn: 'Upn@Corp.Example' });
      expect(identity.email).toBe('upn@corp.example');
    });
  });

  it('lets userinfo fill gaps and contradict nothing', async () => {
    await withSettings({ userinfo_fallback: true }, async (mapped) => {
      const userinfo = { ...CLAIMS, email: 'mallory@evil.example', groups: ['admins'], name: 'Mallory' };
      issuer.route(userinfoEndpoint(), { body: userinfo });
      const { identity } = await issuer.signIn(mapped, { ...CLAIMS, groups: undefined });
      expect(identity).toMatchObject({ email: CLAIMS.email, name: CLAIMS.name, groups: ['admins'] });

      issuer.route(userinfoEndpoint(), { body: { ...userinfo, sub: 'mallory' } });
      await expect(issuer.signIn(mapped, { sub: 'alice' })).rejects.toMatchObject({
        reason: 'subject_mismatch',
      });

      issuer.route(userinfoEndpoint(), { body: { ...userinfo, email_verified: false } });
      await expect(issuer.signIn(mapped, { sub: 'alice' })).rejects.toMatchObject({
        reason: 'email_unverified',
      });

      issuer.route(userinfoEndpoint(), { status: 403, body: { error: 'insufficient_scope' } });
      await expect(issuer.signIn(mapped, { sub: 'alice' })).rejects.toMatchObject({ reason: 'idp_error' });

      issuer.route(userinfoEndpoint(), { status: 502, body: 'bad gateway' });
      await expect(issuer.signIn(mapped, { sub: 'alice' })).rejects.toBeInstanceOf(
        IdentityProviderUnavailable,
      );
    });
  });
});

describe('ID tokens', () => {
  it.each<[string, JWTPayload, string]>([
    ['another nonce', { nonce: 'nonce-2' }, 'response_mismatch'],
    ['no nonce', { nonce: undefined }, 'response_mismatch'],
    ['another issuer', { iss: 'https://evil.example' }, 'invalid_id_token'],
    ['another audience', { aud: 'other' }, 'invalid_id_token'],
    ['several audiences and no azp', { aud: ['gw', 'other'] }, 'invalid_id_token'],
    ['another azp', { azp: 'other' }, 'invalid_id_token'],
    ['no subject', { sub: undefined }, 'invalid_id_token'],
    ['no expiry', { exp: undefined }, 'invalid_id_token'],
    ['an expiry in the past', { exp: now() - 10 }, 'invalid_id_token'],
    ['a beginning in the future', { nbf: now() + 100 }, 'invalid_id_token'],
  ])('with %s are refused', async (_, claims, reason) => {
    await expect(issuer.signIn(provider, { ...CLAIMS, ...claims })).rejects.toMatchObject({
      name: 'SignInRefused',
      reason,
    });
  });

  it('may differ in time by as much as the configuration says', async () => {
    await withSettings({ clock_skew_seconds: 60 }, async (tolerant) => {
      await expect(issuer.signIn(tolerant, { ...CLAIMS, exp: now() - 10 })).resolves.toBeDefined();
      await expect(issuer.signIn(tolerant, { ...CLAIMS, nbf: now() + 40 })).resolves.toBeDefined();
      await expect(issuer.signIn(tolerant, { ...CLAIMS, exp: now() - 100 })).rejects.toMatchObject({
        detail: expect.stringContaining('clock_skew_seconds'),
      });
    });
  });

  async function signInWith(idToken: string | undefined, client = provider): Promise<unknown> {
    issuer.route(tokenEndpoint(), { body: { access_token: 'a', token_type: 'bearer', id_token: idToken } });
    return client.exchange(callback({ code: 'c' }), SECRETS);
  }

  it('must be there, signed by the provider with the configured algorithm', async () => {
    await expect(signInWith(undefined)).rejects.toMatchObject({ reason: 'invalid_id_token' });
    await expect(signInWith('not.a.jwt')).rejects.toMatchObject({ reason: 'invalid_id_token' });

    const unsigned = [
      '{"alg":"none"}',
      JSON.stringify({ iss: issuer.metadata.issuer, aud: 'gw', ...CLAIMS }),
    ];
    const none = `${unsigned.map((part) => Buffer.from(part).toString('base64url')).join('.')}.`;
    await expect(signInWith(none)).rejects.toMatchObject({ reason: 'invalid_id_token' });

    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const forged = await issuer.idToken(CLAIMS, { key: privateKey });
    await expect(signInWith(forged)).rejects.toMatchObject({ reason: 'invalid_id_token' });

    const other = await issuer.idToken(CLAIMS, { alg: 'PS256' });
    await expect(signInWith(other)).rejects.toMatchObject({
      detail: expect.stringContaining('oidc.id_token_signed_response_alg'),
    });
    await withSettings({ id_token_signed_response_alg: 'PS256' }, async (configured) => {
      await expect(
        signInWith(await issuer.idToken(CLAIMS, { alg: 'PS256' }), configured),
      ).resolves.toBeDefined();
      await expect(signInWith(await issuer.idToken(CLAIMS), configured)).rejects.toMatchObject({
        reason: 'invalid_id_token',
      });
    });
  });

  it('may be signed with a key that is newer than what is cached', async () => {
    const rotating = await startRecordedIssuer(readFixture('google'));
    const client = await rotating.provider();
    try {
      await rotating.signIn(client, CLAIMS);
      await rotating.rotateKey();
      // Forged tokens must not make the gateway ask for keys again and again: not within half a minute.
      await expect(rotating.signIn(client, CLAIMS)).rejects.toMatchObject({ reason: 'invalid_id_token' });
      const start = Date.now();
      jest.spyOn(Date, 'now').mockImplementation(() => start + 31_000);
      await expect(rotating.signIn(client, CLAIMS)).resolves.toBeDefined();
    } finally {
      jest.restoreAllMocks();
      await client.close();
      await rotating.stop();
    }
  });

  it('cannot be judged while the keys cannot be had', async () => {
    const broken = await startRecordedIssuer(readFixture('google'));
    try {
      const client = await broken.provider();
      for (const answer of [
        { status: 503, body: '' },
        { status: 404, body: '' },
        { body: 'no json' },
        { body: {} },
      ]) {
        broken.route(broken.metadata.jwks_uri, answer);
        await expect(broken.signIn(client, CLAIMS)).rejects.toBeInstanceOf(IdentityProviderUnavailable);
      }
      await client.close();
    } finally {
      await broken.stop();
    }
  });
});

describe('callbacks', () => {
  it.each([
    ['another state', { state: 'state-2', code: 'c' }, 'response_mismatch'],
    [
      'a cancelled sign-in',
      { error: 'access_denied', error_description: 'User is not assigned' },
      'idp_denied',
    ],
    ['a demand for interaction', { error: 'interaction_required' }, 'idp_denied'],
    ['a configuration that the provider does not like', { error: 'invalid_scope' }, 'idp_error'],
    ['no code', {}, 'response_mismatch'],
  ])('with %s are refused', async (_, parameters, reason) => {
    const asked = issuer.requests.length;
    const failure = provider.exchange(callback(parameters), SECRETS);
    await expect(failure).rejects.toMatchObject({ name: 'SignInRefused', reason });
    expect(issuer.requests).toHaveLength(asked);
  });

  it('with a parameter twice are refused', async () => {
    const url = callback({ code: 'c' });
    url.searchParams.append('state', 'state-2');
    await expect(provider.exchange(url, SECRETS)).rejects.toMatchObject({ reason: 'response_mismatch' });
  });

  it('with a passing error of the provider are no refusal', async () => {
    const failure = provider.exchange(callback({ error: 'temporarily_unavailable' }), SECRETS);
    await expect(failure).rejects.toBeInstanceOf(IdentityProviderUnavailable);
  });

  it.each([
    ['a spent code', { status: 400, body: { error: 'invalid_grant' } }, 'response_mismatch'],
    ['a wrong secret', { status: 401, body: { error: 'invalid_client' } }, 'idp_error'],
    [
      'a wrong secret, challenged',
      { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' }, body: { error: 'invalid_client' } },
      'idp_error',
    ],
    ['a page', { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>' }, 'idp_error'],
  ])('refused at the token endpoint: %s', async (_, answer, reason) => {
    issuer.route(tokenEndpoint(), answer);
    await expect(provider.exchange(callback({ code: 'c' }), SECRETS)).rejects.toMatchObject({ reason });
  });

  it('say nothing about secrets when they are refused', async () => {
    issuer.route(tokenEndpoint(), {
      status: 401,
      body: { error: 'invalid_client', error_description: 'no' },
    });
    const failure = await provider
      .exchange(callback({ code: 'c' }), SECRETS)
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(SignInRefused);
    const { message, detail } = failure as SignInRefused;
    expect(`${message} ${detail}`).not.toContain('gw-secret');
  });
});

describe('refreshing', () => {
  async function refreshWith(answer: Record<string, unknown>, client = provider) {
    issuer.route(tokenEndpoint(), { body: { access_token: 'access-2', token_type: 'Bearer', ...answer } });
    return client.refresh('rt-1', PREVIOUS);
  }
  const idToken = (claims: JWTPayload): Promise<string> =>
    issuer.idToken({ ...CLAIMS, nonce: undefined, ...claims });

  it('says who it is now, with the next refresh token', async () => {
    const id_token = await idToken({ groups: ['eng', 'new'] });
    await expect(refreshWith({ id_token, refresh_token: 'rt-2' })).resolves.toMatchObject({
      identity: { ...PREVIOUS, groups: ['eng', 'new'] },
      refreshToken: 'rt-2',
    });
    await expect(refreshWith({ id_token })).resolves.toMatchObject({ refreshToken: 'rt-1' });
    const last = issuer.requests.at(-1);
    expect(last?.form.get('refresh_token')).toBe('rt-1');
    expect(last?.form.has('scope')).toBe(false);
  });

  it('asks userinfo when there is no ID token, or one that says less than before', async () => {
    issuer.route(userinfoEndpoint(), { body: { ...CLAIMS, groups: ['other'] } });
    await expect(refreshWith({})).resolves.toMatchObject({ identity: { groups: ['other'] } });
    const thin = await idToken({ email: undefined, groups: undefined, name: undefined });
    await expect(refreshWith({ id_token: thin })).resolves.toMatchObject({
      identity: { ...PREVIOUS, groups: ['other'] },
    });

    issuer.route(userinfoEndpoint(), { body: { ...CLAIMS, sub: 'mallory' } });
    await expect(refreshWith({})).rejects.toMatchObject({ reason: 'subject_mismatch' });
    await expect(refreshWith({ id_token: thin })).resolves.toMatchObject({
      identity: { email: null, groups: [] },
    });

    // Neither our rights at the endpoint nor its outage say anything about the person.
    issuer.route(userinfoEndpoint(), {
      status: 401,
      headers: { 'www-authenticate': 'Bearer error="invalid_token"' },
      body: {},
    });
    await expect(refreshWith({})).rejects.toMatchObject({
      name: 'IdentityProviderUnavailable',
      detail: 'userinfo: invalid_token',
    });
    await expect(refreshWith({ id_token: thin })).resolves.toMatchObject({ identity: { groups: [] } });
    issuer.route(userinfoEndpoint(), { status: 500, body: {} });
    await expect(refreshWith({})).rejects.toBeInstanceOf(IdentityProviderUnavailable);
    await expect(refreshWith({ id_token: thin })).rejects.toBeInstanceOf(IdentityProviderUnavailable);
  });

  it('is for the same person, who must still be let in', async () => {
    await expect(refreshWith({ id_token: await idToken({ sub: 'bob' }) })).rejects.toMatchObject({
      reason: 'subject_mismatch',
    });
    await withSettings({ allowed_groups: ['eng'] }, async (gated) => {
      await expect(refreshWith({ id_token: await idToken({}) }, gated)).resolves.toBeDefined();
      await expect(
        refreshWith({ id_token: await idToken({ groups: ['left'] }) }, gated),
      ).rejects.toMatchObject({
        reason: 'group_not_allowed',
      });
    });
    await withSettings({ allowed_email_domains: ['corp.example'] }, async (gated) => {
      await expect(
        refreshWith({ id_token: await idToken({ email: 'a@left.example' }) }, gated),
      ).rejects.toMatchObject({
        reason: 'email_domain_not_allowed',
      });
    });
  });

  it.each([
    ['invalid_grant', 400],
    ['interaction_required', 400],
    ['access_denied', 403],
  ])('ends the session on %s', async (error, status) => {
    issuer.route(tokenEndpoint(), { status, body: { error } });
    await expect(provider.refresh('rt-1', PREVIOUS)).rejects.toMatchObject({ reason: 'idp_session_ended' });
  });

  it.each([
    ['500', { status: 500, body: { error: 'server_error' } }],
    ['503 with a page', { status: 503, body: '<html>' }],
    ['429', { status: 429, body: { error: 'slow_down' } }],
    ['a passing error', { status: 400, body: { error: 'temporarily_unavailable' } }],
    ['a scope that it dislikes', { status: 400, body: { error: 'invalid_scope' } }],
    ['our own secret being wrong', { status: 401, body: { error: 'invalid_client' } }],
    ['a challenge', { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' }, body: {} }],
    ['a page of a middlebox', { status: 403, headers: { 'content-type': 'text/html' }, body: '<html>' }],
    ['a page instead of tokens', { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>' }],
    ['an answer without tokens', { status: 200, body: {} }],
  ])('keeps the session on %s', async (_, answer) => {
    issuer.route(tokenEndpoint(), answer);
    await expect(provider.refresh('rt-1', PREVIOUS)).rejects.toBeInstanceOf(IdentityProviderUnavailable);
  });

  it('keeps the session while nothing can be reached', async () => {
    const gone = await startRecordedIssuer(readFixture('google'));
    const client = await gone.provider();
    await gone.stop();
    const failure = await client.refresh('rt-1', PREVIOUS).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(IdentityProviderUnavailable);
    expect((failure as IdentityProviderUnavailable).detail).toContain('https://oauth2.googleapis.com/token');
    await client.close();
  });
});

describe('authorization requests', () => {
  it('carry state, nonce and PKCE, which extra parameters cannot replace', async () => {
    const extra = {
      domain_hint: 'corp',
      state: 'evil',
      code_challenge: 'evil',
      redirect_uri: 'https://evil.example',
    };
    await withSettings({ extra_auth_params: extra }, async (client) => {
      const url = await client.authorizationUrl(SECRETS);
      expect(Object.fromEntries(url.searchParams)).toEqual({
        domain_hint: 'corp',
        client_id: 'gw',
        redirect_uri: 'https://gateway.corp.example/oauth/callback',
        response_type: 'code',
        response_mode: 'query',
        scope: 'openid profile email offline_access',
        state: SECRETS.state,
        nonce: SECRETS.nonce,
        // SHA-256 of 43 times the letter v.
        code_challenge: '7w_YNF9DSfIdPf_pRjSq646_kPr-2-o9NAl16JGghdM',
        code_challenge_method: 'S256',
      });
    });
    expect(issuer.logged.filter(({ parameter }) => parameter !== undefined)).toHaveLength(3);
  });

  it('carry no PKCE for providers that cannot do it', async () => {
    await withSettings({ use_pkce: false }, async (client) => {
      const url = await client.authorizationUrl(SECRETS);
      expect(url.searchParams.has('code_challenge')).toBe(false);
      await issuer.signIn(client, CLAIMS);
      expect(issuer.requests.at(-1)?.form.has('code_verifier')).toBe(false);
    });
    await issuer.signIn(provider, CLAIMS);
    expect(issuer.requests.at(-1)?.form.get('code_verifier')).toBe(SECRETS.codeVerifier);
  });
});
