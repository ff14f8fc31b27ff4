import { createHash, createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { importPKCS8 } from 'jose';
import {
  ClientSecretBasic,
  ClientSecretPost,
  modifyAssertion,
  PrivateKeyJwt,
  type ClientAuth,
} from 'openid-client';
import type { ProviderMetadata } from './discovery.ts';
import type { OidcSettings } from './settings.ts';

/**
 * How the gateway proves itself at the token endpoint: as configured, else with the key when there is one, else by a
 * method that both the provider advertises and a secret can do. `client_secret_post` comes first because providers
 * disagree about the encoding of `client_secret_basic` (RFC 6749 §2.3.1).
 *
 * @throws Error naming the field that is missing or broken.
 */
export async function createClientAuth(
  settings: OidcSettings,
  metadata: ProviderMetadata,
): Promise<ClientAuth> {
  switch (chooseMethod(settings, metadata.token_endpoint_auth_methods_supported)) {
    case 'private_key_jwt':
      return privateKeyJwt(settings, metadata);
    case 'client_secret_basic':
      return ClientSecretBasic(requireSecret(settings));
    case 'client_secret_post':
      return ClientSecretPost(requireSecret(settings));
  }
}

type Method = NonNullable<OidcSettings['token_endpoint_auth_method']>;

function chooseMethod(settings: OidcSettings, supported: readonly string[] | undefined): Method {
  if (settings.token_endpoint_auth_method !== undefined) return settings.token_endpoint_auth_method;
  if (settings.client_assertion !== undefined) return 'private_key_jwt';
  if (supported === undefined) return 'client_secret_basic';
  const method = (['client_secret_post', 'client_secret_basic'] as const).find((name) =>
    supported.includes(name),
  );
  if (method === undefined) {
    throw new Error(
      `oidc issuer ${settings.issuer}: the provider accepts only ${supported.join(', ')} at its token endpoint; ` +
        'set oidc.token_endpoint_auth_method, and oidc.client_assertion for private_key_jwt',
    );
  }
  return method;
}

function requireSecret(settings: OidcSettings): string {
  if (settings.client_secret === undefined) {
    throw new Error('oidc.client_secret: required (or give oidc.client_assertion for private_key_jwt)');
  }
  return settings.client_secret;
}

/**
 * A signed client assertion (RFC 7523 §2.2) that names the certificate by both thumbprints (RFC 7515 §4.1.7, §4.1.8):
 * Microsoft Entra finds the uploaded certificate by them.
 */
async function privateKeyJwt(settings: OidcSettings, metadata: ProviderMetadata): Promise<ClientAuth> {
  if (settings.client_assertion === undefined) {
    throw new Error('oidc.client_assertion: required for oidc.token_endpoint_auth_method: private_key_jwt');
  }
  const { private_key_pem, certificate_pem } = settings.client_assertion;
  const key = parse('private_key_pem', () => createPrivateKey(private_key_pem));
  const certificate = parse('certificate_pem', () => new X509Certificate(certificate_pem));
  if (!certificate.checkPrivateKey(key)) {
    throw new Error('oidc.client_assertion.certificate_pem: this certificate belongs to another private key');
  }
  const alg = assertionAlg(key, metadata.token_endpoint_auth_signing_alg_values_supported);
  const signingKey = await importPKCS8(key.export({ type: 'pkcs8', format: 'pem' }).toString(), alg);
  const thumbprint = (hash: string): string => createHash(hash).update(certificate.raw).digest('base64url');
  const thumbprints = { x5t: thumbprint('sha1'), 'x5t#S256': thumbprint('sha256') };
  return PrivateKeyJwt(signingKey, {
    [modifyAssertion]: (header, payload) => {
      Object.assign(header, thumbprints);
      // OpenID Connect Core §9; Entra and Okta accept nothing else.
      payload['aud'] = metadata.token_endpoint;
    },
  });
}

function parse<T>(field: string, read: () => T): T {
  try {
    return read();
  } catch {
    // The cause is left out: OpenSSL's errors may quote the input.
    throw new Error(`oidc.client_assertion.${field}: not a PEM text of the expected kind`);
  }
}

function assertionAlg(key: KeyObject, supported: readonly string[] | undefined): string {
  const candidates = algsOf(key);
  return candidates.find((alg) => supported === undefined || supported.includes(alg)) ?? candidates[0]!;
}

function algsOf(key: KeyObject): readonly string[] {
  const type: string = key.asymmetricKeyType ?? '';
  switch (type) {
    case 'rsa':
      return ['RS256', 'PS256'];
    case 'ec': {
      const alg = { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' }[
        key.asymmetricKeyDetails?.namedCurve ?? ''
      ];
      if (alg !== undefined) return [alg];
      break;
    }
    case 'ed25519':
      return ['EdDSA'];
    default:
  }
  throw new Error('oidc.client_assertion.private_key_pem: use an RSA, P-256, P-384, P-521 or Ed25519 key');
}
