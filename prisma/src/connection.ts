import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import pg from 'pg';
import type { AnswerBudget } from './connect/answer-budget.ts';
import { BoundedClient, forgetTakenAnswers } from './connect/bounded-client.ts';
import { CheckedSocket } from './connect/checked-socket.ts';
import { adaptToServer } from './connect/old-server.ts';
import type { StoreOptions } from './types.ts';

/** The PostgreSQL schema that holds everything of ours, so that a database can be shared. */
export const SCHEMA = 'claude_gateway';
const APPLICATION_NAME = 'claude-gateway';
/** What the server gives a statement, and a moment more what we give the server, should it fall silent. */
export const STATEMENT_TIMEOUT_MS = 5_000;
const QUERY_TIMEOUT_MS = STATEMENT_TIMEOUT_MS + 1_000;
/** The same for one transaction, whoever's connection it runs on. */
export const LOCAL_TIMEOUTS = `SET LOCAL statement_timeout = ${STATEMENT_TIMEOUT_MS}; SET LOCAL idle_in_transaction_session_timeout = ${QUERY_TIMEOUT_MS}`;
/**
 * The same for all of a connection, where it is one: `$1` is the process that greeted us. A pooler greets in its own name
 * and lends its connections to others, who must not find our settings there. One row, or none behind a pooler.
 */
const SESSION_TIMEOUTS = `
  SELECT set_config('statement_timeout', '${STATEMENT_TIMEOUT_MS}', false),
         set_config('idle_in_transaction_session_timeout', '${QUERY_TIMEOUT_MS}', false)
   WHERE pg_backend_pid() = $1::integer`;
/** How long a call may wait for a free or a new connection before it is answered with 503. */
const ACQUIRE_TIMEOUT_MS = 3_000;
/** How long a server may take to say goodbye. */
const GOODBYE_MS = 1_000;
/** Parameters of a connection URL that name a file, which pg reads whole, and waits for, with each connection. */
const FILE_PARAMETERS = ['sslrootcert', 'sslcert', 'sslkey'] as const;
const MAX_FILE_BYTES = 1024 * 1024;

export type Credentials = Pick<StoreOptions, 'url' | 'username' | 'password'>;
export type TargetOptions = Credentials & Pick<StoreOptions, 'answers' | 'resolve'>;
export type ConnectionOptions = TargetOptions &
  Pick<StoreOptions, 'connectTimeoutSeconds' | 'startTimeoutSeconds' | 'onEvent'>;

/** Why a connection URL cannot be used at all, to be read after the name of its field; nothing where it may work. */
export function connectionProblem(options: Credentials): string | undefined {
  try {
    readUrl(options);
    return undefined;
  } catch (error) {
    return (error as Error).message.replace(/^store\.postgres_url: /, '');
  }
}

/** Where we connect, and as whom. */
export class Target {
  /** `host:port/database`, in words for errors and logs: never the password. */
  readonly name: string;
  /** Of a pool: each of its connections is made as of that moment. */
  readonly Client: new (options?: pg.ClientConfig) => pg.Client;
  readonly #options: TargetOptions;
  #config: pg.ClientConfig;

