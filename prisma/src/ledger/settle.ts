import { SCHEMA } from '../connection.ts';
import type { Statement } from '../gated-query.ts';
import { LOCK_CLASS } from '../migrations.ts';
import { ALL_TOKENS, amountOf, FRESH_TOKENS, RECORD_COLUMNS, RECORD_FIELDS } from './records.ts';

/** Advisory lock of migrations.ts' class: 1 migrations, 2 the sweeper, 3 the rollup. */
const LOCK_OBJECT = 4;

/** For everything that charges. */
export const CHARGE_GATE = `SELECT pg_advisory_xact_lock_shared(${LOCK_CLASS}, ${LOCK_OBJECT})`;
/** For whoever must see everything that was charged, and nothing charged meanwhile. */
export const OPEN_GATE = `SELECT pg_advisory_xact_lock(${LOCK_CLASS}, ${LOCK_OBJECT})`;

const WINDOWS = `${SCHEMA}.budget_windows`;
const LEASES = `${SCHEMA}.budget_leases`;
const RECORDS = `${SCHEMA}.usage_records`;
const NOTES = `${SCHEMA}.in_flight_requests`;

/** The longest period, and an hour for clocks that are set back. */
const LONGEST_PERIOD = `interval '32 days'`;

/**
 * Which windows pay for which of the records in `fresh`: those that the record names, and those that cover it. The
 * latter are more when a budget was made meanwhile that its replica does not know of yet. Only what a replica counted on
 * comes out of its lease.
 *
 * @returns CTEs, of which the last is `pairs (record_id, window_id, named)`.
 */
const PAIRS = `
  subjects AS (
    SELECT 'user' AS kind, sub AS subject, min(admitted_at) AS first, max(admitted_at) AS last
      FROM fresh GROUP BY sub
     UNION ALL
    SELECT 'group_pool', g, min(admitted_at), max(admitted_at) FROM fresh, unnest(groups) g GROUP BY g
     UNION ALL
    SELECT 'organization_pool', '', min(admitted_at), max(admitted_at) FROM fresh HAVING count(*) > 0),
  covering AS MATERIALIZED (
    SELECT w.id, w.subject_kind, w.subject, w.starts_at, w.ends_at
      FROM subjects s
      JOIN ${WINDOWS} w ON w.subject_kind = s.kind AND w.subject = s.subject
       AND w.starts_at <= s.last AND w.starts_at > s.first - ${LONGEST_PERIOD} AND w.ends_at > s.first),
  pairs AS (
    SELECT f.id AS record_id, w.id AS window_id, true AS named FROM fresh f, unnest(f.window_ids) w (id)
     UNION ALL
    SELECT f.id, w.id, false FROM fresh f
      JOIN covering w ON w.subject_kind = 'user' AND w.subject = f.sub
     WHERE w.starts_at <= f.admitted_at AND w.ends_at > f.admitted_at AND w.id <> ALL (f.window_ids)
     UNION ALL
    SELECT DISTINCT f.id, w.id, false FROM fresh f, unnest(f.groups) g
      JOIN covering w ON w.subject_kind = 'group_pool' AND w.subject = g
     WHERE w.starts_at <= f.admitted_at AND w.ends_at > f.admitted_at AND w.id <> ALL (f.window_ids)
     UNION ALL
    SELECT f.id, w.id, false FROM fresh f
      JOIN covering w ON w.subject_kind = 'organization_pool'
     WHERE w.starts_at <= f.admitted_at AND w.ends_at > f.admitted_at AND w.id <> ALL (f.window_ids))`;

/**
 * Everything that a settlement does, in the order in which it takes its locks: records by id, windows by id, leases,
 * notes. Whoever takes several of these takes them in this order, so nobody waits in a circle.
 *
 * Rows that are changed are locked first and computed from as locked: that is their newest version, where the statement's
 * own snapshot may have an older one.
 *
 * @param parts.batch Selects the columns of a record and `window_ids`; `$1` is the replica.
 * @param parts.returns Selects `window_id` and `amount`.
 */
