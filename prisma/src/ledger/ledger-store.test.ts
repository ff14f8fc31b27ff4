import { describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { newReplica, newSettlement, newUsage, newWindow } from '../testing/ledger.ts';
import { at, POSTGRES_VERSIONS, usePostgres } from '../testing/postgres.ts';
import type { LedgerStore, WindowSpec } from './types.ts';

const ask = (window: WindowSpec, cap: bigint, need: bigint, extra = 0n) => ({
  windowId: window.id,
  cap,
  need,
  extra,
});

describe.each(POSTGRES_VERSIONS)('the ledger on PostgreSQL %i', (version) => {
  const postgres = usePostgres(version);
  const pool = (): WindowSpec => newWindow({ kind: 'group_pool', group: randomUUID() });

  async function ledgerWith(...windows: WindowSpec[]): Promise<LedgerStore> {
    const { ledger } = await postgres.open();
    await ledger.openWindows(windows);
    return ledger;
  }

  async function stateOf(ledger: LedgerStore, window: WindowSpec): Promise<readonly bigint[]> {
    const [state] = await ledger.windows([window.id]);
    return state === undefined ? [] : [state.spent, state.held];
  }

  describe('lease', () => {
    it('grants what is needed, and a quarter of the rest at most', async () => {
      const window = pool();
      const ledger = await ledgerWith(window);
      const [a, b] = [await newReplica(ledger), await newReplica(ledger)];
      expect(await ledger.lease(a, [ask(window, 100n, 20n, 1_000n)])).toEqual([
        { windowId: window.id, spent: 0n, held: 40n, granted: 40n, leased: 40n },
      ]);
      expect(await ledger.lease(b, [ask(window, 100n, 20n, 3n)])).toEqual([
        { windowId: window.id, spent: 0n, held: 63n, granted: 23n, leased: 23n },
      ]);
      expect(await ledger.lease(a, [ask(window, 100n, 50n, 9n)])).toEqual([
        { windowId: window.id, spent: 0n, held: 100n, granted: 37n, leased: 77n },
      ]);
      expect(await ledger.lease(b, [ask(window, 100n, 1n)])).toEqual([
        { windowId: window.id, spent: 0n, held: 100n, granted: 0n, leased: 23n },
      ]);
      expect(await ledger.lease(b, [ask(window, 50n, 1n, 1n)])).toMatchObject([{ granted: 0n, held: 100n }]);
    });

    it('reads without locking, and leaves out what is not there', async () => {
      const [window, stranger] = [pool(), pool()];
      const ledger = await ledgerWith(window);
      const replica = await newReplica(ledger);
      await ledger.lease(replica, [ask(window, 100n, 7n)]);
      const before = await postgres.sql(`select xmin::text, xmax::text from claude_gateway.budget_windows`);
      expect(await ledger.lease(replica, [ask(window, 100n, 0n), ask(stranger, 1n, 1n)])).toEqual([
        { windowId: window.id, spent: 0n, held: 7n, granted: 0n, leased: 7n },
      ]);
      expect(await ledger.lease(randomUUID(), [])).toEqual([]);
      expect(await postgres.sql(`select xmin::text, xmax::text from claude_gateway.budget_windows`)).toEqual(
        before,
      );
    });

    it('grants nothing to a replica that is not on the list', async () => {
      const window = pool();
      const ledger = await ledgerWith(window);
      expect(await ledger.lease(randomUUID(), [ask(window, 100n, 7n)])).toMatchObject([
        { granted: 0n, held: 0n, leased: 0n },
      ]);
    });
  });

  describe('settle', () => {
    it('moves what was spent out of the lease, as far as it reaches, once', async () => {
      const window = pool();
      const ledger = await ledgerWith(window);
      const replica = await newReplica(ledger);
      await ledger.lease(replica, [ask(window, 100n, 25n)]);
      const settlements = [newSettlement([window])];
      const batch = { settlements, returns: [{ windowId: window.id, amount: 5n }] };
      expect(await ledger.settle(replica, batch)).toEqual({
        windows: [{ windowId: window.id, spent: 10n, held: 10n, leased: 10n }],
      });
      expect(await ledger.settle(replica, { settlements, returns: [] })).toEqual({ windows: [] });
      const two = { settlements: [newSettlement([window]), newSettlement([window])], returns: [] };
      expect(await ledger.settle(replica, two)).toEqual({
        windows: [{ windowId: window.id, spent: 30n, held: 0n, leased: 0n }],
      });
      const stranger = { settlements: [newSettlement([window])], returns: batch.returns };
      expect(await ledger.settle(randomUUID(), stranger)).toMatchObject({
        windows: [{ spent: 40n, held: 0n, leased: 0n }],
      });
      const left = await postgres.sql('select from claude_gateway.budget_leases where window_id = $1', [
        window.id,
      ]);
      expect(left).toEqual([]);
    });

    it('counts what the unit of the window says', async () => {
      const windows = (['nano_usd', 'tokens', 'tokens_with_cache_reads'] as const).map((unit) =>
        newWindow({ kind: 'group_pool', group: randomUUID() }, { unit }),
      );
      const ledger = await ledgerWith(...windows);
      const replica = await newReplica(ledger);
      await ledger.settle(replica, { settlements: [newSettlement(windows)], returns: [] });
      const states = await Promise.all(windows.map((window) => stateOf(ledger, window)));
      expect(states.map(([spent]) => spent)).toEqual([10n, 54_021n, 54_321n]);
    });

    it('finds windows that the replica does not know of, and leaves its leases there alone', async () => {
      const sub = randomUUID();
      const [group, other] = [randomUUID(), randomUUID()];
      const user = newWindow({ kind: 'user', sub });
      const mine = newWindow({ kind: 'group_pool', group });
      const others = [
        newWindow({ kind: 'user', sub: other }),
        newWindow({ kind: 'group_pool', group: other }),
        newWindow({ kind: 'user', sub }, { startsAt: at(1) }),
        newWindow({ kind: 'group_pool', group }, { endsAt: at(0) }),
      ];
      const ledger = await ledgerWith(user, mine, ...others);
      const replica = await newReplica(ledger);
      await ledger.lease(replica, [ask(mine, 100n, 50n)]);
      const settlement = newSettlement([user, pool()], { sub, groups: [group, group, 'none'] });
      const { windows } = await ledger.settle(replica, { settlements: [settlement], returns: [] });
      expect(windows).toHaveLength(2);
      expect(windows).toContainEqual({ windowId: user.id, spent: 10n, held: 0n, leased: 0n });
      expect(windows).toContainEqual({ windowId: mine.id, spent: 10n, held: 50n, leased: 50n });
    });

    it('keeps what the record says', async () => {
      const ledger = await ledgerWith();
      const record = newUsage({
        model: 'half \ud800, NUL \0, and "quotes\\"',
        groups: ['a,b', '"', '{}', 'NULL', ''],
        upstream: null,
        firstByteMs: null,
        durationMs: 12.6,
        costNanoUsd: 9_007_199_254_740_993n,
      });
      await ledger.settle(randomUUID(), { settlements: [{ record, windowIds: [] }], returns: [] });
      const [row] = await postgres.sql(
        `select model, groups, upstream, first_byte_ms, duration_ms, cost_nano_usd::text, admitted_at, outcome
           from claude_gateway.usage_records where id = $1`,
        [record.id],
      );
      expect(row).toEqual([
        'half \ufffd, NUL , and "quotes\\"',
        record.groups,
        null,
        null,
        13,
        '9007199254740993',
        record.admittedAt,
        'complete',
      ]);
    });
  });

  describe('windows', () => {
    it('start with what was spent before', async () => {
      const ledger = await ledgerWith();
      const [sub, group] = [randomUUID(), randomUUID()];
      const costs = [-86_400_000, -43_200_001, -43_200_000, 0, 43_199_999, 43_200_000];
      const settlements = costs.map((ms, i) =>
        newSettlement([], { sub, groups: ['x', group], admittedAt: at(ms), costNanoUsd: 10n ** BigInt(i) }),
      );
      await ledger.settle(randomUUID(), { settlements, returns: [] });
      const windows = [
        newWindow({ kind: 'user', sub }),
        newWindow({ kind: 'group_pool', group }),
        newWindow({ kind: 'user', sub }, { unit: 'tokens' }),
        newWindow({ kind: 'user', sub: randomUUID() }),
      ];
      const states = await ledger.openWindows(windows);
      const spent = windows.map(({ id }) => states.find(({ windowId }) => windowId === id)?.spent);
      expect(spent).toEqual([11_100n, 11_100n, 3n * 54_021n, 0n]);
      expect(await ledger.openWindows(windows)).toHaveLength(4);
      const [organization] = await ledger.openWindows([newWindow({ kind: 'organization_pool' })]);
      expect(organization?.spent).toBeGreaterThanOrEqual(11_100n);
    });
  });
});
