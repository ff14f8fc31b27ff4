import type { LimitContent, SpendLimit } from './limit-types.ts';
import type { BudgetPeriod } from './types.ts';

export type IncreaseRequestStatus = 'pending' | 'approved' | 'denied';

/** A developer's wish for a higher limit. Amounts in nano-USD; null is unlimited. */
export interface IncreaseRequest {
  /** `slir_…` */
  readonly id: string;
  readonly sub: string;
  readonly period: BudgetPeriod;
  /** The limit in force when it was asked for; null when there was none. */
  readonly currentAmount: bigint | null;
  readonly requestedAmount: bigint | null;
  readonly reason: string | null;
  readonly status: IncreaseRequestStatus;
  readonly createdAt: Date;
  readonly resolvedAt: Date | null;
  /** As in the audit trail. */
  readonly resolvedBy: string | null;
  readonly resolutionNote: string | null;
  /** What was granted. */
  readonly approvedAmount: bigint | null;
}

export interface Resolution {
  /** As in the audit trail. */
  readonly actor: string;
  readonly note: string | null;
  readonly now: Date;
}

/** What became of an attempt to resolve a request. */
export type IncreaseResolution =
  | { readonly state: 'resolved'; readonly request: IncreaseRequest; readonly limit: SpendLimit | null }
  /** Somebody was faster. */
  | { readonly state: 'settled'; readonly request: IncreaseRequest }
  /** The person's own limit belongs to a custom resource, which alone may change it. */
  | { readonly state: 'owned'; readonly limit: SpendLimit }
  | { readonly state: 'missing' };

/** Requests for higher limits. Every change is written to the trail in its own transaction. */
export interface IncreaseRequestStore {
  /** @returns the request, or the pending one that this person already has for the period. */
  create(request: {
    readonly sub: string;
    readonly period: BudgetPeriod;
    readonly currentAmount: bigint | null;
    readonly requestedAmount: bigint | null;
    readonly reason: string | null;
    readonly actor: string;
    readonly now: Date;
  }): Promise<
    | { readonly state: 'created'; readonly request: IncreaseRequest }
    | { readonly state: 'pending'; readonly request: IncreaseRequest }
  >;
  get(id: string): Promise<IncreaseRequest | null>;
  /** The latest first. `next` continues where the page ended. */
  list(page: {
    readonly limit: number;
    readonly after?: string;
    readonly subs?: readonly string[];
    readonly statuses?: readonly IncreaseRequestStatus[];
  }): Promise<{ readonly requests: readonly IncreaseRequest[]; readonly next: string | null }>;
  /**
   * Sets the person's own limit to what `grant` says, given the request, and closes the request: both or neither.
   */
  approve(
    id: string,
    grant: (request: IncreaseRequest) => LimitContent,
    resolution: Resolution,
  ): Promise<IncreaseResolution>;
  deny(id: string, resolution: Resolution): Promise<IncreaseResolution>;
}
