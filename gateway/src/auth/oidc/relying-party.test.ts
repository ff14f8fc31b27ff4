import { afterEach, describe, expect, it } from '@jest/globals';
import {
  startIdentityProvider,
  type IdentityProviderOptions,
  type RunningIdentityProvider,
} from '@claude-gateway/dev';
import { randomNonce, randomPKCECodeVerifier, randomState } from 'openid-client';
import { createLog } from '../../observe/log.ts';
import type { OidcProvider, SignedIn, SignInSecrets } from './provider.ts';
import { createOidcProvider } from './relying-party.ts';
import type { OidcSettings } from './settings.ts';
import { NO_RETRY } from './testing/recorded-issuer.ts';

const REDIRECT = 'http://127.0.0.1:1/oauth/callback';
const SECRET = 'a-secret:with%and+and/and&and=in~it';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(
  options: Partial<IdentityProviderOptions> & { client?: Record<string, unknown> } = {},
  settings: Partial<OidcSettings> = {},
): Promise<[RunningIdentityProvider, OidcProvider]> {
  const { client, ...rest } = options;
  const idp = await startIdentityProvider({
    clients: [{ client_id: 'gw-1_a.b', client_secret: SECRET, redirect_uris: [REDIRECT], ...client }],
    ...rest,
  });
  cleanups.push(() => idp.stop());
  const provider = await createOidcProvider(
    { issuer: idp.issuer, client_id: 'gw-1_a.b', client_secret: SECRET, ...settings },
    {
      id: 'default',
      redirectUri: REDIRECT,
      allowLoopback: true,
      clock: () => new Date(),
      log: createLog('error', { write: () => undefined }),
      retry: NO_RETRY,
    },
  );
  cleanups.push(() => provider.close());
  return [idp, provider];
}

const newSecrets = (): SignInSecrets => ({
  state: randomState(),
  nonce: randomNonce(),
  codeVerifier: randomPKCECodeVerifier(),
});

/** What a person does in a browser: opens the link, fills the page in, and comes back to the callback. */
async function browse(link: URL, form: Record<string, string>): Promise<URL> {
  const cookies = new Map<string, string>();
  let pageUrl = link.href;
  for (let response = await visit(pageUrl); ;) {
    const location = response.headers.get('location');
    if (location?.startsWith(REDIRECT)) return new URL(location);
    if (location === null && response.status !== 200)
      throw new Error(`page answered ${response.status}: ${await response.text()}`);
    pageUrl = location === null ? pageUrl : new URL(location, pageUrl).href;
    response = await (location === null
      ? visit(pageUrl, { method: 'POST', body: new URLSearchParams(form) })
      : visit(pageUrl));
  }

  async function visit(url: string, init: RequestInit = {}): Promise<Response> {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(url, { ...init, headers: { cookie }, redirect: 'manual' });
    for (const header of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(header) ?? [];
      cookies.set(name, value);
    }
    return response;
  }
}

async function signIn(provider: OidcProvider, user: string): Promise<SignedIn> {
  const secrets = newSecrets();
  const callback = await browse(await provider.authorizationUrl(secrets), { user });
  return provider.exchange(callback, secrets);
}

describe('with a certified provider', () => {
  it('signs somebody in, asks again, and notices when they are disabled', async () => {
    const [idp, provider] = await start();
    const { identity, refreshToken } = await signIn(provider, 'alice');
    expect(identity).toEqual({
      sub: 'alice',
      provider: 'default',
      email: 'alice@corp.example',
      name: 'Alice Engineer',
      groups: ['eng'],
    });

    idp.updateUser('alice', { groups: ['eng', 'oncall'] });
    const refreshed = await provider.refresh(refreshToken ?? '', identity);
    expect(refreshed.identity.groups).toEqual(['eng', 'oncall']);
    expect(refreshed.refreshToken).not.toBe(refreshToken);

    idp.disableUser('alice');
    await expect(provider.refresh(refreshed.refreshToken ?? '', identity)).rejects.toMatchObject({
      reason: 'idp_session_ended',
    });
  });

  it('fills what the ID token leaves out from userinfo', async () => {
    const [idp, provider] = await start({ claimsInIdToken: false }, { userinfo_fallback: true });
    const { identity, refreshToken } = await signIn(provider, 'carol');
    expect(identity).toMatchObject({ email: 'carol@corp.example', groups: ['platform-finops', 'eng'] });
    idp.updateUser('carol', { email: 'Carol@New.example' });
    const refreshed = await provider.refresh(refreshToken ?? '', identity);
    expect(refreshed.identity.email).toBe('carol@new.example');

    const [, asksNobody] = await start({ claimsInIdToken: false });
    await expect(signIn(asksNobody, 'carol')).resolves.toMatchObject({
      identity: { email: null, groups: [] },
    });
  });

  it('refuses an unverified address and a person who cancels', async () => {
    const [, provider] = await start();
    await expect(signIn(provider, 'dave')).rejects.toMatchObject({ reason: 'email_unverified' });
    const secrets = newSecrets();
    const callback = await browse(await provider.authorizationUrl(secrets), { action: 'cancel' });
    await expect(provider.exchange(callback, secrets)).rejects.toMatchObject({ reason: 'idp_denied' });
  });

  it('takes a code once, and only with the secrets of its sign-in', async () => {
    const [, provider] = await start();
    const secrets = newSecrets();
    const callback = await browse(await provider.authorizationUrl(secrets), { user: 'bob' });
    await provider.exchange(callback, secrets);
    await expect(provider.exchange(callback, secrets)).rejects.toMatchObject({ reason: 'response_mismatch' });

    for (const stolen of ['state', 'nonce', 'codeVerifier'] as const) {
      const other = newSecrets();
      const mixed = await browse(await provider.authorizationUrl(other), { user: 'bob' });
      await expect(provider.exchange(mixed, { ...other, [stolen]: secrets[stolen] })).rejects.toMatchObject({
        reason: 'response_mismatch',
      });
    }
  });
});

describe('client authentication', () => {
  it.each(['client_secret_basic', 'client_secret_post'] as const)('%s', async (method) => {
    const [, provider] = await start(
      { client: { token_endpoint_auth_method: method } },
      { token_endpoint_auth_method: method },
    );
    await expect(signIn(provider, 'alice')).resolves.toMatchObject({ identity: { sub: 'alice' } });
  });

  it('with a wrong secret is the administrator’s problem, and logs nobody out', async () => {
    const [, provider] = await start({}, { client_secret: 'wrong' });
    await expect(signIn(provider, 'alice')).rejects.toMatchObject({ reason: 'idp_error' });
    const identity = { sub: 'alice', provider: 'default', email: null, name: null, groups: [] };
    await expect(provider.refresh('any', identity)).rejects.toMatchObject({
      name: 'IdentityProviderUnavailable',
    });
  });
});
