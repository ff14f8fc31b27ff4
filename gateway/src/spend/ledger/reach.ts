import { setTimeout as sleep } from 'node:timers/promises';
import type { LedgerStore } from '@claude-gateway/prisma';
import type { Log } from '../../observe/log.ts';

/** A server that says nothing at all for so long is away, in ms. A request waits as long, as at the reference. */
export const SILENCE_MS = 2_000;
/** The same where nobody waits: a moment's stall of a busy server costs nobody anything then, in ms. */
const UNASKED_SILENCE_MS = 2 * SILENCE_MS;
/** Between two looks whether PostgreSQL is back, in ms. */
const PROBE_PAUSE_MS = 250;

export interface ReachDeps {
  /** Asks PostgreSQL something small, through what {@link Reach.watch} watches. */
  readonly probe: () => Promise<unknown>;
  /** Whether the error says that PostgreSQL is away. Any other is an answer. */
  readonly isUnavailable: (error: unknown) => boolean;
  /** It is known to be away now: whoever waits for it waits in vain. */
  readonly onLost: () => void;
  readonly log: Log;
}

/**
 * Whether PostgreSQL answers: a breaker. A server that refuses says so at once, and nobody has to know; one that is silent lets each
 * request wait. Once it is known to be, none does, and it is asked beside them until it answers.
 */
export class Reach {
  readonly #deps: ReachDeps;
  readonly #closing = new AbortController();
  /** By the clock that timers go by, in ms. */
  #heardAt = -Infinity;
  #away = false;

  constructor(deps: ReachDeps) {
    this.#deps = deps;
  }

  /** Known to be silent. */
  get away(): boolean {
    return this.#away;
  }

  /** When PostgreSQL answered anything last, by `performance.now()`. */
  get heardAt(): number {
    return this.#heardAt;
  }

  /** The same store; its answers are heard here, errors that are answers included. */
  watch(store: LedgerStore): LedgerStore {
    const heard = async <T>(answer: Promise<T>): Promise<T> => {
      try {
        const value = await answer;
        this.#heard();
        return value;
      } catch (error) {
        if (!this.#deps.isUnavailable(error)) this.#heard();
        throw error;
      }
    };
    return {
      openWindows: (windows) => heard(store.openWindows(windows)),
      lease: (id, asks) => heard(store.lease(id, asks)),
      settle: (id, batch) => heard(store.settle(id, batch)),
      heartbeat: (beat) => this.#within(heard(store.heartbeat(beat))),
      leave: (id) => heard(store.leave(id)),
      sweep: () => heard(store.sweep()),
      recall: (id, windowIds) => heard(store.recall(id, windowIds)),
      onRecall: (listener, holds) => store.onRecall(listener, holds),
      windows: (windowIds) => heard(store.windows(windowIds)),
    };
  }

  /** What is answered at once where anything is. */
  async #within<T>(answer: Promise<T>): Promise<T> {
    const since = performance.now();
    const late = setTimeout(() => {
      // What came while this process was busy is read first.
      setImmediate(() => this.#heardAt < since && this.lost());
    }, UNASKED_SILENCE_MS).unref();
    try {
      return await answer;
    } finally {
      clearTimeout(late);
    }
  }

  /** It has been silent for a while: it may be slow with one thing and answer another. */
  suspect(): void {
    this.#deps.probe().catch(() => undefined);
  }

  /** It has been silent for longer than anybody waits. */
  lost(): void {
    if (this.#away) return;
    this.#away = true;
    this.#deps.log.warn('PostgreSQL says nothing: requests do not wait for it until it does');
    this.#deps.onLost();
    void this.#probe();
  }

  close(): void {
    this.#closing.abort();
  }

  #heard(): void {
    this.#heardAt = performance.now();
    if (!this.#away) return;
    this.#away = false;
    this.#deps.log.info('PostgreSQL is heard again');
  }

  async #probe(): Promise<void> {
    const { signal } = this.#closing;
    while (this.#away && !signal.aborted) {
      await this.#deps.probe().catch(() => undefined);
      if (this.#away) await sleep(PROBE_PAUSE_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }
}
