import { SCHEMA } from './connection.ts';
import type { Database } from './database.ts';
import type { RateLimitStore } from './types.ts';

/** Counts only up to the limit: a flood beyond it writes nothing. */
const HIT = `
  INSERT INTO ${SCHEMA}.rate_limit_windows AS w (key, starts_at, expires_at, hits) VALUES ($1, $2, $3, 1)
  ON CONFLICT (key, starts_at) DO UPDATE SET hits = w.hits + 1 WHERE w.hits < $4`;

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
    const windowMs = windowSeconds * 1000;
    const startsAt = Math.floor(now.getTime() / windowMs) * windowMs;
    const expiresAt = startsAt + windowMs;
    const allowed =
      max > 0 &&
      (await this.#database.execute(HIT, [key, new Date(startsAt), new Date(expiresAt), max])) === 1;
    return { allowed, retryAfterSeconds: allowed ? 0 : Math.ceil((expiresAt - now.getTime()) / 1000) };
  }
}
