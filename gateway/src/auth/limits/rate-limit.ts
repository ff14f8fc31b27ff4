import type { RateLimitStore } from '@claude-gateway/prisma';
import type { RateLimit } from './address-buckets.ts';

type Look = (store: RateLimitStore, key: string, limit: RateLimit, now: Date) => Promise<number | undefined>;

/** Counts one event. @returns how many seconds to wait when there were too many, otherwise undefined. */
export const exceeds: Look = wait('hit');

/** Looks without counting. @returns how many seconds to wait when there have been too many already, otherwise undefined. */
export const isExceeded: Look = wait('peek');

function wait(ask: 'hit' | 'peek'): Look {
  return async (store, key, { max, window_seconds: windowSeconds }, now) => {
    const { allowed, retryAfterSeconds } = await store[ask](key, { max, windowSeconds }, now);
    return allowed ? undefined : Math.max(1, Math.ceil(retryAfterSeconds));
  };
}
