import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  clampRecord,
  type InFlightRequest,
  type LeaseReturn,
  type LedgerStore,
  type SettleAnswer,
  type UsageRecord,
  type WindowState,
} from '@claude-gateway/prisma';
import type { Log } from '../../observe/log.ts';
import { NO_USAGE } from '../no-usage.ts';
import type { Hold, HoldResult, Ledger, Patience, Shortage, WaitResult, WindowNeed } from '../types.ts';
import type { Account } from './account.ts';
import { amountOf } from './amount.ts';
import { HoldQueue } from './hold-queue.ts';
import { LeaseDesk } from './lease-desk.ts';
import { Leases } from './leases.ts';
import { Liveness } from './liveness.ts';
import { Reach } from './reach.ts';
import { SettlementQueue, type Charged } from './settlement-queue.ts';

const TTL_MS = 30_000;
const HOUSEKEEPING_MS = 500;
/** A request under way for so long is noted with the next heartbeat. */
const NOTE_AFTER_MS = 1_000;
/** What is known of a postpaid window is looked up again after so long, beside the requests. */
const STALE_MS = 1_000;
/** How long a request waits for leases to be looked up, in ms. */
const PATIENCE_MS = 2_000;

export interface ReplicaLedgerOptions {
  readonly store: LedgerStore;
  /** For logs and `kubectl`: the pod's name. */
  readonly name: string;
  /** Of the program, for the same. */
  readonly version?: string;
  readonly policyRevision: () => bigint;
  readonly isUnavailable: (error: unknown) => boolean;
  readonly log: Log;
  /** Default 30 000 ms. */
  readonly ttlMs?: number;
  /** After so long without a request everything at hand goes back. Default 15,000 ms. */
  readonly quietMs?: number;
  /** Monotonic, in ms. */
  readonly now?: () => number;
}

interface OpenHold extends Hold {
  readonly since: number;
  floor: (() => UsageRecord) | undefined;
  noted: boolean;
  /** It was in a heartbeat: even if that failed, PostgreSQL may have noted it. */
  sent: boolean;
}

/** See {@link Ledger} and docs/adr/0014-ledger.md. */
export class ReplicaLedger implements Ledger {
  readonly replicaId = randomUUID();
  readonly #store: LedgerStore;
  readonly #log: Log;
  readonly #now: () => number;
  readonly #stateListeners = new Set<(states: readonly WindowState[]) => void>();
  readonly #leases: Leases;
  readonly #open = new Map<string, OpenHold>();
  readonly #desk: LeaseDesk;
  readonly #waiting: HoldQueue;
  readonly #queue: SettlementQueue;
  readonly #liveness: Liveness;
  readonly #reach: Reach;
  readonly #stopListening: () => void;
  readonly #housekeeping: NodeJS.Timeout;
  /** Leases were taken away: nothing is lent until they have been looked up. */
  #writtenOff = false;
  #resyncing: Promise<void> | undefined;

