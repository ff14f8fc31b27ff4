import { describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { Database } from '../database.ts';
import { LOCK_CLASS } from '../migrations.ts';
import { at, NOW, POSTGRES_VERSIONS, usePostgres, testPool } from '../testing/postgres.ts';
import { INSERT_RECORDS, newRecord, recordParameter, type RecordValues } from '../testing/usage-records.ts';
import type { Store } from '../types.ts';
import { UsageTooOldError } from './usage-report.ts';
import { UsageRollup } from './usage-rollup.ts';
import type { UsageReportRow } from './usage-types.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const WEEK = [at(-7 * DAY_MS), at(7 * DAY_MS)];

describe.each(POSTGRES_VERSIONS)('usage on PostgreSQL %i', (version) => {
  const postgres = usePostgres(version);

  /** A store on a database of its own. */
  async function fresh() {
    const url = await postgres.server.createDatabase();
    const store = await postgres.open({ url });
    return {
      store,
      url,
      write: (...records: RecordValues[]) => postgres.sql(INSERT_RECORDS, [recordParameter(records)], url),
      sql: (text: string, values: unknown[] = []) => postgres.sql(text, values, url),
      /** Another replica's, to see what a sweep of old records does. */
      rollUp: async (now: Date) => {
        const database = new Database(testPool(url));
        try {
          return await new UsageRollup(database, undefined).rollUp(now);
        } finally {
          await database.close();
        }
      },
    };
  }

  const total = async (store: Store, boundaries: readonly Date[] = WEEK) =>
    (await store.usage.report({ boundaries, groupBy: [] })).map(({ requests, costNanoUsd }) => [
      requests,
      costNanoUsd,
    ]);

  it('reports the same before and after the hours were added up', async () => {
    const { store, write, sql } = await fresh();
    await write(
      newRecord({ costNanoUsd: 3n }),
      newRecord({ costNanoUsd: 5n, groups: ['ops', 'eng'], model: 'claude-opus-4-8' }),
      newRecord({ costNanoUsd: 7n, groups: ['eng', 'ops'], model: 'claude-opus-4-8' }),
      newRecord({ costNanoUsd: 11n, sub: 'bob', groups: [], upstream: null, admittedAt: at(DAY_MS) }),
    );
    const query = {
      boundaries: [at(-HOUR_MS), at(HOUR_MS), at(2 * DAY_MS)],
      groupBy: ['user', 'group', 'model', 'upstream'] as const,
    };
    const before = await store.usage.report(query);
    expect(await store.usage.rollUp()).toBe(true);
    await sql(`UPDATE claude_gateway.usage_rollup SET settled_until = clock_timestamp()`);
    expect(await store.usage.report(query)).toEqual(before);
    const brief = (row: UsageReportRow) => [
      row.bucket,
      row.user?.sub,
      row.group,
      row.model,
      row.upstream,
      row.requests,
      row.costNanoUsd,
    ];
    expect(before.map(brief)).toEqual([
      [0, 'ada', 'eng', 'claude-opus-4-8', 'anthropic', 2n, 12n],
      [0, 'ada', 'eng', 'claude-sonnet-5', 'anthropic', 1n, 3n],
      [0, 'ada', 'ops', 'claude-opus-4-8', 'anthropic', 2n, 12n],
      [1, 'bob', '', 'claude-sonnet-5', '', 1n, 11n],
    ]);
    expect(before[0]).toMatchObject({
      inputTokens: 6n,
      outputTokens: 10n,
      cacheReadTokens: 14n,
      cacheWrite5mTokens: 22n,
      cacheWrite1hTokens: 26n,
      webSearches: 2n,
    });
    // Both orders of the same groups are one row.
    expect(await sql('SELECT count(*)::int FROM claude_gateway.usage_hours')).toEqual([[3]]);
  });

  it('knows names and addresses of people, and what they were last', async () => {
    const { store, write } = await fresh();
    await write(newRecord(), newRecord({ sub: 'bob' }));
    const sighting = { sub: 'ada', kind: 'user', groups: ['eng'], name: null } as const;
    await store.usage.touch([
      { ...sighting, email: 'old@Example.com', seenAt: at(0) },
      { ...sighting, email: 'Ada@Example.com', name: 'Ada \0\ud800', seenAt: at(2_000) },
      { ...sighting, email: 'older@example.com', seenAt: at(1_000) },
    ]);
    await store.usage.touch([{ ...sighting, email: 'late@example.com', seenAt: at(1_500) }]);
    const users = async (users?: string[]) =>
      (
        await store.usage.report({
          boundaries: WEEK,
          groupBy: ['user'],
          filters: users === undefined ? {} : { users },
        })
      ).map(({ user }) => user);
    const ada = { sub: 'ada', kind: 'user', email: 'Ada@Example.com', name: 'Ada \ufffd\ufffd' };
    expect(await users()).toEqual([ada, { sub: 'bob', kind: null, email: null, name: null }]);
    expect(await users(['ADA@example.COM'])).toEqual([ada]);
    expect(await users(['late@example.com'])).toEqual([]);
    expect(await users(['bob', 'nobody'])).toMatchObject([{ sub: 'bob' }]);
  });

  it('filters by group, model and upstream', async () => {
    const { store, write } = await fresh();
    await write(
      newRecord({ costNanoUsd: 1n, groups: ['a', 'b'] }),
      newRecord({ costNanoUsd: 2n, groups: ['b'], model: 'm' }),
      newRecord({ costNanoUsd: 4n, groups: [], upstream: null }),
    );
    const report = async (filters: object, groupBy: readonly ('group' | 'model')[] = []) =>
      (await store.usage.report({ boundaries: WEEK, groupBy, filters })).map(({ group, costNanoUsd }) => [
        group,
        costNanoUsd,
      ]);
    for (let round = 0; round < 2; round++) {
      expect(await report({ groups: ['a'] }, ['group'])).toEqual([['a', 1n]]);
      expect(await report({ groups: ['a', 'b'] })).toEqual([[null, 3n]]);
      expect(await report({ models: ['m'] })).toEqual([[null, 2n]]);
      expect(await report({ upstreams: [''] })).toEqual([[null, 4n]]);
      expect(await report({ upstreams: ['gone'] })).toEqual([]);
      await store.usage.rollUp();
    }
  });

  it('is exact for moments within an hour, whose sums do not help', async () => {
    const { store, write, sql } = await fresh();
    await write(
      newRecord({ costNanoUsd: 1n, admittedAt: at(10 * 60_000 - 1) }),
      newRecord({ costNanoUsd: 2n, admittedAt: at(10 * 60_000) }),
      newRecord({ costNanoUsd: 4n, admittedAt: at(HOUR_MS + 1) }),
      newRecord({ costNanoUsd: 8n, sub: 'bob', admittedAt: at(HOUR_MS + 2) }),
    );
    const sinces = [at(0), at(10 * 60_000), at(HOUR_MS), at(DAY_MS)];
    for (let round = 0; round < 2; round++) {
      expect(await store.usage.spendSince('ada', sinces)).toEqual([7n, 6n, 4n, 0n]);
      expect(await total(store, [at(10 * 60_000), at(HOUR_MS + 2)])).toEqual([[2n, 6n]]);
      await store.usage.rollUp();
      await sql(`UPDATE claude_gateway.usage_rollup SET settled_until = clock_timestamp()`);
    }
    expect(await store.usage.spendSince('ada', [])).toEqual([]);
  });

  it('takes corrections in, and records that come late', async () => {
    const { store, write, sql } = await fresh();
    const floor = newRecord({ costNanoUsd: 10n, outcome: 'abandoned' });
    await write(floor);
    await store.usage.rollUp();
    await sql(`UPDATE claude_gateway.usage_rollup SET settled_until = clock_timestamp()`);
    await write({ ...floor, costNanoUsd: 25n, outcome: 'complete' }, newRecord({ costNanoUsd: 1n }));
    expect(await total(store)).toEqual([[2n, 26n]]);
    await store.usage.rollUp();
    expect(await total(store)).toEqual([[2n, 26n]]);
    expect(await sql('SELECT sum(cost_nano_usd)::text FROM claude_gateway.usage_hours')).toEqual([['26']]);
    // A record that is gone, by hand: the next time its hour is touched the sum follows.
    await sql('DELETE FROM claude_gateway.usage_records WHERE id = $1', [floor.id]);
    await write(newRecord({ costNanoUsd: 2n, sub: 'bob' }));
    await store.usage.rollUp();
    expect(await sql('SELECT sum(cost_nano_usd)::text FROM claude_gateway.usage_hours')).toEqual([['3']]);
  });

  it('lets old records go without losing any, and takes those that come after that', async () => {
    const { store, write, sql, rollUp } = await fresh();
    await write(
      newRecord({ costNanoUsd: 1n, admittedAt: at(0) }),
      newRecord({ costNanoUsd: 2n, admittedAt: at(5 * DAY_MS) }),
    );
    expect(await rollUp(at(64 * DAY_MS))).toBe(true);
    // The moment of settling is within the overlap, so this one went at once.
    expect(await sql('SELECT cost_nano_usd::int FROM claude_gateway.usage_records')).toEqual([[2]]);
    expect(await total(store)).toEqual([[2n, 3n]]);
    await write(
      newRecord({ costNanoUsd: 4n, admittedAt: at(0) }),
      newRecord({ costNanoUsd: 8n, sub: 'bob' }),
    );
    expect(await total(store)).toEqual([[4n, 15n]]);
    for (let round = 0; round < 2; round++) {
      expect(await rollUp(at(64 * DAY_MS))).toBe(true);
      expect(await total(store)).toEqual([[4n, 15n]]);
    }
    expect(await sql('SELECT cost_nano_usd::int FROM claude_gateway.usage_records')).toEqual([[2]]);
    await expect(total(store, [at(1), at(DAY_MS)])).rejects.toThrow(UsageTooOldError);
    await expect(store.usage.spendSince('ada', [at(1)])).rejects.toThrow('by full hours (UTC) only');
    expect(await store.usage.spendSince('ada', [at(0)])).toEqual([7n]);
  });

  it('adds up one replica at a time, and not before a settlement under way is done', async () => {
    const { store, url, write, sql } = await fresh();
    const other = new pg.Client({ connectionString: url });
    await other.connect();
    await other.query('BEGIN');
    await other.query('SELECT pg_advisory_xact_lock($1, 3)', [LOCK_CLASS]);
    expect(await store.usage.rollUp()).toBe(false);
    await other.query('ROLLBACK');

    // Settled, by its own clock, long before it is committed.
    await other.query('BEGIN');
    await other.query(INSERT_RECORDS, [recordParameter([newRecord({ costNanoUsd: 1n })])]);
    let isDone = false;
    const rolling = store.usage.rollUp().finally(() => (isDone = true));
    await write(newRecord({ costNanoUsd: 2n }));
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(isDone).toBe(false);
    await other.query('COMMIT');
    expect(await rolling).toBe(true);
    await sql(`UPDATE claude_gateway.usage_rollup SET settled_until = clock_timestamp()`);
    expect(await total(store)).toEqual([[2n, 3n]]);
    await other.end();
  });

  it('works a backlog off in steps', async () => {
    const { store, sql } = await fresh();
    await sql(`
      INSERT INTO claude_gateway.usage_records
      SELECT md5(n::text)::uuid, 'r', 'ada', 'user', '{}', 'm', 'u', false, 1, 1, 1, 1, 1, 1, 3, 'complete', 200,
             timestamptz '2027-03-01' + n * interval '1 s', clock_timestamp(), 1, 1
        FROM generate_series(1, 120000) n`);
    expect(await store.usage.rollUp()).toBe(true);
    expect(
      await sql('SELECT sum(cost_nano_usd)::text, sum(requests)::text FROM claude_gateway.usage_hours'),
    ).toEqual([['360000', '120000']]);
    expect(await total(store, [at(-DAY_MS), at(3 * DAY_MS)])).toEqual([[120_000n, 360_000n]]);
  });

  it('is exact at any moment, while replicas settle, correct and add up', async () => {
    const { store, url } = await fresh();
    const second = await postgres.open({ url });
    const pool = testPool(url, 8);
    let written = 0n;
    let isOver = false;
    const random = (limit: number) => Math.floor(Math.random() * limit);
    const record = () =>
      newRecord({
        sub: `u${random(5)}`,
        costNanoUsd: BigInt(random(1_000_000)),
        outcome: random(3) === 0 ? 'abandoned' : 'complete',
        admittedAt: at(random(5) * HOUR_MS + random(HOUR_MS)),
      });
    const settle = async (): Promise<void> => {
      for (let round = 0; round < 60; round++) {
        const batch = Array.from({ length: 1 + random(20) }, record);
        const client = await pool.connect();
        await client.query('BEGIN');
        await client.query(INSERT_RECORDS, [recordParameter(batch)]);
        await new Promise((resolve) => setTimeout(resolve, random(5)));
        await client.query('COMMIT');
        const corrected = batch
          .filter(({ outcome }) => outcome === 'abandoned')
          .map((floor) => ({
            ...floor,
            costNanoUsd: BigInt(random(1_000_000)),
            outcome: 'complete' as const,
          }));
        await client.query(INSERT_RECORDS, [recordParameter(corrected)]);
        client.release();
        const final = batch.map((one) => corrected.find(({ id }) => id === one.id) ?? one);
        written += final.reduce((sum, { costNanoUsd }) => sum + costNanoUsd, 0n);
      }
    };
    const addUp = async ({ usage }: Store): Promise<number> => {
      let count = 0;
      while (!isOver) {
        if (await usage.rollUp()) count++;
        // Without the overlap, which would hide that something is missing from the hours.
        await pool.query(`
          UPDATE claude_gateway.usage_rollup m SET settled_until = settled_until + interval '1 minute'
           WHERE settled_until < now() - interval '55 s' AND pg_try_advisory_xact_lock(${LOCK_CLASS}, 3)`);
      }
      return count;
    };
    const { text, values } = {
      text: `SELECT count(*)::text AS n, sum(cost_nano_usd)::text AS cost FROM claude_gateway.usage_records`,
      values: [],
    };
    const compare = async (): Promise<number> => {
      let count = 0;
      while (!isOver) {
        // Reports only grow by what is committed between two looks at the truth: corrections aside, count is exact.
        const before = BigInt((await pool.query<{ n: string }>(text, values)).rows[0]!.n);
        const [row] = await store.usage.report({ boundaries: WEEK, groupBy: [] });
        const after = BigInt((await pool.query<{ n: string }>(text, values)).rows[0]!.n);
        const seen = row?.requests ?? 0n;
        expect(seen >= before && seen <= after).toBe(true);
        count++;
      }
      return count;
    };
    const watching = [compare(), addUp(store), addUp(second)];
    await Promise.all(Array.from({ length: 4 }, settle));
    isOver = true;
    const [looks, ...passes] = await Promise.all(watching);
    expect(looks).toBeGreaterThan(5);
    expect(passes.reduce((sum, n) => sum + n, 0)).toBeGreaterThan(5);
    const sum = async () => (await total(store)).map(([, cost]) => cost);
    expect(await sum()).toEqual([written]);
    await store.usage.rollUp();
    expect(await sum()).toEqual([written]);
    const hours = await pool.query<{ cost: string }>(
      'SELECT sum(cost_nano_usd)::text AS cost FROM claude_gateway.usage_hours',
    );
    expect(BigInt(hours.rows[0]!.cost)).toBe(written);
    await pool.end();
  });

  it('refuses boundaries that make no sense', async () => {
    const { store } = await fresh();
    await expect(store.usage.report({ boundaries: [NOW], groupBy: [] })).rejects.toThrow(RangeError);
    await expect(store.usage.report({ boundaries: [NOW, NOW], groupBy: [] })).rejects.toThrow(RangeError);
  });
});
