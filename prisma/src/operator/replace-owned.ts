import type pg from 'pg';
import type { Database } from '../database.ts';
import { writeTrail } from '../ledger/limit-trail.ts';
import { bumpRevision, lockRevision } from '../ledger/policy-revision.ts';
import { planLimits, wantedLimits } from './owned-limits.ts';
import { planPolicies, wantedPolicies } from './owned-policies.ts';
import { chunksOf, type Query } from './rows.ts';
import type { OperatorPolicyStore, OwnedRows } from './types.ts';

/** For one statement, for the turn of somebody else who writes thousands of rows, and for comparing as many. In ms. */
const TIMEOUT_MS = 60_000;

/** See {@link OperatorPolicyStore.replaceOwned}. */
export async function replaceOwned(
  database: Database,
  changes: readonly OwnedRows[],
  now: Date,
): ReturnType<OperatorPolicyStore['replaceOwned']> {
  const owners = new Set<string>();
  for (const { owner } of changes) {
    if (owner.uid === '') throw new Error(`${owner.kind} ${owner.namespace}/${owner.name} has no uid`);
    if (owners.has(owner.uid))
      throw new Error(`${owner.kind} ${owner.namespace}/${owner.name} is named twice`);
    owners.add(owner.uid);
  }
  const limits = wantedLimits(changes);
  const policies = wantedPolicies(changes);

  return database.transaction(async (client) => {
    await client.query(
      `SET LOCAL statement_timeout = ${TIMEOUT_MS}; SET LOCAL idle_in_transaction_session_timeout = ${TIMEOUT_MS}`,
    );
    const query = patiently(client);
    const revision = await lockRevision(client, now, TIMEOUT_MS + 1_000);
    const plans = [await planLimits(query, limits, now), await planPolicies(query, policies, now)];
    const changed = new Set(plans.flatMap((plan) => [...plan.changed]));
    if (changed.size === 0) return { revision, changed: [] };
    for (const { text, values } of plans.flatMap(({ statements }) => statements)) await query(text, values);
    for (const entries of chunksOf(plans.flatMap(({ trail }) => trail)))
      await writeTrail(client, entries, now);
    return { revision: await bumpRevision(client, now), changed: [...changed] };
  });
}

function patiently(client: pg.PoolClient): Query {
  return async <Row extends pg.QueryResultRow>(text: string, values: unknown[]) => {
    const query = { text, values, query_timeout: TIMEOUT_MS + 1_000 };
    return (await client.query<Row>(query)).rows;
  };
}
