import { setTimeout as sleep } from 'node:timers/promises';
import type { Audit } from './observe/audit.ts';
import type { Log } from './observe/log.ts';

/** Anything that is as of one revision of the policy in the database. */
export interface Revised {
  readonly revision: bigint;
}

/** Rows of the database under a revision. */
export interface RevisedRows<Rows extends Revised> {
  readAll(): Promise<Rows>;
  /** The revision alone. */
  revision(): Promise<bigint>;
  /** @returns a function that ends it. */
  onChange(listener: () => void): () => void;
}

export interface RevisionFeedDeps<Rows extends Revised, Snapshot extends Revised> {
  readonly rows: RevisedRows<Rows>;
  /** What the rows are, in the plural, for log lines. */
  readonly what: string;
  /** @throws Error naming what is wrong with the rows. */
  readonly compile: (rows: Rows) => Snapshot;
  /** What the audit stream should know of rows that were taken over. */
  readonly describe: (rows: Rows) => Record<string, unknown>;
  readonly log: Log;
  readonly audit: Audit;
  /** How often the revision is looked at, in ms: the net below notifications. */
  readonly pollMs?: number;
  /** How long nobody may have answered before what is in force counts as old, in ms. Default 10 000. */
  readonly outdatedAfterMs?: number;
}

const POLL_MS = 1_000;
const OUTDATED_AFTER_MS = 10_000;

/**
 * What the rows amount to, kept current and compiled off the request path. Rows that do not compile, and a database
 * that does not answer, leave the last good ones in force.
 */
export class RevisionFeed<Rows extends Revised, Snapshot extends Revised> {
  readonly #deps: RevisionFeedDeps<Rows, Snapshot>;
  readonly #listeners = new Set<(snapshot: Snapshot) => void>();
  readonly #closing = new AbortController();
  #current: Snapshot;
  /** What was read last, good or not. */
  #seen: bigint;
  #away = false;
  /** Monotonic, in ms: since when nobody has answered what was asked; a process that was frozen has asked nothing. */
  #unansweredSince: number | undefined;
  /** A notification came since the last look. */
  #stale = false;
  /** Ends the pause between two looks. */
  #wake: (() => void) | undefined;
  /** Who waits for a look that begins from now on. */
  readonly #waiting: (() => void)[] = [];
  readonly #stopListening: () => void;
  readonly #loop: Promise<void>;

  /**
   * Reads the rows, and keeps reading.
   *
   * @throws StoreUnavailableError; Error when the rows do not compile: nothing is in force yet that could stay.
   */
  static async start<Rows extends Revised, Snapshot extends Revised>(
    deps: RevisionFeedDeps<Rows, Snapshot>,
  ): Promise<RevisionFeed<Rows, Snapshot>> {
    const rows = await deps.rows.readAll();
    const snapshot = tryCompile(deps, rows);
    if (snapshot instanceof Error) throw snapshot;
    return new RevisionFeed(deps, snapshot);
  }

  private constructor(deps: RevisionFeedDeps<Rows, Snapshot>, snapshot: Snapshot) {
    this.#deps = deps;
    this.#current = snapshot;
    this.#seen = snapshot.revision;
    this.#stopListening = deps.rows.onChange(() => {
      this.#stale = true;
      this.#wake?.();
    });
    this.#loop = this.#run();
  }

  get current(): Snapshot {
    return this.#current;
  }

  /** Whether newer rows may have been there for a while, since the database could not be asked. */
  get isOutdated(): boolean {
    const since = this.#unansweredSince;
    if (since === undefined) return false;
    return performance.now() - since > (this.#deps.outdatedAfterMs ?? OUTDATED_AFTER_MS);
  }

  /** @param listener Called after each swap; must not throw. @returns a function that ends it. */
  onSwap(listener: (snapshot: Snapshot) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Reads your writes: resolves when the rows have been looked at anew, so that what was written before is in force here.
   * Where that look fails it resolves all the same: the next ones go on.
   */
  catchUp(): Promise<void> {
    if (this.#closing.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#stale = true;
      this.#wake?.();
    });
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#stopListening();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { log, what } = this.#deps;
    while (await this.#pause()) {
      this.#stale = false;
      const waiting = this.#waiting.splice(0);
      this.#unansweredSince ??= performance.now();
      try {
        await this.#refresh();
        this.#unansweredSince = undefined;
        if (this.#away) log.info(`${what} are current again`);
        this.#away = false;
      } catch (error) {
        if (!this.#away)
          log.warn({ reason: (error as Error).message }, `cannot read ${what}: the last ones stay`);
        this.#away = true;
      }
      for (const resolve of waiting) resolve();
    }
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  async #refresh(): Promise<void> {
    const { rows } = this.#deps;
    if ((await rows.revision()) === this.#seen) return;
    const read = await rows.readAll();
    if (read.revision === this.#seen || this.#closing.signal.aborted) return;
    this.#seen = read.revision;
    const snapshot = tryCompile(this.#deps, read);
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
function tryCompile<Rows extends Revised, Snapshot extends Revised>(
  { compile, describe, what, log, audit }: RevisionFeedDeps<Rows, Snapshot>,
  rows: Rows,
): Snapshot | Error {
  const revision = rows.revision.toString();
  try {
    const snapshot = compile(rows);
    audit('policy.load', { revision, ...describe(rows) });
    return snapshot;
  } catch (error) {
    const failure = error instanceof Error ? error : new Error(String(error));
    log.error({ revision, reason: failure.message }, `${what} do not compile: the last good ones stay`);
    audit('policy.reject', { revision, reason: failure.message });
    return failure;
  }
}
