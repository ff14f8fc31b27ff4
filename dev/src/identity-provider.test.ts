import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import { createRemoteJWKSet, jwtVerify, type JWTPayload } from 'jose';
import { startIdentityProvider, type RunningIdentityProvider } from './identity-provider.ts';

const CLIENT = {
  client_id: 'gateway',
  client_secret: 'a-secret-of-the-development-client',
  client_name: 'The gateway',
  redirect_uris: ['http://127.0.0.1:1/oauth/callback'],
};
const REDIRECT = CLIENT.redirect_uris[0] as string;

const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(options: Partial<Parameters<typeof startIdentityProvider>[0]> = {}) {
  const provider = await startIdentityProvider({ clients: [CLIENT], ...options });
  cleanups.push(() => provider.stop());
  return provider;
}

/** What a browser does: keeps cookies, follows redirects within the provider, fills the page in. */
class Browser {
  readonly #cookies = new Map<string, string>();

  async open(url: string, init: RequestInit = {}): Promise<Response> {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(url, { ...init, headers: { ...init.headers, cookie }, redirect: 'manual' });
    for (const header of response.headers.getSetCookie()) {
      const [pair = ''] = header.split(';');
      const at = pair.indexOf('=');
      this.#cookies.set(pair.slice(0, at), pair.slice(at + 1));
    }
    const location = response.headers.get('location');
    if (location === null || location.startsWith(REDIRECT)) return response;
    return this.open(new URL(location, url).href);
  }
}

interface Attempt {
  readonly verifier: string;
  readonly browser: Browser;
  readonly page: Response;
  submit(form: Record<string, string>): Promise<URL>;
}

async function beginSignIn(issuer: string, browser = new Browser()): Promise<Attempt> {
  const verifier = randomBytes(32).toString('base64url');
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: CLIENT.client_id,
    redirect_uri: REDIRECT,
    scope: 'openid profile email offline_access',
    state: 's',
    nonce: 'n',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  });
  const page = await browser.open(`${issuer}/auth?${query.toString()}`);
  return {
    verifier,
    browser,
    page,
    submit: async (form) => {
      const answer = await browser.open(page.url, { method: 'POST', body: new URLSearchParams(form) });
      return new URL(answer.headers.get('location') ?? `about:blank?status=${answer.status}`);
    },
  };
}

interface Tokens {
  readonly status: number;
  readonly error?: string;
  readonly id_token: string;
  readonly access_token: string;
  readonly refresh_token: string;
}

async function token(issuer: string, form: Record<string, string>): Promise<Tokens> {
  const response = await fetch(`${issuer}/token`, {
    method: 'POST',
    headers: {
      authorization: `Basic ${Buffer.from(`${CLIENT.client_id}:${CLIENT.client_secret}`).toString('base64')}`,
    },
    body: new URLSearchParams(form),
  });
  return { status: response.status, ...((await response.json()) as Omit<Tokens, 'status'>) };
}

async function signIn(issuer: string, user: string, browser?: Browser): Promise<Tokens> {
  const attempt = await beginSignIn(issuer, browser);
  const callback = await attempt.submit({ user });
  expect(callback.searchParams.get('state')).toBe('s');
  return token(issuer, {
    grant_type: 'authorization_code',
    code: callback.searchParams.get('code') ?? '',
    redirect_uri: REDIRECT,
    code_verifier: attempt.verifier,
  });
}

function refresh(provider: RunningIdentityProvider, tokens: Tokens): Promise<Tokens> {
  return token(provider.issuer, { grant_type: 'refresh_token', refresh_token: tokens.refresh_token });
}

async function claims(issuer: string, tokens: Tokens): Promise<JWTPayload> {
  const keys = createRemoteJWKSet(new URL(`${issuer}/jwks`));
  const { payload } = await jwtVerify(tokens.id_token, keys, { issuer, audience: CLIENT.client_id });
  return payload;
}

