import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { SCHEMA, STATEMENT_TIMEOUT_MS, type Target } from './connection.ts';
import type { Database } from './database.ts';
import { asStoreError } from './errors.ts';
import type { RevocationFeed, StoreOptions } from './types.ts';

export const REVOCATION_CHANNEL = `${SCHEMA}_revocations`;

const POLL_INTERVAL_MS = 1_000;
/** The feed is current while its last successful reading is younger than this. */
const CURRENT_FOR_MS = 5_000;
const PRUNE_INTERVAL_MS = 60_000;
const RECONNECT_MIN_MS = 100;
const RECONNECT_MAX_MS = 5_000;
/** A revocation is visible only when it commits, which may be this long after the time it carries. */
const OVERLAP_MS = 2 * STATEMENT_TIMEOUT_MS;

/** One row at least, so that we learn the database's time. $1 is that time of the last reading. */
const READ = `
  SELECT clock.now, r.session_id, r.expires_at
    FROM (SELECT statement_timestamp()::text AS now) clock
    LEFT JOIN ${SCHEMA}.revocations r
      ON r.recorded_at > $1::timestamptz - interval '${OVERLAP_MS} ms' AND r.expires_at > $2`;

/**
 * Revoked sessions, in memory. Notifications keep it current within milliseconds; one indexed query a second is the
 * net below them (a notification may be lost with its connection, and poolers do not pass them on at all).
 */
export class PostgresRevocationFeed implements RevocationFeed {
  readonly #database: Database;
  readonly #target: Target;
  readonly #onEvent: StoreOptions['onEvent'];
  readonly #expiries = new Map<string, number>();
  readonly #closing = new AbortController();
  #cursor = '-infinity';
  #readAt = -Infinity;
  #prunedAt = performance.now();
  #loops: Promise<void>[] = [];

  constructor(database: Database, target: Target, onEvent: StoreOptions['onEvent']) {
    this.#database = database;
    this.#target = target;
    this.#onEvent = onEvent;
  }

  /** Reads what is revoked by now, and keeps reading. @throws StoreUnavailableError */
  async start(): Promise<void> {
    await this.#read();
    this.#loops = [this.#poll(), this.#listen()];
  }

  isRevoked(sessionId: string): boolean {
    return this.#expiries.has(sessionId);
  }

  get current(): boolean {
    return performance.now() - this.#readAt < CURRENT_FOR_MS;
  }

  /** For revocations made by this replica: they hold here before the call that made them returns. */
  add(sessionId: string, expiresAt: Date): void {
    this.#expiries.set(sessionId, expiresAt.getTime());
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#loops);
  }

  async #read(): Promise<void> {
    const startedAt = performance.now();
    const rows = await this.#database.query<{ now: string; session_id: string | null; expires_at: Date }>(
      READ,
      [this.#cursor, new Date()],
    );
    for (const row of rows) if (row.session_id !== null) this.add(row.session_id, row.expires_at);
    this.#cursor = rows[0]?.now ?? this.#cursor;
    this.#readAt = startedAt;
  }

  async #poll(): Promise<void> {
    let away = false;
    while (await this.#pause(POLL_INTERVAL_MS)) {
      try {
        await this.#read();
        if (away) this.#onEvent?.('info', 'revocations are current again');
        away = false;
      } catch (error) {
        if (!away) this.#onEvent?.('warn', 'cannot read revocations', { reason: (error as Error).message });
        away = true;
      }
      if (performance.now() - this.#prunedAt > PRUNE_INTERVAL_MS) this.#prune();
    }
  }

  #prune(): void {
    const now = Date.now();
    for (const [id, expiry] of this.#expiries) if (expiry < now) this.#expiries.delete(id);
    this.#prunedAt = performance.now();
  }

  async #listen(): Promise<void> {
    const { signal } = this.#closing;
    let backoff = RECONNECT_MIN_MS;
    let away = false;
    while (!signal.aborted) {
      const client = new pg.Client(this.#target.config);
      const ended = new Promise((end) => client.once('end', end));
      // Not once: more errors may follow while the connection goes down.
      client.on('error', () => undefined);
      client.on('notification', ({ payload }) => this.#hear(payload ?? ''));
      try {
        await untilAborted(signal, client.connect());
        await untilAborted(signal, client.query(`LISTEN ${REVOCATION_CHANNEL}`));
        // Whatever was said while nobody listened, even before a switch to a server with another clock.
        this.#cursor = '-infinity';
        await this.#read();
        if (away) this.#onEvent?.('info', 'listening for revocations again');
        away = false;
        backoff = RECONNECT_MIN_MS;
        await untilAborted(signal, ended);
      } catch (error) {
        if (!away && !signal.aborted) {
          this.#onEvent?.('warn', 'cannot listen for revocations', { reason: asStoreError(error).message });
          away = true;
        }
      }
      await client.end().catch(() => undefined);
      if (!(await this.#pause(backoff * (0.5 + Math.random())))) return;
      backoff = Math.min(backoff * 2, RECONNECT_MAX_MS);
    }
  }

  /** `<session id> <seconds since the epoch>` */
  #hear(payload: string): void {
    const [id, seconds] = payload.split(' ');
    if (id && seconds) this.#expiries.set(id, Number(seconds) * 1000);
  }

  /** @returns false when it is time to go. */
  async #pause(ms: number): Promise<boolean> {
    try {
      await sleep(ms, undefined, { signal: this.#closing.signal });
      return true;
    } catch {
      return false;
    }
  }
}

/** @throws when the signal aborts before the work is done. pg leaves some promises open when it is told to end. */
async function untilAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const leave = new AbortController();
  const aborted = new Promise<never>((_, fail) => {
    signal.addEventListener('abort', () => fail(new Error('closing')), { signal: leave.signal });
    if (signal.aborted) fail(new Error('closing'));
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    leave.abort();
  }
}
