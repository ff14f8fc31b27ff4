import { SCHEMA } from './connection.ts';
import type { Database } from './database.ts';
import { storableKey } from './storable.ts';
import type { RateLimitStore } from './types.ts';

/** Counts only up to the limit: a flood beyond it writes nothing. */
const HIT = `
  INSERT INTO ${SCHEMA}.rate_limit_windows AS w (key, starts_at, expires_at, hits) VALUES ($1, $2, $3, 1)
  ON CONFLICT (key, starts_at) DO UPDATE SET hits = w.hits + 1 WHERE w.hits < $4`;

const COUNTED = `SELECT hits FROM ${SCHEMA}.rate_limit_windows WHERE key = $1 AND starts_at = $2`;

/** Fixed windows, aligned to the epoch so that all replicas mean the same one. */
export class PostgresRateLimitStore implements RateLimitStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async hit(
    key: string,
    { max, windowSeconds }: { max: number; windowSeconds: number },
    now: Date,
  ): Promise<{ allowed: boolean; retryAfterSeconds: number }> {
    const { startsAt, expiresAt } = windowOf(windowSeconds, now);
    const allowed =
      max > 0 &&
      (await this.#database.execute(HIT, [
        storableKey(key),
        new Date(startsAt),
        new Date(expiresAt),
        max,
      ])) === 1;
    return { allowed, retryAfterSeconds: allowed ? 0 : secondsUntil(expiresAt, now) };
  }

  async peek(
    key: string,
    { max, windowSeconds }: { max: number; windowSeconds: number },
    now: Date,
  ): Promise<{ allowed: boolean; retryAfterSeconds: number }> {
    const { startsAt, expiresAt } = windowOf(windowSeconds, now);
    const [counted] = await this.#database.query<{ hits: number }>(COUNTED, [
      storableKey(key),
      new Date(startsAt),
    ]);
    const allowed = (counted?.hits ?? 0) < max;
    return { allowed, retryAfterSeconds: allowed ? 0 : secondsUntil(expiresAt, now) };
  }
}

/** In ms since the epoch. */
function windowOf(windowSeconds: number, now: Date): { startsAt: number; expiresAt: number } {
  const windowMs = windowSeconds * 1000;
  const startsAt = Math.floor(now.getTime() / windowMs) * windowMs;
  return { startsAt, expiresAt: startsAt + windowMs };
}

function secondsUntil(at: number, now: Date): number {
  return Math.ceil((at - now.getTime()) / 1000);
}