describe('the development identity provider', () => {
  it('shows who there is and signs in the one that was picked', async () => {
    const { issuer } = await start();
    const attempt = await beginSignIn(issuer);
    const html = await attempt.page.text();
    expect(html).toContain('The gateway');
    for (const user of ['alice', 'bob', 'carol', 'dave']) {
      expect(html).toContain(`name="user" value="${user}"`);
    }
    expect(html).not.toContain('<script');

    const tokens = await signIn(issuer, 'carol');
    expect(await claims(issuer, tokens)).toMatchObject({
      sub: 'carol',
      name: 'Carol Controller',
      email: 'carol@corp.example',
      email_verified: true,
      groups: ['platform-finops', 'eng'],
      nonce: 'n',
    });
  });

  it('says so when an email address is not verified', async () => {
    const { issuer } = await start();
    expect(await claims(issuer, await signIn(issuer, 'dave'))).toMatchObject({ email_verified: false });
  });

  it('asks again in a browser that was here before, so that people can be switched', async () => {
    const { issuer } = await start();
    const browser = new Browser();
    expect(await claims(issuer, await signIn(issuer, 'alice', browser))).toMatchObject({ sub: 'alice' });
    expect(await claims(issuer, await signIn(issuer, 'bob', browser))).toMatchObject({ sub: 'bob' });
  });

  it('requires PKCE', async () => {
    const { issuer } = await start();
    const attempt = await beginSignIn(issuer);
    const callback = await attempt.submit({ user: 'alice' });
    const answer = await token(issuer, {
      grant_type: 'authorization_code',
      code: callback.searchParams.get('code') ?? '',
      redirect_uri: REDIRECT,
      code_verifier: randomBytes(32).toString('base64url'),
    });
    expect(answer).toMatchObject({ status: 400, error: 'invalid_grant' });
  });

  it('lets one cancel', async () => {
    const { issuer } = await start();
    const callback = await (await beginSignIn(issuer)).submit({ action: 'cancel' });
    expect(callback.searchParams.get('error')).toBe('access_denied');
  });

  it('rotates refresh tokens and takes each only once', async () => {
    const provider = await start();
    const first = await signIn(provider.issuer, 'alice');
    const second = await refresh(provider, first);
    expect(second.status).toBe(200);
    expect(second.refresh_token).not.toBe(first.refresh_token);
    expect(await refresh(provider, first)).toMatchObject({ status: 400, error: 'invalid_grant' });
  });

  it('says at the next refresh what changed about a person', async () => {
    const provider = await start();
    const tokens = await signIn(provider.issuer, 'alice');
    provider.updateUser('alice', { groups: ['research'] });
    const refreshed = await refresh(provider, tokens);
    expect(await claims(provider.issuer, refreshed)).toMatchObject({ sub: 'alice', groups: ['research'] });
    expect(() => provider.updateUser('mallory', {})).toThrow('no such user: mallory');
  });

  it('refuses a disabled person, at sign-in and at refresh', async () => {
    const provider = await start();
    const tokens = await signIn(provider.issuer, 'alice');
    provider.disableUser('alice');
    expect(await refresh(provider, tokens)).toMatchObject({ status: 400, error: 'invalid_grant' });

    const attempt = await beginSignIn(provider.issuer);
    expect(await attempt.page.text()).toMatch(/value="alice" disabled/);
    expect((await attempt.submit({ user: 'alice' })).href).toBe('about:blank?status=400');

    provider.enableUser('alice');
    expect((await signIn(provider.issuer, 'alice')).status).toBe(200);
  });

  it('lets a person be disabled on its own page only', async () => {
    const provider = await start();
    const disable = (origin: string): Promise<Response> =>
      fetch(`${provider.issuer}/users/bob`, {
        method: 'POST',
        headers: { origin },
        body: new URLSearchParams({ action: 'disable' }),
      });
    expect((await disable('http://evil.example')).status).toBe(403);
    expect(await (await disable(provider.issuer)).text()).toMatch(/Bob[^]*disabled[^]*Enable/);
  });

  it('keeps claims out of the id_token on request', async () => {
    const { issuer } = await start({ claimsInIdToken: false });
    const tokens = await signIn(issuer, 'alice');
    expect(await claims(issuer, tokens)).not.toHaveProperty('groups');
    const userinfo = await fetch(`${issuer}/me`, {
      headers: { authorization: `Bearer ${tokens.access_token}` },
    });
    expect(await userinfo.json()).toMatchObject({ sub: 'alice', groups: ['eng'] });
  });

  it('keeps keys and refresh tokens over a restart, for its owner only', async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'identity-provider-'));
    cleanups.push(() => rmSync(dataDir, { recursive: true }));
    const before = await start({ dataDir });
    const tokens = await signIn(before.issuer, 'alice');
    await before.stop();
    // Let our own HTTP client notice that its idle connections are gone.
    await sleep(50);

    const after = await start({ dataDir, port: before.port });
    expect(await claims(after.issuer, tokens)).toMatchObject({ sub: 'alice' });
    expect((await refresh(after, tokens)).status).toBe(200);
    expect(statSync(join(dataDir, 'state.json')).mode & 0o777).toBe(0o600);
    expect(statSync(join(dataDir, 'keys.json')).mode & 0o777).toBe(0o600);
  });
});
