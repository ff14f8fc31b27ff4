import { createHash, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { decodeProtectedHeader, jwtVerify } from 'jose';
import { createSelfSigned } from '../../net/testing/certificates.ts';
import { createClientAuth } from './client-auth.ts';
import type { ProviderMetadata } from './discovery.ts';
import type { OidcSettings } from './settings.ts';
import { readFixture, startRecordedIssuer } from './testing/recorded-issuer.ts';

const ENTRA = readFixture('entra-tenant') as unknown as ProviderMetadata;
const SETTINGS: OidcSettings = { issuer: ENTRA.issuer, client_id: 'gw', client_secret: 's' };

/** What one request to the token endpoint would carry. */
async function credentials(
  settings: Partial<OidcSettings>,
  metadata: Partial<ProviderMetadata> = {},
): Promise<{ body: URLSearchParams; authorization: string | null }> {
  const as = { ...ENTRA, ...metadata };
  const authenticate = await createClientAuth({ ...SETTINGS, ...settings }, as);
  const body = new URLSearchParams();
  const headers = new Headers();
  await (authenticate(as, { client_id: 'gw' }, body, headers) as unknown as Promise<void> | undefined);
  return { body, authorization: headers.get('authorization') };
}

describe('the method', () => {
  it.each<[string, Partial<OidcSettings>, readonly string[] | undefined, string]>([
    [
      'is what is configured',
      { token_endpoint_auth_method: 'client_secret_basic' },
      ['client_secret_post'],
      'basic',
    ],
    ['prefers the form', {}, ['client_secret_basic', 'client_secret_post'], 'post'],
    ['is basic where only that is offered', {}, ['client_secret_basic', 'private_key_jwt'], 'basic'],
    ['is basic where nothing is said', {}, undefined, 'basic'],
  ])('%s', async (_, settings, supported, expected) => {
    const { body, authorization } = await credentials(settings, {
      token_endpoint_auth_methods_supported: supported === undefined ? undefined : [...supported],
    });
    expect(body.get('client_secret')).toBe(expected === 'post' ? 's' : null);
    expect(authorization).toBe(expected === 'basic' ? `Basic ${btoa('gw:s')}` : null);
  });

  it('names the field that is missing', async () => {
    await expect(credentials({ client_secret: undefined })).rejects.toThrow(/^oidc\.client_secret: required/);
    await expect(credentials({ token_endpoint_auth_method: 'private_key_jwt' })).rejects.toThrow(
      /^oidc\.client_assertion: required/,
    );
  });
});

describe('the client assertion', () => {
  const { key: private_key_pem, cert: certificate_pem } = createSelfSigned('gateway');
  const client_assertion = { private_key_pem, certificate_pem };

  it('is what a provider can verify with the certificate that its thumbprints name', async () => {
    const issuer = await startRecordedIssuer(readFixture('entra-tenant'));
    const provider = await issuer.provider({ client_secret: undefined, client_assertion });
    try {
      await issuer.signIn(provider, { sub: 'alice' });
      const { form } = issuer.requests.at(-1)!;
      const certificate = new X509Certificate(certificate_pem);
      const { payload, protectedHeader } = await jwtVerify(
        form.get('client_assertion') ?? '',
        certificate.publicKey,
        {
          issuer: 'gw',
          subject: 'gw',
          audience: ENTRA.token_endpoint,
          requiredClaims: ['jti', 'exp', 'nbf'],
        },
      );
      expect(typeof payload.aud).toBe('string');
      expect(protectedHeader).toMatchObject({
        alg: 'RS256',
        x5t: createHash('sha1').update(certificate.raw).digest('base64url'),
        'x5t#S256': createHash('sha256').update(certificate.raw).digest('base64url'),
      });
      expect(form.get('client_assertion_type')).toBe(
        'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      );
      expect(form.has('client_secret')).toBe(false);
    } finally {
      await provider.close();
      await issuer.stop();
    }
  });

  it('uses an algorithm that the provider takes', async () => {
    const { body } = await credentials(
      { client_assertion },
      { token_endpoint_auth_signing_alg_values_supported: ['PS256', 'ES256'] },
    );
    expect(decodeProtectedHeader(body.get('client_assertion') ?? '').alg).toBe('PS256');
  });

  it('needs a key and its own certificate', async () => {
    const other = createSelfSigned('another').cert;
    const pem = (type: 'pkcs8' | 'sec1'): string =>
      generateKeyPairSync('ec', { namedCurve: 'secp256k1' })
        .privateKey.export({ type, format: 'pem' })
        .toString();
    await expect(
      credentials({ client_assertion: { ...client_assertion, certificate_pem: other } }),
    ).rejects.toThrow(/^oidc\.client_assertion\.certificate_pem: this certificate belongs to another/);
    for (const [field, value] of [
      ['private_key_pem', 'secret-text'],
      ['certificate_pem', 'secret-text'],
    ] as const) {
      await expect(
        credentials({ client_assertion: { ...client_assertion, [field]: value } }),
      ).rejects.toThrow(new RegExp(`^oidc\\.client_assertion\\.${field}: (?!.*secret-text)`));
    }
    await expect(
      credentials({ client_assertion: { ...client_assertion, private_key_pem: pem('sec1') } }),
    ).rejects.toThrow(/^oidc\.client_assertion\./);
  });
});
