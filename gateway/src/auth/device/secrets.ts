import { createHash, randomBytes } from 'node:crypto';

/** 256 random bits in base64url: device codes, states, nonces, PKCE verifiers (43 characters, RFC 7636 §4.1). */
export function createSecret(): string {
  return randomBytes(32).toString('base64url');
}

/** What the store keeps of a secret. Looking a secret up by its digest leaks nothing through timing. */
export function digest(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}
