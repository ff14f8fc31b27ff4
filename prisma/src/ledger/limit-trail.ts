import type pg from 'pg';
import { SCHEMA } from '../connection.ts';
import type { LimitChange, SpendLimit } from './limit-types.ts';

/** What the names of these actions begin with in admin_audit, which others write to as well. */
export const ACTION_PREFIX = 'spend_limit.';

/** Parameters: now, and the changes as JSON. Entries are numbered in their order. */
const TRAIL = `
  INSERT INTO ${SCHEMA}.admin_audit (recorded_at, actor, action, target_id, before, after, reason)
  SELECT $1::timestamptz, actor, action, target_id, before::jsonb, after::jsonb, reason
    FROM json_to_recordset($2::json)
         AS c (n integer, actor text, action text, target_id text, before text, after text, reason text)
   ORDER BY n`;

const NANO_USD_PER_CENT = 10_000_000n;
const CENT_DECIMALS = 7;

/** A change to be written down: see {@link writeTrail}. */
export interface TrailEntry {
  readonly actor: string;
  readonly action: string;
  readonly targetId: string | undefined;
  /** JSON */
  readonly before: string | null;
  readonly after: string | null;
  readonly reason: string | null;
}

/** How the change of a limit is written down. */
export function limitChange(change: {
  readonly actor: string;
  readonly before: SpendLimit | null;
  readonly after: SpendLimit | null;
  readonly reason: string | null;
}): TrailEntry {
  const { actor, before, after, reason } = change;
  const action: LimitChange['action'] = before === null ? 'create' : after === null ? 'delete' : 'update';
  return {
    actor,
    action: `${ACTION_PREFIX}${action}`,
    targetId: (after ?? before)?.id,
    before: snapshotOf(before),
    after: snapshotOf(after),
    reason,
  };
}

/** Writes down who changed what, in the transaction of the change. */
export async function writeTrail(
  client: pg.PoolClient,
  entries: readonly TrailEntry[],
  now: Date,
): Promise<void> {
  const rows = entries.map(({ targetId, ...entry }, n) => ({ n, target_id: targetId, ...entry }));
  await client.query(TRAIL, [now, JSON.stringify(rows)]);
}

/** A limit as the admin API writes it: dollars in cents, as decimal strings. */
function snapshotOf(limit: SpendLimit | null): string | null {
  if (limit === null) return null;
  const dollars = limit.unit === 'nano_usd';
  return JSON.stringify({
    id: limit.id,
    scope: scopeView(limit.scope),
    amount: limit.amount === null ? null : dollars ? cents(limit.amount) : limit.amount.toString(),
    period: limit.period,
    currency: dollars ? 'USD' : null,
    created_at: limit.createdAt,
    updated_at: limit.updatedAt,
    unit: dollars ? 'usd' : limit.unit,
    sharing: limit.sharing,
    mode: limit.mode,
    when_short: limit.whenShort,
    failure_policy: limit.failurePolicy,
    time_zone: limit.timeZone,
    warn_at_percent: limit.warnAtPercent,
    blocked_message: limit.blockedMessage,
    policy: limit.policyName,
    owner: limit.owner,
  });
}

function scopeView(scope: SpendLimit['scope']): Record<string, string> {
  switch (scope.type) {
    case 'organization':
      return { type: scope.type };
    case 'rbac_group':
      return { type: scope.type, rbac_group_id: scope.group };
    case 'user':
      return { type: scope.type, user_id: scope.user };
  }
}

function cents(nanoUsd: bigint): string {
  const rest = nanoUsd % NANO_USD_PER_CENT;
  const whole = (nanoUsd / NANO_USD_PER_CENT).toString();
  return rest === 0n ? whole : `${whole}.${rest.toString().padStart(CENT_DECIMALS, '0').replace(/0+$/, '')}`;
}
