import { SCHEMA } from '../connection.ts';
import type { Statement } from '../gated-query.ts';
import { LOCK_CLASS } from '../migrations.ts';
import { MAX_AMOUNT, MAX_SPENT } from './amounts.ts';
import { ALL_TOKENS, FRESH_TOKENS, RECORD_COLUMNS, RECORD_FIELDS } from './records.ts';
import { BY_INDEX, putWindows } from './windows.ts';

/** Advisory lock of migrations.ts' class: 1 migrations, 2 the sweeper, 3 the rollup. */
const LOCK_OBJECT = 4;

/** For everything that charges. */
export const CHARGE_GATE = `SELECT pg_advisory_xact_lock_shared(${LOCK_CLASS}, ${LOCK_OBJECT}), ${BY_INDEX}`;
/** For whoever must see everything that was charged, and nothing charged meanwhile. */
export const OPEN_GATE = `SELECT pg_advisory_xact_lock(${LOCK_CLASS}, ${LOCK_OBJECT})`;

const WINDOWS = `${SCHEMA}.budget_windows`;
const LEASES = `${SCHEMA}.budget_leases`;
const RECORDS = `${SCHEMA}.usage_records`;
const NOTES = `${SCHEMA}.in_flight_requests`;

/** The longest period, and an hour for clocks that are set back. */
const LONGEST_PERIOD = `interval '32 days'`;

const COUNTED = `f.cost_nano_usd AS nano_usd, ${FRESH_TOKENS('f')} AS tokens, ${ALL_TOKENS('f')} AS all_tokens`;

const covered = (kind: string, from: string, condition: string): string => `
    SELECT ${from === '' ? '' : 'DISTINCT '}f.id AS record_id, w.id AS window_id, false AS named, ${COUNTED}
      FROM fresh f${from} JOIN covering w ON w.subject_kind = '${kind}' AND ${condition}
       AND w.starts_at <= f.admitted_at AND w.ends_at > f.admitted_at AND w.id <> ALL (f.window_ids)`;

/**
 * Which windows pay for which of the records in `fresh`: those that the record names, and those that cover it. The
 * latter are more when a budget was made meanwhile that its replica does not know of yet. Only what a replica counted on
 * comes out of its lease.
 *
 * @returns CTEs, of which the last is `pairs (record_id, window_id, named, nano_usd, tokens, all_tokens)`.
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
    SELECT w.* FROM subjects s CROSS JOIN LATERAL (
      SELECT w.id, w.subject_kind, w.subject, w.starts_at, w.ends_at FROM ${WINDOWS} w
       WHERE w.subject_kind = s.kind AND w.subject = s.subject
         AND w.starts_at <= s.last AND w.starts_at > s.first - ${LONGEST_PERIOD} AND w.ends_at > s.first
         AND NOT w.named_only
      OFFSET 0) w),
  pairs AS (
    SELECT f.id AS record_id, w.id AS window_id, true AS named, ${COUNTED} FROM fresh f, unnest(f.window_ids) w (id)
     UNION ALL ${covered('user', '', 'w.subject = f.sub')}
     UNION ALL ${covered('group_pool', ' CROSS JOIN LATERAL unnest(f.groups) g', 'w.subject = g')}
     UNION ALL ${covered('organization_pool', '', 'true')})`;

/** In the unit of the window. */
const inUnit = (prefix: string): string => `
  CASE w.unit WHEN 'nano_usd' THEN t.${prefix}nano_usd WHEN 'tokens' THEN t.${prefix}tokens
              ELSE t.${prefix}all_tokens END`;

/** What is charged, as a bigint: what an upstream says that it used adds up to no more than a window can count. */
const charged = (sum: string): string => `greatest(least(${sum}, ${MAX_AMOUNT}), -${MAX_AMOUNT})::bigint`;

/** What is spent of a window in `moves`, after it. */
const SUM = `greatest(least(spent + charged, ${MAX_SPENT}), 0)`;

/**
 * Everything that a settlement does, in the order in which it takes its locks: records by id, windows by id, each with the
 * replica's lease, notes. Whoever takes several of these takes them in this order, so nobody waits in a circle.
 *
 * Rows that are changed are locked first and computed from as locked: that is their newest version, where the statement's
 * own snapshot may have an older one.
 *
 * @param parts.batch Selects the columns of a record and `window_ids`; `$1` is the replica.
 * @param parts.returns Selects `window_id` and `amount`.
 */
