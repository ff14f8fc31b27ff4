import type pg from 'pg';
import { SCHEMA } from '../connection.ts';
import type { Database } from '../database.ts';
import { emailKey } from '../identity.ts';
import type { EffectiveStore, KnownPrincipal, PeriodStarts, PrincipalSpend } from './effective-types.ts';
import type { BudgetPeriod } from './types.ts';
import { dividedHours, usageBetween } from './usage-report.ts';

/** How long a sum over a month of everybody may take: some 1 s for 10,000 people on two slow cores. */
const SLOW_MS = 30_000;

/** Nothing was admitted later than this. */
const FOREVER = new Date('9999-12-31T00:00:00Z');

const matching = (query: string, sub: string): string =>
  `(${query}::text IS NULL OR position(lower(${query}) IN lower(${sub})) > 0
     OR position(lower(${query}) IN lower(p.email)) > 0 OR position(lower(${query}) IN lower(p.name)) > 0)`;

const PAGE = `
  SELECT p.sub, p.email, p.name, p.groups FROM ${SCHEMA}.principals p
   WHERE ($2::text IS NULL OR p.sub > $2) AND ${matching('$3', 'p.sub')}
   ORDER BY p.sub LIMIT $1`;

const KNOWN = `SELECT sub, email, name, groups FROM ${SCHEMA}.principals WHERE sub = ANY ($1)`;

/** Parameters: $4 subjects, $5 when each of the three periods began. */
const SPENT = `
  WITH ${usageBetween('sub = ANY ($4)')}
  SELECT sub,
         coalesce(sum(cost_nano_usd) FILTER (WHERE at >= ($5::timestamptz[])[1]), 0)::text AS daily,
         coalesce(sum(cost_nano_usd) FILTER (WHERE at >= ($5::timestamptz[])[2]), 0)::text AS weekly,
         coalesce(sum(cost_nano_usd) FILTER (WHERE at >= ($5::timestamptz[])[3]), 0)::text AS monthly
    FROM usage GROUP BY sub`;

/** Parameters: $4 limit, $5 and $6 where the last page ended, $7 what is looked for. */
const TOP = `
  WITH ${usageBetween('true')}
  SELECT s.sub, s.spent::text, p.email, p.name, coalesce(p.groups, '{}') AS groups
    FROM (SELECT sub, sum(cost_nano_usd) AS spent FROM usage GROUP BY sub) s
    LEFT JOIN ${SCHEMA}.principals p ON p.sub = s.sub
   WHERE ($5::numeric IS NULL OR s.spent < $5 OR (s.spent = $5 AND s.sub > $6)) AND ${matching('$7', 's.sub')}
   ORDER BY s.spent DESC, s.sub LIMIT $4`;

/** Parameters: $4 subjects, $5 since when for each. */
const SPENT_SINCE = `
  WITH ${usageBetween('sub = ANY ($4)')}
  SELECT coalesce(sum(u.cost_nano_usd), 0)::text AS spent
    FROM unnest($4::text[], $5::timestamptz[]) WITH ORDINALITY AS a (sub, since, n)
    LEFT JOIN usage u ON u.sub = a.sub AND u.at >= a.since
   GROUP BY a.n ORDER BY a.n`;

const POOL_WINDOWS = `
  SELECT w.spent::text AS spent
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[])
         WITH ORDINALITY AS a (grp, unit, period, zone, since, n)
    LEFT JOIN ${SCHEMA}.budget_windows w
      ON w.subject_kind = CASE WHEN a.grp IS NULL THEN 'organization_pool' ELSE 'group_pool' END
     AND w.subject = coalesce(a.grp, '') AND w.unit::text = a.unit AND w.period::text = a.period
     AND w.time_zone = a.zone AND w.starts_at = a.since
   ORDER BY a.n`;

/** Parameters: $4 groups, $5 units, $6 since when; an empty group is everybody. */
const POOL_USAGE = `
  WITH ${usageBetween(`('' = ANY ($4) OR groups && $4)`)},
  by_group AS (
    SELECT g.name, u.at, u.cost_nano_usd, u.cache_read_tokens,
           u.input_tokens + u.output_tokens + u.cache_write_5m_tokens + u.cache_write_1h_tokens AS tokens
      FROM usage u, unnest(ARRAY[''] || u.groups) AS g (name) WHERE g.name = ANY ($4)
  )
  SELECT coalesce(sum(
           CASE a.unit
             WHEN 'nano_usd' THEN u.cost_nano_usd
             WHEN 'tokens' THEN u.tokens
             ELSE u.tokens + u.cache_read_tokens
           END), 0)::text AS spent
    FROM unnest($4::text[], $5::text[], $6::timestamptz[]) WITH ORDINALITY AS a (name, unit, since, n)
    LEFT JOIN by_group u ON u.name = a.name AND u.at >= a.since
   GROUP BY a.n ORDER BY a.n`;

const MATCHES = `
  WITH members AS MATERIALIZED (
    SELECT g.name, count(*) AS people FROM ${SCHEMA}.principals p, unnest(p.groups) AS g (name)
     WHERE p.groups && $2::text[] GROUP BY g.name
  )
  SELECT (CASE a.type
            WHEN 'organization' THEN (SELECT count(*) FROM ${SCHEMA}.principals)
            WHEN 'rbac_group' THEN coalesce((SELECT people FROM members m WHERE m.name = a.name), 0)
            ELSE (SELECT count(*) FROM ${SCHEMA}.principals p WHERE p.sub = a.name OR p.email_key = a.key)
          END)::int AS matches
    FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS a (type, name, key, n)
   ORDER BY a.n`;

interface PrincipalRow {
  readonly sub: string;
  readonly email: string | null;
  readonly name: string | null;
  readonly groups: readonly string[];
}

