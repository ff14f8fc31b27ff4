import { describe, expect, it } from '@jest/globals';
import type { BudgetSubject } from '@claude-gateway/prisma';
import { limit } from '../admission/testing/bed.ts';
import type { AppliedCap } from '../types.ts';
import { decisiveOf, limitReached } from './refusal.ts';
import { toldOf, percentOf, severityOf, standingHeaders } from './standing.ts';
import { amountText, capText, resetText } from './wording.ts';

const USER: BudgetSubject = { kind: 'user', sub: 'u1' };

function cap(
  amount: bigint,
  overrides: Parameters<typeof limit>[0] & { subject?: BudgetSubject; endsAt?: string } = {},
): AppliedCap {
  const { subject = USER, endsAt = '2026-09-01T00:00:00Z', ...rest } = overrides;
  const made = limit({ amount, ...rest });
  const id = `${JSON.stringify(subject)} ${made.period} ${amount} ${endsAt}`;
  const { unit, period, timeZone } = made;
  return {
    limit: made,
    amount,
    source: 'organization',
    subject,
    window: { id, subject, unit, period, timeZone, startsAt: new Date(0), endsAt: new Date(endsAt) },
  };
}

/** A ledger that knows what these caps have spent. */
function ledgerOf(...spent: [AppliedCap, bigint][]) {
  return {
    peek: (windowId: string) => {
      const found = spent.find(([{ window }]) => window.id === windowId);
      return found === undefined ? undefined : { windowId, spent: found[1], held: 0n };
    },
  };
}

describe('a standing', () => {
  it.each([
    [0n, 0, 'normal'],
    [4n, 0, 'normal'],
    [5n, 1, 'normal'],
    [744n, 74, 'normal'],
    [749n, 75, 'normal'],
    [750n, 75, 'normal'],
    [751n, 75, 'warning'],
    [755n, 76, 'warning'],
    [950n, 95, 'warning'],
    [951n, 95, 'critical'],
    [995n, 99, 'critical'],
    [999n, 99, 'critical'],
    [1000n, 100, 'critical'],
    [1250n, 125, 'critical'],
  ])('of %d in 1000 is %d percent, %s', (spent, percent, severity) => {
    const standing = { cap: cap(1000n), spent };
    expect(percentOf(standing)).toBe(percent);
    expect(severityOf(standing)).toBe(severity);
  });

  it('is full where nothing is allowed', () => {
    expect(percentOf({ cap: cap(0n), spent: 0n })).toBe(100);
    expect(severityOf({ cap: cap(0n), spent: 0n })).toBe('critical');
  });

  it('warns where its limit says', () => {
    const standing = (warnAtPercent: number[], spent: bigint) =>
      severityOf({ cap: cap(1000n, { warnAtPercent }), spent });
    expect(standing([], 999n)).toBe('normal');
    expect(standing([50], 999n)).toBe('warning');
    expect(standing([50, 80, 90], 501n)).toBe('warning');
    expect(standing([50, 80, 90], 801n)).toBe('critical');
    expect(standing([50, 80, 90], 950n)).toBe('critical');
  });

  it('that is the fullest counts, and of equals the one that resets last', () => {
    const daily = { cap: cap(1000n, { period: 'daily', endsAt: '2026-08-08T00:00:00Z' }), spent: 800n };
    const monthly = { cap: cap(500n), spent: 400n };
    expect(toldOf([daily, monthly])).toBe(monthly);
    expect(toldOf([monthly, daily])).toBe(monthly);
    expect(toldOf([{ ...daily, spent: 801n }, monthly])).toMatchObject({ spent: 801n });
    expect(toldOf([monthly, { cap: cap(0n), spent: 0n }])).toMatchObject({ cap: { amount: 0n } });
    expect(toldOf([])).toBeUndefined();
  });
});

describe('headers of an answer', () => {
  it('are those of the reference', () => {
    const monthly = cap(1000n);
    expect(standingHeaders([monthly], ledgerOf([monthly, 800n]))).toEqual({
      'anthropic-ratelimit-unified-status': 'allowed_warning',
      'anthropic-ratelimit-unified-representative-claim': 'overage',
      'anthropic-ratelimit-unified-reset': '1788220800',
      'anthropic-ratelimit-unified-overage-status': 'allowed_warning',
      'anthropic-ratelimit-unified-overage-reset': '1788220800',
      'anthropic-ratelimit-unified-overage-utilization': '0.8',
      'anthropic-ratelimit-unified-overage-surpassed-threshold': '0.75',
    });
    expect(standingHeaders([monthly], ledgerOf([monthly, 0n]))).toEqual({
      'anthropic-ratelimit-unified-status': 'allowed',
      'anthropic-ratelimit-unified-representative-claim': 'overage',
      'anthropic-ratelimit-unified-reset': '1788220800',
      'anthropic-ratelimit-unified-overage-status': 'allowed',
      'anthropic-ratelimit-unified-overage-reset': '1788220800',
      'anthropic-ratelimit-unified-overage-utilization': '0',
    });
  });

  it('never say 1 of a request that was admitted', () => {
    const monthly = cap(1000n);
    for (const spent of [996n, 999n, 1000n, 2000n]) {
      const headers = standingHeaders([monthly], ledgerOf([monthly, spent]));
      expect(headers).toMatchObject({
        'anthropic-ratelimit-unified-overage-utilization': '0.99',
        'anthropic-ratelimit-unified-overage-surpassed-threshold': '0.95',
      });
    }
  });

  it('are none without caps, and none while nothing is known', () => {
    expect(standingHeaders([], ledgerOf())).toBeUndefined();
    expect(standingHeaders([cap(1000n)], ledgerOf())).toBeUndefined();
  });

  it('say which threshold of the cap is passed', () => {
    const told = (spent: bigint) => {
      const own = cap(1000n, { warnAtPercent: [50, 80, 90] });
      return standingHeaders([own], ledgerOf([own, spent]))?.[
        'anthropic-ratelimit-unified-overage-surpassed-threshold'
      ];
    };
    expect([500n, 501n, 850n, 999n].map(told)).toEqual([undefined, '0.5', '0.8', '0.9']);
  });

  it('are of a budget that others share only for who has no cap of their own, and say so', () => {
    for (const subject of [{ kind: 'group_pool', group: 'eng' }, { kind: 'organization_pool' }] as const) {
      const pool = cap(1000n, { subject });
      const own = cap(2000n);
      const ledger = ledgerOf([pool, 900n], [own, 500n]);
      for (const both of [
        [own, pool],
        [pool, own],
      ]) {
        const headers = standingHeaders(both, ledger);
        expect(headers).toMatchObject({ 'anthropic-ratelimit-unified-overage-utilization': '0.25' });
        expect(headers).not.toHaveProperty('anthropic-ratelimit-unified-overage-scope');
      }
      expect(standingHeaders([pool], ledger)).toMatchObject({
        'anthropic-ratelimit-unified-overage-utilization': '0.9',
        'anthropic-ratelimit-unified-overage-scope': 'group_pool',
      });
    }
  });
});

