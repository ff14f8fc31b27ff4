import pg from 'pg';
import { STATEMENT_TIMEOUT_MS, type Target } from './connection.ts';
import { asStoreError } from './errors.ts';
import { pause } from './pause.ts';
import type { StoreOptions } from './types.ts';

const RECONNECT_MIN_MS = 100;
const RECONNECT_MAX_MS = 5_000;
/** A connection whose other end fell silent looks alive until something is asked of it. */
const PROBE_INTERVAL_MS = 10_000;

interface Listener {
  readonly channel: string;
  readonly onPayload: (payload: string) => void;
  readonly onReconnect: (() => void) | undefined;
}

/**
 * What other replicas say through PostgreSQL (`NOTIFY`), over one connection for all channels. It comes back by itself.
 * Whatever was said meanwhile is lost, and connection poolers pass nothing on at all: whoever listens has another way
 * to learn it.
 */
export class Notifications {
  readonly #target: Target;
  readonly #onEvent: StoreOptions['onEvent'];
  readonly #listeners = new Set<Listener>();
  readonly #closing = new AbortController();
  /** While it listens. */
  #client: pg.Client | undefined;
  #loop: Promise<void> = Promise.resolve();

  constructor(target: Target, onEvent: StoreOptions['onEvent']) {
    this.#target = target;
    this.#onEvent = onEvent;
  }

  /** Connects, and keeps at it; does not wait for it. */
  start(): void {
    this.#loop = this.#run();
  }

  /**
   * @param channel Plain SQL identifier.
   * @param onPayload Must not throw.
   * @param onReconnect Called whenever listening has begun, the first time included: what was said before went
   *   unheard, so read it now. Must not throw.
   * @returns a function that ends it.
   */
  listen(channel: string, onPayload: (payload: string) => void, onReconnect?: () => void): () => void {
    const listener = { channel, onPayload, onReconnect };
    this.#listeners.add(listener);
    // Should it fail, the connection is lost, and everything is listened to again with the next one.
    this.#client?.query(`LISTEN ${channel}`).then(onReconnect, () => undefined);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    let backoff = RECONNECT_MIN_MS;
    let away = false;
    while (!signal.aborted) {
      const client = new pg.Client({ ...this.#target.config, query_timeout: STATEMENT_TIMEOUT_MS });
      const ended = new Promise((end) => client.once('end', end));
      // Not once: more errors may follow while the connection goes down.
      client.on('error', () => undefined);
      client.on('notification', ({ channel, payload }) => this.#hear(channel, payload ?? ''));
      try {
        await untilAborted(signal, client.connect());
        this.#client = client;
        await untilAborted(signal, this.#listenToAll(client));
        for (const { onReconnect } of this.#listeners) onReconnect?.();
        if (away) this.#onEvent?.('info', 'listening to other replicas again');
        away = false;
        backoff = RECONNECT_MIN_MS;
        await untilAborted(signal, Promise.race([ended, this.#probe(client)]));
      } catch (error) {
        if (!away && !signal.aborted) {
          this.#onEvent?.('warn', 'cannot listen to other replicas', { reason: asStoreError(error).message });
          away = true;
        }
      }
      this.#client = undefined;
      await client.end().catch(() => undefined);
      if (!(await pause(backoff * (0.5 + Math.random()), this.#closing.signal))) return;
      backoff = Math.min(backoff * 2, RECONNECT_MAX_MS);
    }
  }

  /** One round trip, whatever it already listens to. */
  async #listenToAll(client: pg.Client): Promise<void> {
    const channels = new Set([...this.#listeners].map(({ channel }) => channel));
    await client.query([...channels].map((channel) => `LISTEN ${channel}`).join('; '));
  }

  /** @returns when the connection is of no use any more. */
  async #probe(client: pg.Client): Promise<void> {
    try {
      while (await pause(PROBE_INTERVAL_MS, this.#closing.signal)) {
        if (this.#client !== client) return;
        await this.#listenToAll(client);
      }
    } catch {
      // What ended it shows at the next attempt to connect.
    }
  }

  #hear(channel: string, payload: string): void {
    for (const listener of this.#listeners) if (listener.channel === channel) listener.onPayload(payload);
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
