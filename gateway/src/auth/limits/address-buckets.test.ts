import { describe, expect, it } from '@jest/globals';
import { AddressBuckets } from './address-buckets.ts';

const LIMIT = { max: 10, window_seconds: 5 };

function taken(buckets: AddressBuckets, address: string, times: number, now: number): number {
  return Array.from({ length: times }, () => buckets.take(address, now)).filter((wait) => wait === undefined)
    .length;
}

describe('a limit per address in memory', () => {
  it('admits a burst, then as much as is gained back', () => {
    const buckets = new AddressBuckets(LIMIT);
    expect(taken(buckets, '203.0.113.7', 50, 0)).toBe(10);
    expect(buckets.take('203.0.113.7', 0)).toBe(1);
    expect(taken(buckets, '203.0.113.7', 50, 1_000)).toBe(2);
    expect(taken(buckets, '203.0.113.7', 50, 60_000)).toBe(10);
  });

  it('says how long to wait', () => {
    const buckets = new AddressBuckets({ max: 1, window_seconds: 60 });
    expect(buckets.take('203.0.113.7', 0)).toBeUndefined();
    expect(buckets.take('203.0.113.7', 15_000)).toBe(45);
    expect(buckets.take('203.0.113.7', 60_000)).toBeUndefined();
  });

  it('counts addresses apart, and those of one IPv6 subscriber together', () => {
    const buckets = new AddressBuckets(LIMIT);
    expect(taken(buckets, '203.0.113.7', 50, 0)).toBe(10);
    expect(taken(buckets, '203.0.113.8', 50, 0)).toBe(10);
    expect(taken(buckets, '2001:db8:1:2::1', 6, 0)).toBe(6);
    expect(taken(buckets, '2001:db8:1:2::2', 6, 0)).toBe(4);
  });

  it('gains nothing from a clock that went back', () => {
    const buckets = new AddressBuckets(LIMIT);
    expect(taken(buckets, '203.0.113.7', 50, 10_000)).toBe(10);
    expect(taken(buckets, '203.0.113.7', 50, 0)).toBe(0);
  });

  it('remembers a bounded number of addresses, the recent ones for certain', () => {
    const buckets = new AddressBuckets({ max: 1, window_seconds: 600 }, 100);
    buckets.take('203.0.113.7', 0);
    for (let i = 0; i < 10_000; i++) {
      buckets.take(`10.0.${i >> 8}.${i & 255}`, 0);
      if (i % 20 === 0) expect(buckets.take('203.0.113.7', 0)).toBeDefined();
    }
  });
});
