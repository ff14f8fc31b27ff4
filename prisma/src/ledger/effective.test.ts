import { describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { POSTGRES_VERSIONS, usePostgres, type TestPostgres } from '../testing/postgres.ts';

const DAY = new Date('2027-03-17T00:00:00.000Z');
const WEEK = new Date('2027-03-15T00:00:00.000Z');
const MONTH = new Date('2027-03-01T00:00:00.000Z');
const since = { daily: DAY, weekly: WEEK, monthly: MONTH };

const hoursAfter = (start: Date, hours: number): Date => new Date(start.getTime() + hours * 3_600_000);

interface Spending {
  readonly cost: bigint;
  readonly at: Date;
  readonly groups?: readonly string[];
  readonly tokens?: { readonly input: number; readonly cacheRead: number };
}

async function record(postgres: TestPostgres, sub: string, spending: Spending): Promise<void> {
  const { cost, at, groups = [], tokens = { input: 0, cacheRead: 0 } } = spending;
  await postgres.sql(
    `INSERT INTO claude_gateway.usage_records
       (id, request_id, sub, kind, groups, model, fast_mode, input_tokens, output_tokens, cache_read_tokens,
        cache_write_5m_tokens, cache_write_1h_tokens, web_searches, cost_nano_usd, outcome, status, admitted_at, duration_ms)
     VALUES ($1, 'req_1', $2, 'user', $3, 'claude-opus-4-8', false, $4, 0, $5, 0, 0, 0, $6, 'complete', 200, $7, 1)`,
    [randomUUID(), sub, groups, tokens.input, tokens.cacheRead, cost.toString(), at],
  );
}

async function person(postgres: TestPostgres, sub: string, groups: string[] = []): Promise<void> {
  const email = `${sub}@Corp.example`;
  await postgres.sql(
    `INSERT INTO claude_gateway.principals VALUES ($1, 'user', $2, lower($2), $3, $4, now(), now())`,
    [sub, email, `${sub} Person`, groups],
  );
}

describe.each(POSTGRES_VERSIONS)('effective spending on PostgreSQL %i', (version) => {
  const postgres = usePostgres(version);
  /** Everything of one test in a database of its own. */
  const fresh = async () => {
    postgres.url = await postgres.server.createDatabase();
    return (await postgres.open()).effective;
  };

  it('adds up each period from its own start, before and after a rollup', async () => {
    const effective = await fresh();
    const store = await postgres.open();
    const costs = [
      { at: hoursAfter(MONTH, -1), cost: 1_000_000n },
      { at: MONTH, cost: 100_000n },
      { at: WEEK, cost: 10_000n },
      { at: hoursAfter(DAY, 1), cost: 1_000n },
    ];
    for (const { at, cost } of costs) await record(postgres, 'ann', { cost, at });
    const expected = { daily: 1_000n, weekly: 11_000n, monthly: 111_000n };
    expect((await effective.of(['ann'], since))[0]?.spent).toEqual(expected);

    await store.usage.rollUp();
    expect((await effective.of(['ann'], since))[0]?.spent).toEqual(expected);
    await record(postgres, 'ann', { cost: 7n, at: hoursAfter(DAY, 1) });
    const [ann, stranger] = await effective.of(['ann', 'stranger'], since);
    expect(ann?.spent).toEqual({ daily: 1_007n, weekly: 11_007n, monthly: 111_007n });
    expect(stranger).toEqual({
      principal: { sub: 'stranger', email: null, name: null, groups: [] },
      spent: { daily: 0n, weekly: 0n, monthly: 0n },
    });
    expect((await effective.of(['ann'], { weekly: WEEK }))[0]?.spent).toEqual({ weekly: 11_007n });
  });

  it('pages by subject, and finds people by subject, email and name', async () => {
    const effective = await fresh();
    for (const sub of ['cid', 'ann', 'bob', 'a%b']) await person(postgres, sub, ['eng']);
    await record(postgres, 'bob', { cost: 3n, at: DAY });

    const subs = async (page: Omit<Parameters<typeof effective.page>[0], 'since'>) => {
      const { rows, hasMore } = await effective.page({ since, ...page });
      return [rows.map(({ principal }) => principal.sub), hasMore];
    };
    const [[first = ''] = [], more] = (await subs({ limit: 1 })) as [string[], boolean];
    expect(more).toBe(true);
    const [rest] = await subs({ limit: 10, after: first });
    expect([first, ...(rest as string[])].toSorted()).toEqual(['a%b', 'ann', 'bob', 'cid']);
    expect(await subs({ limit: 10, query: 'NN@corp' })).toEqual([['ann'], false]);
    expect(await subs({ limit: 10, query: 'bob per' })).toEqual([['bob'], false]);
    expect(await subs({ limit: 10, query: '%' })).toEqual([['a%b'], false]);
    expect(await subs({ limit: 10, query: 'eng' })).toEqual([[], false]);
    const { rows } = await effective.page({ since, limit: 10, query: 'bob' });
    expect(rows).toEqual([
      {
        principal: { sub: 'bob', email: 'bob@Corp.example', name: 'bob Person', groups: ['eng'] },
        spent: { daily: 3n, weekly: 3n, monthly: 3n },
      },
    ]);
  });

  it('lists the biggest spenders first, equals by subject, page by page', async () => {
    const effective = await fresh();
    await person(postgres, 'known');
    const costs = { known: 5n, b: 9n, a: 9n, c: 9n, zero: 0n, old: 0n };
    for (const [sub, cost] of Object.entries(costs)) {
      if (sub !== 'old') await record(postgres, sub, { cost, at: hoursAfter(DAY, 1) });
    }
    await record(postgres, 'old', { cost: 99n, at: hoursAfter(DAY, -1) });

    const seen: string[] = [];
    let after: { spent: bigint; sub: string } | undefined;
    for (;;) {
      const page = { period: 'daily' as const, since: DAY, limit: 2, ...(after ? { after } : {}) };
      const { rows, hasMore } = await effective.topSpenders(page);
      seen.push(...rows.map(({ principal }) => principal.sub));
      const last = rows.at(-1);
      if (!hasMore || last === undefined) break;
      after = { spent: last.spent.daily ?? 0n, sub: last.principal.sub };
    }
    expect(seen).toEqual(['a', 'b', 'c', 'known', 'zero']);
    const found = await effective.topSpenders({ period: 'daily', since: DAY, limit: 9, query: 'KNOWN@' });
    expect(found.rows).toEqual([
      {
        principal: { sub: 'known', email: 'known@Corp.example', name: 'known Person', groups: [] },
        spent: { daily: 5n },
      },
    ]);
  });

  it('counts from any moment, for calendars that are not UTC', async () => {
    const effective = await fresh();
    await record(postgres, 'ann', { cost: 1n, at: hoursAfter(DAY, 0.4) });
    await record(postgres, 'ann', { cost: 2n, at: hoursAfter(DAY, 0.6) });
    const asks = [0, 0.5, 1].map((hours) => ({ sub: 'ann', since: hoursAfter(DAY, hours) }));
    expect(await effective.spentSince(asks)).toEqual([3n, 2n, 0n]);
    expect(await effective.spentSince([])).toEqual([]);
  });

  it('reads a pool off its window, and before there is one off the records', async () => {
    const effective = await fresh();
    const tokens = { input: 10, cacheRead: 1000 };
    await record(postgres, 'ann', { cost: 4n, at: DAY, groups: ['eng', 'ops'], tokens });
    await record(postgres, 'bob', { cost: 5n, at: DAY, groups: ['ops'], tokens });
    await record(postgres, 'bob', { cost: 50n, at: hoursAfter(MONTH, -1), groups: ['ops'], tokens });
    await postgres.sql(
      `INSERT INTO claude_gateway.budget_windows
              (id, subject_kind, subject, unit, period, time_zone, starts_at, ends_at, spent, held, cap)
       VALUES ($1, 'group_pool', 'eng', 'nano_usd', 'monthly', 'UTC', $2, $3, 77, 11, 100)`,
      [randomUUID(), MONTH, hoursAfter(MONTH, 24 * 31)],
    );
    const pool = { unit: 'nano_usd', period: 'monthly', timeZone: 'UTC', startsAt: MONTH } as const;
    const spent = await effective.poolSpent([
      { ...pool, group: 'eng' },
      { ...pool, group: 'ops' },
      { ...pool, group: null },
      { ...pool, group: 'ops', unit: 'tokens' },
      { ...pool, group: null, unit: 'tokens_with_cache_reads' },
      { ...pool, group: 'nobody' },
    ]);
    expect(spent).toEqual([77n, 9n, 9n, 20n, 2020n, 0n]);
    expect(await effective.poolSpent([])).toEqual([]);
  });

  it('counts whom a scope names', async () => {
    const effective = await fresh();
    await person(postgres, 'ann', ['eng']);
    await person(postgres, 'bob', ['eng', 'ops']);
    const matches = await effective.matches([
      { type: 'organization' },
      { type: 'rbac_group', group: 'eng' },
      { type: 'rbac_group', group: 'none' },
      { type: 'user', user: 'ann' },
      { type: 'user', user: 'BOB@corp.EXAMPLE' },
      { type: 'user', user: 'nobody@corp.example' },
    ]);
    expect(matches).toEqual([2, 2, 0, 1, 1, 0]);
    expect(await effective.matches([])).toEqual([]);
  });
});
