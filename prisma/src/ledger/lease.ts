import { SCHEMA } from '../connection.ts';
import type { Statement } from '../gated-query.ts';
import { BY_INDEX, putWindows } from './windows.ts';

export const LEASE_GATE = `SELECT ${BY_INDEX}`;

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
  WITH known AS MATERIALIZED (
    SELECT w.id, w.spent, w.held, a.cap, a.need, a.extra
      FROM json_to_recordset($2::json) AS a (window_id uuid, cap bigint, need bigint, extra bigint)
     CROSS JOIN LATERAL (
           SELECT w.id, w.spent, w.held FROM ${SCHEMA}.budget_windows w WHERE w.id = a.window_id OFFSET 0) w),
  hopeful AS MATERIALIZED (
    SELECT id, cap, need, extra FROM known WHERE need + extra > 0 AND spent + held < cap ORDER BY id),
  replica AS MATERIALIZED (
    SELECT FROM ${SCHEMA}.replicas r WHERE r.id = $1::uuid AND EXISTS (SELECT FROM hopeful) FOR KEY SHARE),
  grants AS MATERIALIZED (
    SELECT w.id, w.spent, w.held, h.cap,
           least(free.amount, h.need + least(h.extra, greatest(free.amount - h.need, 0) / 4)) AS granted
      FROM hopeful h
     CROSS JOIN LATERAL (
           SELECT w.id, w.spent, w.held FROM ${SCHEMA}.budget_windows w
            WHERE w.id = h.id AND EXISTS (SELECT FROM replica) FOR NO KEY UPDATE) w
     CROSS JOIN LATERAL (SELECT greatest(h.cap - w.spent - w.held, 0) AS amount) free),
  held AS (
    ${putWindows(`SELECT id, spent, held + granted, cap FROM grants WHERE granted > 0`, ['cap'])}),
  leased AS (
    INSERT INTO ${SCHEMA}.budget_leases AS l (replica_id, window_id, amount)
    SELECT $1::uuid, id, granted FROM grants WHERE granted > 0
    ON CONFLICT (replica_id, window_id) DO UPDATE SET amount = l.amount + excluded.amount
    RETURNING window_id, amount)
  SELECT k.id, coalesce(g.spent, k.spent), coalesce(g.held + g.granted, k.held), coalesce(g.granted, 0),
         coalesce(n.amount, l.amount, 0)
    FROM known k
    LEFT JOIN grants g ON g.id = k.id
    LEFT JOIN leased n ON n.window_id = k.id
    LEFT JOIN LATERAL (
         SELECT l.amount FROM ${SCHEMA}.budget_leases l
          WHERE l.replica_id = $1::uuid AND l.window_id = k.id OFFSET 0) l ON true`,
};
