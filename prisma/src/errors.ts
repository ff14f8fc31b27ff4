/**
 * PostgreSQL cannot serve this call now: it is away, restarting, out of connections, or too slow. Nothing is wrong
 * with the call; the store recovers by itself. Callers answer 503.
 */
export class StoreUnavailableError extends Error {
  override readonly name: string = 'StoreUnavailableError';

  constructor(reason: string, cause?: unknown) {
    super(`store unavailable: ${reason}`, { cause });
  }
}

/**
 * Too many calls of one kind wait for PostgreSQL already, which is not away: this one was not begun. Callers answer 503,
 * as for {@link StoreUnavailableError}.
 */
export class StoreBusyError extends StoreUnavailableError {
  override readonly name = 'StoreBusyError';

  constructor(share: string) {
    super(`too many calls wait for the connections of ${share}`);
  }
}

/** A new device grant drew a code that another live grant holds. Draw again. */
export class DuplicateCodeError extends Error {
  override readonly name = 'DuplicateCodeError';

  constructor() {
    super('another device grant holds this code');
  }
}

const NETWORK_CODES = new Set([
  'EAI_AGAIN',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETUNREACH',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
]);

/**
 * SQLSTATEs (PostgreSQL, appendix A) that speak of the server and not of the statement: connection exceptions,
 * rejected credentials, unknown database, insufficient resources, operator intervention (57014 is our statement
 * timeout), system errors, and a primary that has become a read-only standby.
 */
const SERVER_STATES = /^(08|28|3D|53|57|58)|^25006$/;

/** Prisma's own codes for the same: P1xxx speak of the connection, P2024 and P2037 of running out of them. */
const PRISMA_CODES = /^(P1\d{3}|P2024|P2037)$/;

/** What pg and pg-pool say without a code. */
const DRIVER_MESSAGES =
  /^(Connection terminated|timeout exceeded when trying to connect|Query read timeout|Client has encountered a connection error|Client was closed and is not queryable|Cannot use a pool after calling end|The server does not support SSL|timeout expired)/;

/**
 * @param error what pg, pg-pool or Prisma threw.
 * @returns a StoreUnavailableError where the server is at fault, else the error itself.
 */
export function asStoreError(error: unknown): Error {
  if (error instanceof StoreUnavailableError) return error;
  for (const candidate of causes(error)) {
    const { code, originalCode, message, originalMessage } = candidate;
    const state = originalCode ?? code;
    const text = originalMessage ?? message ?? '';
    if (state !== undefined && (NETWORK_CODES.has(state) || SERVER_STATES.test(state))) {
      return new StoreUnavailableError(text === '' ? state : `${text} (${state})`, error);
    }
    // Prisma's messages begin with the invocation.
    if (code !== undefined && PRISMA_CODES.test(code)) {
      return new StoreUnavailableError(text.trim().split('\n').at(-1) ?? code, error);
    }
    if (candidate.name !== undefined && CONNECTION_ERRORS.has(candidate.name)) {
      return new StoreUnavailableError(text, error);
    }
    if (DRIVER_MESSAGES.test(text)) return new StoreUnavailableError(text, error);
  }
  return error instanceof Error ? error : new Error(String(error));
}

/** Ours: there is no connection, or none that is of use. */
const CONNECTION_ERRORS = new Set(['BlockedDatabaseError', 'HostileAnswerError']);

interface Failure {
  readonly name?: string;
  readonly code?: string;
  readonly message?: string;
  /** Prisma's driver adapters keep the driver's own words under these names. */
  readonly originalCode?: string;
  readonly originalMessage?: string;
}

/** The error and what it was made of: Prisma wraps, and Node aggregates one error per address it tried. */
function* causes(error: unknown, depth = 0): Generator<Failure> {
  if (typeof error !== 'object' || error === null || depth > 5) return;
  const { name, code, message, originalCode, originalMessage, cause, meta, errors } = error as Record<
    string,
    unknown
  >;
  yield {
    name: text(name),
    code: text(code),
    message: text(message),
    originalCode: text(originalCode),
    originalMessage: text(originalMessage),
  };
  if (Array.isArray(errors)) for (const inner of errors) yield* causes(inner, depth + 1);
  if (typeof meta === 'object' && meta !== null) {
    yield* causes((meta as { driverAdapterError?: unknown }).driverAdapterError, depth + 1);
  }
  yield* causes(cause, depth + 1);
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
