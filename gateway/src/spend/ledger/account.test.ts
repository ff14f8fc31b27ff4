import { describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { Account } from './account.ts';

function account(): Account {
  const window = {
    id: randomUUID(),
    subject: { kind: 'organization_pool' },
    unit: 'nano_usd',
    period: 'daily',
    timeZone: 'UTC',
    startsAt: new Date(0),
    endsAt: new Date(86_400_000),
  } as const;
  return new Account(window, 1_000n, 0);
}

describe('what is leased beyond what is needed', () => {
  it('doubles while leases do not last, up to a thousand times', () => {
    const busy = account();
    const reserves = Array.from({ length: 10 }, (_, i) => busy.reserve(i * 100));
    expect(reserves).toEqual([7n, 14n, 28n, 56n, 112n, 224n, 448n, 896n, 1_000n, 1_000n]);
  });

  it('stays while leases last as they should, and halves when they last longer', () => {
    const busy = account();
    for (let i = 0; i < 4; i++) busy.reserve(i * 100);
    expect(busy.reserve(800)).toBe(56n);
    expect(busy.reserve(2_000)).toBe(28n);
    expect(busy.reserve(10_000)).toBe(14n);
    expect(busy.reserve(20_000)).toBe(7n);
    expect(busy.reserve(30_000)).toBe(7n);
  });
});
