import type { LeaseReturn, SettleAnswer, Settlement } from '@claude-gateway/prisma';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Account } from './account.ts';

/** How long a settlement waits for company, in ms. Nobody waits for it, but where budgets are short. */
const LINGER_MS = 25;
const BATCH = 500;
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 2_000;
/** A warning for each time that so many have gathered. */
const BACKLOG_STEP = 10_000;

/** A settlement with what it takes out of this replica's accounts. */
export interface Charged extends Settlement {
  readonly charges: readonly { readonly account: Account; readonly cost: bigint }[];
}

export interface SettlementQueueDeps {
  settle(settlements: readonly Settlement[], returns: readonly LeaseReturn[]): Promise<SettleAnswer>;
  /** What is to be given back now; it goes with the next batch. */
  takeReturns(limit: number): readonly LeaseReturn[];
  onSettled(
    settlements: readonly Charged[],
    returns: readonly LeaseReturn[],
    answer: SettleAnswer,
    epoch: number | undefined,
  ): void;
  /** Asked when a call begins, and handed on with its answer. */
  epoch(): number | undefined;
  /** A call failed that may have been carried out: what it gave back is to be looked up. */
  onUncertain(returns: readonly LeaseReturn[]): void;
  /** PostgreSQL refused one for good: the only way in which a settlement leaves without being settled. */
  onRejected(settlement: Charged, error: Error): void;
  isUnavailable(error: unknown): boolean;
  onBacklog(length: number): void;
}

/**
 * Settlements on their way to PostgreSQL, in batches of some milliseconds, one batch at a time. While it is away they
 * wait here, for as long as it takes.
 */
export class SettlementQueue {
  readonly #deps: SettlementQueueDeps;
  readonly #queue: Charged[] = [];
  #running: Promise<void> | undefined;
  /** The batch that is under way. */
  #sending: Promise<boolean> | undefined;
  #pause: Promise<void> = Promise.resolve();
  readonly #closing = new AbortController();
  #hurry = new AbortController();
  #failing = false;
  #warnedAt = BACKLOG_STEP;

  constructor(deps: SettlementQueueDeps) {
    this.#deps = deps;
  }

  get length(): number {
    return this.#queue.length;
  }

  /** PostgreSQL did not take the last batch. */
  get failing(): boolean {
    return this.#failing;
  }

  push(settlement: Charged): void {
    this.#queue.push(settlement);
    this.wake(this.#queue.length >= BATCH);
  }

  /** There is something to settle or to return. @param now Without waiting for company. */
  wake(now = false): void {
    if (now) this.#hurry.abort();
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  /** Runs between two batches. */
  async paused<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#pause;
    let resume = (): void => undefined;
    this.#pause = new Promise((resolve) => {
      resume = resolve;
    });
    await before;
    await this.#sending;
    try {
      return await work();
    } finally {
      resume();
    }
  }

  /**
   * Settles what is there.
   *
   * @returns those that are left because PostgreSQL did not take them within the time.
   */
  async close(withinMs: number): Promise<readonly Settlement[]> {
    const deadline = setTimeout(() => this.#closing.abort(), withinMs);
    this.wake(true);
    await this.#running;
    clearTimeout(deadline);
    return this.#queue;
  }

  async #run(): Promise<void> {
    for (;;) {
      if (this.#queue.length < BATCH) await this.#linger();
      await this.#pause;
      const batch = this.#queue.slice(0, BATCH);
      const returns = this.#deps.takeReturns(BATCH);
      if (batch.length === 0 && returns.length === 0) return;
      this.#sending = this.#send(batch, returns);
      if (!(await this.#sending)) return;
      this.#sending = undefined;
      this.#queue.splice(0, batch.length);
    }
  }

  async #linger(): Promise<void> {
    if (!this.#hurry.signal.aborted) {
      await sleep(LINGER_MS, undefined, { signal: this.#hurry.signal }).catch(() => undefined);
    }
    this.#hurry = new AbortController();
  }

  /** @returns false when it is time to go and PostgreSQL is away. */
  async #send(batch: readonly Charged[], returns: readonly LeaseReturn[]): Promise<boolean> {
    let backoff = RETRY_MIN_MS;
    let given = returns;
    for (;;) {
      const epoch = this.#deps.epoch();
      try {
        const answer = await this.#deps.settle(batch, given);
        this.#deps.onSettled(batch, given, answer, epoch);
        this.#failing = false;
        return true;
      } catch (error) {
        this.#deps.onUncertain(given);
        if (!this.#deps.isUnavailable(error)) {
          await this.#singleOut(batch, error as Error);
          return true;
        }
      }
      this.#failing = true;
      // Returns are not repeated: they may have been taken. Leases are looked up instead.
      given = [];
      if (this.#queue.length >= this.#warnedAt) {
        this.#warnedAt += BACKLOG_STEP;
        this.#deps.onBacklog(this.#queue.length);
      }
      if (this.#closing.signal.aborted) return false;
      await sleep(backoff * (0.5 + Math.random()), undefined, { signal: this.#closing.signal }).catch(
        () => undefined,
      );
      backoff = Math.min(backoff * 2, RETRY_MAX_MS);
    }
  }

  /** One of the batch cannot be stored: the others must not suffer for it. */
  async #singleOut(batch: readonly Charged[], error: Error): Promise<void> {
    this.#failing = true;
    for (const settlement of batch) {
      for (;;) {
        const epoch = this.#deps.epoch();
        try {
          const answer = await this.#deps.settle([settlement], []);
          this.#deps.onSettled([settlement], [], answer, epoch);
          break;
        } catch (failure) {
          if (!this.#deps.isUnavailable(failure)) {
            this.#deps.onRejected(settlement, batch.length === 1 ? error : (failure as Error));
            break;
          }
          if (this.#closing.signal.aborted) return;
          await sleep(RETRY_MAX_MS, undefined, { signal: this.#closing.signal }).catch(() => undefined);
        }
      }
    }
    this.#failing = false;
  }
}
