import { SCHEMA } from '../connection.ts';
import type { Database } from '../database.ts';
import { emailKey } from '../identity.ts';
import type { EffectiveStore, KnownPrincipal, PeriodStarts, PrincipalSpend } from './effective-types.ts';
import type { BudgetPeriod } from './types.ts';

/**
 * What requests cost, by whom and when: hours that were added up, and the records that are not among them yet. One
 * statement reads both, so a rollup in between neither loses nor doubles a record.
 */
const costs = (where: { hours: string; records: string }): string => `
  SELECT sub, hour AS at, cost_nano_usd AS cost FROM ${SCHEMA}.usage_hours WHERE ${where.hours}
  UNION ALL
  SELECT sub, admitted_at, cost_nano_usd FROM ${SCHEMA}.usage_records
   WHERE settled_at >= coalesce((SELECT max(settled_until) FROM ${SCHEMA}.usage_rollup), '-infinity') AND ${where.records}`;

/** $1 from when on; the others are where the query that uses it puts them. */
const since = (subs?: string): string => {
  const of = subs === undefined ? '' : ` AND sub ${subs}`;
  return costs({ hours: `hour >= $1${of}`, records: `admitted_at >= $1${of}` });
};

const matching = (query: string, sub: string): string =>
  `(${query}::text IS NULL OR position(lower(${query}) IN lower(${sub})) > 0
     OR position(lower(${query}) IN lower(p.email)) > 0 OR position(lower(${query}) IN lower(p.name)) > 0)`;

const PAGE = `
  SELECT p.sub, p.email, p.name, p.groups FROM ${SCHEMA}.principals p
   WHERE ($2::text IS NULL OR p.sub > $2) AND ${matching('$3', 'p.sub')}
   ORDER BY p.sub LIMIT $1`;

const KNOWN = `SELECT sub, email, name, groups FROM ${SCHEMA}.principals WHERE sub = ANY ($1)`;

/** $3 daily, $4 weekly, $5 monthly. */
const SPENT = `
  SELECT sub,
         (coalesce(sum(cost) FILTER (WHERE at >= $3), 0))::text AS daily,
         (coalesce(sum(cost) FILTER (WHERE at >= $4), 0))::text AS weekly,
         (coalesce(sum(cost) FILTER (WHERE at >= $5), 0))::text AS monthly
    FROM (${since('= ANY ($2)')}) c GROUP BY sub`;

/** Parameters: $2 limit, $3 and $4 where the last page ended, $5 what is looked for. */
const TOP = `
  SELECT s.sub, s.spent::text, p.email, p.name, coalesce(p.groups, '{}') AS groups
    FROM (SELECT sub, sum(cost) AS spent FROM (${since()}) c GROUP BY sub) s
    LEFT JOIN ${SCHEMA}.principals p ON p.sub = s.sub
   WHERE ($3::numeric IS NULL OR s.spent < $3 OR (s.spent = $3 AND s.sub > $4)) AND ${matching('$5', 's.sub')}
   ORDER BY s.spent DESC, s.sub LIMIT $2`;

/** Records alone: hours cannot be cut at the moment that is asked about. */
const SPENT_SINCE = `
  SELECT coalesce((SELECT sum(r.cost_nano_usd) FROM ${SCHEMA}.usage_records r
                    WHERE r.sub = a.sub AND r.admitted_at >= a.since), 0)::text AS spent
    FROM unnest($1::text[], $2::timestamptz[]) WITH ORDINALITY AS a (sub, since, n) ORDER BY a.n`;

/** A pool that nobody has asked yet has no window; then it is what a new one would start with. */
const POOL_SPENT = `
  SELECT coalesce(
           (SELECT w.spent FROM ${SCHEMA}.budget_windows w
             WHERE w.subject_kind = CASE WHEN a.grp IS NULL THEN 'organization_pool' ELSE 'group_pool' END
               AND w.subject = coalesce(a.grp, '') AND w.unit::text = a.unit AND w.period::text = a.period
               AND w.time_zone = a.zone AND w.starts_at = a.since),
           (SELECT sum(CASE a.unit
                         WHEN 'nano_usd' THEN r.cost_nano_usd
                         ELSE r.input_tokens + r.output_tokens + r.cache_write_5m_tokens + r.cache_write_1h_tokens
                              + CASE a.unit WHEN 'tokens_with_cache_reads' THEN r.cache_read_tokens ELSE 0 END
                       END)
              FROM ${SCHEMA}.usage_records r
             WHERE r.admitted_at >= a.since AND (a.grp IS NULL OR a.grp = ANY (r.groups))),
           0)::text AS spent
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[])
         WITH ORDINALITY AS a (grp, unit, period, zone, since, n)
   ORDER BY a.n`;

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
      page.since,
      page.limit + 1,
      after?.spent.toString() ?? null,
      after?.sub ?? null,
      page.query ?? null,
    ];
    const found = await this.#database.query<PrincipalRow & { spent: string }>(TOP, values);
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
    const rows = await this.#database.query<{ spent: string }>(SPENT_SINCE, [
      asks.map(({ sub }) => sub),
      asks.map(({ since: from }) => from),
    ]);
    return rows.map(({ spent }) => BigInt(spent));
  }

  async poolSpent(pools: Parameters<EffectiveStore['poolSpent']>[0]): Promise<readonly bigint[]> {
    if (pools.length === 0) return [];
    const rows = await this.#database.query<{ spent: string }>(POOL_SPENT, [
      pools.map(({ group }) => group),
      pools.map(({ unit }) => unit),
      pools.map(({ period }) => period),
      pools.map(({ timeZone }) => timeZone),
      pools.map(({ startsAt }) => startsAt),
    ]);
    return rows.map(({ spent }) => BigInt(spent));
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

  async #withSpend(
    principals: readonly KnownPrincipal[],
    starts: PeriodStarts,
  ): Promise<readonly PrincipalSpend[]> {
    const asked = PERIODS.filter((period) => starts[period] !== undefined);
    if (principals.length === 0 || asked.length === 0)
      return principals.map((principal) => ({ principal, spent: {} }));
    const first = new Date(Math.min(...asked.map((period) => starts[period]?.getTime() ?? Infinity)));
    const rows = await this.#database.query<SpentRow>(SPENT, [
      first,
      [...new Set(principals.map(({ sub }) => sub))],
      ...PERIODS.map((period) => starts[period] ?? null),
    ]);
    const bySub = new Map(rows.map((row) => [row.sub, row]));
    return principals.map((principal) => {
      const row = bySub.get(principal.sub);
      const spent = Object.fromEntries(asked.map((period) => [period, BigInt(row?.[period] ?? 0)]));
      return { principal, spent };
    });
  }
}

function principalOf({ sub, email, name, groups }: PrincipalRow): KnownPrincipal {
  return { sub, email, name, groups };
}
