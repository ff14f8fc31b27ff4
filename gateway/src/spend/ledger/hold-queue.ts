import type { Hold, HoldResult, Patience, Shortage, WaitResult, WindowNeed } from '../types.ts';

/** Requests that wait for one window, and those of one person, in all. Each has its body in memory. */
const MAX_WAITING_PER_WINDOW = 256;
const MAX_WAITING_PER_PERSON = 32;
/** Once it has waited for this part of its patience, the first of a window is not overtaken any more. */
const RESERVED_AFTER = 1 / 4;
/** How often the queue looks at its clock while anybody waits, in ms. */
const TICK_MS = 100;
/** How long after one look at PostgreSQL a waiter takes another, in ms: what other replicas give back is only seen there. */
const ASK_EVERY_MS = 400;
/** How many of a window's line look there, the first ones. */
const ASKING = 4;

export interface HoldQueueDeps {
  /** Monotonic, in ms. */
  readonly now: () => number;
  /** Holds it if it fits by now, without asking. */
  readonly tryHold: (id: string, needs: readonly WindowNeed[]) => HoldResult | undefined;
  /** `short` when no settlement of anybody could make room for it. */
  readonly hopeless: (needs: readonly WindowNeed[]) => HoldResult | undefined;
  /** Asks PostgreSQL, and through it the other replicas. */
  readonly ask: (id: string, needs: readonly WindowNeed[]) => Promise<HoldResult>;
  readonly release: (hold: Hold) => void;
  /** What the windows have now, for words. */
  readonly stateOf: (needs: readonly WindowNeed[]) => readonly Shortage[];
}

interface Waiter {
  /** Grows with arrival. */
  readonly turn: number;
  readonly id: string;
  readonly choices: readonly [readonly WindowNeed[], ...(readonly WindowNeed[])[]];
  /** The last of its choices. */
  readonly least: readonly WindowNeed[];
  readonly lines: readonly Line[];
  readonly patience: Patience;
  readonly since: number;
  readonly resolve: (result: WaitResult) => void;
  asking: boolean;
  askAt: number;
}

/** Who waits for one window, in order of arrival. */
interface Line {
  readonly windowId: string;
  readonly waiters: Set<Waiter>;
  /** Nobody who came later is served before this one. */
  reservedFor: Waiter | undefined;
  reservedAt: number;
  /** Until then nothing is reserved again: the small ones have had to wait, and get as long. */
  openUntil: number;
}

/**
 * Where requests wait that would fit if others in flight were settled. Nobody holds anything while they wait, so several
 * windows cannot lock each other up. Whoever fits is served in order of arrival; small ones may overtake a large one,
 * until it has waited for a quarter of its patience: from then on what comes back is kept for it, at most until its
 * patience ends, and afterwards for nobody for as long again. A reservation binds only who came later, so that two of
 * them never wait for each other.
 */
export class HoldQueue {
  readonly #deps: HoldQueueDeps;
  /** In order of arrival. */
  readonly #waiters = new Set<Waiter>();
  readonly #lines = new Map<string, Line>();
  readonly #people = new Map<string, number>();
  #turns = 0;
  #waking = false;
  #ticking: NodeJS.Timeout | undefined;

  constructor(deps: HoldQueueDeps) {
    this.#deps = deps;
  }

  get length(): number {
    return this.#waiters.size;
  }

  /** Whether somebody who waits for this window must not be overtaken by a newcomer. */
  reserves({ window }: WindowNeed): boolean {
    return this.#lines.get(window.id)?.reservedFor !== undefined;
  }