  /** @throws Error, see {@link readUrl}. */
  constructor(options: TargetOptions) {
    ({ name: this.name, config: this.#config } = readUrl(options));
    this.#options = options;
    const current = (given: pg.ClientConfig | undefined): pg.ClientConfig => ({
      connectionTimeoutMillis: ACQUIRE_TIMEOUT_MS,
      ...given,
      ...this.#config,
    });
    const { answers } = options;
    this.Client =
      answers === undefined
        ? class extends pg.Client {
            constructor(given?: pg.ClientConfig) {
              super(current(given));
              adaptToServer(this);
            }
          }
        : boundedBy(answers, current);
  }

  /**
   * Takes over who we connect as, from the next connection on: passwords change while we run.
   *
   * @returns whether it is the same database; of another one nothing is taken over.
   * @throws Error, see {@link readUrl}.
   */
  renew({ url, username, password }: Credentials): boolean {
    const { resolve } = this.#options;
    const { name, config } = readUrl({
      url,
      ...(username !== undefined && { username }),
      ...(password !== undefined && { password }),
      ...(resolve !== undefined && { resolve }),
    });
    if (name !== this.name) return false;
    this.#config = config;
    return true;
  }

  /** A connection of its own, not yet connected. */
  client(options: pg.ClientConfig & { query_timeout?: number } = {}): pg.Client {
    return new this.Client(options);
  }
}

function boundedBy(
  answers: AnswerBudget,
  current: (given: pg.ClientConfig | undefined) => pg.ClientConfig,
): Target['Client'] {
  return class extends BoundedClient {
    constructor(given?: pg.ClientConfig) {
      super({ ...current(given), answers });
      adaptToServer(this);
    }
  };
}

/**
 * Reads a connection URL. `sslmode` means what libpq means by it (`require` encrypts, `verify-full` also verifies),
 * plus pg's `no-verify`.
 *
 * @throws Error when the URL is none, or names a file that is none. The message does not repeat the URL, since it may hold a
 *   password.
 */
function readUrl(options: TargetOptions): { name: string; config: pg.ClientConfig } {
  const { url, username, password, resolve } = options;
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
  assertTaken(parsed.href);

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
      stream: () => new CheckedSocket(resolve),
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
    const isSmall = file.isFile() && file.size > 0 && file.size <= MAX_FILE_BYTES;
    if (isSmall && readFileSync(path, 'utf8').includes('-----BEGIN ')) return;
  } catch {
    // Said below.
  }
  throw new Error(
    `store.postgres_url: ${parameter} must name a file with a certificate or key (PEM, at most 1 MiB) where this process runs`,
  );
}

/** The driver reads a URL and its files with each connection: what it does not take is said now. */
function assertTaken(connectionString: string): void {
  let ssl: SecureContextOptions | boolean;
  try {
    ({ ssl } = new pg.Client({ connectionString }) as { ssl: SecureContextOptions | boolean });
  } catch (error) {
    const { message } = error as Error;
    throw new Error(`store.postgres_url: cannot be used: ${message.replace(/^SECURITY WARNING: /, '')}`);
  }
  if (typeof ssl !== 'object') return;
  try {
    createSecureContext(ssl);
    if (ssl.ca !== undefined) new X509Certificate(String(ssl.ca));
  } catch {
    // What OpenSSL says is for programmers.
    throw new Error(
      'store.postgres_url: the files of sslrootcert, sslcert and sslkey must be certificates and the key of the second (PEM)',
    );
  }
}

/** Connections to a target. Whoever makes a pool listens for its errors. */
export function newPool(target: Target, config: pg.PoolConfig): pg.Pool {
  const pool = new pg.Pool({
    Client: target.Client,
    connectionTimeoutMillis: ACQUIRE_TIMEOUT_MS,
    ...config,
  });
  forgetTakenAnswers(pool);
  return pool;
}

/** A pool of a store. Session settings travel as a statement and not as startup parameters, which poolers refuse. */
export function createPool(target: Target, max: number, onEvent: StoreOptions['onEvent']): pg.Pool {
  const pool = newPool(target, {
    max,
    query_timeout: QUERY_TIMEOUT_MS,
    idleTimeoutMillis: 60_000,
    maxLifetimeSeconds: 1_800,
    // pg-pool waits for the promise before it hands the connection out.
    onConnect: (client) => client.query(SESSION_TIMEOUTS, [greeter(client)]) as unknown as void,
  });
  // An idle connection that breaks is no error of anybody: the pool has already dropped it.
  pool.on('error', (error) => onEvent?.('warn', 'postgres connection lost', { reason: error.message }));
  return pool;
}

/** The process that greeted this connection, as its key says (PostgreSQL's protocol, BackendKeyData). */
export function greeter(client: pg.ClientBase): number {
  return (client as unknown as { processID: number | null }).processID ?? 0;
}

/** Ends a connection, whether or not the other end takes notice. */
export async function goodbye(client: pg.Client): Promise<void> {
  const late = setTimeout(() => client.connection.stream.destroy(), GOODBYE_MS);
  await client.end().catch(() => undefined);
  clearTimeout(late);
}
