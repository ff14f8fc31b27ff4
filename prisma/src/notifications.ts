import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { goodbye, greeter, SCHEMA, STATEMENT_TIMEOUT_MS, type Target } from './connection.ts';
import { asStoreError } from './errors.ts';
import { pause, untilAborted } from './pause.ts';
import type { StoreOptions } from './types.ts';

const ECHO_CHANNEL = `${SCHEMA}_echo`;
const RECONNECT_MIN_MS = 100;
const RECONNECT_MAX_MS = 5_000;
/** A connection whose other end fell silent looks alive until something is asked of it. */
const PROBE_INTERVAL_MS = 10_000;
/** How long what this replica says to itself may take to come back: a pooler that passes it on does so at once. */
const ECHO_WITHIN_MS = 1_000;
const DIRECT_ECHO_WITHIN_MS = 5_000;
/** A pooler that passes nothing on is tried again after so long: its configuration may have changed. */
const DEAF_RETRY_MS = 60_000;

interface Listener {
  readonly channel: string;
  readonly onPayload: (payload: string) => void;
  readonly onReconnect: (() => void) | undefined;
}

export interface NotificationsOptions {
  readonly target: Target;
  /** `NOTIFY` over a connection that is not the one that listens. */
  readonly notify: (channel: string, payload: string) => Promise<unknown>;
  readonly onEvent: StoreOptions['onEvent'];
}

/**
 * What other replicas say through PostgreSQL (`NOTIFY`), over one connection for all channels. It comes back by itself.
 * Whatever was said meanwhile is lost, and connection poolers in transaction mode pass nothing on at all: this replica says
 * something to itself now and then, and whoever listens has another way to learn what it may not hear.
 */
export class Notifications {
  readonly #options: NotificationsOptions;
  readonly #listeners = new Set<Listener>();
  readonly #closing = new AbortController();
  /** While it listens. */
  #client: pg.Client | undefined;
  #hears = false;
  /** Tokens that are to come back, each with whoever waits for it. */
  readonly #echoes = new Map<string, () => void>();
  readonly #known = Promise.withResolvers<void>();
  #warned = false;
  #loop: Promise<void> = Promise.resolve();

  constructor(options: NotificationsOptions) {
    this.#options = options;
  }

  /** Connects, and keeps at it; does not wait for it. */
  start(): void {
    this.#loop = this.#run();
  }

  /** Whether what others say arrives here, as far as is known. */
  get hears(): boolean {
    return this.#hears;
  }

  /** Until it is known for the first time whether it {@link hears}, or this time has passed. */
  async known(withinMs: number): Promise<void> {
    const done = new AbortController();
    await Promise.race([this.#known.promise, pause(withinMs, done.signal)]);
    done.abort();
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
    this.#closing.abort(new Error('closing'));
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    const { target, onEvent } = this.#options;
    let backoff = RECONNECT_MIN_MS;
    let away = false;
    while (!signal.aborted) {
      const client = target.client({ query_timeout: STATEMENT_TIMEOUT_MS });
      const ended = new Promise((end) => client.once('end', end));
      // Not once: more errors may follow while the connection goes down.
      client.on('error', () => undefined);
      client.on('notification', ({ channel, payload }) => this.#hear(channel, payload ?? ''));
      let deaf = false;
      try {
        await untilAborted(signal, client.connect());
        deaf = !(await untilAborted(signal, this.#open(client)));
        if (!deaf) {
          if (away) onEvent?.('info', 'listening to other replicas again');
          away = false;
          this.#warned = false;
          backoff = RECONNECT_MIN_MS;
          await untilAborted(signal, Promise.race([ended, this.#probe(client)]));
        }
      } catch (error) {
        if (!away && !signal.aborted) {
          onEvent?.('warn', 'cannot listen to other replicas', { reason: asStoreError(error).message });
          away = true;
        }
      }
      this.#client = undefined;
      this.#hears = false;
      this.#known.resolve();
      await goodbye(client);
      if (!(await pause((deaf ? DEAF_RETRY_MS : backoff) * (0.5 + Math.random()), signal))) return;
      backoff = Math.min(backoff * 2, RECONNECT_MAX_MS);
    }
  }

  /** @returns false behind a pooler that passes nothing on. @throws when the connection is of no use. */
  async #open(client: pg.Client): Promise<boolean> {
    const { rows } = await client.query<{ pid: number }>(`SELECT pg_backend_pid() AS pid`);
    const pooled = rows[0]?.pid !== greeter(client);
    // Of a pooler only what is asked first, and taken back if it does not work: the next one to get that connection is not us.
    await client.query(`LISTEN ${ECHO_CHANNEL}`);
    if (!(await this.#echo(pooled ? ECHO_WITHIN_MS : DIRECT_ECHO_WITHIN_MS))) {
      if (!pooled) throw new Error('what this replica says to itself does not come back');
      await client.query('UNLISTEN *');
      this.#warn();
      return false;
    }
    this.#client = client;
    await this.#listenToAll(client);
    this.#hears = true;
    this.#known.resolve();
    for (const { onReconnect } of this.#listeners) onReconnect?.();
    return true;
  }

  #warn(): void {
    if (this.#warned) return;
    this.#warned = true;
    this.#options.onEvent?.(
      'warn',
      'a connection pooler in transaction mode is between this replica and PostgreSQL: replicas do not hear each other through it and look at the database instead, several times a second; see "Connection poolers" in docs/operations.md',
      { target: this.#options.target.name },
    );
  }

  /** One round trip, whatever it already listens to. */
  async #listenToAll(client: pg.Client): Promise<void> {
    const channels = new Set([ECHO_CHANNEL, ...[...this.#listeners].map(({ channel }) => channel)]);
    await client.query([...channels].map((channel) => `LISTEN ${channel}`).join('; '));
  }

  /** @returns when the connection is of no use any more. */
  async #probe(client: pg.Client): Promise<void> {
    try {
      while (await pause(PROBE_INTERVAL_MS, this.#closing.signal)) {
        if (this.#client !== client) return;
        await this.#listenToAll(client);
        if (!(await this.#echo(DIRECT_ECHO_WITHIN_MS))) return;
      }
    } catch {
      // What ended it shows at the next attempt to connect.
    }
  }

  /** Whether a notification of our own comes back. @throws StoreUnavailableError when it could not be sent. */
  async #echo(withinMs: number): Promise<boolean> {
    const token = randomUUID();
    const waited = new AbortController();
    let heard = false;
    this.#echoes.set(token, () => {
      heard = true;
      waited.abort();
    });
    try {
      await this.#options.notify(ECHO_CHANNEL, token);
      await pause(withinMs, AbortSignal.any([waited.signal, this.#closing.signal]));
      return heard;
    } finally {
      this.#echoes.delete(token);
    }
  }

  #hear(channel: string, payload: string): void {
    if (channel === ECHO_CHANNEL) this.#echoes.get(payload)?.();
    for (const listener of this.#listeners) if (listener.channel === channel) listener.onPayload(payload);
  }
}
