import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

/** Encrypts small secrets that must rest in the store: the identity provider's refresh token, PKCE verifiers. */
export interface Sealer {
  /**
   * @param purpose What the secret is for, for example `idp-refresh-token`. It is authenticated, not stored: a blob
   *   sealed for one purpose does not open for another, so a row copied into a different column is refused.
   */
  seal(purpose: string, plaintext: Buffer | string): Buffer;
  /** @throws UnsealError when the blob is of another purpose, of a dropped secret, or was altered. */
  open(purpose: string, sealed: Buffer): Buffer;
}

/** The purpose under which the device grant seals, and a session keeps, the identity provider's refresh token. */
export const IDP_REFRESH_TOKEN = 'idp-refresh-token';

export type UnsealReason = 'malformed' | 'unknown-key' | 'not-authentic';

/** A sealed blob that cannot be opened; its message holds nothing of the blob. */
export class UnsealError extends Error {
  override readonly name = 'UnsealError';
  readonly reason: UnsealReason;

  constructor(purpose: string, reason: UnsealReason) {
    super(`cannot open a sealed ${purpose}: ${reason}`);
    this.reason = reason;
  }
}

/*
 * Layout, version 1:  version (1) | key id (8) | nonce (12) | ciphertext (n) | tag (16)
 * Authenticated beside the ciphertext: version | key id | purpose.
 */
const VERSION = 1;
const KEY_ID_BYTES = 8;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEADER_BYTES = 1 + KEY_ID_BYTES;
const OVERHEAD_BYTES = HEADER_BYTES + NONCE_BYTES + TAG_BYTES;
const HKDF_SALT = 'claude-gateway/sealer/v1';

interface SealingKey {
  readonly id: Buffer;
  readonly key: Buffer;
}

function deriveKey(secret: string): SealingKey {
  return {
    key: Buffer.from(hkdfSync('sha256', secret, HKDF_SALT, 'encryption-key', 32)),
    id: Buffer.from(hkdfSync('sha256', secret, HKDF_SALT, 'key-id', KEY_ID_BYTES)),
  };
}

/**
 * AES-256-GCM (NIST SP 800-38D) under keys derived by HKDF-SHA256 (RFC 5869) from the entries of
 * `session.jwt_secret`. Nonces are random, which is sound for 2^32 blobs a key: 50,000 refreshes an hour for
 * nine years.
 *
 * @param secrets Index 0 seals, all open; dropping an entry makes what it sealed unreadable.
 * @throws Error when the list is empty.
 */
export function createSealer(secrets: readonly string[]): Sealer {
  const keys = secrets.map(deriveKey);
  const sealing = keys[0];
  if (sealing === undefined) throw new Error('session.jwt_secret needs at least one entry');
  const header = Buffer.concat([Buffer.from([VERSION]), sealing.id]);

  return {
    seal(purpose, plaintext) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', sealing.key, nonce);
      cipher.setAAD(Buffer.concat([header, Buffer.from(purpose)]));
      const body =
        typeof plaintext === 'string' ? cipher.update(plaintext, 'utf8') : cipher.update(plaintext);
      return Buffer.concat([header, nonce, body, cipher.final(), cipher.getAuthTag()]);
    },

    open(purpose, sealed) {
      if (sealed.length < OVERHEAD_BYTES || sealed[0] !== VERSION)
        throw new UnsealError(purpose, 'malformed');
      const id = sealed.subarray(1, HEADER_BYTES);
      const match = keys.find((candidate) => candidate.id.equals(id));
      if (match === undefined) throw new UnsealError(purpose, 'unknown-key');
      const nonce = sealed.subarray(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES);
      const decipher = createDecipheriv('aes-256-gcm', match.key, nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(Buffer.concat([sealed.subarray(0, HEADER_BYTES), Buffer.from(purpose)]));
      decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
      const body = decipher.update(sealed.subarray(HEADER_BYTES + NONCE_BYTES, -TAG_BYTES));
      try {
        return Buffer.concat([body, decipher.final()]);
      } catch {
        throw new UnsealError(purpose, 'not-authentic');
      }
    },
  };
}
