import type { RateLimitStore } from '@claude-gateway/prisma';
import ipaddr from 'ipaddr.js';
import type { RateLimit } from './dependencies.ts';

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
 * Whom a limit per address counts together: an IPv4 address, or the /64 of an IPv6 address, which is what one
 * subscriber has (RFC 6177): otherwise one laptop could pretend to be 2^64 clients.
 */
export function addressKey(address: string): string {
  if (!ipaddr.IPv6.isValid(address)) return address;
  const { parts } = ipaddr.IPv6.parse(address);
  return `${parts
    .slice(0, 4)
    .map((part) => part.toString(16))
    .join(':')}::/64`;
}