describe('the words for a cap', () => {
  it('name amounts in their unit', () => {
    expect(amountText(5_000_000_000n, 'nano_usd')).toBe('$5.00');
    expect(amountText(1_234_567_899_999_999n, 'nano_usd')).toBe('$1,234,567.89');
    expect(amountText(9_999_999n, 'nano_usd')).toBe('less than $0.01');
    expect(amountText(10_000_001n, 'nano_usd', 'up')).toBe('$0.02');
    expect(amountText(0n, 'nano_usd')).toBe('$0.00');
    expect(amountText(2_000_000n, 'tokens')).toBe('2,000,000 tokens');
  });

  it('say whose it is, and of which policy', () => {
    const amount = 5_000_000_000n;
    expect(capText(cap(amount, { period: 'daily' }))).toBe('your daily limit of $5.00');
    expect(capText(cap(amount, { policyName: 'eng-caps' }))).toBe(
      'your monthly limit of $5.00 (policy eng-caps)',
    );
    expect(capText(cap(amount, { subject: { kind: 'group_pool', group: 'eng' }, policyName: 'p' }))).toBe(
      'the monthly budget of $5.00 that the group eng shares (policy p)',
    );
    expect(capText(cap(2_000n, { subject: { kind: 'organization_pool' }, unit: 'tokens' }))).toBe(
      'the monthly budget of 2,000 tokens that the organization shares',
    );
  });

  it('say when it resets, by its own calendar', () => {
    expect(resetText(cap(1n))).toBe('Sep 1, 00:00 UTC');
    const zoned = cap(1n, { timeZone: 'America/New_York', endsAt: '2026-08-08T04:00:00Z' });
    expect(resetText(zoned)).toBe('Aug 8, 00:00 America/New_York');
  });
});

describe('a 429', () => {
  const now = Date.parse('2026-08-31T23:59:59.500Z');
  const blocked = (of: AppliedCap, rest: { spent?: bigint; need?: bigint; available?: bigint } = {}) => ({
    cap: of,
    spent: of.amount,
    need: 0n,
    available: 0n,
    ...rest,
  });

  it('tells of the cap that resets last, or of one that never lets anything through', () => {
    const daily = blocked(cap(1000n, { period: 'daily', endsAt: '2026-08-08T00:00:00Z' }));
    const monthly = blocked(cap(2000n));
    const nothing = blocked(cap(0n, { period: 'daily', endsAt: '2026-08-08T00:00:00Z' }));
    expect(decisiveOf([daily, monthly])).toBe(monthly);
    expect(decisiveOf([monthly, daily])).toBe(monthly);
    expect(decisiveOf([monthly, nothing])).toBe(nothing);
  });

  it('says how much a request may take that does not fit', () => {
    const error = limitReached(
      blocked(cap(5_000_000_000n), { spent: 4_600_000_000n, need: 1_200_000_000n, available: 400_000_000n }),
      now,
      'ask Alice',
    );
    expect(error.message).toBe(
      'spend limit reached · this request may take up to $1.20, and $0.40 of your monthly limit of $5.00 is left · ' +
        'resets Sep 1, 00:00 UTC · ask Alice',
    );
    expect(error.headers).toMatchObject({
      'anthropic-ratelimit-unified-overage-utilization': '1',
      'retry-after': '1',
    });
  });

  it("has the limit's own advice before the general one", () => {
    const own = blocked(cap(1000n, { blockedMessage: 'ask Bob' }));
    expect(limitReached(own, now, 'ask Alice').message).toMatch(/ · ask Bob$/);
  });

  it('names a pool as one', () => {
    const pool = blocked(cap(5_000_000_000n, { subject: { kind: 'organization_pool' } }));
    const error = limitReached(pool, now, undefined);
    expect(error.message).toBe(
      'spend limit reached · the monthly budget of $5.00 that the organization shares is used up · resets Sep 1, 00:00 UTC',
    );
    expect(error.headers['anthropic-ratelimit-unified-overage-scope']).toBe('group_pool');
  });
});
