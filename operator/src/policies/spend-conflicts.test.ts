import { describe, expect, it } from '@jest/globals';
import type { SpendPolicy, SpendPolicySpecInput } from '@claude-gateway/crds';
import type { Conflicts } from './conflict-list.ts';
import { spendConflicts } from './spend-conflicts.ts';
import { gateway, spendPolicy, uidOf } from './testing/policies.ts';

const ENG = { kind: 'Group', name: 'eng' } as const;
const daily = (usd: string): Pick<SpendPolicySpecInput, 'limits'> => ({ limits: [{ period: 'Daily', usd }] });

function policy(name: string, spec: Partial<SpendPolicySpecInput>): SpendPolicy {
  return spendPolicy(name, { subject: ENG, limits: [{ period: 'Daily', usd: '1' }], ...spec });
}

/** `{of: {other: message}}` */
function byName(conflicts: Conflicts): Record<string, Record<string, string>> {
  return Object.fromEntries(
    [...conflicts].map(([uid, list]) => [
      uid.replace('uid-of-', ''),
      Object.fromEntries(list.map(({ name, message }) => [name, message])),
    ]),
  );
}

function found(...policies: SpendPolicy[]): Record<string, Record<string, string>> {
  return byName(spendConflicts(policies, [gateway('main')]));
}

describe('which of two limits for the same counts', () => {
  const SAME = 'both limit daily dollars of each member of the group eng: ';

  it.each<[string, Partial<SpendPolicySpecInput>, Partial<SpendPolicySpecInput>, string]>([
    ['the lower', daily('50'), daily('100.5'), 'a counts, its $50.00 are less than the $100.50 of b'],
    ['the lower, however it is written', daily('0.30'), daily('0.300000001'), 'a counts, its $0.30 are less'],
    [
      'the lower, although it is less strict',
      { ...daily('1'), enforcement: { mode: 'Postpaid' } },
      daily('2'),
      'a counts',
    ],
    [
      'a limit beside unlimited',
      daily('5'),
      { limits: [{ period: 'Daily', unlimited: 'USD' }] },
      'a counts, $5.00; b is unlimited',
    ],
    [
      'the stricter of the same amount',
      { ...daily('5'), enforcement: { mode: 'Bounded' } },
      { ...daily('5'), enforcement: { mode: 'Postpaid' } },
      'a counts; b says $5.00 too, and is less strict (Bounded and Postpaid)',
    ],
    ['none, of equal ones', daily('5'), daily('5.00'), 'a and b say the same, $5.00: remove one'],
    [
      'none, where nothing is limited',
      { limits: [{ period: 'Daily', unlimited: 'USD' }] },
      { limits: [{ period: 'Daily', unlimited: 'USD' }], timeZone: 'Asia/Tokyo' },
      'a and b say the same, unlimited: remove one',
    ],
    [
      'the first in the database, of two that differ otherwise',
      { ...daily('5'), enforcement: { whenShort: 'Refuse' }, warnAtPercent: [50] },
      { ...daily('5'), enforcement: { failurePolicy: 'Open' }, blockedMessage: 'ask' },
      'both say $5.00, and differ in enforcement.whenShort, enforcement.failurePolicy, warnAtPercent, blockedMessage: the one that the database got first counts',
    ],
    [
      'both, in two time zones',
      { ...daily('5'), timeZone: 'Europe/Berlin' },
      daily('6'),
      'both count, $5.00 of a in Europe/Berlin and $6.00 of b in UTC',
    ],
  ])('%s', (_, a, b, message) => {
    const expected = expect.stringContaining(SAME + message) as unknown;
    const conflicts = { a: { b: expected }, b: { a: expected } };
    expect(found(policy('a', a), policy('b', b))).toEqual(conflicts);
    expect(found(policy('b', b), policy('a', a))).toEqual(conflicts);
  });

  it.each<[string, Partial<SpendPolicySpecInput>, string]>([
    ['everybody', { subject: { kind: 'Organization' } }, 'daily dollars of everybody: '],
    [
      'a user',
      { subject: { kind: 'User', name: 'ada@corp.example' } },
      'daily dollars of ada@corp.example: ',
    ],
    [
      'the pool of everybody',
      { subject: { kind: 'Organization' }, limits: [{ period: 'Weekly', usd: '1', sharing: 'Pooled' }] },
      'weekly dollars that everybody shares: ',
    ],
    [
      'the pool of a group',
      { limits: [{ period: 'Monthly', tokens: 1_000_000, sharing: 'Pooled' }] },
      'monthly tokens that the group eng shares: a and b say the same, 1,000,000 tokens',
    ],
    [
      'tokens with cache reads',
      { limits: [{ period: 'Daily', tokens: 1, countCacheReads: true }] },
      'daily tokens with cache reads of each member of the group eng: ',
    ],
  ])('names %s', (_, spec, what) => {
    expect(found(policy('a', spec), policy('b', spec))['a']?.['b']).toContain(`both limit ${what}`);
  });

  it('does not confuse what is limited apart', () => {
    const others: Partial<SpendPolicySpecInput>[] = [
      { subject: { kind: 'Organization' } },
      { subject: { kind: 'Group', name: 'Eng' } },
      { subject: { kind: 'User', name: 'eng' } },
      { limits: [{ period: 'Weekly', usd: '1' }] },
      { limits: [{ period: 'Daily', tokens: 1 }] },
      { limits: [{ period: 'Daily', tokens: 1, countCacheReads: true }] },
      { limits: [{ period: 'Daily', usd: '1', sharing: 'Pooled' }] },
    ];
    expect(found(policy('a', {}), ...others.map((spec, i) => policy(`b${i}`, spec)))).toEqual({});
  });

  it('takes a user for the same in any letter case of the address', () => {
    const user = (name: string) => ({ subject: { kind: 'User', name } as const });
    expect(
      found(policy('a', user('Ada@corp.example')), policy('b', user('ada@Corp.example'))),
    ).toHaveProperty('a');
    expect(found(policy('a', user('CI')), policy('b', user('ci')))).toEqual({});
  });

  it('compares each with the one that counts in its zone, and the lowest of other zones with the lowest of all', () => {
    const conflicts = found(
      policy('berlin-5', { ...daily('5'), timeZone: 'Europe/Berlin' }),
      policy('berlin-7', { ...daily('7'), timeZone: 'Europe/Berlin' }),
      policy('utc-6', daily('6')),
      policy('utc-8', daily('8')),
      policy('free', { limits: [{ period: 'Daily', unlimited: 'USD' }] }),
    );
    const others = Object.fromEntries(
      Object.entries(conflicts).map(([name, all]) => [name, Object.keys(all)]),
    );
    expect(others).toEqual({
      'berlin-5': ['berlin-7', 'free', 'utc-6'],
      'berlin-7': ['berlin-5'],
      'utc-6': ['berlin-5', 'utc-8'],
      'utc-8': ['utc-6'],
      free: ['berlin-5'],
    });
    expect(conflicts['free']?.['berlin-5']).toContain('berlin-5 counts');
  });

  it('says everything of one pair in one message', () => {
    const limits = (usd: string) => [
      { period: 'Daily', usd } as const,
      { period: 'Monthly', usd, sharing: 'Pooled' } as const,
    ];
    expect(
      found(policy('a', { limits: limits('1') }), policy('b', { limits: limits('2') }))['a']?.['b'],
    ).toBe(
      'both limit daily dollars of each member of the group eng: a counts, its $1.00 are less than the $2.00 of b; ' +
        'both limit monthly dollars that the group eng shares: a counts, its $1.00 are less than the $2.00 of b',
    );
  });

  it('leaves out policies that are not in force', () => {
    const broken = policy('b', daily('2'));
    broken.spec.blockedMessage = '\0';
    expect(found(policy('a', daily('1')), broken)).toEqual({});
  });
});

