import { randomBytes } from 'node:crypto';

/** 256 random bits in base64url: device codes, states, nonces, PKCE verifiers (43 characters, RFC 7636 §4.1). */
export function createSecret(): string {
  return randomBytes(32).toString('base64url');
}
