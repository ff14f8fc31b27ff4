/**
 * The ledger and what surrounds it, as the gateway sees them. docs/adr/0014-ledger.md says how it works and why.
 * Amounts are integers: nano-USD or tokens, whichever the budget counts. Times that bill are of the caller's clock;
 * liveness of replicas is judged by the database's.
 */

/** What a budget counts: nano-USD, or tokens without or with those read from a cache. */
export type BudgetUnit = 'nano_usd' | 'tokens' | 'tokens_with_cache_reads';

export type BudgetPeriod = 'daily' | 'weekly' | 'monthly';

/** Whose spending a window adds up. */
export type BudgetSubject =
  | { readonly kind: 'user'; readonly sub: string }
  | { readonly kind: 'group_pool'; readonly group: string }
  | { readonly kind: 'organization_pool' };

/** One period of one budget: `[startsAt, endsAt)`. A reset is another window, and no job. */
export interface WindowSpec {
  /** UUID made from everything below, so that every replica names the same window alike without asking. */
  readonly id: string;
  readonly subject: BudgetSubject;
  readonly unit: BudgetUnit;
  readonly period: BudgetPeriod;
  /** IANA name. */
  readonly timeZone: string;
  readonly startsAt: Date;
  readonly endsAt: Date;
  /**
   * Of several pools one pays for each request, and records do not say which: such a window starts at nothing, and
   * counts only settlements that name it.
   */
  readonly namedOnly?: true;
}

export interface WindowState {
  readonly windowId: string;
  /** Settled. */
  readonly spent: bigint;
  /** Leased to replicas, this one included: requests in flight, settlements under way, and what is at hand. */
  readonly held: bigint;
}

export interface LeaseAsk {
  readonly windowId: string;
  /** The cap in force, of the window's unit. `spent + held` is not raised above it. */
  readonly cap: bigint;
  /** What is needed now. Less is granted when less is left. */
  readonly need: bigint;
  /** What would be good to have at hand beyond that; at most a quarter of what would then be left is granted. */
  readonly extra: bigint;
}

export interface LeaseAnswer extends WindowState {
  /** Added to this replica's lease by this call. `held` includes it. */
  readonly granted: bigint;
  /** This replica's lease, after it. */
  readonly leased: bigint;
}

/** How a request ended, for its usage record. */
export type UsageOutcome =
  /** The upstream's own count, to the end. */
  | 'complete'
  /** The client went, or the upstream broke off: what was counted until then. */
  | 'partial'
  /** Its replica died: a floor. */
  | 'abandoned';

/** Tokens by kind, as the Messages API counts them. */
export interface TokenUsage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cacheReadTokens: number;
  readonly cacheWrite5mTokens: number;
  readonly cacheWrite1hTokens: number;
  readonly webSearches: number;
}

/** What one request cost, and everything that reports ask about it. */
export interface UsageRecord extends TokenUsage {
  /** UUID of the hold: settling it again changes nothing. */
  readonly id: string;
  /** As in the log and in the client's `request-id`. */
  readonly requestId: string;
  readonly sub: string;
  readonly kind: 'user' | 'workload';
  readonly email: string | null;
  readonly name: string | null;
  /** At the time of the request. */
  readonly groups: readonly string[];
  /** The catalog's name. */
  readonly model: string;
  /** Where it was answered; null when no upstream did. */
  readonly upstream: string | null;
  readonly fastMode: boolean;
  readonly costNanoUsd: bigint;
  readonly outcome: UsageOutcome;
  /** HTTP status that the client was sent. */
  readonly status: number;
  /** When it was admitted: this decides which windows pay. */
  readonly admittedAt: Date;
  readonly firstByteMs: number | null;
  readonly durationMs: number;
}

/** A finished request, with the windows that pay for it. */
export interface Settlement {
  readonly record: UsageRecord;
  /**
   * Windows that the replica counted on: only they take from its lease. Others that cover the record count it too, so
   * that a budget is exact from its first moment, whoever knows of it already. Windows that do not exist are passed over:
   * one that is opened later counts the record by itself. Amounts follow from the record and the window's unit.
   */
  readonly windowIds: readonly string[];
}