describe('where policies meet', () => {
  const on = (...names: string[]) => ({ gatewayRefs: names.map((name) => ({ name })) });
  const conflictsOn = (gateways: Parameters<typeof spendConflicts>[1], ...policies: SpendPolicy[]) =>
    byName(spendConflicts(policies, gateways));

  it('finds none between policies of different gateways', () => {
    const gateways = [gateway('a'), gateway('b')];
    expect(conflictsOn(gateways, policy('p', on('a')), policy('q', on('b')))).toEqual({});
    expect(conflictsOn(gateways, policy('p', on('a')), policy('q', on('missing')))).toEqual({});
  });

  it('finds those of gateways that share a database', () => {
    const gateways = [gateway('a', { database: 'one' }), gateway('b', { database: 'one' })];
    expect(conflictsOn(gateways, policy('p', on('a')), policy('q', on('b')))).toHaveProperty('p.q');
  });

  it('names the gateways where it is not so on all of a policy', () => {
    const gateways = [gateway('a'), gateway('b'), gateway('c')];
    const conflicts = conflictsOn(
      gateways,
      policy('everywhere', daily('5')),
      policy('here', { ...daily('2'), ...on('a', 'b') }),
    );
    expect(conflicts['here']?.['everywhere']).toMatch(/of everywhere$/);
    expect(conflicts['everywhere']?.['here']).toMatch(/of everywhere \(on a and b\)$/);
  });

  it('finds another one that counts on each gateway', () => {
    const gateways = [gateway('a'), gateway('b')];
    const conflicts = conflictsOn(
      gateways,
      policy('five', daily('5')),
      policy('two', { ...daily('2'), ...on('a') }),
      policy('four', { ...daily('4'), ...on('b') }),
    );
    expect(Object.keys(conflicts['five'] ?? {})).toEqual(['four', 'two']);
    expect(conflicts['two']).not.toHaveProperty('four');
  });
});

describe('what a status has room for', () => {
  it('lists as many as a status has room for, and says that there are more', () => {
    const policies = Array.from({ length: 150 }, (_, index) =>
      policy(`policy-${index}`, daily(String(index + 1))),
    );
    const conflicts = spendConflicts(policies, [gateway('main')]);
    const lowest = conflicts.get(uidOf('policy-0')) ?? [];
    expect(lowest).toHaveLength(100);
    expect(lowest.at(-1)?.message).toMatch(/ \(and 49 others\)$/);
    expect(conflicts.get(uidOf('policy-149'))).toHaveLength(1);
  });

  it('keeps messages to what a status has room for', () => {
    const name = 'g'.repeat(512);
    const limits = (['Daily', 'Weekly', 'Monthly'] as const).flatMap((period) =>
      (['PerMember', 'Pooled'] as const).flatMap((sharing) => [
        { period, sharing, usd: '1' },
        { period, sharing, tokens: 1 },
        { period, sharing, tokens: 1, countCacheReads: true },
      ]),
    );
    const spec = { subject: { kind: 'Group', name } as const, limits };
    const message = found(policy('a'.repeat(253), spec), policy('b'.repeat(253), spec))['a'.repeat(253)]?.[
      'b'.repeat(253)
    ];
    expect(message?.length).toBeLessThanOrEqual(1024);
    expect(message).toMatch(/; and \d+ more$/);
  });
});