type SpentRow = { readonly sub: string } & Record<BudgetPeriod, string>;

const PERIODS: readonly BudgetPeriod[] = ['daily', 'weekly', 'monthly'];

export class PostgresEffectiveStore implements EffectiveStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async page(page: Parameters<EffectiveStore['page']>[0]): ReturnType<EffectiveStore['page']> {
    const values = [page.limit + 1, page.after ?? null, page.query ?? null];
    const found = await this.#database.query<PrincipalRow>(PAGE, values);
    const principals = found.slice(0, page.limit).map(principalOf);
    return { rows: await this.#withSpend(principals, page.since), hasMore: found.length > page.limit };
  }

  async topSpenders(
    page: Parameters<EffectiveStore['topSpenders']>[0],
  ): ReturnType<EffectiveStore['topSpenders']> {
    const { period, after } = page;
    const values = [
      ...between([page.since]),
      page.limit + 1,
      after?.spent.toString() ?? null,
      after?.sub ?? null,
      page.query ?? null,
    ];
    const found = await this.#slowly<PrincipalRow & { spent: string }>(TOP, values);
    const rows = found
      .slice(0, page.limit)
      .map((row) => ({ principal: principalOf(row), spent: { [period]: BigInt(row.spent) } }));
    return { rows, hasMore: found.length > page.limit };
  }

  async of(subs: readonly string[], starts: PeriodStarts): Promise<readonly PrincipalSpend[]> {
    const known = await this.#database.query<PrincipalRow>(KNOWN, [subs]);
    const bySub = new Map(known.map((row) => [row.sub, principalOf(row)]));
    const principals = subs.map((sub) => bySub.get(sub) ?? { sub, email: null, name: null, groups: [] });
    return this.#withSpend(principals, starts);
  }

  async spentSince(asks: Parameters<EffectiveStore['spentSince']>[0]): Promise<readonly bigint[]> {
    if (asks.length === 0) return [];
    const sinces = asks.map(({ since }) => since);
    const values = [...between(sinces), asks.map(({ sub }) => sub), sinces];
    const rows = await this.#database.query<{ spent: string }>(SPENT_SINCE, values);
    return rows.map(({ spent }) => BigInt(spent));
  }

  async poolSpent(pools: Parameters<EffectiveStore['poolSpent']>[0]): Promise<readonly bigint[]> {
    if (pools.length === 0) return [];
    const windows = await this.#database.query<{ spent: string | null }>(POOL_WINDOWS, [
      pools.map(({ group }) => group),
      pools.map(({ unit }) => unit),
      pools.map(({ period }) => period),
      pools.map(({ timeZone }) => timeZone),
      pools.map(({ startsAt }) => startsAt),
    ]);
    // A pool that nobody has drawn on yet has no window; then it is what a new one would start with.
    const unopened = await this.#usageOf(pools.filter((_, i) => windows[i]?.spent === null));
    return windows.map(({ spent }) => (spent === null ? (unopened.shift() ?? 0n) : BigInt(spent)));
  }

  async matches(scopes: Parameters<EffectiveStore['matches']>[0]): Promise<readonly number[]> {
    if (scopes.length === 0) return [];
    const names = scopes.map((scope) =>
      scope.type === 'user' ? scope.user : scope.type === 'rbac_group' ? scope.group : '',
    );
    const rows = await this.#database.query<{ matches: number }>(MATCHES, [
      scopes.map(({ type }) => type),
      names,
      names.map((name) => emailKey(name)),
    ]);
    return rows.map(({ matches }) => matches);
  }

  async #usageOf(pools: Parameters<EffectiveStore['poolSpent']>[0]): Promise<bigint[]> {
    if (pools.length === 0) return [];
    const sinces = pools.map(({ startsAt }) => startsAt);
    const rows = await this.#slowly<{ spent: string }>(POOL_USAGE, [
      ...between(sinces),
      pools.map(({ group }) => group ?? ''),
      pools.map(({ unit }) => unit),
      sinces,
    ]);
    return rows.map(({ spent }) => BigInt(spent));
  }

  /** For what adds a month of everybody up. */
  #slowly<Row extends pg.QueryResultRow>(text: string, values: unknown[]): Promise<Row[]> {
    return this.#database.transaction(async (client) => {
      await client.query(`SET LOCAL statement_timeout = ${SLOW_MS}`);
      const query = { text, values, query_timeout: SLOW_MS + 1_000 };
      return (await client.query<Row>(query)).rows;
    });
  }

  async #withSpend(
    principals: readonly KnownPrincipal[],
    starts: PeriodStarts,
  ): Promise<readonly PrincipalSpend[]> {
    const asked = PERIODS.filter((period) => starts[period] !== undefined);
    if (principals.length === 0 || asked.length === 0)
      return principals.map((principal) => ({ principal, spent: {} }));
    const rows = await this.#database.query<SpentRow>(SPENT, [
      ...between(asked.flatMap((period) => starts[period] ?? [])),
      [...new Set(principals.map(({ sub }) => sub))],
      PERIODS.map((period) => starts[period] ?? null),
    ]);
    const bySub = new Map(rows.map((row) => [row.sub, row]));
    return principals.map((principal) => {
      const row = bySub.get(principal.sub);
      const spent = Object.fromEntries(asked.map((period) => [period, BigInt(row?.[period] ?? 0)]));
      return { principal, spent };
    });
  }
}

/** The first three parameters of {@link usageBetween}: everything since the earliest of these moments. */
function between(sinces: readonly Date[]): unknown[] {
  const first = new Date(Math.min(...sinces.map((since) => since.getTime())));
  return [first, FOREVER, dividedHours(sinces)];
}

function principalOf({ sub, email, name, groups }: PrincipalRow): KnownPrincipal {
  return { sub, email, name, groups };
}
