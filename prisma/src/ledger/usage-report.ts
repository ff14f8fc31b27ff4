import { hourOf } from './records.ts';
import { SCHEMA } from '../connection.ts';
import { emailKey } from '../identity.ts';
import type { UsageDimension, UsageReportQuery, UsageReportRow } from './usage-types.ts';

const RECORDS = `${SCHEMA}.usage_records`;
const HOURS = `${SCHEMA}.usage_hours`;
const MARK = `${SCHEMA}.usage_rollup`;
const HOUR_MS = 3_600_000;

const SUMS = {
  requests: 'requests',
  inputTokens: 'input_tokens',
  outputTokens: 'output_tokens',
  cacheReadTokens: 'cache_read_tokens',
  cacheWrite5mTokens: 'cache_write_5m_tokens',
  cacheWrite1hTokens: 'cache_write_1h_tokens',
  webSearches: 'web_searches',
  costNanoUsd: 'cost_nano_usd',
} as const;

/** The range reaches into an hour of which only the sum is known any more. */
export class UsageTooOldError extends Error {
  override readonly name = 'UsageTooOldError';
  readonly recordsFrom: Date;

  constructor(recordsFrom: Date) {
    super(`usage before ${recordsFrom.toISOString()} is known by full hours (UTC) only`);
    this.recordsFrom = recordsFrom;
  }
}

/** Hours that a moment divides: their sums do not help, the records do. */
export function dividedHours(moments: readonly Date[]): Date[] {
  const hours = moments
    .map((moment) => moment.getTime())
    .filter((time) => time % HOUR_MS !== 0)
    .map((time) => Math.floor(time / HOUR_MS) * HOUR_MS);
  return [...new Set(hours)].map((hour) => new Date(hour));
}

/**
 * Usage of `[$1, $2)`, from the hours where they are up to date and whole, else from the records; `$3` are hours that
 * must come from the records. As one part of one statement all of it is of one moment, and exact: the mark says which
 * records the hours cannot have yet.
 *
 * @param condition On columns `sub`, `groups`, `model`, `upstream` of both tables.
 */
export const usageBetween = (condition: string): string => `
  mark AS MATERIALIZED (
    SELECT coalesce(max(settled_until), '-infinity') AS settled_until,
           coalesce(max(records_from), '-infinity') AS records_from FROM ${MARK} WHERE id = 1),
  -- On its own, so that these few are found by when they were settled and not among all of the range.
  unsure AS MATERIALIZED (
    SELECT r.id, r.admitted_at FROM ${RECORDS} r WHERE r.settled_at >= (SELECT settled_until FROM mark)),
  by_record AS MATERIALIZED (
    SELECT ${hourOf('u.admitted_at')} AS hour FROM unsure u, mark
     WHERE u.admitted_at >= mark.records_from
       AND u.admitted_at >= ${hourOf('$1::timestamptz')} AND u.admitted_at < $2::timestamptz
    UNION SELECT unnest($3::timestamptz[])),
  late AS (
    SELECT r.* FROM unsure u JOIN ${RECORDS} r ON r.id = u.id, mark WHERE u.admitted_at < mark.records_from),
  usage AS (
    SELECT hour AS at, sub, groups, model, upstream, ${Object.values(SUMS).join(', ')} FROM ${HOURS}
     WHERE hour >= $1::timestamptz AND hour < $2::timestamptz
       AND NOT EXISTS (SELECT FROM by_record b WHERE b.hour = usage_hours.hour) AND ${condition}
    UNION ALL
    ${[
      `by_record b JOIN ${RECORDS} r ON r.admitted_at >= b.hour AND r.admitted_at < b.hour + interval '1 hour'`,
      'late r',
    ]
      .map(
        (source) => `
    SELECT admitted_at, sub, groups, model, coalesce(upstream, ''), 1, ${Object.values(SUMS).slice(1).join(', ')}
      FROM ${source} WHERE admitted_at >= $1::timestamptz AND admitted_at < $2::timestamptz AND ${condition}`,
      )
      .join(' UNION ALL ')})`;

interface Column {
  readonly select: string;
  readonly as: string;
}

const DIMENSIONS: Readonly<Record<UsageDimension, Column>> = {
  user: { select: 'sub', as: 'sub' },
  group: { select: `coalesce(g.group_name, '')`, as: 'group_name' },
  model: { select: 'model', as: 'model' },
  upstream: { select: 'upstream', as: 'upstream' },
};

