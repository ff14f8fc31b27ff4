import type { LeaseReturn, LedgerStore, SettleAnswer } from '@claude-gateway/prisma';
import type { WindowNeed } from '../types.ts';
import { Account } from './account.ts';
import type { Charged } from './settlement-queue.ts';

/** What nobody has used for so long goes back, where it is much of what is left. */
const MUCH_IDLE_MS = 1_500;
/** The part of what is left that is much. */
const MUCH = 8n;
/** Everything goes back when nobody has been served for so long. */
const QUIET_MS = 15_000;
/** What is little goes back after so long: its user may come again, and whoever needs it earlier asks for it. */
const LITTLE_IDLE_MS = 600_000;
/** Largest number of accounts that are looked through in one go: requests wait meanwhile. */
const HOUSEKEEPING_BATCH = 2_000;
/** What is nobody's any more is forgotten after so long. */
const FORGET_MS = 60_000;
/** How long a window that another replica is short of is kept without anything at hand. */
const TIGHT_MS = 5_000;
const LOOK_UP_BATCH = 500;

export interface LeasesDeps {
  readonly store: Pick<LedgerStore, 'lease'>;
  readonly replicaId: string;
  /** Monotonic, in ms. */
  readonly now: () => number;
  /** Default 15,000 ms. See {@link QUIET_MS}. */
  readonly quietMs: number | undefined;
  /** There is something to give back. @param atOnce Because somebody waits for it. */
  readonly onReturns: (atOnce: boolean) => void;
}

/** What this replica holds of each window, and what it gives back. */
export class Leases {
  readonly #deps: LeasesDeps;
  readonly #accounts = new Map<string, Account>();
  /** What is to go back with the next batch; part of `returning`. */
  readonly #returns = new Map<Account, bigint>();
  /** Their leases may be others than this replica believes. */
  readonly #doubtful = new Set<Account>();
  /** When anything was used last. */
  #usedAt = -Infinity;
  readonly #quietMs: number;
  /** How far housekeeping has come. */
  #lap: MapIterator<[string, Account]> | undefined;

  constructor(deps: LeasesDeps) {
    this.#deps = deps;
    this.#quietMs = deps.quietMs ?? QUIET_MS;
  }

  get(windowId: string): Account | undefined {
    return this.#accounts.get(windowId);
  }

