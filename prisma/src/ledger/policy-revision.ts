import type pg from 'pg';
import { SCHEMA } from '../connection.ts';
import type { Database } from '../database.ts';
import type { Notifications } from '../notifications.ts';

/** Says that the policy is another one; the payload is its revision. */
const POLICY_CHANNEL = `${SCHEMA}_policy`;

/** An expression: the revision as text. */
export const REVISION = `
  coalesce((SELECT revision FROM ${SCHEMA}.policy_revision WHERE id = 1), 0)::text`;

const CREATE = `
  INSERT INTO ${SCHEMA}.policy_revision (id, revision, changed_at) VALUES (1, 0, $1) ON CONFLICT DO NOTHING`;

/** Changes take their turns; statements after this one see what the last change committed. */
const LOCK = `SELECT revision::text FROM ${SCHEMA}.policy_revision WHERE id = 1 FOR UPDATE`;

/** Notifications go out when the transaction commits. */
const BUMP = `
  WITH bumped AS (
    UPDATE ${SCHEMA}.policy_revision SET revision = revision + 1, changed_at = $1 WHERE id = 1 RETURNING revision
  )
  SELECT revision::text, pg_notify('${POLICY_CHANNEL}', revision::text) FROM bumped`;

export async function readRevision(database: Database): Promise<bigint> {
  const [row] = await database.query<{ revision: string }>(`SELECT ${REVISION} AS revision`);
  return BigInt(row?.revision ?? 0);
}

/** @returns a function that ends it. */
export function onPolicyChange(
  notifications: Pick<Notifications, 'listen'>,
  listener: () => void,
): () => void {
  return notifications.listen(POLICY_CHANNEL, listener, listener);
}

/**
 * Before every change of what the revision stands for, in its transaction.
 *
 * @param query_timeout In ms, where it may take longer than usual until it is this one's turn.
 * @returns the present revision.
 */
export async function lockRevision(
  client: pg.PoolClient,
  now: Date,
  query_timeout?: number,
): Promise<bigint> {
  const lock = { text: LOCK, query_timeout };
  let row = (await client.query<{ revision: string }>(lock)).rows[0];
  if (row === undefined) {
    await client.query(CREATE, [now]);
    row = (await client.query<{ revision: string }>(lock)).rows[0];
  }
  return BigInt(row?.revision ?? 0);
}

/** After every change, in its transaction. @returns the revision that has it. */
export async function bumpRevision(client: pg.PoolClient, now: Date): Promise<bigint> {
  const { rows } = await client.query<{ revision: string }>(BUMP, [now]);
  return BigInt(rows[0]?.revision ?? 0);
}
