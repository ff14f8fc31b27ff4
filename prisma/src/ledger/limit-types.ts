import type { BudgetPeriod } from './types.ts';

/** Whom a spend limit is for. */
export type LimitScope =
  | { readonly type: 'organization' }
  | { readonly type: 'rbac_group'; readonly group: string }
  /** @property user Subject, or email address in any letter case. */
  | { readonly type: 'user'; readonly user: string };

/** The custom resource that a row was made from. Such rows are read-only in the admin API. */
export interface LimitOwner {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** How a limit is enforced. */
export type EnforcementMode =
  /** The worst case is held beforehand; the limit is never exceeded. */
  | 'strict'
  /** Output is held at a learned high percentile. */
  | 'bounded'
  /** Nothing is held; requests stop once the limit is reached. */
  | 'postpaid';

export interface SpendLimit {
  /** `spl_…` */
  readonly id: string;
  readonly scope: LimitScope;
  readonly period: BudgetPeriod;
  readonly unit: 'nano_usd' | 'tokens' | 'tokens_with_cache_reads';
  /** Each member has one (`per_member`), or all share one (`pooled`). Always `per_member` for a user. */
  readonly sharing: 'per_member' | 'pooled';
  /** nano-USD or tokens; null is unlimited, 0 blocks everything. */
  readonly amount: bigint | null;
  readonly mode: EnforcementMode;
  /** When the input fits and the output does not: refuse, or lower `max_tokens` to what fits. */
  readonly whenShort: 'refuse' | 'shrink_output';
  /** While PostgreSQL is away; null takes `enforcement.fail_closed_on_error`. */
  readonly failurePolicy: 'open' | 'closed' | null;
  /** IANA name of the zone whose calendar the period follows. */
  readonly timeZone: string;
  /** Whole percents, ascending. */
  readonly warnAtPercent: readonly number[];
  /** What a blocked developer should do; null takes `admin.blocked_message`. */
  readonly blockedMessage: string | null;
  /** What people call it: the resource's name; null for limits made through the admin API. */
  readonly policyName: string | null;
  readonly owner: LimitOwner | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** Everything of a limit that its maker chooses. */
export type LimitContent = Omit<SpendLimit, 'id' | 'createdAt' | 'updatedAt' | 'owner' | 'policyName'>;

/** All limits, as of one revision. */
export interface LimitSet {
  readonly revision: bigint;
  readonly limits: readonly SpendLimit[];
}

/** One entry of the trail of changes, written in the transaction of the change. */
export interface LimitChange {
  readonly id: string;
  readonly at: Date;
  /** `admin-key:<id>`, `oidc:<sub>`, or `resource:<kind>/<namespace>/<name>`. */
  readonly actor: string;
  readonly action: 'create' | 'update' | 'delete';
  readonly limitId: string;
  readonly before: unknown;
  readonly after: unknown;
  readonly reason: string | null;
}

export type LimitWrite =
  | { readonly state: 'written'; readonly limit: SpendLimit; readonly created: boolean }
  /** The row belongs to a custom resource. */
  | { readonly state: 'owned'; readonly limit: SpendLimit }
  /** `ifMatch` named another version, or none exists. */
  | { readonly state: 'conflict'; readonly limit: SpendLimit | null };

export type LimitDelete =
  | { readonly state: 'deleted'; readonly limit: SpendLimit }
  | { readonly state: 'owned'; readonly limit: SpendLimit }
  | { readonly state: 'conflict'; readonly limit: SpendLimit }
  | { readonly state: 'missing' };

/** Configured limits. Every change bumps the revision and tells every replica, in its own transaction. */
export interface LimitStore {
  readAll(): Promise<LimitSet>;
  /** The revision alone: one cheap statement. */
  revision(): Promise<bigint>;
  /** Called when the limits have changed, within milliseconds; poll {@link revision} as the net below it. */
  onChange(listener: () => void): () => void;
  list(page: {
    readonly limit: number;
    readonly afterId?: string;
    readonly beforeId?: string;
  }): Promise<{ readonly limits: readonly SpendLimit[]; readonly hasMore: boolean }>;
  get(id: string): Promise<SpendLimit | null>;
  /**
   * Creates the limit, or replaces the one of the same scope, period, unit and sharing, keeping its id. Limits of
   * custom resources stand beside those made here; where one has the same scope, period, unit and sharing, it answers
   * `owned` instead.
   *
   * @param change.ifMatch Version (see {@link versionOf}) that must still be current; `*` any existing one.
   * @param change.ifNoneMatch Only create.
   */
  put(
    content: LimitContent,
    change: {
      readonly actor: string;
      readonly reason: string | null;
      readonly now: Date;
      readonly ifMatch?: string;
      readonly ifNoneMatch?: boolean;
    },
  ): Promise<LimitWrite>;
  delete(
    id: string,
    change: {
      readonly actor: string;
      readonly reason: string | null;
      readonly now: Date;
      readonly ifMatch?: string;
    },
  ): Promise<LimitDelete>;
  /**
   * Makes the rows of one custom resource exactly these, in one transaction; none deletes them. Writes nothing and
   * bumps nothing when they are so already.
   *
   * @returns the revision that has them.
   */
  replaceOwned(
    owner: LimitOwner,
    policyName: string,
    contents: readonly LimitContent[],
    now: Date,
  ): Promise<bigint>;
  changes(page: {
    readonly limit: number;
    readonly before?: string;
  }): Promise<{ readonly changes: readonly LimitChange[]; readonly hasMore: boolean }>;
}