  /** The account of a window, under the cap that is in force now. */
  of({ window, cap }: WindowNeed): Account {
    let account = this.#accounts.get(window.id);
    if (account === undefined) {
      account = new Account(window, cap, this.#deps.now());
      this.#accounts.set(window.id, account);
    } else if (account.cap !== cap) {
      // What was leased under a wider cap is asked for again under the narrower one.
      if (cap < account.cap) this.#giveBack(account);
      account.cap = cap;
    }
    return account;
  }

  used(at: number): void {
    this.#usedAt = at;
  }

  /** Keeps nothing at hand of a window that another replica is short of. */
  relax(account: Account): void {
    if (this.#deps.now() >= account.tightUntil) return;
    this.#giveBack(account);
    if (this.#returns.size > 0) this.#deps.onReturns(true);
  }

  takeReturns(limit: number): readonly LeaseReturn[] {
    const returns: LeaseReturn[] = [];
    for (const [account, amount] of this.#returns) {
      if (returns.length === limit) break;
      returns.push({ windowId: account.window.id, amount });
      this.#returns.delete(account);
    }
    return returns;
  }

  /**
   * A batch was settled.
   *
   * @param undisturbed No lease was under way meanwhile: what PostgreSQL says of leases is how they are.
   */
  settled(
    settlements: readonly Charged[],
    returns: readonly LeaseReturn[],
    answer: SettleAnswer,
    undisturbed: boolean,
  ): void {
    const now = this.#deps.now();
    const charged = new Map<Account, bigint>();
    for (const { charges } of settlements) {
      for (const { account, cost } of charges) {
        account.unsettled -= cost;
        account.busy--;
        charged.set(account, (charged.get(account) ?? 0n) + cost);
      }
    }
    for (const [account, cost] of charged) {
      // The lease pays as far as it reaches; what goes beyond was never at hand.
      const paid = cost < account.leased ? cost : account.leased;
      account.leased -= paid;
      account.free += cost - paid;
    }
    for (const { windowId, amount } of returns) {
      const account = this.#accounts.get(windowId);
      if (account === undefined) continue;
      account.returning -= amount;
      account.leased -= amount;
    }
    for (const state of answer.windows) {
      const account = this.#accounts.get(state.windowId);
      if (account === undefined) continue;
      account.told(state, now);
      if (undisturbed && account.leased !== state.leased) {
        account.free += state.leased - account.leased;
        account.leased = state.leased;
      }
    }
  }

  /** Whether anything may be at hand here that another replica could be short of. */
  get any(): boolean {
    return this.#accounts.size > 0;
  }

  /** Another replica is short of these windows. */
  recalled(windowIds: readonly string[]): void {
    const now = this.#deps.now();
    for (const id of windowIds) {
      const account = this.#accounts.get(id);
      if (account === undefined) continue;
      account.tightUntil = now + TIGHT_MS;
      this.#giveBack(account);
    }
    if (this.#returns.size > 0) this.#deps.onReturns(true);
  }

  /** Gives back what has been idle, and forgets what is nobody's: a batch of them for each call. */
  keepHouse(): void {
    const now = this.#deps.now();
    const quiet = now - this.#usedAt > this.#quietMs;
    this.#lap ??= this.#accounts.entries();
    for (let i = 0; i < HOUSEKEEPING_BATCH; i++) {
      const { done, value } = this.#lap.next();
      if (done === true) {
        this.#lap = undefined;
        return;
      }
      const [id, account] = value;
      if (account.busy > 0 || account.wanted > 0n) continue;
      const idle = now - account.usedAt;
      if (idle <= MUCH_IDLE_MS) continue;
      if (quiet || idle > LITTLE_IDLE_MS || isMuch(account)) this.#giveBack(account);
      if (idle < FORGET_MS || account.leased !== 0n || account.returning !== 0n) continue;
      if (!this.#doubtful.has(account)) this.#accounts.delete(id);
    }
  }

  /** Calls about these failed, and may have been carried out all the same. */
  doubt(accounts: Iterable<Account>): void {
    for (const account of accounts) this.#doubtful.add(account);
  }

  doubtReturns(returns: readonly LeaseReturn[]): void {
    for (const { windowId } of returns) {
      const account = this.#accounts.get(windowId);
      if (account !== undefined) this.#doubtful.add(account);
    }
  }

  get inDoubt(): boolean {
    return this.#doubtful.size > 0;
  }

  /**
   * Looks leases up: those in doubt, or all. Only while no call is under way that could change them.
   *
   * @throws StoreUnavailableError
   */
  async lookUp(all: boolean): Promise<void> {
    const accounts = [...(all ? this.#accounts.values() : this.#doubtful)];
    for (let i = 0; i < accounts.length; i += LOOK_UP_BATCH) {
      const batch = accounts.slice(i, i + LOOK_UP_BATCH);
      const asks = batch.map(({ window, cap }) => ({ windowId: window.id, cap, need: 0n, extra: 0n }));
      const answers = await this.#deps.store.lease(this.#deps.replicaId, asks);
      const byId = new Map(answers.map((answer) => [answer.windowId, answer]));
      const now = this.#deps.now();
      for (const account of batch) {
        const answer = byId.get(account.window.id);
        this.#returns.delete(account);
        account.correct(answer?.leased ?? 0n);
        this.#doubtful.delete(account);
        if (answer !== undefined) account.told(answer, now);
      }
    }
  }

  #giveBack(account: Account): void {
    if (account.free <= 0n || account.wanted > 0n) return;
    account.returning += account.free;
    this.#returns.set(account, (this.#returns.get(account) ?? 0n) + account.free);
    account.free = 0n;
    this.#deps.onReturns(false);
  }
}

/** Whether others could miss it. */
function isMuch({ cap, spent, free }: Account): boolean {
  return free * MUCH > cap - spent;
}