const settlement = (parts: { batch: string; returns: string }): string => `
  batch AS MATERIALIZED (${parts.batch}),
  returned AS MATERIALIZED (${parts.returns}),
  inserted AS (
    INSERT INTO ${RECORDS} (${RECORD_COLUMNS.join(', ')}) SELECT ${RECORD_COLUMNS.join(', ')} FROM batch ORDER BY id
    ON CONFLICT (id) DO NOTHING RETURNING id),
  fresh AS MATERIALIZED (SELECT b.* FROM inserted i JOIN batch b ON b.id = i.id),
  ${PAIRS},
  sums AS MATERIALIZED (
    SELECT p.window_id,
           sum(f.cost_nano_usd) AS nano_usd, sum(${FRESH_TOKENS('f')}) AS tokens, sum(${ALL_TOKENS('f')}) AS all_tokens,
           p.named
      FROM pairs p JOIN fresh f ON f.id = p.record_id GROUP BY p.window_id, p.named),
  locked AS MATERIALIZED (
    SELECT w.id, w.unit, w.spent, w.held
      FROM (SELECT window_id FROM sums UNION SELECT window_id FROM returned) t
      JOIN ${WINDOWS} w ON w.id = t.window_id
     ORDER BY w.id FOR NO KEY UPDATE OF w),
  leased AS MATERIALIZED (
    SELECT l.window_id, l.amount FROM locked w JOIN ${LEASES} l ON l.replica_id = $1::uuid AND l.window_id = w.id
       FOR NO KEY UPDATE OF l),
  charged AS (
    SELECT w.id, sum(c.amount)::bigint AS amount, sum(c.amount) FILTER (WHERE s.named) AS leased
      FROM locked w JOIN sums s ON s.window_id = w.id,
           LATERAL (SELECT CASE w.unit WHEN 'nano_usd' THEN s.nano_usd WHEN 'tokens' THEN s.tokens
                                       ELSE s.all_tokens END AS amount) c
     GROUP BY w.id),
  moves AS MATERIALIZED (
    SELECT w.id, w.spent, w.held, coalesce(c.amount, 0) AS charged, coalesce(l.amount, 0) AS leased,
           least(coalesce(l.amount, 0), coalesce(c.leased, 0) + coalesce(r.amount, 0))::bigint AS given
      FROM locked w
      LEFT JOIN charged c ON c.id = w.id
      LEFT JOIN leased l ON l.window_id = w.id
      LEFT JOIN (SELECT window_id, sum(amount) AS amount FROM returned GROUP BY window_id) r ON r.window_id = w.id),
  updated AS (
    UPDATE ${WINDOWS} w SET spent = w.spent + m.charged, held = w.held - m.given
      FROM moves m WHERE w.id = m.id AND (m.charged <> 0 OR m.given <> 0)),
  emptied AS (
    DELETE FROM ${LEASES} l USING moves m
     WHERE l.replica_id = $1::uuid AND l.window_id = m.id AND m.given > 0 AND m.given = m.leased),
  lessened AS (
    UPDATE ${LEASES} l SET amount = l.amount - m.given FROM moves m
     WHERE l.replica_id = $1::uuid AND l.window_id = m.id AND m.given > 0 AND m.given < m.leased)`;

/**
 * `$1` replica, `$2` settlements, `$3` returns, both as JSON. Rows: how many of the records are new, then window, spent,
 * held and what is left of the replica's lease; one row without a window when there is none.
 */
export const SETTLE: Statement = {
  name: 'claude_gateway_settle',
  text: `
  WITH ${settlement({
    batch: `
      SELECT DISTINCT ON (id) * FROM json_to_recordset($2::json) AS r (${RECORD_FIELDS}, window_ids uuid[]) ORDER BY id`,
    returns: `SELECT * FROM json_to_recordset($3::json) AS r (window_id uuid, amount bigint)`,
  })},
  forgotten AS (DELETE FROM ${NOTES} n USING batch b WHERE n.id = b.id)
  SELECT i.count, m.id, m.spent + m.charged, m.held - m.given, m.leased - m.given
    FROM (SELECT count(*) FROM inserted) i LEFT JOIN moves m ON true`,
};

