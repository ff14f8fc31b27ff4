import { afterEach, describe, expect, it } from '@jest/globals';
import type { OidcProvider } from './provider.ts';
import type { OidcSettings } from './settings.ts';
import {
  callback,
  readFixture,
  SECRETS,
  startRecordedIssuer,
  type RecordedIssuer,
} from './testing/recorded-issuer.ts';

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(
  fixture: string,
  settings: Partial<OidcSettings> = {},
): Promise<[RecordedIssuer, OidcProvider]> {
  const issuer = await startRecordedIssuer(readFixture(fixture));
  cleanups.push(() => issuer.stop());
  const provider = await issuer.provider(settings);
  cleanups.push(() => provider.close());
  return [issuer, provider];
}

describe('Google', () => {
  const claims = {
    sub: '110169484474386276334',
    azp: 'gw',
    email: 'Alice@Corp.Example',
    email_verified: true,
    hd: 'corp.example',
    name: 'Alice Engineer',
    at_hash: 'HK6E_P6Dh8Y93mRNtsDB1Q',
  };

  it('is asked for a refresh token its own way', async () => {
    const [, provider] = await start('google', {
      scopes: ['openid', 'profile', 'email'],
      extra_auth_params: { access_type: 'offline', prompt: 'consent' },
    });
    const url = await provider.authorizationUrl(SECRETS);
    expect(`${url.origin}${url.pathname}`).toBe('https://accounts.google.com/o/oauth2/v2/auth');
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      access_type: 'offline',
      prompt: 'consent',
      scope: 'openid profile email',
    });
    expect(provider.formActionOrigins).toEqual(['https://accounts.google.com']);
  });

  it('may name its issuer without a scheme', async () => {
    const [issuer, provider] = await start('google', { allowed_email_domains: ['CORP.example'] });
    for (const iss of ['https://accounts.google.com', 'accounts.google.com']) {
      const signedIn = await issuer.signIn(provider, { ...claims, iss }, { refresh_token: '1//rt' });
      expect(signedIn).toEqual({
        identity: {
          sub: claims.sub,
          provider: 'default',
          email: 'alice@corp.example',
          name: 'Alice Engineer',
          groups: [],
        },
        refreshToken: '1//rt',
      });
    }
    await expect(issuer.signIn(provider, { ...claims, iss: 'evil.google.com' })).rejects.toMatchObject({
      reason: 'invalid_id_token',
    });
  });

  it('posts the client secret, which it lists first', async () => {
    const [issuer, provider] = await start('google');
    await issuer.signIn(provider, claims);
    const [request] = issuer.requests;
    expect(request?.url.href).toBe('https://oauth2.googleapis.com/token');
    expect(request?.form.get('client_secret')).toBe('gw-secret');
    expect(request?.authorization).toBeUndefined();
  });
});

