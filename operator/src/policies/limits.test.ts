import { describe, expect, it } from '@jest/globals';
import type { SpendPolicy, SpendPolicySpecInput } from '@claude-gateway/crds';
import { SAMPLES } from '@claude-gateway/crds/testing';
import type { LimitContent } from '@claude-gateway/prisma';
import { limitsOf } from './limits.ts';
import { spendPolicy } from './testing/policies.ts';

const EVERYBODY = { kind: 'Organization' } as const;

function compiled(spec: SpendPolicySpecInput): readonly LimitContent[] {
  const result = limitsOf(spendPolicy('p', spec));
  if ('problems' in result) throw new Error(JSON.stringify(result.problems));
  return result.limits;
}

const first = (spec: SpendPolicySpecInput): LimitContent => compiled(spec)[0] as LimitContent;

/** A spec that the API server does not let through today. */
function problemsOf(spec: unknown): unknown {
  const result = limitsOf({ spec } as Pick<SpendPolicy, 'spec'>);
  return 'problems' in result ? result.problems : 'none';
}

describe('limitsOf', () => {
  it('leaves out fields of newer definitions, and says so; everything else of the spec is judged', () => {
    const spec = {
      subject: { kind: 'Organization', tomorrow: 1 },
      limits: [{ period: 'Daily', usd: '5', burst: '1.00' }],
      window: 'Rolling',
    };
    const result = limitsOf({ spec } as unknown as SpendPolicy);
    expect(result).toMatchObject({ limits: [{ amount: 5_000_000_000n, period: 'daily' }] });
    const says = 'is ignored: this operator is older than the definitions, so upgrade it';
    expect('warnings' in result && [...result.warnings].sort()).toEqual([
      `spec.limits[0].burst ${says}`,
      `spec.subject.tomorrow ${says}`,
      `spec.window ${says}`,
    ]);
    expect(problemsOf({ ...spec, limits: [{ period: 'Hourly', usd: '5', burst: '1.00' }] })).toMatchObject([
      { field: 'spec.limits[0].period' },
    ]);
    expect(spec).toHaveProperty('window');
  });

  it('says everything that a policy says', () => {
    const limits = compiled(SAMPLES.SpendPolicy[0]!);
    const common = {
      scope: { type: 'rbac_group', group: 'eng-contractors' },
      mode: 'bounded',
      whenShort: 'refuse',
      failurePolicy: 'closed',
      timeZone: 'Europe/Berlin',
      warnAtPercent: [75, 95],
      blockedMessage: 'ask for more at https://go.corp.example/claude',
    };
    expect(limits).toEqual([
      { ...common, period: 'daily', unit: 'nano_usd', sharing: 'per_member', amount: 100_000_000_000n },
      { ...common, period: 'monthly', unit: 'nano_usd', sharing: 'pooled', amount: 5_000_000_000_000n },
      {
        ...common,
        period: 'weekly',
        unit: 'tokens_with_cache_reads',
        sharing: 'per_member',
        amount: 50_000_000n,
      },
      { ...common, period: 'weekly', unit: 'tokens', sharing: 'per_member', amount: 5_000_000n },
      { ...common, period: 'weekly', unit: 'nano_usd', sharing: 'per_member', amount: null },
    ]);
  });

  it('leaves to the gateway what a policy leaves out', () => {
    expect(first({ subject: EVERYBODY, limits: [{ period: 'Monthly', usd: '1' }] })).toEqual({
      scope: { type: 'organization' },
      period: 'monthly',
      unit: 'nano_usd',
      sharing: 'per_member',
      amount: 1_000_000_000n,
      mode: 'strict',
      whenShort: 'shrink_output',
      failurePolicy: null,
      timeZone: 'UTC',
      warnAtPercent: [],
      blockedMessage: null,
    });
  });

  it.each([
    ['0', 0n],
    ['0.000000001', 1n],
    ['0.1', 100_000_000n],
    ['100.00', 100_000_000_000n],
    ['4503599.627370497', 4_503_599_627_370_497n],
    ['90071992.547409931', 90_071_992_547_409_931n],
    ['999999999.999999999', 999_999_999_999_999_999n],
  ])('counts %s dollars to the nano-dollar', (usd, amount) => {
    const limit = first({ subject: EVERYBODY, limits: [{ period: 'Daily', usd }] });
    expect(limit.amount).toBe(amount);
    expect(limit.amount).toBeLessThan(2n ** 63n);
  });

  it.each([0, 1_000_000_000_000_000])('counts %d tokens', (tokens) => {
    const { unit, amount } = first({ subject: EVERYBODY, limits: [{ period: 'Daily', tokens }] });
    expect([unit, amount]).toEqual(['tokens', BigInt(tokens)]);
  });

  it.each([
    [{ unlimited: 'USD' }, 'nano_usd'],
    [{ unlimited: 'Tokens' }, 'tokens'],
    [{ unlimited: 'Tokens', countCacheReads: true }, 'tokens_with_cache_reads'],
  ] as const)('lifts a limit: %j', (limit, unit) => {
    expect(first({ subject: EVERYBODY, limits: [{ period: 'Daily', ...limit }] })).toMatchObject({
      unit,
      amount: null,
    });
  });

  it('keeps the name of a user as it is', () => {
    const subject = { kind: 'User', name: 'Ada@Corp.example' } as const;
    const { scope } = first({ subject, limits: [{ period: 'Daily', usd: '1' }] });
    expect(scope).toEqual({ type: 'user', user: 'Ada@Corp.example' });
  });

  it('sorts thresholds', () => {
    const limits = [{ period: 'Daily', usd: '1' }] as const;
    expect(first({ subject: EVERYBODY, limits: [...limits], warnAtPercent: [95, 5, 75] })).toMatchObject({
      warnAtPercent: [5, 75, 95],
    });
  });

  it('tells no thresholds from those of the gateway', () => {
    const limits = [{ period: 'Daily', usd: '1' }] as const;
    const none = first({ subject: EVERYBODY, limits: [...limits], warnAtPercent: [] });
    expect(none.warnAtPercent).not.toEqual([]);
    expect(none.warnAtPercent.every((percent) => percent >= 100)).toBe(true);
  });

  it.each([
    ['a\0b', '\0'],
    ['\ud800', '\ud800'],
  ])('refuses a text that cannot be kept: %j', (name, blockedMessage) => {
    const spec = {
      subject: { kind: 'Group', name },
      limits: [{ period: 'Daily', usd: '1' }],
      blockedMessage,
    };
    expect(problemsOf(spec)).toEqual([
      { field: 'spec.subject.name', message: expect.stringContaining('remove it') as unknown },
      { field: 'spec.blockedMessage', message: expect.stringContaining('remove it') as unknown },
    ]);
  });

  it.each([
    ['a zone that Node.js does not know', { timeZone: 'Factory' }, 'spec.timeZone'],
    [
      'more dollars than a bigint holds',
      { limits: [{ period: 'Daily', usd: '9999999999.0' }] },
      'spec.limits[0].usd',
    ],
    [
      'more tokens than a policy may have',
      { limits: [{ period: 'Daily', tokens: 1e15 + 1 }] },
      'spec.limits[0].tokens',
    ],
    ['no number', { limits: [{ period: 'Daily', usd: '1e3' }] }, 'spec.limits[0].usd'],
    [
      'a limit twice',
      {
        limits: [
          { period: 'Daily', usd: '1' },
          { period: 'Daily', usd: '2', sharing: 'PerMember' },
        ],
      },
      'spec.limits',
    ],
    [
      'a pool of one',
      {
        subject: { kind: 'User', name: 'ada' },
        limits: [{ period: 'Daily', usd: '1', sharing: 'Pooled' }],
      },
      'spec.limits',
    ],
  ])('refuses what an older schema may have let through: %s', (_, changes, field) => {
    const spec = { subject: EVERYBODY, limits: [{ period: 'Daily', usd: '1' }], ...changes };
    expect(problemsOf(spec)).toEqual([expect.objectContaining({ field })]);
  });
});
