import { setTimeout as sleep } from 'node:timers/promises';
import { goodbye, type ConnectionOptions, type Target } from './connection.ts';
import { asStoreError, StoreUnavailableError } from './errors.ts';
import type { StoreOptions } from './types.ts';

/** The oldest major version that we test, and the reference asks for. */
const OLDEST_VERSION = 11;
const MAX_PAUSE_MS = 2_000;

/** How a start tries again. */
export interface Start {
  /** By `performance.now()`. */
  readonly deadline: number;
  readonly onEvent: StoreOptions['onEvent'];
}

export function startOf(options: Omit<ConnectionOptions, 'url'>): Start {
  const { startTimeoutSeconds, connectTimeoutSeconds, onEvent } = options;
  return { deadline: performance.now() + (startTimeoutSeconds ?? connectTimeoutSeconds) * 1000, onEvent };
}

/**
 * Waits for PostgreSQL at boot: see {@link untilServed}. Each try takes `connectTimeoutSeconds` at most.
 *
 * @throws Error naming host, port, database and the reason.
 */
export async function awaitPostgres(
  target: Target,
  options: Omit<ConnectionOptions, 'url'>,
  start: Start = startOf(options),
): Promise<void> {
  try {
    await untilServed(() => look(target, options.connectTimeoutSeconds * 1000), target, start);
  } catch (error) {
    const { message } = error as Error;
    const already = message.startsWith(cannotUse(target, ''));
    throw already ? error : new Error(cannotUse(target, message), { cause: error });
  }
}

function cannotUse(target: Pick<Target, 'name'>, reason: string): string {
  return `cannot use PostgreSQL at ${target.name}: ${reason}`;
}

interface Look {
  readonly version: number;
  readonly standby: boolean;
  readonly read_only: boolean;
}

const NOTHING: Look = { version: 0, standby: false, read_only: false };

const LOOK = `
  SELECT current_setting('server_version_num')::int / 10000 AS version, pg_is_in_recovery() AS standby,
         current_setting('transaction_read_only')::boolean AS read_only`;

/** @param ms For connecting, and for the answer. */
async function look(target: Target, ms: number): Promise<void> {
  const client = target.client({ connectionTimeoutMillis: ms, query_timeout: ms });
  // More may follow while a connection goes down.
  client.on('error', () => undefined);
  try {
    await client.connect();
    const [found = NOTHING] = (await client.query<Look>(LOOK)).rows;
    assertUsable(found);
  } catch (error) {
    throw asStoreError(error);
  } finally {
    await goodbye(client);
  }
}

function assertUsable({ version, standby, read_only: readOnly }: Look): void {
  if (version < OLDEST_VERSION) {
    throw new Error(
      `PostgreSQL ${OLDEST_VERSION} or later is needed, and this is ${version}: upgrade it, or name another server in store.postgres_url`,
    );
  }
  // A failover may be under way: it is tried again.
  if (standby) {
    throw new StoreUnavailableError(
      'this server is a read-only standby (it replicates another one): name the primary in store.postgres_url',
    );
  }
  if (readOnly) {
    throw new StoreUnavailableError(
      'this server takes no writes (default_transaction_read_only is on): turn that off for this role and database, or name another server',
    );
  }
}

/**
 * Repeats what failed because PostgreSQL could not serve it, with growing pauses, until the start has taken long enough. A line for
 * each try.
 *
 * @throws Error naming host, port, database and the reason; what is not PostgreSQL's fault, as it is.
 */
export async function untilServed<T>(
  work: () => Promise<T>,
  target: Pick<Target, 'name'>,
  { deadline, onEvent }: Start,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    let failure: StoreUnavailableError;
    try {
      return await work();
    } catch (error) {
      // As the store says it: others may be refused a connection by somebody else.
      if (!(error instanceof StoreUnavailableError)) throw error;
      failure = error;
    }
    const reason = reasonOf(failure);
    const left = deadline - performance.now();
    const pause = Math.min(250 * 2 ** (attempt - 1), MAX_PAUSE_MS) * (0.8 + 0.4 * Math.random());
    if (left < pause || !isWorthRetrying(failure)) {
      throw new Error(cannotUse(target, reason), { cause: failure });
    }
    onEvent?.('warn', 'cannot use PostgreSQL yet, trying again', {
      target: target.name,
      reason,
      attempt,
      gives_up_in_seconds: Math.round(left / 1000),
    });
    await sleep(pause);
  }
}

/** A wrong password, an unknown database, or a server without TLS will be as wrong again. */
function isWorthRetrying(failure: StoreUnavailableError): boolean {
  return !/\((28|3D)...\)$|does not support SSL|blocked destination|does not speak PostgreSQL|room for/.test(
    failure.message,
  );
}

function reasonOf(error: Error): string {
  return error.message.replace(/^store unavailable: /, '');
}
