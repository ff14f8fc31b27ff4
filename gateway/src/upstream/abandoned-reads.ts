/** Whose answers are read on after their client has gone. */
export interface AbandonedRead {
  /** The person's subject. */
  readonly sub: string;
  /** Of the request's body, which stays in memory until its answer is over. */
  readonly requestBytes: number;
  /** For how long at most, in ms. */
  readonly withinMs: number;
  /** Called once when the time is up: to abort, and to settle what is known. */
  readonly giveUp: () => void;
}

export interface AbandonedLimits {
  readonly maxReads?: number;
  readonly maxReadsPerPerson?: number;
  readonly maxRequestBytes?: number;
}

/** Each is a connection to an upstream that nobody waits for. */
const MAX_READS = 256;
/** Somebody who interrupts a session with many agents abandons some ten at once. */
const MAX_READS_PER_PERSON = 32;
const MAX_REQUEST_BYTES = 32 * 1024 * 1024;

/**
 * The answers that are read on to their end though nobody listens any more, so that the upstream's own count is what is
 * billed. One for the process: whoever opens and drops thousands of requests must not pin memory or connections.
 */
export class AbandonedReads {
  readonly #limits: Required<AbandonedLimits>;
  readonly #reads = new Set<AbandonedRead>();
  readonly #perPerson = new Map<string, number>();
  #requestBytes = 0;
  #closed = false;
  #onIdle: (() => void) | undefined;

  constructor(limits: AbandonedLimits = {}) {
    this.#limits = {
      maxReads: limits.maxReads ?? MAX_READS,
      maxReadsPerPerson: limits.maxReadsPerPerson ?? MAX_READS_PER_PERSON,
      maxRequestBytes: limits.maxRequestBytes ?? MAX_REQUEST_BYTES,
    };
  }

  get size(): number {
    return this.#reads.size;
  }

  /** @returns what to call when the answer is over, or undefined: there is no room, and it is to be given up at once. */
  keep(read: AbandonedRead): (() => void) | undefined {
    const { maxReads, maxReadsPerPerson, maxRequestBytes } = this.#limits;
    const own = this.#perPerson.get(read.sub) ?? 0;
    if (
      this.#closed ||
      read.withinMs <= 0 ||
      this.#reads.size >= maxReads ||
      own >= maxReadsPerPerson ||
      this.#requestBytes + read.requestBytes > maxRequestBytes
    ) {
      return undefined;
    }
    this.#reads.add(read);
    this.#perPerson.set(read.sub, own + 1);
    this.#requestBytes += read.requestBytes;
    const timer = setTimeout(() => read.giveUp(), read.withinMs);
    return () => {
      clearTimeout(timer);
      this.#delete(read);
    };
  }

  /** Waits for those that are under way, gives up what is left then, and takes no more. */
  async close(withinMs: number): Promise<void> {
    if (this.#reads.size > 0 && withinMs > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, withinMs);
      this.#onIdle = resolve;
      await promise;
      clearTimeout(timer);
    }
    this.#closed = true;
    for (const read of this.#reads) read.giveUp();
  }

  #delete(read: AbandonedRead): void {
    if (!this.#reads.delete(read)) return;
    const left = (this.#perPerson.get(read.sub) ?? 1) - 1;
    if (left === 0) this.#perPerson.delete(read.sub);
    else this.#perPerson.set(read.sub, left);
    this.#requestBytes -= read.requestBytes;
    if (this.#reads.size === 0) this.#onIdle?.();
  }
}