/** @returns the statement of a report, and its parameters. */
export function reportStatement({ boundaries, groupBy, filters = {} }: UsageReportQuery): {
  text: string;
  values: unknown[];
} {
  const dimensions = [...new Set(groupBy)].map((name) => DIMENSIONS[name]);
  const values: unknown[] = [
    boundaries[0],
    boundaries.at(-1),
    dividedHours(boundaries),
    boundaries,
    filters.users ?? null,
    filters.users?.map(emailKey) ?? null,
    filters.groups ?? null,
    filters.models ?? null,
    filters.upstreams ?? null,
  ];
  const condition = `
    ($5::text[] IS NULL OR sub = ANY ($5) OR sub IN (
      SELECT p.sub FROM ${SCHEMA}.principals p WHERE p.email_key = ANY ($6::text[])))
    AND ($7::text[] IS NULL OR groups && $7)
    AND ($8::text[] IS NULL OR model = ANY ($8))
    AND ($9::text[] IS NULL OR coalesce(upstream, '') = ANY ($9))`;
  const keys = ['bucket', ...dimensions.map(({ as }) => as)];
  const isByUser = groupBy.includes('user');
  const isByGroup = groupBy.includes('group');
  // By the list of groups first: many records share one, and there is less to take apart.
  const columns = ['bucket', ...dimensions.filter(({ as }) => as !== 'group_name').map(({ as }) => as)];
  const text = `
    WITH ${usageBetween(condition)},
    lists AS (
      SELECT width_bucket(at, $4::timestamptz[]) - 1 AS bucket, ${[
        ...columns.slice(1),
        ...(isByGroup ? ['groups'] : []),
      ]
        .map((column) => `${column}, `)
        .join('')}
             ${Object.values(SUMS)
               .map((name) => `sum(${name}) AS ${name}`)
               .join(', ')}
        FROM usage GROUP BY ${columns.map((_, index) => index + 1).join(', ')}${isByGroup ? ', groups' : ''}),
    sums AS (
      SELECT bucket ${dimensions.map(({ select, as }) => `, ${select} AS ${as}`).join('')}
             ${Object.values(SUMS)
               .map((name) => `, sum(${name})::text AS ${name}`)
               .join('')}
        FROM lists
        ${
          isByGroup
            ? `LEFT JOIN LATERAL (SELECT DISTINCT n AS group_name FROM unnest(lists.groups) n WHERE $7::text[] IS NULL OR n = ANY ($7)) g ON true`
            : ''
        }
       GROUP BY ${keys.map((_, index) => index + 1).join(', ')})
    SELECT sums.* ${isByUser ? ', p.email, p.name, p.kind' : ''}
      FROM sums ${isByUser ? `LEFT JOIN ${SCHEMA}.principals p ON p.sub = sums.sub` : ''}
     ORDER BY ${keys.map((key) => (key === 'bucket' ? 'sums.bucket' : `sums.${key} COLLATE "C"`)).join(', ')}`;
  return { text, values };
}

export interface ReportRow {
  readonly bucket: number;
  readonly sub?: string;
  readonly email?: string | null;
  readonly name?: string | null;
  readonly kind?: 'user' | 'workload' | null;
  readonly group_name?: string;
  readonly model?: string;
  readonly upstream?: string;
  readonly requests: string;
  readonly input_tokens: string;
  readonly output_tokens: string;
  readonly cache_read_tokens: string;
  readonly cache_write_5m_tokens: string;
  readonly cache_write_1h_tokens: string;
  readonly web_searches: string;
  readonly cost_nano_usd: string;
}

export function reportRow(row: ReportRow): UsageReportRow {
  return {
    bucket: row.bucket,
    user:
      row.sub === undefined
        ? null
        : { sub: row.sub, email: row.email ?? null, name: row.name ?? null, kind: row.kind ?? null },
    group: row.group_name ?? null,
    model: row.model ?? null,
    upstream: row.upstream ?? null,
    requests: BigInt(row.requests),
    inputTokens: BigInt(row.input_tokens),
    outputTokens: BigInt(row.output_tokens),
    cacheReadTokens: BigInt(row.cache_read_tokens),
    cacheWrite5mTokens: BigInt(row.cache_write_5m_tokens),
    cacheWrite1hTokens: BigInt(row.cache_write_1h_tokens),
    webSearches: BigInt(row.web_searches),
    costNanoUsd: BigInt(row.cost_nano_usd),
  };
}
