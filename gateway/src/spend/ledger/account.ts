import type { WindowSpec } from '@claude-gateway/prisma';

/** How often what is needed is leased beyond it, at least and at most. */
const LEAST_RESERVE = 7n;
const MOST_RESERVE = 1_000n;
/** A lease that lasted less is followed by one of twice the size; one that lasted four times as long, by half of it. */
const SHORT_LEASE_MS = 250;

/**
 * What this replica knows of one window. `leased` is what PostgreSQL has as ours; all of it is either `free`, held for
 * a request, spent and not yet settled, or on its way back.
 */
export class Account {
  readonly window: WindowSpec;
  /** The cap that the lease was taken under. */
  cap: bigint;
  leased = 0n;
  /** At hand for the next request. Below zero when requests cost more than was held for them. */
  free = 0n;
  /** On its way back to PostgreSQL, or about to be. */
  returning = 0n;
  /** What requests need that wait for this window. */
  wanted = 0n;
  /** As PostgreSQL last said. */
  spent = 0n;
  held = 0n;
  /** When it said so, by the monotonic clock, in ms. */
  toldAt = -Infinity;
  /** Spent here and not settled yet. */
  unsettled = 0n;
  /** Requests that hold something here or are not settled yet. */
  busy = 0;
  usedAt: number;
  /** Until then another replica is short of it, and nothing is kept at hand. */
  tightUntil = -Infinity;
  recalledAt = -Infinity;
  #reserve = LEAST_RESERVE;
  #reservedAt = -Infinity;

  constructor(window: WindowSpec, cap: bigint, now: number) {
    this.window = window;
    this.cap = cap;
    this.usedAt = now;
  }

  /**
   * How many times what is needed now it would be good to have at hand beyond it: enough for a good part of a second at
   * the present rate. Changes with each lease.
   */
  reserve(now: number): bigint {
    const lasted = now - this.#reservedAt;
    this.#reservedAt = now;
    if (lasted < SHORT_LEASE_MS) this.#reserve *= 2n;
    else if (lasted > 4 * SHORT_LEASE_MS) this.#reserve /= 2n;
    if (this.#reserve < LEAST_RESERVE) this.#reserve = LEAST_RESERVE;
    if (this.#reserve > MOST_RESERVE) this.#reserve = MOST_RESERVE;
    return this.#reserve;
  }

  /** What PostgreSQL said about the window. */
  told(state: { readonly spent: bigint; readonly held: bigint }, now: number): void {
    this.spent = state.spent;
    this.held = state.held;
    this.toldAt = now;
  }

  /** Sets the lease to what PostgreSQL has. Only while no call is under way that could change it. */
  correct(leased: bigint): void {
    this.free += this.returning + leased - this.leased;
    this.returning = 0n;
    this.leased = leased;
  }

  /** What could be held at most, as far as this replica knows. */
  get available(): bigint {
    const available = this.#left - this.#others;
    return available > 0n ? available : 0n;
  }

  /** What could be held if other replicas gave everything back that they hold: they may hold it idle. */
  get attainable(): bigint {
    return this.#left > 0n ? this.#left : 0n;
  }

  get #left(): bigint {
    const used = this.leased - this.free - this.returning - this.unsettled;
    return this.cap - this.spent - this.unsettled - used;
  }

  get #others(): bigint {
    const others = this.held - this.leased;
    return others > 0n ? others : 0n;
  }
}