/** A lease, or part of it, that is given back unused. */
export interface LeaseReturn {
  readonly windowId: string;
  readonly amount: bigint;
}

export interface SettleAnswer {
  /** Every window that the batch touched, as it is now. */
  readonly windows: readonly (WindowState & {
    /** What is left of this replica's lease. */
    readonly leased: bigint;
  })[];
}

/** A request under way, noted so that it is not forgotten should its replica die. */
export interface InFlightRequest {
  /** What is charged in that case: a floor, with `outcome: 'abandoned'`. */
  readonly record: UsageRecord;
  readonly windowIds: readonly string[];
}

export interface Heartbeat {
  readonly replicaId: string;
  /** For `kubectl` and logs: host name of the pod. */
  readonly name: string;
  /** Of the program. */
  readonly version?: string;
  /** The policy revision that this replica enforces. */
  readonly policyRevision: bigint;
  /** How long the leases outlive this heartbeat, in ms. */
  readonly ttlMs: number;
  /** Requests to note that were not in an earlier heartbeat. Their notes go when they are settled. */
  readonly inFlight: readonly InFlightRequest[];
}

/** What a sweep found. */
export interface SweptReplica {
  readonly replicaId: string;
  readonly name: string;
  /** Requests that were charged their floor. */
  readonly abandoned: number;
  /** Windows in which something held was given back. */
  readonly windows: number;
}

/**
 * Budgets, windows, leases and usage records. Each call is one transaction that locks windows in the order of their
 * ids. All throw StoreUnavailableError when PostgreSQL does not answer.
 */
export interface LedgerStore {
  /**
   * Makes sure that windows exist. One that is new starts with the sum of the usage records that it would have
   * counted, so a budget made in mid-period knows what was spent before it. Exact while replicas settle: they wait
   * meanwhile, so name windows that {@link lease} or {@link windows} did not find.
   */
  openWindows(windows: readonly WindowSpec[]): Promise<readonly WindowState[]>;
  /**
   * A replica that is not on the list (see {@link heartbeat}) is granted nothing. At most one ask for each window.
   *
   * @returns an answer for each window that exists; a window that is missing has to be opened first.
   */
  lease(replicaId: string, asks: readonly LeaseAsk[]): Promise<readonly LeaseAnswer[]>;
  /**
   * Settles what is finished and takes back what is not needed, all or nothing. Idempotent by record id: one that is
   * settled already changes nothing, one that was written off as `abandoned` is corrected to what it really cost.
   * What is charged comes out of this replica's lease as far as it reaches. Returns are not told apart from one another:
   * when a call failed that may have been carried out, they must not be sent again.
   */
  settle(
    replicaId: string,
    batch: { readonly settlements: readonly Settlement[]; readonly returns: readonly LeaseReturn[] },
  ): Promise<SettleAnswer>;
  /**
   * Renews this replica's leases and notes what is in flight.
   *
   * @returns false when the replica had been written off since its last heartbeat: it has no leases any more.
   */
  heartbeat(beat: Heartbeat): Promise<boolean>;
  /** Gives everything back and takes the replica off the list. For after its last settlement. */
  leave(replicaId: string): Promise<void>;
  /**
   * Writes off replicas whose leases have expired: their requests in flight are charged their floor, the rest of
   * what they held is given back. Only for callers that have themselves seen PostgreSQL up for a whole ttl: after an
   * outage everybody looks dead.
   */
  sweep(): Promise<readonly SweptReplica[]>;
  /**
   * Asks the other replicas to give back what they do not need of these windows, at once.
   *
   * @returns `slow` when one of them does not hear it and comes to look for it, which takes some tenths of a second.
   */
  recall(replicaId: string, windowIds: readonly string[]): Promise<{ readonly slow: boolean }>;
  /**
   * @param listener Called with window ids that another replica asked for, perhaps more than once.
   * @param holds Whether there is anything to give back: otherwise nothing is looked for. Default: always.
   * @returns a function that ends it.
   */
  onRecall(listener: (windowIds: readonly string[]) => void, holds?: () => boolean): () => void;
  /** States of windows, for display. Missing ones are left out. */
  windows(windowIds: readonly string[]): Promise<readonly WindowState[]>;
}
