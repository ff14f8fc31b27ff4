import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { z } from 'zod';
import { nonEmpty } from './fields.ts';

const MIN_RSA_BITS = 2048;

/** What is wrong with the PEM text of a signing key, or the key. */
function readKey(pem: string): KeyObject | string {
  if (pem.includes('ENCRYPTED')) return 'is protected by a passphrase; store the key unencrypted';
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch {
    return 'is not a private key in PEM (PKCS#8 or PKCS#1)';
  }
  if (key.asymmetricKeyType !== 'rsa') return `must be an RSA key (RS256), not ${key.asymmetricKeyType}`;
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  return bits < MIN_RSA_BITS ? `must be an RSA key of at least ${MIN_RSA_BITS} bits, not ${bits}` : key;
}

function certificateProblem(pem: string, key: KeyObject): string | undefined {
  if (pem.split('-----BEGIN CERTIFICATE-----').length > 2) {
    return 'must hold the client certificate alone, not a chain';
  }
  try {
    return new X509Certificate(pem).checkPrivateKey(key)
      ? undefined
      : 'is not the certificate of private_key_pem';
  } catch {
    return 'is not a certificate in PEM';
  }
}

/** Key and certificate of RFC 7523 client authentication; both are read here so that a wrong pair fails at start. */
export const clientAssertionSchema = z
  .strictObject({
    private_key_pem: nonEmpty().describe('RSA private key of at least 2048 bits, PEM, without passphrase.'),
    certificate_pem: nonEmpty().describe('The certificate registered with the identity provider, PEM.'),
  })
  .superRefine(({ private_key_pem, certificate_pem }, ctx) => {
    const key = readKey(private_key_pem);
    if (typeof key === 'string') {
      ctx.addIssue({ code: 'custom', path: ['private_key_pem'], message: key });
      return;
    }
    const problem = certificateProblem(certificate_pem, key);
    if (problem !== undefined) ctx.addIssue({ code: 'custom', path: ['certificate_pem'], message: problem });
  })
  .describe('Key and certificate for token_endpoint_auth_method: private_key_jwt.');
