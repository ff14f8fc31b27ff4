import { API_ERROR_STATUS, type ApiErrorType } from '../http/errors.ts';
import type { AttemptFailure } from './attempt.ts';

/** An error as a provider, or a proxy in front of one, words it. */
export interface ProviderError {
  /** In Anthropic's envelope, with a type that its clients know. */
  readonly enveloped: boolean;
  /** As the provider calls it: any text. */
  readonly type: string | undefined;
  readonly code: string | number | undefined;
  readonly message: string;
}

/**
 * The types that a client may meet, with the status that each one has at the API itself. Ours differ in `billing_error`.
 * Source: https://docs.claude.com/en/api/errors
 */
const STATUS_OF_TYPE: Readonly<Record<string, number>> = {
  ...API_ERROR_STATUS,
  billing_error: 402,
  conflict_error: 409,
  timeout_error: 504,
};

/**
 * Reads an error body: Anthropic's envelope, `{"error": {"message": …}}` as LiteLLM and other proxies of the Messages API
 * answer, and the flat forms of web frameworks.
 *
 * @returns undefined where there are no words for people in it.
 */
export function providerErrorOf(body: Buffer | undefined): ProviderError | undefined {
  if (body === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(body.toString());
  } catch {
    return undefined;
  }
  if (!isRecord(value)) return undefined;
  const error = isRecord(value.error) ? value.error : value;
  const message = [error.message, value.error, value.message, value.detail].find(isText);
  if (message === undefined) return undefined;
  const type = isText(error.type) ? error.type : undefined;
  const { code } = error;
  return {
    enveloped:
      value.type === 'error' &&
      error !== value &&
      type !== undefined &&
      Object.hasOwn(STATUS_OF_TYPE, type) &&
      error.message === message,
    type,
    code: typeof code === 'string' || typeof code === 'number' ? code : undefined,
    message,
  };
}

/** The status that an error would have had, had it come instead of an answer and not in one. */
export function statusOf({ type, code }: ProviderError): number {
  if (type !== undefined && Object.hasOwn(STATUS_OF_TYPE, type)) return STATUS_OF_TYPE[type] ?? 500;
  const status = Number(code);
  return Number.isInteger(status) && status >= 400 && status < 600 ? status : 500;
}

/** The type that clients know for a status. */
export function typeOfStatus(status: number): ApiErrorType {
  if (status === 413) return 'request_too_large';
  if (status === 429) return 'rate_limit_error';
  return status < 500 ? 'invalid_request_error' : 'api_error';
}

/**
 * What the Claude API answers when an account may not go on: 400 with these words, where only they tell it from a request
 * that is wrong. Searched for anywhere, since proxies quote them in sentences of their own.
 * Source: https://docs.claude.com/en/api/errors, and the messages as observed.
 */
const ACCOUNT_WORDS =
  /credit balance is too low|reached your specified (?:\w+ ){0,2}usage limits|organization has been (?:disabled|suspended)|budget has been exceeded/i;

/** Of proxies: LiteLLM's budgets of a key, and what providers of the OpenAI dialect say. */
const ACCOUNT_TYPES = new Set([
  'billing_error',
  'budget_exceeded',
  'insufficient_quota',
  'insufficient_credits',
]);

/**
 * Whether it is the account behind the gateway's credential that may not go on: no credit, a spend limit of its own, or
 * disabled. Another upstream may well answer, and developers can do nothing about it.
 */
export function belongsToAccount({ status, body }: AttemptFailure): boolean {
  if (status === 402) return true;
  if (status === undefined || status < 400 || status >= 500) return false;
  const error = providerErrorOf(body);
  if (error === undefined) return false;
  return ACCOUNT_TYPES.has(error.type ?? '') || ACCOUNT_WORDS.test(error.message);
}

/** Whether the endpoint itself is not there, rather than the model. */
export function lacksEndpoint({ status, body }: AttemptFailure): boolean {
  if (status === 405 || status === 501) return true;
  return status === 404 && !/model/i.test(providerErrorOf(body)?.message ?? '');
}

/** What whoever runs the gateway can do about a failure, for the log; undefined where there is nothing to do. */
export function remedyOf(failure: AttemptFailure): string | undefined {
  if (belongsToAccount(failure)) {
    return 'the account behind upstreams[].auth may not go on: add credit, raise its spend limit, or ask the provider';
  }
  if (failure.status === 401 || failure.status === 403) {
    return 'the provider refuses the credential of this upstream: renew upstreams[].auth, and check what it may use';
  }
  if (failure.status === 404 && lacksEndpoint(failure)) {
    return 'there is no Messages API at this address: check upstreams[].base_url, which ends before /v1/messages';
  }
  return undefined;
}

const MAX_LOGGED_CHARACTERS = 300;

/** What the provider said of the account, for the log: it often names the day on which it goes on. */
export function accountWordsOf(failure: AttemptFailure): string | undefined {
  if (!belongsToAccount(failure)) return undefined;
  return providerErrorOf(failure.body)?.message.replace(/\p{C}/gu, ' ').slice(0, MAX_LOGGED_CHARACTERS);
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
