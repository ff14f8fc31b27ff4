import type { EffectiveStore, LimitScope, PoolWindow, SpendLimit } from '@claude-gateway/prisma';
import type { LimitSnapshot } from './limit-snapshot.ts';
import { centsOf } from './money.ts';
import { startOf } from './periods.ts';

/** A scope as Anthropic's Admin API writes it. */
export function scopeView(scope: LimitScope): Record<string, string> {
  switch (scope.type) {
    case 'organization':
      return { type: 'organization' };
    case 'rbac_group':
      return { type: 'rbac_group', rbac_group_id: scope.group };
    case 'user':
      return { type: 'user', user_id: scope.user };
  }
}

/** An amount of the limit's own unit: cents, or tokens. */
export function amountView(unit: SpendLimit['unit'], amount: bigint | null): string | null {
  if (amount === null) return null;
  return unit === 'nano_usd' ? centsOf(amount) : amount.toString();
}

/** Tokens have no currency. */
export function currencyView(unit: SpendLimit['unit']): 'USD' | null {
  return unit === 'nano_usd' ? 'USD' : null;
}

export function unitView(unit: SpendLimit['unit']): string {
  return unit === 'nano_usd' ? 'usd' : unit;
}

/** Limits that clients of Anthropic's Admin API know: dollars, for each member. The others are ours. */
export function isClassic(limit: Pick<SpendLimit, 'unit' | 'sharing'>): boolean {
  return limit.unit === 'nano_usd' && limit.sharing === 'per_member';
}

/** The pool that is shown, set and deleted with this limit: the reference's `pooled_budget`. */
export function poolOf(limit: SpendLimit, snapshot: LimitSnapshot): SpendLimit | undefined {
  if (limit.scope.type !== 'rbac_group' || limit.period !== 'monthly' || !isClassic(limit)) return undefined;
  return snapshot.find({
    scope: limit.scope,
    period: limit.period,
    unit: limit.unit,
    sharing: 'pooled',
  });
}

/** Writes limits down, first as the reference does, then what is ours. */
export class LimitViews {
  readonly #effective: Pick<EffectiveStore, 'matches' | 'poolSpent'>;
  readonly #clock: () => Date;

  constructor(effective: Pick<EffectiveStore, 'matches' | 'poolSpent'>, clock: () => Date) {
    this.#effective = effective;
    this.#clock = clock;
  }

  async one(limit: SpendLimit, snapshot: LimitSnapshot): Promise<Record<string, unknown>> {
    const [view] = await this.all([limit], snapshot);
    return view ?? {};
  }

  /** @throws StoreUnavailableError */
  async all(
    limits: readonly SpendLimit[],
    snapshot: LimitSnapshot,
  ): Promise<readonly Record<string, unknown>[]> {
    const now = this.#clock();
    const pools = limits.map((limit) => (limit.sharing === 'pooled' ? limit : poolOf(limit, snapshot)));
    const asked = pools.filter((pool) => pool !== undefined);
    const [matches, spent] = await Promise.all([
      this.#effective.matches(limits.map(({ scope }) => scope)),
      this.#effective.poolSpent(asked.map((pool) => windowOf(pool, now))),
    ]);
    const spentOf = new Map(asked.map((pool, i) => [pool, amountView(pool.unit, spent[i] ?? 0n)]));
    return limits.map((limit, i) => {
      const pool = pools[i];
      return {
        ...classicView(limit),
        ...(isGroupMonthly(limit) ? { pooled_budget: pooledBudget(pool, spentOf) } : {}),
        ...extensionsView(limit),
        ...(limit.sharing === 'pooled' ? { period_to_date_spend: spentOf.get(limit) } : {}),
        matched_principals: matches[i] ?? 0,
      };
    });
  }
}

function isGroupMonthly(limit: SpendLimit): boolean {
  return limit.scope.type === 'rbac_group' && limit.period === 'monthly' && isClassic(limit);
}

function classicView(limit: SpendLimit): Record<string, unknown> {
  return {
    type: 'spend_limit',
    id: limit.id,
    created_at: limit.createdAt.toISOString(),
    updated_at: limit.updatedAt.toISOString(),
    scope: scopeView(limit.scope),
    amount: amountView(limit.unit, limit.amount),
    currency: currencyView(limit.unit),
    period: limit.period,
  };
}

function pooledBudget(
  pool: SpendLimit | undefined,
  spentOf: ReadonlyMap<SpendLimit, string | null>,
): Record<string, unknown> | null {
  if (pool === undefined) return null;
  return {
    amount: amountView(pool.unit, pool.amount),
    paused: false,
    currency: 'USD',
    period_to_date_spend: spentOf.get(pool),
    spend_limit_id: pool.id,
  };
}

function extensionsView(limit: SpendLimit): Record<string, unknown> {
  const { owner } = limit;
  return {
    unit: unitView(limit.unit),
    sharing: limit.sharing,
    mode: limit.mode,
    when_short: limit.whenShort,
    failure_policy: limit.failurePolicy,
    time_zone: limit.timeZone,
    warn_at_percent: limit.warnAtPercent,
    blocked_message: limit.blockedMessage,
    policy: limit.policyName,
    owner: owner === null ? null : { kind: owner.kind, namespace: owner.namespace, name: owner.name },
  };
}

function windowOf(pool: SpendLimit, now: Date): PoolWindow {
  return {
    group: pool.scope.type === 'rbac_group' ? pool.scope.group : null,
    unit: pool.unit,
    period: pool.period,
    timeZone: pool.timeZone,
    startsAt: startOf(pool.period, now, pool.timeZone),
  };
}
