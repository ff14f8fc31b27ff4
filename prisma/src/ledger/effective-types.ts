import type { LimitScope } from './limit-types.ts';
import type { BudgetPeriod, BudgetUnit } from './types.ts';

/** Somebody whose requests were seen, as they were seen last. */
export interface KnownPrincipal {
  readonly sub: string;
  readonly email: string | null;
  readonly name: string | null;
  readonly groups: readonly string[];
}

/** When each period that is asked about began. */
export type PeriodStarts = { readonly [Period in BudgetPeriod]?: Date };

export interface PrincipalSpend {
  readonly principal: KnownPrincipal;
  /** nano-USD since the start of each period that was asked about. */
  readonly spent: { readonly [Period in BudgetPeriod]?: bigint };
}

/** Where a page by spending ended. */
export interface SpendCursor {
  readonly spent: bigint;
  readonly sub: string;
}

/** A shared budget and the period in question. */
export interface PoolWindow {
  /** Name of the group; null is the organization. */
  readonly group: string | null;
  readonly unit: BudgetUnit;
  readonly period: BudgetPeriod;
  readonly timeZone: string;
  readonly startsAt: Date;
}

/**
 * Who spent how much, for the admin API: every request that was settled before the call is counted. All throw
 * StoreUnavailableError when PostgreSQL does not answer.
 */
export interface EffectiveStore {
  /** Everybody known, by subject. `query` is looked for in subject, email and name, in any letter case. */
  page(page: {
    readonly since: PeriodStarts;
    readonly limit: number;
    readonly after?: string;
    readonly query?: string;
  }): Promise<{ readonly rows: readonly PrincipalSpend[]; readonly hasMore: boolean }>;
  /** Whoever spent something since then, the biggest spenders first, equals by subject. */
  topSpenders(page: {
    readonly period: BudgetPeriod;
    readonly since: Date;
    readonly limit: number;
    readonly after?: SpendCursor;
    readonly query?: string;
  }): Promise<{ readonly rows: readonly PrincipalSpend[]; readonly hasMore: boolean }>;
  /** These subjects, in this order, known or not. */
  of(subs: readonly string[], since: PeriodStarts): Promise<readonly PrincipalSpend[]>;
  /** nano-USD of each subject since its own moment, in this order: for periods that do not begin with an UTC day. */
  spentSince(asks: readonly { readonly sub: string; readonly since: Date }[]): Promise<readonly bigint[]>;
  /** What was used of each pool, in its own unit, in this order. */
  poolSpent(pools: readonly PoolWindow[]): Promise<readonly bigint[]>;
  /** How many known principals each scope names, in this order. */
  matches(scopes: readonly LimitScope[]): Promise<readonly number[]>;
}
