import { describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { Database } from '../database.ts';
import { Sweeper } from '../sweeper.ts';
import { at, NOW, POSTGRES_VERSIONS, usePostgres, testPool } from '../testing/postgres.ts';
import { INSERT_RECORDS, newRecord, recordParameter } from '../testing/usage-records.ts';
import { UsageRollup } from './usage-rollup.ts';
import type { Retention } from './usage-types.ts';

const DAY_MS = 86_400_000;

describe.each(POSTGRES_VERSIONS)('retention on PostgreSQL %i', (version) => {
  const postgres = usePostgres(version);

  async function fresh(retention: Partial<Retention> = {}) {
    const url = await postgres.server.createDatabase();
    const store = await postgres.open({ url });
    const withDatabase = async <T>(work: (database: Database) => Promise<T>): Promise<T> => {
      const database = new Database(testPool(url));
      try {
        return await work(database);
      } finally {
        await database.close();
      }
    };
    return {
      store,
      sql: (text: string, values: unknown[] = []) => postgres.sql(text, values, url),
      rollUp: (days: number) =>
        withDatabase((database) => new UsageRollup(database, undefined).rollUp(at(days * DAY_MS))),
      /** So many days after NOW. */
      sweep: (days: number) =>
        withDatabase((database) => new Sweeper(database, undefined, retention).sweep(at(days * DAY_MS))),
    };
  }

  it('keeps records until their hours speak for them, and 62 days at least', async () => {
    const { store, sql, sweep, rollUp } = await fresh();
    await sql(INSERT_RECORDS, [recordParameter([newRecord(), newRecord({ admittedAt: at(DAY_MS) })])]);
    const report = () => store.usage.report({ boundaries: [at(-DAY_MS), at(2 * DAY_MS)], groupBy: ['user'] });
    const truth = await report();
    expect(truth).toMatchObject([{ requests: 2n }]);

    expect(await sweep(100)).toEqual({});
    expect(await rollUp(61)).toBe(true);
    // As if it were long after the settlements.
    await sql(`UPDATE claude_gateway.usage_rollup SET settled_until = clock_timestamp()`);
    expect(await sweep(100)).toEqual({});
    expect(await rollUp(62.5)).toBe(true);
    expect(await sweep(100)).toEqual({ usage_records: 1 });
    expect(await report()).toEqual(truth);
    expect(await rollUp(100)).toBe(true);
    expect(await sweep(100)).toEqual({ usage_records: 1 });
    expect(await report()).toEqual(truth);
    expect(await sql('SELECT count(*)::int FROM claude_gateway.usage_records')).toEqual([[0]]);
  });

  const window = (endsAt: Date, held = 0) => [
    `INSERT INTO claude_gateway.budget_windows
            (id, subject_kind, subject, unit, period, time_zone, starts_at, ends_at, spent, held, cap)
     VALUES ($1, 'user', 'ada', 'nano_usd', 'daily', 'UTC', $2, $2, 5, ${held}, 9)`,
    [randomUUID(), endsAt],
  ];

  it('keeps hours, windows and alerts for months after they ended, and no window that holds something', async () => {
    const { store, sql, sweep } = await fresh({ spendMonths: 3 });
    await sql(...(window(NOW) as [string, unknown[]]));
    await sql(...(window(NOW, 1) as [string, unknown[]]));
    const alert = randomUUID();
    await store.alerts.raise([{ windowId: alert, threshold: 75, data: {}, deliver: true }]);
    await sql('UPDATE claude_gateway.budget_alerts SET raised_at = $1', [NOW]);
    await sql(
      `INSERT INTO claude_gateway.usage_hours VALUES ($1, 'ada', '{}', '', 'm', 'u', 1, 1, 1, 1, 1, 1, 1, 1)`,
      [NOW],
    );
    expect(await sweep(91)).toEqual({});
    expect(await sweep(93)).toEqual({ usage_hours: 1, budget_windows: 1, budget_alerts: 1 });
    expect(await sql('SELECT held::int FROM claude_gateway.budget_windows')).toEqual([[1]]);
  });

  it('never lets windows go before a monthly one could be settled', async () => {
    const { sql, sweep } = await fresh({ spendMonths: 1 });
    await sql(...(window(NOW) as [string, unknown[]]));
    expect(await sweep(61.9)).toEqual({});
    expect(await sweep(62.1)).toEqual({ budget_windows: 1 });
  });

  it('forgets people who have not been seen for long, and what administrators did', async () => {
    const { store, sql, sweep } = await fresh({ identityDays: 7, auditDays: 30 });
    const sighting = { kind: 'user', email: null, name: null, groups: [] } as const;
    await store.usage.touch([
      { ...sighting, sub: 'gone', seenAt: NOW },
      { ...sighting, sub: 'here', seenAt: at(6 * DAY_MS) },
    ]);
    await sql(
      `INSERT INTO claude_gateway.admin_audit (recorded_at, actor, action, target_id) VALUES ($1, 'a', 'b', 'c')`,
      [NOW],
    );
    await sql(
      `INSERT INTO claude_gateway.limit_increase_requests (id, sub, period, status, created_at) VALUES ('slir_1', 'ada', 'daily', 'denied', $1)`,
      [NOW],
    );
    expect(await sweep(6.9)).toEqual({});
    expect(await sweep(7.1)).toEqual({ principals: 1 });
    expect(await sql('SELECT sub FROM claude_gateway.principals')).toEqual([['here']]);
    expect(await sweep(30.1)).toEqual({ principals: 1, admin_audit: 1, limit_increase_requests: 1 });
  });
});
