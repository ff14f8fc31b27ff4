import { setTimeout as sleep } from 'node:timers/promises';
import type { LimitSet, LimitStore } from '@claude-gateway/prisma';
import type { Audit } from '../../observe/audit.ts';
import type { Log } from '../../observe/log.ts';
import type { CapSnapshot } from '../types.ts';

export interface LimitFeedDeps {
  readonly limits: Pick<LimitStore, 'readAll' | 'revision' | 'onChange'>;
  /** @throws Error naming what is wrong with the limits. */
  readonly compile: (set: LimitSet) => CapSnapshot;
  readonly log: Log;
  readonly audit: Audit;
  /** How often the revision is looked at, in ms: the net below notifications. */
  readonly pollMs?: number;
}

const POLL_MS = 1_000;

/**
 * The limits in force, compiled off the request path. A set that does not compile, and a database that does not
 * answer, leave the last good ones in force.
 */
export class LimitFeed {
  readonly #deps: LimitFeedDeps;
  readonly #listeners = new Set<(snapshot: CapSnapshot) => void>();
  readonly #closing = new AbortController();
  #current: CapSnapshot;
  /** What was read last, good or not. */
  #seen: bigint;
  #away = false;
  /** A notification came since the last look. */
  #stale = false;
  /** Ends the pause between two looks. */
  #wake: (() => void) | undefined;
  readonly #stopListening: () => void;
  readonly #loop: Promise<void>;

  /**
   * Reads the limits, and keeps reading.
   *
   * @throws StoreUnavailableError; Error when the limits do not compile: nothing is in force yet that could stay.
   */
  static async start(deps: LimitFeedDeps): Promise<LimitFeed> {
    const set = await deps.limits.readAll();
    const snapshot = tryCompile(deps, set);
    if (snapshot instanceof Error) throw snapshot;
    return new LimitFeed(deps, snapshot);
  }

  private constructor(deps: LimitFeedDeps, snapshot: CapSnapshot) {
    this.#deps = deps;
    this.#current = snapshot;
    this.#seen = snapshot.revision;
    this.#stopListening = deps.limits.onChange(() => {
      this.#stale = true;
      this.#wake?.();
    });
    this.#loop = this.#run();
  }

  get current(): CapSnapshot {
    return this.#current;
  }

  /** @param listener Called after each swap; must not throw. @returns a function that ends it. */
  onSwap(listener: (snapshot: CapSnapshot) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#stopListening();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { log } = this.#deps;
    while (await this.#pause()) {
      this.#stale = false;
      try {
        await this.#refresh();
        if (this.#away) log.info('limits are current again');
        this.#away = false;
      } catch (error) {
        if (!this.#away)
          log.warn({ reason: (error as Error).message }, 'cannot read limits: the last ones stay');
        this.#away = true;
      }
    }
  }

  async #refresh(): Promise<void> {
    const { limits } = this.#deps;
    if ((await limits.revision()) === this.#seen) return;
    const set = await limits.readAll();
    if (set.revision === this.#seen || this.#closing.signal.aborted) return;
    this.#seen = set.revision;
    const snapshot = tryCompile(this.#deps, set);
    if (snapshot instanceof Error) return;
    this.#current = snapshot;
    for (const listener of this.#listeners) listener(snapshot);
  }

  /** Until the next look is due. @returns false when it is time to go. */
  async #pause(): Promise<boolean> {
    const { signal } = this.#closing;
    if (signal.aborted) return false;
    if (this.#stale && !this.#away) return true;
    const timer = new AbortController();
    this.#wake = () => timer.abort();
    const ms = (this.#deps.pollMs ?? POLL_MS) * (0.8 + 0.4 * Math.random());
    await sleep(ms, undefined, { signal: AbortSignal.any([timer.signal, signal]) }).catch(() => undefined);
    this.#wake = undefined;
    return !signal.aborted;
  }
}

/** Every set that is read leaves a line in the audit stream, whether it is in force from now on or not. */
function tryCompile({ compile, log, audit }: LimitFeedDeps, set: LimitSet): CapSnapshot | Error {
  const revision = set.revision.toString();
  try {
    const snapshot = compile(set);
    audit('policy.load', { revision, limits: set.limits.length });
    return snapshot;
  } catch (error) {
    const failure = error instanceof Error ? error : new Error(String(error));
    log.error({ revision, reason: failure.message }, 'limits do not compile: the last good ones stay');
    audit('policy.reject', { revision, reason: failure.message });
    return failure;
  }
}
