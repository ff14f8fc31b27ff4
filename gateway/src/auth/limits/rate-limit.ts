import type { RateLimitStore } from '@claude-gateway/prisma';
import type { RateLimit } from './address-buckets.ts';

/**
 * Counts one event.
 *
 * @returns how many seconds to wait when there were too many, otherwise undefined.
 */
export async function exceeds(
  store: RateLimitStore,
  key: string,
  limit: RateLimit,
  now: Date,
): Promise<number | undefined> {
  const { max, window_seconds: windowSeconds } = limit;
  const { allowed, retryAfterSeconds } = await store.hit(key, { max, windowSeconds }, now);
  return allowed ? undefined : Math.max(1, Math.ceil(retryAfterSeconds));
}

/**
 * Looks without counting.
 *
 * @returns how many seconds to wait when there have been too many already, otherwise undefined.
 */
export async function isExceeded(
  store: RateLimitStore,
  key: string,
  limit: RateLimit,
  now: Date,
): Promise<number | undefined> {
  const { max, window_seconds: windowSeconds } = limit;
  const { allowed, retryAfterSeconds } = await store.peek(key, { max, windowSeconds }, now);
  return allowed ? undefined : Math.max(1, Math.ceil(retryAfterSeconds));
}
