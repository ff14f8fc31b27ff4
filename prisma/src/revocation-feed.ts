import { SCHEMA, STATEMENT_TIMEOUT_MS } from './connection.ts';
import type { Database } from './database.ts';
import type { Notifications } from './notifications.ts';
import type { RevocationFeed, StoreOptions } from './types.ts';
import { pause } from './pause.ts';

export const REVOCATION_CHANNEL = `${SCHEMA}_revocations`;

const POLL_INTERVAL_MS = 1_000;
/** The feed is current while its last successful reading is younger than this. */
const CURRENT_FOR_MS = 5_000;
const PRUNE_INTERVAL_MS = 60_000;
/** A revocation is visible only when it commits, which may be this long after the time it carries. */
const OVERLAP_MS = 2 * STATEMENT_TIMEOUT_MS;

/** One row at least, so that we learn the database's time. $1 is that time of the last reading. */
const READ = `
  SELECT clock.now, r.session_id, r.expires_at, r.reason
    FROM (SELECT statement_timestamp()::text AS now) clock
    LEFT JOIN ${SCHEMA}.revocations r
      ON r.recorded_at > $1::timestamptz - interval '${OVERLAP_MS} ms' AND r.expires_at > $2`;

/**
 * Revoked sessions, in memory. Notifications keep it current within milliseconds; one indexed query a second is the
 * net below them (a notification may be lost with its connection, and poolers do not pass them on at all).
 */
export class PostgresRevocationFeed implements RevocationFeed {
  readonly #database: Database;
  readonly #notifications: Notifications;
  readonly #onEvent: StoreOptions['onEvent'];
  readonly #revoked = new Map<string, { readonly expiry: number; readonly reason: string | undefined }>();
  readonly #closing = new AbortController();
  #cursor = '-infinity';
  #readAt = -Infinity;
  #prunedAt = performance.now();
  #loop: Promise<void> = Promise.resolve();
  #stopListening = (): void => undefined;

  constructor(database: Database, notifications: Notifications, onEvent: StoreOptions['onEvent']) {
    this.#database = database;
    this.#notifications = notifications;
    this.#onEvent = onEvent;
  }

  /** Reads what is revoked by now, and keeps reading. @throws StoreUnavailableError */
  async start(): Promise<void> {
    await this.#read();
    this.#stopListening = this.#notifications.listen(
      REVOCATION_CHANNEL,
      (payload) => this.#hear(payload),
      () => this.#readAnew(),
    );
    this.#loop = this.#poll();
  }

  isRevoked(sessionId: string): boolean {
    return this.#revoked.has(sessionId);
  }

  reasonOf(sessionId: string): string | undefined {
    return this.#revoked.get(sessionId)?.reason;
  }

  get current(): boolean {
    return performance.now() - this.#readAt < CURRENT_FOR_MS;
  }

  /** For revocations made by this replica: they hold here before the call that made them returns. */
  add(sessionId: string, expiresAt: Date, reason: string | undefined): void {
    this.#revoked.set(sessionId, { expiry: expiresAt.getTime(), reason });
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#stopListening();
    await this.#loop;
  }

  async #read(): Promise<void> {
    const startedAt = performance.now();
    const cursor = this.#cursor;
    const rows = await this.#database.query<{
      now: string;
      session_id: string | null;
      expires_at: Date;
      reason: string | null;
    }>(READ, [cursor, new Date()]);
    for (const row of rows)
      if (row.session_id !== null) this.add(row.session_id, row.expires_at, row.reason ?? undefined);
    // Not when somebody has asked for everything meanwhile.
    if (this.#cursor === cursor) this.#cursor = rows[0]?.now ?? cursor;
    this.#readAt = startedAt;
  }

  async #poll(): Promise<void> {
    let away = false;
    while (await pause(POLL_INTERVAL_MS, this.#closing.signal)) {
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
    for (const [id, { expiry }] of this.#revoked) if (expiry < now) this.#revoked.delete(id);
    this.#prunedAt = performance.now();
  }

  /** Whatever was said while nobody listened, even before a switch to a server with another clock. */
  #readAnew(): void {
    this.#cursor = '-infinity';
    // Should it fail, the poll reads as much.
    this.#read().catch(() => undefined);
  }

  /** `<session id> <seconds since the epoch> <reason>`; a previous version gives no reason. */
  #hear(payload: string): void {
    const [id, seconds, reason] = payload.split(' ');
    if (id && seconds) this.#revoked.set(id, { expiry: Number(seconds) * 1000, reason });
  }
}
