import type { LeaseAnswer, LeaseAsk, LedgerStore } from '@claude-gateway/prisma';
import type { HoldResult, WindowNeed } from '../types.ts';
import type { Account } from './account.ts';
import { SILENCE_MS, type Reach } from './reach.ts';

/**
 * How long other replicas get to give back what they do not need, round by round, in ms. Also without a new recall:
 * what a request of theirs held that has just ended is on its way back.
 */
const RECALL_ROUNDS_MS = [25, 75, 200] as const;
/** Where one of them does not hear that it was asked, and looks for it now and then. */
const SLOW_RECALL_ROUNDS_MS = [...RECALL_ROUNDS_MS, 300, 400, 500] as const;
/** Within this of a recall the others keep nothing at hand of their own accord: no need to ask again. */
const RECALL_EVERY_MS = 1_000;
/** And this long where PostgreSQL is slow but answers, in ms: to serve it unheld could spend more than there is. */
const LONGEST_WAIT_MS = 10_000;
/** After so long of silence PostgreSQL is asked something smaller: it may be slow, and not away. */
const SUSPICIOUS_MS = SILENCE_MS / 2;
/** Largest number of windows in one statement. */
const BATCH = 500;

export interface LeaseDeskDeps {
  readonly store: Pick<LedgerStore, 'lease' | 'openWindows' | 'recall'>;
  readonly replicaId: string;
  readonly now: () => number;
  /** Holds it if it fits by now. */
  readonly tryHold: (id: string, needs: readonly WindowNeed[]) => HoldResult | undefined;
  readonly accountOf: (need: WindowNeed) => Account;
  /** Before the first lease after a silence: whether this replica is still on the list. */
  readonly ensureAlive: () => Promise<boolean>;
  /** Whether this one window has enough for it right now. */
  readonly fits: (need: WindowNeed) => boolean;
  /** What is at hand in these windows is needed by nobody here: another replica may be short of it. */
  readonly relax: (accounts: Iterable<Account>) => void;
  /** A call failed, and may have been carried out all the same. */
  readonly onUncertain: (error: unknown, accounts: readonly Account[]) => void;
  /** Whether the error says that PostgreSQL is away. Any other is an answer. */
  readonly isUnavailable: (error: unknown) => boolean;
  readonly reach: Pick<Reach, 'away' | 'heardAt' | 'suspect' | 'lost'>;
}

interface Waiter {
  readonly id: string;
  readonly needs: readonly WindowNeed[];
  /** Windows whose answer is outstanding. */
  readonly awaited: Set<Account>;
  /** Everything that it counts as wanted in. */
  readonly wanted: Map<Account, bigint>;
  readonly resolve: (result: HoldResult) => void;
  /** By the clock that timers go by, in ms. */
  readonly since: number;
  patience: NodeJS.Timeout | undefined;
  round: number;
}

/**
 * Where requests wait whose windows are short of leases. One call is under way at a time; what gathers meanwhile
 * goes with the next one, added up by window.
 */
export class LeaseDesk {
  readonly #deps: LeaseDeskDeps;
  /** In order of arrival. */
  readonly #waiters = new Set<Waiter>();
  readonly #due = new Set<Account>();
  #calling: Promise<void> | undefined;
  #paused = 0;
  /** One of the other replicas does not hear when it is asked to give something back. */
  #slowRecalls = false;
  /** Grows with each call, at its start and at its end. */
  epoch = 0;

  constructor(deps: LeaseDeskDeps) {
    this.#deps = deps;
  }

  get idle(): boolean {
    return this.#calling === undefined;
  }

