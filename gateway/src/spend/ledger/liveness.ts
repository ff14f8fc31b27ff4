import type { InFlightRequest, LedgerStore } from '@claude-gateway/prisma';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../../observe/log.ts';

export interface LivenessDeps {
  readonly store: Pick<LedgerStore, 'heartbeat' | 'sweep'>;
  readonly replicaId: string;
  readonly name: string;
  /** Of the program. */
  readonly version?: string | undefined;
  /** How long leases outlive a heartbeat, in ms. */
  readonly ttlMs: number;
  readonly policyRevision: () => bigint;
  /** Requests under way that PostgreSQL does not know of. */
  readonly takeUnnoted: () => readonly InFlightRequest[];
  /** They could not be noted after all. */
  readonly giveBack: (requests: readonly InFlightRequest[]) => void;
  /** This replica was taken for dead: its leases are gone. */
  readonly onWrittenOff: () => void;
  /** Whether the error says that PostgreSQL is away. Any other is an answer. */
  readonly isUnavailable: (error: unknown) => boolean;
  readonly log: Log;
  /** Monotonic, in ms. */
  readonly now: () => number;
}

/**
 * Tells PostgreSQL that this replica lives, and looks after those that do not.
 */
export class Liveness {
  readonly #deps: LivenessDeps;
  readonly #closing = new AbortController();
  #beatAt = -Infinity;
  /** Since when PostgreSQL has answered every heartbeat. */
  #upSince = Infinity;
  #beating: Promise<boolean> | undefined;
  /** The policy revision that PostgreSQL was told last. */
  #reported: bigint | undefined;
  #loop: Promise<void> = Promise.resolve();

  constructor(deps: LivenessDeps) {
    this.#deps = deps;
  }

  /** @throws StoreUnavailableError */
  async start(): Promise<void> {
    await this.#beat();
    this.#loop = this.#run();
  }

  /** Whether nobody can have written this replica off yet, with a margin for pauses of this process. */
  get fresh(): boolean {
    return this.#deps.now() - this.#beatAt < this.#deps.ttlMs * 0.6;
  }

  /**
   * Renews now; callers at the same time share one heartbeat.
   *
   * @returns whether leases are good: false while PostgreSQL is away.
   * @throws what PostgreSQL answers instead: a defect of ours, or of the database.
   */
  renew(): Promise<boolean> {
    return (this.#beating ??= this.#beat()
      .then(
        () => true,
        (error: unknown) => {
          if (this.#deps.isUnavailable(error)) return false;
          this.#deps.log.error({ err: error }, 'PostgreSQL does not take the heartbeat of this replica');
          throw error;
        },
      )
      .finally(() => {
        this.#beating = undefined;
      }));
  }

  /** Reports the policy revision, unless PostgreSQL was told already; a heartbeat under way may carry the one before. */
  async report(): Promise<void> {
    await this.#beating?.catch(() => false);
    if (this.#deps.policyRevision() !== this.#reported) await this.renew().catch(() => false);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#loop;
    await this.#beating?.catch(() => false);
  }

  async #beat(): Promise<void> {
    const { takeUnnoted, giveBack, isUnavailable, now } = this.#deps;
    const inFlight = takeUnnoted();
    const startedAt = now();
    const policyRevision = this.#deps.policyRevision();
    const beat = (requests: readonly InFlightRequest[]): Promise<boolean> =>
      this.#tell(policyRevision, requests);
    let known: boolean;
    try {
      known = await beat(inFlight);
    } catch (error) {
      if (isUnavailable(error) || inFlight.length === 0) {
        giveBack(inFlight);
        this.#upSince = Infinity;
        throw error;
      }
      // One of the requests cannot be noted: this replica must not be taken for dead because of it.
      known = await this.#noteEach(inFlight, beat);
    }
    const first = this.#beatAt === -Infinity;
    this.#beatAt = startedAt;
    this.#reported = policyRevision;
    this.#upSince = Math.min(this.#upSince, startedAt);
    if (!known && !first) this.#deps.onWrittenOff();
  }

  #tell(policyRevision: bigint, inFlight: readonly InFlightRequest[]): Promise<boolean> {
    const { store, replicaId, name, version, ttlMs } = this.#deps;
    return store.heartbeat({
      replicaId,
      name,
      ...(version !== undefined && { version }),
      ttlMs,
      policyRevision,
      inFlight,
    });
  }

  /** Those that cannot be noted count as noted, so that they are not tried again: settling does not need the note. */
  async #noteEach(
    inFlight: readonly InFlightRequest[],
    beat: (requests: readonly InFlightRequest[]) => Promise<boolean>,
  ): Promise<boolean> {
    const known = await beat([]);
    for (const [index, request] of inFlight.entries()) {
      try {
        await beat([request]);
      } catch (error) {
        if (this.#deps.isUnavailable(error)) {
          this.#deps.giveBack(inFlight.slice(index));
          break;
        }
        this.#deps.log.error(
          { err: error, request_id: request.record.requestId },
          'PostgreSQL cannot note this request: should this replica die before its end, nobody is charged for it',
        );
      }
    }
    return known;
  }

  async #run(): Promise<void> {
    const { ttlMs, log } = this.#deps;
    let away = false;
    for (;;) {
      try {
        // Jitter keeps replicas that started together apart.
        await sleep((away ? ttlMs / 30 : ttlMs / 6) * (0.75 + Math.random() / 2), undefined, {
          signal: this.#closing.signal,
        });
      } catch {
        return;
      }
      if (!(await this.renew().catch(() => false))) {
        if (!away) log.warn('PostgreSQL does not answer: budgets are enforced from what this replica holds');
        away = true;
        continue;
      }
      if (away) log.info('PostgreSQL answers again');
      away = false;
      await this.#sweep();
    }
  }

  async #sweep(): Promise<void> {
    const { store, ttlMs, log, now } = this.#deps;
    // After an outage everybody looks dead.
    if (now() - this.#upSince < ttlMs) return;
    try {
      for (const swept of await store.sweep()) {
        log.warn(
          {
            replica: swept.name,
            replica_id: swept.replicaId,
            abandoned: swept.abandoned,
            windows: swept.windows,
          },
          'a replica went without settling: its requests were charged the least they can have cost',
        );
      }
    } catch (error) {
      log.warn({ reason: (error as Error).message }, 'cannot look after other replicas');
    }
  }
}
