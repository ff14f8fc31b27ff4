import type { LimitContent, LimitOwner } from '../ledger/limit-types.ts';
import type { ManagedPolicyContent } from '../managed/types.ts';

/** $500 a month for everybody in the organization; whatever a test does not care about is something. */
export function newLimit(overrides: Partial<LimitContent> = {}): LimitContent {
  return {
    scope: { type: 'organization' },
    period: 'monthly',
    unit: 'nano_usd',
    sharing: 'per_member',
    amount: 500_000_000_000n,
    mode: 'strict',
    whenShort: 'refuse',
    failurePolicy: null,
    timeZone: 'UTC',
    warnAtPercent: [75, 95],
    blockedMessage: null,
    ...overrides,
  };
}

export function newPolicy(overrides: Partial<ManagedPolicyContent> = {}): ManagedPolicyContent {
  return { name: 'base', priority: 0, position: 0, document: { cli: { model: 'opus' } }, ...overrides };
}

export function newOwner(uid: string, overrides: Partial<LimitOwner> = {}): LimitOwner {
  return { kind: 'SpendPolicy', namespace: 'claude', name: uid, uid, ...overrides };
}
