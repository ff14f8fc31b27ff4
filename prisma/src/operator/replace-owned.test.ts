import { describe, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LimitContent } from '../ledger/limit-types.ts';
import { newLimit, newOwner, newPolicy } from '../testing/owned-rows.ts';
import { at, NOW, POSTGRES_VERSIONS, until, usePostgres } from '../testing/postgres.ts';
import type { Store } from '../types.ts';
import type { OwnedRows } from './types.ts';

const user = (name: string, overrides: Partial<LimitContent> = {}): LimitContent =>
  newLimit({ scope: { type: 'user', user: name }, ...overrides });

const [A, B, C] = [newOwner('a'), newOwner('b'), newOwner('c', { kind: 'ManagedSettings' })];

describe.each(POSTGRES_VERSIONS)('rows of custom resources on PostgreSQL %i', (version) => {
  const postgres = usePostgres(version);

  /** A database of its own: revisions are counted. */
  async function open(): Promise<{ store: Store; url: string; sql: (text: string) => Promise<unknown[][]> }> {
    const url = await postgres.server.createDatabase();
    const store = await postgres.open({ url, role: 'operator' });
    return { store, url, sql: (text) => postgres.sql(text, [], url) };
  }

  it('are written for many resources at once, with one revision', async () => {
    const { store } = await open();
    const { policies } = store;
    expect(await policies.readOwned()).toEqual({ revision: 0n, owned: new Map() });
    expect(await policies.replaceOwned([], NOW)).toEqual({ revision: 0n, changed: [] });

    const rows: OwnedRows[] = [
      { owner: A, policyName: 'a', limits: [newLimit(), newLimit({ period: 'daily', amount: null })] },
      { owner: B, policyName: 'the B', limits: [user('ada', { failurePolicy: 'open', warnAtPercent: [] })] },
      {
        owner: C,
        policyName: 'c',
        managed: [newPolicy(), newPolicy({ name: 'base/x.example', position: 1 })],
      },
    ];
    expect(await policies.replaceOwned(rows, NOW)).toEqual({ revision: 1n, changed: ['a', 'b', 'c'] });
    expect(await policies.readOwned()).toEqual({
      revision: 1n,
      owned: new Map(rows.map((row) => [row.owner.uid, row])),
    });

    expect(await policies.replaceOwned(rows.toReversed(), at(1))).toEqual({ revision: 1n, changed: [] });
    const other: OwnedRows[] = [
      { owner: A, policyName: 'a', limits: [newLimit({ amount: 1n }), newLimit({ period: 'weekly' })] },
      rows[1] as OwnedRows,
      { owner: C, policyName: 'c', managed: [newPolicy({ priority: 7 })] },
    ];
    expect(await policies.replaceOwned(other, at(2))).toEqual({ revision: 2n, changed: ['a', 'c'] });
    expect([...(await policies.readOwned()).owned.values()]).toEqual(expect.arrayContaining(other));

    // Of another kind: not touched.
    expect(await policies.replaceOwned([{ owner: A, policyName: 'a', managed: [] }], at(3))).toEqual({
      revision: 2n,
      changed: [],
    });
    const none = { policyName: '', limits: [], managed: [] };
    const gone = [A, B, C].map((owner) => ({ owner, ...none }));
    expect(await policies.replaceOwned(gone, at(4))).toEqual({ revision: 3n, changed: ['a', 'b', 'c'] });
    expect(await policies.readOwned()).toEqual({ revision: 3n, owned: new Map() });
  });

  it('keep the id and the age of limits that change, and leave a trail', async () => {
    const { store, sql } = await open();
    await store.policies.replaceOwned([{ owner: A, policyName: 'a', limits: [user('Ada@X.example')] }], NOW);
    const [before] = (await store.limits.readAll()).limits;
    expect(before).toMatchObject({ scope: { user: 'ada@x.example' }, createdAt: NOW, owner: A });
    await store.policies.replaceOwned(
      [
        { owner: A, policyName: 'a', limits: [user('ada@x.example', { amount: 3n })] },
        { owner: C, policyName: 'c', managed: [newPolicy()] },
      ],
      at(1),
    );
    const [after] = (await store.limits.readAll()).limits;
    expect(after).toEqual({ ...before, amount: 3n, updatedAt: at(1) });
    await store.policies.replaceOwned([{ owner: C, policyName: 'c', managed: [] }], at(2));

    const { changes } = await store.limits.changes({ limit: 9 });
    expect(changes).toMatchObject([
      { action: 'update', at: at(1), actor: 'resource:SpendPolicy/claude/a', limitId: before?.id },
      {
        action: 'create',
        at: NOW,
        before: null,
        after: { amount: '50000', scope: { user_id: 'ada@x.example' } },
      },
    ]);
    expect(changes[0]).toMatchObject({ before: { amount: '50000' }, after: { amount: '0.0000003' } });
    const trail = await sql(
      `select action, actor, target_id, before->>'name', after->>'document_hash' from claude_gateway.admin_audit
        where action like 'managed%' order by sequence`,
    );
    const actor = 'resource:ManagedSettings/claude/c';
    expect(trail).toEqual([
      ['managed_policy.create', actor, 'c/base', null, expect.stringMatching(/^sha256:[0-9a-f]{64}$/)],
      ['managed_policy.delete', actor, 'c/base', 'base', null],
    ]);
  });

  it('are put back, with a new revision, when somebody edited them by hand', async () => {
    const { store, sql } = await open();
    const rows: OwnedRows[] = [
      { owner: A, policyName: 'a', limits: [newLimit(), user('ada@x.example')] },
      { owner: C, policyName: 'c', managed: [newPolicy(), newPolicy({ name: 'other' })] },
    ];
    await store.policies.replaceOwned(rows, NOW);
    const good = await store.policies.readOwned();
    const [limits, policies] = ['claude_gateway.spend_limits', 'claude_gateway.managed_policies'];
    const edits: [string, string][] = [
      [`update ${limits} set amount = 1 where scope_type = 'user'`, 'a'],
      [`update ${limits} set owner_name = 'somebody'`, 'a'],
      [`update ${limits} set policy_name = 'x'`, 'a'],
      [`update ${limits} set warn_at_percent = '{}'`, 'a'],
      [`delete from ${limits} where scope_type = 'user'`, 'a'],
      [`update ${limits} set scope_name = 'Ada@X.example' where scope_type = 'user'`, 'a'],
      [`update ${limits} set period = 'daily' where scope_type = 'user'`, 'a'],
      [`update ${policies} set document = '{}' where name = 'base'`, 'c'],
      [`update ${policies} set document_hash = 'x'`, 'c'],
      [`update ${policies} set priority = 9`, 'c'],
      [`delete from ${policies} where name = 'base'`, 'c'],
      [`update ${policies} set name = 'third' where name = 'base'`, 'c'],
    ];
    let { revision } = good;
    for (const [edit, uid] of edits) {
      await sql(edit);
      // Nobody was told; a document's hash is nothing that is asked for.
      const read = await store.policies.readOwned();
      expect(read.revision).toBe(revision);
      if (!edit.includes('document_hash')) expect(read.owned).not.toEqual(good.owned);
      revision++;
      expect(await store.policies.replaceOwned(rows, at(1))).toEqual({ revision, changed: [uid] });
      const { owned } = await store.policies.readOwned();
      expect(sorted(owned)).toEqual(sorted(good.owned));
    }
  });

  it('keep documents as they were written', async () => {
    const { store } = await open();
    const document = JSON.parse(
      '{"zeta":1.0,"alpha":{"b":1e21,"a":"\\u0000\\ud800"},"__proto__":{"x":[]},"env":{"Ä":"🦊"}}',
    ) as unknown;
    await store.policies.replaceOwned(
      [{ owner: C, policyName: 'c', managed: [newPolicy({ document })] }],
      NOW,
    );
    const [policy] = (await store.managedPolicies.readAll()).policies;
    expect(JSON.stringify(policy?.document)).toBe(JSON.stringify(document));
    expect(
      await store.policies.replaceOwned(
        [{ owner: C, policyName: 'c', managed: [newPolicy({ document })] }],
        at(1),
      ),
    ).toEqual({ revision: 1n, changed: [] });
  });

  it('say alike of documents that say the same, whatever the order of their keys', async () => {
    const { store } = await open();
    const hashes = [];
    for (const document of [
      { a: 1, b: { c: 2, d: [1, 2] } },
      { b: { d: [1, 2], c: 2 }, a: 1 },
      { a: 1, b: { c: 2, d: [2, 1] } },
    ]) {
      await store.policies.replaceOwned(
        [{ owner: C, policyName: 'c', managed: [newPolicy({ document })] }],
        NOW,
      );
      hashes.push((await store.managedPolicies.readAll()).policies[0]?.documentHash);
    }
    expect(hashes[0]).toBe(hashes[1]);
    expect(hashes[0]).not.toBe(hashes[2]);
  });

  it('cannot break PostgreSQL with letters that it does not hold', async () => {
    const { store } = await open();
    const odd = 'a\0b\ud800';
    const rows: OwnedRows[] = [
      {
        owner: A,
        policyName: 'a',
        limits: [newLimit({ scope: { type: 'rbac_group', group: odd }, blockedMessage: odd })],
      },
      { owner: C, policyName: 'c', managed: [newPolicy({ name: odd })] },
    ];
    expect(await store.policies.replaceOwned(rows, NOW)).toEqual({ revision: 1n, changed: ['a', 'c'] });
    expect(await store.policies.replaceOwned(rows, NOW)).toEqual({ revision: 1n, changed: [] });
  });

  it('write nothing when anything is wrong with them', async () => {
    const { store } = await open();
    const good = { owner: B, policyName: 'b', limits: [newLimit()] };
    const wrong: [OwnedRows, string][] = [
      [
        { owner: A, policyName: 'a', limits: [user('A@x.example'), user('a@X.example')] },
        'policy a holds two limits for user',
      ],
      [
        { owner: C, policyName: 'c', managed: [newPolicy(), newPolicy()] },
        'policy c holds two managed policies called base',
      ],
      [{ owner: B, policyName: 'b', managed: [] }, 'SpendPolicy claude/b is named twice'],
      [{ owner: newOwner(''), policyName: 'x', limits: [] }, 'has no uid'],
      [
        { owner: C, policyName: 'c', managed: [newPolicy({ document: undefined })] },
        'must be a JSON document',
      ],
    ];
    for (const [rows, message] of wrong) {
      await expect(store.policies.replaceOwned([good, rows], NOW)).rejects.toThrow(message);
    }
    await expect(
      store.policies.replaceOwned(
        [good, { owner: A, policyName: 'a', limits: [newLimit({ amount: 2n ** 63n })] }],
        NOW,
      ),
    ).rejects.toThrow();
    expect(await store.policies.readOwned()).toEqual({ revision: 0n, owned: new Map() });
  });

  it('leave what the admin API made alone', async () => {
    const { store } = await open();
    const written = await store.limits.put(newLimit(), { actor: 'admin-key:x', reason: null, now: NOW });
    await store.policies.replaceOwned([{ owner: A, policyName: 'a', limits: [newLimit()] }], NOW);
    expect((await store.policies.readOwned()).owned.size).toBe(1);
    await store.policies.replaceOwned([{ owner: A, policyName: 'a', limits: [] }], NOW);
    expect((await store.limits.readAll()).limits).toEqual(written.state === 'written' && [written.limit]);
  });

  it('are what one of two operators at once says, and not a mixture', async () => {
    const { store, url, sql } = await open();
    const second = await postgres.open({ url, role: 'operator' });
    const rows = (who: string): OwnedRows[] =>
      Array.from({ length: 40 }, (_, i) => ({
        owner: newOwner(`uid-${i}`),
        policyName: who,
        limits: [user(`${who}-${i}`), newLimit({ blockedMessage: who })],
        managed: [newPolicy({ name: who, document: { who } })],
      }));
    const results = await Promise.all(
      Array.from({ length: 12 }, (_, i) =>
        (i % 2 === 0 ? store : second).policies.replaceOwned(
          i % 4 < 2 ? rows('a') : rows('b').reverse(),
          at(i),
        ),
      ),
    );
    const { revision, owned } = await store.policies.readOwned();
    expect(new Set([...owned.values()].map(({ policyName }) => policyName)).size).toBe(1);
    expect(
      [...owned.values()].every(({ limits, managed }) => limits?.length === 2 && managed?.length === 1),
    ).toBe(true);
    // Each that changed anything has a revision of its own, and wrote all of it.
    const changing = results.filter(({ changed }) => changed.length > 0);
    expect(changing.every(({ changed }) => changed.length === 40)).toBe(true);
    expect(changing.map((result) => result.revision).sort()).toEqual(
      Array.from({ length: Number(revision) }, (_, i) => BigInt(i + 1)).sort(),
    );
    expect(await sql('select count(*)::int from claude_gateway.spend_limits')).toEqual([[80]]);
  });

  it('reach gateways by notification, and only when they change', async () => {
    const { store, url } = await open();
    const gateway = await postgres.open({ url });
    let heard = 0;
    gateway.managedPolicies.onChange(() => heard++);
    await until(() => heard > 0);
    const heardAtFirst = heard;
    const rows = [{ owner: C, policyName: 'c', managed: [newPolicy()] }];
    await store.policies.replaceOwned(rows, NOW);
    await store.policies.replaceOwned(rows, NOW);
    await until(() => heard > heardAtFirst);
    await sleep(200);
    expect(heard).toBe(heardAtFirst + 1);
    expect(await gateway.managedPolicies.revision()).toBe(1n);
    expect(await gateway.limits.revision()).toBe(1n);
  });

  it('are read by gateways in their order', async () => {
    const { store } = await open();
    expect(await store.managedPolicies.readAll()).toEqual({ revision: 0n, policies: [] });
    const named = (name: string, uid: string): OwnedRows['owner'] =>
      newOwner(uid, { kind: 'ManagedSettings', name });
    await store.policies.replaceOwned(
      [
        { owner: named('b', '1'), policyName: 'b', managed: [newPolicy({ name: 'b' })] },
        {
          owner: named('a', '2'),
          policyName: 'a',
          managed: [newPolicy({ name: 'a/2', position: 2 }), newPolicy({ name: 'a/10', position: 10 })],
        },
        { owner: named('Z', '3'), policyName: 'Z', managed: [newPolicy({ name: 'Z' })] },
        { owner: named('c', '4'), policyName: 'c', managed: [newPolicy({ name: 'c', priority: 5 })] },
      ],
      NOW,
    );
    const { revision, policies } = await store.managedPolicies.readAll();
    expect(revision).toBe(1n);
    expect(policies.map(({ name }) => name)).toEqual(['c', 'Z', 'a/2', 'a/10', 'b']);
    expect(policies[0]).toEqual({
      owner: named('c', '4'),
      ...newPolicy({ name: 'c', priority: 5 }),
      documentHash: expect.stringMatching(/^sha256:/),
    });
  });

  it('may be many policies of eighteen limits each', async () => {
    const { store } = await open();
    const periods = ['daily', 'weekly', 'monthly'] as const;
    const units = ['nano_usd', 'tokens', 'tokens_with_cache_reads'] as const;
    const sharings = ['per_member', 'pooled'] as const;
    const count = 1_100;
    const rows = (amount: bigint): OwnedRows[] =>
      Array.from({ length: count }, (_, i) => ({
        owner: newOwner(`uid-${i}`),
        policyName: `policy-${i}`,
        limits: periods.flatMap((period) =>
          units.flatMap((unit) =>
            sharings.map((sharing) =>
              newLimit({ scope: { type: 'rbac_group', group: `g${i}` }, period, unit, sharing, amount }),
            ),
          ),
        ),
      }));
    const { policies } = store;
    const first = await policies.replaceOwned(rows(1n), NOW);
    expect([first.revision, first.changed.length]).toEqual([1n, count]);
    expect(await policies.replaceOwned(rows(1n), at(1))).toEqual({ revision: 1n, changed: [] });
    const second = await policies.replaceOwned(rows(2n), at(1));
    expect([second.revision, second.changed.length]).toEqual([2n, count]);
    const { owned } = await policies.readOwned();
    expect(sorted(owned)).toEqual(sorted(new Map(rows(2n).map((row) => [row.owner.uid, row]))));
    expect(await policies.spending(NOW)).toHaveLength(count * 18);
  }, 120_000);
});

/** Whatever the order of rows. */
function sorted(owned: ReadonlyMap<string, OwnedRows>): unknown[] {
  const text = (value: unknown): string =>
    JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? `${part}` : part));
  return [...owned.values()]
    .map(({ limits = [], managed = [], ...rest }) => ({
      ...rest,
      limits: limits.map(text).sort(),
      managed: managed.map(text).sort(),
    }))
    .sort((a, b) => (a.owner.uid < b.owner.uid ? -1 : 1));
}
