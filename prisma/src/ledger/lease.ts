import { SCHEMA } from '../connection.ts';
import type { Statement } from '../gated-query.ts';

/**
 * `$1` replica, `$2` asks as JSON. Rows: window, spent, held, granted, leased.
 *
 * A window is locked only when something can be granted: reading, and refusing when there is nothing, writes nothing.
 * What is granted is computed from the locked rows, their newest versions. The replica's own row is locked against being
 * written off meanwhile; one that is not on the list is granted nothing, since nobody would ever take it back.
 */
export const LEASE: Statement = {
  name: 'claude_gateway_lease',
  text: `
  WITH asks AS MATERIALIZED (
    SELECT * FROM json_to_recordset($2::json) AS r (window_id uuid, cap bigint, need bigint, extra bigint)),
  known AS MATERIALIZED (
    SELECT w.id, w.spent, w.held, a.cap, a.need, a.extra
      FROM asks a JOIN ${SCHEMA}.budget_windows w ON w.id = a.window_id),
  hopeful AS MATERIALIZED (SELECT id FROM known WHERE need + extra > 0 AND spent + held < cap),
  replica AS MATERIALIZED (
    SELECT r.id FROM ${SCHEMA}.replicas r WHERE r.id = $1::uuid AND EXISTS (SELECT FROM hopeful) FOR KEY SHARE),
  locked AS MATERIALIZED (
    SELECT w.id, w.spent, w.held FROM replica r, hopeful h JOIN ${SCHEMA}.budget_windows w ON w.id = h.id
     ORDER BY w.id FOR NO KEY UPDATE OF w),
  grants AS MATERIALIZED (
    SELECT l.id, l.spent, l.held, k.cap,
           least(free.amount, k.need + least(k.extra, greatest(free.amount - k.need, 0) / 4)) AS granted
      FROM locked l JOIN known k ON k.id = l.id,
           LATERAL (SELECT greatest(k.cap - l.spent - l.held, 0) AS amount) free),
  held AS (
    UPDATE ${SCHEMA}.budget_windows w SET held = w.held + g.granted, cap = g.cap
      FROM grants g WHERE w.id = g.id AND g.granted > 0),
  leased AS (
    INSERT INTO ${SCHEMA}.budget_leases AS l (replica_id, window_id, amount)
    SELECT $1::uuid, id, granted FROM grants WHERE granted > 0 ORDER BY id
    ON CONFLICT (replica_id, window_id) DO UPDATE SET amount = l.amount + excluded.amount
    RETURNING window_id, amount)
  SELECT k.id, coalesce(g.spent, k.spent), coalesce(g.held + g.granted, k.held), coalesce(g.granted, 0),
         coalesce(n.amount, l.amount, 0)
    FROM known k
    LEFT JOIN grants g ON g.id = k.id
    LEFT JOIN leased n ON n.window_id = k.id
    LEFT JOIN ${SCHEMA}.budget_leases l ON l.replica_id = $1::uuid AND l.window_id = k.id`,
};
