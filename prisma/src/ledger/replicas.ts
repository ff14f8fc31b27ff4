import { SCHEMA } from '../connection.ts';
import type { Statement } from '../gated-query.ts';

/**
 * `$1` replica, `$2` name, `$3` policy revision, `$4` time to live in ms, `$5` requests to note as JSON, `$6` version of the
 * program, `$7` whether it hears notifications. Also removes notes of what
 * was settled: one that was on its way while its request was settled comes after it. One row: whether the replica was on the list. (A row that was inserted has no xmax; one that was updated keeps the lock that ON CONFLICT
 * took on it.)
 */
export const HEARTBEAT: Statement = {
  name: 'claude_gateway_heartbeat',
  text: `
  WITH beat AS (
    INSERT INTO ${SCHEMA}.replicas AS r (id, name, policy_revision, expires_at, seen_at, version, hears)
    VALUES ($1::uuid, $2::text, $3::bigint, clock_timestamp() + $4::integer * interval '1 ms', clock_timestamp(),
            $6::text, $7::boolean)
    ON CONFLICT (id) DO UPDATE
       SET name = excluded.name, policy_revision = excluded.policy_revision, expires_at = excluded.expires_at,
           seen_at = excluded.seen_at, version = excluded.version,
           hears = excluded.hears
    RETURNING r.xmax <> 0 AS known),
  noted AS (
    INSERT INTO ${SCHEMA}.in_flight_requests (id, replica_id, window_ids, record)
    SELECT n.id, $1::uuid, n.window_ids, n.record
      FROM json_to_recordset($5::json) AS n (id uuid, window_ids uuid[], record jsonb)
     WHERE NOT EXISTS (SELECT FROM ${SCHEMA}.usage_records u WHERE u.id = n.id AND u.outcome <> 'abandoned')
     ORDER BY n.id
    ON CONFLICT (id) DO NOTHING),
  settled AS (
    DELETE FROM ${SCHEMA}.in_flight_requests WHERE id = ANY (ARRAY(
      SELECT n.id FROM ${SCHEMA}.in_flight_requests n
       WHERE n.replica_id = $1::uuid
         AND EXISTS (SELECT FROM ${SCHEMA}.usage_records u WHERE u.id = n.id AND u.outcome <> 'abandoned')
         FOR UPDATE SKIP LOCKED)))
  SELECT known FROM beat`,
};

/** Behind it every lease of the replica is seen, since leases are given out only under a lock on this row. */
export const leaveGate = (replicaId: string): string =>
  `SELECT FROM ${SCHEMA}.replicas WHERE id = '${replicaId}' FOR UPDATE`;

/** `$1` replica. */
export const LEAVE: Statement = {
  name: 'claude_gateway_leave',
  text: `
  WITH locked AS MATERIALIZED (
    SELECT w.id FROM ${SCHEMA}.budget_leases l JOIN ${SCHEMA}.budget_windows w ON w.id = l.window_id
     WHERE l.replica_id = $1::uuid ORDER BY w.id FOR NO KEY UPDATE OF w),
  given AS (
    DELETE FROM ${SCHEMA}.budget_leases l USING locked w WHERE l.replica_id = $1::uuid AND l.window_id = w.id
    RETURNING l.window_id, l.amount),
  updated AS (
    UPDATE ${SCHEMA}.budget_windows w SET held = w.held - g.amount FROM given g WHERE w.id = g.window_id),
  forgotten AS (DELETE FROM ${SCHEMA}.in_flight_requests WHERE replica_id = $1::uuid)
  DELETE FROM ${SCHEMA}.replicas WHERE id = $1::uuid`,
};

/** Rows: replicas whose time is up. */
export const EXPIRED = `SELECT id FROM ${SCHEMA}.replicas WHERE expires_at < clock_timestamp() ORDER BY id`;