  /** See `Ledger.wait`. */
  wait(id: string, choices: Waiter['choices'], patience: Patience): Promise<WaitResult> {
    const least = choices.at(-1) ?? choices[0];
    const busy = (cause: 'timeout' | 'full'): Promise<WaitResult> =>
      Promise.resolve({ state: 'busy', cause, shortages: this.#deps.stateOf(least) });
    if (patience.forMs <= 0) return busy('timeout');
    const waiting = this.#people.get(patience.person) ?? 0;
    const crowded = least.some(
      ({ window }) => (this.#lines.get(window.id)?.waiters.size ?? 0) >= MAX_WAITING_PER_WINDOW,
    );
    if (crowded || waiting >= MAX_WAITING_PER_PERSON) return busy('full');

    return new Promise((resolve) => {
      const now = this.#deps.now();
      const waiter: Waiter = {
        turn: this.#turns++,
        id,
        choices,
        least,
        lines: least.map(({ window }) => this.#lineOf(window.id)),
        patience,
        since: now,
        resolve,
        asking: false,
        askAt: now + jittered(ASK_EVERY_MS / 2),
      };
      this.#waiters.add(waiter);
      for (const line of waiter.lines) line.waiters.add(waiter);
      this.#people.set(patience.person, waiting + 1);
      patience.onGone(() => this.#end(waiter, this.#busy(waiter, 'gone')));
      this.#ticking ??= setInterval(() => this.#tick(), TICK_MS);
      this.wake();
    });
  }

  /** Something came back to some window. Cheap while nobody waits. */
  wake(): void {
    if (this.#waiters.size === 0 || this.#waking) return;
    this.#waking = true;
    queueMicrotask(() => {
      this.#waking = false;
      for (const waiter of this.#waiters) this.#serve(waiter);
    });
  }

  /** Sends everybody away. */
  close(): void {
    for (const waiter of this.#waiters) this.#end(waiter, this.#busy(waiter, 'timeout'));
  }

  #lineOf(windowId: string): Line {
    let line = this.#lines.get(windowId);
    if (line === undefined) {
      line = {
        windowId,
        waiters: new Set(),
        reservedFor: undefined,
        reservedAt: -Infinity,
        openUntil: -Infinity,
      };
      this.#lines.set(windowId, line);
    }
    return line;
  }

  /** Holds what it can for this one, with what is at hand here. */
  #serve(waiter: Waiter): void {
    if (waiter.asking || isBlocked(waiter)) return;
    // More than the least only while nobody else could use it.
    const alone = waiter.lines.every(({ waiters }) => waiters.size === 1);
    for (const [choice, needs] of waiter.choices.entries()) {
      if (!alone && needs !== waiter.least) continue;
      const result = this.#deps.tryHold(waiter.id, needs);
      if (result?.state !== 'held') continue;
      this.#end(waiter, { state: 'held', hold: result.hold, choice });
      return;
    }
    const hopeless = this.#deps.hopeless(waiter.least);
    if (hopeless?.state === 'short') this.#end(waiter, hopeless);
  }

  #tick(): void {
    const now = this.#deps.now();
    for (const waiter of this.#waiters) {
      if (!waiter.patience.isCurrent()) this.#end(waiter, { state: 'changed' });
      else if (now - waiter.since >= waiter.patience.forMs) this.#end(waiter, this.#busy(waiter, 'timeout'));
    }
    for (const line of this.#lines.values()) reserve(line, now);
    for (const waiter of this.#waiters) {
      this.#serve(waiter);
      if (!this.#waiters.has(waiter) || waiter.asking || now < waiter.askAt) continue;
      if (isBlocked(waiter) || !waiter.lines.every((line) => isAmongFirst(line, waiter))) continue;
      void this.#ask(waiter);
    }
  }

  async #ask(waiter: Waiter): Promise<void> {
    waiter.asking = true;
    const result = await this.#deps.ask(waiter.id, waiter.least);
    waiter.asking = false;
    waiter.askAt = this.#deps.now() + jittered(ASK_EVERY_MS);
    if (!this.#waiters.has(waiter)) {
      if (result.state === 'held') this.#deps.release(result.hold);
      return;
    }
    switch (result.state) {
      case 'held':
        this.#end(waiter, { ...result, choice: waiter.choices.length - 1 });
        return;
      case 'unavailable':
      case 'failed':
        this.#end(waiter, result);
        return;
      case 'short':
        this.#serve(waiter);
    }
  }

  #busy(waiter: Waiter, cause: 'timeout' | 'gone'): WaitResult {
    return { state: 'busy', cause, shortages: this.#deps.stateOf(waiter.least) };
  }

  #end(waiter: Waiter, result: WaitResult): void {
    if (!this.#waiters.delete(waiter)) return;
    const now = this.#deps.now();
    for (const line of waiter.lines) {
      line.waiters.delete(waiter);
      if (line.reservedFor === waiter) {
        line.reservedFor = undefined;
        line.openUntil = now + (now - line.reservedAt);
      }
      if (line.waiters.size === 0) this.#lines.delete(line.windowId);
    }
    const { person } = waiter.patience;
    const waiting = (this.#people.get(person) ?? 1) - 1;
    if (waiting === 0) this.#people.delete(person);
    else this.#people.set(person, waiting);
    if (this.#waiters.size === 0) {
      clearInterval(this.#ticking);
      this.#ticking = undefined;
    }
    // What was kept for it is there for others now.
    this.wake();
    waiter.resolve(result);
  }
}

/** Keeps a window for who has waited longest, once that is long enough. */
function reserve(line: Line, now: number): void {
  if (line.reservedFor !== undefined || now < line.openUntil) return;
  const [first] = line.waiters;
  if (first === undefined || now - first.since < first.patience.forMs * RESERVED_AFTER) return;
  line.reservedFor = first;
  line.reservedAt = now;
}

function isBlocked({ lines, turn }: Waiter): boolean {
  return lines.some(({ reservedFor }) => reservedFor !== undefined && reservedFor.turn < turn);
}

function isAmongFirst({ waiters }: Line, waiter: Waiter): boolean {
  let place = 0;
  for (const one of waiters) {
    if (one === waiter) return true;
    if (++place === ASKING) return false;
  }
  return false;
}

/** Two replicas that wait for each other must not ask at the same moment. */
function jittered(ms: number): number {
  return ms * (0.75 + Math.random() / 2);
}
