import { describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { newReplica, newSettlement, newUsage, newWindow } from '../testing/ledger.ts';
import { at, POSTGRES_VERSIONS, until, usePostgres } from '../testing/postgres.ts';
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
        'half \ufffd, NUL \ufffd, and "quotes\\"',
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
      const startsAt = at(-1.5 * 86_400_000);
      const yesterday = { startsAt, endsAt: at(-0.5 * 86_400_000) };
      const organization = newWindow({ kind: 'organization_pool' }, yesterday);
      expect(await ledger.openWindows([organization])).toMatchObject([{ spent: 11n }]);
    });

    it('are added up by whole hours where these have everything, and by records elsewhere', async () => {
      const url = await postgres.server.createDatabase();
      const { ledger, usage } = await postgres.open({ url });
      const day = new Date(Math.floor(Date.now() / 86_400_000 - 5) * 86_400_000);
      const minute = (minutes: number): Date => new Date(day.getTime() + minutes * 60_000);
      const [sub, groups] = ['u', ['g', 'h']];
      const settle = (minutes: number, costNanoUsd: bigint) =>
        ledger.settle(randomUUID(), {
          settlements: [newSettlement([], { sub, groups, admittedAt: minute(minutes), costNanoUsd })],
          returns: [],
        });
      for (const [i, minutes] of [84, 85, 119, 120, 179, 180, 299, 334, 335].entries()) {
        await settle(minutes, 10n ** BigInt(i));
      }
      expect(await usage.rollUp()).toBe(true);
      // The minute that the rollup would add up again is over.
      await postgres.sql('update claude_gateway.usage_rollup set settled_until = clock_timestamp()', [], url);
      await settle(240, 5n * 10n ** 9n);
      // Told apart: one hour is known by its sum only, another one by its records.
      await postgres.sql(
        'delete from claude_gateway.usage_records where admitted_at >= $1 and admitted_at < $2',
        [minute(120), minute(180)],
        url,
      );
      await postgres.sql('delete from claude_gateway.usage_hours where hour = $1', [minute(240)], url);
      const subjects = [
        { kind: 'user', sub },
        { kind: 'group_pool', group: 'h' },
        { kind: 'organization_pool' },
      ] as const;
      const windows = subjects.map((subject) =>
        newWindow(subject, { startsAt: minute(85), endsAt: minute(335) }),
      );
      for (const { spent } of await ledger.openWindows(windows)) expect(spent).toBe(5_011_111_110n);
    });

    it('that count only what names them start at nothing', async () => {
      const group = randomUUID();
      const ledger = await ledgerWith();
      const settle = (...windows: WindowSpec[]) =>
        ledger.settle(randomUUID(), {
          settlements: [newSettlement(windows, { groups: [group] })],
          returns: [],
        });
      await settle();
      const window = newWindow({ kind: 'group_pool', group }, { namedOnly: true });
      expect(await ledger.openWindows([window])).toMatchObject([{ spent: 0n }]);
      await settle();
      await settle(window);
      expect(await stateOf(ledger, window)).toEqual([10n, 0n]);
    });
  });

  describe('replicas', () => {
    const abandoned = { outcome: 'abandoned', costNanoUsd: 3n } as const;

    async function expire(replica: string): Promise<void> {
      await postgres.sql(
        `update claude_gateway.replicas set expires_at = clock_timestamp() - interval '1 s' where id = $1`,
        [replica],
      );
    }

    it('are on the list from their first heartbeat until they are written off', async () => {
      const ledger = await ledgerWith();
      const replicaId = randomUUID();
      const beat = { replicaId, name: 'pod-1', policyRevision: 7n, ttlMs: 60_000, inFlight: [] };
      expect(await ledger.heartbeat(beat)).toBe(false);
      expect(await ledger.heartbeat({ ...beat, policyRevision: 8n })).toBe(true);
      expect(
        await postgres.sql(
          `select name, policy_revision, expires_at - clock_timestamp() > interval '50 s'
             from claude_gateway.replicas where id = $1`,
          [replicaId],
        ),
      ).toEqual([['pod-1', '8', true]]);
      expect(await ledger.sweep()).toEqual([]);
      await expire(replicaId);
      expect(await ledger.sweep()).toEqual([{ replicaId, name: 'pod-1', abandoned: 0, windows: 0 }]);
      expect(await ledger.heartbeat(beat)).toBe(false);
    });

    it('give everything back when they leave', async () => {
      const windows = [pool(), pool()];
      const ledger = await ledgerWith(...windows);
      const [a, b] = [await newReplica(ledger), await newReplica(ledger)];
      await ledger.lease(
        a,
        windows.map((window) => ask(window, 100n, 30n)),
      );
      await ledger.lease(
        b,
        windows.map((window) => ask(window, 100n, 4n)),
      );
      await ledger.heartbeat({
        replicaId: a,
        name: 'pod',
        policyRevision: 1n,
        ttlMs: 60_000,
        inFlight: [newSettlement(windows)],
      });
      await ledger.leave(a);
      await ledger.leave(a);
      for (const window of windows) expect(await stateOf(ledger, window)).toEqual([0n, 4n]);
      await expire(a);
      expect(await ledger.sweep()).toEqual([]);
      for (const table of [
        'replicas where id',
        'budget_leases where replica_id',
        'in_flight_requests where replica_id',
      ]) {
        expect(await postgres.sql(`select from claude_gateway.${table} = $1`, [a])).toEqual([]);
      }
    });

    it('that die are charged a floor for what was in flight, and nothing for the rest', async () => {
      const windows = [pool(), pool()] as const;
      const ledger = await ledgerWith(...windows);
      const [dead, other] = [await newReplica(ledger), await newReplica(ledger)];
      await ledger.lease(
        dead,
        windows.map((window) => ask(window, 100n, 60n)),
      );
      await ledger.lease(other, [ask(windows[0], 100n, 5n)]);
      const [open, settled] = [newSettlement(windows, abandoned), newSettlement([windows[0]], abandoned)];
      const beat = { name: 'pod', policyRevision: 1n, ttlMs: 60_000 };
      await ledger.heartbeat({ ...beat, replicaId: dead, inFlight: [open, settled] });
      const truth = { ...settled.record, outcome: 'complete', costNanoUsd: 20n } as const;
      await ledger.settle(dead, { settlements: [{ ...settled, record: truth }], returns: [] });
      await ledger.heartbeat({ ...beat, replicaId: dead, inFlight: [settled] });
      await expire(dead);

      const sweeps = await Promise.all([ledger.sweep(), ledger.sweep(), ledger.sweep()]);
      expect(sweeps.flat()).toEqual([{ replicaId: dead, name: 'pod', abandoned: 1, windows: 2 }]);
      expect(await stateOf(ledger, windows[0])).toEqual([23n, 5n]);
      expect(await stateOf(ledger, windows[1])).toEqual([3n, 0n]);
      const noted = await postgres.sql(
        'select from claude_gateway.in_flight_requests where replica_id = $1',
        [dead],
      );
      expect(noted).toEqual([]);
    });

    it('drop notes that came after their settlement', async () => {
      const window = pool();
      const ledger = await ledgerWith(window);
      const replicaId = await newReplica(ledger);
      const [done, open] = [newSettlement([window], abandoned), newSettlement([window], abandoned)];
      const record = { ...done.record, outcome: 'complete' } as const;
      await ledger.settle(replicaId, { settlements: [{ ...done, record }], returns: [] });
      // As a heartbeat leaves it that began before the settlement and ended after it.
      await postgres.sql(
        'insert into claude_gateway.in_flight_requests (id, replica_id, window_ids, record) values ($1, $2, $3, $4)',
        [done.record.id, replicaId, [], '{}'],
      );
      const beat = { replicaId, name: 'pod', policyRevision: 1n, ttlMs: 60_000 };
      await ledger.heartbeat({ ...beat, inFlight: [open] });
      const noted = await postgres.sql(
        'select id from claude_gateway.in_flight_requests where replica_id = $1',
        [replicaId],
      );
      expect(noted).toEqual([[open.record.id]]);
    });

    it('that come back correct their floors', async () => {
      const window = pool();
      const tokens = newWindow({ kind: 'user', sub: randomUUID() }, { unit: 'tokens' });
      const ledger = await ledgerWith(window, tokens);
      const replica = await newReplica(ledger);
      await ledger.lease(replica, [ask(window, 100n, 60n)]);
      const sub = tokens.subject.kind === 'user' ? tokens.subject.sub : '';
      const floors = [1, 2].map(() =>
        newSettlement([window, tokens], { ...abandoned, sub, outputTokens: 0, cacheWrite1hTokens: 0 }),
      );
      const beat = { replicaId: replica, name: 'pod', policyRevision: 1n, ttlMs: 60_000, inFlight: floors };
      await ledger.heartbeat(beat);
      await expire(replica);
      await ledger.sweep();
      expect(await stateOf(ledger, window)).toEqual([6n, 0n]);
      expect(await stateOf(ledger, tokens)).toEqual([8_002n, 0n]);

      expect(await ledger.heartbeat(beat)).toBe(false);
      await ledger.lease(replica, [ask(window, 100n, 30n)]);
      const [first, fresh] = [floors[0]!, newSettlement([window], { costNanoUsd: 7n })];
      const truth = { ...first.record, outcome: 'partial', costNanoUsd: 20n, outputTokens: 9 } as const;
      const batch = { settlements: [{ ...first, record: truth }, fresh], returns: [] };
      const before = await postgres.sql('select settled_at from claude_gateway.usage_records where id = $1', [
        truth.id,
      ]);
      const { windows } = await ledger.settle(replica, batch);
      expect(windows).toHaveLength(2);
      expect(windows).toContainEqual({ windowId: window.id, spent: 30n, held: 23n, leased: 23n });
      expect(windows).toContainEqual({ windowId: tokens.id, spent: 8_011n, held: 0n, leased: 0n });
      // The rollup adds up again what was settled since.
      const after = await postgres.sql('select settled_at from claude_gateway.usage_records where id = $1', [
        truth.id,
      ]);
      expect(after[0]![0] as Date).not.toEqual(before[0]![0]);

      await ledger.settle(replica, batch);
      const late = { ...first.record, costNanoUsd: 1n };
      await ledger.settle(replica, { settlements: [{ ...first, record: late }], returns: [] });
      expect(await stateOf(ledger, window)).toEqual([30n, 23n]);
      await expire(replica);
      expect(await ledger.sweep()).toMatchObject([{ abandoned: 0, windows: 1 }]);
      expect(await stateOf(ledger, window)).toEqual([30n, 0n]);
    });

    it('tell each other what they are short of', async () => {
      const [a, b] = [(await postgres.open()).ledger, (await postgres.open()).ledger];
      const heard: string[][] = [[], []];
      const stop = [a, b].map((ledger, i) => ledger.onRecall((ids) => heard[i]?.push(...ids)));
      const ids = Array.from({ length: 400 }, () => randomUUID());
      await until(async () => {
        await a.recall(randomUUID(), ids);
        return ids.every((id) => heard[1]?.includes(id));
      });
      expect(heard[0]).toEqual([]);
      stop[1]?.();
      const before = heard[1]?.length;
      const late = randomUUID();
      await b.recall(randomUUID(), [late]);
      await until(() => heard[0]?.includes(late) ?? false);
      expect(heard[1]).toHaveLength(before ?? -1);
    });
  });
});
