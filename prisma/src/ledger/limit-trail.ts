import type pg from 'pg';
import { SCHEMA } from '../connection.ts';
import type { LimitChange, SpendLimit } from './limit-types.ts';

/** What the names of these actions begin with in admin_audit, which others write to as well. */
export const ACTION_PREFIX = 'spend_limit.';

const TRAIL = `
  INSERT INTO ${SCHEMA}.admin_audit (recorded_at, actor, action, target_id, before, after, reason)
  VALUES ($1, $2, $3, $4, $5, $6, $7)`;

const NANO_USD_PER_CENT = 10_000_000n;
const CENT_DECIMALS = 7;

/** Writes down who changed a limit, in the transaction of the change. */
export async function writeTrail(
  client: pg.PoolClient,
  change: {
    readonly actor: string;
    readonly before: SpendLimit | null;
    readonly after: SpendLimit | null;
    readonly reason: string | null;
    readonly now: Date;
  },
): Promise<void> {
  const { actor, before, after, reason, now } = change;
  const action: LimitChange['action'] = before === null ? 'create' : after === null ? 'delete' : 'update';
  await client.query(TRAIL, [
    now,
    actor,
    `${ACTION_PREFIX}${action}`,
    (after ?? before)?.id,
    snapshotOf(before),
    snapshotOf(after),
    reason,
  ]);
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
