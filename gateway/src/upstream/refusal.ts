import { ApiError, type ApiErrorType } from '../http/errors.ts';
import type { NamedFailure } from './failover.ts';
import { belongsToAccount, lacksEndpoint, providerErrorOf, typeOfStatus } from './provider-error.ts';
import type { InferencePath } from './upstream.ts';

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

/**
 * A 4xx that belongs to the request: relayed when it is in Anthropic's envelope. What proxies answer in another form keeps its
 * words, and gets the envelope and a type that clients know.
 */
export function refusalOf(failure: NamedFailure, path: InferencePath): Refusal {
  const status = failure.status ?? 400;
  const said = providerErrorOf(failure.body);
  if (said === undefined) {
    return ours(typeOfStatus(status), `The model provider refused this request (HTTP ${status}).`, status);
  }
  const tooLong = path === '/v1/messages' ? tooLongPrompt(status, said.message) : undefined;
  if (tooLong !== undefined) return ours('invalid_request_error', tooLong, 400);
  return relayed(failure, status) ?? ours(typeOfStatus(status), said.message.slice(0, MAX_WORDS), status);
}

/** In characters. */
const MAX_WORDS = 4000;

/** Claude Code makes a conversation shorter when a 400 says one of these. */
const UNDERSTOOD =
  /prompt is too long|input is too long for requested model|capability_rejected: prompt_too_long/i;
/** What models of other makers, and what serves them, say of the same. */
const OTHER_WORDS =
  /maximum context length|context[_ ]length[_ ]exceeded|exceeds? the (?:model's )?context (?:window|length)|ContextWindowExceeded/i;

/**
 * Claude Code's own token for it, which must not be followed by a letter, a digit or one of `_:.-`.
 * Source: https://code.claude.com/docs/en/llm-gateway-protocol
 */
const TOKEN = '(capability_rejected: prompt_too_long)';

/** @returns the words for a prompt that is too long, where status or words would not tell the client so. */
function tooLongPrompt(status: number, message: string): string | undefined {
  if (status !== 400 && status !== 413) return undefined;
  const words = message.slice(0, MAX_WORDS);
  if (UNDERSTOOD.test(words)) return status === 400 ? undefined : words;
  return OTHER_WORDS.test(words) ? `${words} ${TOKEN}` : undefined;
}

/**
 * One answer for a whole chain that failed, the one that helps the client most: capacity first, since waiting cures
 * it; then what all upstreams agree on; else 502. What an upstream said about the gateway's own credential or account
 * never reaches the client: a relayed 401 would make it ask its user to sign in again.
 */
export function refusalOfChain(failures: readonly NamedFailure[], path: InferencePath): Refusal {
  const overloaded = failures.find(({ status }) => status === 529);
  if (overloaded !== undefined) {
    return ours(
      'overloaded_error',
      'The model provider is overloaded; try again in a moment.',
      529,
      overloaded,
    );
  }
  const limited = failures.filter((failure) => failure.status === 429 && !belongsToAccount(failure));
  const [first] = limited;
  if (first !== undefined) return rateLimit(limited.find(mayBeRetried) ?? first);

  if (path === '/v1/messages/count_tokens' && failures.every(lacksEndpoint)) {
    return ours(
      'not_supported',
      'The model provider cannot count tokens: it has no /v1/messages/count_tokens.',
      501,
      undefined,
      'false',
    );
  }
  const all = (status: number): boolean => failures.every((failure) => failure.status === status);
  if (all(404)) {
    const answer = failures[0];
    return (
      (answer === undefined ? undefined : relayed(answer, 404)) ??
      ours('not_found_error', 'The model provider does not serve this model.', 404)
    );
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
  if (failures.every((failure) => refusesCredential(failure) || belongsToAccount(failure))) {
    const what = failures.some(belongsToAccount)
      ? 'takes no requests of this gateway at the moment'
      : "refused this gateway's own credential";
    return ours(
      'api_error',
      `The model provider ${what}. Signing in again does not help; tell the people who run the gateway.`,
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

/** A limit that no waiting cures says so, and in its words what does: what the request would need. */
function rateLimit(failure: NamedFailure): Refusal {
  if (mayBeRetried(failure)) {
    return ours(
      'rate_limit_error',
      "The model provider's rate limit for this gateway is reached; try again in a moment.",
      429,
      failure,
    );
  }
  const words = providerErrorOf(failure.body)?.message.slice(0, MAX_WORDS);
  return (
    relayed(failure, 429) ??
    ours(
      'rate_limit_error',
      words ?? "The model provider's rate limit for this gateway is reached.",
      429,
      failure,
    )
  );
}

function mayBeRetried(failure: NamedFailure): boolean {
  return header(failure, 'x-should-retry') !== 'false';
}

function refusesCredential({ status }: NamedFailure): boolean {
  return status === 401 || status === 403;
}

/** The body as it came, where clients understand it. */
function relayed(failure: NamedFailure, status: number): Refusal | undefined {
  if (failure.body === undefined || providerErrorOf(failure.body)?.enveloped !== true) return undefined;
  return { kind: 'relayed', status, body: failure.body, shouldRetry: header(failure, 'x-should-retry') };
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
