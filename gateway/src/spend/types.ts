import type {
  BudgetPeriod,
  BudgetSubject,
  SpendLimit,
  TokenUsage,
  UsageOutcome,
  UsageRecord,
  WindowSpec,
  WindowState,
} from '@claude-gateway/prisma';

/** Everything that a request may use at most. */
export interface RequestBound {
  /** Upper bound of all input, whatever kind it turns out to be. */
  readonly inputTokens: number;
  /** `max_tokens`, or what is expected instead of it. */
  readonly outputTokens: number;
  readonly webSearches: number;
  /** The dearest way in which input can be billed: as it is, or written to a cache for 5 minutes or for an hour. */
  readonly cacheWrites: 'none' | '5m' | '1h';
  readonly fastMode: boolean;
  /** It may be billed 1.1 times, for the place where it is to be answered (`inference_geo`). */
  readonly usInference?: boolean;
}

/** What one model costs at one upstream. Exact: no floating point, one rounding per request. */
export interface Rates {
  /** False: nobody knows what the model costs, and these are the rates of the usual tier. */
  readonly known: boolean;
  /** What strict limits hold and charge: these rates, or those of the dearest of all models where the price is not known. */
  readonly strict: Rates;
  /** Cost in nano-USD, rounded half up. @param usInference Answered in one place only, which costs 1.1 times. */
  cost(usage: TokenUsage, fastMode: boolean, usInference?: boolean): bigint;
  /** The most that a request within the bound can cost, in nano-USD, rounded up; never less than {@link cost}. */
  ceiling(bound: RequestBound): bigint;
}

export interface PriceBook {
  /**
   * @param model The catalog's name, or what the client called it when the catalog does not know it.
   * @param upstreamModel What it is called there.
   */
  rates(upstream: string, model: string, upstreamModel: string): Rates;
  /** The most that any known model costs at an upstream: where it chooses one that nobody named, or that has no price. */
  dearest(upstream: string): Rates;
}

/** One sampling among several of a request, by the usage object's `iterations`. */
export interface Iteration extends TokenUsage {
  /** As the upstream calls it; undefined where it does not say. */
  readonly model: string | undefined;
}

/** What the last count of an answer leaves open; matters where it is `partial`. */
export interface Uncounted {
  /** The most tokens that the answer can have by what was sent: one a byte. Infinity where that does not show. */
  readonly mostOutputTokens: number;
  /** Thinking whose length does not show: it has begun, or nothing was sent yet and it may be under way. */
  readonly thinking: 'begun' | 'possible' | 'none';
  /** Tools at the upstream were at work, or a summary: more was read than the input that was counted. */
  readonly serverWork: boolean;
}

/**
 * What passed in one response, as the meter saw it. The tokens are of each kind the larger of the upstream's top-level
 * count and of the sum over its iterations: a summary, or an advisor, stands in the iterations only.
 */
export interface MeteredUsage extends TokenUsage {
  readonly fastMode: boolean;
  /** Whether the upstream says that it answered in one place only (`inference_geo`); undefined: it does not say. */
  readonly usInference: boolean | undefined;
  /** `partial` when the upstream's last count is missing and output was estimated from what was sent. */
  readonly outcome: Exclude<UsageOutcome, 'abandoned'>;
  /** There was something of an answer; an error, or nothing at all, is none. */
  readonly answered: boolean;
  /**
   * False when the upstream never said what it read. Input and cache are 0 then, and whoever settles has to charge an
   * estimate of its own, if there was an answer.
   */
  readonly inputCounted: boolean;
  /** The top-level counts alone, with the estimate of the output. */
  readonly topLevel: TokenUsage;
  /** Empty where the upstream lists none. */
  readonly iterations: readonly Iteration[];
  readonly uncounted: Uncounted;
}

/** Reads the usage off one response that passes. */
export interface UsageMeter {
  /** Bytes of the body, in order. Quick, never throws, keeps nothing of the chunk. */
  bytes(chunk: Buffer): void;
  /**
   * What was used. Called once, when no more bytes come, for whatever reason. Never rejects; a promise only when the
   * upstream compressed its answer.
   */
  end(): MeteredUsage | Promise<MeteredUsage>;
}

/** A cap that applies to somebody now, with the window that pays. */
export interface AppliedCap {
  readonly limit: SpendLimit;
  /** nano-USD or tokens. Unlimited ones do not apply. */
  readonly amount: bigint;
  /** Where it was found. */
  readonly source: 'user' | 'group' | 'organization';
  readonly subject: BudgetSubject;
  readonly window: WindowSpec;
  /**
   * Where one pool of several pays (`admin.pooled_conflict_rule`): the pool to charge instead of this one when this
   * one has no room. Absent on the last of them, and wherever all pools have to fit.
   */
  readonly otherwise?: AppliedCap;
}

