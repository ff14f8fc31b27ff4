import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto';
import { digest } from '../digest.ts';

/** Lets secret scanners, and people who find one in a log, see what it is. */
const PREFIX = 'cgr_';

/** How far a token can be behind the newest of its session within one grace period. */
const MAX_STEPS = 8;

/**
 * Refresh tokens: opaque, 256 bits. The first of a session is random; each successor is a keyed hash of its
 * predecessor, so that two processes that refresh with one token at the same moment, on different replicas, are given
 * the same successor, and no replica has to keep a usable token to make it so (docs/adr/0010).
 */
export interface RefreshTokens {
  create(): string;
  successorOf(token: string): string;
  /**
   * The token whose hash is `currentHash`, found by walking on from an earlier one of its session.
   *
   * @returns undefined when it cannot be reached: the secrets were rotated in between.
   */
  currentFrom(token: string, currentHash: Buffer): string | undefined;
}

/** @param secrets `session.jwt_secret`: index 0 derives successors, all of them recognise one. */
export function createRefreshTokens(secrets: readonly string[]): RefreshTokens {
  const keys = secrets.map((secret) =>
    Buffer.from(hkdfSync('sha256', secret, 'claude-gateway/refresh-tokens/v1', 'successor', 32)),
  );
  const [first] = keys;
  if (first === undefined) throw new Error('session.jwt_secret needs at least one entry');

  const derive = (key: Buffer, token: string): string =>
    PREFIX + createHmac('sha256', key).update(token).digest('base64url');

  return {
    create: () => PREFIX + randomBytes(32).toString('base64url'),
    successorOf: (token) => derive(first, token),
    currentFrom(token, currentHash) {
      for (const key of keys) {
        let candidate = token;
        for (let step = 0; step < MAX_STEPS; step++) {
          candidate = derive(key, candidate);
          if (timingSafeEqual(digest(candidate), currentHash)) return candidate;
        }
      }
      return undefined;
    },
  };
}