/** More than anybody holds, and far from the end of what a bigint can add up. */
const EVERYTHING = 2n ** 62n;

/**
 * Locks a replica that has expired; the statement behind it then sees every lease of it, since leases are given out only
 * under a lock on that row. One that is locked already either lives or is being written off by somebody else.
 */
export const writeOffGate = (replicaId: string): string => `
  WITH gate AS MATERIALIZED (${CHARGE_GATE})
  SELECT FROM gate, ${SCHEMA}.replicas r
   WHERE r.id = '${replicaId}' AND r.expires_at < clock_timestamp() FOR UPDATE OF r SKIP LOCKED`;

/** `$1` replica. No row when it lives, or somebody else is at it. Else its name, requests charged, windows given back to. */
export const WRITE_OFF: Statement = {
  name: 'claude_gateway_write_off',
  text: `
  WITH dead AS MATERIALIZED (
    SELECT r.id, r.name FROM ${SCHEMA}.replicas r
     WHERE r.id = $1::uuid AND r.expires_at < clock_timestamp() FOR UPDATE SKIP LOCKED),
  ${settlement({
    batch: `
      SELECT r.*, n.window_ids FROM dead d JOIN ${NOTES} n ON n.replica_id = d.id,
             jsonb_to_record(n.record) AS r (${RECORD_FIELDS})`,
    returns: `
      SELECT l.window_id, ${EVERYTHING} AS amount FROM dead d JOIN ${LEASES} l ON l.replica_id = d.id`,
  })},
  forgotten AS (DELETE FROM ${NOTES} n USING dead d WHERE n.replica_id = d.id),
  gone AS (DELETE FROM ${SCHEMA}.replicas r USING dead d WHERE r.id = d.id)
  SELECT d.name, (SELECT count(*) FROM inserted), (SELECT count(*) FROM moves WHERE given > 0) FROM dead d`,
};

/**
 * Records that were written off although their request lived: `$1` settlements as JSON. The windows have counted the
 * floor and count the difference now; nothing comes out of a lease, since the one they were held in is gone. Rows: window,
 * spent, held.
 */
export const CORRECT: Statement = {
  name: 'claude_gateway_correct',
  text: `
  WITH batch AS MATERIALIZED (
    SELECT DISTINCT ON (id) * FROM json_to_recordset($1::json) AS r (${RECORD_FIELDS}, window_ids uuid[]) ORDER BY id),
  floors AS MATERIALIZED (
    SELECT u.* FROM batch b JOIN ${RECORDS} u ON u.id = b.id
     WHERE u.outcome = 'abandoned' AND b.outcome <> 'abandoned' ORDER BY u.id FOR NO KEY UPDATE OF u),
  fresh AS MATERIALIZED (SELECT b.* FROM floors u JOIN batch b ON b.id = u.id),
  ${PAIRS},
  locked AS MATERIALIZED (
    SELECT w.id, w.unit, w.spent, w.held
      FROM (SELECT DISTINCT window_id FROM pairs) t JOIN ${WINDOWS} w ON w.id = t.window_id
     ORDER BY w.id FOR NO KEY UPDATE OF w),
  moves AS MATERIALIZED (
    SELECT w.id, w.spent, w.held,
           sum((${amountOf('f', 'w.unit')}) - (${amountOf('u', 'w.unit')}))::bigint AS charged
      FROM pairs p JOIN locked w ON w.id = p.window_id
      JOIN fresh f ON f.id = p.record_id JOIN floors u ON u.id = p.record_id
     GROUP BY w.id, w.spent, w.held),
  updated AS (UPDATE ${WINDOWS} w SET spent = w.spent + m.charged FROM moves m WHERE w.id = m.id AND m.charged <> 0),
  corrected AS (
    UPDATE ${RECORDS} u SET settled_at = clock_timestamp(),
           ${RECORD_COLUMNS.filter((column) => column !== 'id')
             .map((column) => `${column} = f.${column}`)
             .join(', ')}
      FROM fresh f WHERE u.id = f.id)
  SELECT m.id, m.spent + m.charged, m.held FROM moves m`,
};
