import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto';
import { digest } from '../digest.ts';

/** Lets secret scanners, and people who find one in a log, see what it is. */
const PREFIX = 'cgr_';

/** How far a token can be behind the newest of its session within one grace period: each step is a refresh. */
const MAX_STEPS = 64;
/** The same where the secret was rotated on the way: both parts are tried in every combination. */
const MAX_MIXED_STEPS = 12;

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
   * The secret may have been rotated on the way, once.
   *
   * @returns undefined when it cannot be reached.
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
      const walk = (key: Buffer, from: string, steps: number): { found?: string; passed: string[] } => {
        const passed = [from];
        for (let candidate = from; passed.length <= steps; passed.push(candidate)) {
          candidate = derive(key, candidate);
          if (timingSafeEqual(digest(candidate), currentHash)) return { found: candidate, passed };
        }
        return { passed };
      };
      const ways = keys.map((key) => ({ key, ...walk(key, token, MAX_STEPS) }));
      const direct = ways.find(({ found }) => found !== undefined)?.found;
      if (direct !== undefined) return direct;
      // Some steps by an older secret, and then some by the first, as replicas came to know it.
      for (const { key, passed } of ways) {
        if (key === first) continue;
        for (const from of passed.slice(1, MAX_MIXED_STEPS)) {
          const { found } = walk(first, from, MAX_MIXED_STEPS);
          if (found !== undefined) return found;
        }
      }
      return undefined;
    },
  };
}