describe('Microsoft Entra ID', () => {
  const tenant = '9122040d-6c67-4c5b-b112-36a304b66dad';
  const claims = {
    aio: 'ATQAy/8TAAAA',
    name: 'Alice Engineer',
    oid: '690222be-ff1a-4d56-abd1-7e4f7d38e474',
    preferred_username: 'alice@corp.example',
    rh: '0.AAAA',
    sub: 'HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ',
    tid: tenant,
    uti: 'fqiBqXLPj0eQa82S-IYFAA',
    ver: '2.0',
  };
  const groups = ['d17a5f86-57f4-48f8-87a0-79761dc8e706', '0b5d8a4e-52a3-4f2a-9f3c-1d1d2f6c7a10'];

  it('names groups by object id, and people by a claim of choice', async () => {
    const [issuer, provider] = await start('entra-tenant', {
      email_claim: ['email', 'preferred_username'],
      user_id_claim: 'oid',
      allowed_groups: [groups[1]!],
    });
    const { identity } = await issuer.signIn(provider, { ...claims, groups });
    expect(identity).toMatchObject({ sub: claims.oid, email: 'alice@corp.example', groups });
  });

  it('names app roles under roles', async () => {
    const [issuer, provider] = await start('entra-tenant', { groups_claim: 'roles' });
    const { identity } = await issuer.signIn(provider, { ...claims, roles: ['Engineers'] });
    expect(identity.groups).toEqual(['Engineers']);
  });

  it.each([
    { hasgroups: true },
    { _claim_names: { groups: 'src1' }, _claim_sources: { src1: { endpoint: 'https://graph' } } },
  ])('leaves too many groups out, which the log says with the remedy: %j', async (overage) => {
    const [issuer, provider] = await start('entra-tenant');
    const { identity } = await issuer.signIn(provider, { ...claims, ...overage });
    expect(identity.groups).toEqual([]);
    expect(issuer.logged).toContainEqual(
      expect.objectContaining({ msg: expect.stringContaining('app roles') }),
    );

    const [gated, gatedProvider] = await start('entra-tenant', { allowed_groups: [groups[0]!] });
    await expect(gated.signIn(gatedProvider, { ...claims, ...overage })).rejects.toMatchObject({
      reason: 'group_not_allowed',
    });
  });

  it('fills the issuer of its document for all tenants with the tenant of the token', async () => {
    const [issuer, provider] = await start('entra-organizations');
    const iss = `https://login.microsoftonline.com/${tenant}/v2.0`;
    const { identity } = await issuer.signIn(provider, { ...claims, iss });
    expect(identity.sub).toBe(claims.sub);
    expect(issuer.logged).toContainEqual(
      expect.objectContaining({ msg: expect.stringContaining('every Entra tenant') }),
    );

    for (const forged of [
      { iss, tid: 'aaaaaaaa-0000-0000-0000-000000000000' },
      { iss: `https://evil.example/${tenant}/v2.0` },
      { iss, tid: undefined },
    ]) {
      await expect(issuer.signIn(provider, { ...claims, ...forged })).rejects.toMatchObject({
        reason: 'invalid_id_token',
      });
    }
  });

  it('ends the session of a disabled account', async () => {
    const [issuer, provider] = await start('entra-tenant');
    const { identity } = await issuer.signIn(provider, claims);
    issuer.route(issuer.metadata.token_endpoint, {
      status: 400,
      body: {
        error: 'invalid_grant',
        error_description: 'AADSTS50057: The user account is disabled.\r\nTrace ID: 1',
        error_codes: [50057],
      },
    });
    await expect(provider.refresh('rt', identity)).rejects.toMatchObject({
      reason: 'idp_session_ended',
      detail: 'invalid_grant: AADSTS50057: The user account is disabled. Trace ID: 1',
    });
  });
});

describe('Okta', () => {
  const thin = { sub: '00uid4BxXw6I6TV4m0g3', ver: 1, amr: ['pwd'], idp: '00oi', at_hash: 'x' };
  const userinfo = {
    sub: thin.sub,
    name: 'Alice Engineer',
    email: 'alice@corp.example',
    email_verified: true,
    groups: ['Everyone', 'eng'],
  };

  it('says who it is only at the userinfo endpoint of the org server', async () => {
    const [issuer, provider] = await start('okta-org', { userinfo_fallback: true, allowed_groups: ['eng'] });
    issuer.route('https://corp.okta.com/oauth2/v1/userinfo', ({ authorization }) =>
      authorization === 'Bearer access-1' ? { body: userinfo } : { status: 401, body: {} },
    );
    const { identity } = await issuer.signIn(provider, thin);
    expect(identity).toMatchObject({
      email: 'alice@corp.example',
      name: 'Alice Engineer',
      groups: ['Everyone', 'eng'],
    });
  });

  it('says nothing more to a gateway that does not ask', async () => {
    const [issuer, provider] = await start('okta-org', { allowed_email_domains: ['corp.example'] });
    await expect(issuer.signIn(provider, thin)).rejects.toMatchObject({
      reason: 'email_missing',
      detail: expect.stringContaining('userinfo_fallback'),
    });
    expect(issuer.requests.map(({ url }) => url.pathname)).toEqual(['/oauth2/v1/token']);
  });

  it('puts everything into the ID token of a custom server', async () => {
    const [issuer, provider] = await start('okta-custom', {
      userinfo_fallback: true,
      scopes: ['openid', 'profile', 'email', 'groups', 'offline_access'],
    });
    const { identity } = await issuer.signIn(provider, { ...thin, ...userinfo });
    expect(identity.groups).toEqual(['Everyone', 'eng']);
    expect(issuer.requests).toHaveLength(1);
  });

  it('gives an ID token on a refresh only when asked for openid again', async () => {
    const [issuer, provider] = await start('okta-custom', { scope_on_refresh: true });
    const { identity } = await issuer.signIn(provider, { ...thin, ...userinfo });
    const idToken = await issuer.idToken({ ...thin, ...userinfo, groups: ['Everyone'], nonce: undefined });
    issuer.route(issuer.metadata.token_endpoint, ({ form }) => ({
      body: {
        access_token: 'access-2',
        token_type: 'Bearer',
        ...(form.get('scope')?.split(' ').includes('openid') ? { id_token: idToken } : {}),
      },
    }));
    const refreshed = await provider.refresh('rt-1', identity);
    expect(refreshed.identity.groups).toEqual(['Everyone']);
    expect(refreshed.refreshToken).toBe('rt-1');
  });
});