/** The limit that decides for one person and one period. */
export interface DecidingLimit {
  /** `amount: null` is unlimited. */
  readonly limit: SpendLimit;
  readonly source: 'user' | 'group' | 'organization';
  /** The period under way; also of an unlimited one. */
  readonly window: WindowSpec;
}

/** All limits of one revision, ready to be asked. Immutable. */
export interface CapSnapshot {
  readonly revision: bigint;
  /** Whether a limit is for this group. */
  namesGroup(group: string): boolean;
  /** The dollar limit per member that decides, unlimited ones included; undefined when there is none. */
  memberLimit(principal: CapHolder, period: BudgetPeriod, at: number): DecidingLimit | undefined;
  /** Caps that apply to this principal at this moment (ms since the epoch); the same array while nothing changes. */
  resolve(principal: CapHolder, at: number): readonly AppliedCap[];
}

/** What caps need to know about a principal. */
export interface CapHolder {
  readonly sub: string;
  readonly email?: string;
  readonly groups: readonly string[];
}

/** What a request needs of one window. */
export interface WindowNeed {
  readonly window: WindowSpec;
  readonly cap: bigint;
  /** Held until the request is settled; 0 where nothing is held (postpaid). */
  readonly amount: bigint;
}

/** A request that was admitted. Has to be settled, whatever becomes of it. */
export interface Hold {
  /** UUID; the usage record carries it. */
  readonly id: string;
  readonly needs: readonly WindowNeed[];
}

/** A window in which a request did not fit. */
export interface Shortage {
  readonly window: WindowSpec;
  /** What could still be held there. */
  readonly available: bigint;
  /** What is gone for good. The rest of the cap is held by requests in flight, and may come back. */
  readonly spent: bigint;
}

export type HoldResult =
  | { readonly state: 'held'; readonly hold: Hold }
  /** It fits nowhere near: every replica gave back what it did not need. */
  | { readonly state: 'short'; readonly shortages: readonly Shortage[] }
  /** PostgreSQL does not answer, and what this replica holds does not suffice. */
  | { readonly state: 'unavailable' }
  /** PostgreSQL answers, and cannot do it: a defect of ours, or of the database. Nothing may be served for it. */
  | { readonly state: 'failed' };

/** Who waits for what others hold, and for how long. */
export interface Patience {
  /** From now on, in ms. */
  readonly forMs: number;
  /** Nobody takes all the places: the principal's subject. */
  readonly person: string;
  /** Whether the caps that the needs were worked out from are still in force. */
  readonly isCurrent: () => boolean;
  /** @param listener Called once when nobody wants the answer any more. */
  readonly onGone: (listener: () => void) => void;
}

export type WaitResult =
  /** @param choice Index of the needs that were held. */
  | { readonly state: 'held'; readonly hold: Hold; readonly choice: number }
  /** What was spent meanwhile leaves no room for the least of them. */
  | { readonly state: 'short'; readonly shortages: readonly Shortage[] }
  /** The caps have changed: the needs are to be worked out anew. */
  | { readonly state: 'changed' }
  /** Requests in flight hold it still (`timeout`), too many wait (`full`), or nobody waits any more (`gone`). */
  | {
      readonly state: 'busy';
      readonly cause: 'timeout' | 'full' | 'gone';
      readonly shortages: readonly Shortage[];
    }
  | { readonly state: 'unavailable' }
  | { readonly state: 'failed' };

/** This replica's side of the ledger. */
export interface Ledger {
  /**
   * Holds what a request needs in all its windows, or in none. Mostly at once, out of leases at hand; a promise only
   * when PostgreSQL has to be asked.
   */
  hold(id: string, needs: readonly WindowNeed[]): HoldResult | Promise<HoldResult>;
  /**
   * Waits for what other requests in flight hold, in a fair queue: for a request that is short now and would fit if they
   * were settled.
   *
   * @param choices What to hold, the dearest first; the last one must do, and is what others leave room for.
   */
  wait(
    id: string,
    choices: readonly [readonly WindowNeed[], ...(readonly WindowNeed[])[]],
    patience: Patience,
  ): Promise<WaitResult>;
  /** Admits without holding, while PostgreSQL is away and the policy says to go on; it is settled all the same. */
  admitUnheld(id: string, needs: readonly WindowNeed[]): Hold;
  /**
   * Says what to charge should this replica die before the hold is settled. Once for each hold; see `InFlightRequest`.
   *
   * @param floor Asked only for requests that are under way for longer.
   */
  note(hold: Hold, floor: () => UsageRecord): void;
  /**
   * Settles a hold: releases it here at once, and writes the record soon. Never throws, never loses one.
   *
   * @param windowIds Windows of caps that were set after the hold: they count it too, if they are open.
   */
  settle(hold: Hold, record: UsageRecord, windowIds?: readonly string[]): void;
  /** Gives a hold back of a request that cost nothing and leaves no record. */
  release(hold: Hold): void;
  /** What is known here about a window without asking anybody: what was spent is a lower bound. */
  peek(windowId: string): WindowState | undefined;
}
