/** What a reconcile asks for when it ends well: nothing, or to be run again after a while. */
export interface ReconcileResult {
  /** Milliseconds. */
  readonly requeueAfter?: number;
}

export interface WorkQueueOptions {
  /** Keys that may be worked on at the same time; one key never is. Default 4. */
  readonly concurrency?: number;
  /** First delay after a failure, in ms. Default 250. */
  readonly baseDelay?: number;
  /** Longest delay after many failures, in ms. Default 300 000. */
  readonly maxDelay?: number;
  /** Told about each failure, with the number of failures in a row and the delay until the next try. */
  readonly onError?: (key: string, error: unknown, failures: number, retryIn: number) => void;
  /** Replaces Math.random for the jitter. */
  readonly random?: () => number;
}

/**
 * A level-triggered queue: of keys, never of events. However often a key is added while it waits, it is worked on once;
 * added while it is worked on, it is worked on once more afterwards. A key that fails waits exponentially longer, with
 * jitter, and holds no other key up.
 */
export class WorkQueue {
  readonly #reconcile: (key: string) => Promise<ReconcileResult | void>;
  readonly #concurrency: number;
  readonly #baseDelay: number;
  readonly #maxDelay: number;
  readonly #onError: NonNullable<WorkQueueOptions['onError']>;
  readonly #random: () => number;

  /** In insertion order: who waits longest is next. */
  readonly #ready = new Set<string>();
  readonly #active = new Set<string>();
  /** Added again while active. */
  readonly #dirty = new Set<string>();
  readonly #delayed = new Map<string, { timer: NodeJS.Timeout; due: number }>();
  readonly #failures = new Map<string, number>();
  #stopped = false;
  #idle: (() => void) | undefined;

  constructor(reconcile: (key: string) => Promise<ReconcileResult | void>, options: WorkQueueOptions = {}) {
    this.#reconcile = reconcile;
    this.#concurrency = options.concurrency ?? 4;
    this.#baseDelay = options.baseDelay ?? 250;
    this.#maxDelay = options.maxDelay ?? 300_000;
    this.#onError = options.onError ?? (() => undefined);
    this.#random = options.random ?? Math.random;
  }

  /** Keys that are ready, being worked on, or due later. */
  get size(): number {
    return new Set([...this.#ready, ...this.#active, ...this.#delayed.keys()]).size;
  }

  /** Something about this key may have changed: work on it as soon as possible. */
  add(key: string): void {
    if (this.#stopped) return;
    this.#cancelDelay(key);
    if (this.#active.has(key)) {
      this.#dirty.add(key);
      return;
    }
    this.#ready.add(key);
    this.#pump();
  }

  /** Work on this key in `delay` ms, unless it is worked on before that anyway. The earlier of two delays counts. */
  addAfter(key: string, delay: number): void {
    if (this.#stopped) return;
    if (delay <= 0) {
      this.add(key);
      return;
    }
    if (this.#ready.has(key)) return;
    const due = Date.now() + delay;
    const standing = this.#delayed.get(key);
    if (standing !== undefined && standing.due <= due) return;
    this.#cancelDelay(key);
    const timer = setTimeout(() => {
      this.#delayed.delete(key);
      this.add(key);
    }, delay);
    this.#delayed.set(key, { timer, due });
  }

  /** The object is gone: forget its failures and its delays. Work that is under way ends by itself. */
  forget(key: string): void {
    this.#cancelDelay(key);
    this.#failures.delete(key);
    this.#ready.delete(key);
    this.#dirty.delete(key);
  }

  /** Takes nothing new up. @returns when the work under way has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#ready.clear();
    this.#dirty.clear();
    for (const key of this.#delayed.keys()) this.#cancelDelay(key);
    if (this.#active.size > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
  }

  #pump(): void {
    for (const key of this.#ready) {
      if (this.#active.size >= this.#concurrency) return;
      this.#ready.delete(key);
      this.#active.add(key);
      void this.#work(key);
    }
  }

  async #work(key: string): Promise<void> {
    let retry: number | undefined;
    try {
      const result = await this.#reconcile(key);
      this.#failures.delete(key);
      retry = result?.requeueAfter;
    } catch (error) {
      const failures = (this.#failures.get(key) ?? 0) + 1;
      this.#failures.set(key, failures);
      retry = this.#backoff(failures);
      this.#onError(key, error, failures, retry);
    }
    this.#active.delete(key);
    if (this.#dirty.delete(key)) this.add(key);
    else if (retry !== undefined) this.addAfter(key, retry);
    if (this.#stopped && this.#active.size === 0) this.#idle?.();
    this.#pump();
  }

  /** Full delay less up to a fifth, so that keys that failed together do not come back together. */
  #backoff(failures: number): number {
    const full = Math.min(this.#maxDelay, this.#baseDelay * 2 ** Math.min(failures - 1, 30));
    return Math.round(full * (1 - this.#random() * 0.2));
  }

  #cancelDelay(key: string): void {
    clearTimeout(this.#delayed.get(key)?.timer);
    this.#delayed.delete(key);
  }
}