describe('Keycloak', () => {
  const claims = {
    sub: 'f3f2f0f4-7f4c-4f9e-8d7f-0f5f1f6f7f8f',
    azp: 'gw',
    typ: 'ID',
    acr: '1',
    email: 'alice@corp.example',
    email_verified: true,
    preferred_username: 'alice',
    resource_access: { gateway: { roles: ['eng', 'admin'] }, account: { roles: ['view-profile'] } },
    realm_access: { roles: ['offline_access'] },
  };

  it('nests roles, which a JSON Pointer reaches', async () => {
    const [issuer, provider] = await start('keycloak', { groups_claim: '/resource_access/gateway/roles' });
    const { identity } = await issuer.signIn(provider, claims);
    expect(identity.groups).toEqual(['eng', 'admin']);
  });

  it('has roles in several clients, which a JSONPath reaches together', async () => {
    const [issuer, provider] = await start('keycloak', { groups_jsonpath: '$.resource_access[*].roles[*]' });
    const { identity } = await issuer.signIn(provider, claims);
    expect(identity.groups).toEqual(['eng', 'admin', 'view-profile']);
  });

  it('moves nested roles to userinfo when tokens are lightweight', async () => {
    const { resource_access: roles, email, ...light } = claims;
    const [issuer, provider] = await start('keycloak', {
      groups_claim: '/resource_access/gateway/roles',
      userinfo_fallback: true,
    });
    issuer.route(String(issuer.metadata['userinfo_endpoint']), {
      body: { sub: claims.sub, email, resource_access: roles },
    });
    const { identity } = await issuer.signIn(provider, light);
    expect(identity).toMatchObject({ email: 'alice@corp.example', groups: ['eng', 'admin'] });
  });

  it('issues tokens to other parties of a broker, if they are listed', async () => {
    const [issuer, strict] = await start('keycloak');
    const provider = await issuer.provider({ additional_authorized_parties: ['broker'] });
    cleanups.push(() => provider.close());
    for (const aud of ['gw', ['gw', 'broker']]) {
      const brokered = { ...claims, azp: 'broker', aud };
      await expect(issuer.signIn(provider, brokered)).resolves.toMatchObject({
        identity: { sub: claims.sub },
      });
      await expect(issuer.signIn(strict, brokered)).rejects.toMatchObject({
        reason: 'invalid_id_token',
        detail: expect.stringContaining('additional_authorized_parties'),
      });
    }
    const stranger = { ...claims, azp: 'stranger' };
    await expect(issuer.signIn(provider, stranger)).rejects.toMatchObject({ reason: 'invalid_id_token' });
  });

  it('says in the callback who answers (RFC 9207), which must be itself', async () => {
    const [issuer, provider] = await start('keycloak');
    await issuer.signIn(provider, claims);
    for (const parameters of [{}, { iss: 'https://evil.example' }] as Record<string, string>[]) {
      await expect(provider.exchange(callback({ code: 'c', ...parameters }), SECRETS)).rejects.toMatchObject({
        reason: 'response_mismatch',
      });
    }
    expect(issuer.requests).toHaveLength(1);
  });
});
