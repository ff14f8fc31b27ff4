/** A threshold that a window has passed. */
export interface NewBudgetAlert {
  readonly windowId: string;
  /** Whole percent of the cap; 100 is used up. */
  readonly threshold: number;
  /** What webhooks are told: JSON. It names subjects, never names or emails. */
  readonly data: Readonly<Record<string, unknown>>;
  /** False where nobody is to be told: it is raised for the audit log only. */
  readonly deliver: boolean;
}

/** An alert that this replica is to deliver, until its claim runs out. */
export interface ClaimedAlert {
  readonly windowId: string;
  readonly threshold: number;
  readonly raisedAt: Date;
  readonly data: Readonly<Record<string, unknown>>;
  /** Names of webhooks that have it already. */
  readonly deliveredTo: readonly string[];
  /** This try included. */
  readonly attempts: number;
  /** Of the person whose budget it is, as far as they are known now. */
  readonly person: { readonly email: string | null; readonly name: string | null } | null;
}

/** Alerts about budgets, each raised once over all replicas. All throw StoreUnavailableError. */
export interface AlertStore {
  /** @returns those that nobody had raised before; they are this replica's to audit. */
  raise(
    alerts: readonly NewBudgetAlert[],
  ): Promise<readonly { readonly windowId: string; readonly threshold: number }[]>;
  /**
   * Takes alerts that are due, no longer than `leaseMs`: should the caller die, others take them then.
   *
   * @param limit At most so many.
   */
  claim(claim: { readonly leaseMs: number; readonly limit: number }): Promise<readonly ClaimedAlert[]>;
  /**
   * Ends a claim.
   *
   * @param result.deliveredTo Webhooks that took it this time.
   * @param result.retryAfterMs When it is tried again; null: everybody has it, or it is given up.
   */
  finish(
    alert: { readonly windowId: string; readonly threshold: number },
    result: { readonly deliveredTo: readonly string[]; readonly retryAfterMs: number | null },
  ): Promise<void>;
}
