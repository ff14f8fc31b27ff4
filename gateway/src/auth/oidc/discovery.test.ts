import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { createTestCa } from '../../net/testing/certificates.ts';
import { createLog } from '../../observe/log.ts';
import { createOidcProvider, type OidcProviderDependencies } from './relying-party.ts';
import type { OidcSettings } from './settings.ts';
import {
  NO_RETRY,
  readFixture,
  REDIRECT_URI,
  startRecordedIssuer,
  type Answer,
} from './testing/recorded-issuer.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const DEPS: OidcProviderDependencies = {
  id: 'default',
  redirectUri: REDIRECT_URI,
  allowLoopback: true,
  clock: () => new Date(),
  log: createLog('error', { write: () => undefined }),
  retry: NO_RETRY,
};
const CLIENT = { client_id: 'gw', client_secret: 'secret' };

/** A plain server that answers its discovery URL with whatever the test says, `$ISSUER` being its own origin. */
async function startBroken(answer: (attempt: number) => Answer): Promise<string> {
  let attempts = 0;
  const server: Server = createServer((_request, response) => {
    const { status = 200, headers, body } = answer(++attempts);
    response.writeHead(status, headers);
    response.end((typeof body === 'string' ? body : JSON.stringify(body)).replaceAll('$ISSUER', issuer));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => new Promise((resolve) => server.close(resolve)));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return issuer;
}

const GOOD = {
  issuer: '$ISSUER',
  authorization_endpoint: '$ISSUER/authorize',
  token_endpoint: '$ISSUER/token',
  jwks_uri: '$ISSUER/keys',
};

async function failureOf(
  settings: OidcSettings,
  deps: Partial<OidcProviderDependencies> = {},
): Promise<string> {
  try {
    const provider = await createOidcProvider(settings, { ...DEPS, ...deps });
    await provider.close();
    return 'none';
  } catch (error) {
    return (error as Error).message;
  }
}

describe('a broken discovery document', () => {
  it.each<[string, Answer, RegExp]>([
    ['not found', { status: 404, body: 'no' }, /answered 404; check oidc\.issuer/],
    [
      'moved',
      { status: 302, headers: { location: 'https://elsewhere.example/' }, body: '' },
      /answered 302 \(a redirect to https:\/\/elsewhere/,
    ],
    ['a page', { body: '<html>' }, /is not JSON/],
    ['a list', { body: [] }, /is not a JSON object/],
    ['empty', { body: {} }, /lacks issuer, authorization_endpoint, token_endpoint, jwks_uri/],
    ['incomplete', { body: { ...GOOD, jwks_uri: undefined } }, /lacks jwks_uri$/],
    [
      'of another issuer',
      { body: { ...GOOD, issuer: 'https://other.example' } },
      /another issuer, https:\/\/other\.example; set oidc\.issuer/,
    ],
    [
      'with an endpoint at a metadata service',
      { body: { ...GOOD, token_endpoint: 'http://169.254.169.254/' } },
      /token_endpoint: blocked destination: 169\.254\.169\.254/,
    ],
    [
      'with an endpoint that is no URL',
      { body: { ...GOOD, userinfo_endpoint: '/userinfo' } },
      /userinfo_endpoint: not a URL/,
    ],
    [
      'with a script for an endpoint',
      { body: { ...GOOD, authorization_endpoint: 'javascript:alert(1)' } },
      /authorization_endpoint: must begin with https/,
    ],
    [
      'without a way to use a secret',
      { body: { ...GOOD, token_endpoint_auth_methods_supported: ['private_key_jwt'] } },
      /accepts only private_key_jwt/,
    ],
  ])('%s: one line that names the issuer', async (_, answer, reason) => {
    const issuer = await startBroken(() => answer);
    const failure = await failureOf({ ...CLIENT, issuer });
    expect(failure).toMatch(reason);
    expect(failure).toContain(`oidc issuer ${issuer}: `);
    expect(failure).not.toContain('\n');
  });

  it('is fine when nothing is wrong with it, whatever follows the issuer', async () => {
    const issuer = await startBroken(() => ({ body: GOOD }));
    await expect(failureOf({ ...CLIENT, issuer })).resolves.toBe('none');
    await expect(failureOf({ ...CLIENT, issuer: `${issuer}/` })).resolves.toBe('none');
  });

  it('may be named itself, and still has to belong to the issuer', async () => {
    const origin = await startBroken(() => ({ body: { ...GOOD, issuer: 'https://sso.corp.example' } }));
    const discovery_url = `${origin}/.well-known/openid-configuration`;
    await expect(failureOf({ ...CLIENT, issuer: 'https://sso.corp.example', discovery_url })).resolves.toBe(
      'none',
    );
    await expect(failureOf({ ...CLIENT, issuer: 'https://other.example', discovery_url })).resolves.toMatch(
      /another issuer/,
    );
  });

  it('may not lead from https to http', async () => {
    const issuer = await startRecordedIssuer({
      ...readFixture('google'),
      token_endpoint: 'http://oauth2.googleapis.com/token',
    });
    cleanups.push(() => issuer.stop());
    await expect(issuer.provider()).rejects.toThrow(/token_endpoint http:\/\/.* must be https/);
  });
});

describe('a provider that is away', () => {
  it('is asked again at the start, and then named', async () => {
    const flaky = await startBroken((attempt) => (attempt < 3 ? { status: 503, body: '' } : { body: GOOD }));
    await expect(
      failureOf({ ...CLIENT, issuer: flaky }, { retry: { attempts: 3, delayMs: 1 } }),
    ).resolves.toBe('none');

    const down = await startBroken(() => ({ status: 503, body: '' }));
    const failure = await failureOf({ ...CLIENT, issuer: down }, { retry: { attempts: 2, delayMs: 1 } });
    expect(failure).toMatch(/discovery failed: .* answered 503/);
    await cleanups.pop()?.();
    await expect(failureOf({ ...CLIENT, issuer: down })).resolves.toMatch(/discovery failed: .*ECONNREFUSED/);
  });

  it('is not asked at all when it is where no provider may be', async () => {
    const resolve = async () => [{ address: '169.254.169.254', family: 4 }];
    const patient = { attempts: 10, delayMs: 60_000 };
    const deps = { allowLoopback: false, retry: patient, resolve };
    await expect(failureOf({ ...CLIENT, issuer: 'http://127.0.0.1:9' }, deps)).resolves.toMatch(
      /^oidc\.issuer: .*LOOPBACK/,
    );
    await expect(failureOf({ ...CLIENT, issuer: 'https://sso.example' }, deps)).resolves.toMatch(
      /sso\.example resolves to 169/,
    );
    const settings = {
      ...CLIENT,
      issuer: 'https://sso.example',
      discovery_url: 'http://metadata.google.internal/.well-known/x',
    };
    await expect(failureOf(settings, deps)).resolves.toMatch(/^oidc\.discovery_url: /);
  });
});

describe('the way to a provider', () => {
  it('trusts its private authority and no other', async () => {
    const issuer = await startRecordedIssuer(readFixture('keycloak'));
    cleanups.push(() => issuer.stop());
    const provider = await issuer.provider();
    await provider.close();
    for (const ca_cert_pem of [createTestCa('Another').cert, undefined]) {
      await expect(issuer.provider({ ca_cert_pem })).rejects.toThrow(
        /^oidc issuer .*discovery failed: .*certificate/,
      );
    }
  });

  it('leads through the proxy when use_proxy says so', async () => {
    const issuer = await startRecordedIssuer(readFixture('keycloak'));
    cleanups.push(() => issuer.stop());
    await (await issuer.provider({ use_proxy: true })).close();
    expect(issuer.tunnels).toEqual(['sso.corp.example:443']);
    // Names are the proxy's to resolve here, so it is the only way out: unset means through it.
    await (await issuer.provider({ use_proxy: undefined })).close();
    expect(issuer.tunnels).toHaveLength(2);

    const resolve = async () => [{ address: '127.0.0.1', family: 4 }];
    const direct = { allowLoopback: true, resolve, proxy: { ...issuer.proxy, resolve: 'gateway' as const } };
    for (const use_proxy of [false, undefined]) {
      await expect(issuer.provider({ use_proxy }, direct)).rejects.toThrow(/ECONNREFUSED/);
    }
    expect(issuer.tunnels).toHaveLength(2);
    expect(issuer.logged.filter(({ msg }) => String(msg).includes('oidc.use_proxy'))).toHaveLength(1);
    await (await issuer.provider({ use_proxy: true }, direct)).close();
    expect(issuer.tunnels.at(-1)).toBe('127.0.0.1:443');

    // Its names alone may be the proxy's to resolve; that needs use_proxy, and is said where it is missing.
    const byName = { ...direct, proxy: { ...direct.proxy, resolveIdentityProviders: 'proxy' as const } };
    await (await issuer.provider({ use_proxy: true }, byName)).close();
    expect(issuer.tunnels.at(-1)).toBe('sso.corp.example:443');
    await expect(issuer.provider({ use_proxy: undefined }, byName)).rejects.toThrow(/ECONNREFUSED/);
    expect(issuer.logged.some(({ msg }) => String(msg).includes('idp_connect_by_hostname'))).toBe(true);
  });

  it('names where the verification page may lead', async () => {
    const issuer = await startRecordedIssuer(readFixture('keycloak'));
    cleanups.push(() => issuer.stop());
    const provider = await issuer.provider(
      { form_action_origins: ['https://adfs.corp.example'] },
      { id: 'corp', label: 'Corp' },
    );
    expect(provider).toMatchObject({
      id: 'corp',
      label: 'Corp',
      issuer: 'https://sso.corp.example/realms/corp',
      formActionOrigins: ['https://sso.corp.example', 'https://adfs.corp.example'],
    });
    await provider.close();
  });

  it('says beforehand what will fail at the first sign-in', async () => {
    const issuer = await startRecordedIssuer(readFixture('google'));
    cleanups.push(() => issuer.stop());
    await (await issuer.provider({ id_token_signed_response_alg: 'ES256' })).close();
    expect(issuer.logged.map(({ msg }) => msg)).toEqual([
      expect.stringContaining('signs ID tokens with RS256'),
    ]);
  });
});
