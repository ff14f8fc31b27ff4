import { StoreBusyError, StoreUnavailableError } from './errors.ts';

export interface ConnectionShareOptions {
  /** For logs: who shares. */
  readonly name: string;
  /** Calls that may use a connection at the same time. */
  readonly maxActive: number;
  /** Calls that may wait for one of those to end; one more is refused at once. */
  readonly maxWaiting: number;
  /** How long a call waits at most, in ms. Default 3,000. */
  readonly maxWaitMs?: number;
  /** Told when calls are refused, at most once in a while, with how many were refused since the last time. */
  readonly onShed?: (name: string, refused: number) => void;
}

const MAX_WAIT_MS = 3_000;
/** No more than one report of refusals in so long, in ms. */
const REPORT_EVERY_MS = 30_000;

interface Waiting {
  readonly start: () => void;
  readonly refuse: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/**
 * A part of the connections to PostgreSQL. Whoever asks for more than the part is refused at once, so that no kind of
 * caller, strangers at the sign-in endpoints least of all, can make the others wait.
 */
export class ConnectionShare {
  readonly #options: ConnectionShareOptions;
  readonly #waiting = new Set<Waiting>();
  #active = 0;
  #refused = 0;
  #reportedAt = -Infinity;

  constructor(options: ConnectionShareOptions) {
    this.#options = options;
  }

  /** @throws StoreBusyError when too many are waiting already; StoreUnavailableError when waiting took too long. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#active >= this.#options.maxActive) await this.#wait();
    else this.#active++;
    try {
      return await work();
    } finally {
      this.#next();
    }
  }

  #wait(): Promise<void> {
    if (this.#waiting.size >= this.#options.maxWaiting) {
      this.#refused++;
      this.#report();
      throw new StoreBusyError(this.#options.name);
    }
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        start: resolve,
        refuse: reject,
        timer: setTimeout(() => {
          this.#waiting.delete(waiting);
          waiting.refuse(new StoreUnavailableError('no free connection in time'));
        }, this.#options.maxWaitMs ?? MAX_WAIT_MS),
      };
      this.#waiting.add(waiting);
    });
  }

  /** Hands the place on to whoever has waited longest. */
  #next(): void {
    const [first] = this.#waiting;
    if (first === undefined) {
      this.#active--;
      return;
    }
    this.#waiting.delete(first);
    clearTimeout(first.timer);
    first.start();
  }

  #report(): void {
    const now = performance.now();
    if (now - this.#reportedAt < REPORT_EVERY_MS) return;
    this.#reportedAt = now;
    this.#options.onShed?.(this.#options.name, this.#refused);
    this.#refused = 0;
  }
}

/** How the connections of a replica are divided. */
export interface ConnectionBudget {
  /** Leases, settlements, heartbeats: theirs alone. */
  readonly ledger: number;
  /** Everything else. */
  readonly common: number;
  /** Of `common`, how many each may use at the same time. */
  readonly shares: {
    readonly signIn: number;
    readonly api: number;
    readonly reports: number;
    readonly background: number;
  };
}

/** One connection listens for notifications. With fewer than these a replica cannot keep the ledger apart. */
const MIN_CONNECTIONS = 3;

/** @param maxConnections `store.max_connections`; what is below three counts as three. */
export function divideConnections(maxConnections: number): ConnectionBudget {
  const total = Math.max(maxConnections, MIN_CONNECTIONS);
  const ledger = total >= 5 ? 2 : 1;
  const common = total - 1 - ledger;
  // Nobody may have all of them, as far as there is more than one.
  const half = Math.max(1, Math.floor(common / 2));
  return { ledger, common, shares: { signIn: half, api: half, reports: 1, background: half } };
}
