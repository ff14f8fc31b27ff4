import { RecentMap } from '../../recent-map.ts';
import { clientNetwork } from '../../http/client-address.ts';

export interface RateLimit {
  readonly max: number;
  readonly window_seconds: number;
}

/** Addresses remembered for each limit: some 10 MB when full. Whoever is forgotten begins with a full bucket. */
const MAX_ADDRESSES = 50_000;

interface Bucket {
  tokens: number;
  /** When `tokens` was right, in ms. */
  at: number;
}

/**
 * A limit per client address in the memory of this replica, so that a flood is refused before it reaches the database. A
 * token bucket: `max` at once, and as many again in each window. IPv6 counts by /64.
 */
export class AddressBuckets {
  readonly #capacity: number;
  readonly #perMs: number;
  readonly #buckets: RecentMap<string, Bucket>;

  constructor({ max, window_seconds: windowSeconds }: RateLimit, maxAddresses = MAX_ADDRESSES) {
    this.#capacity = max;
    this.#perMs = max / (windowSeconds * 1000);
    this.#buckets = new RecentMap(maxAddresses);
  }

  /**
   * Takes one request of this address out of its bucket.
   *
   * @param now In ms.
   * @returns how many seconds to wait when there were too many, otherwise undefined.
   */
  take(address: string, now: number): number | undefined {
    const key = clientNetwork(address);
    let bucket = this.#buckets.get(key);
    if (bucket === undefined) {
      bucket = { tokens: this.#capacity, at: now };
      this.#buckets.set(key, bucket);
    }
    const gained = Math.max(0, now - bucket.at) * this.#perMs;
    bucket.tokens = Math.min(this.#capacity, bucket.tokens + gained);
    bucket.at = now;
    if (bucket.tokens < 1) return Math.max(1, Math.ceil((1 - bucket.tokens) / this.#perMs / 1000));
    bucket.tokens -= 1;
    return undefined;
  }
}