  wait(id: string, needs: readonly WindowNeed[]): Promise<HoldResult> {
    if (this.#deps.reach.away) return Promise.resolve({ state: 'unavailable' });
    return new Promise((resolve) => {
      const waiter: Waiter = {
        id,
        needs,
        awaited: new Set(),
        wanted: new Map(),
        resolve,
        since: performance.now(),
        patience: undefined,
        round: 0,
      };
      this.#watch(waiter, SUSPICIOUS_MS);
      this.#waiters.add(waiter);
      for (const need of needs) {
        const account = this.#deps.accountOf(need);
        account.wanted += need.amount;
        waiter.wanted.set(account, need.amount);
      }
      this.#ask(waiter);
    });
  }

  /** Learns a window's state anew, beside the requests. */
  refresh(account: Account): void {
    this.#due.add(account);
    this.#flush();
  }

  /** Runs while no call is under way, and none begins. */
  async paused<T>(work: () => Promise<T>): Promise<T> {
    this.#paused++;
    try {
      while (this.#calling !== undefined) await this.#calling;
      return await work();
    } finally {
      this.#paused--;
      this.#flush();
    }
  }

  #watch(waiter: Waiter, ms: number): void {
    waiter.patience = setTimeout(() => {
      // What came while this process was busy is read first.
      setImmediate(() => this.#lookAt(waiter));
    }, ms);
  }

  #lookAt(waiter: Waiter): void {
    if (!this.#waiters.has(waiter)) return;
    const at = performance.now();
    // Between two rounds nobody waits for PostgreSQL.
    const asking = waiter.awaited.size > 0;
    const { reach } = this.#deps;
    const silentFor = asking ? at - Math.max(waiter.since, reach.heardAt) : 0;
    if (silentFor < SILENCE_MS && at - waiter.since < LONGEST_WAIT_MS) {
      if (silentFor >= SUSPICIOUS_MS) reach.suspect();
      this.#watch(waiter, (silentFor < SUSPICIOUS_MS ? SUSPICIOUS_MS : SILENCE_MS) - silentFor);
      return;
    }
    this.#end(waiter, { state: 'unavailable' });
    if (silentFor >= SILENCE_MS) reach.lost();
  }

  /** Nobody waits any longer for an answer that does not come. */
  giveUp(): void {
    for (const waiter of [...this.#waiters]) {
      if (waiter.awaited.size > 0) this.#end(waiter, { state: 'unavailable' });
    }
  }

  /** Asks for every window in which this request does not fit right now. */
  #ask(waiter: Waiter): void {
    for (const need of waiter.needs) {
      if (this.#deps.fits(need)) continue;
      const account = this.#deps.accountOf(need);
      waiter.awaited.add(account);
      this.#due.add(account);
    }
    if (waiter.awaited.size === 0) {
      // What others here gave back meanwhile is enough, and no answer would come to say so.
      const held = this.#deps.tryHold(waiter.id, waiter.needs);
      if (held !== undefined) this.#end(waiter, held);
      return;
    }
    this.#flush();
  }

  #flush(): void {
    if (this.#calling !== undefined || this.#paused > 0 || this.#due.size === 0) return;
    const accounts = [...this.#due].slice(0, BATCH);
    for (const account of accounts) this.#due.delete(account);
    this.#calling = this.#call(accounts).finally(() => {
      this.#calling = undefined;
      this.#flush();
    });
  }

  async #call(accounts: readonly Account[]): Promise<void> {
    const { now } = this.#deps;
    this.epoch++;
    let answered = false;
    let failed: ReadonlySet<Account> = new Set();
    try {
      if (await this.#deps.ensureAlive()) {
        failed = new Set(await this.#leaseAll(accounts));
        answered = true;
      }
    } catch (error) {
      answered = !this.#deps.isUnavailable(error);
      // It answers, and does not even take this replica's heartbeat.
      if (answered) failed = new Set(accounts);
      else this.#deps.onUncertain(error, accounts);
    }
    this.epoch++;
    const asked = new Set(accounts);
    const at = now();
    for (const waiter of [...this.#waiters]) {
      let concerned = false;
      let hasFailed = false;
      for (const account of waiter.awaited) {
        if (!asked.has(account)) continue;
        waiter.awaited.delete(account);
        concerned = true;
        hasFailed ||= failed.has(account);
      }
      if (!concerned) continue;
      if (!answered) this.#end(waiter, { state: 'unavailable' });
      else if (hasFailed) this.#end(waiter, { state: 'failed' });
      else if (waiter.awaited.size === 0) this.#decide(waiter, asked, at);
    }
    // Recalled while it was on its way here: nobody asks a second time for some while.
    this.#deps.relax(accounts);
  }

  /**
   * Leases in all of these windows. Where PostgreSQL answers with an error, the windows that it is about are found by
   * halving: the others must not suffer for them.
   *
   * @returns those that PostgreSQL answers with an error alone, too.
   * @throws what says that PostgreSQL is away.
   */
  async #leaseAll(accounts: readonly Account[]): Promise<readonly Account[]> {
    try {
      const missing = this.#apply(accounts, await this.#lease(accounts));
      if (missing.length > 0) {
        await this.#deps.store.openWindows(missing.map(({ window }) => window));
        this.#apply(missing, await this.#lease(missing));
      }
      return [];
    } catch (error) {
      if (this.#deps.isUnavailable(error)) throw error;
      this.#deps.onUncertain(error, accounts);
      if (accounts.length === 1) return accounts;
      const half = Math.ceil(accounts.length / 2);
      const first = await this.#leaseAll(accounts.slice(0, half));
      return [...first, ...(await this.#leaseAll(accounts.slice(half)))];
    }
  }

  async #lease(accounts: readonly Account[]): Promise<readonly LeaseAnswer[]> {
    const at = this.#deps.now();
    const asks = accounts.map((account): LeaseAsk => {
      const lacking = account.wanted - (account.free > 0n ? account.free : 0n);
      const need = lacking > 0n ? lacking : 0n;
      return {
        windowId: account.window.id,
        cap: account.cap,
        need,
        extra: need === 0n || at < account.tightUntil ? 0n : need * account.reserve(at),
      };
    });
    const answers = await this.#deps.store.lease(this.#deps.replicaId, asks);
    return answers;
  }

  /** @returns accounts whose window does not exist. */
  #apply(accounts: readonly Account[], answers: readonly LeaseAnswer[]): Account[] {
    const byId = new Map(answers.map((answer) => [answer.windowId, answer]));
    const at = this.#deps.now();
    return accounts.filter((account) => {
      const answer = byId.get(account.window.id);
      if (answer === undefined) return true;
      account.leased += answer.granted;
      account.free += answer.granted;
      account.told(answer, at);
      return false;
    });
  }

  #decide(waiter: Waiter, asked: ReadonlySet<Account>, at: number): void {
    const held = this.#deps.tryHold(waiter.id, waiter.needs);
    if (held !== undefined) {
      this.#end(waiter, held);
      return;
    }
    const short = waiter.needs.filter((need) => !this.#deps.fits(need));
    if (short.some((need) => !asked.has(this.#deps.accountOf(need)))) {
      // Somebody else took what was there when this one began to wait.
      this.#ask(waiter);
      return;
    }
    const pause = (this.#slowRecalls ? SLOW_RECALL_ROUNDS_MS : RECALL_ROUNDS_MS)[waiter.round];
    const canHelp = short.every((need) => this.#helpCanCome(need));
    if (pause !== undefined && canHelp) {
      waiter.round++;
      this.#recall(short, at);
      // Two replicas that wait for each other must not give up at the same moment.
      const jittered = pause * (0.75 + Math.random() / 2);
      setTimeout(() => {
        if (this.#waiters.has(waiter)) this.#ask(waiter);
      }, jittered);
      return;
    }
    const shortages = short.map((need) => {
      const account = this.#deps.accountOf(need);
      // Too large whatever the others give back: nobody was waited for, and a smaller one may fit.
      const available = canHelp ? account.available : account.attainable;
      return { window: need.window, available, spent: account.spent + account.unsettled };
    });
    this.#end(waiter, { state: 'short', shortages });
    this.#deps.relax(waiter.wanted.keys());
  }

  /** It would fit if other replicas held nothing, and if what is on its way back had arrived. */
  #helpCanCome(need: WindowNeed): boolean {
    const account = this.#deps.accountOf(need);
    const others = account.held - account.leased;
    return account.available + account.returning + (others > 0n ? others : 0n) >= need.amount;
  }

  /** Asks the others to give back what they hold idle in these windows, unless they were asked a moment ago. */
  #recall(needs: readonly WindowNeed[], at: number): void {
    const due = needs
      .map((need) => this.#deps.accountOf(need))
      .filter(({ held, leased, recalledAt }) => held > leased && at - recalledAt > RECALL_EVERY_MS);
    if (due.length === 0) return;
    for (const account of due) account.recalledAt = at;
    const windowIds = due.map(({ window }) => window.id);
    this.#deps.store.recall(this.#deps.replicaId, windowIds).then(
      ({ slow }) => (this.#slowRecalls = slow),
      () => undefined,
    );
  }

  #end(waiter: Waiter, result: HoldResult): void {
    if (!this.#waiters.delete(waiter)) return;
    clearTimeout(waiter.patience);
    for (const [account, amount] of waiter.wanted) account.wanted -= amount;
    waiter.resolve(result);
  }
}
