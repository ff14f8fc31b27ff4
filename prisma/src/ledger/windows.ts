import { SCHEMA, STATEMENT_TIMEOUT_MS } from '../connection.ts';
import type { Statement } from '../gated-query.ts';
import { MAX_SPENT } from './amounts.ts';
import { amountOf, hourOf } from './records.ts';

/**
 * The ledger's statements are planned once for tables of any size: what they look up, they look up by an index, one row after
 * the other (LATERAL), and what they change they find by its key (ON CONFLICT, = ANY). A plan made for ten windows would
 * read all of them when there are ten thousand. The time that a statement may take belongs to its transaction, as behind
 * a pooler no connection is ours.
 */
export const BY_INDEX = `set_config('enable_seqscan', 'off', true), set_config('statement_timeout', '${STATEMENT_TIMEOUT_MS}', true)`;

/**
 * Changes windows that this statement has locked. They are there, so nothing is inserted, and the values that are
 * required and never seen are any.
 *
 * @param source Selects id, spent and held, as they are to be, and `columns`.
 */
export const putWindows = (source: string, columns: readonly string[] = []): string => `
  INSERT INTO ${SCHEMA}.budget_windows (${['id', 'spent', 'held', ...columns].join(', ')},
         subject_kind, subject, unit, period, time_zone, starts_at, ends_at)
  SELECT m.*, '', '', 'nano_usd', 'daily', '', 'epoch', 'epoch' FROM (${source}) m
  ON CONFLICT (id) DO UPDATE
     SET ${['spent', 'held', ...columns].map((column) => `${column} = excluded.${column}`).join(', ')}`;

/** `$1` window ids. Rows: window, spent, held. */
export const WINDOW_STATES: Statement = {
  name: 'claude_gateway_window_states',
  text: `SELECT id, spent, held FROM ${SCHEMA}.budget_windows WHERE id = ANY ($1::uuid[])`,
};

/** A window is added up by its records alone until it has run for so long: they are few, and found at once. */
const BY_RECORDS_FOR = `interval '1 day'`;

/** What the windows `m` of a kind took so far: by their records, or by the hours and the records that these lack. */
const spentBy = (kind: string, condition: (row: string) => string): string => `
    SELECT m.id, p.amount FROM missing m CROSS JOIN LATERAL (
      SELECT ${amountOf('u', 'm.unit')} AS amount FROM ${SCHEMA}.usage_records u
       WHERE u.admitted_at >= m.starts_at AND u.admitted_at < m.ends_at AND ${condition('u')}
      OFFSET 0) p
     WHERE m.subject_kind = '${kind}' AND m.source = 'records'
     UNION ALL
    SELECT m.id, p.amount FROM missing m CROSS JOIN LATERAL (
      SELECT ${amountOf('h', 'm.unit')} AS amount FROM ${SCHEMA}.usage_hours h
       WHERE h.hour >= m.starts_at AND h.hour < m.ends_at AND ${condition('h')}
         AND h.hour NOT IN (SELECT hour FROM by_record)
      OFFSET 0) p
     WHERE m.subject_kind = '${kind}' AND m.source = 'hours'
     UNION ALL
    SELECT m.id, p.amount FROM missing m
      JOIN by_record d ON d.hour > m.starts_at - interval '1 hour' AND d.hour < m.ends_at
     CROSS JOIN LATERAL (
      SELECT ${amountOf('u', 'm.unit')} AS amount FROM ${SCHEMA}.usage_records u
       WHERE u.admitted_at >= greatest(d.hour, m.starts_at)
         AND u.admitted_at < least(d.hour + interval '1 hour', m.ends_at) AND ${condition('u')}
      OFFSET 0) p
     WHERE m.subject_kind = '${kind}' AND m.source = 'hours'`;

/**
 * `$1` windows as JSON. Makes those that are missing, with what was spent in them so far: as the hours say where they
 * have everything, as the records say elsewhere (see usage-report.ts). Behind OPEN_GATE nobody settles meanwhile, and
 * everything that was settled is seen. Rows: window, spent, held.
 */
export const OPEN_WINDOWS: Statement = {
  name: 'claude_gateway_open_windows',
  text: `
  WITH wanted AS MATERIALIZED (
    SELECT DISTINCT ON (id) * FROM json_to_recordset($1::json) AS r (
      id uuid, subject_kind text, subject text, unit ${SCHEMA}.budget_unit, period ${SCHEMA}.budget_period,
      time_zone text, starts_at timestamptz, ends_at timestamptz, named_only boolean)),
  missing AS MATERIALIZED (
    SELECT r.*, CASE WHEN r.named_only THEN 'nothing'
                     WHEN r.starts_at > statement_timestamp() - ${BY_RECORDS_FOR} THEN 'records'
                     ELSE 'hours' END AS source
      FROM wanted r WHERE NOT EXISTS (SELECT FROM ${SCHEMA}.budget_windows w WHERE w.id = r.id)),
  unsure AS MATERIALIZED (
    SELECT u.admitted_at FROM ${SCHEMA}.usage_records u
     WHERE EXISTS (SELECT FROM missing WHERE source = 'hours') AND u.settled_at >= coalesce(
           (SELECT max(settled_until) FROM ${SCHEMA}.usage_rollup WHERE id = 1), '-infinity')),
  by_record AS MATERIALIZED (
    SELECT ${hourOf('admitted_at')} AS hour FROM unsure
     UNION SELECT ${hourOf('starts_at')} FROM missing WHERE starts_at <> ${hourOf('starts_at')}
     UNION SELECT ${hourOf('ends_at')} FROM missing WHERE ends_at <> ${hourOf('ends_at')}),
  sums AS (
    SELECT id, sum(amount) AS amount FROM (
      ${spentBy('user', (row) => `${row}.sub = m.subject`)}
       UNION ALL
      ${spentBy('group_pool', (row) => `m.subject = ANY (${row}.groups)`)}
       UNION ALL
      ${spentBy('organization_pool', () => 'true')}) parts
     GROUP BY id),
  opened AS (
    INSERT INTO ${SCHEMA}.budget_windows
           (id, subject_kind, subject, unit, period, time_zone, starts_at, ends_at, named_only, spent, held)
    SELECT m.id, m.subject_kind, m.subject, m.unit, m.period, m.time_zone, m.starts_at, m.ends_at, m.named_only,
           least(coalesce(s.amount, 0), ${MAX_SPENT})::bigint, 0
      FROM missing m LEFT JOIN sums s ON s.id = m.id
    RETURNING id, spent, held)
  SELECT id, spent, held FROM opened
   UNION ALL
  SELECT w.id, w.spent, w.held FROM wanted r JOIN ${SCHEMA}.budget_windows w ON w.id = r.id`,
};
