import { SCHEMA } from '../connection.ts';

export const RECALL_CHANNEL = `${SCHEMA}_recalls`;

/** How often a replica that hears nothing looks for recalls while it holds something, in ms. */
export const RECALL_POLL_MS = 150;
/** A recall is found for so long: several looks, and a slow one. It repeats nothing to give back twice. */
const RECALL_FOUND_FOR = `interval '2 seconds'`;

const RECALLS = `${SCHEMA}.budget_recalls`;

/**
 * `$1` replica, `$2` windows, `$3` channel, `$4` payload. Tells those that hear, and writes it down where some replica does
 * not. One row: whether there is one.
 */
export const RECALL = `
  WITH deaf AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM ${SCHEMA}.replicas
                    WHERE NOT hears AND id <> $1::uuid AND expires_at > clock_timestamp()) AS found),
  written AS (
    INSERT INTO ${RECALLS} (window_id, replica_id, recalled_at)
    SELECT DISTINCT w.id, $1::uuid, clock_timestamp() FROM deaf, unnest($2::uuid[]) w (id) WHERE deaf.found ORDER BY w.id
    ON CONFLICT (window_id, replica_id) DO UPDATE SET recalled_at = excluded.recalled_at)
  SELECT found, pg_notify($3, $4) FROM deaf`;

/** `$1` replicas that recall here. Rows: windows that others are short of. */
export const READ_RECALLS = `
  SELECT DISTINCT window_id AS id FROM ${RECALLS}
   WHERE recalled_at > clock_timestamp() - ${RECALL_FOUND_FOR} AND replica_id <> ALL ($1::uuid[])`;
