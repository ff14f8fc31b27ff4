import { StoreUnavailableError, type AlertStore, type NewBudgetAlert } from '@claude-gateway/prisma';
import type { Audit } from '../../observe/audit.ts';
import { AlertDelivery, type DeliveryDependencies } from './delivery.ts';
import { alertData } from './event.ts';
import { EXHAUSTED, passedThresholds, type BudgetState } from './thresholds.ts';

export type { BudgetState } from './thresholds.ts';

export interface BudgetAlertsDependencies extends DeliveryDependencies {
  readonly store: AlertStore;
  readonly audit: Audit;
}

const RAISE_BATCH = 100;
/** While PostgreSQL is away. */
const MOST_WAITING = 10_000;
const RETRY_MIN_MS = 500;
const RETRY_MAX_MS = 30_000;
/** How often windows that are over are forgotten. */
const PRUNE_MS = 3_600_000;

/**
 * Tells operators when a budget passes a threshold or is used up: an audit event and the webhooks, once for each window
 * and threshold over all replicas. Nobody waits for it, and it never throws.
 */
export class BudgetAlerts {
  readonly #deps: BudgetAlertsDependencies;
  readonly #delivery: AlertDelivery | undefined;
  /** By window: the highest threshold that is raised, here or elsewhere, or about to be. */
  readonly #told = new Map<string, { threshold: number; endsAt: number }>();
  #waiting: NewBudgetAlert[] = [];
  #raising: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #pauseMs = RETRY_MIN_MS;
  #closed = false;
  #prunedAt: number;

  constructor(deps: BudgetAlertsDependencies) {
    this.#deps = deps;
    this.#prunedAt = deps.clock().getTime();
    if (deps.webhooks.length > 0) this.#delivery = new AlertDelivery(deps);
  }

  /** What was spent of budgets, after settlements. Cheap while nothing is passed. */
  observe(states: readonly BudgetState[]): void {
    if (this.#closed) return;
    for (const state of states) this.#look(state);
    this.#start();
  }

  /** Raises what is waiting, once, and leaves deliveries to the other replicas. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#raising;
    await this.#raise();
    clearTimeout(this.#timer);
    await this.#delivery?.close();
  }

  #look(state: BudgetState): void {
    const { window } = state.cap;
    const told = this.#told.get(window.id)?.threshold ?? 0;
    const passed = passedThresholds(state, told);
    if (passed.length === 0 || this.#waiting.length + passed.length > MOST_WAITING) return;
    this.#told.set(window.id, { threshold: passed.at(-1)!, endsAt: window.endsAt.getTime() });
    for (const threshold of passed) {
      this.#waiting.push({
        windowId: window.id,
        threshold,
        data: alertData(state, threshold),
        deliver: this.#delivery !== undefined,
      });
    }
    this.#prune();
  }

  #start(): void {
    if (this.#closed || this.#waiting.length === 0 || this.#timer !== undefined) return;
    this.#raising ??= this.#raise().finally(() => {
      this.#raising = undefined;
      this.#start();
    });
  }

  async #raise(): Promise<void> {
    const { store, log } = this.#deps;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.slice(0, RAISE_BATCH);
      let raised: Awaited<ReturnType<AlertStore['raise']>> = [];
      try {
        raised = await store.raise(batch);
        this.#pauseMs = RETRY_MIN_MS;
      } catch (error) {
        const reason = (error as Error).message;
        if (error instanceof StoreUnavailableError) {
          log.warn({ reason, waiting: this.#waiting.length }, 'cannot raise alerts now; trying again');
          this.#retry();
          return;
        }
        log.error({ reason, alerts: batch.length }, 'cannot raise alerts');
      }
      this.#waiting = this.#waiting.slice(batch.length);
      for (const { windowId, threshold } of raised) {
        const alert = batch.find((one) => one.windowId === windowId && one.threshold === threshold);
        if (alert !== undefined) this.#audit(alert);
      }
      if (raised.length > 0) this.#delivery?.wake();
    }
  }

  #audit({ threshold, data }: NewBudgetAlert): void {
    this.#deps.audit(threshold >= EXHAUSTED ? 'budget.exhausted' : 'budget.threshold', { ...data });
  }

  #retry(): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#start();
    }, this.#pauseMs).unref();
    this.#pauseMs = Math.min(this.#pauseMs * 2, RETRY_MAX_MS);
  }

  #prune(): void {
    const now = this.#deps.clock().getTime();
    if (now - this.#prunedAt < PRUNE_MS) return;
    this.#prunedAt = now;
    for (const [id, { endsAt }] of this.#told) if (endsAt < now - PRUNE_MS) this.#told.delete(id);
  }
}