const settlement = (parts: { batch: string; returns: string }): string => `
  batch AS MATERIALIZED (${parts.batch}),
  inserted AS (
    INSERT INTO ${RECORDS} (${RECORD_COLUMNS.join(', ')}) SELECT ${RECORD_COLUMNS.join(', ')} FROM batch ORDER BY id
    ON CONFLICT (id) DO NOTHING RETURNING id),
  fresh AS MATERIALIZED (SELECT b.* FROM inserted i JOIN batch b ON b.id = i.id),
  ${PAIRS},
  totals AS MATERIALIZED (
    SELECT window_id,
           sum(nano_usd) AS nano_usd, sum(tokens) AS tokens, sum(all_tokens) AS all_tokens,
           sum(nano_usd) FILTER (WHERE named) AS named_nano_usd, sum(tokens) FILTER (WHERE named) AS named_tokens,
           sum(all_tokens) FILTER (WHERE named) AS named_all_tokens, sum(returned) AS returned
      FROM (SELECT window_id, named, nano_usd, tokens, all_tokens, 0 AS returned FROM pairs
             UNION ALL
            SELECT window_id, false, 0, 0, 0, amount FROM (${parts.returns}) r) p
     GROUP BY window_id ORDER BY window_id),
  moves AS MATERIALIZED (
    SELECT w.id, w.spent, w.held, ${charged(inUnit(''))} AS charged, coalesce(l.amount, 0) AS leased,
           least(coalesce(l.amount, 0), coalesce(${inUnit('named_')}, 0) + t.returned)::bigint AS given
      FROM totals t
     CROSS JOIN LATERAL (
           SELECT w.id, w.unit, w.spent, w.held FROM ${WINDOWS} w WHERE w.id = t.window_id FOR NO KEY UPDATE) w
      LEFT JOIN LATERAL (
           SELECT l.amount FROM ${LEASES} l
            WHERE l.replica_id = $1::uuid AND l.window_id = w.id FOR NO KEY UPDATE) l ON true),
  updated AS (${putWindows(`SELECT id, ${SUM}, held - given FROM moves WHERE charged <> 0 OR given <> 0`)}),
  emptied AS (
    DELETE FROM ${LEASES} WHERE replica_id = $1::uuid
       AND window_id = ANY (ARRAY(SELECT id FROM moves WHERE given > 0 AND given = leased))),
  lessened AS (
    INSERT INTO ${LEASES} (replica_id, window_id, amount)
    SELECT $1::uuid, id, leased - given FROM moves WHERE given > 0 AND given < leased
    ON CONFLICT (replica_id, window_id) DO UPDATE SET amount = excluded.amount)`;

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
  forgotten AS (DELETE FROM ${NOTES} WHERE id = ANY (ARRAY(SELECT id FROM batch)))
  SELECT i.count, m.id, ${SUM}, m.held - m.given, m.leased - m.given
    FROM (SELECT count(*) FROM inserted) i LEFT JOIN moves m ON true`,
};

/** More than anybody holds, and far from the end of what a bigint can add up. */
const EVERYTHING = 2n ** 62n;

/** Of the transaction: the replica whose row its gate has locked. */
const WRITING_OFF = `${SCHEMA}.writing_off`;

/**
 * Locks a replica that has expired; the statement behind it then sees every lease of it, since leases are given out only
 * under a lock on that row. One that is locked already either lives or is being written off by somebody else: it is left
 * alone, also when its lock is gone a moment later, since what was leased under that lock may not be seen yet.
 */
export const writeOffGate = (replicaId: string): string => `
  WITH gate AS MATERIALIZED (${CHARGE_GATE}),
  dead AS MATERIALIZED (
    SELECT r.id FROM gate, ${SCHEMA}.replicas r
     WHERE r.id = '${replicaId}' AND r.expires_at < clock_timestamp() FOR UPDATE OF r SKIP LOCKED)
  SELECT set_config('${WRITING_OFF}', id::text, true) FROM dead`;

/** `$1` replica. No row when it lives, or somebody else is at it. Else its name, requests charged, windows given back to. */
export const WRITE_OFF: Statement = {
  name: 'claude_gateway_write_off',
  text: `
  WITH dead AS MATERIALIZED (
    SELECT r.id, r.name FROM ${SCHEMA}.replicas r
     WHERE r.id = $1::uuid AND current_setting('${WRITING_OFF}', true) = $1::uuid::text),
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
    SELECT u.* FROM batch b CROSS JOIN LATERAL (
      SELECT u.* FROM ${RECORDS} u
       WHERE u.id = b.id AND u.outcome = 'abandoned' AND b.outcome <> 'abandoned' FOR NO KEY UPDATE) u),
  fresh AS MATERIALIZED (SELECT b.* FROM floors u JOIN batch b ON b.id = u.id),
  ${PAIRS},
  differences AS MATERIALIZED (
    SELECT p.window_id, sum(p.nano_usd - f.cost_nano_usd) AS nano_usd, sum(p.tokens - (${FRESH_TOKENS('f')})) AS tokens,
           sum(p.all_tokens - (${ALL_TOKENS('f')})) AS all_tokens
      FROM pairs p JOIN floors f ON f.id = p.record_id GROUP BY p.window_id ORDER BY p.window_id),
  moves AS MATERIALIZED (
    SELECT w.id, w.spent, w.held, ${charged(inUnit(''))} AS charged
      FROM differences t
     CROSS JOIN LATERAL (
           SELECT w.id, w.unit, w.spent, w.held FROM ${WINDOWS} w WHERE w.id = t.window_id FOR NO KEY UPDATE) w),
  updated AS (${putWindows(`SELECT id, ${SUM}, held FROM moves WHERE charged <> 0`)}),
  corrected AS (
    UPDATE ${RECORDS} u SET settled_at = clock_timestamp(),
           ${RECORD_COLUMNS.filter((column) => column !== 'id')
             .map((column) => `${column} = f.${column}`)
             .join(', ')}
      FROM fresh f WHERE u.id = f.id)
  SELECT m.id, ${SUM}, m.held FROM moves m`,
};
