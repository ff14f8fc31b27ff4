import { ApiError, type ApiErrorType } from '../http/errors.ts';
import type { NamedFailure } from './failover.ts';

/** What the client gets instead of a model's answer. */
export type Refusal =
  /** The upstream's own words, byte for byte: the client acts on them (`prompt is too long: …`). */
  | {
      readonly kind: 'relayed';
      readonly status: number;
      readonly body: Buffer;
      readonly shouldRetry: string | undefined;
    }
  | { readonly kind: 'ours'; readonly error: ApiError };

/** A 4xx that belongs to the request: relayed when it is in Anthropic's envelope, else told in our words. */
export function refusalOf(failure: NamedFailure): Refusal {
  const status = failure.status ?? 400;
  if (failure.body !== undefined && envelopeType(failure.body) !== undefined) {
    return { kind: 'relayed', status, body: failure.body, shouldRetry: header(failure, 'x-should-retry') };
  }
  return {
    kind: 'ours',
    error: new ApiError(
      status === 413 ? 'request_too_large' : 'invalid_request_error',
      `The model provider refused this request (HTTP ${status}).`,
      { status },
    ),
  };
}

/**
 * One answer for a whole chain that failed, the one that helps the client most: capacity first, since waiting cures
 * it; then what all upstreams agree on; else 502. What an upstream said about the gateway's own credential or account
 * never reaches the client: a relayed 401 would make it ask its user to sign in again.
 */
export function refusalOfChain(failures: readonly NamedFailure[]): Refusal {
  const withStatus = (status: number): NamedFailure | undefined => failures.find((f) => f.status === status);
  const all = (status: number): boolean => failures.every((f) => f.status === status);

  const overloaded = withStatus(529);
  if (overloaded !== undefined) {
    return ours(
      'overloaded_error',
      'The model provider is overloaded; try again in a moment.',
      529,
      overloaded,
    );
  }
  const limited = withStatus(429);
  if (limited !== undefined) {
    const type = limited.body === undefined ? undefined : envelopeType(limited.body);
    return ours(
      type === 'billing_error' ? 'billing_error' : 'rate_limit_error',
      "The model provider's rate limit for this gateway is reached; try again in a moment.",
      429,
      limited,
    );
  }
  if (all(404)) {
    const answer = failures[0];
    if (answer?.body !== undefined && envelopeType(answer.body) !== undefined) {
      return { kind: 'relayed', status: 404, body: answer.body, shouldRetry: undefined };
    }
    return ours('not_found_error', 'The model provider does not serve this model.', 404);
  }
  if (all(501)) {
    return ours(
      'not_supported',
      'The model provider does not support this endpoint.',
      501,
      undefined,
      'false',
    );
  }
  if (failures.every((f) => f.status === 401 || f.status === 403)) {
    return ours(
      'api_error',
      "The model provider refused this gateway's own credential. Signing in again does not help; tell the people who run the gateway.",
      502,
      undefined,
      'false',
    );
  }
  return ours(
    'api_error',
    failures.length === 1
      ? 'The model provider failed to answer.'
      : `All ${failures.length} model providers failed to answer.`,
    502,
  );
}

function ours(
  type: ApiErrorType,
  message: string,
  status: number,
  failure?: NamedFailure,
  shouldRetry = failure === undefined ? undefined : header(failure, 'x-should-retry'),
): Refusal {
  const retryAfter = failure === undefined ? undefined : header(failure, 'retry-after');
  return {
    kind: 'ours',
    error: new ApiError(type, message, {
      status,
      headers: {
        ...(retryAfter === undefined ? {} : { 'retry-after': retryAfter }),
        ...(shouldRetry === undefined ? {} : { 'x-should-retry': shouldRetry }),
      },
    }),
  };
}

function header(failure: NamedFailure, name: string): string | undefined {
  const value = failure.headers?.[name];
  return typeof value === 'string' ? value : undefined;
}

/** The `error.type` of an Anthropic error envelope, or undefined when the body is none. */
function envelopeType(body: Buffer): string | undefined {
  let value: unknown;
  try {
    value = JSON.parse(body.toString());
  } catch {
    return undefined;
  }
  if (!isRecord(value) || value.type !== 'error' || !isRecord(value.error)) return undefined;
  const { type, message } = value.error;
  return typeof type === 'string' && typeof message === 'string' ? type : undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
