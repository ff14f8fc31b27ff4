import { statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { BoundedClient, forgetTakenAnswers } from './connect/bounded-client.ts';
import { CheckedSocket } from './connect/checked-socket.ts';
import { asStoreError, StoreUnavailableError } from './errors.ts';
import type { StoreOptions } from './types.ts';

/** The PostgreSQL schema that holds everything of ours, so that a database can be shared. */
export const SCHEMA = 'claude_gateway';
/** The oldest major version that we test. */
const OLDEST_VERSION = 15;
const APPLICATION_NAME = 'claude-gateway';
/** What the server gives a statement, and a moment more what we give the server, should it fall silent. */
export const STATEMENT_TIMEOUT_MS = 5_000;
const QUERY_TIMEOUT_MS = STATEMENT_TIMEOUT_MS + 1_000;
/** How long a call may wait for a free or a new connection before it is answered with 503. */
const ACQUIRE_TIMEOUT_MS = 3_000;
const MAX_PAUSE_MS = 2_000;
/** Parameters of a connection URL that name a file, which pg reads whole, and waits for, with each connection. */
const FILE_PARAMETERS = ['sslrootcert', 'sslcert', 'sslkey'] as const;
const MAX_FILE_BYTES = 1024 * 1024;

export type ConnectionOptions = Pick<
  StoreOptions,
  'url' | 'username' | 'password' | 'connectTimeoutSeconds' | 'answers' | 'resolve' | 'onEvent'
>;

/** Where we connect, in words for errors and logs: never the password. */
export interface Target {
  readonly config: pg.PoolConfig;
  /** `host:port/database` */
  readonly name: string;
}

/**
 * Reads a connection URL. `sslmode` means what libpq means by it (`require` encrypts, `verify-full` also verifies),
 * plus pg's `no-verify`.
 *
 * @throws Error when the URL is none, or names a file that is none. The message does not repeat the URL, since it may hold a
 *   password.
 */
export function connectionTarget(options: ConnectionOptions): Target {
  const { url, username, password, answers, resolve } = options;
  const parsed = URL.parse(url);
  if (parsed === null || !['postgres:', 'postgresql:'].includes(parsed.protocol)) {
    throw new Error('store.postgres_url: expected postgres://user@host:5432/database');
  }
  const query = parsed.searchParams;
  // As parameters they also work for URLs without a host (Unix sockets), and win over the URL's own.
  if (username !== undefined) query.set('user', username);
  if (password !== undefined) query.set('password', password);
  if (query.get('sslmode') !== 'no-verify') query.set('uselibpqcompat', 'true');
  // The driver prefers a URL's limits to ours.
  query.delete('query_timeout');
  if (query.get('sslrootcert') === 'system') query.delete('sslrootcert');
  for (const parameter of FILE_PARAMETERS) {
    for (const path of query.getAll(parameter)) assertReadable(parameter, path);
  }

  const host = query.get('host') ?? (parsed.hostname || 'localhost');
  const port = query.get('port') ?? (parsed.port || '5432');
  const database =
    decodeURIComponent(parsed.pathname.slice(1)) || query.get('user') || parsed.username || 'postgres';
  return {
    name: `${host}:${port}/${database}`,
    config: {
      connectionString: parsed.href,
      application_name: query.get('application_name') ?? APPLICATION_NAME,
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
      connectionTimeoutMillis: ACQUIRE_TIMEOUT_MS,
      stream: () => new CheckedSocket(resolve),
      ...(answers !== undefined && { answers, Client: BoundedClient as unknown as new () => pg.ClientBase }),
    },
  };
}

/**
 * URLs come from people who do not run the process as well: the operator takes those of every namespace. A device such as
 * `/dev/zero` has no end, and a pipe may never have a beginning; the files of `/proc` say that they are empty.
 */
function assertReadable(parameter: string, path: string): void {
  try {
    const file = statSync(path);
    if (file.isFile() && file.size > 0 && file.size <= MAX_FILE_BYTES) return;
  } catch {
    // Said below.
  }
  throw new Error(
    `store.postgres_url: ${parameter} must name a file with a certificate or key (PEM, at most 1 MiB) where this process runs`,
  );
}

/** Connections to a target. Whoever makes a pool listens for its errors. */
export function newPool(target: Target, config: pg.PoolConfig): pg.Pool {
  const pool = new pg.Pool({ ...target.config, ...config });
  forgetTakenAnswers(pool);
  return pool;
}

/**
 * The one pool of a store. Session settings travel as a statement and not as startup parameters, which connection
 * poolers refuse.
 */
export function createPool(target: Target, max: number, onEvent: StoreOptions['onEvent']): pg.Pool {
  const pool = newPool(target, {
    max,
    query_timeout: QUERY_TIMEOUT_MS,
    idleTimeoutMillis: 60_000,
    maxLifetimeSeconds: 1_800,
    // pg-pool waits for the promise before it hands the connection out.
    onConnect: (client) =>
      client.query(
        `SET statement_timeout = ${STATEMENT_TIMEOUT_MS}; SET idle_in_transaction_session_timeout = ${QUERY_TIMEOUT_MS}`,
      ) as unknown as void,
  });
  // An idle connection that breaks is no error of anybody: the pool has already dropped it.
  pool.on('error', (error) => onEvent?.('warn', 'postgres connection lost', { reason: error.message }));
  return pool;
}

/**
 * Waits for PostgreSQL at boot: tries with growing pauses, for `connectTimeoutSeconds` in all.
 *
 * @throws Error naming host, port, database and the reason.
 */
export async function awaitPostgres(
  pool: pg.Pool,
  target: Target,
  options: ConnectionOptions,
): Promise<void> {
  const deadline = performance.now() + options.connectTimeoutSeconds * 1000;
  let reason: string | undefined;
  for (let attempt = 1; ; attempt++) {
    let failure: Error;
    try {
      const { rows } = await withDeadline(
        pool.query<{ version: number }>(
          `SELECT current_setting('server_version_num')::int / 10000 AS version`,
        ),
        deadline,
      );
      const version = rows[0]?.version ?? 0;
      if (version >= OLDEST_VERSION) return;
      throw new Error(`PostgreSQL ${OLDEST_VERSION} or later is needed, this is ${version}`);
    } catch (error) {
      failure = asStoreError(error);
    }
    // That the last try was cut short says less than why the one before failed.
    if (failure !== OUT_OF_TIME || reason === undefined) reason = reasonOf(failure);
    const left = deadline - performance.now();
    const pause = Math.min(250 * 2 ** (attempt - 1), MAX_PAUSE_MS) * (0.8 + 0.4 * Math.random());
    if (left < pause || !isWorthRetrying(failure)) {
      throw new Error(`cannot use PostgreSQL at ${target.name}: ${reason}`, { cause: failure });
    }
    options.onEvent?.('warn', 'postgres does not answer, trying again', {
      target: target.name,
      reason,
      gives_up_in_seconds: Math.round(left / 1000),
    });
    await sleep(pause);
  }
}

/** A wrong password, an unknown database, or a server without TLS will be as wrong again. */
function isWorthRetrying(failure: Error): boolean {
  return (
    failure instanceof StoreUnavailableError &&
    !/\((28|3D)...\)$|does not support SSL|blocked destination|does not speak PostgreSQL|room for/.test(
      failure.message,
    )
  );
}

export function reasonOf(error: Error): string {
  return error.message.replace(/^store unavailable: /, '');
}

const OUT_OF_TIME = new StoreUnavailableError('no answer in time');

async function withDeadline<T>(work: Promise<T>, deadline: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, fail) => {
    const left = Math.max(deadline - performance.now(), 1);
    timer = setTimeout(() => fail(OUT_OF_TIME), left);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
