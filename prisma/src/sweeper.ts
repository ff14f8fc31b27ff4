import { setTimeout as sleep } from 'node:timers/promises';
import { SCHEMA } from './connection.ts';
import type { Database } from './database.ts';
import { LOCK_CLASS } from './migrations.ts';
import type { StoreOptions } from './types.ts';

const INTERVAL_MS = 60_000;
const BATCH = 1_000;
const LOCK_OBJECT = 2;
const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
/** Replicas' clocks differ: what has expired for one may still be asked for by another. */
const CLOCK_TOLERANCE_MS = 5 * MINUTE_MS;
/** How long a session is remembered that was revoked or has not been refreshed, and a replaced refresh token. */
export const RETENTION_MS = 30 * DAY_MS;

interface Rule {
  readonly table: string;
  readonly column: string;
  /** Rows go when the column lies further back. */
  readonly afterMs: number;
}

const RULES: readonly Rule[] = [
  { table: 'sign_in_attempts', column: 'expires_at', afterMs: CLOCK_TOLERANCE_MS },
  { table: 'device_grants', column: 'expires_at', afterMs: CLOCK_TOLERANCE_MS },
  { table: 'rate_limit_windows', column: 'expires_at', afterMs: CLOCK_TOLERANCE_MS },
  { table: 'revocations', column: 'expires_at', afterMs: CLOCK_TOLERANCE_MS },
  { table: 'replaced_refresh_tokens', column: 'replaced_at', afterMs: RETENTION_MS },
  { table: 'sessions', column: 'revoked_at', afterMs: RETENTION_MS },
  { table: 'sessions', column: 'refreshed_at', afterMs: RETENTION_MS },
];

/** One batch, unless another replica is at it. The lock ends with the statement. */
const sweep = ({ table, column }: Rule): string => `
  WITH turn AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(${LOCK_CLASS}, ${LOCK_OBJECT}) AS ours)
  DELETE FROM ${SCHEMA}.${table} WHERE ctid = ANY (ARRAY(
    SELECT t.ctid FROM ${SCHEMA}.${table} t WHERE (SELECT ours FROM turn) AND t.${column} < $1
     LIMIT ${BATCH} FOR UPDATE SKIP LOCKED))`;

/** Removes what has expired, in small batches, one replica at a time. */
export class Sweeper {
  readonly #database: Database;
  readonly #onEvent: StoreOptions['onEvent'];
  readonly #closing = new AbortController();
  #loop: Promise<void> = Promise.resolve();

  constructor(database: Database, onEvent: StoreOptions['onEvent']) {
    this.#database = database;
    this.#onEvent = onEvent;
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** @returns how many rows went, by table. @throws StoreUnavailableError */
  async sweep(now: Date): Promise<Record<string, number>> {
    const swept: Record<string, number> = {};
    for (const rule of RULES) {
      const before = new Date(now.getTime() - rule.afterMs);
      let count: number;
      do {
        count = await this.#database.execute(sweep(rule), [before]);
        if (count > 0) swept[rule.table] = (swept[rule.table] ?? 0) + count;
      } while (count === BATCH && !this.#closing.signal.aborted);
    }
    return swept;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    for (;;) {
      try {
        await sleep(INTERVAL_MS * (0.5 + Math.random()), undefined, { signal: this.#closing.signal });
      } catch {
        return;
      }
      try {
        const swept = await this.sweep(new Date());
        if (Object.keys(swept).length > 0) this.#onEvent?.('info', 'removed expired rows', swept);
      } catch (error) {
        this.#onEvent?.('warn', 'cannot remove expired rows', { reason: (error as Error).message });
      }
    }
  }
}