  private constructor(options: ReplicaLedgerOptions) {
    const { log } = options;
    this.#reach = new Reach({
      probe: () => this.#liveness.renew(),
      isUnavailable: options.isUnavailable,
      onLost: () => this.#desk.giveUp(),
      log,
    });
    const store = this.#reach.watch(options.store);
    this.#store = store;
    this.#log = log;
    this.#now = options.now ?? (() => performance.now());
    this.#leases = new Leases({
      store,
      replicaId: this.replicaId,
      now: this.#now,
      quietMs: options.quietMs,
      onReturns: (now) => this.#queue.wake(now),
    });
    this.#liveness = new Liveness({
      store,
      replicaId: this.replicaId,
      name: options.name,
      version: options.version,
      ttlMs: options.ttlMs ?? TTL_MS,
      policyRevision: options.policyRevision,
      takeUnnoted: () => this.#takeUnnoted(),
      giveBack: (requests) => this.#unnote(requests),
      onWrittenOff: () => this.#wasWrittenOff(),
      isUnavailable: options.isUnavailable,
      log,
      now: this.#now,
    });
    this.#desk = new LeaseDesk({
      store,
      replicaId: this.replicaId,
      now: this.#now,
      tryHold: (id, needs) => this.#tryHold(id, needs),
      accountOf: (need) => this.#leases.of(need),
      fits: (need) => this.#fits(this.#leases.of(need), need.amount, this.#now()),
      relax: (accounts) => {
        for (const account of accounts) this.#leases.relax(account);
      },
      ensureAlive: async () => this.#liveness.fresh || (await this.#liveness.renew()),
      onUncertain: (error, accounts) => {
        this.#leases.doubt(accounts);
        // Of one window: a batch that fails is divided until it is known which.
        if (accounts.length === 1 && !options.isUnavailable(error)) {
          const { id, subject, unit, period } = accounts[0]!.window;
          log.error(
            { err: error, window_id: id, subject, unit, period },
            'PostgreSQL cannot lease from this budget: requests that it applies to are refused',
          );
        }
      },
      isUnavailable: options.isUnavailable,
      reach: this.#reach,
    });
    this.#waiting = new HoldQueue({
      now: this.#now,
      tryHold: (id, needs) => (this.#lends ? this.#tryHold(id, needs) : undefined),
      hopeless: (needs) => this.#hopeless(needs),
      ask: (id, needs) => this.#wait(id, needs),
      release: (hold) => this.release(hold),
      stateOf: (needs) => this.#stateOf(needs),
    });
    this.#queue = new SettlementQueue({
      settle: (settlements, returns) => store.settle(this.replicaId, { settlements, returns }),
      takeReturns: (limit) => this.#leases.takeReturns(limit),
      onSettled: (settlements, returns, answer, epoch) => this.#settled(settlements, returns, answer, epoch),
      epoch: () => (this.#desk.idle ? this.#desk.epoch : undefined),
      onUncertain: (returns) => this.#leases.doubtReturns(returns),
      onRejected: ({ record }, error) => this.#lost(record, error.message),
      isUnavailable: options.isUnavailable,
      onBacklog: (length) => log.warn({ waiting: length }, 'usage records wait for PostgreSQL'),
    });
    this.#stopListening = store.onRecall(
      (windowIds) => this.#leases.recalled(windowIds),
      () => this.#leases.any,
    );
    this.#housekeeping = setInterval(() => this.#keepHouse(), HOUSEKEEPING_MS).unref();
  }

  /** @throws StoreUnavailableError when PostgreSQL does not answer. */
  static async start(options: ReplicaLedgerOptions): Promise<ReplicaLedger> {
    const ledger = new ReplicaLedger(options);
    try {
      await ledger.#liveness.start();
    } catch (error) {
      ledger.#stopListening();
      clearInterval(ledger.#housekeeping);
      throw error;
    }
    return ledger;
  }

  hold(id: string, needs: readonly WindowNeed[]): HoldResult | Promise<HoldResult> {
    if (needs.length === 0) return { state: 'held', hold: this.#admit(id, needs) };
    if (this.#waiting.length > 0) {
      const reserved = needs.filter((need) => this.#waiting.reserves(need));
      if (reserved.length > 0) {
        const shortages = this.#stateOf(reserved).map((state) => ({ ...state, available: 0n }));
        return { state: 'short', shortages };
      }
    }
    if (this.#lends) {
      const result = this.#tryHold(id, needs) ?? this.#hopeless(needs);
      if (result !== undefined) return result;
    }
    return this.#wait(id, needs);
  }

  wait(
    id: string,
    choices: readonly [readonly WindowNeed[], ...(readonly WindowNeed[])[]],
    patience: Patience,
  ): Promise<WaitResult> {
    return this.#waiting.wait(id, choices, patience);
  }

  admitUnheld(id: string, needs: readonly WindowNeed[]): Hold {
    return this.#admit(
      id,
      needs.map((need) => ({ ...need, amount: 0n })),
    );
  }

  note(hold: Hold, floor: () => UsageRecord): void {
    const open = this.#open.get(hold.id);
    if (open !== undefined) open.floor = floor;
  }

  settle(hold: Hold, unclamped: UsageRecord, windowIds?: readonly string[]): void {
    if (!this.#close(hold)) return;
    const record = clampRecord(unclamped);
    const now = this.#now();
    const ids = new Set(windowIds);
    for (const { window, amount } of hold.needs) {
      ids.add(window.id);
      const account = this.#leases.get(window.id);
      if (account === undefined) continue;
      account.free += amount;
      account.usedAt = now;
    }
    const charges: { account: Account; cost: bigint }[] = [];
    for (const id of ids) {
      const account = this.#leases.get(id);
      if (account === undefined) continue;
      const cost = amountOf(record, account.window.unit);
      account.free -= cost;
      account.unsettled += cost;
      account.busy++;
      charges.push({ account, cost });
      this.#leases.relax(account);
    }
    this.#queue.push({ record, windowIds: [...ids], charges });
    this.#waiting.wake();
  }

  release(hold: Hold): void {
    const { sent, floor } = this.#open.get(hold.id) ?? {};
    if (sent === true && floor !== undefined) {
      // Its note must go, or it would be charged should this replica die.
      this.settle(hold, unused(floor()));
      return;
    }
    if (!this.#close(hold)) return;
    for (const { window, amount } of hold.needs) {
      const account = this.#leases.get(window.id);
      if (account === undefined) continue;
      account.free += amount;
      this.#leases.relax(account);
    }
    this.#waiting.wake();
  }

  peek(windowId: string): WindowState | undefined {
    const account = this.#leases.get(windowId);
    if (account === undefined || account.toldAt === -Infinity) return undefined;
    return { windowId, spent: account.spent + account.unsettled, held: account.held };
  }

  /**
   * @param listener Told the states of windows after settlements, not on the request path; must not throw.
   * @returns a function that ends it.
   */
  onStates(listener: (states: readonly WindowState[]) => void): () => void {
    this.#stateListeners.add(listener);
    return () => this.#stateListeners.delete(listener);
  }

  /** The policy has changed: the revision is reported at once, if it is another one. */
  policyChanged(): void {
    void this.#liveness.report();
  }

  /** Requests that wait for what others hold. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Requests that are not settled. */
  get open(): number {
    return this.#open.size;
  }

  /** Settlements that PostgreSQL has not taken. */
  get queued(): number {
    return this.#queue.length;
  }

  /** Requests that are not settled, and settlements that PostgreSQL has not taken. */
  get pending(): number {
    return this.#open.size + this.#queue.length;
  }

  /**
   * Settles what is there and gives everything back.
   *
   * @returns how many settlements were lost because PostgreSQL was away for all that time.
   */
  async close(withinMs = 10_000): Promise<number> {
    clearInterval(this.#housekeeping);
    this.#stopListening();
    this.#waiting.close();
    this.#reach.close();
    const left = await this.#queue.close(withinMs);
    await this.#liveness.close();
    for (const { record } of left) this.#lost(record, 'PostgreSQL did not answer before the end');
    if (left.length === 0) {
      await this.#store.leave(this.replicaId).catch((error: unknown) =>
        // Its leases expire.
        this.#log.warn({ reason: (error as Error).message }, 'cannot give leases back'),
      );
    }
    return left.length;
  }

  async #wait(id: string, needs: readonly WindowNeed[]): Promise<HoldResult> {
    if (this.#reach.away) return { state: 'unavailable' };
    try {
      if (!(await this.#ready())) return { state: 'unavailable' };
    } catch {
      // Logged where it was met.
      return { state: 'failed' };
    }
    return this.#tryHold(id, needs) ?? this.#hopeless(needs) ?? this.#desk.wait(id, needs);
  }

  /** Whether there are leases to lend from. @throws what PostgreSQL answers instead of taking a heartbeat. */
  async #ready(): Promise<boolean> {
    if (!this.#liveness.fresh) {
      const renewed = await within(PATIENCE_MS, this.#liveness.renew());
      if (renewed === undefined) this.#reach.lost();
      if (renewed !== true) return false;
    }
    if (!this.#writtenOff) return true;
    if (this.#queue.failing) return false;
    await within(PATIENCE_MS, this.#resync());
    return !this.#writtenOff;
  }

  /** Whether leases are at hand to lend from, without asking anybody. */
  get #lends(): boolean {
    return this.#liveness.fresh && !this.#writtenOff;
  }

  /** Of the windows that have no room for it; of all when each has. */
  #stateOf(needs: readonly WindowNeed[]): readonly Shortage[] {
    const states = needs.map((need) => {
      const { available, spent, unsettled } = this.#leases.of(need);
      return { short: need.amount > available, window: need.window, available, spent: spent + unsettled };
    });
    const short = states.filter((state) => state.short);
    return (short.length > 0 ? short : states).map(({ window, available, spent }) => ({
      window,
      available,
      spent,
    }));
  }

  #tryHold(id: string, needs: readonly WindowNeed[]): HoldResult | undefined {
    const now = this.#now();
    for (const need of needs) {
      if (!this.#fits(this.#leases.of(need), need.amount, now)) return undefined;
    }
    return { state: 'held', hold: this.#admit(id, needs, now) };
  }

  #fits(account: Account, amount: bigint, now: number): boolean {
    return amount === 0n ? this.#isOpen(account, now) : account.free >= amount;
  }

  /** Whether a postpaid window has something left, as far as is known; looks it up beside the requests. */
  #isOpen(account: Account, now: number): boolean {
    if (account.toldAt === -Infinity) return false;
    if (now - account.toldAt > STALE_MS) {
      account.toldAt = now;
      this.#desk.refresh(account);
    }
    return account.spent + account.unsettled < account.cap;
  }

  /** What is settled never comes back, and nothing fits in less than it: PostgreSQL need not be asked to say no. */
  #hopeless(needs: readonly WindowNeed[]): HoldResult | undefined {
    const shortages = [];
    for (const need of needs) {
      const { window, cap, amount } = need;
      // Under the cap of this request: the lease may have been taken under a wider one.
      const account = this.#leases.get(window.id) && this.#leases.of(need);
      const isKnown = account !== undefined && account.toldAt !== -Infinity;
      const spent = isKnown ? account.spent + account.unsettled : 0n;
      const least = isKnown && amount === 0n ? 1n : amount;
      // Nobody has been asked to give anything back yet.
      if (spent + least > cap) {
        const left = spent < cap ? cap - spent : 0n;
        const available = isKnown && account.attainable < left ? account.attainable : left;
        shortages.push({ window, available, spent });
      }
    }
    return shortages.length === 0 ? undefined : { state: 'short', shortages };
  }

  #admit(id: string, needs: readonly WindowNeed[], now = this.#now()): Hold {
    this.#leases.used(now);
    const hold: OpenHold = { id, needs, since: now, floor: undefined, noted: false, sent: false };
    for (const need of needs) {
      const account = this.#leases.of(need);
      account.free -= need.amount;
      account.busy++;
      account.usedAt = now;
    }
    this.#open.set(id, hold);
    return hold;
  }

  /** @returns false when it was closed already. */
  #close(hold: Hold): boolean {
    const open = this.#open.get(hold.id);
    if (open === undefined) return false;
    this.#open.delete(hold.id);
    // The tables that a busy Map outgrows stay reachable from each other until the next full collection: what was in one
    // must not keep a whole request with it.
    open.floor = undefined;
    for (const { window } of hold.needs) {
      const account = this.#leases.get(window.id);
      if (account !== undefined) account.busy--;
    }
    return true;
  }

  #settled(
    settlements: readonly Charged[],
    returns: readonly LeaseReturn[],
    answer: SettleAnswer,
    epoch: number | undefined,
  ): void {
    const undisturbed = epoch !== undefined && this.#desk.idle && this.#desk.epoch === epoch;
    this.#leases.settled(settlements, returns, answer, undisturbed);
    this.#waiting.wake();
    for (const listener of this.#stateListeners) listener(answer.windows);
  }

  #keepHouse(): void {
    this.#leases.keepHouse();
    if ((this.#writtenOff || this.#leases.inDoubt) && !this.#queue.failing) void this.#resync();
  }

  #takeUnnoted(): readonly InFlightRequest[] {
    const before = this.#now() - NOTE_AFTER_MS;
    const requests: InFlightRequest[] = [];
    for (const hold of this.#open.values()) {
      // In order of admission.
      if (hold.since > before) break;
      if (hold.noted || hold.floor === undefined) continue;
      hold.noted = hold.sent = true;
      requests.push({ record: hold.floor(), windowIds: hold.needs.map(({ window }) => window.id) });
    }
    return requests;
  }

  #unnote(requests: readonly InFlightRequest[]): void {
    // They may have been noted all the same: doing it twice does no harm, settling removes it.
    for (const { record } of requests) {
      const hold = this.#open.get(record.id);
      if (hold !== undefined) hold.noted = false;
    }
  }

  #wasWrittenOff(): void {
    this.#writtenOff = true;
    // Requests under way were charged their floor; they are noted anew and corrected when they settle.
    for (const hold of this.#open.values()) hold.noted = false;
    this.#log.error(
      'this replica was taken for dead: it had not reached PostgreSQL for too long; its leases were given back',
    );
  }

  /** Looks leases up, with no other call under way. */
  #resync(): Promise<void> {
    return (this.#resyncing ??= this.#queue
      .paused(() => this.#desk.paused(() => this.#lookUp()))
      .catch(() => undefined)
      .finally(() => {
        this.#resyncing = undefined;
      }));
  }

  async #lookUp(): Promise<void> {
    const all = this.#writtenOff;
    await this.#leases.lookUp(all);
    if (all) this.#writtenOff = false;
  }

  /** Everything that somebody needs who enters it by hand. */
  #lost(record: UsageRecord, reason: string): void {
    this.#log.error(
      { record: { ...record, costNanoUsd: String(record.costNanoUsd) }, reason },
      'a usage record could not be stored: no budget counts it',
    );
  }
}

/** @returns undefined when it takes longer. */
async function within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
  const done = new AbortController();
  const late = sleep(ms, undefined, { ref: false, signal: done.signal }).catch(() => undefined);
  try {
    return await Promise.race([work, late]);
  } finally {
    done.abort();
  }
}

/** The record of a request that used nothing. */
function unused(floor: UsageRecord): UsageRecord {
  return {
    ...floor,
    ...NO_USAGE,
    costNanoUsd: 0n,
    outcome: 'partial',
  };
}
