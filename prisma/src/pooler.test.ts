import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { findPgBouncer, startPgBouncer, type PoolMode, type RunningPgBouncer } from '@claude-gateway/dev';
import { migrate, readMigrations } from './migrations.ts';
import { newReplica, newSettlement, newWindow } from './testing/ledger.ts';
import { at, hash, newIdentity, NOW, until, usePostgres } from './testing/postgres.ts';
import type { LedgerStore } from './ledger/types.ts';
import type { StoreOptions } from './types.ts';

const program = findPgBouncer();
if (program === undefined && process.env['CI']) throw new Error('no PgBouncer here: hack/testbed.sh gets it');
if (program === undefined) process.stderr.write('no PgBouncer here: what a pooler changes is not tested\n');
const describeWithPgBouncer = program === undefined ? describe.skip : describe;

describeWithPgBouncer.each<PoolMode>(['session', 'transaction'])('a pooler in %s mode', (mode) => {
  const postgres = usePostgres(18);
  let pooler: RunningPgBouncer;
  beforeAll(async () => {
    pooler = await startPgBouncer({ postgresUrl: postgres.server.url, mode });
  });
  afterAll(() => pooler?.stop());

  const opened = async (more: Partial<StoreOptions> = {}) => {
    const events: { message: string; fields?: Record<string, unknown> | undefined }[] = [];
    const store = await postgres.open({
      url: pooler.urlOf(postgres.url),
      maxConnections: 6,
      onEvent: (_, message, fields) => events.push({ message, fields }),
      ...more,
    });
    return { store, events };
  };

  it('lets replicas migrate, at once and one after the other', async () => {
    const url = pooler.urlOf(await postgres.server.createDatabase());
    const all = await readMigrations();
    const upTo = (count: number) =>
      migrate({ url, connectTimeoutSeconds: 10, migrations: all.slice(0, count) });
    const first = await Promise.all([upTo(2), upTo(2), upTo(2)]);
    expect(first.flatMap(({ applied }) => applied)).toEqual(all.slice(0, 2).map(({ name }) => name));
    for (let count = 3; count <= all.length; count++) {
      expect(await upTo(count)).toEqual({ applied: [all[count - 1]?.name] });
    }
    const locks = `SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory'`;
    expect(await postgres.sql(locks)).toEqual([[0]]);
  });

  it('is not stopped by a lock that an earlier version left on a connection of the pooler', async () => {
    const url = pooler.urlOf(await postgres.server.createDatabase());
    for (const lock of ['pg_advisory_lock(1668047221, 1)', 'pg_advisory_lock(72707369)']) {
      await postgres.sql(`SELECT ${lock}`, [], url);
    }
    const { applied } = await migrate({ url, connectTimeoutSeconds: 10 });
    expect(applied).not.toEqual([]);
  });

  it('leaves no setting and nothing that listens to those who get its connections next', async () => {
    const { store } = await opened();
    await Promise.all(Array.from({ length: 10 }, () => store.ping()));
    await store.limits.list({ limit: 1 });
    await store.close();
    const url = pooler.urlOf(postgres.url);
    const settings = `
      SELECT name, setting FROM pg_settings
       WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'lock_timeout', 'search_path',
                      'enable_seqscan', 'synchronous_commit') ORDER BY name`;
    const expected = await postgres.sql(settings);
    for (let i = 0; i < 20; i++) expect(await postgres.sql(settings, [], url)).toEqual(expected);
  });

  it('lets replicas recall what others have idle', async () => {
    const { store: one, events } = await opened();
    const { store: two } = await opened();
    const [a, b] = [one.ledger, two.ledger];
    const [idA, idB] = [await newReplica(a), await newReplica(b)];
    const heard: string[][] = [[], []];
    const stop = [a, b].map((ledger, i) => ledger.onRecall((ids) => heard[i]?.push(...ids)));
    const windows = [randomUUID(), randomUUID()];
    // Again and again, as whoever is short does: listening to it begins with a round trip.
    const recalled = (by: LedgerStore, id: string, who: number): Promise<void> =>
      until(async () => {
        expect(await by.recall(id, windows)).toEqual({ slow: mode === 'transaction' });
        return windows.every((window) => heard[who]?.includes(window));
      });
    await recalled(a, idA, 1);
    expect(heard[0]).toEqual([]);
    // Both are short of the same.
    await recalled(b, idB, 0);
    for (const end of stop) end();
    const warned = events.filter(({ message }) => message.includes('transaction mode'));
    expect(warned).toHaveLength(mode === 'transaction' ? 1 : 0);
    const written = await postgres.sql('SELECT count(*)::int FROM claude_gateway.budget_recalls');
    expect(written).toEqual([[mode === 'transaction' ? 4 : 0]]);
  });

  it('changes nothing about leases and settlements, whichever connection each of them gets', async () => {
    const ledgers: LedgerStore[] = [];
    for (let i = 0; i < 3; i++) ledgers.push((await opened()).store.ledger);
    const ids = await Promise.all(ledgers.map((ledger) => newReplica(ledger)));
    const window = newWindow({ kind: 'organization_pool' });
    await ledgers[0]?.openWindows([window]);
    const cap = 1_000n;
    const work = async (ledger: LedgerStore, id: string): Promise<bigint> => {
      let spent = 0n;
      for (let i = 0; i < 40; i++) {
        const [answer] = await ledger.lease(id, [{ windowId: window.id, cap, need: 30n, extra: 0n }]);
        const granted = answer?.granted ?? 0n;
        const settlements =
          granted < 30n ? [] : [newSettlement([window], { costNanoUsd: 10n, admittedAt: at(i) })];
        const returned = settlements.length === 0 ? granted : 20n;
        await ledger.settle(id, { settlements, returns: [{ windowId: window.id, amount: returned }] });
        spent += settlements.length === 0 ? 0n : 10n;
      }
      return spent;
    };
    const spent = await Promise.all(ledgers.map((ledger, i) => work(ledger, ids[i]!)));
    const sum = spent.reduce((a, b) => a + b, 0n);
    expect(sum).toBeGreaterThan(900n);
    expect(sum).toBeLessThanOrEqual(cap);
    expect(await ledgers[1]?.windows([window.id])).toEqual([{ windowId: window.id, spent: sum, held: 0n }]);
  });

  it('brings revocations and changes of limits to other replicas', async () => {
    const { store: one } = await opened();
    const { store: two } = await opened();
    const id = randomUUID();
    const session = {
      id,
      identity: newIdentity(),
      refreshTokenHash: hash(),
      idpRefreshTokenSealed: null,
      now: NOW,
    };
    await one.sessions.create(session);
    await one.sessions.revoke(id, 'test', new Date());
    await until(() => two.revocations.isRevoked(id));
  });
});
