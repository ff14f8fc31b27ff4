import type { Database } from '../database.ts';
import { SCHEMA } from '../connection.ts';
import { COLUMNS, limitOf, type LimitRow } from '../ledger/limit-rows.ts';
import type { LimitContent, LimitOwner, SpendLimit } from '../ledger/limit-types.ts';
import { REVISION } from '../ledger/policy-revision.ts';
import { POLICY_COLUMNS, policyOf, type PolicyRow } from '../managed/policy-rows.ts';
import type { ManagedPolicyContent, ManagedPolicyRow } from '../managed/types.ts';
import type { OperatorPolicyStore } from './types.ts';

const LIMITS = `SELECT ${COLUMNS} FROM ${SCHEMA}.spend_limits WHERE owner_uid <> '' ORDER BY sequence`;

const POLICIES = `
  SELECT ${POLICY_COLUMNS} FROM ${SCHEMA}.managed_policies ORDER BY position, name COLLATE "C"`;

/** Thousands of rows. In ms. */
const TIMEOUT_MS = 30_000;

interface Owned {
  readonly owner: LimitOwner;
  policyName: string;
  limits?: LimitContent[];
  managed?: ManagedPolicyContent[];
}

/** See {@link OperatorPolicyStore.readOwned}. */
export async function readOwned(database: Database): ReturnType<OperatorPolicyStore['readOwned']> {
  const { revision, limits, policies } = await database.transaction(async (client) => {
    // All statements see one moment.
    await client.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY');
    await client.query(`SET LOCAL statement_timeout = ${TIMEOUT_MS}`);
    const slowly = (text: string): { text: string; query_timeout: number } => ({
      text,
      query_timeout: TIMEOUT_MS + 1_000,
    });
    const { rows: revisions } = await client.query<{ revision: string }>(`SELECT ${REVISION} AS revision`);
    const { rows: limits } = await client.query<LimitRow>(slowly(LIMITS));
    const { rows: policies } = await client.query<PolicyRow>(slowly(POLICIES));

    return { revision: BigInt(revisions[0]?.revision ?? 0), limits, policies };
  });

  const owned = new Map<string, Owned>();
  const of = (owner: LimitOwner): Owned => {
    let rows = owned.get(owner.uid);
    if (rows === undefined) owned.set(owner.uid, (rows = { owner, policyName: owner.name }));
    return rows;
  };
  for (const limit of limits.map(limitOf)) {
    if (limit.owner === null) continue;
    const rows = of(limit.owner);
    rows.policyName = limit.policyName ?? '';
    (rows.limits ??= []).push(contentOf(limit));
  }
  for (const policy of policies.map(policyOf))
    (of(policy.owner).managed ??= []).push(policyContentOf(policy));
  return { revision, owned };
}

export function contentOf(limit: SpendLimit): LimitContent {
  const { scope, period, unit, sharing, amount, mode, whenShort, failurePolicy, timeZone } = limit;
  const { warnAtPercent, blockedMessage } = limit;
  return {
    ...{ scope, period, unit, sharing, amount, mode, whenShort, failurePolicy, timeZone },
    ...{ warnAtPercent, blockedMessage },
  };
}

function policyContentOf({ name, priority, position, document }: ManagedPolicyRow): ManagedPolicyContent {
  return { name, priority, position, document };
}
