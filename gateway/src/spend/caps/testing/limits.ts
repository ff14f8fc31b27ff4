import type { LimitScope, SpendLimit } from '@claude-gateway/prisma';

export const ORGANIZATION: LimitScope = { type: 'organization' };

export function group(name: string): LimitScope {
  return { type: 'rbac_group', group: name };
}

export function user(name: string): LimitScope {
  return { type: 'user', user: name };
}

let made = 0;

/** A monthly limit per member in dollars, younger than those made before. */
export function limit(
  scope: LimitScope,
  amount: bigint | null,
  settings: Partial<Omit<SpendLimit, 'scope' | 'amount'>> = {},
): SpendLimit {
  const createdAt = new Date(Date.UTC(2027, 0) + ++made);
  return {
    id: `spl_${made.toString(16).padStart(32, '0')}`,
    scope,
    period: 'monthly',
    unit: 'nano_usd',
    sharing: 'per_member',
    amount,
    mode: 'strict',
    whenShort: 'refuse',
    failurePolicy: null,
    timeZone: 'UTC',
    warnAtPercent: [75, 95],
    blockedMessage: null,
    policyName: null,
    owner: null,
    createdAt,
    updatedAt: createdAt,
    ...settings,
  };
}

/** A budget that a group or the organization shares. */
export function pool(
  scope: LimitScope,
  amount: bigint | null,
  settings: Parameters<typeof limit>[2] = {},
): SpendLimit {
  return limit(scope, amount, { sharing: 'pooled', ...settings });
}
