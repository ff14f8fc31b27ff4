import type { Log } from '../observe/log.ts';

/** Why a client was refused or cut off so that others can be served. */
export type ShedReason =
  | 'connections'
  | 'connections_per_address'
  | 'in_flight_per_address'
  | 'in_flight_per_person'
  | 'buffered_bytes'
  | 'buffered_bytes_per_person'
  | 'slow_headers'
  | 'unfinished_headers'
  | 'slow_body'
  | 'slow_reader'
  | 'pipelining';

/** One line a minute for each reason, however many strangers knock. */
const LOG_EVERY_MS = 60_000;

interface Seen {
  loggedAt: number;
  since: number;
}

/** Counts what is shed, and says so in the log, rarely. */
export class Shedding {
  readonly #log: Log;
  readonly #count: ((reason: ShedReason) => void) | undefined;
  readonly #seen = new Map<ShedReason, Seen>();

  /** @param count Told of every one. */
  constructor(log: Log, count?: (reason: ShedReason) => void) {
    this.#log = log;
    this.#count = count;
  }

  /**
   * @param limit The key of the configuration that decides.
   * @param address Of the client that was met last.
   * @param person Who that is, once it is known.
   */
  shed(reason: ShedReason, limit: string, address: string, person?: string): void {
    this.#count?.(reason);
    const now = performance.now();
    const seen = this.#seen.get(reason) ?? { loggedAt: -LOG_EVERY_MS, since: 0 };
    this.#seen.set(reason, seen);
    seen.since++;
    if (now - seen.loggedAt < LOG_EVERY_MS) return;
    this.#log.warn(
      { reason, limit, count: seen.since, client_ip: address, sub: person },
      'clients were refused or cut off to keep this replica serving',
    );
    seen.loggedAt = now;
    seen.since = 0;
  }
}
