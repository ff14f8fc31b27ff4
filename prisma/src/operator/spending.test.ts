import { describe, expect, it } from '@jest/globals';
import type { LimitContent, LimitScope } from '../ledger/limit-types.ts';
import type { BudgetSubject, WindowSpec } from '../ledger/types.ts';
import { newReplica, newSettlement, newWindow } from '../testing/ledger.ts';
import { newLimit, newOwner } from '../testing/owned-rows.ts';
import { at, NOW, POSTGRES_VERSIONS, usePostgres } from '../testing/postgres.ts';
import type { Store } from '../types.ts';
import type { PolicySpending } from './types.ts';

const MONTH = {
  period: 'monthly',
  startsAt: new Date('2027-03-01T00:00:00Z'),
  endsAt: new Date('2027-04-01T00:00:00Z'),
} as const;
const group = (name: string): LimitScope => ({ type: 'rbac_group', group: name });
const user = (name: string): LimitScope => ({ type: 'user', user: name });

describe.each(POSTGRES_VERSIONS)('spending on PostgreSQL %i', (version) => {
  const postgres = usePostgres(version);

  async function open(): Promise<{ store: Store; url: string }> {
    const url = await postgres.server.createDatabase();
    return { store: await postgres.open({ url }), url };
  }

  async function own(store: Store, contents: readonly LimitContent[], uid = 'a'): Promise<void> {
    await store.policies.replaceOwned([{ owner: newOwner(uid), policyName: uid, limits: contents }], NOW);
  }

  /** Someone who has spent so much this month; `held` is leased on top. */
  async function spend(
    store: Store,
    subject: BudgetSubject,
    cost: bigint,
    held = 0n,
    overrides: Partial<WindowSpec> = MONTH,
  ): Promise<void> {
    const window = newWindow(subject, overrides);
    await store.ledger.openWindows([window]);
    const replica = await newReplica(store.ledger);
    const sub = subject.kind === 'user' ? subject.sub : 'somebody';
    const settlements = cost > 0n ? [newSettlement([window], { costNanoUsd: cost, sub })] : [];
    if (subject.kind === 'user') await store.ledger.settle(replica, { settlements, returns: [] });
    const ask = { windowId: window.id, cap: 2n ** 62n, need: held, extra: 0n };
    if (held > 0n) await store.ledger.lease(replica, [ask]);
  }

  const seen = (store: Store, sub: string, groups: string[], email: string | null = null): Promise<void> =>
    store.usage.touch([{ sub, kind: 'user', email, name: null, groups, seenAt: NOW }]);

  const brief = ({ spent, held, members, blockedMembers }: PolicySpending): unknown[] => [
    spent,
    held,
    members,
    blockedMembers,
  ];
  const sub = (name: string): BudgetSubject => ({ kind: 'user', sub: name });

  it('is nothing where nobody has spent anything', async () => {
    const { store } = await open();
    expect(await store.policies.spending(NOW)).toEqual([]);
    const content = newLimit({ timeZone: 'Europe/Berlin' });
    await own(store, [content]);
    await store.limits.put(newLimit(), { actor: 'x', reason: null, now: NOW });
    expect(await store.policies.spending(NOW)).toEqual([
      {
        ...{ ownerUid: 'a', content, spent: 0n, held: 0n, members: 0, blockedMembers: 0 },
        resetsAt: new Date('2027-03-31T22:00:00Z'),
      },
    ]);
  });

  it('of a user is what the window says, by subject or address in any case', async () => {
    const { store } = await open();
    await own(store, [newLimit({ scope: user('ada'), amount: 100n })], 'a');
    await own(store, [newLimit({ scope: user('BOB@x.example'), amount: 50n })], 'b');
    await own(store, [newLimit({ scope: user('Eve@X.example'), amount: 50n })], 'c');
    await spend(store, sub('ada'), 70n, 40n);
    await seen(store, 'b-1', [], 'Bob@X.example');
    await spend(store, sub('b-1'), 7n);
    await spend(store, sub('eve@X.EXAMPLE'), 9n);
    await spend(store, sub('Ada'), 99n);
    const spending = await store.policies.spending(NOW);
    expect(spending.map(brief)).toEqual([
      [70n, 40n, 1, 1],
      [7n, 0n, 1, 0],
      [9n, 0n, 1, 0],
    ]);
    expect(spending.map(({ resetsAt }) => resetsAt)).toEqual([MONTH.endsAt, MONTH.endsAt, MONTH.endsAt]);
  });

  it('per member is of the one who has spent most, and counts those who are blocked', async () => {
    const { store } = await open();
    await own(store, [newLimit({ amount: 100n })], 'everybody');
    await own(store, [newLimit({ scope: group('eng'), amount: 60n })], 'eng');
    for (const [name, groups, cost, held] of [
      ['a', [], 100n, 0n],
      ['b', [], 30n, 80n],
      ['c', [], 0n, 5n],
      ['d', ['eng', 'all'], 59n, 0n],
      ['e', ['eng'], 10n, 50n],
      ['f', ['eng'], 0n, 1n],
      ['g', ['Eng'], 1n, 0n],
    ] as const) {
      await seen(store, name, [...groups]);
      await spend(store, sub(name), cost, held);
    }
    expect((await store.policies.spending(NOW)).map(brief)).toEqual([
      [100n, 0n, 3, 2],
      [59n, 0n, 2, 1],
    ]);
  });

  it('leaves out whom a nearer limit of the same period and unit is for, whoever made it', async () => {
    const { store } = await open();
    await own(store, [newLimit({ amount: 100n })], 'everybody');
    await own(store, [newLimit({ scope: group('eng'), amount: 100n })], 'eng');
    const change = { actor: 'x', reason: null, now: NOW };
    await store.limits.put(newLimit({ scope: user('V@x.example'), amount: 999n }), change);
    await store.limits.put(newLimit({ scope: group('ops'), amount: 999n }), change);
    // Other periods and units, and pools, take nobody away.
    await store.limits.put(newLimit({ scope: user('plain'), period: 'daily' }), change);
    await store.limits.put(newLimit({ scope: user('plain'), unit: 'tokens' }), change);
    await store.limits.put(newLimit({ scope: group('pool'), sharing: 'pooled' }), change);
    await seen(store, 'v', ['eng'], 'v@X.example');
    await seen(store, 'o', ['ops']);
    await seen(store, 'e', ['eng']);
    await seen(store, 'plain', ['pool']);
    for (const [name, cost] of [
      ['v', 500n],
      ['o', 400n],
      ['e', 20n],
      ['plain', 10n],
    ] as const) {
      await spend(store, sub(name), cost);
    }
    expect((await store.policies.spending(NOW)).map(brief)).toEqual([
      [10n, 0n, 1, 0],
      [20n, 0n, 1, 0],
    ]);
  });

  it('of a pool is its window’s', async () => {
    const { store, url } = await open();
    await own(store, [newLimit({ sharing: 'pooled', amount: 10n })], 'everybody');
    await own(store, [newLimit({ scope: group('eng'), sharing: 'pooled', amount: 10n })], 'eng');
    await own(store, [newLimit({ scope: group(''), sharing: 'pooled' })], 'nobody');
    await spend(store, { kind: 'organization_pool' }, 0n, 3n);
    await spend(store, { kind: 'group_pool', group: 'eng' }, 0n, 4n);
    await postgres.sql(`update claude_gateway.budget_windows set spent = held * 10`, [], url);
    expect((await store.policies.spending(NOW)).map(brief)).toEqual([
      [30n, 3n, 0, 0],
      [40n, 4n, 0, 0],
      [0n, 0n, 0, 0],
    ]);
  });

  it('is that of the present period, unit and time zone', async () => {
    const { store } = await open();
    const content = newLimit({ scope: user('ada'), timeZone: 'Europe/Berlin', unit: 'nano_usd' });
    await own(store, [content]);
    const berlin = {
      ...MONTH,
      timeZone: 'Europe/Berlin',
      startsAt: new Date('2027-02-28T23:00:00Z'),
      endsAt: new Date('2027-03-31T22:00:00Z'),
    };
    const before = { ...berlin, startsAt: new Date('2027-01-31T23:00:00Z'), endsAt: berlin.startsAt };
    const after = { ...berlin, startsAt: berlin.endsAt, endsAt: new Date('2027-04-30T22:00:00Z') };
    for (const [window, held] of [
      [before, 1n],
      [after, 2n],
      [MONTH, 4n],
      [{ ...berlin, unit: 'tokens' as const }, 8n],
      [{ ...berlin, period: 'weekly' as const }, 16n],
      [berlin, 32n],
    ] as const) {
      await spend(store, sub('ada'), 0n, held, window);
    }
    const of = async (now: Date): Promise<unknown> => {
      const [found] = await store.policies.spending(now);
      return [found?.held, found?.resetsAt];
    };
    expect(await of(NOW)).toEqual([32n, berlin.endsAt]);
    expect(await of(new Date(berlin.startsAt.getTime() - 1))).toEqual([1n, berlin.startsAt]);
    expect(await of(berlin.startsAt)).toEqual([32n, berlin.endsAt]);
    expect(await of(berlin.endsAt)).toEqual([2n, after.endsAt]);
  });

  it('is found by an index, and soon, among many windows', async () => {
    const { store, url } = await open();
    // 10,000 people, three months; half of them have a limit of their own.
    await postgres.sql(
      `insert into claude_gateway.budget_windows
              (id, subject_kind, subject, unit, period, time_zone, starts_at, ends_at, spent, held)
       select md5(n || '-' || m)::uuid, 'user', 'u' || n, 'nano_usd', 'monthly', 'UTC',
              $1::timestamptz - m * interval '1 month', $1::timestamptz - (m - 1) * interval '1 month', n, 1
         from generate_series(1, 10000) n, generate_series(0, 2) m`,
      [MONTH.startsAt],
      url,
    );
    await postgres.sql(
      `insert into claude_gateway.principals (sub, kind, groups, first_seen_at, last_seen_at)
       select 'u' || n, 'user', array['all', 'team-' || n % 100], $1, $1 from generate_series(1, 10000) n`,
      [NOW],
      url,
    );
    await store.policies.replaceOwned(
      [
        { owner: newOwner('all'), policyName: 'all', limits: [newLimit({ amount: 9_000n })] },
        ...Array.from({ length: 100 }, (_, i) => ({
          owner: newOwner(`team-${i}`),
          policyName: 'team',
          limits: [newLimit({ scope: group(`team-${i}`), amount: 9_000n, unit: 'tokens' })],
        })),
        ...Array.from({ length: 5_000 }, (_, i) => ({
          owner: newOwner(`u${i + 1}`),
          policyName: 'user',
          limits: [newLimit({ scope: user(`u${i + 1}`) })],
        })),
      ],
      NOW,
    );
    // Statistics of none of it: the worst that a planner may believe.
    const started = performance.now();
    const spending = await store.policies.spending(NOW);
    const tookMs = performance.now() - started;
    expect(spending).toHaveLength(5_101);
    expect(brief(spending[0] as PolicySpending)).toEqual([10_000n, 1n, 5_000, 1_002]);
    expect(brief(spending[5_100] as PolicySpending)).toEqual([5_000n, 1n, 1, 0]);
    // Nested loops over all of it take minutes.
    expect(tookMs).toBeLessThan(15_000);
    await postgres.sql('analyze claude_gateway.budget_windows', [], url);
    const plan = await postgres.sql(
      `explain select id from claude_gateway.budget_windows where ends_at > $1 and starts_at <= $1`,
      [at(40 * 86_400_000)],
      url,
    );
    expect(JSON.stringify(plan)).toContain('budget_windows_ends_at_idx');
  }, 60_000);
});
